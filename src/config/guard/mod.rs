//! Guards: conditions that stop a rule or everything, ready to be looked at.
//!
//! A guard only says that its condition is true, and why; [`server`](crate::server) stops what it guards. A guard that a reload
//! leaves unchanged keeps what it has seen.

mod compile;
mod probe;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

pub use self::compile::{Compile, OfRule};
use self::probe::Probe;
use crate::guards::natural::{Measure, Traffic};
use crate::guards::spec::GuardSpec;
use crate::proxy::upstream::Connector;
use crate::rule::id::RuleId;
use crate::yaml::units::Time;

/// A condition that stops a rule, or everything.
#[derive(Debug)]
pub struct Guard {
    /// The guard's name, which is unique.
    pub name: Arc<str>,
    /// The rule that it stops; `None`: everything.
    pub rule: Option<RuleId>,
    /// The condition as typed.
    pub spec: GuardSpec,
    /// The key of the condition: `errors`, `p99`, …
    pub kind: &'static str,
    condition: Condition,
    fingerprint: u64,
    /// Locked for looks and changes, never across an await.
    state: Mutex<GuardState>,
}

#[derive(Debug)]
enum Condition {
    /// A share of natural traffic.
    Traffic {
        traffic: Arc<Traffic>,
        measure: Measure,
        over: Duration,
        /// The largest share that is well, in parts per million.
        most_ppm: u32,
        at_least: u64,
    },
    /// A page that is asked now and then.
    Probe(Box<Probe>),
}

/// What a guard has seen.
#[derive(Debug, Default)]
struct GuardState {
    /// When the next probe is due; `None`: at once.
    next: Option<Instant>,
    /// Whether a probe is under way.
    asking: bool,
    /// Counts resets, so that a probe that began before one is not taken for a new one.
    era: u64,
    /// Failed probes in a row.
    failures: u32,
    /// What the last probe found.
    found: Option<Found>,
    tripped: Option<Tripped>,
}

/// What a probe has found out.
#[derive(Debug, Clone, PartialEq)]
enum Found {
    /// All is well.
    Well,
    /// The condition is true, for this reason.
    True(String),
    /// It failed, for this reason. So many failures in a row make the condition true.
    Failed(String),
    /// It could not be found out, which is to be ignored.
    Unknown(String),
}

/// When and why a guard stopped what it guards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tripped {
    /// The condition that came true, with its figures.
    pub reason: Arc<str>,
    /// When it stopped what it guards.
    pub since: Instant,
}

impl Guard {
    /// The traffic that the guard watches, if it does.
    pub fn traffic(&self) -> Option<&Arc<Traffic>> {
        match &self.condition {
            Condition::Traffic { traffic, .. } => Some(traffic),
            Condition::Probe(_) => None,
        }
    }

    /// Begins a probe if one is due at `now`. It runs as a task of its own.
    pub fn probe(self: &Arc<Self>, connector: &Arc<Connector>, now: Instant) {
        let Condition::Probe(probe) = &self.condition else {
            return;
        };
        let era = {
            let mut state = self.state.lock();
            if state.asking || state.next.is_some_and(|next| now < next) {
                return;
            }
            state.asking = true;
            state.next = now.checked_add(probe.every);
            state.era
        };
        let (guard, connector) = (Arc::clone(self), Arc::clone(connector));
        tokio::spawn(async move {
            if let Condition::Probe(probe) = &guard.condition {
                let found = probe.ask(&connector).await;
                guard.found(found, era);
            }
        });
    }

    fn found(&self, found: Found, era: u64) {
        let mut state = self.state.lock();
        state.asking = false;
        if state.era != era {
            return;
        }
        state.failures = match found {
            Found::Failed(_) => state.failures.saturating_add(1),
            _ => 0,
        };
        state.found = Some(found);
    }

    /// Why the condition is true at `now`; `None` if it is not, or if the guard has tripped already.
    pub fn comes_true(&self, now: Instant) -> Option<String> {
        let state = self.state.lock();
        if state.tripped.is_some() {
            return None;
        }
        match &self.condition {
            Condition::Traffic {
                traffic,
                measure,
                over,
                most_ppm,
                at_least,
            } => {
                let counts = traffic.counts(now);
                let over_most = u128::from(counts.bad) * 1_000_000 > u128::from(counts.all) * u128::from(*most_ppm);
                (over_most && counts.all >= *at_least).then(|| {
                    let over = Time::saturating(*over);
                    let (bad, all) = (counts.bad, counts.all);
                    match measure {
                        Measure::Errors => format!(
                            "{bad} of {all} requests in the last {over} failed by themselves, more than {}",
                            share(*most_ppm)
                        ),
                        Measure::SlowerThan(limit) => format!(
                            "the natural {} is above {}: {bad} of {all} requests in the last {over} took longer",
                            self.kind,
                            Time::saturating(*limit)
                        ),
                    }
                })
            }
            Condition::Probe(probe) => match state.found.as_ref()? {
                Found::True(reason) => Some(reason.clone()),
                Found::Failed(reason) if state.failures >= probe.failures => {
                    Some(format!("{} in a row: {reason}", times(state.failures)))
                }
                _ => None,
            },
        }
    }

    /// Notes that the guard has stopped what it guards.
    pub fn trip(&self, reason: &Arc<str>, since: Instant) {
        self.state.lock().tripped = Some(Tripped {
            reason: Arc::clone(reason),
            since,
        });
    }

    /// When and why the guard stopped what it guards; `None` if it has not.
    pub fn tripped(&self) -> Option<Tripped> {
        self.state.lock().tripped.clone()
    }

    /// Forgets what was seen so far, so that old samples don't make it trip. Returns whether it had tripped.
    pub fn reset(&self) -> bool {
        if let Some(traffic) = self.traffic() {
            traffic.clear();
        }
        let mut state = self.state.lock();
        let tripped = state.tripped.is_some();
        *state = GuardState {
            asking: state.asking,
            era: state.era.wrapping_add(1),
            ..GuardState::default()
        };
        tripped
    }

    /// The guard for the admin API: what it measures, how far it is, and whether it has tripped. `value` and `limit` are shares
    /// for traffic, and failures in a row for pages.
    pub fn to_json(&self, now: Instant) -> Value {
        let state = self.state.lock();
        let (value, limit, samples, error) = match &self.condition {
            Condition::Traffic { traffic, most_ppm, .. } => {
                let counts = traffic.counts(now);
                #[expect(clippy::cast_precision_loss, reason = "a share to look at")]
                let value = (counts.all > 0).then(|| counts.bad as f64 / counts.all as f64);
                (json!(value), json!(f64::from(*most_ppm) / 1e6), json!(counts.all), None)
            }
            Condition::Probe(probe) => {
                let error = match &state.found {
                    Some(Found::True(reason) | Found::Failed(reason) | Found::Unknown(reason)) => Some(reason),
                    Some(Found::Well) | None => None,
                };
                let asked = state.found.is_some();
                (
                    asked.then_some(state.failures).into(),
                    probe.failures.into(),
                    Value::Null,
                    error,
                )
            }
        };
        json!({
            "name": &*self.name,
            "rule": self.rule.as_ref().map(|rule| &rule.name),
            "space": self.rule.as_ref().and_then(|rule| rule.space.as_ref()),
            "kind": self.kind,
            "value": value,
            "limit": limit,
            "samples": samples,
            "error": error,
            "tripped": state.tripped.as_ref().map(|tripped| json!({
                "reason": &*tripped.reason,
                "since_seconds": now.saturating_duration_since(tripped.since).as_secs_f64(),
            })),
            "spec": &self.spec,
        })
    }
}

fn share(ppm: u32) -> crate::yaml::units::Percentage {
    crate::yaml::units::Percentage::from_ppm(ppm)
}

fn times(count: u32) -> String {
    match count {
        1 => "1 failure".to_owned(),
        count => format!("{count} failures"),
    }
}

#[cfg(test)]
mod tests;
