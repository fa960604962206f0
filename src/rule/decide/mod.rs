//! Deciding: configuration, head and memory in, [`Plan`] out. No socket, no clock, no random source of its own.

use std::sync::Arc;

use super::index::Index;
use super::matcher::Condition;
use super::plan::{Action, Hit, Plan};
use super::stage::Stage;
use super::state::{Memory, RuleState};
use super::when::{Reason, When};
use crate::draw::head::Head;
use crate::draw::{Draw, KeyHash, RuleSeed};
use crate::fault::kind::{Effects, Fault, HitRequest};
use crate::fault::requested::Requested;
use crate::metrics::{CountedRule, RuleMetrics};

/// A rule, compiled, with its state.
#[derive(Debug)]
pub struct Rule {
    /// The rule's name in the configuration.
    pub name: Arc<str>,
    /// What it decides about.
    pub stage: Stage,
    /// The listeners that it belongs to; `None`: all.
    pub listeners: Option<Vec<String>>,
    /// Whether the rule takes part in decisions.
    pub enabled: bool,
    /// `true`: decides and counts, injects nothing.
    pub shadow: bool,
    /// The requests that the rule matches.
    pub condition: Condition,
    /// Which of the matching requests it hits.
    pub when: When,
    /// One of these is drawn by weight.
    pub outcomes: Vec<Outcome>,
    /// What its draws come from.
    pub seed: RuleSeed,
    /// Counts and limits that outlive a request.
    pub state: Arc<RuleState>,
    /// Counters that are labelled with the rule.
    pub metrics: RuleMetrics,
    /// Tells whether a reload changed it: a hash of all that it was made from.
    pub fingerprint: u64,
}

/// One of a rule's outcomes.
#[derive(Debug)]
pub struct Outcome {
    /// Its share is its weight over the sum of all.
    pub weight: u32,
    /// What happens, in order.
    pub faults: Vec<RuleFault>,
}

/// A fault within a rule.
#[derive(Debug)]
pub struct RuleFault {
    /// The fault's name in YAML.
    pub name: &'static str,
    /// Its position among all faults of the rule: part of what its draws depend on.
    pub position: u32,
    /// The compiled fault, which gives its effects.
    pub fault: Box<dyn Fault>,
}

/// All rules of one listener, in file order, with their index.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Arc<Rule>>,
    index: Index,
}

/// What a rule says to a request that it matches.
#[derive(Debug)]
pub struct Drawn {
    /// The request's number in the rule.
    pub ordinal: u64,
    /// The draw that decides about the request.
    pub draw: Draw,
    /// The hash of the request's key.
    pub key: KeyHash,
    /// Which outcome, or why none.
    pub outcome: Result<usize, Reason>,
}

impl RuleSet {
    /// Builds the index over the rules of one listener.
    pub fn new(rules: Vec<Arc<Rule>>) -> RuleSet {
        let conditions = (0u32..).zip(rules.iter().map(|rule| &rule.condition));
        RuleSet {
            index: Index::build(conditions),
            rules,
        }
    }

    /// The rules, in file order.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Decides what happens to a request.
    pub fn decide(&self, head: &Head<'_>, memory: &impl Memory) -> Option<Box<Plan>> {
        if self.rules.is_empty() {
            return None;
        }
        let candidates = self.index.candidates(head);
        if candidates.is_empty() {
            return None;
        }
        let mut plan = Plan::default();
        let mut ended = false;
        for rule in candidates.iter().filter_map(|at| self.rules.get(*at as usize)) {
            if !rule.enabled || !rule.condition.matches(head) {
                continue;
            }
            let drawn = rule.draw(head, memory, ended);
            if let Ok(outcome) = drawn.outcome {
                ended |= plan.add(rule, &drawn, outcome, head, memory);
            }
        }
        (!plan.is_empty()).then(|| Box::new(plan))
    }
}

impl Rule {
    /// Asks the questions of `when`. A request that an earlier rule has ended is still counted, so that the numbers of
    /// one rule do not depend on another.
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

impl CountedRule for Rule {
    fn metrics(&self) -> &RuleMetrics {
        &self.metrics
    }

    fn active(&self) -> u32 {
        self.state.active()
    }
}

impl Plan {
    /// Adds a rule's outcome; returns whether it ends the request.
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

/// What a request gets that asks for a fault of a rule with the percentage `ppm`: one draw, against the smaller percentage.
fn asked_for(fault: &dyn Fault, hit: &HitRequest<'_, '_>, requested: &Requested, ppm: u32) -> Effects {
    fault
        .requested_share(requested)
        .filter(|share| hit.draw.fires(ppm.min(*share)))
        .and_then(|_| fault.requested(hit, requested))
        .into_iter()
        .collect()
}

/// Why a request gets none of these faults, if so: it does not ask for them, or the draw is against it.
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
