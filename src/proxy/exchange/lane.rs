//! One direction of an exchange between its source and its sink: runs the Shaper, and counts the faults that take effect.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::proxy::execute::hold::{Bounds, HeldPlace, Holder};
use crate::proxy::record::Record;
use crate::shape::{Finish, Shaper, Step};

/// Bytes that a shaper without room is given nevertheless when it can't progress otherwise.
const LEAST_ROOM: usize = 16 * 1024;

/// What a shaped lane needs from its request: the record for counting, and the bounds of waits.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) record: Arc<Record>,
    pub(super) holder: Arc<Holder>,
    pub(super) bounds: Bounds,
}

/// One direction of an exchange. The default lane passes everything unchanged.
#[derive(Default)]
pub(super) struct Lane {
    /// Boxed, so that a lane without shaping is small.
    shaped: Option<Box<ShapedLane>>,
    /// Bytes taken in that the shaper has no room for yet.
    pending: Bytes,
    /// Whether the natural end was taken in.
    ended: bool,
    over: bool,
}

struct ShapedLane {
    shaper: Shaper,
    /// The plan's actions that shape this lane, whose waits are reported when it ends.
    actions: Vec<usize>,
    rules: Rules,
    told_end: bool,
    /// The step after the bytes that were returned last, computed ahead.
    next: Option<Step>,
    stall: Option<Stall>,
    released: bool,
}

/// A stall in progress.
struct Stall {
    _place: HeldPlace<Arc<Holder>>,
    /// When the stall ends if nothing else ends it first.
    deadline: Instant,
}

/// What is due next in a lane.
#[derive(Debug)]
pub(super) enum Due {
    /// Send these bytes now.
    Send(Bytes),
    /// Nothing before this instant, unless more bytes are taken in.
    Wait(Instant),
    /// Nothing until more bytes are taken in.
    More,
    /// End the lane in this way.
    End(Finish),
    /// The lane has ended.
    Over,
}

impl Lane {
    /// A lane shaped by `shaper` on behalf of `actions`, by index in the plan.
    pub(super) fn shaped(shaper: Shaper, actions: Vec<usize>, rules: Rules) -> Lane {
        Lane {
            shaped: Some(Box::new(ShapedLane {
                shaper,
                actions,
                rules,
                told_end: false,
                next: None,
                stall: None,
                released: false,
            })),
            ..Lane::default()
        }
    }

    /// Whether the lane has room for more bytes.
    pub(super) fn wants_more(&self) -> bool {
        !self.ended && !self.over && self.pending.is_empty() && self.room() > 0
    }

    /// Whether the natural end was taken in.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether a shaper is at work.
    pub(super) fn is_shaped(&self) -> bool {
        self.shaped.is_some()
    }

    /// Takes in natural bytes. Call it only while the lane [wants](Lane::wants_more) them.
    pub(super) fn take(&mut self, bytes: Bytes) {
        if !self.over && !self.ended {
            self.pending = bytes;
        }
    }

    /// Takes in the natural end.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Returns what is due next. Call it again after each [`Due::Send`]. `now` is called only if the lane is shaped.
    pub(super) fn due(&mut self, now: impl FnOnce() -> Instant) -> Due {
        if self.over {
            return Due::Over;
        }
        let due = match &mut self.shaped {
            Some(shaped) => shaped.due(&mut self.pending, self.ended, now()),
            None if !self.pending.is_empty() => Due::Send(std::mem::take(&mut self.pending)),
            None if self.ended => Due::End(Finish::Natural),
            None => Due::More,
        };
        if matches!(due, Due::End(_)) {
            self.close();
        }
        due
    }

    /// Ends a lane whose message turns out to have no body, and reports its actions as missed.
    pub(super) fn has_no_body(&mut self) {
        if let Some(shaped) = &self.shaped {
            for &action in &shaped.actions {
                shaped.rules.record.miss(action, "no body");
            }
        }
        self.shaped = None;
        self.ended = true;
        self.close();
    }

    /// Ends all waits because squall is stopping. A stall without a resume time ends the lane.
    pub(super) fn release(&mut self) {
        if let Some(shaped) = &mut self.shaped {
            shaped.released = true;
            shaped.shaper.release();
        }
    }

    fn close(&mut self) {
        self.over = true;
        self.pending = Bytes::new();
        self.shaped = None;
    }

    fn room(&self) -> usize {
        self.shaped.as_ref().map_or(usize::MAX, |shaped| shaped.shaper.room())
    }
}

impl ShapedLane {
    fn due(&mut self, pending: &mut Bytes, ended: bool, now: Instant) -> Due {
        loop {
            self.feed(pending, ended);
            let step = self.step(now);
            if !matches!(step, Step::Stalled(_)) {
                self.stall = None;
            }
            match step {
                Step::Send(bytes) if bytes.is_empty() => {}
                Step::Send(bytes) => {
                    // Look ahead: an end that follows these bytes must be counted before the client can see it.
                    self.next = Some(self.step(now));
                    return Due::Send(bytes);
                }
                Step::Wait(until) => return Due::Wait(until),
                Step::Stalled(until) => return self.stalled(until, now),
                Step::End(finish) => return Due::End(finish),
                Step::More if pending.is_empty() => return Due::More,
                // A message longer than the buffer would never fit, so it is let in piece by piece.
                Step::More => self.shaper.push(pending.split_to(pending.len().min(LEAST_ROOM))),
            }
        }
    }

    fn step(&mut self, now: Instant) -> Step {
        if let Some(step @ (Step::Send(_) | Step::End(_))) = self.next.take() {
            return step;
        }
        let mut step = self.shaper.step(now);
        let mut left_out = None;
        if matches!(step, Step::Stalled(_)) && !self.hold(now) {
            left_out = self.shaper.skip_stall();
            step = self.shaper.step(now);
        }
        while let Some(action) = self.shaper.took_effect() {
            if left_out == Some(action) {
                self.rules.record.skip(action, "too many held")
            } else {
                self.rules.record.done(action)
            }
        }
        if matches!(step, Step::End(_)) {
            for missed in self.shaper.missed() {
                self.rules.record.miss(missed.action, missed.reason);
            }
        }
        step
    }

    fn feed(&mut self, pending: &mut Bytes, ended: bool) {
        while !pending.is_empty() {
            let room = self.shaper.room().min(pending.len());
            if room == 0 {
                return;
            }
            self.shaper.push(pending.split_to(room));
        }
        if ended && !self.told_end {
            self.told_end = true;
            self.shaper.end();
        }
    }

    /// Takes a place among the held requests. Returns false if there is none.
    fn hold(&mut self, now: Instant) -> bool {
        if self.stall.is_none() {
            let place = Holder::place(&self.rules.holder, self.rules.bounds);
            self.stall = place.map(|place| Stall {
                _place: place,
                // On overflow the stall ends at once.
                deadline: now.checked_add(self.rules.bounds.longest).unwrap_or(now),
            });
        }
        self.stall.is_some()
    }

    fn stalled(&self, until: Option<Instant>, now: Instant) -> Due {
        let deadline = self.stall.as_ref().map_or(now, |stall| stall.deadline);
        match until {
            Some(until) => Due::Wait(until),
            None if now < deadline && !self.released => Due::Wait(deadline),
            None => Due::End(Finish::Close),
        }
    }
}

impl Drop for ShapedLane {
    /// Reports the waits here, so that they are counted however the lane ends.
    fn drop(&mut self) {
        for &action in &self.actions {
            let held = self.shaper.held(action);
            if held > Duration::ZERO {
                self.rules.record.waited(action, held);
            }
        }
    }
}
