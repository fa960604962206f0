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
pub(in crate::proxy) struct Rules {
    pub(in crate::proxy) record: Arc<Record>,
    pub(in crate::proxy) holder: Arc<Holder>,
    pub(in crate::proxy) bounds: Bounds,
}

/// One direction of an exchange. The default lane passes everything unchanged.
///
/// A message of HTTP has at most one shaper, for all acts of its plan. A TCP connection has one for each rule, in a row, so that
/// a rule can be changed while the bytes of the others go on.
#[derive(Default)]
pub(in crate::proxy) struct Lane {
    /// The shapers, from the source to the sink.
    stages: Vec<Stage>,
    /// Bytes taken in that the first stage has no room for yet.
    pending: Bytes,
    /// Whether the natural end was taken in.
    ended: bool,
    over: bool,
    /// How the lane ends once what a stage sent before it ended has passed the stages behind it.
    ending: Option<Finish>,
}

/// A shaper, and what it takes in.
pub(in crate::proxy) struct Stage {
    /// Tells the stages of a lane apart, for one that changes.
    id: u64,
    shaper: Shaper,
    /// Bytes from the stage before that the shaper has no room for yet.
    pending: Bytes,
    /// Whether the stage before has ended.
    ended: bool,
    /// The plan's actions that shape this lane, whose waits are reported when it ends.
    actions: Vec<usize>,
    rules: Rules,
    told_end: bool,
    /// The step after the bytes that were returned last, computed ahead.
    next: Option<Step>,
    stall: Option<Stall>,
    released: bool,
    /// Whether the stage is only passing on what it has.
    retired: bool,
}

/// What a stage that was retired has done.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Retired {
    /// The bytes that it has sent.
    pub(in crate::proxy) sent: u64,
    /// Whether it has thrown bytes away.
    pub(in crate::proxy) discards: bool,
}

/// A stall in progress.
struct Stall {
    _place: HeldPlace<Arc<Holder>>,
    /// When the stall ends if nothing else ends it first.
    deadline: Instant,
}

/// What is due next in a lane.
#[derive(Debug)]
pub(in crate::proxy) enum Due {
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
    /// A lane with one stage.
    pub(in crate::proxy) fn shaped(stage: Stage) -> Lane {
        Lane {
            stages: vec![stage],
            ..Lane::default()
        }
    }

    /// Whether the lane has room for more bytes.
    pub(in crate::proxy) fn wants_more(&self) -> bool {
        let room = self.stages.first().is_none_or(|first| first.shaper.room() > 0);
        !self.ended && !self.over && self.pending.is_empty() && room
    }

    /// Whether the natural end was taken in.
    pub(in crate::proxy) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether a shaper is at work.
    pub(in crate::proxy) fn is_shaped(&self) -> bool {
        !self.stages.is_empty()
    }

    /// Takes in natural bytes. Call it only while the lane [wants](Lane::wants_more) them.
    pub(in crate::proxy) fn take(&mut self, bytes: Bytes) {
        if !self.over && !self.ended {
            self.pending = bytes;
        }
    }

    /// Takes in the natural end.
    pub(in crate::proxy) fn end(&mut self) {
        self.ended = true;
    }

    /// Returns what is due next. Call it again after each [`Due::Send`]. `now` is called only if the lane is shaped.
    pub(in crate::proxy) fn due(&mut self, now: impl FnOnce() -> Instant) -> Due {
        if self.over {
            return Due::Over;
        }
        let due = if self.is_shaped() {
            self.shaped_due(now())
        } else {
            self.unshaped_due()
        };
        if matches!(due, Due::End(_)) {
            self.close();
        }
        due
    }

    /// Asks the stages from the last to the first, so that what can leave does before more is let in.
    fn shaped_due(&mut self, now: Instant) -> Due {
        let mut until: Option<Instant> = None;
        let mut at = self.stages.len();
        while let Some((before, rest)) = at.checked_sub(1).and_then(|one| self.stages.split_at_mut_checked(one)) {
            at -= 1;
            let Some((stage, behind)) = rest.split_first_mut() else {
                break;
            };
            if behind.first().is_some_and(|next| !next.wants_more()) {
                continue;
            }
            if before.is_empty() {
                stage.take_from(&mut self.pending, self.ended);
            }
            match (stage.due(now), behind.first_mut()) {
                (Due::Send(bytes), None) => return Due::Send(bytes),
                (Due::Send(bytes), Some(next)) => {
                    next.pending = bytes;
                    (at, until) = (self.stages.len(), None);
                }
                (Due::End(finish), None) => return Due::End(self.ending.take().unwrap_or(finish)),
                (Due::End(finish), Some(next)) => {
                    next.ended = true;
                    if !matches!(finish, Finish::Natural) {
                        self.ending.get_or_insert(finish);
                    }
                    // What comes before the end of this stage can't pass it any more.
                    self.stages.drain(..=at);
                    self.pending = Bytes::new();
                    (at, until) = (self.stages.len(), None);
                }
                (Due::Wait(next), _) => until = Some(until.map_or(next, |until| until.min(next))),
                (Due::More | Due::Over, _) if stage.is_spent() => {
                    self.stages.remove(at);
                    // What waited for this stage may pass the next one, or the lane.
                    (at, until) = (self.stages.len(), None);
                }
                (Due::More | Due::Over, _) => {}
            }
        }
        match until {
            Some(until) => Due::Wait(until),
            None if self.is_shaped() => Due::More,
            // The last stage was retired.
            None => self.unshaped_due(),
        }
    }

    fn unshaped_due(&mut self) -> Due {
        if !self.pending.is_empty() {
            Due::Send(std::mem::take(&mut self.pending))
        } else if self.ended {
            Due::End(Finish::Natural)
        } else {
            Due::More
        }
    }

    /// Ends a lane whose message turns out to have no body, and reports its actions as missed.
    pub(super) fn has_no_body(&mut self) {
        for stage in &self.stages {
            for &action in &stage.actions {
                stage.rules.record.miss(action, "no body");
            }
        }
        self.stages.clear();
        self.ended = true;
        self.close();
    }

    /// Ends all waits because squall is stopping. A stall without a resume time ends the lane.
    pub(in crate::proxy) fn release(&mut self) {
        for stage in &mut self.stages {
            stage.released = true;
            stage.shaper.release();
        }
    }

    /// Retires the stages of rules that were switched off. A stage of several rules goes with the first of them, since its
    /// shaper can't tell what each of them holds.
    pub(in crate::proxy) fn let_go(&mut self) {
        for stage in self.stages.iter_mut().filter(|stage| !stage.retired) {
            if stage.is_let_go() {
                stage.retire();
            }
        }
    }

    /// Adds a stage behind the last one whose id is among `before`, or else before all others.
    pub(in crate::proxy) fn insert(&mut self, stage: Stage, before: &[u64]) {
        let last = self.stages.iter().rposition(|other| before.contains(&other.id));
        self.stages.insert(last.map_or(0, |last| last + 1), stage);
    }

    /// Removes a stage once what it holds has passed on. `None` if there is no such stage.
    pub(in crate::proxy) fn retire(&mut self, id: u64) -> Option<Retired> {
        let stage = self.stages.iter_mut().find(|stage| stage.id == id && !stage.retired)?;
        stage.retire();
        Some(Retired {
            sent: stage.shaper.sent(),
            discards: stage.shaper.discards(),
        })
    }

    /// Whether the lane has nothing to do with the bytes that come next.
    pub(in crate::proxy) fn is_clear(&self) -> bool {
        self.stages.is_empty() && self.pending.is_empty() && !self.ended && !self.over
    }

    fn close(&mut self) {
        self.over = true;
        self.pending = Bytes::new();
        self.stages.clear();
    }
}

impl Stage {
    /// A shaper that works on behalf of `actions`, by index in the plan.
    pub(in crate::proxy) fn new(id: u64, shaper: Shaper, actions: Vec<usize>, rules: Rules) -> Stage {
        Stage {
            id,
            shaper,
            pending: Bytes::new(),
            ended: false,
            actions,
            rules,
            told_end: false,
            next: None,
            stall: None,
            released: false,
            retired: false,
        }
    }

    fn wants_more(&self) -> bool {
        !self.ended && self.pending.is_empty() && self.shaper.room() > 0
    }

    /// Takes over what the lane has taken in.
    fn take_from(&mut self, pending: &mut Bytes, ended: bool) {
        if self.pending.is_empty() {
            self.pending = std::mem::take(pending);
        }
        self.ended |= ended && pending.is_empty();
    }

    fn is_let_go(&self) -> bool {
        self.actions.iter().any(|at| self.rules.record.is_let_go(*at))
    }

    fn retire(&mut self) {
        self.retired = true;
        self.stall = None;
        // What a stall has thrown away is missing from the stream, so it ends.
        self.released |= self.shaper.discards();
        self.shaper.retire();
    }

    /// Whether the stage was retired, and has passed on all that it had.
    fn is_spent(&self) -> bool {
        self.retired && !self.ended && self.pending.is_empty()
    }
}

impl Stage {
    fn due(&mut self, now: Instant) -> Due {
        loop {
            self.feed();
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
                Step::More if self.pending.is_empty() => return Due::More,
                // A message longer than the buffer would never fit, so it is let in piece by piece.
                Step::More => {
                    let least = self.pending.len().min(LEAST_ROOM);
                    self.shaper.push(self.pending.split_to(least));
                }
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

    fn feed(&mut self) {
        while !self.pending.is_empty() {
            let room = self.shaper.room().min(self.pending.len());
            if room == 0 {
                return;
            }
            self.shaper.push(self.pending.split_to(room));
        }
        if self.ended && !self.told_end {
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

impl Drop for Stage {
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
