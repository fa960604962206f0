//! Rate limiting by a schedule: taking bytes returns the instant at which they may be sent.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How far the schedule may lag behind the clock. Late timers are caught up within it, so that the long-run rate is exact,
/// and an idle time earns no more than this. It covers the tens of milliseconds that a task may wait to run on a busy
/// machine, and is at most 2 % of the bytes of 5 s.
pub(in crate::shape) const BURST: Duration = Duration::from_millis(100);

/// Stands for an instant beyond the range of the clock: about thirty years from now.
const FAR: Duration = Duration::from_secs(1 << 30);

const NANOS: u128 = 1_000_000_000;

/// A rate that any number of streams can share, first come, first served.
///
/// Each reservation takes `bytes / rate` seconds of the schedule, and its bytes may be sent when that time begins, so the
/// first ones are sent at once. In any window of `t` seconds at most `rate × (t + 0.1)` bytes are sent, plus one
/// reservation.
#[derive(Debug)]
pub struct Bucket {
    rate: NonZeroU64,
    /// Held for the arithmetic of one reservation, never across an await.
    schedule: Mutex<Schedule>,
}

#[derive(Debug, Default)]
struct Schedule {
    /// When the next bytes may be sent. `None`: none have been taken yet.
    free: Option<Instant>,
    /// The remainder of the last division by the rate, in byte nanoseconds, so that rounding errors don't add up.
    remainder: u128,
}

impl Bucket {
    /// Creates a bucket for `rate` bytes per second.
    pub fn new(rate: NonZeroU64) -> Bucket {
        Bucket {
            rate,
            schedule: Mutex::default(),
        }
    }

    /// Takes `bytes`, and returns when they may be sent: at `now` or later.
    pub fn take(&self, bytes: usize, now: Instant) -> Instant {
        let mut schedule = self.schedule.lock();
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let start = schedule.free.map_or(now, |free| free.max(earliest));
        let rate = u128::from(self.rate.get());
        // At most 2^64 × 10^9 + 2^64, far below 2^128.
        let work = bytes as u128 * NANOS + schedule.remainder;
        schedule.remainder = work % rate;
        schedule.free = Some(later(start, nanos(work / rate)));
        start.max(now)
    }

    /// The rate in bytes per second.
    pub fn rate(&self) -> NonZeroU64 {
        self.rate
    }
}

/// A rate of which each listener has a bucket of its own.
#[derive(Debug)]
pub struct ListenerBuckets {
    rate: NonZeroU64,
    /// Held while the list is searched, never across an await. As long as the list of listeners.
    buckets: Mutex<Vec<(Box<str>, Arc<Bucket>)>>,
}

impl ListenerBuckets {
    /// Creates the buckets of a rate in bytes per second, none yet.
    pub fn new(rate: NonZeroU64) -> ListenerBuckets {
        ListenerBuckets {
            rate,
            buckets: Mutex::default(),
        }
    }

    /// Returns the bucket of the listener with this name; creates it on first use.
    pub fn of(&self, listener: &str) -> Arc<Bucket> {
        let mut buckets = self.buckets.lock();
        if let Some((_, known)) = buckets.iter().find(|(name, _)| **name == *listener) {
            return Arc::clone(known);
        }
        let bucket = Arc::new(Bucket::new(self.rate));
        buckets.push((listener.into(), Arc::clone(&bucket)));
        bucket
    }
}

/// `from` plus `time`; an instant about thirty years ahead if that is beyond the range of the clock.
pub(in crate::shape) fn later(from: Instant, time: Duration) -> Instant {
    from.checked_add(time).or_else(|| from.checked_add(FAR)).unwrap_or(from)
}

fn nanos(nanos: u128) -> Duration {
    let seconds = u64::try_from(nanos / NANOS).unwrap_or(u64::MAX);
    // The remainder of a division by 10^9 fits.
    Duration::new(seconds, (nanos % NANOS) as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bucket(rate: u64) -> Bucket {
        Bucket::new(NonZeroU64::new(rate).unwrap())
    }

    #[test]
    fn the_first_bytes_leave_at_once_and_the_next_after_their_time() {
        let (bucket, now) = (bucket(1000), Instant::now());
        assert_eq!(bucket.take(500, now), now);
        assert_eq!(bucket.take(1, now), now + Duration::from_millis(500));
        assert_eq!(bucket.take(1, now), now + Duration::from_millis(501));
    }

    #[test]
    fn idle_time_earns_no_more_than_the_burst() {
        let (bucket, start) = (bucket(1000), Instant::now());
        bucket.take(1, start);
        let now = start + Duration::from_secs(3600);
        for _ in 0..=100 {
            assert_eq!(bucket.take(1, now), now);
        }
        assert_eq!(bucket.take(1, now), now + Duration::from_millis(1));
    }

    #[test]
    fn each_listener_has_one_bucket() {
        let buckets = ListenerBuckets::new(NonZeroU64::MIN);
        assert!(Arc::ptr_eq(&buckets.of("web"), &buckets.of("web")));
        assert!(!Arc::ptr_eq(&buckets.of("web"), &buckets.of("tcp")));
        assert_eq!(buckets.of("web").rate(), NonZeroU64::MIN);
    }

    #[test]
    fn no_rate_and_no_amount_overflows() {
        for rate in [1, 3, u64::MAX] {
            let (bucket, now) = (bucket(rate), Instant::now());
            for _ in 0..4 {
                assert!(bucket.take(usize::MAX, now) >= now);
            }
        }
    }

    #[test]
    fn rounding_does_not_add_up() {
        // A third of a nanosecond a byte would be lost each time: a third of the rate.
        let (bucket, now) = (bucket(3_000_000_000), Instant::now());
        for _ in 0..3_000_000 {
            bucket.take(1, now);
        }
        assert_eq!(bucket.take(1, now), now + Duration::from_millis(1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn the_rate_holds_in_every_window(
            rate in 1_u64..2_000_000,
            takes in prop::collection::vec((1_usize..4000, 0_u64..80), 1..60),
        ) {
            let (bucket, mut now) = (bucket(rate), Instant::now());
            let mut left = Vec::new();
            for (bytes, idle) in takes {
                now += Duration::from_millis(idle);
                let at = bucket.take(bytes, now);
                prop_assert!(at >= now);
                left.push((at, bytes));
                now = at;
            }
            for (index, &(from, _)) in left.iter().enumerate() {
                let mut sum = 0.0;
                for &(at, bytes) in &left[index..] {
                    // The last reservation leaves at the begin of its time, so it is not in the sum yet.
                    let allowed = rate as f64 * ((at - from).as_secs_f64() + BURST.as_secs_f64());
                    prop_assert!(sum <= allowed * 1.000_001 + 1.0, "{sum} > {allowed}");
                    sum += bytes as f64;
                }
            }
        }
    }
}
