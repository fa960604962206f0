//! Looks at the guards several times a second, and stops what they guard once their conditions come true.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use serde_json::json;

use super::Server;
use crate::config::guard::{Compile, Guard};
use crate::config::snapshot::Snapshot;
use crate::guards::spec::GuardSpec;
use crate::rule::id::RuleId;
use crate::rule::switch::{Switch, Trip};
use crate::yaml::decode::Spanned;
use crate::yaml::report::Diagnostic;

/// The time from one look at the guards to the next.
const LOOK: Duration = Duration::from_millis(200);

/// The time from one look to the next while there are no guards.
const IDLE: Duration = Duration::from_secs(1);

/// Why a guard can't be changed through the API.
#[derive(Debug)]
pub enum GuardRefusal {
    /// It belongs to the configuration file.
    OfFile,
    /// What was sent is wrong.
    Wrong(Vec<Diagnostic>),
}

impl Server {
    /// Begins to look at the guards, for as long as the server lives.
    pub(super) fn watch_guards(self: &Arc<Self>) {
        let server = Arc::downgrade(self);
        tokio::spawn(watch(server));
    }

    /// All guards: those of the configuration, then those that were added through the API.
    pub fn guards(&self) -> Vec<Arc<Guard>> {
        let mut guards = self.snapshot().guards.clone();
        guards.extend(self.added_guards.lock().iter().map(Arc::clone));
        guards
    }

    /// Adds a guard that stops everything, or replaces one that was added before. Reloads leave it as it is. Returns it, and
    /// whether it is new.
    ///
    /// # Errors
    /// See [`GuardRefusal`].
    pub fn add_guard(&self, spec: &Spanned<GuardSpec>) -> Result<(Arc<Guard>, bool), GuardRefusal> {
        let mut added = self.added_guards.lock();
        let snapshot = self.snapshot();
        let named = |guard: &Arc<Guard>| spec.value.name.as_ref().is_some_and(|name| *guard.name == *name.value);
        if snapshot.guards.iter().any(named) {
            return Err(GuardRefusal::OfFile);
        }
        let mut compile = Compile::new(&added, Instant::now());
        // Counted for the bound on all guards, and for names that are taken.
        compile.guards = snapshot
            .guards
            .iter()
            .chain(added.iter().filter(|guard| !named(guard)))
            .cloned()
            .collect();
        let guard = compile.one(spec, None).map_err(GuardRefusal::Wrong)?;
        let before = added.len();
        added.retain(|other| !named(other));
        let is_new = added.len() == before;
        added.push(Arc::clone(&guard));
        drop(added);
        self.guards_changed(&snapshot);
        self.tell_guard(&guard, if is_new { "added" } else { "changed" }, None);
        Ok((guard, is_new))
    }

    /// Removes a guard that was added through the API. What it has stopped stays stopped. Returns whether there was one.
    pub fn remove_guard(&self, name: &str) -> bool {
        let mut added = self.added_guards.lock();
        let at = added.iter().position(|guard| &*guard.name == name);
        let removed = at.map(|at| added.remove(at));
        drop(added);
        if let Some(guard) = &removed {
            self.guards_changed(&self.snapshot());
            self.tell_guard(guard, "removed", None);
        }
        removed.is_some()
    }

    /// Makes a guard forget what it has seen. What it has stopped goes on, unless something else keeps it stopped. Returns whether
    /// there is such a guard.
    pub fn reset_guard(&self, name: &str) -> bool {
        let guards = self.guards();
        let Some(guard) = guards.iter().find(|guard| &*guard.name == name) else {
            return false;
        };
        let tripped = guard.tripped();
        self.forget(guard);
        let Some(tripped) = tripped else { return true };
        match &guard.rule {
            Some(id) => {
                let rule = self.rule(id);
                let by_this = |trip: &Trip| trip.guard == guard.name;
                if rule.and_then(|rule| rule.state.tripped()).as_ref().is_some_and(by_this) {
                    self.switch(id, Switch::Configured);
                }
            }
            None => {
                let stopped = self.stopped().and_then(|stopped| stopped.reason);
                if stopped.as_deref() == Some(&*words(guard, &tripped.reason)) {
                    self.arm(true, None);
                }
            }
        }
        true
    }

    /// Tells the windows of natural traffic and the metrics which guards there are.
    pub(super) fn guards_changed(&self, snapshot: &Snapshot) {
        let added = self.added_guards.lock();
        let all = || snapshot.guards.iter().chain(added.iter());
        let watching = all().filter_map(|guard| guard.traffic()).map(Arc::clone);
        snapshot.natural.watch(watching.collect());
        let states = all().map(|guard| (&*guard.name, guard.tripped().is_some()));
        self.metrics().guards(states);
    }

    /// Lets the guards of a rule, or with `None` those of everything, begin anew: somebody has said that it goes on.
    pub(super) fn forget_guards_of(&self, rule: Option<&RuleId>) {
        for guard in self.guards().iter().filter(|guard| guard.rule.as_ref() == rule) {
            self.forget(guard);
        }
    }

    fn forget(&self, guard: &Guard) {
        if guard.reset() {
            self.metrics().guard_tripped(&guard.name, false);
            self.tell_guard(guard, "reset", None);
        }
    }

    /// Looks at all guards once. Returns whether there are any.
    fn look_at_guards(&self) -> bool {
        let (guards, now) = (self.guards(), Instant::now());
        for guard in &guards {
            guard.probe(&self.connector, now);
            // What does not go on can't be stopped, and must not stop later because of what happens meanwhile.
            if !self.is_armed() || guard.rule.as_ref().is_some_and(|rule| !self.is_rule_on(rule)) {
                continue;
            }
            if let Some(reason) = guard.comes_true(now) {
                self.stop_for(guard, &reason.into(), now);
            }
        }
        !guards.is_empty()
    }

    fn stop_for(&self, guard: &Guard, reason: &Arc<str>, now: Instant) {
        let stops = match &guard.rule {
            Some(rule) => {
                let trip = Trip {
                    guard: Arc::clone(&guard.name),
                    reason: Arc::clone(reason),
                    since: now,
                };
                self.trip(rule, trip)
            }
            None => self.arm(false, Some(&words(guard, reason))),
        };
        if !stops {
            return;
        }
        guard.trip(reason, now);
        self.metrics().guard_trips.with_label_values(&[&*guard.name]).inc();
        self.metrics().guard_tripped(&guard.name, true);
        self.tell_guard(guard, "tripped", Some(reason));
        let rule = guard.rule.as_ref().map(|rule| &*rule.name);
        tracing::warn!(guard = &*guard.name, rule, "a guard has stopped injection: {reason}");
    }

    fn tell_guard(&self, guard: &Guard, change: &str, reason: Option<&str>) {
        self.events().tell("guard", || {
            json!({
                "name": &*guard.name,
                "rule": guard.rule.as_ref().map(|rule| &rule.name),
                "space": guard.rule.as_ref().and_then(|rule| rule.space.as_ref()),
                "change": change,
                "reason": reason,
            })
        });
    }

    fn is_rule_on(&self, id: &RuleId) -> bool {
        self.rule(id).is_some_and(|rule| rule.is_on())
    }
}

/// The reason of the stop switch when a guard uses it.
fn words(guard: &Guard, reason: &str) -> String {
    format!("the guard `{}`: {reason}", guard.name)
}

async fn watch(server: Weak<Server>) {
    while let Some(server) = server.upgrade() {
        let pause = if server.look_at_guards() { LOOK } else { IDLE };
        // Not held while it sleeps, so that the server can end.
        drop(server);
        tokio::time::sleep(pause).await;
    }
}
