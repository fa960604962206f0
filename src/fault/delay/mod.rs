//! `delay: 200ms`: a request, its response, a body, each message of a stream or each chunk of a connection waits.
//!
//! | `before` | HTTP/1.1, HTTP/2 | gRPC | WebSocket | SSE |
//! |---|---|---|---|---|
//! | `request` (default), `response` | the head waits | as HTTP/2 | the upgrade waits | the head waits |
//! | `body` | the head has been sent, the first byte of the body waits | the first message waits | the first byte after the upgrade waits | the first event waits |
//! | `end` | the last chunk or END_STREAM waits; a body of known length is skipped with "length known" | the trailers wait | the FIN waits | as HTTP |
//! | `message` | lines of NDJSON wait; a body without messages is skipped with "no messages" | each message waits | each message waits, and control frames after it | each event waits |
//!
//! | `before` | TCP |
//! |---|---|
//! | none, `message` | each chunk that is read waits, and the end; many are under way at once, so the rate stays |
//! | `request` | squall connects to the upstream later |
//! | `response`, `body` | the first byte of one direction waits |
//! | `end` | the FIN of one direction waits once everything before it was sent |
//!
//! `before: connection` holds an accepted connection before anything is read from it; `before: handshake` holds a
//! connection after its ClientHello was read.
//!
//! Messages wait one after the other: the second is sent at the earliest its own delay after the first. Each draws its own
//! time, from the request's draw and its number in the stream, so every replay gives the same stream. `correlation` is then
//! between the messages of one stream, and works with every key. A wave has the value of the moment at which the message
//! begins. All this goes for chunks, too; their number depends on how the network divides the bytes, though.
//!
//! [`DelaySpec`] is the configuration. It is [compiled](super::kind::Spec::compile) once to a [`Delay`], from which each
//! request draws how long to wait, without a clock or shared state.

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

/// A compiled delay, ready to draw from.
#[derive(Debug, Clone, PartialEq)]
pub struct Delay {
    source: Source,
    longest: Duration,
    before: Before,
    /// Whether neither `before` nor a mode that implies it was given: a connection's chunks wait then.
    plain: bool,
    direction: Direction,
    mode: Mode,
    description: String,
}

/// The source of a delay's length.
#[derive(Debug, Clone, PartialEq)]
enum Source {
    Drawn(Distribution),
    Correlated(Distribution, Correlation),
    /// The sum of these waves.
    Waves(Vec<Wave>),
}

/// Everything that determines the length of one delay, except for the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayDraw {
    /// The rule's draw for this request.
    pub draw: Draw,
    /// The rule's seed, for a correlated delay.
    pub rule: RuleSeed,
    /// The request's ordinal in the rule, for a correlated delay.
    pub ordinal: u64,
    /// The position of the delay in its rule, so that two delays of one rule differ.
    pub index: u32,
}

impl Delay {
    /// How long a request waits: at most [`Self::longest`], rounded up to a nanosecond. `since_start` is the time since the
    /// rules were loaded, which only waves use.
    pub fn sample(&self, draw: DelayDraw, since_start: Duration) -> Duration {
        match &self.source {
            Source::Drawn(distribution) => distribution.quantile(draw.draw.unit(Purpose::Delay, draw.index)),
            Source::Correlated(distribution, correlation) => {
                distribution.quantile(correlation.unit(draw.rule, draw.ordinal, draw.index))
            }
            Source::Waves(waves) => self.at(waves, since_start),
        }
    }

    /// The sum of waves at a time after the rules were loaded.
    fn at(&self, waves: &[Wave], since_start: Duration) -> Duration {
        let nanos: f64 = waves.iter().map(|wave| wave.nanos_at(since_start)).sum();
        Duration::from_nanos(nanos.ceil() as u64).min(self.longest)
    }

    /// The longest delay that can be drawn.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// Whether the delay is correlated with those before it, which requires the rule's key to be the ordinal, since other
    /// keys have no order.
    pub fn is_correlated(&self) -> bool {
        matches!(self.source, Source::Correlated(..))
    }

    /// What the delay holds: the request, the response, a body, a message, an end, a connection or a handshake.
    pub fn before(&self) -> Before {
        self.before
    }

    /// The direction of the delayed body, messages or end.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// How the delay combines with the natural time.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Describes the delay in one line, such as `lognormal(median 120ms, p99 2s), at most 5s`.
    pub fn description(&self) -> &str {
        &self.description
    }
}

impl Delay {
    /// The effect on one request: a wait before the request, the response, a body or each message, each at most `longest`. On
    /// a connection, one before the upstream is connected to, before the first byte, or of each chunk.
    pub fn effect(self: &Arc<Self>, hit: &HitRequest<'_, '_>, longest: Duration) -> Effect {
        let draw = DelayDraw {
            draw: hit.draw,
            rule: hit.rule,
            ordinal: hit.ordinal,
            index: hit.position,
        };
        let time = || self.sample(draw, hit.since).min(longest);
        let waits = || Arc::new(MessageWaits::new(Arc::clone(self), draw, longest, hit.since));
        let connection = hit.head.is_connection();
        let act = match self.before {
            // The other modes compare with the time of a response.
            _ if connection && self.mode != Mode::Add => return Effect::Skip("not HTTP".into()),
            Before::Request if connection && self.plain => Act::DelayChunks(waits()),
            Before::Message if connection => Act::DelayChunks(waits()),
            Before::Message => Act::DelayMessages(waits()),
            Before::Response if connection => Act::Delay(time()),
            Before::Body => Act::Delay(time()),
            Before::End => Act::DelayEnd(time()),
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
        matches!(self.before, Before::Body | Before::Message | Before::End).then_some(self.direction)
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
