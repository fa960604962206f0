//! Correlation: delays that resemble the delay before them, which gives bursts, without shared state.
//!
//! A Gaussian copula over a first-order autoregressive process. Request n of a rule has its own standard normal number
//! εₙ, derived from a hash of (rule seed, n). Its delay is
//!
//! ```text
//! zₙ = Σ cᵏ εₙ₋ₖ / √(Σ c²ᵏ)      k = 0 … K-1, with c^K < 0.001
//! u  = Φ(zₙ),  delay = quantile(u)
//! ```
//!
//! zₙ is standard normal, so u is uniform and **the distribution of the delays is exactly the configured one**; only their
//! order changes. (Linux netem mixes uniform numbers instead, which distorts the distribution towards its middle.) Neighbours
//! correlate by c, requests that are k apart by cᵏ. c is the correlation of z; that of the delays themselves is somewhat
//! smaller if their distribution is skewed. zₙ is computed from hashes for every n, so it is a pure function of (seed, rule,
//! ordinal) in any order of arrival. The cost is K hashes and normal quantiles: 31 for 80 %, 135 for 95 %.

use super::normal::{standard_normal_cdf, standard_normal_quantile};
use crate::draw::{KeyHash, Purpose, RuleSeed};

/// The strongest correlation, in parts per million: 95 %. It bounds the cost of a draw.
pub const STRONGEST_PPM: u32 = 950_000;

/// Terms of the infinite sum below this share of the newest term are left out.
const NEGLIGIBLE: f64 = 1e-3;

/// The weights of the sum, for one strength of correlation.
#[derive(Debug, Clone, PartialEq)]
pub struct Correlation {
    /// cᵏ / √(Σ c²ᵏ), so that the sum has variance 1.
    weights: Box<[f64]>,
}

impl Correlation {
    /// Creates a correlation between neighbouring requests, in parts per million.
    ///
    /// # Errors
    /// It is above [`STRONGEST_PPM`].
    pub fn new(ppm: u32) -> Result<Self, String> {
        if ppm > STRONGEST_PPM {
            return Err(format!(
                "a correlation of {}% is too strong: use 0% to 95%",
                f64::from(ppm) / 1e4
            ));
        }
        let coefficient = f64::from(ppm) / 1e6;
        let mut weights = vec![1.0];
        let mut power = coefficient;
        while power >= NEGLIGIBLE {
            weights.push(power);
            power *= coefficient;
        }
        let norm = weights.iter().map(|weight| weight * weight).sum::<f64>().sqrt();
        Ok(Self {
            weights: weights.iter().map(|weight| weight / norm).collect(),
        })
    }

    /// The uniform number of the rule's request `ordinal`. `index` distinguishes the faults of one rule.
    pub fn unit(&self, rule: RuleSeed, ordinal: u64, index: u32) -> f64 {
        standard_normal_cdf(self.standard_normal(rule, ordinal, index))
    }

    /// zₙ of the module's formula. Terms before the first request are computed too, so the process is stationary from the
    /// start.
    fn standard_normal(&self, rule: RuleSeed, ordinal: u64, index: u32) -> f64 {
        let mut sum = 0.0;
        let mut past = ordinal;
        for weight in &self.weights {
            let unit = rule.draw(KeyHash::ordinal(past)).unit(Purpose::Correlation, index);
            sum += weight * standard_normal_quantile(unit);
            past = past.wrapping_sub(1);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Seed;

    fn series(ppm: u32, count: u64) -> Vec<f64> {
        let (correlation, rule) = (Correlation::new(ppm).unwrap(), Seed(1).rule("bursts"));
        (0..count).map(|n| correlation.standard_normal(rule, n, 0)).collect()
    }

    fn correlation_at(series: &[f64], lag: usize) -> f64 {
        let mean = series.iter().sum::<f64>() / series.len() as f64;
        let variance: f64 = series.iter().map(|z| (z - mean).powi(2)).sum();
        let covariance: f64 = series
            .iter()
            .zip(&series[lag..])
            .map(|(a, b)| (a - mean) * (b - mean))
            .sum();
        covariance / variance
    }

    #[test]
    fn neighbours_correlate_as_asked() {
        for ppm in [0, 200_000, 500_000, 800_000, 950_000] {
            let (series, asked) = (series(ppm, 30_000), f64::from(ppm) / 1e6);
            let found = correlation_at(&series, 1);
            assert!((found - asked).abs() < 0.02, "{asked}: {found}");
            let found = correlation_at(&series, 3);
            assert!((found - asked.powi(3)).abs() < 0.04, "{asked} at lag 3: {found}");
        }
    }

    #[test]
    fn a_request_does_not_depend_on_the_ones_asked_for_before() {
        let (correlation, rule) = (Correlation::new(800_000).unwrap(), Seed(1).rule("bursts"));
        let forwards: Vec<f64> = (0..100).map(|n| correlation.unit(rule, n, 0)).collect();
        let mut backwards: Vec<f64> = (0..100).rev().map(|n| correlation.unit(rule, n, 0)).collect();
        backwards.reverse();
        assert_eq!(forwards, backwards);
        assert_ne!(correlation.unit(rule, 5, 0), correlation.unit(rule, 5, 1));
    }

    #[test]
    fn the_strongest_correlation_is_bounded() {
        assert_eq!(Correlation::new(STRONGEST_PPM).unwrap().weights.len(), 135);
        assert_eq!(Correlation::new(800_000).unwrap().weights.len(), 31);
        assert_eq!(Correlation::new(0).unwrap().weights.len(), 1);
        let error = Correlation::new(990_000).unwrap_err();
        assert_eq!(error, "a correlation of 99% is too strong: use 0% to 95%");
    }
}
