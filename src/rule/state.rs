//! What a rule remembers between requests, and the seam through which deciding asks for it.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::decide::Rule;
use super::when::{Limits, Reason};
use crate::draw::KeyHash;
use crate::draw::remembered::Remembered;

/// Counters and remembered keys of one rule. Survives a reload that leaves the rule as it was.
#[derive(Debug)]
pub struct RuleState {
    loaded: Instant,
    matched: AtomicU64,
    hit: AtomicU64,
    active: AtomicU32,
    attempts: Option<Remembered<u32>>,
}

/// What deciding asks of the world: numbers and time. The same answers give the same plan.
pub trait Memory {
    /// The request's number among those that the rule matched, from 1.
    fn ordinal(&self, rule: &Rule) -> u64;
    /// Which attempt of its key the request is, from 1.
    fn attempt(&self, rule: &Rule, key: KeyHash) -> u32;
    /// Asks for a place within the rule's limits. A place of [`Live`] is held until [`RuleState::leave`].
    fn admit(&self, rule: &Rule, ordinal: u64) -> Result<(), Reason>;
    /// Whether the answers count.
    fn counts(&self) -> bool;
    /// Time since the rule was loaded.
    fn since(&self, rule: &Rule) -> Duration;
}

/// The memory of a running proxy: every question counts.
#[derive(Debug, Clone, Copy)]
pub struct Live {
    /// The moment of the decision.
    pub now: Instant,
}

/// A look at the memory that changes nothing: for `explain`.
#[derive(Debug, Clone, Copy)]
pub struct Peek {
    /// The moment of the decision.
    pub now: Instant,
    /// The ordinal to assume, instead of the next one.
    pub ordinal: Option<u64>,
    /// The time since the rules were loaded to assume.
    pub since: Option<Duration>,
}

impl RuleState {
    /// A rule loaded at `now`; `keys` are remembered if it counts attempts.
    pub fn new(now: Instant, keys: Option<NonZeroUsize>) -> RuleState {
        RuleState {
            loaded: now,
            matched: AtomicU64::new(0),
            hit: AtomicU64::new(0),
            active: AtomicU32::new(0),
            attempts: keys.map(Remembered::new),
        }
    }

    /// Requests that the rule matched.
    pub fn matched(&self) -> u64 {
        self.matched.load(Ordering::Relaxed)
    }

    /// Requests that it hit.
    pub fn hits(&self) -> u64 {
        self.hit.load(Ordering::Relaxed)
    }

    /// Requests under its faults now.
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Gives back a place that [`Memory::admit`] gave.
    pub fn leave(&self) {
        self.active.fetch_sub(1, Ordering::AcqRel);
    }

    fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.loaded)
    }

    fn admit(&self, limits: &Limits, ordinal: u64) -> Result<(), Reason> {
        let below = |limit: Option<u32>| move |n: u32| limit.is_none_or(|limit| n < limit).then(|| n.saturating_add(1));
        // Checked and counted in one step: no two requests can take the last place.
        self.active
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, below(limits.active))
            .map_err(|_| Reason::LimitActive)?;
        // The two bounds on hits are asked at once, so that no two requests can take the last one.
        let counted = self.hit.fetch_update(Ordering::AcqRel, Ordering::Acquire, |hits| {
            within(limits, hits, ordinal).is_ok().then(|| hits.saturating_add(1))
        });
        counted.map(|_| ()).map_err(|hits| {
            self.leave();
            within(limits, hits, ordinal).err().unwrap_or(Reason::LimitTotal)
        })
    }
}

/// Whether one more hit is within the bounds, after `hits` hits among `ordinal` matching requests.
fn within(limits: &Limits, hits: u64, ordinal: u64) -> Result<(), Reason> {
    if limits.total.is_some_and(|total| hits >= total) {
        return Err(Reason::LimitTotal);
    }
    let over = |share: u32| u128::from(hits + 1) * 1_000_000 > u128::from(ordinal) * u128::from(share);
    match limits.share {
        Some(share) if over(share) => Err(Reason::LimitShare),
        _ => Ok(()),
    }
}

impl Memory for Live {
    fn ordinal(&self, rule: &Rule) -> u64 {
        rule.metrics.matched.inc();
        rule.state.matched.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn attempt(&self, rule: &Rule, key: KeyHash) -> u32 {
        let count = |attempts: &mut u32| {
            *attempts = attempts.saturating_add(1);
            *attempts
        };
        rule.state
            .attempts
            .as_ref()
            .map_or(1, |attempts| attempts.change(key.value(), || 0, count))
    }

    fn admit(&self, rule: &Rule, ordinal: u64) -> Result<(), Reason> {
        rule.state.admit(&rule.when.limits, ordinal)
    }

    fn counts(&self) -> bool {
        true
    }

    fn since(&self, rule: &Rule) -> Duration {
        rule.state.since(self.now)
    }
}

impl Memory for Peek {
    fn ordinal(&self, rule: &Rule) -> u64 {
        self.ordinal.unwrap_or_else(|| rule.state.matched() + 1)
    }

    fn attempt(&self, rule: &Rule, key: KeyHash) -> u32 {
        let remembered = rule
            .state
            .attempts
            .as_ref()
            .and_then(|attempts| attempts.peek(key.value(), |n| n.copied()));
        remembered.unwrap_or(0).saturating_add(1)
    }

    fn admit(&self, rule: &Rule, ordinal: u64) -> Result<(), Reason> {
        let limits = &rule.when.limits;
        if limits.active.is_some_and(|limit| rule.state.active() >= limit) {
            return Err(Reason::LimitActive);
        }
        within(limits, rule.state.hits(), ordinal)
    }

    fn counts(&self) -> bool {
        false
    }

    fn since(&self, rule: &Rule) -> Duration {
        self.since.unwrap_or_else(|| rule.state.since(self.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> RuleState {
        RuleState::new(Instant::now(), None)
    }

    #[test]
    fn active_is_a_bound_on_those_inside() {
        let state = state();
        let limits = Limits {
            active: Some(2),
            ..Limits::default()
        };
        assert!(state.admit(&limits, 1).is_ok());
        assert!(state.admit(&limits, 2).is_ok());
        assert_eq!(state.admit(&limits, 3), Err(Reason::LimitActive));
        state.leave();
        assert!(state.admit(&limits, 4).is_ok());
    }

    #[test]
    fn total_and_share_are_bounds_on_hits() {
        let state = state();
        let limits = Limits {
            share: Some(200_000),
            total: Some(3),
            ..Limits::default()
        };
        let admitted: Vec<u64> = (1..=100)
            .filter(|ordinal| state.admit(&limits, *ordinal).is_ok())
            .collect();
        assert_eq!(admitted, [5, 10, 15]);
        assert_eq!(state.active(), 3, "a refusal holds no place");
    }
}
