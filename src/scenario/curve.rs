//! Curves: how a number of a rule changes over time, and the numbers of rules that may change.

use std::fmt;
use std::time::Duration;

use crate::fault::distribution::wave::WaveShape;
use crate::yaml::units::{ByteRate, Percentage, Time};

/// A number in a rule that a scenario may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// The length of the fault `delay`, in seconds.
    Delay,
    /// The rate of the fault `bandwidth`, in bytes a second.
    Bandwidth,
    /// The percentage of `when`, from 0 to 100.
    Percentage,
}

impl Property {
    /// All properties, in the order of their names in messages.
    pub const ALL: [Property; 3] = [Property::Delay, Property::Percentage, Property::Bandwidth];

    /// The word for it in a scenario.
    pub fn name(self) -> &'static str {
        match self {
            Property::Delay => "delay",
            Property::Bandwidth => "bandwidth",
            Property::Percentage => "percentage",
        }
    }

    /// Reads a value of this property.
    ///
    /// # Errors
    /// A sentence that says what would be valid.
    pub fn parse(self, text: &str) -> Result<f64, String> {
        let value = match self {
            Property::Delay => text.parse::<Time>().map(Self::of_time),
            Property::Bandwidth => text.parse::<ByteRate>().map(Self::of_rate),
            Property::Percentage => text.parse::<Percentage>().map(Self::of_percentage),
        };
        value.map_err(|error| error.to_string())
    }

    /// A time as a value of [`Property::Delay`], in seconds.
    pub fn of_time(time: Time) -> f64 {
        time.get().as_secs_f64()
    }

    /// A rate as a value of [`Property::Bandwidth`], in bytes a second.
    pub fn of_rate(rate: ByteRate) -> f64 {
        // Rates beyond 2^53 bytes a second lose digits that no network has.
        rate.get() as f64
    }

    /// A percentage as a value of [`Property::Percentage`].
    pub fn of_percentage(percentage: Percentage) -> f64 {
        f64::from(percentage.ppm()) / 1e4
    }

    /// A value as it is typed in a rule, rounded to a microsecond, a byte a second, or a millionth.
    pub fn write(self, value: f64) -> String {
        let whole = |value: f64| value.max(0.0).round() as u64;
        match self {
            Property::Delay => {
                Time::saturating(Duration::from_micros(whole(value * 1e6).min(u64::MAX / 2))).to_string()
            }
            Property::Bandwidth => format!("{}B/s", whole(value).max(1)),
            Property::Percentage => {
                let ppm = u32::try_from(whole(value * 1e4)).unwrap_or(u32::MAX);
                Percentage::from_ppm(ppm).to_string()
            }
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A number as a function of the time since its step began.
#[derive(Debug, Clone, PartialEq)]
pub enum Curve {
    /// From one value to another in a straight line, then stays there.
    Ramp {
        /// The first value.
        from: f64,
        /// The last value.
        to: f64,
        /// How long it takes.
        over: Duration,
    },
    /// One value after the other; the last one stays.
    Steps {
        /// The values, at least one.
        values: Vec<f64>,
        /// How long each holds.
        every: Duration,
    },
    /// Up and down, from the lower value.
    Wave {
        /// The waveform of a period.
        shape: WaveShape,
        /// The lower value.
        min: f64,
        /// The upper value.
        max: f64,
        /// The length of a period.
        period: Duration,
    },
    /// Always the same value.
    Hold(f64),
}

impl Curve {
    /// The value at a time since the beginning.
    pub fn at(&self, since: Duration) -> f64 {
        match self {
            Curve::Ramp { from, to, over } => from + (to - from) * share(since, *over).min(1.0),
            Curve::Steps { values, every } => {
                // Casts of floats saturate.
                let number = share(since, *every) as usize;
                values.get(number).or(values.last()).copied().unwrap_or_default()
            }
            Curve::Wave {
                shape,
                min,
                max,
                period,
            } => {
                let position = share(since, *period).fract();
                min + (max - min) * shape.height(position)
            }
            Curve::Hold(value) => *value,
        }
    }

    /// How long the value may change; `None` if it never stops.
    pub fn length(&self) -> Option<Duration> {
        match self {
            Curve::Ramp { over, .. } => Some(*over),
            Curve::Steps { values, every } => {
                let count = u32::try_from(values.len()).unwrap_or(u32::MAX);
                Some(every.saturating_mul(count))
            }
            Curve::Wave { .. } => None,
            Curve::Hold(_) => Some(Duration::ZERO),
        }
    }

    /// Whether the value changes steadily, so that it must be followed closely.
    pub fn is_smooth(&self) -> bool {
        match self {
            Curve::Ramp { .. } => true,
            Curve::Wave { shape, .. } => *shape != WaveShape::Square,
            Curve::Steps { .. } | Curve::Hold(_) => false,
        }
    }
}

/// A time as a share of another one, which is not zero where it matters: the specification refuses that.
fn share(time: Duration, of: Duration) -> f64 {
    if of.is_zero() {
        return f64::MAX;
    }
    time.div_duration_f64(of)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn ramps_are_straight_and_stay_at_their_end() {
        let ramp = Curve::Ramp {
            from: 0.05,
            to: 2.05,
            over: 10 * SECOND,
        };
        assert_eq!(ramp.at(Duration::ZERO), 0.05);
        assert!((ramp.at(5 * SECOND) - 1.05).abs() < 1e-9);
        assert_eq!(ramp.at(11 * SECOND), 2.05);
        let down = Curve::Ramp {
            from: 100.0,
            to: 0.0,
            over: SECOND,
        };
        assert_eq!(down.at(SECOND / 4), 75.0);
    }

    #[test]
    fn steps_hold_each_value_and_stay_at_the_last() {
        let steps = Curve::Steps {
            values: vec![1.0, 5.0, 20.0],
            every: SECOND,
        };
        let at = |millis| steps.at(Duration::from_millis(millis));
        assert_eq!(
            [at(0), at(999), at(1_000), at(2_500), at(9_000)],
            [1.0, 1.0, 5.0, 20.0, 20.0]
        );
        assert_eq!(steps.length(), Some(3 * SECOND));
    }

    #[test]
    fn waves_begin_at_their_lower_value() {
        let wave = |shape| Curve::Wave {
            shape,
            min: 1.0,
            max: 3.0,
            period: 4 * SECOND,
        };
        assert_eq!(wave(WaveShape::Sine).at(Duration::ZERO), 1.0);
        assert_eq!(wave(WaveShape::Triangle).at(2 * SECOND), 3.0);
        assert_eq!(wave(WaveShape::Triangle).at(5 * SECOND), 2.0);
        assert_eq!(wave(WaveShape::Square).at(3 * SECOND), 3.0);
    }

    proptest! {
        #[test]
        fn a_curve_stays_between_its_values(
            from in 0.0..100.0_f64, to in 0.0..100.0_f64, over in 1..100_000_u64, since in 0..200_000_u64,
        ) {
            let (over, since) = (Duration::from_millis(over), Duration::from_millis(since));
            let (min, max) = (from.min(to), from.max(to));
            let values = vec![from, to];
            let wave = Curve::Wave { shape: WaveShape::Sine, min, max, period: over };
            for curve in [Curve::Ramp { from, to, over }, Curve::Steps { values, every: over }, wave] {
                let value = curve.at(since);
                prop_assert!(value >= min - 1e-9 && value <= max + 1e-9, "{curve:?} {value}");
            }
        }

        #[test]
        fn a_written_value_reads_back(value in 0.0..100.0_f64) {
            for property in Property::ALL {
                let read = property.parse(&property.write(value)).unwrap();
                let step = if property == Property::Bandwidth { 1.0 } else { 1e-4 };
                prop_assert!((read - value).abs() <= step, "{property} {value} {read}");
            }
        }
    }
}
