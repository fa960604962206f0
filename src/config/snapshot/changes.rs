//! What a reload has changed, in one line for people.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Snapshot;
use crate::rule::spec::RuleSpec;

impl Snapshot {
    /// What is different in the file of `next`: "rules: 1 added, 1 changed, 4 unchanged; seed 1 -> 2".
    pub fn changes_to(&self, next: &Snapshot) -> String {
        let mut parts = Vec::new();
        let (before, after) = (rules(self), rules(next));
        let added = after.keys().filter(|id| !before.contains_key(*id)).count();
        let removed = before.keys().filter(|id| !after.contains_key(*id)).count();
        let same = |(id, rule): &(&Id<'_>, &Value)| before.get(*id) == Some(*rule);
        let unchanged = after.iter().filter(same).count();
        let changed = after.len() - added - unchanged;
        if added + removed + changed > 0 {
            let counts = [
                (added, "added"),
                (changed, "changed"),
                (removed, "removed"),
                (unchanged, "unchanged"),
            ];
            let counts = counts.into_iter().filter(|(count, _)| *count > 0);
            let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
            parts.push(format!("rules: {}", counts.join(", ")));
        } else if ids(self) != ids(next) {
            parts.push("rules: in another order".to_owned());
        }
        if self.seed != next.seed {
            parts.push(format!("seed {} -> {}", self.seed.0, next.seed.0));
        }
        let sections = sections(self, next);
        if !sections.is_empty() {
            parts.push(format!("changed: {}", sections.join(", ")));
        }
        if parts.is_empty() {
            return "nothing has changed".to_owned();
        }
        parts.join("; ")
    }
}

/// A rule's space and name.
type Id<'a> = (Option<&'a str>, &'a str);

fn id(rule: &RuleSpec) -> Id<'_> {
    (rule.space(), &rule.name.value)
}

fn ids(snapshot: &Snapshot) -> Vec<Id<'_>> {
    snapshot.spec.rules.iter().map(id).collect()
}

fn rules(snapshot: &Snapshot) -> BTreeMap<Id<'_>, Value> {
    let rules = snapshot.spec.rules.iter();
    rules
        .map(|rule| (id(rule), serde_json::to_value(rule).unwrap_or_default()))
        .collect()
}

/// The other top-level keys whose values differ.
fn sections(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let value = |snapshot: &Snapshot| serde_json::to_value(&*snapshot.spec).unwrap_or_default();
    let (before, after) = (value(before), value(after));
    let keys = |value: &Value| {
        value
            .as_object()
            .map(|keys| keys.keys().cloned().collect())
            .unwrap_or_default()
    };
    let (mut all, more): (BTreeSet<String>, BTreeSet<String>) = (keys(&before), keys(&after));
    all.extend(more);
    let different = |key: &String| !matches!(&**key, "rules" | "seed") && before.get(key) != after.get(key);
    all.into_iter().filter(different).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::Snapshot;
    use crate::config;
    use crate::config::snapshot::Inputs;
    use crate::metrics::Metrics;

    fn snapshot(text: &str) -> Snapshot {
        let metrics = Metrics::new().unwrap();
        config::load_text("squall.yaml", text, Inputs::new(&metrics, Instant::now()))
            .unwrap_or_else(|report| panic!("{}", report.render(false)))
    }

    const BEFORE: &str = "
seed: 1
listeners: {web: {address: 127.0.0.1:0, upstream: app}}
upstreams: {app: {fake: echo}}
rules:
  - {name: a, match: {path: /a}, faults: [{abort: 500}]}
  - {name: b, match: {path: /b}, faults: [{abort: 500}]}
  - {name: c, match: {path: /c}, faults: [{abort: 500}]}
";

    #[test]
    fn what_differs_is_told() {
        let told = |changes: &[(&str, &str)]| {
            let after = changes
                .iter()
                .fold(BEFORE.to_owned(), |text, (from, to)| text.replace(from, to));
            snapshot(BEFORE).changes_to(&snapshot(&after))
        };
        assert_eq!(told(&[("\nrules", "\n# a comment\nrules")]), "nothing has changed");
        assert_eq!(told(&[("seed: 1", "seed: 2")]), "seed 1 -> 2");
        assert_eq!(
            told(&[
                ("name: a", "name: d"),
                ("/b}, faults: [{abort: 500}]}", "/b}, faults: [{abort: 501}]}")
            ]),
            "rules: 1 added, 1 changed, 1 removed, 1 unchanged"
        );
        assert_eq!(
            told(&[
                ("a, match: {path: /a}", "x"),
                ("b, match: {path: /b}", "a, match: {path: /a}"),
                ("x", "b, match: {path: /b}")
            ]),
            "rules: in another order"
        );
        assert_eq!(
            told(&[("echo", "httpbin"), ("\nrules", "\nbounds: {delay: 1m}\nrules")]),
            "changed: bounds, upstreams"
        );
    }
}
