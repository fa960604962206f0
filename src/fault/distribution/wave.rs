//! Waves: delays that follow the clock instead of a draw, such as a load that rises and falls or a job every minute.

use std::f64::consts::TAU;
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{nanos, text};

/// The waveform of one period. All begin at their minimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaveShape {
    /// Rises to the maximum at half the period and falls again, as (1 - cos) / 2.
    Sine,
    /// Rises in a straight line to the maximum at the end of the period, then drops.
    Saw,
    /// The minimum for the first half of the period, the maximum for the second.
    Square,
    /// Rises in a straight line to the maximum at half the period and falls back.
    Triangle,
}

impl WaveShape {
    /// The height from 0 to 1 at a position from 0 to 1 in the period.
    pub fn height(self, position: f64) -> f64 {
        match self {
            Self::Sine => (1.0 - (TAU * position).cos()) / 2.0,
            Self::Saw => position,
            Self::Square if position < 0.5 => 0.0,
            Self::Square => 1.0,
            Self::Triangle => 1.0 - (2.0 * position - 1.0).abs(),
        }
    }
}

/// A delay as a periodic function of the time since the rules were loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Wave {
    shape: WaveShape,
    period: Duration,
    phase: Duration,
    min: f64,
    max: f64,
}

impl Wave {
    /// Creates a wave between two delays. `phase` is how far into its period the wave is when the rules are loaded.
    ///
    /// # Errors
    /// The period is zero, or `min` is longer than `max`.
    pub fn new(
        shape: WaveShape,
        period: Duration,
        min: Duration,
        max: Duration,
        phase: Duration,
    ) -> Result<Self, String> {
        if period.is_zero() {
            return Err("the period of wave must be above 0s, such as 1m".to_owned());
        }
        if min > max {
            return Err(format!(
                "the min of wave, {}, is longer than its max, {}",
                text(min),
                text(max)
            ));
        }
        Ok(Self {
            shape,
            period,
            phase,
            min: nanos(min),
            max: nanos(max),
        })
    }

    /// The delay in nanoseconds at a time after the rules were loaded.
    pub fn nanos_at(&self, since_start: Duration) -> f64 {
        // Whole nanoseconds, so that a wave does not drift over months.
        let elapsed = since_start.as_nanos() + self.phase.as_nanos();
        let position = (elapsed % self.period.as_nanos()) as f64 / nanos(self.period);
        self.min + self.shape.height(position) * (self.max - self.min)
    }
}

impl fmt::Display for WaveShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sine => "sine",
            Self::Saw => "saw",
            Self::Square => "square",
            Self::Triangle => "triangle",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(shape: WaveShape, phase: u64, seconds: u64) -> f64 {
        let [period, min, max] = [60_000, 50, 550].map(Duration::from_millis);
        let wave = Wave::new(shape, period, min, max, Duration::from_secs(phase)).unwrap();
        (wave.nanos_at(Duration::from_secs(seconds)) / 1e3).round() / 1e3
    }

    #[test]
    fn every_shape_takes_its_course() {
        let quarters = |shape| [0, 15, 30, 45, 60].map(|seconds| at(shape, 0, seconds));
        assert_eq!(quarters(WaveShape::Sine), [50.0, 300.0, 550.0, 300.0, 50.0]);
        assert_eq!(quarters(WaveShape::Saw), [50.0, 175.0, 300.0, 425.0, 50.0]);
        assert_eq!(quarters(WaveShape::Square), [50.0, 50.0, 550.0, 550.0, 50.0]);
        assert_eq!(quarters(WaveShape::Triangle), [50.0, 300.0, 550.0, 300.0, 50.0]);
    }

    #[test]
    fn a_phase_shifts_and_years_do_not_drift() {
        assert_eq!(at(WaveShape::Saw, 15, 0), 175.0);
        assert_eq!(at(WaveShape::Saw, 75, 0), 175.0);
        assert_eq!(at(WaveShape::Saw, 0, 100 * 365 * 86_400 + 15), 175.0);
    }

    #[test]
    fn impossible_waves_are_refused() {
        let [zero, one, two] = [0, 1, 2].map(Duration::from_secs);
        assert!(
            Wave::new(WaveShape::Sine, zero, zero, one, zero)
                .unwrap_err()
                .contains("period")
        );
        assert_eq!(
            Wave::new(WaveShape::Sine, one, two, one, zero).unwrap_err(),
            "the min of wave, 2s, is longer than its max, 1s"
        );
    }

    #[test]
    fn the_longest_times_do_not_overflow() {
        let wave = Wave::new(
            WaveShape::Saw,
            Duration::MAX,
            Duration::ZERO,
            Duration::MAX,
            Duration::MAX,
        )
        .unwrap();
        assert!(wave.nanos_at(Duration::MAX).is_finite());
    }
}
