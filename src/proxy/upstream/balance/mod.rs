//! Load balancing: which of several endpoints serves a request, and which are ejected for a while.
//!
//! This is not a fault, so it needs no seed: `random` uses the system's randomness. A request only touches atomics; the
//! one lock is taken when an endpoint has failed often enough to be ejected. All accesses are `Relaxed`: each value stands
//! alone, guards no other memory, and a slightly stale one only makes a choice less even.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::proxy::upstream::spec::Balance;

/// When to eject an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// The number of consecutive failures that eject an endpoint, at least 1.
    pub(super) failures: u32,
    /// How long an endpoint stays ejected.
    pub(super) duration: Duration,
    /// The most endpoints that are ejected at once, at least 1.
    pub(super) ejected_max: usize,
}

/// Chooses endpoints by index, 0 to `len - 1`.
#[derive(Debug)]
pub(super) struct Balancer {
    kind: Balance,
    endpoints: Box<[BalanceState]>,
    turn: AtomicUsize,
    ejection: Option<Ejection>,
}

#[derive(Debug, Default)]
struct BalanceState {
    /// Requests in flight; counted for `least-requests` only.
    in_flight: AtomicUsize,
    /// Failures since the last success.
    failures: AtomicU32,
    /// When the ejection ends, in nanoseconds after the balancer's start; 0 if the endpoint was never ejected.
    back_at: AtomicU64,
}

#[derive(Debug)]
struct Ejection {
    limits: Limits,
    start: Instant,
    /// Held while an endpoint is ejected, so that two threads together can't exceed `ejected_max`. Never across an await.
    ejecting: Mutex<()>,
}

impl Balancer {
    /// Creates a balancer of `len` endpoints; 0 counts as 1. Times before `now` count as `now`.
    pub(super) fn new(kind: Balance, len: usize, limits: Option<Limits>, now: Instant) -> Self {
        Self {
            kind,
            endpoints: (0..len.max(1)).map(|_| BalanceState::default()).collect(),
            turn: AtomicUsize::new(0),
            ejection: limits.map(|limits| Ejection {
                limits,
                start: now,
                ejecting: Mutex::new(()),
            }),
        }
    }

    /// Chooses the endpoint of the next request. Each call must be followed by one [`Self::release`].
    pub(super) fn select(&self, now: Instant) -> usize {
        let len = self.endpoints.len();
        if len == 1 {
            return 0;
        }
        let Some(ejection) = &self.ejection else {
            return self.choose(len, |_| true);
        };
        let now = ejection.at(now);
        match len - self.ejected(now) {
            0 => self.choose(len, |_| true),
            available => self.choose(available, |state| !state.is_out(now)),
        }
    }

    /// Notes the end of a request for which [`Self::select`] chose `index`.
    pub(super) fn release(&self, index: usize) {
        if self.counts()
            && let Some(state) = self.endpoints.get(index)
        {
            state.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Notes a success, which resets the endpoint's failures.
    pub(super) fn succeeded(&self, index: usize) {
        if self.ejection.is_some()
            && let Some(state) = self.endpoints.get(index)
            && state.failures.load(Ordering::Relaxed) > 0
        {
            state.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a failure, which may eject the endpoint.
    pub(super) fn failed(&self, index: usize, now: Instant) {
        let (Some(ejection), Some(state)) = (&self.ejection, self.endpoints.get(index)) else {
            return;
        };
        let now = ejection.at(now);
        // Only the count; the ejection is decided under the lock.
        let in_a_row = state.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if in_a_row < ejection.limits.failures {
            return;
        }
        let _guard = ejection.ejecting.lock();
        // A request that fails while its endpoint is ejected was sent before, or while all were ejected: it changes nothing.
        let ejects = !state.is_out(now);
        if ejects && self.ejected(now) >= ejection.limits.ejected_max {
            return;
        }
        state.failures.store(0, Ordering::Relaxed);
        if ejects {
            let back_at = now.saturating_add(nanoseconds(ejection.limits.duration));
            state.back_at.store(back_at, Ordering::Relaxed);
        }
    }

    /// The failures of an endpoint since its last success, and how long it is still ejected.
    pub(super) fn health(&self, index: usize, now: Instant) -> (u32, Option<Duration>) {
        let (Some(ejection), Some(state)) = (&self.ejection, self.endpoints.get(index)) else {
            return (0, None);
        };
        let left = state.back_at.load(Ordering::Relaxed).saturating_sub(ejection.at(now));
        let ejected = (left > 0).then(|| Duration::from_nanos(left));
        (state.failures.load(Ordering::Relaxed), ejected)
    }

    /// The number of ejected endpoints.
    fn ejected(&self, now: u64) -> usize {
        self.endpoints.iter().filter(|state| state.is_out(now)).count()
    }

    /// Chooses one of the `available` endpoints that `usable` accepts. Falls back to the first endpoint if another thread
    /// ejects one in the meantime, so that there are fewer than `available`.
    fn choose(&self, available: usize, usable: impl Fn(&BalanceState) -> bool) -> usize {
        let turn = match self.kind {
            Balance::Random => random_below(available),
            Balance::RoundRobin | Balance::LeastRequests => self.turn.fetch_add(1, Ordering::Relaxed) % available,
        };
        let usable = self.endpoints.iter().enumerate().filter(|(_, state)| usable(state));
        if !self.counts() {
            return usable.map(|(index, _)| index).nth(turn).unwrap_or(0);
        }
        // Ties go round-robin, so that idle endpoints share the work.
        let rank = |place: usize, state: &BalanceState| {
            let distance = (place + available - turn) % available;
            (state.in_flight.load(Ordering::Relaxed), distance)
        };
        let best = usable
            .enumerate()
            .min_by_key(|(place, (_, state))| rank(*place, state))
            .map_or(0, |(_, (index, _))| index);
        if let Some(state) = self.endpoints.get(best) {
            state.in_flight.fetch_add(1, Ordering::Relaxed);
        }
        best
    }

    /// Whether requests in flight are counted.
    fn counts(&self) -> bool {
        self.kind == Balance::LeastRequests && self.endpoints.len() > 1
    }
}

impl BalanceState {
    fn is_out(&self, now: u64) -> bool {
        self.back_at.load(Ordering::Relaxed) > now
    }
}

impl Ejection {
    /// Nanoseconds since the balancer's start.
    fn at(&self, now: Instant) -> u64 {
        nanoseconds(now.saturating_duration_since(self.start))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A random number from 0 to `limit - 1`. Its source is the key of a new `RandomState`, which saves a dependency.
fn random_below(limit: usize) -> usize {
    let word = RandomState::new().hash_one(());
    // Lemire's multiplication: the high half of the product is uniform enough, without a division.
    let product = u128::from(word) * (limit as u128);
    usize::try_from(product >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
