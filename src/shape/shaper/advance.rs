//! What a step of the [`Shaper`] does, one thing after the other.

use std::time::{Duration, Instant};

use super::gates::Stop;
use super::line::{DelayLine, Passed};
use super::{GOING_AWAY, Shaper, Step};
use crate::shape::Finish;
use crate::shape::framing::websocket::close_frame;

impl Shaper {
    /// Makes progress. Returns `None` if it must be called again.
    pub(super) fn advance(&mut self, now: Instant) -> Option<Step> {
        self.pass_line(now);
        if let Some(piece) = self.reserved(now) {
            return Some(piece);
        }
        if let Some(over) = &self.over {
            return Some(Step::End(over.clone()));
        }
        let end_early = self.released || (self.discarding && self.has_ended());
        match self.pauses.pass(now, end_early, &mut self.notes) {
            Some(Ok(step)) => return Some(step),
            Some(Err(then)) => {
                self.finish(then, now);
                return None;
            }
            None => {}
        }
        let bytes = !self.flow.source.is_empty();
        let due = self.flow.gates.due(&self.flow.out, bytes);
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
            let next = self.line.as_ref().and_then(DelayLine::next);
            return Some(next.map_or(Step::More, Step::Wait));
        }
        if !self.flow.finish(&mut self.notes) && !self.delay_end() {
            self.natural_end();
        }
        None
    }

    /// Moves what is due from the line to the source.
    fn pass_line(&mut self, now: Instant) {
        if let Some(line) = self.line.as_mut().filter(|_| !self.released) {
            line.arrive(now, self.flow.elapsed, &mut self.notes);
        }
        while self.room_past_line() > 0
            && let Some(line) = &mut self.line
            && let Some(passed) = if self.released {
                line.release(now)
            } else {
                line.pass(now)
            }
        {
            match passed {
                Passed::Bytes(bytes) => self.flow.source.push(bytes),
                Passed::End => self.ended = true,
            }
        }
    }

    /// How many bytes the source has room for.
    pub(super) fn room_past_line(&self) -> usize {
        let piece = self.piece.as_ref().map_or(0, |(piece, _)| piece.len());
        self.buffer
            .saturating_sub(self.flow.source.natural().saturating_add(piece))
    }

    /// The step for the reserved piece, if there is one.
    fn reserved(&mut self, now: Instant) -> Option<Step> {
        let (_, at) = self.piece.as_ref()?;
        if *at > now && !self.released {
            return Some(Step::Wait(*at));
        }
        let (piece, _) = self.piece.take()?;
        self.sent = self.sent.saturating_add(piece.len() as u64);
        Some(Step::Send(piece))
    }

    /// Begins the waits before the first byte. Returns whether there are any.
    fn delay(&mut self) -> bool {
        let delays = self.delays.take();
        self.wait(delays)
    }

    /// Begins the waits before the natural end. Returns whether there are any.
    fn delay_end(&mut self) -> bool {
        let delays = self.end_delays.take();
        self.wait(delays)
    }

    fn wait(&mut self, delays: Option<Vec<(usize, Duration)>>) -> bool {
        let delays = delays.filter(|_| !self.released);
        for (action, time) in delays.iter().flatten() {
            self.pauses.wait(*action, *time);
        }
        delays.is_some_and(|delays| !delays.is_empty())
    }

    /// Passes a gate that was reached.
    fn stop(&mut self, now: Instant) {
        let arrived = !self.flow.source.is_empty();
        match self.flow.gates.pass(&self.flow.out, arrived) {
            Some((action, Stop::Stall { limit, then, discard })) if !self.released => {
                self.pauses.stall(action, limit, then);
                self.discarding = discard;
            }
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

    /// Forms the next piece, and reserves an instant for it.
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

    /// Ends the stream early, unless `end` is [`Finish::Natural`], which resumes it.
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
        self.discard();
        self.over = Some(end);
    }

    /// Drops what was taken in.
    pub(super) fn discard(&mut self) {
        self.flow.source.clear();
        if let Some(line) = &mut self.line {
            line.clear();
        }
    }

    /// Whether the natural end was taken in.
    fn has_ended(&self) -> bool {
        self.ended || self.line.as_ref().is_some_and(DelayLine::has_ended)
    }

    fn natural_end(&mut self) {
        self.over = Some(Finish::Natural);
        self.flow.missed(&mut self.notes);
        if !self.released {
            self.pieces.missed(&mut self.notes);
        }
    }
}
