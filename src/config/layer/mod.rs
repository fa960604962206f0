//! What the API has added to the file's configuration: rules, and spaces with their listeners.
//!
//! The file and the API are two layers. A reload replaces the file's, a change through the API its own; so neither undoes the
//! other. A rule of the API with the id of one in the file *shadows* it, in its place, until it is removed. Other rules of the API are
//! decided before the file's.
//!
//! A layer never changes: a [`Draft`] makes the next one, which comes into force as a whole or not at all.

pub mod draft;
mod spaces;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::guard::Guard;
use crate::proxy::net::address::AddressSpec;
use crate::rule::decide::Rule;
use crate::rule::id::RuleId;
use crate::rule::spec::RuleSpec;
use crate::yaml::report::Sources;

pub use self::draft::{Draft, Refusal, Which};

/// The most rules that the API can add.
pub const MAX_RULES: usize = 10_000;
/// The most spaces at once.
pub const MAX_SPACES: usize = 1_000;
/// The most listeners of all spaces.
pub const MAX_LISTENERS: usize = 256;

/// The rules and spaces that the API has added.
#[derive(Debug, Clone, Default)]
pub struct ApiLayer {
    /// In the order of their decisions.
    rules: Vec<Arc<ApiRule>>,
    spaces: BTreeMap<Arc<str>, Arc<Space>>,
}

/// A rule of the API.
#[derive(Debug, Clone)]
pub struct ApiRule {
    /// What tells it from others.
    pub id: RuleId,
    /// The rule as it was typed.
    pub spec: Arc<RuleSpec>,
    /// The text that positions in the spec point into.
    pub sources: Arc<Sources>,
    /// When it vanishes by itself.
    pub expires: Option<Instant>,
    /// The revision of its last change.
    pub revision: u64,
    /// The conditions that stop it.
    pub guards: Vec<Arc<Guard>>,
    /// What it has in fields for secrets.
    pub secrets: Vec<String>,
    /// The compiled rule, or why it is not in force: since a reload it does not fit the file.
    pub rule: Result<Arc<Rule>, String>,
    /// The rule as it was last in force, while it is not: its switch and what it has counted wait for the next reload.
    pub last: Option<Arc<Rule>>,
}

/// A space: a name that requests carry, and what belongs to it besides its rules.
#[derive(Debug, Clone, Default)]
pub struct Space {
    /// How long it lives after a change of it or of its rules.
    pub ttl: Option<Duration>,
    /// When it vanishes, with all that belongs to it.
    pub expires: Option<Instant>,
    /// The listeners whose requests are in the space, whatever they name.
    pub listeners: Vec<SpaceListener>,
    /// Whether it is there only because rules are in it.
    pub of_rules: bool,
}

/// A listener of a space: a copy of one in the file, at another address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceListener {
    /// The name of the file's listener.
    pub of: Arc<str>,
    /// The name of the copy.
    pub name: Arc<str>,
    /// The address that it listens on.
    pub address: AddressSpec,
}

impl ApiLayer {
    /// All its rules, in the order of their decisions.
    pub fn rules(&self) -> &[Arc<ApiRule>] {
        &self.rules
    }

    /// The rule with this id.
    pub fn rule(&self, id: &RuleId) -> Option<&Arc<ApiRule>> {
        self.rules.iter().find(|rule| rule.id == *id)
    }

    /// Its rules that fit the file.
    pub fn in_force(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.iter().filter_map(|rule| rule.rule.as_ref().ok())
    }

    /// The spaces, by name.
    pub fn spaces(&self) -> &BTreeMap<Arc<str>, Arc<Space>> {
        &self.spaces
    }

    /// The listeners of all spaces, each with its space.
    pub fn listeners(&self) -> impl Iterator<Item = (&Arc<str>, &SpaceListener)> {
        let of = |(name, space)| Space::listeners(space).iter().map(move |listener| (name, listener));
        self.spaces.iter().flat_map(of)
    }

    /// When the next rule or space vanishes.
    pub fn next_expiry(&self) -> Option<Instant> {
        let rules = self.rules.iter().filter_map(|rule| rule.expires);
        rules
            .chain(self.spaces.values().filter_map(|space| space.expires))
            .min()
    }
}

impl ApiRule {
    /// The rule in force, or else the one that was last.
    fn known(&self) -> Option<&Arc<Rule>> {
        self.rule.as_ref().ok().or(self.last.as_ref())
    }
}

impl Space {
    fn listeners(space: &Arc<Space>) -> &[SpaceListener] {
        &space.listeners
    }
}

#[cfg(test)]
mod tests;
