//! The [`Shaper`], which shapes one direction of one stream.
//!
//! Acts apply in the order of the picture in the [parent module](super). A wait before the first byte comes before a stall
//! or a cut at position 0. Dropped messages are not waited for, duplicated ones are waited for twice. Positions count the
//! bytes sent. At one position a stall comes before a cut.

mod advance;
mod change;
mod corruptions;
mod flow;
mod gates;
mod line;
mod messages;
mod notes;
mod pauses;
mod pieces;
mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::change::Change;
use self::flow::Flow;
use self::gates::{Gates, Out};
use self::line::DelayLine;
use self::messages::Messages;
use self::notes::Notes;
use self::pauses::Pauses;
use self::pieces::Pieces;
use self::source::Source;
use super::{Act, After, Bucket, Finish, Framing, Rate, Stream};

/// The default code of a WebSocket close frame: going away (RFC 6455, section 7.4.1).
const GOING_AWAY: u16 = 1001;

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Send these bytes now.
    Send(Bytes),
    /// Do nothing before this instant.
    Wait(Instant),
    /// The stream stalls: do nothing until this instant, or if `None` for the longest wait allowed; then ask again.
    Stalled(Option<Instant>),
    /// Push more bytes, or the end: everything so far was sent.
    More,
    /// End the stream in this way. Nothing follows.
    End(Finish),
}

/// An action that did not take effect, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The action's position in the plan.
    pub action: usize,
    /// The reason: one of [`crate::metrics::SKIP_REASONS`].
    pub reason: &'static str,
}

/// The length of a shaped body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// The natural length, known or not.
    Same,
    /// Exactly this many bytes.
    Exactly(u64),
    /// Not known in advance, although the natural length may be.
    Unknown,
}

/// Shapes one direction of one stream.
///
/// A stall or a cut takes effect once the bytes before its position were sent, if more bytes are to come. With a known
/// length (and no dropped or duplicated messages) it does not wait for the next byte, and a stream that ends at or before
/// the position is left alone, as "body too short". With an unknown length it takes effect at the position at once, even
/// if the stream would have ended there. A position after `n` messages is right after the `n`-th. On a WebSocket, a clean
/// cut within a frame waits for the end of the frame, so that the close frame can be read.
#[derive(Debug)]
pub struct Shaper {
    /// Chunks on their way to the flow; `None` if no act delays chunks.
    line: Option<DelayLine>,
    flow: Flow,
    pieces: Pieces,
    pauses: Pauses,
    notes: Notes,
    /// The waits before the first byte; `None` once they have begun.
    delays: Option<Vec<(usize, Duration)>>,
    /// The waits before the natural end; `None` once they have begun.
    end_delays: Option<Vec<(usize, Duration)>>,
    /// A piece, and the instant reserved for it.
    piece: Option<(Bytes, Instant)>,
    length: Length,
    buffer: usize,
    stream: Stream,
    /// Whether the natural end was taken in, and was not delayed or has passed the line.
    ended: bool,
    /// Whether what arrives is thrown away.
    discarding: bool,
    /// Whether waits and rates have ended.
    released: bool,
    /// The number of bytes that steps have sent.
    sent: u64,
    /// The instants of the first and of the last step.
    began: Option<Instant>,
    now: Option<Instant>,
    over: Option<Finish>,
}

impl Shaper {
    /// Creates a shaper for a stream. Each act comes with its action's position in the plan. Acts that the stream does not
    /// [accept](Stream::accepts) must be left out. `bucket` returns the bucket of a rate, new or shared. The shaper keeps at
    /// most about `buffer` bytes, as many again of a message that is duplicated, and 16 times as many of delayed chunks.
    pub fn new(
        stream: &Stream,
        acts: Vec<(usize, Act)>,
        buffer: usize,
        bucket: impl FnMut(usize, &Rate) -> Arc<Bucket>,
    ) -> Shaper {
        let buffer = buffer.max(1);
        let sized = !acts
            .iter()
            .any(|(_, act)| matches!(act, Act::Drop(_) | Act::Duplicate(_)));
        let delays = acts.iter().filter_map(|(action, act)| match act {
            Act::Delay(time) => Some((*action, *time)),
            _ => None,
        });
        let delays = Some(delays.collect());
        let end_delays = acts.iter().filter_map(|(action, act)| match act {
            Act::DelayEnd(time) => Some((*action, *time)),
            _ => None,
        });
        let end_delays = Some(end_delays.collect());
        Shaper {
            line: DelayLine::new(&acts, buffer),
            flow: Flow {
                source: Source::new(framing(stream, &acts)),
                messages: Messages::new(&acts, buffer),
                change: Change::new(&acts, stream),
                gates: Gates::new(stream, &acts, sized),
                out: Out {
                    bytes: 0,
                    messages: 0,
                    between_frames: true,
                },
                delays: Vec::new(),
                elapsed: Duration::ZERO,
            },
            pieces: Pieces::new(&acts, stream.length, bucket),
            pauses: Pauses::default(),
            notes: Notes::default(),
            delays,
            end_delays,
            piece: None,
            length: gates::length(stream, &acts, sized),
            buffer,
            stream: *stream,
            ended: false,
            discarding: false,
            released: false,
            sent: 0,
            began: None,
            now: None,
            over: None,
        }
    }

    /// Counts positions on from `sent` bytes, which a shaper that this one replaces has sent. A position before them is
    /// reached at once.
    #[must_use]
    pub fn continuing(mut self, sent: u64) -> Shaper {
        self.sent = sent;
        self.flow.out.bytes = sent;
        self
    }

    /// The length of the shaped body, as its head should state it. A body that is cut without a clean end states its natural
    /// length.
    pub fn length(&self) -> Length {
        self.length
    }

    /// How many bytes may be pushed now. 0 if steps must be taken first, or the stream has ended. A larger push is accepted
    /// too, so the buffer is exceeded by at most one push.
    pub fn room(&self) -> usize {
        let past_line = self.room_past_line();
        match &self.line {
            _ if self.over.is_some() => 0,
            _ if self.discarding => self.buffer,
            // The line is for what nothing but its waits holds up. A backlog behind it holds up the sender.
            Some(line) if past_line < self.buffer => past_line.saturating_sub(line.cost()),
            Some(line) => line.room(),
            None => past_line,
        }
    }

    /// Takes in natural bytes. Their chunking affects the result only if chunks are delayed: then each push is a chunk, and
    /// arrives at the next step.
    pub fn push(&mut self, bytes: Bytes) {
        match &mut self.line {
            _ if self.over.is_some() || self.ended => {}
            // Not before something arrives: the stall may still be skipped.
            _ if self.discarding => self.discard(),
            Some(line) => line.push(bytes),
            None => self.flow.source.push(bytes),
        }
    }

    /// Takes in the natural end.
    pub fn end(&mut self) {
        match &mut self.line {
            Some(line) => line.end(),
            None => self.ended = true,
        }
    }

    /// Returns what to do next at `now`. Call it again after each step was carried out.
    pub fn step(&mut self, now: Instant) -> Step {
        self.now = Some(now);
        self.flow.elapsed = now.saturating_duration_since(*self.began.get_or_insert(now));
        loop {
            if let Some(step) = self.advance(now) {
                self.pauses.step();
                return step;
            }
        }
    }

    /// Ends all waits and rates from now on, because squall stops. Cuts and the ends after stalls still apply.
    pub fn release(&mut self) {
        self.released = true;
    }

    /// Ends all acts from now on, because their rule was removed: waits, rates, gaps, stalls, cuts and changes. The bytes that
    /// were taken in are sent at once and in order, and later ones pass unchanged. An end that a step has returned, or that was
    /// reached, stays, and so does a clean end whose [length](Shaper::length) was announced: more bytes than that would break
    /// the framing. A stream that [discards](Shaper::discards) ends as after its stall.
    pub fn retire(&mut self) {
        self.released = true;
        if self.discarding {
            return;
        }
        let announced = matches!(self.length, Length::Exactly(_));
        self.delays = None;
        self.end_delays = None;
        self.pauses.retire(announced);
        self.flow.retire(announced);
    }

    /// Whether bytes are thrown away, since a stall that discards has begun. Such a stream never resumes, not even when its rule
    /// is removed.
    pub fn discards(&self) -> bool {
        self.discarding
    }

    /// The number of bytes that steps have sent, those that a replaced shaper [has sent](Shaper::continuing) included.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Skips the stall that the last step returned, because no more requests may be held, and resumes the stream. Returns the
    /// stall's action. Call it before [`Shaper::took_effect`], which may still return that action.
    pub fn skip_stall(&mut self) -> Option<usize> {
        let skipped = self.pauses.skip_stall();
        self.discarding &= skipped.is_none();
        skipped
    }

    /// Returns the next action that has taken effect, each once. Malformations that the proxy writes itself (chunk, status
    /// line, header, length, a false encoding) are not reported.
    pub fn took_effect(&mut self) -> Option<usize> {
        self.notes.tell()
    }

    /// After the natural end: the actions that had nothing to act on. Empty after a truncation, when that can't be known. An
    /// action that drew no message or byte is not among them.
    pub fn missed(&self) -> Vec<Missed> {
        self.notes.missed().to_vec()
    }

    /// The total time that [`Act::Delay`], [`Act::DelayMessages`], [`Act::DelayEnd`] and [`Act::Stall`] of an action have added up to the last
    /// step, and for which [`Act::DelayChunks`] have held anything.
    pub fn held(&self, action: usize) -> Duration {
        let Some(now) = self.now else { return Duration::ZERO };
        let line = self.line.as_ref().filter(|line| line.is_of(action));
        let of_chunks = line.map_or(Duration::ZERO, |line| line.held(now));
        let current = self.pauses.held(action, now).saturating_add(of_chunks);
        self.notes.held(action).saturating_add(current)
    }
}

/// The framing of the stream's messages, if any act needs it.
fn framing(stream: &Stream, acts: &[(usize, Act)]) -> Framing {
    let needed = acts.iter().any(|(_, act)| match act {
        Act::DelayMessages(_) | Act::Drop(_) | Act::Duplicate(_) | Act::Corrupt(_) => true,
        Act::Stall(stall) => {
            matches!(stall.after, After::Messages(_)) || stream.closes_with_frame(&stall.then).is_some()
        }
        Act::Truncate(cut) => matches!(cut.after, After::Messages(_)) || stream.closes_with_frame(&cut.end).is_some(),
        Act::Bandwidth(_)
        | Act::Dribble(_)
        | Act::Delay(_)
        | Act::DelayChunks(_)
        | Act::DelayEnd(_)
        | Act::Malform(_) => false,
    });
    if needed {
        stream.visible_framing()
    } else {
        Framing::Opaque
    }
}
