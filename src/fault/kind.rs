//! The traits of all faults: [`Spec`] for their configuration, and [`Fault`] for their compiled form.

use std::fmt::Debug;

use smallvec::{SmallVec, smallvec};

use super::before::Before;
use super::context::Context;
use super::effect::{Effect, Ending};
pub use super::hit::HitRequest;
use super::requested::Requested;
use crate::shape::Direction;

/// The effects of a fault, in order: one for most faults, two for a profile.
pub type Effects = SmallVec<[Effect; 2]>;

/// The configuration of a fault.
pub trait Spec {
    /// The compiled form.
    type Fault: Fault + 'static;

    /// When the fault acts, which decides whether its rule acts on requests, connections or handshakes.
    fn moment(&self) -> Before {
        Before::Request
    }

    /// Checks the fault's own settings, and reads the files that it names.
    ///
    /// # Errors
    /// A sentence that says what is wrong, and what would be valid.
    fn compile(&self, context: &Context<'_>) -> Result<Self::Fault, String>;
}

/// The compiled form of a fault.
pub trait Fault: Debug + Send + Sync {
    /// The effects on a request that the rule hits.
    fn effects(&self, hit: &HitRequest<'_, '_>) -> Effects;

    /// Describes the fault where its effects don't, such as the distribution of a delay.
    fn describe(&self) -> Option<String> {
        None
    }

    /// What is valid, and likely to be meant otherwise, in one sentence.
    fn doubt(&self) -> Option<String> {
        None
    }

    /// When the fault ends every request or connection that it hits, so that nothing after it in a list can happen; `None` if
    /// some go on.
    fn ends(&self) -> Option<Before> {
        None
    }

    /// The direction of the body that the fault acts on, if any; the request's for one that acts on both.
    fn body(&self) -> Option<Direction> {
        None
    }

    /// Whether what it does depends on the request's body, which is then read ahead.
    fn uses_request_body(&self) -> bool {
        false
    }

    /// Whether the draws depend on the order of requests, so that the rule's key must be ordered.
    fn needs_order(&self) -> bool {
        false
    }

    /// Checks that callers can ask for the fault by header. `name` is the fault's name in YAML.
    ///
    /// # Errors
    /// Callers can't ask for it.
    fn check_requested(&self, name: &str) -> Result<(), String> {
        Err(format!(
            "`{name}` can't be requested with a header: a rule with `requested: true` can have only delay, abort and \
            bandwidth"
        ))
    }

    /// The share that a request asks to be hit, in parts per million; `None` if it does not ask for the fault.
    fn requested_share(&self, _requested: &Requested) -> Option<u32> {
        None
    }

    /// The effect on a request that asks for the fault, within what the rule allows.
    fn requested(&self, _hit: &HitRequest<'_, '_>, _requested: &Requested) -> Option<Effect> {
        None
    }
}

/// A fault that ends every request that it hits in the same way.
#[derive(Debug)]
pub struct AlwaysEnds {
    /// How each request ends.
    pub ending: Ending,
    /// When each request ends.
    pub before: Before,
}

impl Fault for AlwaysEnds {
    fn effects(&self, _: &HitRequest<'_, '_>) -> Effects {
        smallvec![Effect::End {
            ending: self.ending.clone(),
            before: self.before,
        }]
    }

    fn ends(&self) -> Option<Before> {
        Some(self.before)
    }
}
