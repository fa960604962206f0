//! One direction of one stream.
//!
//! What comes first is done first, as in the picture of the [module](super): a wait before the first byte comes before a
//! stall or a cut at position 0; messages that vanish are not waited for, and messages that come twice are waited for
//! twice; positions count what leaves. At one position a stall comes before a cut.

mod change;
mod corruptions;
mod flow;
mod gates;
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
use self::gates::{Gates, Out, Stop};
use self::messages::Messages;
use self::notes::Notes;
use self::pauses::Pauses;
use self::pieces::Pieces;
use self::source::Source;
use super::framing::websocket::close_frame;
use super::{Act, After, Bucket, Finish, Framing, Rate, Stream};

/// The code of a WebSocket's close frame where none is given: going away (RFC 6455, section 7.4.1).
const GOING_AWAY: u16 = 1001;

/// What a shaper wants done next.
#[derive(Debug)]
pub enum Step {
    /// These bytes leave now.
    Send(Bytes),
    /// Nothing before this instant.
    Wait(Instant),
    /// The stream stalls: nothing until this instant, or for as long as a wait may be; then ask again.
    Stalled(Option<Instant>),
    /// Everything that may leave has left: more bytes are needed, or the end.
    More,
    /// The stream is over, like this. Nothing comes after it.
    End(Finish),
}

/// An action that did not take effect, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Its position in the plan.
    pub action: usize,
    /// One of the texts of [`crate::metrics::SKIP_REASONS`].
    pub reason: &'static str,
}

/// How long a body will be on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// The natural length, known or not.
    Same,
    /// So many bytes.
    Exactly(u64),
    /// Not known in advance, although the natural length may be.
    Unknown,
}

/// Shapes one direction of one stream.
///
/// Where a stall or a cut strikes: after its position's last byte has left, if more bytes are to come. If the length is
/// known (and no messages vanish or come twice) that is a position before the end: nothing waits for the next byte, and a
/// stream that ends at the position or before it is left alone, as "body too short". If the length is unknown it strikes
/// at the position at once, even if the stream would have ended there. A position after `n` messages is right behind the
/// `n`-th. On a WebSocket a clean cut within a frame waits for the frame's end, so that its close frame can be read.
#[derive(Debug)]
pub struct Shaper {
    flow: Flow,
    pieces: Pieces,
    pauses: Pauses,
    notes: Notes,
    /// The waits before the first byte; `None` when they have begun.
    delays: Option<Vec<(usize, Duration)>>,
    /// A piece whose time has been reserved.
    piece: Option<(Bytes, Instant)>,
    length: Length,
    buffer: usize,
    stream: Stream,
    /// No more natural bytes will come.
    ended: bool,
    released: bool,
    /// The last instant that was told.
    now: Option<Instant>,
    over: Option<Finish>,
}

impl Shaper {
    /// A shaper for a stream. Each act comes with its action's position in the plan; acts that the stream does not
    /// [accept](Stream::accepts) must have been left out. `bucket` gives the schedule of a rate: a new one, or a shared one.
    /// At most about `buffer` bytes are kept, and as much again of a message that is to come twice.
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
        Shaper {
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
            },
            pieces: Pieces::new(&acts, stream.length, bucket),
            pauses: Pauses::default(),
            notes: Notes::default(),
            delays,
            piece: None,
            length: gates::length(stream, &acts, sized),
            buffer,
            stream: *stream,
            ended: false,
            released: false,
            now: None,
            over: None,
        }
    }

    /// How long the body will be on its way out, as its head should say it. A body that is cut and whose end is not clean
    /// says its natural length.
    pub fn length(&self) -> Length {
        self.length
    }

    /// How many bytes may be pushed now; 0: first take steps, or the stream is over. More may be pushed at once and will
    /// be taken, so what is kept exceeds the buffer by at most one push.
    pub fn room(&self) -> usize {
        let piece = self.piece.as_ref().map_or(0, |(piece, _)| piece.len());
        match self.over {
            Some(_) => 0,
            None => self
                .buffer
                .saturating_sub(self.flow.source.natural().saturating_add(piece)),
        }
    }

    /// Takes in natural bytes, however they were chunked.
    pub fn push(&mut self, bytes: Bytes) {
        if self.over.is_none() && !self.ended {
            self.flow.source.push(bytes);
        }
    }

    /// Takes in the natural end.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// What comes next at `now`. To be asked again after each step that was carried out.
    pub fn step(&mut self, now: Instant) -> Step {
        self.now = Some(now);
        loop {
            if let Some(step) = self.advance(now) {
                self.pauses.step();
                return step;
            }
        }
    }

    /// Gives up all waits and rates from now on; cuts stay, and so do the ends of stalls. For when squall stops.
    pub fn release(&mut self) {
        self.released = true;
    }

    /// Leaves out the stall that the last step has told of, because there is no place for it; whose it is. The stream goes
    /// on. To be called before [`Shaper::took_effect`], whose next answers may still name it.
    pub fn skip_stall(&mut self) -> Option<usize> {
        self.pauses.skip_stall()
    }

    /// The next action that has taken effect since the last call; each is told once. The lies of [`super::Malformed`] that
    /// the proxy writes (chunk, status line, header, length, an encoding that is none) are never told.
    pub fn took_effect(&mut self) -> Option<usize> {
        self.notes.tell()
    }

    /// After the end: the actions that had nothing to act on. After a truncation that can't be known. An action that draws its messages
    /// or bytes and drew none is not among them.
    pub fn missed(&self) -> Vec<Missed> {
        self.notes.missed().to_vec()
    }

    /// All the time that [`Act::Delay`], [`Act::DelayMessages`] and [`Act::Stall`] of an action have added so far, up to the
    /// last step.
    pub fn held(&self, action: usize) -> Duration {
        let current = self.now.map_or(Duration::ZERO, |now| self.pauses.held(action, now));
        self.notes.held(action).saturating_add(current)
    }

    /// Does one thing. `None`: there is more to do.
    fn advance(&mut self, now: Instant) -> Option<Step> {
        if let Some(piece) = self.reserved(now) {
            return Some(piece);
        }
        if let Some(over) = &self.over {
            return Some(Step::End(over.clone()));
        }
        match self.pauses.pass(now, self.released, &mut self.notes) {
            Some(Ok(step)) => return Some(step),
            Some(Err(then)) => {
                self.finish(then, now);
                return None;
            }
            None => {}
        }
        let due = self.flow.gates.due(&self.flow.out);
        let bytes = !self.flow.source.is_empty();
        if (due || bytes || self.ended) && self.delay() {
            return None;
        }
        if due {
            self.stop(now);
            return None;
        }
        if bytes {
            return self.form(now);
        }
        if !self.ended {
            return Some(Step::More);
        }
        if !self.flow.finish(&mut self.notes) {
            self.natural_end();
        }
        None
    }

    /// The piece whose time has been reserved.
    fn reserved(&mut self, now: Instant) -> Option<Step> {
        let (_, at) = self.piece.as_ref()?;
        if *at > now && !self.released {
            return Some(Step::Wait(*at));
        }
        self.piece.take().map(|(piece, _)| Step::Send(piece))
    }

    /// Begins the waits before the first byte. Whether there are any.
    fn delay(&mut self) -> bool {
        let delays = self.delays.take().filter(|_| !self.released);
        for (action, time) in delays.iter().flatten() {
            self.pauses.wait(*action, *time);
        }
        delays.is_some_and(|delays| !delays.is_empty())
    }

    /// A gate has been reached.
    fn stop(&mut self, now: Instant) {
        match self.flow.gates.pass(&self.flow.out) {
            Some((action, Stop::Stall { limit, then })) if !self.released => self.pauses.stall(action, limit, then),
            Some((
                _,
                Stop::Stall {
                    then: Finish::Natural, ..
                },
            ))
            | None => {}
            Some((action, Stop::Stall { then: end, .. } | Stop::Truncate(end))) => {
                self.notes.take_effect(action);
                self.finish(end, now);
            }
        }
    }

    /// Forms the next piece, and reserves its time.
    fn form(&mut self, now: Instant) -> Option<Step> {
        let piece = if self.released {
            self.flow.pull(usize::MAX, true, &mut self.notes)
        } else {
            if let Some(next) = self.pieces.gap(now) {
                return Some(Step::Wait(next));
            }
            let size = self.pieces.size();
            if self.pieces.fills() {
                self.flow.fill(size, false, &mut self.notes)
            } else {
                self.flow.pull(size, false, &mut self.notes)
            }
        };
        if !piece.is_empty() {
            let at = if self.released {
                now
            } else {
                self.pieces.reserve(piece.len(), now, &mut self.notes)
            };
            self.piece = Some((piece, at));
        }
        for (action, time) in self.flow.delays.drain(..) {
            self.pauses.wait(action, time);
        }
        None
    }

    /// The stream ends before its natural end, unless `end` says that it goes on.
    fn finish(&mut self, end: Finish, now: Instant) {
        if matches!(end, Finish::Natural) {
            return;
        }
        if let (Finish::Clean(clean), Some(to_server)) = (&end, self.stream.closes_with_frame(&end)) {
            let (code, reason) = clean
                .websocket
                .as_ref()
                .map_or((GOING_AWAY, ""), |(code, reason)| (*code, reason));
            self.piece = Some((close_frame(code, reason, to_server).into(), now));
        }
        self.flow.source.clear();
        self.over = Some(end);
    }

    fn natural_end(&mut self) {
        self.over = Some(Finish::Natural);
        self.flow.missed(&mut self.notes);
        if !self.released {
            self.pieces.missed(&mut self.notes);
        }
    }
}

/// How the stream falls into messages, if the acts need to know.
fn framing(stream: &Stream, acts: &[(usize, Act)]) -> Framing {
    let needed = acts.iter().any(|(_, act)| match act {
        Act::DelayMessages(_) | Act::Drop(_) | Act::Duplicate(_) | Act::Corrupt(_) => true,
        Act::Stall(stall) => {
            matches!(stall.after, After::Messages(_)) || stream.closes_with_frame(&stall.then).is_some()
        }
        Act::Truncate(cut) => matches!(cut.after, After::Messages(_)) || stream.closes_with_frame(&cut.end).is_some(),
        Act::Bandwidth(_) | Act::Dribble(_) | Act::Delay(_) | Act::Malform(_) => false,
    });
    if needed {
        stream.visible_framing()
    } else {
        Framing::Opaque
    }
}
