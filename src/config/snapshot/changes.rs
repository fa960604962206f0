//! What a reload has changed, in one line for people.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Snapshot;
use crate::rule::spec::RuleSpec;

impl Snapshot {
    /// What is different in the file of `next`: "rules: 1 added, 1 changed, 4 unchanged; seed 1 -> 2".
    pub fn changes_to(&self, next: &Snapshot) -> String {
        let mut parts = Vec::new();
        let (old, new) = (File::of(self), File::of(next));
        let (before, after) = (&old.rules, &new.rules);
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
        } else if old.ids != new.ids {
            parts.push("rules: in another order".to_owned());
        }
        if self.seed != next.seed {
            parts.push(format!("seed {} -> {}", self.seed.0, next.seed.0));
        }
        let sections: Vec<String> = old.differing_sections(&new).into_iter().collect();
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

/// The file of a snapshot, in a form that can be compared.
struct File<'a> {
    /// The names of the rules, in order.
    ids: Vec<Id<'a>>,
    rules: BTreeMap<Id<'a>, Value>,
    /// The values of the other top-level keys, without the seed.
    sections: Map<String, Value>,
}

impl File<'_> {
    fn of(snapshot: &Snapshot) -> File<'_> {
        let spec = serde_json::to_value(&*snapshot.spec).unwrap_or_default();
        let Value::Object(mut sections) = spec else {
            return File {
                ids: Vec::new(),
                rules: BTreeMap::new(),
                sections: Map::new(),
            };
        };
        sections.remove("seed");
        let rules = match sections.remove("rules") {
            Some(Value::Array(rules)) => rules,
            _ => Vec::new(),
        };
        let ids: Vec<Id<'_>> = snapshot.spec.rules.iter().map(id).collect();
        File {
            rules: ids.iter().copied().zip(rules).collect(),
            ids,
            sections,
        }
    }

    /// The other top-level keys whose values differ.
    fn differing_sections(&self, other: &File<'_>) -> BTreeSet<String> {
        let keys = self.sections.keys().chain(other.sections.keys());
        let differs = |key: &&String| self.sections.get(*key) != other.sections.get(*key);
        keys.filter(differs).cloned().collect()
    }
}

fn id(rule: &RuleSpec) -> Id<'_> {
    (rule.space(), &rule.name.value)
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
