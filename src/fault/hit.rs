//! A request that a rule hits, as its faults see it.

use std::time::Duration;

use crate::draw::head::Head;
use crate::draw::{Draw, RuleSeed};

/// The input of a fault's effects: a request that a rule hits. Equal inputs give equal effects.
#[derive(Clone, Copy)]
pub struct HitRequest<'a, 'h> {
    /// The head of the request.
    pub head: &'a Head<'h>,
    /// The rule's draw for the request.
    pub draw: Draw,
    /// The seed of the rule that hit.
    pub rule: RuleSeed,
    /// The request's number in the rule, from 1.
    pub ordinal: u64,
    /// The position of the fault in the rule, so that two faults of one kind draw differently.
    pub position: u32,
    /// The time since the rule was loaded.
    pub since: Duration,
    /// Whether the request counts. False if it is only explained.
    pub counts: bool,
}
