//! The plan: what was decided for one request. Pure data, made once, carried out by the proxy.

use std::sync::Arc;

use smallvec::SmallVec;

use super::decide::Rule;
use crate::fault::effect::Effect;

/// What happens to a request, in order.
#[derive(Debug, Default)]
pub struct Plan {
    /// The rules that hit it.
    pub hits: SmallVec<[Hit; 2]>,
    /// Their faults, in order.
    pub actions: SmallVec<[Action; 2]>,
}

/// A rule that hit the request.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The rule that hit the request.
    pub rule: Arc<Rule>,
    /// The request's number in the rule.
    pub ordinal: u64,
    /// What was drawn against the percentage, in parts per million.
    pub drawn: u32,
}

/// One fault of a plan.
#[derive(Debug, Clone)]
pub struct Action {
    /// Position of the rule in [`Plan::hits`].
    pub hit: usize,
    /// Position of the fault among all faults of its rule.
    pub fault: usize,
    /// What the proxy is to do.
    pub effect: Effect,
}

impl Plan {
    /// Whether the plan has no action.
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty()
    }
}
