//! The configuration of a delay, and its description in words. `fields` deserializes it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::fields::DelayFields;
use crate::fault::before::{Before, Mode};
use crate::fault::distribution::percentiles::Percentile;
use crate::fault::distribution::samples::{Column, SampleUnit};
use crate::fault::distribution::wave::WaveShape;
use crate::shape::Direction;
use crate::yaml::units::{Share, Time};

/// A `delay` as typed: one distribution, and options.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(into = "DelayFields")]
pub struct DelaySpec {
    /// The distribution of the length.
    pub distribution: DistributionSpec,
    /// Longer delays are cut to this.
    pub max: Option<Time>,
    /// How much each delay resembles the one before it, 0 to 95 %.
    pub correlation: Option<Share>,
    /// What the delay holds. Absent: the request, or the response if the mode needs that.
    pub before: Option<Before>,
    /// Whose body, messages or end wait, with `before: body`, `before: message` and `before: end`. Absent: the response's.
    pub direction: Option<Direction>,
    /// How the delay combines with the natural time.
    pub mode: Mode,
}

/// The distribution of a delay, as typed.
#[derive(Debug, Clone, PartialEq)]
pub enum DistributionSpec {
    /// `200ms` or `{fixed: 200ms}`.
    Fixed(Time),
    /// `{uniform: [50ms, 100ms]}`.
    Uniform([Time; 2]),
    /// `{normal: {mean: 100ms, deviation: 10ms}}`.
    Normal(NormalSpec),
    /// `{lognormal: {median: 120ms, p99: 2s}}`.
    Lognormal(LognormalSpec),
    /// `{exponential: {mean: 100ms}}`.
    Exponential(ExponentialSpec),
    /// `{pareto: {scale: 10ms, shape: 1.5}}`.
    Pareto(ParetoSpec),
    /// `{percentiles: {p50: 80ms, p90: 300ms, p99: 2s}}`.
    Percentiles(PercentilesSpec),
    /// `{samples: latencies.csv}`.
    Samples(SamplesSpec),
    /// `{wave: {shape: sine, period: 1m, max: 500ms}}`, or a list of waves that are added up.
    Wave(Vec<WaveSpec>),
}

/// A normal distribution. It never goes below zero, so the mean must be at least three deviations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NormalSpec {
    /// The middle.
    pub mean: Time,
    /// The standard deviation; at most a third of the mean.
    pub deviation: Time,
}

/// A lognormal distribution: what most services' latencies look like. Exactly one of `p99` and `sigma` is given.
#[skip_serializing_none]
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["p99"]}, {"required": ["sigma"]}]))]
pub struct LognormalSpec {
    /// Half of all delays are shorter.
    pub median: Time,
    /// The 99th percentile: 99 % of all delays are shorter.
    pub p99: Option<Time>,
    /// The standard deviation of the delay's logarithm; above 0.
    #[schemars(range(min = 0.0))]
    pub sigma: Option<f64>,
}

/// An exponential distribution: the time to the next of many independent events.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExponentialSpec {
    /// The mean.
    pub mean: Time,
}

/// A Pareto distribution: a few delays are very long. The share of delays above x is (scale / x)^shape.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParetoSpec {
    /// The shortest delay.
    pub scale: Time,
    /// The shape of the tail: the smaller, the heavier; above 0.
    #[schemars(range(min = 0.0))]
    pub shape: f64,
}

/// Percentiles with their times, in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct PercentilesSpec(pub Vec<(Percentile, Time)>);

/// A file of observed delays.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplesSpec {
    /// The file, relative to the configuration file.
    pub file: String,
    /// The column with the delays; optional if there is only one.
    pub column: Option<Column>,
    /// The unit of bare numbers; ms by default.
    pub unit: SampleUnit,
    /// The column that holds how often each delay was seen.
    pub weights: Option<Column>,
}

/// A delay that rises and falls with the time since the rules were loaded. Every wave begins at its minimum.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaveSpec {
    /// The waveform.
    pub shape: WaveShape,
    /// The time after which it repeats.
    pub period: Time,
    /// The shortest delay; 0s by default.
    #[serde(default)]
    pub min: Time,
    /// The longest delay.
    pub max: Time,
    /// How far into its period the wave begins; 0s by default.
    #[serde(default)]
    pub phase: Time,
}

impl DistributionSpec {
    /// All stated times that may be drawn as a delay.
    pub(super) fn stated_times(&self) -> Vec<Time> {
        match self {
            Self::Fixed(time) => vec![*time],
            Self::Uniform(times) => times.to_vec(),
            Self::Normal(normal) => vec![normal.mean],
            Self::Lognormal(lognormal) => [Some(lognormal.median), lognormal.p99].into_iter().flatten().collect(),
            Self::Exponential(exponential) => vec![exponential.mean],
            Self::Pareto(pareto) => vec![pareto.scale],
            Self::Percentiles(table) => table.0.iter().map(|(_, time)| *time).collect(),
            Self::Samples(_) => Vec::new(),
            Self::Wave(waves) => waves.iter().map(|wave| wave.max).collect(),
        }
    }
}

impl From<DistributionSpec> for DelaySpec {
    /// A delay of this distribution, without options.
    fn from(distribution: DistributionSpec) -> Self {
        Self {
            distribution,
            max: None,
            correlation: None,
            before: None,
            direction: None,
            mode: Mode::Add,
        }
    }
}

impl DelaySpec {
    /// Describes the distribution and the non-default options in one line.
    pub fn describe(&self) -> String {
        let mut text = self.distribution.to_string();
        if let Some(max) = self.max {
            text += &format!(", at most {max}");
        }
        if let Some(correlation) = self.correlation {
            text += &format!(", correlation {correlation}");
        }
        let whose = match self.direction.unwrap_or_default() {
            Direction::Response => "response",
            Direction::Request => "request",
        };
        match (self.mode, self.before) {
            (Mode::Add, Some(Before::Response)) => text += ", before the response",
            (Mode::Add, Some(Before::Body)) => text += &format!(", before the body of the {whose}"),
            (Mode::Add, Some(Before::Message)) => text += &format!(", before each message of the {whose}"),
            (Mode::Add, Some(Before::End)) => text += &format!(", before the end of the {whose}"),
            (Mode::Add, Some(Before::Connection)) => text += ", before the connection",
            (Mode::Add, Some(Before::Handshake)) => text += ", before the handshake",
            (Mode::Add, Some(Before::Request) | None) => {}
            (mode, _) => text += &format!(", mode {mode}"),
        }
        text
    }
}

impl fmt::Display for DistributionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(time) => time.fmt(f),
            Self::Uniform([low, high]) => write!(f, "uniform({low} to {high})"),
            Self::Normal(NormalSpec { mean, deviation }) => write!(f, "normal(mean {mean}, deviation {deviation})"),
            Self::Lognormal(LognormalSpec { median, p99, sigma }) => {
                write!(f, "lognormal(median {median}")?;
                p99.map_or(Ok(()), |p99| write!(f, ", p99 {p99}"))?;
                sigma.map_or(Ok(()), |sigma| write!(f, ", sigma {sigma}"))?;
                f.write_str(")")
            }
            Self::Exponential(ExponentialSpec { mean }) => write!(f, "exponential(mean {mean})"),
            Self::Pareto(ParetoSpec { scale, shape }) => write!(f, "pareto(scale {scale}, shape {shape})"),
            Self::Percentiles(PercentilesSpec(table)) => {
                write_list(f, "percentiles", table, |f, (percentile, time)| {
                    write!(f, "{percentile} {time}")
                })
            }
            Self::Samples(SamplesSpec { file, .. }) => write!(f, "samples({file})"),
            Self::Wave(waves) => write_list(f, "wave", waves, |f, wave| wave.fmt(f)),
        }
    }
}

fn write_list<T>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    items: &[T],
    mut write_item: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    write!(f, "{name}(")?;
    for (index, item) in items.iter().enumerate() {
        f.write_str(if index > 0 { ", " } else { "" })?;
        write_item(f, item)?;
    }
    f.write_str(")")
}

impl fmt::Display for WaveSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            shape,
            period,
            min,
            max,
            ..
        } = self;
        write!(f, "{shape} from {min} to {max} every {period}")
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "add",
            Self::Floor => "floor",
            Self::Total => "total",
        })
    }
}
