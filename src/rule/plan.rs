//! The plan: what was decided for one request, as plain data that the proxy carries out.

use std::sync::Arc;

use smallvec::SmallVec;

use super::decide::Rule;
use crate::fault::effect::Effect;

/// What happens to a request, in order.
#[derive(Debug, Default)]
pub struct Plan {
    /// The rules that hit the request.
    pub hits: SmallVec<[Hit; 2]>,
    /// The effects of their faults, in order.
    pub actions: SmallVec<[Action; 2]>,
}

/// A rule that hit the request.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The rule that hit.
    pub rule: Arc<Rule>,
    /// The request's number among those that the rule matched, from 1.
    pub ordinal: u64,
    /// The draw that was compared with the percentage, in parts per million.
    pub drawn: u32,
}

/// One effect of one fault.
#[derive(Debug, Clone)]
pub struct Action {
    /// Position of the rule in [`Plan::hits`].
    pub hit: usize,
    /// Position of the fault among all faults of its rule.
    pub fault: usize,
    /// What the proxy does.
    pub effect: Effect,
}

impl Plan {
    /// Whether the plan has no action.
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty()
    }
}
