//! The state of a rule between requests, and the trait through which a decision reads and changes it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::decide::Rule;
use super::switch::{RuleSwitch, Switch, Trip};
use super::when::{Limits, Reason};
use crate::draw::KeyHash;
use crate::draw::remembered::Remembered;

/// Counters and remembered keys of one rule. Kept by a reload that leaves the rule unchanged.
#[derive(Debug)]
pub struct RuleState {
    loaded: Instant,
    matched: AtomicU64,
    hit: AtomicU64,
    active: AtomicU32,
    attempts: Option<Remembered<u32>>,
    /// Shared by all rules of this name, one after the other.
    switch: Arc<RuleSwitch>,
}

/// The state that a decision depends on: counts and time. With equal return values a decision is equal.
pub trait Memory {
    /// The request's number among those that the rule matched, from 1.
    fn ordinal(&self, rule: &Rule) -> u64;
    /// The request's number among those with its key, from 1.
    fn attempt(&self, rule: &Rule, key: KeyHash) -> u32;
    /// Takes a place within the rule's limits. With [`Live`] it is held until [`RuleState::leave`].
    ///
    /// # Errors
    /// The limit that is reached.
    fn admit(&self, rule: &Rule, ordinal: u64) -> Result<(), Reason>;
    /// Whether the calls change the state.
    fn counts(&self) -> bool;
    /// The time since the rule was loaded.
    fn since(&self, rule: &Rule) -> Duration;
}

/// The memory of a running proxy: every call counts.
#[derive(Debug, Clone, Copy)]
pub struct Live {
    /// The time of the decision.
    pub now: Instant,
}

/// A read-only view of the memory, for `explain`.
#[derive(Debug, Clone, Copy)]
pub struct Peek {
    /// The time of the decision.
    pub now: Instant,
    /// The ordinal to assume, instead of the next one.
    pub ordinal: Option<u64>,
    /// The time since loading to assume, instead of the real one.
    pub since: Option<Duration>,
}

impl RuleState {
    /// The state of a rule loaded at `now`, which remembers at most `keys` keys if it counts attempts.
    pub fn new(now: Instant, keys: Option<NonZeroUsize>) -> RuleState {
        RuleState {
            loaded: now,
            matched: AtomicU64::new(0),
            hit: AtomicU64::new(0),
            active: AtomicU32::new(0),
            attempts: keys.map(Remembered::new),
            switch: Arc::default(),
        }
    }

    /// Takes over the switch of the rule that this one replaces: what was switched off stays off.
    pub fn take_switch(&mut self, previous: Option<&RuleState>) {
        if let Some(previous) = previous {
            self.switch = Arc::clone(&previous.switch);
        }
    }

    /// The position of the rule's switch.
    pub fn switch(&self) -> Switch {
        self.switch.position()
    }

    /// Why a guard stopped the rule, if one did.
    pub fn tripped(&self) -> Option<Trip> {
        self.switch.tripped()
    }

    /// Why the rule is off, if that is not because it is configured so.
    pub fn why_off(&self) -> Option<String> {
        match (self.switch(), self.tripped()) {
            (Switch::Off, _) => Some("it was switched off".to_owned()),
            (_, Some(trip)) => Some(format!("the guard `{}` has stopped it: {}", trip.guard, trip.reason)),
            _ => None,
        }
    }

    /// The switch itself, to change it.
    pub fn rule_switch(&self) -> &Arc<RuleSwitch> {
        &self.switch
    }

    /// The number of requests that the rule matched.
    pub fn matched(&self) -> u64 {
        // Relaxed here and in the other getters: the counts are only reported, and guard no other memory.
        self.matched.load(Ordering::Relaxed)
    }

    /// The number of requests that the rule hit.
    pub fn hits(&self) -> u64 {
        self.hit.load(Ordering::Relaxed)
    }

    /// The number of requests that are under the rule's faults now.
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Frees a place taken by [`Memory::admit`].
    pub fn leave(&self) {
        self.active.fetch_sub(1, Ordering::AcqRel);
    }

    fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.loaded)
    }

    fn admit(&self, limits: &Limits, ordinal: u64) -> Result<(), Reason> {
        let below = |limit: Option<u32>| move |n: u32| limit.is_none_or(|limit| n < limit).then(|| n.saturating_add(1));
        // Checked and counted in one step, so that no two requests can take the last place. The counts guard no other memory.
        self.active
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, below(limits.active))
            .map_err(|_| Reason::LimitActive)?;
        // Both bounds on hits in one step. A refused request gives its active place back: nothing was injected.
        let counted = self.hit.fetch_update(Ordering::AcqRel, Ordering::Acquire, |hits| {
            within(limits, hits, ordinal).is_ok().then(|| hits.saturating_add(1))
        });
        counted.map(|_| ()).map_err(|hits| {
            self.leave();
            within(limits, hits, ordinal).err().unwrap_or(Reason::LimitTotal)
        })
    }
}

/// Checks that one more hit is within the limits, after `hits` hits among `ordinal` matching requests.
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
        rule.metrics.matched();
        // Relaxed: the read-modify-write alone makes ordinals unique.
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
