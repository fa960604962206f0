//! The rules of one listener that are decided at one stage, as requests meet them: those of the request's space first, then those
//! for everybody.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::decide::{BodyWanted, Drawn, Rule, RuleSet};
use super::plan::Plan;
use super::state::Memory;
use crate::draw::head::{Head, space_of};

/// The rules of everybody, and those of each space.
#[derive(Debug, Default, Clone)]
pub struct RuleSets {
    everybody: Arc<RuleSet>,
    spaces: HashMap<Arc<str>, Arc<RuleSet>>,
    /// The space of the listener, which all its requests are in.
    listener: Option<Arc<str>>,
    concerns_body: bool,
}

impl RuleSets {
    /// Sorts rules by their space. `listener` is the space of the listener, if it has one. Where nothing has changed, the sets of
    /// `previous` are kept, since an index takes time to build.
    pub fn new(rules: Vec<Arc<Rule>>, listener: Option<Arc<str>>, previous: Option<&RuleSets>) -> RuleSets {
        let mut everybody = Vec::new();
        let mut spaces: HashMap<Arc<str>, Vec<Arc<Rule>>> = HashMap::new();
        for rule in rules {
            match &rule.space {
                None => everybody.push(rule),
                Some(space) if listener.as_ref().is_none_or(|own| own == space) => {
                    spaces.entry(Arc::clone(space)).or_default().push(rule);
                }
                Some(_) => {}
            }
        }
        let set = |rules: Vec<Arc<Rule>>, before: Option<&Arc<RuleSet>>| match before {
            Some(before) if before.is_of(&rules) => Arc::clone(before),
            _ => Arc::new(RuleSet::new(rules)),
        };
        let spaces = spaces.into_iter().map(|(space, rules)| {
            let before = previous.and_then(|previous| previous.spaces.get(&space));
            let set = set(rules, before);
            (space, set)
        });
        let spaces: HashMap<_, _> = spaces.collect();
        let everybody = set(everybody, previous.map(|previous| &previous.everybody));
        let concerns_body = everybody.concerns_body() || spaces.values().any(|set| set.concerns_body());
        RuleSets {
            concerns_body,
            spaces,
            everybody,
            listener,
        }
    }

    /// Whether both have the same rules.
    pub fn is_same(&self, other: &RuleSets) -> bool {
        let same = |(space, set)| other.spaces.get(space).is_some_and(|other| Arc::ptr_eq(set, other));
        Arc::ptr_eq(&self.everybody, &other.everybody)
            && self.listener == other.listener
            && self.spaces.len() == other.spaces.len()
            && self.spaces.iter().all(same)
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.everybody.rules().is_empty() && self.spaces.is_empty()
    }

    /// Any of the rules: all share what [`Memory::arrive`] counts.
    pub fn any(&self) -> Option<&Arc<Rule>> {
        let sets = [&self.everybody].into_iter().chain(self.spaces.values());
        sets.flat_map(|set| set.rules()).next()
    }

    /// Whether a rule depends on what a client says in its TLS handshake.
    pub fn concerns_hello(&self) -> bool {
        self.everybody.concerns_hello() || self.spaces.values().any(|set| set.concerns_hello())
    }

    /// What the body of a request is needed for, which was not looked at yet; `None` if it can be decided without.
    pub fn body_wanted(&self, head: &Head<'_>) -> Option<BodyWanted> {
        if !self.concerns_body {
            return None;
        }
        let mut wanted = BodyWanted::default();
        self.of(head).for_each(|set| set.want_body(head, &mut wanted));
        (!wanted.rules.is_empty()).then_some(wanted)
    }

    /// The space that a request is in: that of the listener, or else the one that it names.
    pub fn space<'a>(&'a self, head: &'a Head<'_>) -> Option<Cow<'a, str>> {
        match &self.listener {
            Some(space) => Some(Cow::Borrowed(&**space)),
            None => space_of(head.headers),
        }
    }

    /// The sets that concern a request. Without rules of spaces, nothing is looked for in its head.
    fn of(&self, head: &Head<'_>) -> impl Iterator<Item = &RuleSet> {
        let own = if self.spaces.is_empty() {
            None
        } else {
            self.space(head).and_then(|space| self.spaces.get(&*space))
        };
        own.into_iter().chain([&self.everybody]).map(|set| &**set)
    }

    /// The rules that match a head, in the order of their decisions.
    pub fn matching(&self, head: &Head<'_>) -> impl Iterator<Item = &Arc<Rule>> {
        self.of(head).flat_map(|set| set.matching(head))
    }

    /// Decides what happens to a request; `None` if no rule hits it.
    pub fn decide(&self, head: &Head<'_>, memory: &impl Memory) -> Option<Box<Plan>> {
        self.decide_noting(head, memory, |_, _| {})
    }

    /// [Decides](RuleSets::decide), and calls `missed` with each rule that matches but does not hit.
    pub fn decide_noting(
        &self,
        head: &Head<'_>,
        memory: &impl Memory,
        mut missed: impl FnMut(&Arc<Rule>, &Drawn),
    ) -> Option<Box<Plan>> {
        memory.arrive(self.any()?);
        let mut plan = Plan::default();
        let mut ended = false;
        for set in self.of(head) {
            set.decide(head, memory, (&mut plan, &mut ended), &mut missed);
        }
        (!plan.is_empty()).then(|| Box::new(plan))
    }
}

impl FromIterator<Arc<Rule>> for RuleSets {
    fn from_iter<I: IntoIterator<Item = Arc<Rule>>>(rules: I) -> Self {
        RuleSets::new(rules.into_iter().collect(), None, None)
    }
}
