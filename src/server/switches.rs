//! The stop switch, and the switches of rules.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::Server;
use crate::config::snapshot::Snapshot;
use crate::rule::decide::Rule;
use crate::rule::id::RuleId;
use crate::rule::switch::{Stopped, Switch, Trip};

impl Server {
    /// Stops all injection at once, or allows it again. While it is stopped, no rule is decided, and what rules hold is let go
    /// to where it would have gone without them. It stays so across reloads. Returns whether anything changed.
    pub fn arm(&self, armed: bool, reason: Option<&str>) -> bool {
        let changed = self.switches().arm(armed, reason, Instant::now());
        if changed {
            self.events()
                .tell("armed", || json!({"armed": armed, "reason": reason}));
            if armed {
                self.forget_guards_of(None);
                tracing::info!("armed: faults may be injected again");
            } else {
                tracing::warn!(reason, "stopped: no faults are injected until squall is armed again");
            }
        }
        changed
    }

    /// Whether rules are decided at all.
    pub fn is_armed(&self) -> bool {
        self.switches().is_armed()
    }

    /// Since when nothing is injected, and why; `None` while rules are decided.
    pub fn stopped(&self) -> Option<Stopped> {
        self.switches().stopped()
    }

    /// Switches a rule, until it is switched again: a reload leaves it so. What the rule holds is let go when it goes off.
    /// [`Switch::Tripped`] does nothing here. Returns whether there is such a rule.
    pub fn switch(&self, rule: &RuleId, to: Switch) -> bool {
        let Some(rule) = self.rule(rule) else { return false };
        if rule.state.rule_switch().set(to) {
            if rule.is_on() {
                self.forget_guards_of(Some(&rule.id()));
            }
            self.switched(&rule, to);
            tracing::info!(rule = &*rule.name, switch = to.name(), on = rule.is_on(), "switched");
        }
        true
    }

    /// Leaves a rule that was switched by hand to its `enabled` again. One that a guard has stopped stays off.
    pub fn switch_as_configured(&self, rule: &RuleId) {
        let switched = self.rule(rule).map(|rule| rule.state.switch());
        if matches!(switched, Some(Switch::On | Switch::Off)) {
            self.switch(rule, Switch::Configured);
        }
    }

    /// Stops a rule on behalf of a guard, unless it is off already. Returns whether anything changed.
    pub fn trip(&self, rule: &RuleId, why: Trip) -> bool {
        let Some(rule) = self.rule(rule).filter(|rule| rule.is_on()) else {
            return false;
        };
        let trips = rule.state.rule_switch().trip(why);
        if trips {
            self.switched(&rule, Switch::Tripped);
        }
        trips
    }

    fn switched(&self, rule: &Rule, to: Switch) {
        self.switches().announce();
        self.events().tell("rule", || {
            json!({
                "rule": &*rule.name,
                "space": rule.space,
                "what": "switched",
                "switch": to.name(),
                "enabled": rule.is_on(),
            })
        });
    }

    /// Lets go of what rules hold that another snapshot no longer has.
    pub(super) fn let_go(&self, previous: &Snapshot, next: &Snapshot) {
        let left: HashSet<RuleId> = next.rules.iter().map(|rule| rule.id()).collect();
        let gone = previous.rules.iter().filter(|rule| !left.contains(&rule.id()));
        let removed = gone.filter(|rule| rule.state.rule_switch().set(Switch::Removed));
        if removed.count() > 0 {
            self.switches().announce();
        }
    }

    pub(super) fn rule(&self, id: &RuleId) -> Option<Arc<Rule>> {
        self.snapshot().rules.iter().find(|rule| rule.id() == *id).cloned()
    }
}
