//! A distribution given as a table of percentiles, as dashboards show latencies.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{nanos, text};
use crate::yaml::units::Percentage;

/// A percentile from `p0` to `p100` in steps of 0.0001, such as `p50` or `p99.9`. `min` and `max` name the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percentile(Percentage);

impl Percentile {
    /// The share of all delays that lie below, from 0 to 1.
    pub fn share(self) -> f64 {
        f64::from(self.0.ppm()) / 1e6
    }
}

impl FromStr for Percentile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "min" => return Ok(Self(Percentage::NONE)),
            "max" => return Ok(Self(Percentage::ALL)),
            _ => {}
        }
        let digits = name
            .strip_prefix('p')
            .filter(|digits| digits.chars().all(|c| c.is_ascii_digit() || c == '.'))
            .ok_or_else(|| format!("`{name}` is not a valid percentile: use p50, p99.9, min or max"))?;
        let share = digits.parse::<Percentage>().map_err(|_| {
            format!("`{name}` is not a valid percentile: use p0 to p100 in steps of 0.0001, such as p50 or p99.9")
        })?;
        Ok(Self(share))
    }
}

impl fmt::Display for Percentile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percentage = self.0.to_string();
        write!(f, "p{}", percentage.trim_end_matches('%'))
    }
}

/// A table of at least two percentiles, with times that never decrease.
///
/// - *Between* two stated percentiles the logarithm of the delay is linear in the percentile. Latencies spread over
///   orders of magnitude, so this puts as many draws between 100 ms and 200 ms as between 200 ms and 400 ms, where a
///   straight line would overfill the upper half. Where the lower of the two is zero, which has no logarithm, the delay
///   itself is linear.
/// - *Below* the lowest stated percentile the delay falls in a straight line to half of that percentile's time. Real
///   services have a floor (the network and the least work) that is rarely far below their usual time; zero would make
///   some responses impossibly fast. State `p0` (or `min`) to override it.
/// - *Above* the highest stated percentile every delay equals its time, so that no unstated time is drawn. State `p100` (or
///   `max`) to override it.
#[derive(Debug, Clone, PartialEq)]
pub struct PercentileTable {
    /// By share, from 0 to 1.
    knots: Vec<Knot>,
}

/// The upper end of a segment of the quantile function.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Knot {
    share: f64,
    nanos: f64,
    /// Whether the segment is linear in the delay, not in its logarithm.
    straight: bool,
}

impl PercentileTable {
    /// Checks and completes a table. The entries can be in any order.
    ///
    /// # Errors
    /// There are fewer than two entries, one is stated twice, or a higher percentile has a shorter time.
    pub fn new(entries: &[(Percentile, Duration)]) -> Result<Self, String> {
        let mut entries = entries.to_vec();
        entries.sort_by_key(|(percentile, _)| *percentile);
        entries.windows(2).try_for_each(check_neighbours)?;
        let (Some(lowest), Some(highest), true) = (entries.first(), entries.last(), entries.len() >= 2) else {
            return Err("percentiles need at least two entries, such as p50 and p99".to_owned());
        };
        let knot = |share, nanos, straight| Knot { share, nanos, straight };
        let mut knots = Vec::with_capacity(entries.len() + 2);
        let assumed_floor = lowest.0.share() > 0.0;
        if assumed_floor {
            knots.push(knot(0.0, nanos(lowest.1) / 2.0, true));
        }
        let mut straight = assumed_floor;
        for (percentile, time) in &entries {
            knots.push(knot(percentile.share(), nanos(*time), straight));
            straight = time.is_zero();
        }
        if highest.0.share() < 1.0 {
            knots.push(knot(1.0, nanos(highest.1), straight));
        }
        Ok(Self { knots })
    }

    /// The delay in nanoseconds below which the share `u` lies, for 0 < u < 1.
    pub(super) fn quantile_nanos(&self, u: f64) -> f64 {
        let after = self.knots.partition_point(|knot| knot.share < u);
        let before = after.checked_sub(1).and_then(|before| self.knots.get(before));
        let (Some(low), Some(high)) = (before, self.knots.get(after)) else {
            return self.knots.first().map_or(0.0, |knot| knot.nanos);
        };
        let part = (u - low.share) / (high.share - low.share);
        let nanos_between = if high.straight {
            low.nanos + part * (high.nanos - low.nanos)
        } else {
            low.nanos * (high.nanos / low.nanos).powf(part)
        };
        nanos_between.clamp(low.nanos, high.nanos)
    }
}

fn check_neighbours(pair: &[(Percentile, Duration)]) -> Result<(), String> {
    let [(lower, lower_time), (higher, higher_time)] = pair else {
        return Ok(());
    };
    if lower == higher {
        return Err(format!("percentiles give {lower} twice"));
    }
    if lower_time > higher_time {
        return Err(format!(
            "percentiles must rise: {higher} ({}) is shorter than {lower} ({})",
            text(*higher_time),
            text(*lower_time)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, u64)]) -> Result<PercentileTable, String> {
        let entry = |(name, millis): &(&str, u64)| Ok((name.parse()?, Duration::from_millis(*millis)));
        PercentileTable::new(&entries.iter().map(entry).collect::<Result<Vec<_>, String>>()?)
    }

    fn millis(table: &PercentileTable, u: f64) -> f64 {
        (table.quantile_nanos(u) / 1e3).round() / 1e3
    }

    #[test]
    fn stated_percentiles_are_met_exactly() {
        let table = table(&[("p99", 2_000), ("p50", 80), ("p90", 300), ("p99.9", 5_000)]).unwrap();
        assert_eq!(
            [0.5, 0.9, 0.99, 0.999].map(|u| millis(&table, u)),
            [80.0, 300.0, 2_000.0, 5_000.0]
        );
    }

    #[test]
    fn between_two_percentiles_the_logarithm_is_linear() {
        let table = table(&[("p50", 100), ("p90", 400)]).unwrap();
        assert_eq!(millis(&table, 0.7), 200.0);
    }

    #[test]
    fn the_ends_are_half_the_lowest_and_the_highest() {
        let open = table(&[("p50", 80), ("p90", 300)]).unwrap();
        assert_eq!(
            [1e-9, 0.25, 0.95, 1.0 - 1e-9].map(|u| millis(&open, u)),
            [40.0, 60.0, 300.0, 300.0]
        );
        let closed = table(&[("min", 20), ("p50", 80), ("max", 320)]).unwrap();
        assert_eq!(
            [1e-9, 0.25, 0.75, 1.0 - 1e-9].map(|u| millis(&closed, u)),
            [20.0, 40.0, 160.0, 320.0]
        );
    }

    #[test]
    fn zeros_and_plateaus_are_fine() {
        let table = table(&[("p0", 0), ("p10", 0), ("p50", 100), ("p60", 100), ("p100", 100)]).unwrap();
        assert_eq!(
            [0.05, 0.3, 0.55, 0.9].map(|u| millis(&table, u)),
            [0.0, 50.0, 100.0, 100.0]
        );
    }

    #[test]
    fn the_quantile_function_never_falls() {
        let table = table(&[("p10", 1), ("p50", 80), ("p90", 300), ("p99.99", 2_000)]).unwrap();
        let values: Vec<f64> = (1..10_000)
            .map(|step| table.quantile_nanos(f64::from(step) / 1e4))
            .collect();
        assert!(values.is_sorted());
    }

    #[test]
    fn impossible_tables_are_refused() {
        let refused = |entries: &[(&str, u64)]| table(entries).unwrap_err();
        assert_eq!(
            refused(&[("p90", 100), ("p50", 300)]),
            "percentiles must rise: p90 (100ms) is shorter than p50 (300ms)"
        );
        assert_eq!(refused(&[("p0", 1), ("min", 2)]), "percentiles give p0 twice");
        assert_eq!(
            refused(&[("p50", 1)]),
            "percentiles need at least two entries, such as p50 and p99"
        );
        assert_eq!(
            refused(&[("median", 1)]),
            "`median` is not a valid percentile: use p50, p99.9, min or max"
        );
        for name in ["p999", "p", "p99.99999", "p1.2.3", "p-1", "p5%", "50"] {
            assert!(
                refused(&[(name, 1), ("p50", 2)]).contains("is not a valid percentile"),
                "{name}"
            );
        }
    }
}
