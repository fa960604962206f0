//! Decides what happens to a request: a pure function from rules, request and memory to a [`Plan`].
//!
//! It uses no socket, no clock and no random source of its own. The request is its head and, where
//! [`super::sets::RuleSets::body_wanted`] says so, its body, which the caller reads first.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::body::DEFAULT_LIMIT;
use super::id::RuleId;
use super::index::Index;
use super::matcher::Condition;
use super::plan::{Action, Hit, Plan};
use super::stage::Stage;
use super::state::{Memory, RuleState};
use super::when::{Exceeded, Reason, When};
use crate::draw::head::Head;
use crate::draw::{Draw, KeyHash, RuleSeed};
use crate::fault::effect::Effect;
use crate::fault::kind::{Effects, Fault, HitRequest};
use crate::fault::requested::Requested;
use crate::metrics::{CountedRule, RuleMetrics, Site};

/// A compiled rule and its state.
#[derive(Debug)]
pub struct Rule {
    /// The rule's name in the configuration.
    pub name: Arc<str>,
    /// When the rule is decided.
    pub stage: Stage,
    /// The space whose requests the rule concerns; `None`: those of everybody.
    pub space: Option<Arc<str>>,
    /// The listeners that the rule applies to; `None`: all.
    pub listeners: Option<Vec<String>>,
    /// Whether the rule takes part in decisions as long as its switch says nothing else; see [`Rule::is_on`].
    pub enabled: bool,
    /// `true`: the rule decides and counts, but injects nothing.
    pub shadow: bool,
    /// The requests that the rule matches.
    pub condition: Condition,
    /// Which of the matching requests are hit.
    pub when: When,
    /// The outcomes, one of which is drawn by weight.
    pub outcomes: Vec<Outcome>,
    /// The seed of the rule's draws.
    pub seed: RuleSeed,
    /// State that outlives a request.
    pub state: Arc<RuleState>,
    /// Metrics labelled with the rule.
    pub metrics: RuleMetrics,
    /// A hash of everything that the rule was compiled from, which tells whether a reload changed it.
    pub fingerprint: u64,
}

/// One outcome of a rule.
#[derive(Debug)]
pub struct Outcome {
    /// The weight; the outcome's share is its weight over the sum of all weights.
    pub weight: u32,
    /// The outcome's faults, in order.
    pub faults: Vec<RuleFault>,
}

/// A fault within a rule.
#[derive(Debug)]
pub struct RuleFault {
    /// The fault's name in YAML.
    pub name: &'static str,
    /// The position among all faults of the rule, on which its draws depend.
    pub position: u32,
    /// The compiled form of the fault.
    pub fault: Box<dyn Fault>,
}

/// All rules of one listener, in file order, with their index.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Arc<Rule>>,
    index: Index,
    concerns_hello: bool,
    concerns_body: bool,
}

/// What the body of a request is read ahead for.
#[derive(Debug, Default)]
pub struct BodyWanted {
    /// The longest body that one of the rules looks at, in bytes.
    pub limit: usize,
    /// The rules that can't be decided without the body, in file order.
    pub rules: SmallVec<[Arc<Rule>; 2]>,
}

/// The decision of a rule about a request that it matches.
#[derive(Debug)]
pub struct Drawn {
    /// The request's number among those that the rule matched, from 1.
    pub ordinal: u64,
    /// The draw of the request.
    pub draw: Draw,
    /// The hash of the request's key.
    pub key: KeyHash,
    /// The index of the drawn outcome, or why the request is not hit.
    pub outcome: Result<usize, Reason>,
}

impl RuleSet {
    /// Builds the index over the rules of one listener.
    pub fn new(rules: Vec<Arc<Rule>>) -> RuleSet {
        let conditions = (0u32..).zip(rules.iter().map(|rule| &rule.condition));
        RuleSet {
            index: Index::build(conditions),
            concerns_hello: rules.iter().any(|rule| rule.condition.concerns_hello()),
            concerns_body: rules
                .iter()
                .any(|rule| rule.condition.body_limit().is_some() || rule.uses_body()),
            rules,
        }
    }

    /// The rules, in file order.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Whether a rule depends on what a client says in its TLS handshake.
    pub fn concerns_hello(&self) -> bool {
        self.concerns_hello
    }

    /// Whether a rule may look at the body of a request.
    pub fn concerns_body(&self) -> bool {
        self.concerns_body
    }

    /// Adds the rules that can't be decided without the body of the request, since all else that they ask of it holds.
    pub(super) fn want_body(&self, head: &Head<'_>, wanted: &mut BodyWanted) {
        if !self.concerns_body {
            return;
        }
        let candidates = self.index.candidates(head).into_iter();
        for rule in candidates.filter_map(|at| self.rules.get(at as usize)) {
            if let Some(limit) = rule.body_limit(head).filter(|_| rule.is_on()) {
                wanted.limit = wanted.limit.max(limit);
                wanted.rules.push(Arc::clone(rule));
            }
        }
    }

    /// The rules that match a head, in file order.
    pub fn matching(&self, head: &Head<'_>) -> impl Iterator<Item = &Arc<Rule>> {
        let candidates = self.index.candidates(head).into_iter();
        candidates
            .filter_map(|at| self.rules.get(at as usize))
            .filter(|rule| rule.is_on() && rule.condition.matches(head) && !rule.spares(head) && rule.is_asked(head))
    }

    /// Whether these are exactly its rules, in this order.
    pub(super) fn is_of(&self, rules: &[Arc<Rule>]) -> bool {
        let same = |(one, other)| Arc::ptr_eq(one, other);
        self.rules.len() == rules.len() && self.rules.iter().zip(rules).all(same)
    }

    /// Adds to the plan what happens to a request. `ended`: an earlier rule has ended it, or one of these does. Calls `missed`
    /// with each rule that matches but does not hit.
    pub(super) fn decide(
        &self,
        head: &Head<'_>,
        memory: &impl Memory,
        (plan, ended): (&mut Plan, &mut bool),
        missed: &mut impl FnMut(&Arc<Rule>, &Drawn),
    ) {
        for rule in self.matching(head) {
            let drawn = rule.draw(head, memory, *ended);
            match drawn.outcome {
                Ok(outcome) => *ended |= plan.add(rule, &drawn, outcome, head, memory),
                Err(_) => missed(rule, &drawn),
            }
        }
    }
}

impl Rule {
    /// What tells the rule from others.
    pub fn id(&self) -> RuleId {
        RuleId {
            space: self.space.clone(),
            name: Arc::clone(&self.name),
        }
    }

    /// Whether one of its faults depends on the request's body.
    fn uses_body(&self) -> bool {
        self.faults().any(|fault| fault.fault.uses_request_body())
    }

    /// The longest body that the rule needs to be decided for a request whose body was not looked at, in bytes; `None` if it needs
    /// none.
    fn body_limit(&self, head: &Head<'_>) -> Option<usize> {
        let matched = self.condition.holds(head);
        let of_match = self.condition.body_limit().filter(|_| matched.is_none());
        let of_faults = (matched != Some(false) && self.uses_body()).then_some(DEFAULT_LIMIT);
        of_match.max(of_faults)
    }

    /// Why the rule does not concern a request in `space`, in words; `None` if it does.
    pub fn foreign_to(&self, space: Option<&str>) -> Option<String> {
        let own = self.space.as_deref()?;
        match space {
            Some(space) if space == own => None,
            Some(space) => Some(format!("space `{own}`: the request is in the space `{space}`")),
            None => Some(format!("space `{own}`: the request names none")),
        }
    }

    /// Whether the rule takes part in decisions: as its switch says, or else as configured.
    pub fn is_on(&self) -> bool {
        self.state.rule_switch().is_on(self.enabled)
    }

    /// Whether the rule leaves a request alone that it matches: a preflight that [is spared](Head::is_spared), and that the rule
    /// does not name.
    pub fn spares(&self, head: &Head<'_>) -> bool {
        head.is_spared() && !self.condition.names_preflight(head)
    }

    /// The limit because of which the rule never hits again, if there is one.
    pub fn spent(&self, now: Instant) -> Option<Exceeded> {
        let limits = &self.when.limits;
        let expired = limits.expires.is_some_and(|expires| self.state.age(now) >= expires);
        let used_up = limits.total.is_some_and(|total| self.state.hits() >= total);
        expired
            .then_some(Exceeded::Expired)
            .or(used_up.then_some(Exceeded::Total))
    }

    /// Checks the conditions of `when`. A request that an earlier rule has ended is still counted, so that a rule's
    /// ordinals do not depend on other rules.
    pub fn draw(&self, head: &Head<'_>, memory: &impl Memory, ended: bool) -> Drawn {
        let ordinal = memory.ordinal(self);
        let key = self.when.key.hash(head, ordinal);
        let draw = self.seed.draw(key);
        let outcome = self.ask(head, memory, (ordinal, draw, key), ended);
        Drawn {
            ordinal,
            draw,
            key,
            outcome,
        }
    }

    /// Decides by this rule alone what happens to a connection that it matches; `None` if it is not hit. `ended`: an earlier
    /// rule has ended the connection.
    pub fn decide(self: &Arc<Self>, head: &Head<'_>, memory: &impl Memory, ended: bool) -> Option<Box<Plan>> {
        let drawn = self.draw(head, memory, ended);
        let outcome = drawn.outcome.as_ref().ok()?;
        let mut plan = Box::<Plan>::default();
        plan.add(self, &drawn, *outcome, head, memory);
        Some(plan)
    }

    /// Whether the request asks for one of the rule's faults, if only those that are asked for are injected. The others don't
    /// count as matched: they would hide how many asked.
    fn is_asked(&self, head: &Head<'_>) -> bool {
        let asks = || {
            let requested = Requested::of(head);
            self.faults()
                .any(|fault| fault.fault.requested_share(&requested).is_some())
        };
        !self.when.requested || asks()
    }

    fn ask(
        &self,
        head: &Head<'_>,
        memory: &impl Memory,
        (ordinal, draw, key): (u64, Draw, KeyHash),
        ended: bool,
    ) -> Result<usize, Reason> {
        self.when.open(memory.since(self))?;
        self.when.every(ordinal)?;
        if self.when.requested {
            check_asked(self.faults(), &Requested::of(head), draw, self.when.ppm)?
        } else {
            self.when.drawn(draw)?
        }
        if let Some(attempts) = self.when.attempts {
            let attempt = memory.attempt(self, key);
            if attempt > attempts {
                return Err(Reason::Attempts { attempt, attempts });
            }
        }
        let outcome = self.outcome_of(draw);
        if self
            .outcomes
            .get(outcome)
            .is_none_or(|outcome| outcome.faults.is_empty())
        {
            return Err(Reason::Untouched);
        }
        if ended {
            return Err(Reason::Ended);
        }
        memory.admit(self, ordinal)?;
        Ok(outcome)
    }

    fn outcome_of(&self, draw: Draw) -> usize {
        if self.outcomes.len() < 2 {
            return 0;
        }
        let sum = self.outcomes.iter().map(|outcome| u64::from(outcome.weight)).sum();
        let mut drawn = draw.choose(sum);
        for (at, outcome) in self.outcomes.iter().enumerate() {
            match drawn.checked_sub(u64::from(outcome.weight)) {
                Some(rest) => drawn = rest,
                None => return at,
            }
        }
        0
    }

    /// All faults of all outcomes, by position.
    pub fn faults(&self) -> impl Iterator<Item = &RuleFault> {
        self.outcomes.iter().flat_map(|outcome| &outcome.faults)
    }
}

impl Rule {
    /// Whether the rule may hit what goes to an upstream of a listener.
    pub fn concerns(&self, site: &Site) -> bool {
        let listeners = self.listeners.as_ref();
        listeners.is_none_or(|names| names.iter().any(|name| **name == *site.listener))
            && self.condition.may_go_to(&site.upstream)
    }
}

impl CountedRule for Rule {
    fn metrics(&self) -> &RuleMetrics {
        &self.metrics
    }

    fn active(&self) -> u32 {
        self.state.active()
    }
}

impl Plan {
    /// Adds a rule's outcome. Returns whether it ends the request.
    pub fn add(
        &mut self,
        rule: &Arc<Rule>,
        drawn: &Drawn,
        outcome: usize,
        head: &Head<'_>,
        memory: &impl Memory,
    ) -> bool {
        let hit = self.hits.len();
        self.hits.push(Hit {
            rule: Arc::clone(rule),
            ordinal: drawn.ordinal,
            drawn: drawn.draw.percentage_ppm(),
        });
        let faults = rule
            .outcomes
            .get(outcome)
            .map(|outcome| outcome.faults.as_slice())
            .unwrap_or_default();
        let requested = rule.when.requested.then(|| Requested::of(head));
        for fault in faults {
            let hit_request = HitRequest {
                head,
                draw: drawn.draw,
                rule: rule.seed,
                ordinal: drawn.ordinal,
                position: fault.position,
                since: memory.since(rule),
                counts: memory.counts(),
            };
            let effects = match &requested {
                None => fault.fault.effects(&hit_request),
                Some(requested) => asked_for(&*fault.fault, &hit_request, requested, rule.when.ppm),
            };
            for effect in effects {
                let effect = match effect.on_connection() {
                    Err(reason) if head.is_connection() => Effect::Skip(reason.into()),
                    _ => effect,
                };
                let terminal = effect.is_terminal() && !rule.shadow;
                self.actions.push(Action {
                    hit,
                    fault: fault.position as usize,
                    effect,
                });
                if terminal {
                    return true;
                }
            }
        }
        false
    }
}

/// The effects for a request that asks for a fault of a rule with the percentage `ppm`, in parts per million. One draw is
/// compared with the smaller of the two percentages.
fn asked_for(fault: &dyn Fault, hit: &HitRequest<'_, '_>, requested: &Requested, ppm: u32) -> Effects {
    fault
        .requested_share(requested)
        .filter(|share| hit.draw.fires(ppm.min(*share)))
        .and_then(|_| fault.requested(hit, requested))
        .into_iter()
        .collect()
}

/// Checks that a request asks for one of these faults, and that it is drawn.
fn check_asked<'a>(
    faults: impl Iterator<Item = &'a RuleFault>,
    requested: &Requested,
    draw: Draw,
    ppm: u32,
) -> Result<(), Reason> {
    let ppm = faults
        .filter_map(|fault| fault.fault.requested_share(requested))
        .max()
        .ok_or(Reason::NotRequested)?
        .min(ppm);
    if draw.fires(ppm) {
        Ok(())
    } else {
        Err(Reason::Percentage {
            drawn: draw.percentage_ppm(),
            ppm,
        })
    }
}

#[cfg(test)]
mod tests;
