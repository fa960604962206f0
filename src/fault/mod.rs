//! One file per fault: what users write for it, what it becomes at load, and what it adds to a plan.

pub mod abort;
pub mod bandwidth;
pub mod certificate;
pub mod close;
pub mod concurrency;
pub mod content;
pub mod corrupt;
pub mod delay;
pub mod distribution;
pub mod dribble;
pub mod drop;
pub mod duplicate;
pub mod hang;
pub mod place;
pub mod profile;
pub mod quota;
pub mod reset;
pub mod rewrite;
pub mod stall;
pub mod truncate;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use delay::Before;

use crate::shape::Direction;
use crate::yaml::units::Time;

/// One thing that goes wrong, as typed: a map with one key, the fault's name.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FaultSpec {
    /// The request or the response waits.
    Delay(delay::DelaySpec),
    /// squall answers with an error of its own.
    Abort(abort::AbortSpec),
    /// The connection ends without a reply.
    Close(close::CloseSpec),
    /// The connection is reset.
    Reset(reset::ResetSpec),
    /// The request is accepted and never answered.
    Hang(hang::HangSpec),
    /// A rate limit.
    Quota(quota::QuotaSpec),
    /// An overloaded server: a few requests at once, the others queue.
    Concurrency(concurrency::ConcurrencySpec),
    /// The response's or the request's head is changed.
    Rewrite(Box<rewrite::RewriteSpec>),
    /// A named network.
    Profile(profile::ProfileSpec),
    /// Bytes leave at a rate.
    Bandwidth(bandwidth::BandwidthSpec),
    /// A body comes in pieces with gaps between them.
    Dribble(dribble::DribbleSpec),
    /// A body stops for a while, or for good.
    Stall(stall::StallSpec),
    /// A body ends early.
    Truncate(truncate::TruncateSpec),
    /// Bytes are changed, or the message lies about itself.
    Corrupt(corrupt::CorruptSpec),
    /// Messages of a stream vanish.
    Drop(drop::DropSpec),
    /// The request reaches the upstream twice, or messages of a stream come twice.
    Duplicate(duplicate::DuplicateSpec),
    /// A certificate that the client must not accept.
    Certificate(certificate::CertificateSpec),
}

/// What compiling a fault may look at besides its own YAML.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The folder that relative paths start from: the one of the file that the rule stands in.
    pub folder: &'a Path,
    /// Reads a file.
    pub read: &'a dyn Fn(&Path) -> std::io::Result<Vec<u8>>,
    /// Keys that a `quota` may remember.
    pub keys: std::num::NonZeroUsize,
    /// The longest single wait.
    pub longest_wait: Duration,
    /// The name of the rule.
    pub rule: &'a str,
}

impl Context<'_> {
    /// Checks a single wait that the configuration states.
    ///
    /// # Errors
    /// It is longer than any may be.
    pub fn check_wait(&self, what: &str, wait: Duration) -> Result<(), String> {
        match wait > self.longest_wait {
            true => Err(format!(
                "{what} of {} is beyond the longest wait that is allowed, {}",
                Time::saturating(wait),
                Time::saturating(self.longest_wait)
            )),
            false => Ok(()),
        }
    }
}

/// A fault, checked and ready.
#[derive(Debug)]
pub enum Fault {
    /// See [`delay`].
    Delay(Arc<delay::Delay>),
    /// See [`abort`].
    Abort(abort::Abort),
    /// See [`close`].
    Close(close::CloseSpec),
    /// See [`reset`].
    Reset(reset::Reset),
    /// See [`hang`].
    Hang(hang::HangSpec),
    /// See [`quota`].
    Quota(quota::Quota),
    /// See [`concurrency`].
    Concurrency(Arc<concurrency::Station>),
    /// See [`rewrite`].
    Rewrite(Arc<rewrite::Rewrite>),
    /// See [`profile`].
    Profile(Box<profile::Profile>),
    /// See [`bandwidth`].
    Bandwidth(bandwidth::Bandwidth),
    /// See [`duplicate`]: the whole request, up to so many bytes.
    Duplicate(usize),
    /// See [`certificate`].
    Certificate(certificate::CertificateSpec),
    /// Any other fault that acts on the bytes of a body.
    Shape(place::Parts),
}

impl FaultSpec {
    /// The name that YAML, metrics, headers and logs use.
    pub fn name(&self) -> &'static str {
        match self {
            FaultSpec::Delay(_) => "delay",
            FaultSpec::Abort(_) => "abort",
            FaultSpec::Close(_) => "close",
            FaultSpec::Reset(_) => "reset",
            FaultSpec::Hang(_) => "hang",
            FaultSpec::Quota(_) => "quota",
            FaultSpec::Concurrency(_) => "concurrency",
            FaultSpec::Rewrite(_) => "rewrite",
            FaultSpec::Profile(_) => "profile",
            FaultSpec::Bandwidth(_) => "bandwidth",
            FaultSpec::Dribble(_) => "dribble",
            FaultSpec::Stall(_) => "stall",
            FaultSpec::Truncate(_) => "truncate",
            FaultSpec::Corrupt(_) => "corrupt",
            FaultSpec::Drop(_) => "drop",
            FaultSpec::Duplicate(_) => "duplicate",
            FaultSpec::Certificate(_) => certificate::NAME,
        }
    }

    /// When it acts, as far as that decides what the rule is about: before a request, a connection or a handshake.
    pub fn moment(&self) -> Before {
        let stated = match self {
            FaultSpec::Delay(delay) => delay.before.unwrap_or_default(),
            FaultSpec::Close(close) => close.before,
            FaultSpec::Reset(reset) => reset.before,
            FaultSpec::Hang(hang) => hang.before,
            FaultSpec::Concurrency(concurrency) => concurrency.before,
            FaultSpec::Certificate(_) => Before::Handshake,
            _ => Before::Request,
        };
        if stated.is_early() { stated } else { Before::Request }
    }

    /// Whether it ends the request without the upstream, whatever the request: nothing after it in a list can happen.
    pub fn is_terminal(&self) -> bool {
        match self {
            FaultSpec::Abort(abort) => abort.always_applies(),
            FaultSpec::Close(_) | FaultSpec::Reset(_) | FaultSpec::Hang(_) => true,
            _ => false,
        }
    }

    /// Checks what a single fault can know of itself, and reads the files that it names.
    pub fn compile(&self, context: &Context<'_>) -> Result<Fault, String> {
        Ok(match self {
            FaultSpec::Delay(spec) => Fault::Delay(Arc::new(spec.compile_within(
                context.folder,
                context.read,
                context.longest_wait,
            )?)),
            FaultSpec::Abort(spec) => Fault::Abort(spec.compile(context)?),
            FaultSpec::Close(spec) => Fault::Close(spec.compile()?),
            FaultSpec::Reset(spec) => Fault::Reset(spec.compile()?),
            FaultSpec::Hang(spec) => Fault::Hang(spec.compile()?),
            FaultSpec::Quota(spec) => Fault::Quota(spec.compile(context)?),
            FaultSpec::Concurrency(spec) => Fault::Concurrency(Arc::new(spec.compile()?)),
            FaultSpec::Rewrite(spec) => Fault::Rewrite(Arc::new(spec.compile(context)?)),
            FaultSpec::Profile(spec) => Fault::Profile(Box::new(spec.compile()?)),
            FaultSpec::Bandwidth(spec) => Fault::Bandwidth(spec.compile()?),
            FaultSpec::Dribble(spec) => Fault::Shape(spec.compile(context)?),
            FaultSpec::Stall(spec) => Fault::Shape(spec.compile(context)?),
            FaultSpec::Truncate(spec) => Fault::Shape(spec.compile()?),
            FaultSpec::Corrupt(spec) => Fault::Shape(spec.compile()?),
            FaultSpec::Drop(spec) => Fault::Shape(spec.compile()?),
            FaultSpec::Certificate(spec) => Fault::Certificate(*spec),
            FaultSpec::Duplicate(spec) => match spec.compile()? {
                duplicate::Duplicate::Request(limit) => Fault::Duplicate(limit),
                duplicate::Duplicate::Messages(parts) => Fault::Shape(parts),
            },
        })
    }
}

impl Fault {
    /// Whether it ends every request that it meets, so that nothing after it can happen.
    pub fn ends_every_request(&self) -> bool {
        match self {
            Fault::Abort(abort) => abort.answer.is_some(),
            Fault::Close(_) | Fault::Reset(_) | Fault::Hang(_) => true,
            _ => false,
        }
    }
    /// Whether `end`, later in the list, ends every request before this fault has the body that it acts on: squall's own
    /// answers are not shaped.
    pub fn is_overtaken_by(&self, end: &Fault) -> bool {
        let strikes = match end {
            Fault::Abort(abort) if abort.answer.is_some() => abort.before,
            Fault::Close(close) => close.before,
            Fault::Reset(reset) => reset.before,
            Fault::Hang(_) => Before::Request,
            _ => return false,
        };
        let touches_request = match self {
            Fault::Shape(parts) => parts.touch(Direction::Request),
            Fault::Bandwidth(bandwidth) => bandwidth.request().is_some(),
            Fault::Delay(delay) if matches!(delay.before(), Before::Body | Before::Message) => {
                delay.direction() == Direction::Request
            }
            Fault::Duplicate(_) => true,
            _ => return false,
        };
        strikes == Before::Request || (strikes == Before::Response && !touches_request)
    }
}
