//! What a scenario may do to the rules of a running squall.

use std::future::Future;
use std::sync::Arc;

use serde_json::Value;

/// A rule of the configuration in force.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleNow {
    /// The rule's unique name.
    pub name: Arc<str>,
    /// Whether it is switched on.
    pub enabled: bool,
    /// The rule as typed, as JSON.
    pub spec: Value,
}

/// Changes the rules of a running squall. All changes name a rule, and are undone by [`Steer::restore`].
pub trait Steer: Send + Sync + 'static {
    /// What is needed to put rules back as they were.
    type Saved: Send + Sync;

    /// The rules in force, in their order.
    fn rules(&self) -> Vec<RuleNow>;

    /// A rule in force by name; `None` if it does not exist, or no longer.
    fn rule(&self, name: &str) -> Option<RuleNow> {
        self.rules().into_iter().find(|rule| *rule.name == *name)
    }

    /// The seed of all draws.
    fn seed(&self) -> u64;

    /// The hash of the configuration in force.
    fn config_hash(&self) -> String;

    /// Checks that a rule could be put, without putting it.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    fn try_put(&self, rule: &Value) -> impl Future<Output = Result<(), String>> + Send;

    /// What some rules are now, to put them back later.
    fn save(&self, names: &[Arc<str>]) -> Self::Saved;

    /// Puts rules back as they were when they were saved, their switches included.
    ///
    /// # Errors
    /// Why that is not possible, in words.
    fn restore(&self, names: &[Arc<str>], saved: &Self::Saved) -> impl Future<Output = Result<(), String>> + Send;

    /// Resets the counters and remembered keys of rules, so that a scenario begins the same each time. Rules that don't exist
    /// yet are left out.
    ///
    /// # Errors
    /// Why that is not possible, in words.
    fn reset(&self, names: &[Arc<str>]) -> impl Future<Output = Result<(), String>> + Send;

    /// Switches a rule on or off; `None` puts its switch back as configured.
    ///
    /// # Errors
    /// The rule does not exist.
    fn switch(&self, name: &Arc<str>, on: Option<bool>) -> impl Future<Output = Result<(), String>> + Send;

    /// Changes members of a rule as typed, by a merge patch (RFC 7396).
    ///
    /// # Errors
    /// The rule does not exist, or would not be valid.
    fn patch(&self, name: &Arc<str>, patch: Value) -> impl Future<Output = Result<(), String>> + Send;

    /// Adds a rule, or replaces the one of its name.
    ///
    /// # Errors
    /// The rule is not valid.
    fn put(&self, name: &Arc<str>, rule: &Value) -> impl Future<Output = Result<(), String>> + Send;

    /// Why all injection is stopped, if it is: by the stop switch, or by a guard.
    fn halted(&self) -> Option<String>;
}
