//! The record of what was injected into one request or connection, which counts each fault once, when it takes effect.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;
use pingora::Result;
use pingora::http::ResponseHeader;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::effect::Effect;
use crate::fault::quota::quoted;
use crate::fault::skip::Skip;
use crate::journal::entry::{Injected, Skipped};
use crate::metrics::Site;
use crate::rule::plan::{Action, Hit, Plan};
use crate::rule::switch::Switches;
use crate::rule::when::percent_fraction;

/// How squall shows what it injected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RevealSpec {
    /// The `Squall-Fault` response header.
    pub header: bool,
    /// `Server-Timing: squall;dur=…`, the injected wait in milliseconds.
    pub server_timing: bool,
}

impl Default for RevealSpec {
    fn default() -> Self {
        RevealSpec {
            header: true,
            server_timing: true,
        }
    }
}

/// Why an action is not applied whose rule was switched off in the meantime.
pub(crate) const SWITCHED_OFF: &str = "switched off";

/// A plan and what has happened of it, shared by everything that carries it out.
#[derive(Debug)]
pub(crate) struct Record {
    plan: Arc<Plan>,
    switches: Arc<Switches>,
    /// Where its faults happen, for metrics.
    site: Arc<Site>,
    /// Metrics are counted under this lock, so that two parts of one fault can't both count it. Never held across an await.
    happened: Mutex<Happened>,
}

#[derive(Debug, Default)]
struct Happened {
    /// Actions whose faults were injected, in order; only the first action of each fault.
    done: Vec<usize>,
    /// Actions of shadow rules whose faults would have been injected.
    shadowed: Vec<usize>,
    /// Actions that shape bytes, as far as they were examined.
    shaping: Vec<ShapedAction>,
    /// Actions that could not be applied, and why, in order.
    skipped: Vec<(usize, Skip)>,
    injected: Duration,
}

/// An action that shapes bytes, in one direction or in both.
#[derive(Debug)]
struct ShapedAction {
    action: usize,
    /// The number of directions in which it may still take effect.
    open: u32,
    /// Why it did not take effect, in the direction examined last.
    missed: Option<&'static str>,
}

impl Record {
    /// Creates the record of a plan that has not begun.
    pub(crate) fn new(plan: Arc<Plan>, switches: Arc<Switches>, site: &Arc<Site>) -> Arc<Record> {
        Arc::new(Record {
            plan,
            switches,
            site: Arc::clone(site),
            happened: Mutex::default(),
        })
    }

    /// The plan.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Notes that an action took effect. Counts its fault, unless another action of that fault was counted.
    pub(crate) fn done(&self, action: usize) {
        let Some((hit, fault)) = self.fault(action) else {
            return;
        };
        let mut happened = self.happened.lock();
        if !self.has_fault_of(&happened.done, action) {
            happened.done.push(action);
            hit.rule.metrics.injected(fault, &self.site);
        }
    }

    /// Notes that an action made the request wait for `time`.
    pub(crate) fn waited(&self, action: usize, time: Duration) {
        if let Some((hit, _)) = self.fault(action) {
            hit.rule.metrics.delayed(time);
            self.happened.lock().injected += time;
        }
    }

    /// Notes that an action can't be applied: nobody must wonder why a rule that hits does nothing. Counts it, and warns of the
    /// first one of each fault and reason.
    pub(crate) fn skip(&self, action: usize, skip: impl Into<Skip>) {
        self.note_skipped(&mut self.happened.lock(), action, skip.into());
    }

    fn note_skipped(&self, happened: &mut Happened, action: usize, skip: Skip) {
        let Some((hit, fault)) = self.fault(action) else {
            return;
        };
        let reason = skip.reason;
        hit.rule.metrics.skipped(fault, &self.site, reason);
        // Somebody has switched it off, and knows.
        if reason == SWITCHED_OFF {
            return;
        }
        if hit.rule.state.is_news(fault, reason) {
            tracing::warn!(
                rule = &*hit.rule.name,
                fault = hit.rule.metrics.fault_name(fault),
                reason,
                detail = skip.detail.as_deref(),
                "a fault was not applied; further ones for this reason are counted in squall_faults_skipped_total"
            );
        }
        happened.skipped.push((action, skip));
    }

    /// Notes that an action of a shadow rule would have taken effect.
    pub(crate) fn shadow(&self, action: usize) {
        let Some((hit, fault)) = self.fault(action) else {
            return;
        };
        let mut happened = self.happened.lock();
        if !self.has_fault_of(&happened.shadowed, action) {
            happened.shadowed.push(action);
            hit.rule.metrics.shadowed(fault, &self.site);
        }
    }

    /// Notes that a part of an action is going to shape one direction.
    pub(crate) fn accept(&self, action: usize) {
        self.happened.lock().shaping(action).open += 1;
    }

    /// Notes that a part of an action can't shape its direction. If no other part can, [`Record::settle`] counts it as
    /// skipped.
    pub(crate) fn refuse(&self, action: usize, reason: &'static str) {
        self.happened.lock().shaping(action).missed = Some(reason);
    }

    /// Notes that an [accepted](Record::accept) part of an action found nothing to act on.
    pub(crate) fn miss(&self, action: usize, reason: &'static str) {
        let mut happened = self.happened.lock();
        let shaped = happened.shaping(action);
        shaped.open = shaped.open.saturating_sub(1);
        shaped.missed = Some(reason);
        // Released first: `settle` locks it again, and the lock is not reentrant.
        drop(happened);
        self.settle();
    }

    /// Counts actions as skipped that did not take effect and no longer can. Call it once all parts were examined.
    pub(crate) fn settle(&self) {
        let mut happened = self.happened.lock();
        let settled: Vec<(usize, &'static str)> = happened
            .shaping
            .iter_mut()
            .filter(|shaped| shaped.open == 0)
            .filter_map(|shaped| Some((shaped.action, shaped.missed.take()?)))
            .collect();
        for (action, reason) in settled {
            if !self.has_fault_of(&happened.done, action) {
                self.note_skipped(&mut happened, action, reason.into());
            }
        }
    }

    /// The actions whose faults were injected, in order; only the first action of each fault.
    pub(crate) fn injected(&self) -> Vec<usize> {
        self.happened.lock().done.clone()
    }

    /// The actions that were injected, and those that are going to be.
    pub(crate) fn announced(&self) -> Vec<usize> {
        let happened = self.happened.lock();
        let mut announced = happened.done.clone();
        for shaped in happened.shaping.iter().filter(|shaped| shaped.open > 0) {
            if !self.has_fault_of(&announced, shaped.action) {
                announced.push(shaped.action);
            }
        }
        announced
    }

    /// The total time of all waits so far.
    pub(crate) fn time(&self) -> Duration {
        self.happened.lock().injected
    }

    /// Whether an action belongs to a shadow rule.
    pub(crate) fn is_shadow(&self, action: usize) -> bool {
        self.fault(action).is_some_and(|(hit, _)| hit.rule.shadow)
    }

    /// Whether an action is not to be carried out any more: its rule was switched off since the plan was made, or the stop
    /// switch was used.
    pub(crate) fn is_let_go(&self, action: usize) -> bool {
        !self.switches.is_armed() || self.fault(action).is_some_and(|(hit, _)| !hit.rule.is_on())
    }

    /// Resolves once all of these actions are [let go](Record::is_let_go).
    pub(crate) async fn let_go(&self, actions: &[usize]) {
        let mut switched = self.switches.watch();
        // Fails only without switches, which the record keeps.
        let _ = switched
            .wait_for(|_| actions.iter().all(|at| self.is_let_go(*at)))
            .await;
    }

    /// The actions that are to be carried out: of rules that are on and not shadow rules, each with its index.
    pub(crate) fn in_force(&self) -> impl Iterator<Item = (usize, &Action)> {
        let actions = self.plan.actions.iter().enumerate();
        actions.filter(|(at, _)| !self.is_shadow(*at) && !self.is_let_go(*at))
    }

    /// The rule and the fault's name for each injected fault, in order.
    pub(crate) fn faults(&self) -> Vec<(&str, &'static str)> {
        let name = |at: usize| {
            let (hit, fault) = self.fault(at)?;
            Some((&*hit.rule.name, hit.rule.metrics.fault_name(fault)))
        };
        self.injected().into_iter().filter_map(name).collect()
    }

    /// The injected faults, in order, as the journal keeps them.
    pub(crate) fn notes(&self) -> Vec<Injected> {
        let note = |at: usize| {
            let (hit, fault) = self.fault(at)?;
            Some(Injected {
                rule: Arc::clone(&hit.rule.name),
                fault: hit.rule.metrics.fault_name(fault),
                ordinal: hit.ordinal,
                drawn: hit.drawn,
            })
        };
        self.injected().into_iter().filter_map(note).collect()
    }

    /// The faults that could not be applied, in order, as the journal keeps them.
    pub(crate) fn skipped(&self) -> Vec<Skipped> {
        let skipped = self.happened.lock().skipped.clone();
        let note = |(at, skip): (usize, Skip)| {
            let (hit, fault) = self.fault(at)?;
            Some(Skipped {
                rule: Arc::clone(&hit.rule.name),
                fault: hit.rule.metrics.fault_name(fault),
                reason: skip.reason,
                detail: skip.detail,
            })
        };
        skipped.into_iter().filter_map(note).collect()
    }

    /// The value of `Squall-Fault` for an action: rule, fault, draw, and the drawn delay.
    fn announcement(&self, at: usize) -> Option<String> {
        let (hit, fault) = self.fault(at)?;
        let (rule, fault) = (quoted(&hit.rule.name), hit.rule.metrics.fault_name(fault));
        let mut field = format!("rule={rule}, fault={fault}, draw={}", percent_fraction(hit.drawn));
        if let Some(Effect::Wait { time, .. }) = self.plan.actions.get(at).map(|action| &action.effect) {
            // The drawn delay, not the measured one: with the same seed the text must be the same.
            field.push_str(&format!(", delay={:.3}ms", millis(*time)));
        }
        Some(field)
    }

    /// Adds a `Squall-Fault` field for each injected fault to a response head, and for each that is known not to be applied, and
    /// the waits as `Server-Timing`.
    ///
    /// # Errors
    /// A field can't be added, which does not happen with valid values.
    pub(crate) fn reveal(&self, reveal: RevealSpec, head: &mut ResponseHeader) -> Result<()> {
        if reveal.header {
            let announced = self.announced().into_iter().filter_map(|at| self.announcement(at));
            let skipped = self.skipped().into_iter().map(|skipped| {
                let (rule, fault, reason) = (quoted(&skipped.rule), skipped.fault, skipped.reason);
                format!("rule={rule}, fault={fault}, skipped=\"{reason}\"")
            });
            for field in announced.chain(skipped) {
                if let Ok(field) = HeaderValue::try_from(field) {
                    head.append_header("Squall-Fault", field)?;
                }
            }
        }
        let waited = self.time();
        if reveal.server_timing && waited > Duration::ZERO {
            head.append_header("Server-Timing", format!("squall;dur={:.1}", millis(waited)))?;
        }
        Ok(())
    }

    /// The hit that an action belongs to, and the fault within its rule.
    fn fault(&self, action: usize) -> Option<(&Hit, usize)> {
        let action = self.plan.actions.get(action)?;
        Some((self.plan.hits.get(action.hit)?, action.fault))
    }

    fn has_fault_of(&self, actions: &[usize], action: usize) -> bool {
        let fault = |at: usize| self.plan.actions.get(at).map(|action| (action.hit, action.fault));
        actions.iter().any(|&other| fault(other) == fault(action))
    }
}

impl Happened {
    fn shaping(&mut self, action: usize) -> &mut ShapedAction {
        let at = match self.shaping.iter().position(|shaped| shaped.action == action) {
            Some(at) => at,
            None => {
                self.shaping.push(ShapedAction {
                    action,
                    open: 0,
                    missed: None,
                });
                self.shaping.len() - 1
            }
        };
        #[expect(clippy::indexing_slicing, reason = "found or pushed just above")]
        &mut self.shaping[at]
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
