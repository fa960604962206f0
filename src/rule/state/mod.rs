//! The state of a rule between requests, and the trait through which a decision reads and changes it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::decide::Rule;
use super::overall::Overall;
use super::rate::HitBucket;
use super::switch::{RuleSwitch, Switch, Trip};
use super::when::{Exceeded, Limits, Reason};
use crate::draw::KeyHash;
use crate::draw::remembered::Remembered;

/// Counters and remembered keys of one rule. Kept by a reload that leaves the rule unchanged.
#[derive(Debug)]
pub struct RuleState {
    loaded: Instant,
    matched: AtomicU64,
    hit: AtomicU64,
    active: AtomicU32,
    bucket: HitBucket,
    /// What all rules together do.
    overall: Arc<Overall>,
    attempts: Option<Remembered<u32>>,
    /// Shared by all rules of this name, one after the other.
    switch: Arc<RuleSwitch>,
    /// Faults, by their position, and reasons why they were not applied: what was told already.
    told: Mutex<Vec<(usize, &'static str)>>,
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
    /// Notes a request or a connection about which rules are asked, this one among them.
    fn arrive(&self, rule: &Rule);
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
            bucket: HitBucket::default(),
            overall: Arc::default(),
            attempts: keys.map(Remembered::new),
            switch: Arc::default(),
            told: Mutex::default(),
        }
    }

    /// Whether it was not asked before about this fault, by its position, and this reason why it was not applied.
    pub fn is_news(&self, fault: usize, reason: &'static str) -> bool {
        let mut told = self.told.lock();
        let is_news = !told.contains(&(fault, reason));
        if is_news {
            told.push((fault, reason));
        }
        is_news
    }

    /// Counts its hits among those of other rules, too.
    #[must_use]
    pub fn within(mut self, overall: &Arc<Overall>) -> RuleState {
        self.overall = Arc::clone(overall);
        self
    }

    /// What all rules together do.
    pub fn overall(&self) -> &Arc<Overall> {
        &self.overall
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
        self.overall.leave();
        self.active.fetch_sub(1, Ordering::AcqRel);
    }

    /// The time from when the rule was loaded to `now`.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.loaded)
    }

    fn admit(&self, limits: &Limits, ordinal: u64, now: Instant) -> Result<(), Reason> {
        let below = |limit: Option<u32>| move |n: u32| limit.is_none_or(|limit| n < limit).then(|| n.saturating_add(1));
        // Checked and counted in one step, here and below, so that no two requests can take the last place. The counts guard no
        // other memory. A refused request gives back what it has taken: nothing was injected.
        self.active
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, below(limits.active))
            .map_err(|_| Reason::Limit(Exceeded::Active))?;
        let refused = self.count(limits, ordinal, now).err();
        if refused.is_some() {
            self.active.fetch_sub(1, Ordering::AcqRel);
        }
        refused.map_or(Ok(()), Err)
    }

    /// Counts a hit within the limits on hits, the rule's own and those of all rules.
    fn count(&self, limits: &Limits, ordinal: u64, now: Instant) -> Result<(), Reason> {
        let counted = self.hit.fetch_update(Ordering::AcqRel, Ordering::Acquire, |hits| {
            limits.allow(hits, ordinal).is_ok().then(|| hits.saturating_add(1))
        });
        counted.map_err(|hits| Reason::Limit(limits.allow(hits, ordinal).err().unwrap_or(Exceeded::Total)))?;
        if limits.rate.is_some_and(|rate| !self.bucket.take(rate, self.age(now))) {
            self.hit.fetch_sub(1, Ordering::AcqRel);
            return Err(Reason::Limit(Exceeded::Rate));
        }
        self.overall.admit(now).map_err(|exceeded| {
            self.hit.fetch_sub(1, Ordering::AcqRel);
            if let Some(rate) = limits.rate {
                self.bucket.give_back(rate);
            }
            Reason::Overall(exceeded)
        })
    }

    fn peek(&self, limits: &Limits, ordinal: u64, now: Instant) -> Result<(), Reason> {
        if limits.active.is_some_and(|limit| self.active() >= limit) {
            return Err(Reason::Limit(Exceeded::Active));
        }
        limits.allow(self.hits(), ordinal).map_err(Reason::Limit)?;
        if limits.rate.is_some_and(|rate| !self.bucket.has(rate, self.age(now))) {
            return Err(Reason::Limit(Exceeded::Rate));
        }
        self.overall.peek(now).map_err(Reason::Overall)
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
        rule.state.admit(&rule.when.limits, ordinal, self.now)
    }

    fn arrive(&self, rule: &Rule) {
        rule.state.overall.ask();
    }

    fn counts(&self) -> bool {
        true
    }

    fn since(&self, rule: &Rule) -> Duration {
        rule.state.age(self.now)
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
        rule.state.peek(&rule.when.limits, ordinal, self.now)
    }

    fn arrive(&self, _: &Rule) {}

    fn counts(&self) -> bool {
        false
    }

    fn since(&self, rule: &Rule) -> Duration {
        self.since.unwrap_or_else(|| rule.state.age(self.now))
    }
}

#[cfg(test)]
mod tests;
