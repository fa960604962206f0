//! What every fault is: a [`Spec`] as it is typed, and a [`Fault`] when it is ready.

use std::fmt::Debug;
use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use super::before::Before;
use super::context::Context;
use super::effect::{Effect, Ending};
use super::requested::Requested;
use crate::draw::head::Head;
use crate::draw::{Draw, RuleSeed};
use crate::shape::Direction;

/// What a fault does, in order: one effect, and two for a profile.
pub type Effects = SmallVec<[Effect; 2]>;

/// A fault as it is typed.
pub trait Spec {
    /// What it compiles to.
    type Fault: Fault + 'static;

    /// When it acts, as far as that decides what its rule is about: a request, a connection or a handshake.
    fn moment(&self) -> Before {
        Before::Request
    }

    /// Checks what a single fault can know of itself, and reads the files that it names.
    ///
    /// # Errors
    /// A sentence that says what is wrong, and what would be valid.
    fn compile(&self, context: &Context<'_>) -> Result<Self::Fault, String>;
}

/// A fault, checked and ready.
pub trait Fault: Debug + Send + Sync {
    /// What it does to a request that its rule hits.
    fn effects(&self, hit: &HitRequest<'_, '_>) -> Effects;

    /// What it is, in words, where its effects don't tell: a delay's distribution.
    fn describe(&self) -> Option<String> {
        None
    }

    /// When it ends every request or connection that it hits, so that nothing after it in a list can happen; `None`: some go on.
    fn ends(&self) -> Option<Before> {
        None
    }

    /// Whose body it acts on, if on any. The request's counts for one that acts on both.
    fn body(&self) -> Option<Direction> {
        None
    }

    /// Whether its draws depend on the order of requests, so that the rule's key has to give one.
    fn needs_order(&self) -> bool {
        false
    }

    /// Checks that callers can ask for it with a header; `name` is what users call it.
    ///
    /// # Errors
    /// They can't.
    fn check_requested(&self, name: &str) -> Result<(), String> {
        Err(format!(
            "`{name}` can't be requested with a header: a rule with `requested: true` can have only delay, abort and \
            bandwidth"
        ))
    }

    /// The share of such requests that want it, in parts per million; `None` where this one does not ask for it.
    fn requested_share(&self, _requested: &Requested) -> Option<u32> {
        None
    }

    /// What a request gets that asks for it, never more than the rule allows.
    fn requested(&self, _hit: &HitRequest<'_, '_>, _requested: &Requested) -> Option<Effect> {
        None
    }
}

/// A fault that ends every request that it meets, and always alike.
#[derive(Debug)]
pub struct AlwaysEnds {
    /// How it ends each of them.
    pub ending: Ending,
    /// When in their life it strikes.
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

/// A request that a rule hits, as one of the rule's faults sees it. The same values give the same effects.
#[derive(Clone, Copy)]
pub struct HitRequest<'a, 'h> {
    /// The head of the request.
    pub head: &'a Head<'h>,
    /// The rule's draw for it.
    pub draw: Draw,
    /// The seed of the rule that hit.
    pub rule: RuleSeed,
    /// Its number in the rule, from 1.
    pub ordinal: u64,
    /// The position of the fault in the rule, so that two of a kind draw differently.
    pub position: u32,
    /// The time since the rule was loaded.
    pub since: Duration,
    /// Whether it counts. Not where it is only explained.
    pub counts: bool,
}
