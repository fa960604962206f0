//! The steps of a plan, in the order in which the proxy carries them out.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use smallvec::SmallVec;

use super::effect;
use crate::fault::before::Before;
use crate::fault::effect::Effect;
use crate::rule::plan::{Action, Plan};
use crate::shape::Direction;

/// One step of what happens to the request.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "step", rename_all = "snake_case")]
#[schemars(rename = "PlanStep")]
pub enum Step {
    /// A fault takes effect, and the request goes on.
    Fault {
        /// The rule.
        rule: Arc<str>,
        /// The fault.
        fault: &'static str,
        /// What it does.
        effect: String,
        /// For a wait: how long, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        wait_ms: Option<f64>,
    },
    /// A fault ends the request. Nothing follows.
    End {
        /// The rule.
        rule: Arc<str>,
        /// The fault.
        fault: &'static str,
        /// How it ends.
        effect: String,
        /// The status of the response that squall sends, if any.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },
    /// squall answers by itself, since the request has nowhere to go. Nothing follows.
    Refused {
        /// The status of the response.
        status: u16,
        /// Why.
        reason: String,
    },
    /// The request goes to the upstream.
    Upstream {
        /// The name of the upstream.
        name: String,
    },
    /// The client gets the upstream's response. The steps after this concern its body.
    Response,
}

/// The steps of a plan, without those of shadow rules, which inject nothing. `ends`: the status and the reason of a request that has
/// nowhere to go.
pub(super) fn of(plan: &Plan, ends: Option<(u16, String)>, upstream: &str, longest_wait: Duration) -> Vec<Step> {
    let mut steps = Steps {
        plan,
        longest_wait,
        steps: Vec::new(),
    };
    if steps.phase(Before::Request) {
        return steps.steps;
    }
    if let Some((status, reason)) = ends {
        steps.steps.push(Step::Refused { status, reason });
        return steps.steps;
    }
    steps.bodies(Direction::Request);
    steps.steps.push(Step::Upstream {
        name: upstream.to_owned(),
    });
    if !steps.phase(Before::Response) {
        steps.steps.push(Step::Response);
        steps.bodies(Direction::Response);
    }
    steps.steps
}

struct Steps<'a> {
    plan: &'a Plan,
    longest_wait: Duration,
    steps: Vec<Step>,
}

impl Steps<'_> {
    /// Adds the steps of a phase. Returns whether one of them ends the request.
    fn phase(&mut self, phase: Before) -> bool {
        let plan = self.plan;
        for (at, action) in plan.actions.iter().enumerate() {
            if action.effect.before() != phase || self.is_shadow(action) {
                continue;
            }
            if action.effect.is_terminal() {
                if phase == Before::Request {
                    self.response_waits(at);
                }
                self.push(action);
                return true;
            }
            self.push(action);
        }
        false
    }

    /// Adds the response delays listed before a terminal fault, which apply to the injected response.
    fn response_waits(&mut self, end: usize) {
        for action in self.plan.actions.iter().take(end) {
            if matches!(
                action.effect,
                Effect::Wait {
                    before: Before::Response,
                    ..
                }
            ) && !self.is_shadow(action)
            {
                self.push(action);
            }
        }
    }

    fn is_shadow(&self, action: &Action) -> bool {
        self.plan.hits.get(action.hit).is_some_and(|hit| hit.rule.shadow)
    }

    /// Adds the steps for the body of one direction.
    fn bodies(&mut self, direction: Direction) {
        let plan = self.plan;
        for action in &plan.actions {
            let Effect::Shape(parts) = &action.effect else {
                continue;
            };
            let parts: SmallVec<_> = parts
                .iter()
                .filter(|part| part.direction == direction)
                .cloned()
                .collect();
            if !parts.is_empty() && !self.is_shadow(action) {
                self.step(action, &Effect::Shape(parts));
            }
        }
    }

    fn push(&mut self, action: &Action) {
        self.step(action, &action.effect);
    }

    /// Adds a step for an action, or for a part of it.
    fn step(&mut self, action: &Action, effect: &Effect) {
        let Some(hit) = self.plan.hits.get(action.hit) else {
            return;
        };
        let rule = Arc::clone(&hit.rule.name);
        let position = action.fault;
        let fault = hit
            .rule
            .faults()
            .find(|fault| fault.position as usize == position)
            .map_or("fault", |fault| fault.name);
        let words = effect::words(effect, self.longest_wait);
        self.steps.push(if effect.is_terminal() {
            Step::End {
                rule,
                fault,
                effect: words,
                status: effect::status(effect),
            }
        } else {
            Step::Fault {
                rule,
                fault,
                effect: words,
                wait_ms: effect::wait_of(effect).map(effect::milliseconds),
            }
        });
    }
}
