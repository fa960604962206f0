//! The fault `delay`: a request, its response, a body or each message of a stream waits.
//!
//! | `before` | HTTP/1.1, HTTP/2 | gRPC | WebSocket | SSE |
//! |---|---|---|---|---|
//! | `request` (default), `response` | the head waits | as HTTP/2 | the upgrade waits | the head waits |
//! | `body` | the head has been sent, the first byte of the body waits | the first message waits | the first byte after the upgrade waits | the first event waits |
//! | `message` | lines of NDJSON wait; what has no messages is skipped with "no messages" | each message waits | each message waits, control frames too behind it | each event waits |
//!
//! `before: connection` holds up a connection that was accepted, before anything is read from it; `before: handshake` one
//! whose ClientHello was read, before that is answered.
//!
//! Messages wait one after the other: the second leaves at the earliest its own delay after the first. Each draws its own
//! time, from the request's draw and its number in the stream, so a stream is the same at every replay. `correlation` then
//! is between the messages of one stream, and goes with every key; a wave can't be had, since messages don't read the clock.
//!
//! [`DelaySpec`] is what the YAML says; [compiled](DelaySpec::compile) once, it is a [`Delay`], from which each request
//! draws how long to wait. The drawing reads no clock and no shared state.

mod compile;
mod fields;
mod messages;
mod parts;
mod spec;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use smallvec::smallvec;

pub use messages::MessageWaits;
pub use spec::{
    DelaySpec, DistributionSpec, ExponentialSpec, LognormalSpec, NormalSpec, ParetoSpec, PercentilesSpec, SamplesSpec,
    WaveSpec,
};

use super::before::{Before, Mode};
use super::effect::Effect;
use super::kind::{Effects, Fault, HitRequest};
use super::place::Parts;
use super::requested::Requested;
use crate::draw::{Draw, Purpose, RuleSeed};
use crate::fault::distribution::Distribution;
use crate::fault::distribution::correlation::Correlation;
use crate::fault::distribution::wave::Wave;
use crate::shape::{Act, Direction};

/// A delay, checked and ready to draw from.
#[derive(Debug, Clone, PartialEq)]
pub struct Delay {
    source: Source,
    longest: Duration,
    before: Before,
    direction: Direction,
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

    /// What the delay holds up: the request on its way to the upstream, the response on its way back, or a body.
    pub fn before(&self) -> Before {
        self.before
    }

    /// Whose body, or whose messages.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// How the delay combines with the natural time.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// One line for people, such as `lognormal(median 120ms, p99 2s), at most 5s`.
    pub fn description(&self) -> &str {
        &self.description
    }
}

impl Delay {
    /// What it does to one request: a wait before the request, the response, a body or each message, none longer than `longest`.
    pub fn effect(self: &Arc<Self>, hit: &HitRequest<'_, '_>, longest: Duration) -> Effect {
        let draw = DelayDraw {
            draw: hit.draw,
            rule: hit.rule,
            ordinal: hit.ordinal,
            index: hit.position,
        };
        let time = || self.sample(draw, hit.since).min(longest);
        let act = match self.before {
            Before::Message => Act::DelayMessages(Arc::new(MessageWaits::new(Arc::clone(self), draw, longest))),
            Before::Body => Act::Delay(time()),
            before => {
                return Effect::Wait {
                    before,
                    mode: self.mode,
                    time: time(),
                };
            }
        };
        Parts::one(self.direction, act).effect(hit)
    }
}

impl Fault for Arc<Delay> {
    fn effects(&self, hit: &HitRequest<'_, '_>) -> Effects {
        smallvec![self.effect(hit, Duration::MAX)]
    }

    fn describe(&self) -> Option<String> {
        Some(self.description().to_owned())
    }

    fn body(&self) -> Option<Direction> {
        matches!(self.before, Before::Body | Before::Message).then_some(self.direction)
    }

    fn needs_order(&self) -> bool {
        self.is_correlated() && self.before != Before::Message
    }

    fn check_requested(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn requested_share(&self, requested: &Requested) -> Option<u32> {
        requested.delay_share()
    }

    fn requested(&self, hit: &HitRequest<'_, '_>, requested: &Requested) -> Option<Effect> {
        Some(self.effect(hit, requested.delay?))
    }
}
