//! A histogram of durations: log-linear, small, mergeable, exact to 1.6 %.
//!
//! Times are counted in whole microseconds. Below 64 µs each has a bucket of its own; above, each power of two is split into 32
//! equal buckets, as in HdrHistogram. Memory grows with the longest time recorded, and never beyond 4 KiB.

use std::time::Duration;

/// Buckets of each power of two.
const STEPS: u64 = 32;
/// The base-2 logarithm of [`STEPS`].
const STEP_BITS: u32 = 5;
/// The longest time that is told apart, in microseconds: 19 hours. Longer ones count as this.
const LONGEST: u64 = (1 << 36) - 1;

/// The number of buckets: those of the longest time, and all before it.
pub const BUCKETS: usize = 1024;

/// Counts durations by length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Up to the last bucket that was needed.
    counts: Vec<u32>,
    count: u64,
}

impl Histogram {
    /// Counts a duration. One longer than 19 hours counts as 19 hours.
    pub fn record(&mut self, time: Duration) {
        self.add(bucket(micros(time)), 1);
    }

    /// Adds a number of durations to a bucket, as [`bucket_of`] counts them.
    pub fn record_in(&mut self, bucket: usize, count: u32) {
        self.add(bucket.min(BUCKETS - 1), count);
    }

    /// Adds the counts of another histogram to these.
    pub fn merge(&mut self, other: &Histogram) {
        for (at, count) in other.counts.iter().enumerate() {
            if *count > 0 {
                self.add(at, *count);
            }
        }
    }

    fn add(&mut self, at: usize, count: u32) {
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        if let Some(slot) = self.counts.get_mut(at) {
            *slot = slot.saturating_add(count);
        }
        self.count = self.count.saturating_add(u64::from(count));
    }

    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The shortest time that at least `share` of all durations don't exceed, from 0.0 (the shortest) to 1.0 (the longest), within
    /// 1.6 %; `None` while there are none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        if self.is_empty() {
            return None;
        }
        // Precise enough below 2^53 durations. Casts of floats saturate.
        let rank = (share.clamp(0.0, 1.0) * self.count as f64).ceil() as u64;
        let mut seen = 0_u64;
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let mut last = 0;
        for (at, count) in filled {
            last = at;
            seen = seen.saturating_add(u64::from(*count));
            if seen >= rank.max(1) {
                break;
            }
        }
        Some(middle(last))
    }

    /// The number of durations in each range between the given bounds: up to the first, from there to the second, and so on;
    /// the last one is of those beyond all bounds. Bounds are in ascending order.
    pub fn spread(&self, bounds: &[Duration]) -> Vec<u64> {
        let mut ranges = vec![0_u64; bounds.len() + 1];
        for (at, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let time = middle(at);
            let range = bounds.partition_point(|bound| *bound < time);
            if let Some(slot) = ranges.get_mut(range) {
                *slot += u64::from(*count);
            }
        }
        ranges
    }
}

/// The bucket that a duration counts in, below [`BUCKETS`], for counts that are kept elsewhere.
pub fn bucket_of(time: Duration) -> usize {
    bucket(micros(time))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(LONGEST)
}

/// The bucket of a time in microseconds.
fn bucket(micros: u64) -> usize {
    let octave = micros.max(1).ilog2();
    let shift = octave.saturating_sub(STEP_BITS);
    let at = u64::from(shift) * STEPS + (micros >> shift);
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// The time in the middle of a bucket.
fn middle(bucket: usize) -> Duration {
    let bucket = bucket as u64;
    // The inverse of `bucket`, whose second part is from 32 to 63 above the first 64 buckets.
    let shift = (bucket / STEPS).saturating_sub(1);
    let from = (bucket - shift * STEPS) << shift;
    Duration::from_micros(from + (1 << shift) / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(times: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for time in times {
            histogram.record(Duration::from_micros(*time));
        }
        histogram
    }

    #[test]
    fn an_empty_histogram_has_no_quantiles() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(of(&[7]).quantile(0.5), Some(Duration::from_micros(7)));
    }

    #[test]
    fn short_times_are_exact() {
        for micros in 0..64 {
            assert_eq!(of(&[micros]).quantile(0.5), Some(Duration::from_micros(micros)));
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut histogram = of(&[u64::MAX]);
        histogram.record(Duration::MAX);
        assert_eq!(histogram.counts.len(), BUCKETS);
        assert!(histogram.quantile(1.0) > Some(Duration::from_secs(18 * 3600)));
    }

    #[test]
    fn spread_counts_every_duration_once() {
        let histogram = of(&[1_000, 1_500, 20_000, 3_000_000]);
        let bounds = [2, 10, 100].map(Duration::from_millis);
        assert_eq!(histogram.spread(&bounds), [2, 0, 1, 1]);
        assert_eq!(histogram.spread(&[]), [4]);
    }

    proptest! {
        #[test]
        fn buckets_are_in_order_and_their_middle_is_close(micros in 0..=LONGEST) {
            let at = bucket(micros);
            prop_assert!(at == bucket(micros + 1) || at + 1 == bucket(micros + 1));
            let error = micros.abs_diff(middle(at).as_micros() as u64);
            prop_assert!(error as f64 <= micros as f64 * 0.016, "{micros} {:?}", middle(at));
        }

        #[test]
        fn quantiles_are_close(mut times in prop::collection::vec(0..10_000_000_u64, 1..200), share in 0.0..=1.0) {
            let found = of(&times).quantile(share).unwrap().as_micros() as f64;
            times.sort_unstable();
            let rank = ((share * times.len() as f64).ceil() as usize).max(1);
            let real = times[rank - 1] as f64;
            prop_assert!((found - real).abs() <= real * 0.016 + 0.5, "{found} {real}");
        }

        #[test]
        fn merging_is_recording_both(one in prop::collection::vec(0..1_u64 << 40, 0..50), two in prop::collection::vec(0..1_u64 << 40, 0..50)) {
            let mut merged = of(&one);
            merged.merge(&of(&two));
            prop_assert_eq!(merged, of(&[one, two].concat()));
        }
    }
}
