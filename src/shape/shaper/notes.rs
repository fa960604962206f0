//! Notes about actions: which took effect, how long they held the stream, and which had nothing to act on.

use std::time::Duration;

use super::Missed;

#[derive(Debug, Default)]
pub(super) struct Notes {
    took_effect: Vec<usize>,
    /// How many of `took_effect` were returned by [`Notes::tell`].
    told: usize,
    held: Vec<(usize, Duration)>,
    missed: Vec<Missed>,
}

impl Notes {
    /// Notes that an action takes effect.
    pub(super) fn take_effect(&mut self, action: usize) {
        if !self.took_effect.contains(&action) {
            self.took_effect.push(action);
        }
    }

    /// Returns the next action that took effect.
    pub(super) fn tell(&mut self) -> Option<usize> {
        let next = self.took_effect.get(self.told).copied();
        self.told += usize::from(next.is_some());
        next
    }

    /// Notes that an action has held the stream for `time`.
    pub(super) fn hold(&mut self, action: usize, time: Duration) {
        match self.held.iter_mut().find(|(of, _)| *of == action) {
            Some((_, held)) => *held = held.saturating_add(time),
            None => self.held.push((action, time)),
        }
    }

    pub(super) fn held(&self, action: usize) -> Duration {
        let held = self.held.iter().find(|(of, _)| *of == action);
        held.map_or(Duration::ZERO, |(_, held)| *held)
    }

    /// Notes that an act had nothing to act on. Ignored if another act of the action took effect.
    pub(super) fn miss(&mut self, action: usize, reason: &'static str) {
        let known = self.took_effect.contains(&action) || self.missed.iter().any(|missed| missed.action == action);
        if !known {
            self.missed.push(Missed { action, reason });
        }
    }

    pub(super) fn missed(&self) -> &[Missed] {
        &self.missed
    }
}
