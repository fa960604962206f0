//! Deciding: configuration, head and memory in, [`Plan`] out. No socket, no clock, no random source of its own.

use std::sync::Arc;
use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use super::index::Index;
use super::matcher::Condition;
use super::plan::{Action, Effect, Hit, Plan};
use super::requested::Requested;
use super::stage::Stage;
use super::state::{Memory, RuleState};
use super::when::{Reason, When};
use crate::draw::head::Head;
use crate::draw::{Draw, KeyHash, RuleSeed};
use crate::fault::abort::Abort;
use crate::fault::delay::{Delay, DelayDraw, MessageWaits};
use crate::fault::place::Parts;
use crate::fault::quota::Quota;
use crate::fault::{Before, Fault};
use crate::grpc::GrpcStatus;
use crate::metrics::{CountedRule, RuleMetrics};
use crate::shape::{Act, Direction, Pace, Scope};

/// A rule, compiled.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub name: Arc<str>,
    /// What it decides about.
    pub stage: Stage,
    /// The listeners that it belongs to; `None`: all.
    pub listeners: Option<Vec<String>>,
    /// `false`: never drawn.
    pub enabled: bool,
    /// `true`: decides and counts, injects nothing.
    pub shadow: bool,
    /// Which requests.
    pub condition: Condition,
    /// Which of those.
    pub when: When,
    /// One of these is drawn by weight.
    pub outcomes: Vec<Outcome>,
    /// What its draws come from.
    pub seed: RuleSeed,
    /// What it remembers.
    pub state: Arc<RuleState>,
    /// Its counters.
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
    /// Its name.
    pub name: &'static str,
    /// Its position among all faults of the rule: part of what its draws depend on.
    pub position: u32,
    /// What it does.
    pub fault: Fault,
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
    /// Its draw.
    pub draw: Draw,
    /// The request's key.
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
        match self.when.requested {
            true => Requested::of(head).check(self.faults().map(|fault| &fault.fault), draw, self.when.ppm)?,
            false => self.when.drawn(draw)?,
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
            rule: rule.clone(),
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
            let asking = Asking {
                rule,
                drawn,
                position: fault.position,
                head,
                memory,
            };
            let effects = match &requested {
                None => asking.effects(&fault.fault),
                Some(requested) => asking.requested(&fault.fault, requested).into_iter().collect(),
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

/// One fault of one hit, being turned into an effect.
struct Asking<'a, 'h, M> {
    rule: &'a Rule,
    drawn: &'a Drawn,
    position: u32,
    head: &'a Head<'h>,
    memory: &'a M,
}

impl<M: Memory> Asking<'_, '_, M> {
    /// What the fault does, in order: one effect, and two only for a profile.
    fn effects(&self, fault: &Fault) -> SmallVec<[Effect; 2]> {
        match fault {
            Fault::Profile(profile) => smallvec![
                self.delay(&profile.delay, Duration::MAX),
                self.shape(&profile.bandwidth.parts())
            ],
            fault => self.effect(fault).into_iter().collect(),
        }
    }

    fn effect(&self, fault: &Fault) -> Option<Effect> {
        Some(match fault {
            Fault::Delay(delay) => self.delay(delay, Duration::MAX),
            Fault::Abort(abort) => self.abort(abort),
            Fault::Close(close) => Effect::Close { before: close.before },
            Fault::Reset(reset) => Effect::Reset {
                code: reset.code,
                before: reset.before,
            },
            Fault::Hang(hang) => Effect::Hang {
                limit: hang.limit.map(crate::yaml::units::Time::get),
                before: hang.before,
            },
            Fault::Quota(quota) => self.quota(quota),
            Fault::Concurrency(station) => Effect::Queue(station.clone()),
            Fault::Rewrite(rewrite) => Effect::Rewrite(rewrite.clone()),
            Fault::Bandwidth(bandwidth) => self.shape(&bandwidth.parts()),
            Fault::Shape(parts) => self.shape(parts),
            Fault::Duplicate(limit) => Effect::Duplicate { limit: *limit },
            Fault::Certificate(certificate) => Effect::Certificate(*certificate),
            Fault::Profile(_) => return None,
        })
    }

    fn shape(&self, parts: &Parts) -> Effect {
        Effect::Shape(parts.drawn(self.drawn.draw, self.position))
    }

    /// A wait before the request, the response, a body or each message, none longer than `longest`.
    fn delay(&self, delay: &Arc<Delay>, longest: Duration) -> Effect {
        let act = match delay.before() {
            Before::Body => Act::Hold(self.sample(delay).min(longest)),
            Before::Message => {
                Act::HoldMessages(Arc::new(MessageWaits::new(delay.clone(), self.delay_draw(), longest)))
            }
            before => {
                return Effect::Wait {
                    before,
                    mode: delay.mode(),
                    time: self.sample(delay).min(longest),
                };
            }
        };
        self.shape(&Parts::one(delay.direction(), act))
    }

    fn delay_draw(&self) -> DelayDraw {
        DelayDraw {
            rule: self.rule.seed,
            draw: self.drawn.draw,
            ordinal: self.drawn.ordinal,
            index: self.position,
        }
    }

    fn sample(&self, delay: &Delay) -> Duration {
        delay.sample(self.delay_draw(), self.memory.since(self.rule))
    }

    fn abort(&self, abort: &Abort) -> Effect {
        match (&abort.grpc, &abort.answer) {
            (Some(status), _) if self.head.is_grpc() => Effect::Grpc {
                status: status.clone(),
                before: abort.before,
            },
            (_, Some(answer)) => Effect::Answer {
                answer: answer.clone(),
                status: None,
                before: abort.before,
            },
            (_, None) => Effect::Skip("not a gRPC request"),
        }
    }

    fn quota(&self, quota: &Quota) -> Effect {
        let key = match &quota.key {
            None => KeyHash::ordinal(0),
            Some(key) => key.hash(self.head, self.drawn.ordinal),
        };
        let verdict = self.memory.quota(quota, key.value(), self.memory.since(self.rule));
        match verdict.passes {
            true => Effect::Fields(Arc::new(quota.headers(verdict))),
            false => Effect::Answer {
                answer: Arc::new(quota.refusal(verdict)),
                status: None,
                before: Before::Request,
            },
        }
    }

    /// What the request asks for, never beyond what the rule says. `None` where it does not ask for this fault.
    fn requested(&self, fault: &Fault, requested: &Requested) -> Option<Effect> {
        if !requested.grants(fault, self.drawn.draw, self.rule.when.ppm) {
            return None;
        }
        match fault {
            Fault::Delay(delay) => Some(self.delay(delay, requested.delay?)),
            Fault::Bandwidth(bandwidth) => {
                // The rule's rate is the strongest fault that it allows: nobody is made slower than that.
                let rate = requested.response_rate?.max(bandwidth.response()?.rate);
                let scope = Scope::Request;
                Some(self.shape(&Parts::one(Direction::Response, Act::Pace(Pace { rate, scope }))))
            }
            Fault::Abort(abort) => {
                if let Some(code) = requested.abort_grpc {
                    let message = "fault requested by the caller".to_owned();
                    return Some(Effect::Grpc {
                        status: Arc::new(GrpcStatus { code, message }),
                        before: abort.before,
                    });
                }
                let status = requested.abort?;
                let answer = abort.answer.clone()?;
                Some(Effect::Answer {
                    answer,
                    status: Some(status),
                    before: abort.before,
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
