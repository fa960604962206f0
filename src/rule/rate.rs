//! `limits.rate`: at most so many hits in a time, `10/s`.
//!
//! A token bucket that holds the hits of one unit of time and fills evenly. It is kept as one number, the time up to which its
//! tokens are used (the "generic cell rate algorithm"), so that it needs no lock.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::yaml::forms::string_form;

/// A number of hits in a second, a minute or an hour: `10/s`, `600/m`, `5/h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HitRate {
    hits: NonZeroU32,
    per: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
}

impl HitRate {
    /// The time after which one more hit is allowed, when hits are spread evenly. At least a nanosecond.
    fn interval(self) -> u64 {
        (self.per.nanoseconds() / u64::from(self.hits.get())).max(1)
    }
}

impl Unit {
    fn nanoseconds(self) -> u64 {
        let seconds = match self {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3_600,
        };
        seconds * 1_000_000_000
    }
}

impl FromStr for HitRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is not a valid rate: use a whole number from 1 and a unit, such as 10/s, 600/m or 5/h")
        };
        let (hits, unit) = text.split_once('/').ok_or_else(wrong)?;
        let per = match unit.trim() {
            "s" => Unit::Second,
            "m" => Unit::Minute,
            "h" => Unit::Hour,
            _ => return Err(wrong()),
        };
        let hits = hits.trim().parse().map_err(|_| wrong())?;
        Ok(HitRate { hits, per })
    }
}

impl fmt::Display for HitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per {
            Unit::Second => "s",
            Unit::Minute => "m",
            Unit::Hour => "h",
        };
        write!(f, "{}/{unit}", self.hits)
    }
}

string_form!(
    HitRate,
    "HitRate",
    "a number of hits in a time, such as 10/s, 600/m or 5/h",
    r"^ *[0-9]+ */ *[smh] *$|\$\{"
);

/// The tokens of one rate. A new bucket is full.
#[derive(Debug, Default)]
pub struct HitBucket {
    /// The time up to which tokens are used, in nanoseconds since any fixed moment.
    used: AtomicU64,
}

impl HitBucket {
    /// Takes a token at `now`, a time since a moment that is the same in all calls. Returns whether there was one.
    pub fn take(&self, rate: HitRate, now: Duration) -> bool {
        // Checked and counted in one step, so that no two hits can take the last token. It guards no other memory.
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| next(rate, used, now))
            .is_ok()
    }

    /// Whether there is a token at `now`, without taking it.
    pub fn has(&self, rate: HitRate, now: Duration) -> bool {
        next(rate, self.used.load(Ordering::Acquire), now).is_some()
    }

    /// Gives a token back that was taken for a hit that did not happen.
    pub fn give_back(&self, rate: HitRate) {
        let interval = rate.interval();
        // Never fails, since the closure never returns `None`.
        let _ = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            Some(used.saturating_sub(interval))
        });
    }
}

/// The time up to which tokens are used after one more hit at `now`; `None` if there is no token.
fn next(rate: HitRate, used: u64, now: Duration) -> Option<u64> {
    let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let interval = rate.interval();
    // All tokens but one may be used ahead of time.
    let ahead = interval.saturating_mul(u64::from(rate.hits.get()) - 1);
    (used.saturating_sub(now) <= ahead).then(|| used.max(now).saturating_add(interval))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(text: &str) -> HitRate {
        text.parse().unwrap()
    }

    #[test]
    fn rates_are_read_and_written() {
        for text in ["10/s", "600/m", "1/h", "4294967295/s"] {
            assert_eq!(rate(text).to_string(), text);
        }
        assert_eq!(rate(" 10 / s ").to_string(), "10/s");
        for bad in ["", "10", "0/s", "-1/s", "10/d", "1.5/s", "/s", "4294967296/s", "10/s/s"] {
            let error = bad.parse::<HitRate>().unwrap_err();
            assert!(error.contains("10/s, 600/m or 5/h"), "{error}");
        }
    }

    #[test]
    fn a_full_bucket_allows_a_burst_and_then_fills_evenly() {
        let (bucket, rate, at) = (HitBucket::default(), rate("10/s"), Duration::from_millis);
        assert_eq!((0..20).filter(|_| bucket.take(rate, at(5000))).count(), 10);
        assert!(!bucket.take(rate, at(5099)) && !bucket.has(rate, at(5099)));
        assert!(bucket.has(rate, at(5100)) && bucket.take(rate, at(5100)));
        assert!(!bucket.take(rate, at(5101)));
        bucket.give_back(rate);
        assert!(bucket.take(rate, at(5101)));
        assert_eq!((0..20).filter(|_| bucket.take(rate, at(9000))).count(), 10);
        assert!(bucket.has(rate, Duration::MAX), "no overflow");
    }

    proptest! {
        /// In any stretch of time there are at most the hits of a full bucket and those that the stretch fills in, and no hit is
        /// refused for longer than it takes to fill in one.
        #[test]
        fn hits_stay_within_the_rate(hits in 1_u32..50, gaps in prop::collection::vec(0_u64..400, 1..200)) {
            let (bucket, rate) = (HitBucket::default(), rate(&format!("{hits}/s")));
            let (mut now, mut admitted) = (0, Vec::new());
            let mut last = 0;
            for gap in gaps {
                now += gap;
                if bucket.take(rate, Duration::from_millis(now)) {
                    admitted.push(now);
                    last = now;
                } else {
                    prop_assert!(now - last <= 1000 / u64::from(hits) + 1);
                }
            }
            for (at, from) in admitted.iter().enumerate() {
                for (count, to) in (1_u64..).zip(&admitted[at..]) {
                    let filled = (to - from) * u64::from(hits) / 1000;
                    prop_assert!(count <= u64::from(hits) + filled + 1, "{count} from {from} to {to}");
                }
            }
        }
    }
}
