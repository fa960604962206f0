//! One direction of an exchange: moves parts from a source through a lane to a sink.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use pingora::{Error, Result};

use super::lane::{Due, Lane};
use crate::proxy::body::{Part, Sink, Source};
use crate::proxy::net::timer;
use crate::shape::Finish;

/// Bytes of a request body that are kept for a retry.
const REPLAY: usize = 64 << 10;

/// Pieces of a request body that are kept for a retry.
const REPLAYED: usize = 64;

/// Parts of fewer than `SMALL` bytes are joined, up to about `GATHERED` bytes.
const SMALL: usize = 1 << 10;
const GATHERED: usize = 8 << 10;

/// The side at which a direction failed.
#[derive(Debug)]
pub(in crate::proxy) enum Broken {
    /// Reading from the source failed.
    Source(Box<Error>),
    /// Writing to the sink failed.
    Sink(Box<Error>),
}

impl Broken {
    /// The error of either side.
    pub(super) fn into_error(self) -> Box<Error> {
        match self {
            Broken::Source(error) | Broken::Sink(error) => error,
        }
    }
}

/// What a direction waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Waits {
    /// Nothing: it has not begun, or it has ended.
    #[default]
    No,
    /// The source.
    Source,
    /// Room in the sink.
    Sink,
    /// A timer.
    Time,
}

type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One direction of an exchange.
pub(in crate::proxy) struct Pump {
    lane: Lane,
    /// Pieces already in memory, which come before what the source has.
    ahead: VecDeque<Bytes>,
    /// What follows `ahead`.
    rest: Rest,
    /// Pieces to send again after [`Pump::rewind`]; they have passed the lane already.
    again: VecDeque<Bytes>,
    /// Being written to the sink.
    sending: Bytes,
    trailers: Option<HeaderMap>,
    /// How the direction ends, once that is known.
    finish: Option<Finish>,
    over: bool,
    timer: Option<(Instant, Timer)>,
    waits: Waits,
    replay: Option<Replay>,
}

/// What follows the parts already in memory.
#[derive(Debug)]
pub(super) enum Rest {
    /// The parts of the source.
    Source,
    /// The end; the source is not read.
    End,
    /// An error that the source returned earlier.
    Failure(Option<Box<Error>>),
}

/// The pieces sent so far, kept while they are within [`REPLAY`] and [`REPLAYED`].
#[derive(Debug, Default)]
struct Replay {
    sent: Vec<Bytes>,
    bytes: usize,
}

impl Pump {
    /// Creates a pump that takes all parts from the source.
    pub(in crate::proxy) fn new(lane: Lane) -> Pump {
        Pump::with(lane, VecDeque::new(), Rest::Source)
    }

    /// Creates a pump that begins with pieces in memory.
    pub(super) fn with(lane: Lane, ahead: VecDeque<Bytes>, rest: Rest) -> Pump {
        Pump {
            lane,
            ahead,
            rest,
            again: VecDeque::new(),
            sending: Bytes::new(),
            trailers: None,
            finish: None,
            over: false,
            timer: None,
            waits: Waits::No,
            replay: None,
        }
    }

    /// Creates a pump whose whole body is in memory.
    pub(super) fn whole(body: Bytes, trailers: Option<HeaderMap>) -> Pump {
        let ahead = [body].into_iter().filter(|body| !body.is_empty()).collect();
        Pump::with(Lane::default(), ahead, Rest::End).with_trailers(trailers)
    }

    /// Adds trailers that follow the pieces in memory.
    pub(super) fn with_trailers(mut self, trailers: Option<HeaderMap>) -> Pump {
        self.trailers = trailers;
        self
    }

    /// Whether there is nothing to send but the end.
    pub(super) fn is_empty(&self) -> bool {
        self.ahead.is_empty() && self.trailers.is_none() && matches!(self.rest, Rest::End)
    }

    /// Sets the lane. Call it before the pump is polled.
    pub(super) fn pass(&mut self, lane: Lane) {
        self.lane = lane;
        if self.is_empty() {
            self.lane.has_no_body();
        }
    }

    /// Keeps what is sent, within limits, so that it can be [sent again](Pump::rewind).
    pub(super) fn keep(&mut self) {
        self.replay = Some(Replay::default());
    }

    /// Whether the sink has received everything, or the pump has given up.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Gives up: nothing more is sent.
    pub(super) fn give_up(&mut self) {
        self.over = true;
        self.waits = Waits::No;
    }

    /// What the pump waited for when it was polled last.
    pub(super) fn waits(&self) -> Waits {
        self.waits
    }

    /// Whether the natural end was read.
    pub(super) fn has_ended(&self) -> bool {
        self.lane.has_ended()
    }

    /// The lane.
    pub(in crate::proxy) fn lane(&mut self) -> &mut Lane {
        &mut self.lane
    }

    /// Whether the pump has nothing to do with the bytes that come next, so that they may bypass it.
    pub(in crate::proxy) fn is_clear(&self) -> bool {
        let holds_nothing = self.sending.is_empty() && self.ahead.is_empty() && self.again.is_empty();
        holds_nothing && self.finish.is_none() && self.lane.is_clear()
    }

    /// Whether the lane shapes bytes.
    pub(super) fn is_shaped(&self) -> bool {
        self.lane.is_shaped()
    }

    /// Ends all waits because squall is stopping.
    pub(super) fn release(&mut self) {
        self.lane.release();
        self.timer = None;
    }

    /// Lets go of what rules hold that were switched off.
    pub(super) fn let_go(&mut self) {
        self.lane.let_go();
        self.timer = None;
    }

    /// Starts over for another sink. Returns false if what was sent is no longer kept.
    pub(super) fn rewind(&mut self) -> bool {
        let Some(replay) = self.replay.take() else { return false };
        // `replay.sent` includes the piece that was being sent.
        self.sending = Bytes::new();
        self.again = replay.sent.into();
        self.over = false;
        self.replay = Some(Replay::default());
        true
    }

    /// Moves what can be moved now. Ready at the end, with how it ended.
    pub(in crate::proxy) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut impl Source,
        sink: &mut impl Sink,
    ) -> Poll<Result<Finish, Broken>> {
        loop {
            if !self.sending.is_empty() {
                self.waits = Waits::Sink;
                if !ready!(sink.poll_send(cx, &mut self.sending)).map_err(Broken::Sink)? {
                    self.finish = Some(Finish::Natural);
                }
                continue;
            }
            if let Some(bytes) = self.again.pop_front() {
                self.send(bytes);
                continue;
            }
            if let Some(finish) = &self.finish {
                self.waits = Waits::Sink;
                let ended = match finish {
                    Finish::Natural => sink.poll_end(cx, self.trailers.as_ref()),
                    Finish::Clean(clean) => {
                        let trailers = clean.grpc.as_deref().map(|status| status.fields().collect());
                        sink.poll_end(cx, trailers.as_ref())
                    }
                    Finish::Close | Finish::Reset(_) => sink.poll_flush(cx),
                };
                ready!(ended).map_err(Broken::Sink)?;
                let finish = finish.clone();
                self.give_up();
                return Poll::Ready(Ok(finish));
            }
            match self.lane.due(Instant::now) {
                Due::Send(bytes) => {
                    let bytes = self.gather(cx, bytes, source);
                    self.send(bytes);
                }
                Due::End(finish) => self.finish = Some(finish),
                Due::Over => self.finish = Some(Finish::Natural),
                Due::More => ready!(self.poll_more(cx, source, sink, Waits::Source))?,
                Due::Wait(until) => {
                    if self.poll_time(cx, until).is_ready() {
                        continue;
                    }
                    // Read on while waiting, so that the sender is blocked only when the lane is full.
                    if !self.lane.wants_more() {
                        self.waits = Waits::Time;
                        self.flush(cx, sink)?;
                        return Poll::Pending;
                    }
                    ready!(self.poll_more(cx, source, sink, Waits::Time))?;
                }
            }
        }
    }

    /// Joins small parts that are ready: each would be a chunk or frame of its own, whose overhead exceeds its content.
    fn gather(&mut self, cx: &mut Context<'_>, first: Bytes, source: &mut impl Source) -> Bytes {
        if first.len() >= SMALL || self.lane.is_shaped() || !self.ahead.is_empty() {
            return first;
        }
        let mut all = BytesMut::new();
        while matches!(self.rest, Rest::Source) && self.lane.wants_more() {
            match source.poll_part(cx) {
                Poll::Ready(Ok(Some(Part::Data(data)))) if data.len() < SMALL && all.len() < GATHERED => {
                    if all.is_empty() {
                        all.reserve(GATHERED);
                        all.extend_from_slice(&first);
                    }
                    all.extend_from_slice(&data);
                }
                // Sent by itself, right after the joined ones.
                Poll::Ready(Ok(part)) => self.take(part),
                Poll::Ready(Err(error)) => self.rest = Rest::Failure(Some(error)),
                Poll::Pending => break,
            }
        }
        if all.is_empty() { first } else { all.freeze() }
    }

    fn send(&mut self, bytes: Bytes) {
        if let Some(replay) = &mut self.replay {
            replay.bytes += bytes.len();
            replay.sent.push(bytes.clone());
            if replay.bytes > REPLAY || replay.sent.len() > REPLAYED {
                self.replay = None;
            }
        }
        self.sending = bytes;
    }

    /// Takes in the next part. Flushes the sink before it waits, so that nothing read so far is held back.
    fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut impl Source,
        sink: &mut impl Sink,
        waits: Waits,
    ) -> Poll<Result<(), Broken>> {
        if let Some(bytes) = self.ahead.pop_front() {
            self.lane.take(bytes);
            return Poll::Ready(Ok(()));
        }
        let part = match &mut self.rest {
            Rest::Source => source.poll_part(cx),
            Rest::End => Poll::Ready(Ok(None)),
            Rest::Failure(error) => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Ready(Ok(None)),
            },
        };
        match part {
            Poll::Ready(part) => self.take(part.map_err(Broken::Source)?),
            Poll::Pending => {
                self.waits = waits;
                self.flush(cx, sink)?;
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, part: Option<Part>) {
        if let Some(Part::Data(data)) = part {
            return self.lane.take(data);
        }
        if let Some(Part::Trailers(trailers)) = part {
            self.trailers = Some(trailers);
        }
        self.lane.end();
    }

    /// Flushes the sink as far as it goes. A full sink does not keep the pump from waiting for the source.
    fn flush(&self, cx: &mut Context<'_>, sink: &mut impl Sink) -> Result<(), Broken> {
        match sink.poll_flush(cx) {
            Poll::Ready(Err(error)) => Err(Broken::Sink(error)),
            _ => Ok(()),
        }
    }

    fn poll_time(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        if self.timer.as_ref().is_none_or(|(set, _)| *set != until) {
            self.timer = Some((until, Box::pin(timer::sleep_until(until))));
        }
        let Some((_, timer)) = &mut self.timer else {
            return Poll::Pending;
        };
        ready!(timer.as_mut().poll(cx));
        self.timer = None;
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests;
