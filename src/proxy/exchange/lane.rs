//! What passes in one direction: what is due, what is waited for, what is counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::proxy::execute::hold::{Bounds, HeldPlace, Holder};
use crate::proxy::record::Record;
use crate::shape::{Finish, Shaper, Step};

/// What a shaper without room takes in nonetheless, in bytes, where nothing else would go on.
const LEAST_ROOM: usize = 16 * 1024;

/// Where a lane's faults are counted, and what bounds its waits.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) record: Arc<Record>,
    pub(super) holder: Arc<Holder>,
    pub(super) bounds: Bounds,
}

/// One direction. By default everything passes.
#[derive(Default)]
pub(super) struct Lane {
    /// Apart, so that a lane that shapes nothing is small.
    shaped: Option<Box<ShapedLane>>,
    /// Taken in, and not yet given to the shaper.
    pending: Bytes,
    /// The natural end was taken in.
    ended: bool,
    over: bool,
}

struct ShapedLane {
    shaper: Shaper,
    /// The actions at work, for their waits.
    actions: Vec<usize>,
    rules: Rules,
    told_end: bool,
    /// Looked at already: what comes after the bytes that left last.
    next: Option<Step>,
    stall: Option<Stall>,
    released: bool,
}

/// Sending has stopped.
struct Stall {
    _place: HeldPlace<Arc<Holder>>,
    /// Where nothing else ends it.
    deadline: Instant,
}

/// What comes next in a lane.
#[derive(Debug)]
pub(super) enum Due {
    /// These bytes leave now.
    Send(Bytes),
    /// Nothing before this instant, unless more is taken in.
    Wait(Instant),
    /// Nothing until more is taken in.
    More,
    /// The lane ends, like this.
    End(Finish),
    /// The lane has ended.
    Over,
}

impl Lane {
    /// A lane that `shaper` shapes, for these actions of the plan.
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

    /// Whether it has room for more.
    pub(super) fn wants_more(&self) -> bool {
        !self.ended && !self.over && self.pending.is_empty() && self.room() > 0
    }

    /// Whether the natural end was taken in.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether something shapes what passes.
    pub(super) fn is_shaped(&self) -> bool {
        self.shaped.is_some()
    }

    /// Takes in natural bytes, when it [wants](Lane::wants_more) them.
    pub(super) fn take(&mut self, bytes: Bytes) {
        if !self.over && !self.ended {
            self.pending = bytes;
        }
    }

    /// Takes in the natural end.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// What comes next. To be asked again after each [`Due::Send`]. The clock is read only where it matters.
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

    /// There is nothing to shape after all.
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

    /// Gives up all waits: squall is stopping. A stall without an end becomes one.
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
                    // An end that comes with these bytes is counted before the client can know of it.
                    self.next = Some(self.step(now));
                    return Due::Send(bytes);
                }
                Step::Wait(until) => return Due::Wait(until),
                Step::Stalled(until) => return self.stalled(until, now),
                Step::End(finish) => return Due::End(finish),
                Step::More if pending.is_empty() => return Due::More,
                // A message that is longer than the buffer has to be let in.
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

    /// Takes a place among the requests that are held. False if there is none.
    fn hold(&mut self, now: Instant) -> bool {
        if self.stall.is_none() {
            let place = Holder::place(&self.rules.holder, self.rules.bounds);
            self.stall = place.map(|place| Stall {
                _place: place,
                // A bound that the clock can't show is none.
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
    fn drop(&mut self) {
        for &action in &self.actions {
            let held = self.shaper.held(action);
            if held > Duration::ZERO {
                self.rules.record.waited(action, held);
            }
        }
    }
}
