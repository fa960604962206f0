//! The list of faults, with one file for each: its configuration, its compiled form, and what it does to a request.

pub mod abort;
pub mod answer;
pub mod bandwidth;
pub mod before;
pub mod certificate;
pub mod close;
pub mod concurrency;
pub mod content;
pub mod context;
pub mod corrupt;
pub mod delay;
pub mod distribution;
pub mod dribble;
pub mod drop;
pub mod duplicate;
pub mod effect;
pub mod goaway;
pub mod hang;
pub mod hit;
pub mod kind;
pub mod place;
pub mod problem;
pub mod profile;
pub mod quota;
pub mod reply;
pub mod requested;
pub mod reset;
pub mod reset_code;
pub mod rewrite;
pub mod skip;
pub mod stall;
pub mod template;
pub mod truncate;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::before::Before;
use self::context::Context;
use self::kind::{Fault, Spec};

macro_rules! faults {
    ($($(#[$doc:meta])* $name:literal $variant:ident($spec:ty),)*) => {
        /// One fault: a map with one key, the fault's name.
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        pub enum FaultSpec {
            $($(#[$doc])* #[serde(rename = $name)] $variant($spec),)*
        }

        impl FaultSpec {
            /// The name that YAML, metrics, headers and logs use.
            pub fn name(&self) -> &'static str {
                match self {
                    $(FaultSpec::$variant(_) => $name,)*
                }
            }

            /// When the fault acts; see [`Spec::moment`].
            pub fn moment(&self) -> Before {
                match self {
                    $(FaultSpec::$variant(spec) => spec.moment(),)*
                }
            }

            /// Compiles the fault; see [`Spec::compile`].
            ///
            /// # Errors
            /// A sentence that says what is wrong, and what would be valid.
            pub fn compile(&self, context: &Context<'_>) -> Result<Box<dyn Fault>, String> {
                Ok(match self {
                    $(FaultSpec::$variant(spec) => Box::new(spec.compile(context)?),)*
                })
            }
        }
    };
}

faults! {
    /// The request or the response waits.
    "delay" Delay(delay::DelaySpec),
    /// squall responds with an error of its own.
    "abort" Abort(abort::AbortSpec),
    /// The connection ends without a reply.
    "close" Close(close::CloseSpec),
    /// The connection is reset.
    "reset" Reset(reset::ResetSpec),
    /// The response is the last one on its connection.
    "goaway" GoAway(goaway::GoAwaySpec),
    /// The request is accepted and gets no response.
    "hang" Hang(hang::HangSpec),
    /// A rate limit.
    "quota" Quota(quota::QuotaSpec),
    /// An overloaded server: a few requests are served at once, the others queue.
    "concurrency" Concurrency(concurrency::ConcurrencySpec),
    /// The response's or the request's head is changed.
    "rewrite" Rewrite(Box<rewrite::RewriteSpec>),
    /// A named network.
    "profile" Profile(profile::ProfileSpec),
    /// Bodies are sent at a limited rate.
    "bandwidth" Bandwidth(bandwidth::BandwidthSpec),
    /// A body arrives in pieces with gaps between them.
    "dribble" Dribble(dribble::DribbleSpec),
    /// A body stops for a while, or forever.
    "stall" Stall(stall::StallSpec),
    /// A body ends early.
    "truncate" Truncate(truncate::TruncateSpec),
    /// Bytes are changed, or the message is malformed.
    "corrupt" Corrupt(corrupt::CorruptSpec),
    /// Messages of a stream are dropped.
    "drop" Drop(drop::DropSpec),
    /// The request is sent to the upstream twice, or messages of a stream are sent twice.
    "duplicate" Duplicate(duplicate::DuplicateSpec),
    /// A certificate that the client should reject.
    "certificate" Certificate(certificate::CertificateSpec),
}

impl FaultSpec {
    /// Whether it is for gRPC calls alone.
    pub fn is_for_grpc(&self) -> bool {
        match self {
            FaultSpec::Abort(abort) => abort.is_for_grpc(),
            FaultSpec::Truncate(truncate) => truncate.is_for_grpc(),
            _ => false,
        }
    }
}
