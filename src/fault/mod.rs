//! One file per fault: what users write for it, what it becomes at load, and what it adds to a plan.

pub mod abort;
pub mod close;
pub mod concurrency;
pub mod delay;
pub mod distribution;
pub mod hang;
pub mod later;
pub mod profile;
pub mod quota;
pub mod reset;
pub mod rewrite;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use delay::Before;

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
    Rewrite(rewrite::RewriteSpec),
    /// A named network.
    Profile(profile::ProfileSpec),
    /// Comes with a later version.
    #[schemars(skip)]
    Bandwidth(later::NotYet),
    /// Comes with a later version.
    #[schemars(skip)]
    Dribble(later::NotYet),
    /// Comes with a later version.
    #[schemars(skip)]
    Stall(later::NotYet),
    /// Comes with a later version.
    #[schemars(skip)]
    Truncate(later::NotYet),
    /// Comes with a later version.
    #[schemars(skip)]
    Corrupt(later::NotYet),
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

/// A fault, checked and ready.
#[derive(Debug)]
pub enum Fault {
    /// See [`delay`].
    Delay(Box<delay::Delay>),
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
        }
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
            FaultSpec::Delay(spec) => Fault::Delay(Box::new(spec.compile_within(
                context.folder,
                context.read,
                context.longest_wait,
            )?)),
            FaultSpec::Abort(spec) => Fault::Abort(spec.compile(context)?),
            FaultSpec::Close(spec) => Fault::Close(*spec),
            FaultSpec::Reset(spec) => Fault::Reset(spec.compile()?),
            FaultSpec::Hang(spec) => Fault::Hang(*spec),
            FaultSpec::Quota(spec) => Fault::Quota(spec.compile(context)?),
            FaultSpec::Concurrency(spec) => Fault::Concurrency(Arc::new(spec.compile()?)),
            FaultSpec::Rewrite(spec) => Fault::Rewrite(Arc::new(spec.compile()?)),
            FaultSpec::Profile(spec) => Fault::Delay(Box::new(spec.delay()?)),
            FaultSpec::Bandwidth(later)
            | FaultSpec::Dribble(later)
            | FaultSpec::Stall(later)
            | FaultSpec::Truncate(later)
            | FaultSpec::Corrupt(later) => match *later {},
        })
    }
}

impl Fault {
    /// Whether it ends every request that it meets, so that nothing after it can happen.
    pub fn ends_every_request(&self) -> bool {
        match self {
            Fault::Abort(abort) => abort.answer.is_some(),
            Fault::Close(_) | Fault::Reset(_) | Fault::Hang(_) => true,
            Fault::Delay(_) | Fault::Quota(_) | Fault::Concurrency(_) | Fault::Rewrite(_) => false,
        }
    }
}
