//! Which of several endpoints serves a request, and which are left out for a while.
//!
//! This is not a fault, so it needs no seed: `random` draws from the thread's own generator. Everything on the way of a
//! request is an atomic; the only lock is taken when an endpoint has failed often enough to be ejected.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::upstream::Balance;

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
    endpoints: Box<[State]>,
    turn: AtomicUsize,
    ejection: Option<Ejection>,
}

#[derive(Debug, Default)]
struct State {
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
            endpoints: (0..len.max(1)).map(|_| State::default()).collect(),
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
        let now = self.ejection.as_ref().map(|ejection| ejection.at(now));
        let out = |state: &State| now.is_some_and(|now| state.back_at.load(Ordering::Relaxed) > now);
        let available = match now {
            Some(_) => self.endpoints.iter().filter(|state| !out(state)).count(),
            None => len,
        };
        if available == len || available == 0 {
            self.choose(len, |_| true)
        } else {
            self.choose(available, |state| !out(state))
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

    /// The endpoint failed. True if this failure ejected it.
    pub(super) fn failed(&self, index: usize, now: Instant) -> bool {
        let (Some(ejection), Some(state)) = (&self.ejection, self.endpoints.get(index)) else {
            return false;
        };
        let now = ejection.at(now);
        let in_a_row = state.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if in_a_row < ejection.limits.failures {
            return false;
        }
        let _guard = ejection.ejecting.lock();
        // What fails while the endpoint is out was sent before it left, or while all were out: that is no news.
        let out = |state: &State| state.back_at.load(Ordering::Relaxed) > now;
        if out(state) {
            state.failures.store(0, Ordering::Relaxed);
            return false;
        }
        let others_out = self.endpoints.iter().filter(|state| out(state)).count();
        if others_out >= ejection.limits.ejected_max {
            return false;
        }
        state.failures.store(0, Ordering::Relaxed);
        let duration = u64::try_from(ejection.limits.duration.as_nanos()).unwrap_or(u64::MAX);
        state.back_at.store(now.saturating_add(duration), Ordering::Relaxed);
        true
    }

    /// How many endpoints are left out.
    pub(super) fn ejected(&self, now: Instant) -> usize {
        let Some(ejection) = &self.ejection else { return 0 };
        let now = ejection.at(now);
        let out = |state: &&State| state.back_at.load(Ordering::Relaxed) > now;
        self.endpoints.iter().filter(out).count()
    }

    /// One of the `available` endpoints that `usable` accepts. Another thread may eject one meanwhile, so a choice that
    /// is no longer there falls back to the first.
    fn choose(&self, available: usize, usable: impl Fn(&State) -> bool) -> usize {
        let turn = match self.kind {
            Balance::Random => random_below(available),
            Balance::RoundRobin | Balance::LeastRequests => self.turn.fetch_add(1, Ordering::Relaxed) % available,
        };
        let usable = self.endpoints.iter().enumerate().filter(|(_, state)| usable(state));
        if !self.counts() {
            return usable.map(|(index, _)| index).nth(turn).unwrap_or(0);
        }
        // Ties go to the one whose turn it is, so that idle endpoints share the work.
        let rank = |place: usize, state: &State| {
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

impl Ejection {
    /// Nanoseconds since the start.
    fn at(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.start);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A number from 0 to `limit - 1`, from a xorshift generator (Marsaglia, "Xorshift RNGs", 2003) per thread.
fn random_below(limit: usize) -> usize {
    thread_local! {
        // The hasher's keys are random; a state of 0 would stay 0.
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
    }
    let word = STATE.with(|cell| {
        let mut state = cell.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        cell.set(state);
        state
    });
    // The upper half of a product spreads evenly, which a remainder of the weak lower bits would not.
    let product = u128::from(word) * (limit as u128);
    usize::try_from(product >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(failures: u32, ejected_max: usize) -> Option<Limits> {
        Some(Limits {
            failures,
            duration: Duration::from_secs(30),
            ejected_max,
        })
    }

    /// How often each endpoint is chosen in `requests` requests that end at once.
    fn shares(balancer: &Balancer, len: usize, requests: usize, now: Instant) -> Vec<usize> {
        let mut counts = vec![0; len];
        for _ in 0..requests {
            let index = balancer.select(now);
            counts[index] += 1;
            balancer.release(index);
        }
        counts
    }

    #[test]
    fn round_robin_takes_turns() {
        let now = Instant::now();
        let balancer = Balancer::new(Balance::RoundRobin, 3, None, now);
        let order: Vec<_> = (0..6).map(|_| balancer.select(now)).collect();
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn random_spreads_evenly() {
        let now = Instant::now();
        let balancer = Balancer::new(Balance::Random, 4, None, now);
        // 40,000 draws of a quarter: a standard deviation of 87, so 500 is beyond all chance.
        for share in shares(&balancer, 4, 40_000, now) {
            assert!((9_500..10_500).contains(&share), "{share}");
        }
    }

    #[test]
    fn least_requests_takes_the_idle_one() {
        let now = Instant::now();
        let balancer = Balancer::new(Balance::LeastRequests, 3, None, now);
        let mut first: Vec<_> = (0..3).map(|_| balancer.select(now)).collect();
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2]);
        balancer.release(1);
        assert_eq!(balancer.select(now), 1);
        balancer.release(2);
        balancer.release(2 - 2);
        let mut next = [balancer.select(now), balancer.select(now)];
        next.sort_unstable();
        assert_eq!(next, [0, 2]);
        for index in 0..3 {
            balancer.release(index);
        }
        assert_eq!(shares(&balancer, 3, 300, now), [100, 100, 100]);
    }

    #[test]
    fn a_failing_endpoint_leaves_and_returns() {
        let now = Instant::now();
        let balancer = Balancer::new(Balance::RoundRobin, 3, limits(3, 1), now);
        assert!(!balancer.failed(1, now));
        assert!(!balancer.failed(1, now));
        balancer.succeeded(1);
        assert!(!balancer.failed(1, now));
        assert!(!balancer.failed(1, now));
        assert!(balancer.failed(1, now));
        assert_eq!(balancer.ejected(now), 1);
        assert_eq!(shares(&balancer, 3, 600, now), [300, 0, 300]);
        // Late failures of an endpoint that is out change nothing.
        for _ in 0..10 {
            assert!(!balancer.failed(1, now + Duration::from_secs(29)));
        }
        let back = now + Duration::from_secs(30);
        assert_eq!(balancer.ejected(back), 0);
        assert_eq!(shares(&balancer, 3, 600, back), [200, 200, 200]);
    }

    #[test]
    fn no_more_than_the_limit_are_out() {
        let now = Instant::now();
        let balancer = Balancer::new(Balance::LeastRequests, 4, limits(1, 2), now);
        assert!(balancer.failed(0, now));
        assert!(balancer.failed(3, now));
        assert!(!balancer.failed(2, now));
        assert_eq!(shares(&balancer, 4, 100, now), [0, 50, 50, 0]);
    }

    #[test]
    fn if_all_are_out_all_are_used() {
        let now = Instant::now();
        let balancer = Balancer::new(Balance::RoundRobin, 2, limits(1, 2), now);
        assert!(balancer.failed(0, now));
        assert!(balancer.failed(1, now));
        assert_eq!(shares(&balancer, 2, 100, now), [50, 50]);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let now = Instant::now();
        let balancer = Balancer::new(Balance::LeastRequests, 3, limits(2, 1), now);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let balancer = &balancer;
                scope.spawn(move || {
                    for round in 0..5_000_usize {
                        let index = balancer.select(now);
                        if (round + thread) % 3 == 0 {
                            balancer.failed(index, now);
                        }
                        balancer.release(index);
                    }
                });
            }
        });
        let left: usize = balancer
            .endpoints
            .iter()
            .map(|state| state.in_flight.load(Ordering::Relaxed))
            .sum();
        assert_eq!(left, 0);
        assert!(balancer.ejected(now) <= 1);
    }
}
