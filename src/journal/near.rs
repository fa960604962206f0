//! Near misses: which rules almost matched a request, and which of their conditions did not hold.

use std::sync::Arc;

use super::entry::{Entry, Kind};
use super::mask;
use crate::rule::decide::Rule;
use crate::rule::matcher::Condition;
use crate::rule::stage::Stage;

/// The most near misses that are told.
pub(super) const MOST: usize = 5;

/// A rule that almost matched.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NearMiss {
    /// The name of the rule, as configured.
    pub rule: Arc<str>,
    /// The conditions that did not hold, in words.
    pub failed: Vec<String>,
}

/// The rules that would almost match a request, the closest first: those with the fewest conditions that don't hold, and of these
/// the ones with the most that do. A rule that is off counts as one condition that does not hold.
pub fn near_misses<'a>(entry: &Entry, rules: impl IntoIterator<Item = &'a Arc<Rule>>) -> Vec<NearMiss> {
    if entry.kind == Kind::Refused {
        return Vec::new();
    }
    let space = entry.space();
    let concerns = |rule: &&Arc<Rule>| {
        let here = rule.listeners.as_ref();
        here.is_none_or(|names| names.iter().any(|name| **name == *entry.listener))
            // What other tests have set up concerns nobody but them.
            && (rule.space.is_none() || space.is_none() || rule.space.as_deref() == space.as_deref())
            && (rule.stage == Stage::Request || entry.kind == Kind::Connection)
    };
    let mut misses: Vec<((usize, usize), NearMiss)> = rules
        .into_iter()
        .filter(concerns)
        .filter_map(|rule| {
            // With its body, which is not kept.
            let told = entry.unmatched.iter().find(|one| one.rule == rule.id());
            let mut failed = match told {
                Some(told) => told.failed.clone(),
                None => entry.with_head(|head| rule.condition.failures(head)),
            };
            for text in &mut failed {
                *text = mask::sentence(&entry.head, text);
            }
            let held = conditions(&rule.condition).saturating_sub(failed.len());
            failed.extend(rule.foreign_to(space.as_deref()));
            if !rule.is_on() {
                failed.push("the rule is off".to_owned());
            }
            let rule = Arc::clone(&rule.name);
            (!failed.is_empty()).then(|| ((failed.len(), usize::MAX - held), NearMiss { rule, failed }))
        })
        .collect();
    // Stable, so that equally close rules keep the order of the file.
    misses.sort_by_key(|(distance, _)| *distance);
    misses.into_iter().map(|(_, miss)| miss).take(MOST).collect()
}

/// How many conditions there are that can fail by themselves.
fn conditions(condition: &Condition) -> usize {
    match condition {
        Condition::All(all) => all.iter().map(conditions).sum(),
        _ => 1,
    }
}
