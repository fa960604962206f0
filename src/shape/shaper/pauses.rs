//! The queue of waits and stalls, which run one after the other.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Step;
use super::notes::Notes;
use crate::shape::Finish;
use crate::shape::bucket::later;

#[derive(Debug, Default)]
pub(super) struct Pauses {
    waiting: VecDeque<Pause>,
    /// When the first pause began and when it ends; the end is `None` if it never does.
    current: Option<(Instant, Option<Instant>)>,
    /// When the last pause ended, if that was in this step. The next one begins then, so that late timers don't add up.
    ended: Option<Instant>,
}

#[derive(Debug)]
struct Pause {
    action: usize,
    /// `None`: forever.
    time: Option<Duration>,
    /// What follows a stall; `None` for a wait.
    stall: Option<Finish>,
}

impl Pauses {
    pub(super) fn wait(&mut self, action: usize, time: Duration) {
        self.waiting.push_back(Pause {
            action,
            time: Some(time),
            stall: None,
        });
    }

    pub(super) fn stall(&mut self, action: usize, time: Option<Duration>, then: Finish) {
        self.waiting.push_back(Pause {
            action,
            time,
            stall: Some(then),
        });
    }

    /// Notes the end of a step: later pauses begin when they are added.
    pub(super) fn step(&mut self) {
        self.ended = None;
    }

    /// Returns the step for the first pause while it lasts, or what follows once it has ended, at the latest now if
    /// `end_early`. `None` if there is no pause.
    pub(super) fn pass(&mut self, now: Instant, end_early: bool, notes: &mut Notes) -> Option<Result<Step, Finish>> {
        let pause = self.waiting.front()?;
        let (since, until) = *self.current.get_or_insert_with(|| {
            let since = self.ended.take().unwrap_or(now);
            (since, pause.time.map(|time| later(since, time)))
        });
        notes.take_effect(pause.action);
        let over = end_early || until.is_some_and(|until| until <= now);
        if !over {
            return Some(Ok(match (&pause.stall, until) {
                (None, Some(until)) => Step::Wait(until),
                (_, until) => Step::Stalled(until),
            }));
        }
        let ended = until.map_or(now, |until| until.min(now));
        notes.hold(pause.action, ended.saturating_duration_since(since));
        self.ended = Some(ended);
        self.current = None;
        let then = self.waiting.pop_front().and_then(|pause| pause.stall);
        Some(Err(then.unwrap_or(Finish::Natural)))
    }

    /// Skips the stall that is the current pause. Returns its action.
    pub(super) fn skip_stall(&mut self) -> Option<usize> {
        let stall = self.waiting.pop_front_if(|pause| pause.stall.is_some())?;
        self.current = None;
        Some(stall.action)
    }

    /// Ends the current pause at the next step as if it were a wait, and drops the others. With `announced`, stalls before a
    /// clean end end with it instead.
    pub(super) fn retire(&mut self, announced: bool) {
        let stays = |pause: &Pause| announced && matches!(pause.stall, Some(Finish::Clean(_)));
        let mut at = 0;
        let current = usize::from(self.current.is_some());
        self.waiting.retain_mut(|pause| {
            let (is_current, stays) = (at < current, stays(pause));
            at += 1;
            if !stays {
                pause.stall = None;
            }
            is_current || stays
        });
    }

    /// How long the current pause has lasted, if it belongs to `action`.
    pub(super) fn held(&self, action: usize, now: Instant) -> Duration {
        let of = self.waiting.front().filter(|pause| pause.action == action);
        match (of, self.current) {
            (Some(_), Some((since, _))) => now.saturating_duration_since(since),
            _ => Duration::ZERO,
        }
    }
}
