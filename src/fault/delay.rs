//! The fault `delay`: a request or its response waits.
//!
//! [`DelaySpec`] is what the YAML says; [compiled](DelaySpec::compile) once, it is a [`Delay`], from which each request
//! draws how long to wait. The drawing reads no clock and no shared state.

mod compile;
mod fields;
mod parts;
mod spec;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use compile::ReadFile;
pub use spec::{
    Before, DelaySpec, DistributionSpec, ExponentialSpec, LognormalSpec, Mode, NormalSpec, ParetoSpec, PercentilesSpec,
    SamplesSpec, WaveSpec,
};

use crate::fault::distribution::Distribution;
use crate::fault::distribution::correlation::Correlation;
use crate::fault::distribution::wave::Wave;
use crate::rule::draw::{Draw, Purpose, RuleSeed};

/// A delay, checked and ready to draw from.
#[derive(Debug, Clone, PartialEq)]
pub struct Delay {
    source: Source,
    longest: Duration,
    before: Before,
    mode: Mode,
    description: String,
}

/// Where the length of a delay comes from.
#[derive(Debug, Clone, PartialEq)]
enum Source {
    Drawn(Distribution),
    Correlated(Distribution, Correlation),
    /// The sum of these.
    Waves(Vec<Wave>),
}

/// Everything that decides the length of one delay, apart from the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayDraw {
    /// The rule's draw for this request.
    pub draw: Draw,
    /// The rule's seed, for a correlated delay.
    pub rule: RuleSeed,
    /// The request's ordinal in the rule, for a correlated delay: the one that its key is made of.
    pub ordinal: u64,
    /// The position of the delay in its rule, so that two delays of one rule differ.
    pub index: u32,
}

impl Delay {
    /// How long this request waits: at most [`Self::longest`], rounded up to a nanosecond. `since_start` is the time since
    /// the rules were loaded; only waves look at it.
    pub fn sample(&self, draw: DelayDraw, since_start: Duration) -> Duration {
        match &self.source {
            Source::Drawn(distribution) => distribution.quantile(draw.draw.unit(Purpose::Delay, draw.index)),
            Source::Correlated(distribution, correlation) => {
                distribution.quantile(correlation.unit(draw.rule, draw.ordinal, draw.index))
            }
            Source::Waves(waves) => {
                let nanos: f64 = waves.iter().map(|wave| wave.nanos_at(since_start)).sum();
                Duration::from_nanos(nanos.ceil() as u64).min(self.longest)
            }
        }
    }

    /// The longest delay that can come out.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// Whether the delay is correlated with those before it. Then the rule's key must be the ordinal, since other keys
    /// have no order.
    pub fn is_correlated(&self) -> bool {
        matches!(self.source, Source::Correlated(..))
    }

    /// What the delay holds up: the request on its way to the upstream, or the response on its way back.
    pub fn before(&self) -> Before {
        self.before
    }

    /// How the delay relates to the time that passes anyway.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// One line for people, such as `lognormal(median 120ms, p99 2s), at most 5s`.
    pub fn describe(&self) -> &str {
        &self.description
    }
}
