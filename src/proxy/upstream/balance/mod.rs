//! Which of several endpoints serves a request, and which are left out for a while.
//!
//! This is not a fault, so it needs no seed: `random` draws from the system's randomness. Everything on the way of a request
//! is an atomic; the only lock is taken when an endpoint has failed often enough to be ejected.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::proxy::upstream::spec::Balance;

/// When to leave an endpoint out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// So many failures one after the other eject an endpoint; at least 1.
    pub(super) failures: u32,
    /// How long an ejected endpoint is left out.
    pub(super) duration: Duration,
    /// So many endpoints may be out at once; at least 1.
    pub(super) ejected_max: usize,
}

/// Chooses endpoints by their index, 0 to `len - 1`.
#[derive(Debug)]
pub(super) struct Balancer {
    kind: Balance,
    endpoints: Box<[BalanceState]>,
    turn: AtomicUsize,
    ejection: Option<Ejection>,
}

#[derive(Debug, Default)]
struct BalanceState {
    /// Requests under way; counted for `least-requests` only.
    in_flight: AtomicUsize,
    /// Failures since the last success.
    failures: AtomicU32,
    /// Nanoseconds after the balancer's start at which the endpoint comes back; 0 if it never left.
    back_at: AtomicU64,
}

#[derive(Debug)]
struct Ejection {
    limits: Limits,
    start: Instant,
    /// Held while an endpoint is ejected, so that two at once can't exceed `ejected_max`.
    ejecting: Mutex<()>,
}

impl Balancer {
    /// For `len` endpoints; 0 counts as 1. `now` is the time before which nothing is asked.
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

    /// The endpoint of the next request. Each call must be followed by one [`Self::release`].
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

    /// The request that [`Self::select`] gave `index` to is over.
    pub(super) fn release(&self, index: usize) {
        if self.counts()
            && let Some(state) = self.endpoints.get(index)
        {
            state.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The endpoint did what it should: its failures no longer count.
    pub(super) fn succeeded(&self, index: usize) {
        if self.ejection.is_some()
            && let Some(state) = self.endpoints.get(index)
            && state.failures.load(Ordering::Relaxed) > 0
        {
            state.failures.store(0, Ordering::Relaxed);
        }
    }

    /// The endpoint failed, which may eject it.
    pub(super) fn failed(&self, index: usize, now: Instant) {
        let (Some(ejection), Some(state)) = (&self.ejection, self.endpoints.get(index)) else {
            return;
        };
        let now = ejection.at(now);
        // Relaxed: the count stands alone; ejecting is decided under the lock.
        let in_a_row = state.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if in_a_row < ejection.limits.failures {
            return;
        }
        let _guard = ejection.ejecting.lock();
        // What fails while the endpoint is out was sent before it left, or while all were out: that is no news.
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

    /// How many endpoints are left out.
    fn ejected(&self, now: u64) -> usize {
        self.endpoints.iter().filter(|state| state.is_out(now)).count()
    }

    /// One of the `available` endpoints that `usable` accepts. Another thread may eject one meanwhile, so a choice that
    /// is no longer there falls back to the first.
    fn choose(&self, available: usize, usable: impl Fn(&BalanceState) -> bool) -> usize {
        let turn = match self.kind {
            Balance::Random => random_below(available),
            Balance::RoundRobin | Balance::LeastRequests => self.turn.fetch_add(1, Ordering::Relaxed) % available,
        };
        let usable = self.endpoints.iter().enumerate().filter(|(_, state)| usable(state));
        if !self.counts() {
            return usable.map(|(index, _)| index).nth(turn).unwrap_or(0);
        }
        // Ties go to the one whose turn it is, so that idle endpoints share the work.
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

    /// Whether requests under way are counted.
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
    /// Nanoseconds since the start.
    fn at(&self, now: Instant) -> u64 {
        nanoseconds(now.saturating_duration_since(self.start))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A number from 0 to `limit - 1`: each new `RandomState` has a key of its own.
fn random_below(limit: usize) -> usize {
    let word = RandomState::new().hash_one(());
    // The upper half of a product spreads evenly.
    let product = u128::from(word) * (limit as u128);
    usize::try_from(product >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
