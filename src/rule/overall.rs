//! `limits` at the top level: bounds on what all rules together do, besides the limits that each has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::rate::HitBucket;
use super::when::{Exceeded, Limits};

/// The hits of all rules of one process, and the limits on them. Kept by reloads.
#[derive(Debug)]
pub struct Overall {
    /// Counted without a limit too, so that a limit that a reload brings finds the right number.
    active: AtomicU32,
    /// Whether a share is limited. Without one, what is asked need not be counted.
    has_share: AtomicBool,
    bounded: ArcSwap<Bounded>,
}

/// Limits, and what has happened since they were put into force.
#[derive(Debug)]
struct Bounded {
    limits: Limits,
    began: Instant,
    asked: AtomicU64,
    hits: AtomicU64,
    bucket: HitBucket,
}

impl Default for Overall {
    fn default() -> Self {
        Overall {
            active: AtomicU32::new(0),
            has_share: AtomicBool::new(false),
            bounded: ArcSwap::from_pointee(Bounded::new(Limits::default(), Instant::now())),
        }
    }
}

impl Overall {
    /// Puts limits into force. They count from `now`, unless they are the same as before.
    pub fn limit(&self, limits: Limits, now: Instant) {
        if self.bounded.load().limits != limits {
            self.bounded.store(Arc::new(Bounded::new(limits, now)));
            self.has_share.store(limits.share.is_some(), Ordering::Relaxed);
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.bounded.load().limits
    }

    /// The number of requests and connections that are under faults now; twice those that two rules hit.
    pub fn active(&self) -> u32 {
        // Relaxed here and below where a count is only reported.
        self.active.load(Ordering::Relaxed)
    }

    /// The number of hits since the limits were put into force.
    pub fn hits(&self) -> u64 {
        self.bounded.load().hits.load(Ordering::Relaxed)
    }

    /// Counts a request or a connection about which rules are asked, for the limit on the share.
    pub fn ask(&self) {
        if self.has_share.load(Ordering::Relaxed) {
            self.bounded.load().asked.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the limits have expired at `now`, so that no rule hits any more.
    pub fn is_over(&self, now: Instant) -> bool {
        self.bounded.load().is_over(now)
    }

    /// The time from `now` until the limits expire; `None` if they never do, or have.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        let bounded = self.bounded.load();
        let left = bounded.limits.expires?.checked_sub(bounded.since(now))?;
        (!left.is_zero()).then_some(left)
    }

    /// Takes a place for one hit, until [`Overall::leave`].
    ///
    /// # Errors
    /// The limit that is reached.
    pub(super) fn admit(&self, now: Instant) -> Result<(), Exceeded> {
        let bounded = self.bounded.load();
        let limits = &bounded.limits;
        if bounded.is_over(now) {
            return Err(Exceeded::Expired);
        }
        let below = |active: u32| limits.active.is_none_or(|most| active < most);
        // Checked and counted in one step, here and below, so that no two hits can take the last place. The counts guard no other
        // memory. A refused hit gives back what it has taken: nothing was injected.
        self.active
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |active| {
                below(active).then(|| active.saturating_add(1))
            })
            .map_err(|_| Exceeded::Active)?;
        let asked = bounded.asked.load(Ordering::Relaxed);
        let counted = bounded.hits.fetch_update(Ordering::AcqRel, Ordering::Acquire, |hits| {
            limits.allow(hits, asked).is_ok().then(|| hits.saturating_add(1))
        });
        if let Err(hits) = counted {
            self.leave();
            return Err(limits.allow(hits, asked).err().unwrap_or(Exceeded::Total));
        }
        if limits
            .rate
            .is_some_and(|rate| !bounded.bucket.take(rate, bounded.since(now)))
        {
            self.leave();
            bounded.hits.fetch_sub(1, Ordering::AcqRel);
            return Err(Exceeded::Rate);
        }
        Ok(())
    }

    /// Whether one more hit would be admitted, without counting it; see [`Overall::admit`].
    pub(super) fn peek(&self, now: Instant) -> Result<(), Exceeded> {
        let bounded = self.bounded.load();
        let limits = &bounded.limits;
        if bounded.is_over(now) {
            return Err(Exceeded::Expired);
        }
        if limits.active.is_some_and(|most| self.active() >= most) {
            return Err(Exceeded::Active);
        }
        let asked = bounded.asked.load(Ordering::Relaxed) + 1;
        limits.allow(bounded.hits.load(Ordering::Relaxed), asked)?;
        match limits.rate {
            Some(rate) if !bounded.bucket.has(rate, bounded.since(now)) => Err(Exceeded::Rate),
            _ => Ok(()),
        }
    }

    /// Frees a place taken by [`Overall::admit`].
    pub(super) fn leave(&self) {
        self.active.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Bounded {
    fn new(limits: Limits, now: Instant) -> Bounded {
        Bounded {
            limits,
            began: now,
            asked: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            bucket: HitBucket::default(),
        }
    }

    fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    fn is_over(&self, now: Instant) -> bool {
        self.limits.expires.is_some_and(|expires| self.since(now) >= expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_bounds_the_hits_of_all_rules() {
        let (now, none) = (Instant::now(), Limits::default());
        let check = |limits: Limits, exceeded: Exceeded, admitted: usize| {
            let overall = Overall::default();
            overall.limit(limits, now);
            let results: Vec<_> = (0..20)
                .map(|_| {
                    overall.ask();
                    assert_eq!(overall.peek(now), overall.peek(now), "a look changes nothing");
                    overall.admit(now)
                })
                .collect();
            assert_eq!(
                results.iter().filter(|result| result.is_ok()).count(),
                admitted,
                "{limits:?}"
            );
            assert!(results.contains(&Err(exceeded)), "{limits:?} {results:?}");
            assert_eq!(
                (overall.active() as usize, overall.hits() as usize),
                (admitted, admitted)
            );
        };
        check(
            Limits {
                active: Some(3),
                ..none
            },
            Exceeded::Active,
            3,
        );
        check(Limits { total: Some(4), ..none }, Exceeded::Total, 4);
        check(
            Limits {
                share: Some(250_000),
                ..none
            },
            Exceeded::Share,
            5,
        );
        check(
            Limits {
                rate: Some("7/s".parse().unwrap()),
                ..none
            },
            Exceeded::Rate,
            7,
        );
        check(
            Limits {
                expires: Some(Duration::ZERO),
                ..none
            },
            Exceeded::Expired,
            0,
        );
    }

    #[test]
    fn the_same_limits_go_on_counting_and_others_begin_anew() {
        let (overall, now) = (Overall::default(), Instant::now());
        let limits = Limits {
            total: Some(1),
            expires: Some(Duration::from_secs(9)),
            ..Limits::default()
        };
        overall.limit(limits, now);
        assert_eq!(overall.admit(now), Ok(()));
        let later = now + Duration::from_secs(5);
        overall.limit(limits, later);
        assert_eq!(
            (overall.admit(later), overall.left(later)),
            (Err(Exceeded::Total), Some(Duration::from_secs(4)))
        );
        assert!(overall.is_over(now + Duration::from_secs(9)));
        overall.limit(
            Limits {
                total: Some(2),
                ..limits
            },
            later,
        );
        assert_eq!((overall.admit(later), overall.active()), (Ok(()), 2));
        assert!(!overall.is_over(now + Duration::from_secs(9)));
        overall.leave();
        overall.leave();
        assert_eq!(overall.active(), 0);
    }
}
