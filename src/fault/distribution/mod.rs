//! The distributions that delays are drawn from.
//!
//! Every draw uses the inverse distribution function, which maps one uniform number between 0 and 1 to one delay. So a delay
//! is a pure function of a draw, a distribution can be tested without randomness, and [correlation] can reorder the draws
//! without changing the distribution.
//!
//! Internally, a delay is an `f64` of nanoseconds, exact for whole nanoseconds up to 104 days. Results are rounded up to a
//! nanosecond, since a delay must never be shorter than configured, and capped at the distribution's longest delay.

pub mod correlation;
pub mod normal;
pub mod percentiles;
pub mod samples;
#[cfg(test)]
mod tests;
pub mod wave;

use std::sync::Arc;
use std::time::Duration;

use crate::yaml::units::Time;
use normal::{standard_normal_cdf, standard_normal_quantile};
use percentiles::PercentileTable;
use samples::Samples;

/// The default longest delay: one hour.
pub const DEFAULT_BOUND: Duration = Duration::from_secs(3600);

/// The 99th percentile of the standard normal distribution, Φ⁻¹(0.99).
const STANDARD_NORMAL_P99: f64 = 2.326_347_874_040_841;

/// A distribution of delays. No drawn delay is negative or above [`Self::longest`].
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    shape: Shape,
    longest: Duration,
}

/// The parameters, times in nanoseconds.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Fixed(f64),
    Uniform { low: f64, high: f64 },
    Normal { mean: f64, deviation: f64 },
    Lognormal { median: f64, sigma: f64 },
    Exponential { mean: f64 },
    Pareto { scale: f64, shape: f64 },
    Percentiles(PercentileTable),
    Samples(Arc<Samples>),
}

impl Distribution {
    /// Always the same delay.
    pub fn fixed(delay: Duration) -> Self {
        Self::new(Shape::Fixed(nanos(delay)))
    }

    /// Every delay between the two is equally likely.
    ///
    /// # Errors
    /// `low` is longer than `high`.
    pub fn uniform(low: Duration, high: Duration) -> Result<Self, String> {
        if low > high {
            let (low, high) = (text(low), text(high));
            return Err(format!(
                "the first time of uniform, {low}, is longer than the second, {high}: give the shorter one first: \
                [{high}, {low}]"
            ));
        }
        Ok(Self::new(Shape::Uniform {
            low: nanos(low),
            high: nanos(high),
        }))
    }

    /// A normal distribution, conditioned on not being negative: the quantile function is stretched over the part above
    /// zero, so there is no heap of zeros.
    ///
    /// # Errors
    /// The mean is below three deviations: more than 0.13 % of the draws would be negative before truncation, and the result
    /// would no longer have the configured mean and deviation.
    pub fn normal(mean: Duration, deviation: Duration) -> Result<Self, String> {
        if deviation.saturating_mul(3) > mean {
            let negative = standard_normal_cdf(-nanos(mean) / nanos(deviation)) * 100.0;
            return Err(format!(
                "normal with mean {} and deviation {} would be negative for {negative:.1}% of the draws; the deviation \
                 can be at most a third of the mean, {}; lognormal is never negative",
                text(mean),
                text(deviation),
                text(mean / 3)
            ));
        }
        Ok(Self::new(Shape::Normal {
            mean: nanos(mean),
            deviation: nanos(deviation),
        }))
    }

    /// A lognormal distribution by its median and its 99th percentile: σ = ln(p99 / median) / Φ⁻¹(0.99).
    ///
    /// # Errors
    /// The median is zero or the 99th percentile is not above it.
    pub fn lognormal_p99(median: Duration, p99: Duration) -> Result<Self, String> {
        if p99 <= median {
            return Err(format!(
                "the p99 of lognormal, {}, must be above its median, {}",
                text(p99),
                text(median)
            ));
        }
        let sigma = (nanos(p99) / nanos(median).max(1.0)).ln() / STANDARD_NORMAL_P99;
        Self::lognormal(median, sigma)
    }

    /// A lognormal distribution by its median and σ, the standard deviation of the logarithm (no unit).
    ///
    /// # Errors
    /// The median is zero, or σ is not a finite number above 0.
    pub fn lognormal(median: Duration, sigma: f64) -> Result<Self, String> {
        require_time("median of lognormal", median)?;
        require_number("sigma of lognormal", sigma)?;
        let median = nanos(median);
        Ok(Self::new(Shape::Lognormal { median, sigma }))
    }

    /// An exponential distribution: the time to the next event where events are independent.
    ///
    /// # Errors
    /// The mean is zero.
    pub fn exponential(mean: Duration) -> Result<Self, String> {
        require_time("mean of exponential", mean)?;
        Ok(Self::new(Shape::Exponential { mean: nanos(mean) }))
    }

    /// A Pareto distribution (type I): `scale` is the shortest delay, and the share of delays above x is (scale / x)^shape.
    /// The smaller the shape, the heavier the tail; at 1 and below the mean is infinite, so there `max` matters.
    ///
    /// # Errors
    /// The scale is zero, or the shape is not a finite number above 0.
    pub fn pareto(scale: Duration, shape: f64) -> Result<Self, String> {
        require_time("scale of pareto", scale)?;
        require_number("shape of pareto", shape)?;
        let scale = nanos(scale);
        Ok(Self::new(Shape::Pareto { scale, shape }))
    }

    /// A table of percentiles, see [`PercentileTable`].
    pub fn percentiles(table: PercentileTable) -> Self {
        Self::new(Shape::Percentiles(table))
    }

    /// Observed values, see [`Samples`].
    pub fn samples(samples: Arc<Samples>) -> Self {
        Self::new(Shape::Samples(samples))
    }

    /// Caps every delay at `longest`, in place of [`DEFAULT_BOUND`]: a draw above it gives exactly `longest`.
    pub fn capped(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    /// The longest delay that can be drawn: [`DEFAULT_BOUND`] unless [capped](Self::capped).
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// The delay below which the share `u` of all delays lies. `u` is clamped to (0, 1).
    pub fn quantile(&self, u: f64) -> Duration {
        duration(self.quantile_nanos(u)).min(self.longest)
    }

    /// The unrounded quantile in nanoseconds. Never NaN, negative, or above the longest delay.
    pub fn quantile_nanos(&self, u: f64) -> f64 {
        let u = clamp_open(u);
        // Near 1, 1 - u is exact, while u itself lacks the digits for the upper tail.
        let above = 1.0 - u;
        let nanos_drawn = match &self.shape {
            Shape::Fixed(delay) => *delay,
            Shape::Uniform { low, high } => low + u * (high - low),
            Shape::Normal { mean, deviation } => truncated_normal(*mean, *deviation, above),
            Shape::Lognormal { median, sigma } => median * (sigma * standard_normal_quantile(u)).exp(),
            Shape::Exponential { mean } => -mean * above.ln(),
            Shape::Pareto { scale, shape } => scale * (-above.ln() / shape).exp(),
            Shape::Percentiles(table) => table.quantile_nanos(u),
            Shape::Samples(samples) => samples.quantile_nanos(u),
        };
        nanos_drawn.clamp(0.0, nanos(self.longest))
    }

    fn new(shape: Shape) -> Self {
        Self {
            shape,
            longest: DEFAULT_BOUND,
        }
    }
}

/// The quantile of a normal distribution truncated at zero. `above` is the share of the *truncated* distribution above the
/// result: F(x | x > 0) = u  ⇔  1 - F(x) = (1 - u) (1 - F(0)).
fn truncated_normal(mean: f64, deviation: f64, above: f64) -> f64 {
    if deviation <= 0.0 {
        return mean;
    }
    let positive = standard_normal_cdf(mean / deviation);
    mean - deviation * standard_normal_quantile(above * positive)
}

/// The nearest number that lies in the open interval (0, 1) and whose difference from 1 does too; NaN counts as a half.
fn clamp_open(u: f64) -> f64 {
    const EDGE: f64 = f64::EPSILON / 2.0;
    if u.is_nan() { 0.5 } else { u.clamp(EDGE, 1.0 - EDGE) }
}

fn nanos(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}

/// Rounds up to a nanosecond. `as` saturates, so every number is safe.
fn duration(nanos: f64) -> Duration {
    Duration::from_nanos(nanos.ceil() as u64)
}

/// A duration as users write it.
fn text(duration: Duration) -> String {
    Time::try_from(duration).map_or_else(|_| format!("{duration:?}"), |time| time.to_string())
}

fn require_time(what: &str, time: Duration) -> Result<(), String> {
    if time.is_zero() {
        return Err(format!("the {what} must be above 0s"));
    }
    Ok(())
}

fn require_number(what: &str, number: f64) -> Result<(), String> {
    if number.is_finite() && number > 0.0 {
        return Ok(());
    }
    Err(format!("the {what} must be a number above 0, not {number}"))
}
