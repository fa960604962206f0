//! Waits and stalls, one after the other.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Step;
use super::notes::Notes;
use crate::shape::Finish;
use crate::shape::bucket::later;

#[derive(Debug, Default)]
pub(super) struct Pauses {
    waiting: VecDeque<Pause>,
    /// When the first of them began, and when it ends; `None`: never.
    current: Option<(Instant, Option<Instant>)>,
    /// When the last one ended, if that was in this step: pauses in a row don't lose the time by which a timer came late.
    ended: Option<Instant>,
}

#[derive(Debug)]
struct Pause {
    action: usize,
    /// `None`: for ever.
    time: Option<Duration>,
    /// What comes after a stall. `None`: it is a wait.
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

    /// A step is done: a pause that comes later begins when it comes.
    pub(super) fn step(&mut self) {
        self.ended = None;
    }

    /// What to do until the first pause ends; or how the stream ends after it, or goes on. `None`: there is no pause.
    pub(super) fn pass(&mut self, now: Instant, released: bool, notes: &mut Notes) -> Option<Result<Step, Finish>> {
        let pause = self.waiting.front()?;
        let (since, until) = *self.current.get_or_insert_with(|| {
            let since = self.ended.take().unwrap_or(now);
            (since, pause.time.map(|time| later(since, time)))
        });
        notes.take_effect(pause.action);
        let over = released || until.is_some_and(|until| until <= now);
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

    /// Leaves out the stall that is the current pause; whose it is.
    pub(super) fn skip_stall(&mut self) -> Option<usize> {
        let stall = self.waiting.pop_front_if(|pause| pause.stall.is_some())?;
        self.current = None;
        Some(stall.action)
    }

    /// How long the current pause has lasted, if it is the action's.
    pub(super) fn held(&self, action: usize, now: Instant) -> Duration {
        let of = self.waiting.front().filter(|pause| pause.action == action);
        match (of, self.current) {
            (Some(_), Some((since, _))) => now.saturating_duration_since(since),
            _ => Duration::ZERO,
        }
    }
}
