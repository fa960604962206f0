//! Two mistakes in one file are both reported, and nothing else is: what one of them breaks must not hide the other.

use squall::config::load_text;
use squall::config::snapshot::Inputs;
use squall::metrics::Metrics;
use squall::yaml::report::{Severity, Sources};
use squall::yaml::tree::{self, Node, Value};
use std::collections::BTreeSet;
use std::time::Instant;

/// How far apart in the list of cases the mistakes of a pair are.
const DISTANCES: [usize; 3] = [1, 31, 101];

/// Cases about a rule as a whole, which another case's keys complete or make doubtful.
const OF_WHOLE_RULES: [&str; 12] = [
    "rule_without_name",
    "rule_without_name_and_more",
    "rule_without_faults",
    "rule_empty_faults",
    "rule_faults_and_choose",
    "choose_no_weight",
    "choose_nothing",
    "match_nothing",
    "two_in_a_rule",
    "conditions_beside_match",
    "rule_unknown_key",
    "handshake_concurrency",
];

/// YAML that can be put together and written again.
#[derive(Clone, PartialEq)]
enum Yaml {
    /// A scalar as it is written.
    Plain(String),
    Text(String),
    Seq(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

#[test]
fn both_mistakes_of_a_file_are_reported() {
    let parts: Vec<(&str, Yaml)> = super::cases()
        .into_iter()
        // What is not found may be in the missing file.
        .filter(|(name, _)| *name != "include_missing_with_its_upstream")
        .filter_map(|(name, text)| Some((name, parse(&text)?)))
        .filter(|(_, document)| {
            document
                .get("listeners")
                .is_some_and(|listeners| !listeners.entries().is_empty())
        })
        .collect();
    assert!(parts.len() > 200, "only {} cases can be combined", parts.len());
    // Each twice, so that the names and addresses of a pair differ. Both are loaded alone first.
    let twice = |(name, part): &(&'static str, Yaml)| {
        let both = [renamed(part, "A", "127.0.1.1"), renamed(part, "B", "127.0.2.1")];
        (*name, both.map(|part| (errors(&part), part)))
    };
    let parts: Vec<_> = parts.iter().map(twice).collect();
    let (mut wrong, mut pairs) = (Vec::new(), 0);
    for (at, (first, [(mistakes, one), _])) in parts.iter().enumerate() {
        for (second, [_, (others, other)]) in DISTANCES.iter().filter_map(|distance| parts.get(at + distance)) {
            let Some(both) = together(one, other) else { continue };
            let expected: BTreeSet<String> = mistakes.union(others).cloned().collect();
            let found = errors(&both);
            pairs += 1;
            if found != expected {
                let missing: Vec<_> = expected.difference(&found).collect();
                let more: Vec<_> = found.difference(&expected).collect();
                wrong.push(format!(
                    "{first} and {second}: missing {missing:#?}, too many {more:#?}"
                ));
            }
        }
    }
    assert!(pairs > 500, "only {pairs} pairs");
    assert!(
        wrong.is_empty(),
        "{} of {pairs} pairs:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn both_mistakes_of_a_rule_are_reported() {
    let rules: Vec<(&str, Yaml)> = super::cases()
        .into_iter()
        .filter(|(name, _)| !OF_WHOLE_RULES.contains(name))
        .filter_map(|(name, text)| Some((name, parse(&text)?)))
        .filter(|(_, document)| shell(document) == shell(&parse(&super::rule("faults: [delay: 1s]\n")).unwrap()))
        .filter(|(_, document)| document.get("rules").is_some_and(|rules| rules.items().len() == 1))
        .collect();
    let (mut wrong, mut pairs) = (Vec::new(), 0);
    for (at, (first, one)) in rules.iter().enumerate() {
        for (second, other) in DISTANCES.iter().filter_map(|distance| rules.get(at + distance)) {
            let Some(both) = one_rule(one, other) else { continue };
            let expected: BTreeSet<String> = errors(one).union(&errors(other)).cloned().collect();
            let found = errors(&both);
            pairs += 1;
            let missing: Vec<_> = expected.difference(&found).collect();
            if !missing.is_empty() {
                wrong.push(format!(
                    "{first} and {second}: missing {missing:#?} in {}",
                    both.written()
                ));
            }
        }
    }
    assert!(pairs > 20, "only {pairs} pairs");
    assert!(
        wrong.is_empty(),
        "{} of {pairs} pairs:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The messages of the errors of a document.
fn errors(document: &Yaml) -> BTreeSet<String> {
    let metrics = Metrics::new().unwrap();
    let text = document.written();
    let Err(report) = load_text("squall.yaml", &text, Inputs::new(&metrics, Instant::now())) else {
        return BTreeSet::new();
    };
    let errors = report
        .diagnostics()
        .iter()
        .filter(|one| one.severity == Severity::Error);
    errors.map(|error| error.message.clone()).collect()
}

/// A text without mistakes of YAML itself.
fn parse(text: &str) -> Option<Yaml> {
    let (mut sources, mut diagnostics) = (Sources::default(), Vec::new());
    let source = sources.add("squall.yaml", text, ".");
    let node = tree::parse(&sources, source, Some(&|_| None), &mut diagnostics)?;
    diagnostics.is_empty().then(|| Yaml::of(&node))
}

/// A document whose names, references and addresses are its own.
fn renamed(document: &Yaml, suffix: &str, host: &str) -> Yaml {
    let mut document = document.clone();
    document.change_texts(&|text| text.replace("127.0.0.1", host));
    let own: Vec<Yaml> = document
        .get("listeners")
        .map_or(&[][..], Yaml::entries)
        .iter()
        .map(|(name, _)| Yaml::Text(format!("{name}{suffix}")))
        .collect();
    let name = |name: &mut Yaml| name.change_texts(&|text| format!("{text}{suffix}"));
    for top in ["listeners", "upstreams"] {
        for (key, entry) in document.get_mut(top).map_or(&mut [][..], Yaml::entries_mut) {
            key.push_str(suffix);
            let routes = entry.get_mut("routes").map_or(&mut [][..], Yaml::items_mut);
            routes
                .iter_mut()
                .filter_map(|route| route.get_mut("upstream"))
                .for_each(name);
            entry.get_mut("upstream").into_iter().for_each(name);
        }
    }
    for rule in document.get_mut("rules").map_or(&mut [][..], Yaml::items_mut) {
        for key in ["name", "listener", "upstream"] {
            rule.get_mut(key).into_iter().for_each(name);
        }
        let is_for_all = rule.get("listener").is_none();
        if let Yaml::Map(entries) = rule
            && is_for_all
        {
            entries.push(("listener".to_owned(), Yaml::Seq(own.clone())));
        }
    }
    document
}

/// One document of two, if no setting is in both.
fn together(one: &Yaml, other: &Yaml) -> Option<Yaml> {
    let mut all = one.entries().to_vec();
    for (key, value) in other.entries() {
        match (
            all.iter_mut().find(|(known, _)| known == key).map(|(_, known)| known),
            value,
        ) {
            (None, _) => all.push((key.clone(), value.clone())),
            (Some(Yaml::Map(known)), Yaml::Map(more)) if key == "listeners" || key == "upstreams" => {
                known.extend(more.iter().cloned())
            }
            (Some(Yaml::Seq(known)), Yaml::Seq(more)) => known.extend(more.iter().cloned()),
            _ => return None,
        }
    }
    Some(Yaml::Map(all))
}

/// A document without its rules.
fn shell(document: &Yaml) -> Vec<(String, Yaml)> {
    document
        .entries()
        .iter()
        .filter(|(key, _)| key != "rules")
        .cloned()
        .collect()
}

/// One rule of two, if no key of it is in both but the faults that stand for any.
fn one_rule(one: &Yaml, other: &Yaml) -> Option<Yaml> {
    let any = parse("[delay: 1s]")?;
    let mut rule = one.get("rules")?.items().first()?.entries().to_vec();
    for (key, value) in other.get("rules")?.items().first()?.entries() {
        match rule.iter_mut().find(|(known, _)| known == key) {
            None => rule.push((key.clone(), value.clone())),
            Some((_, known)) if known == value || *value == any => {}
            Some((_, known)) if *known == any => *known = value.clone(),
            Some(_) => return None,
        }
    }
    let mut document = shell(one);
    document.push(("rules".to_owned(), Yaml::Seq(vec![Yaml::Map(rule)])));
    Some(Yaml::Map(document))
}

impl Yaml {
    fn of(node: &Node) -> Yaml {
        match &node.value {
            Value::Seq(items) => Yaml::Seq(items.iter().map(Yaml::of).collect()),
            Value::Map(entries) => {
                let entry = |(key, value): &(Node, Node)| (key.text().unwrap().to_owned(), Yaml::of(value));
                Yaml::Map(entries.iter().map(entry).collect())
            }
            Value::String(text) => Yaml::Text(text.to_string()),
            _ => Yaml::Plain(node.text().unwrap_or("null").to_owned()),
        }
    }

    fn written(&self) -> String {
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        match self {
            Yaml::Plain(text) => text.clone(),
            Yaml::Text(text) => quoted(text),
            Yaml::Seq(items) => format!("[{}]", items.iter().map(Yaml::written).collect::<Vec<_>>().join(", ")),
            Yaml::Map(entries) => {
                let written = |(key, value): &(String, Yaml)| format!("{}: {}", quoted(key), value.written());
                format!("{{{}}}", entries.iter().map(written).collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn change_texts(&mut self, change: &dyn Fn(&str) -> String) {
        match self {
            Yaml::Plain(_) => {}
            Yaml::Text(text) => *text = change(text),
            Yaml::Seq(items) => items.iter_mut().for_each(|item| item.change_texts(change)),
            Yaml::Map(entries) => entries.iter_mut().for_each(|(_, value)| value.change_texts(change)),
        }
    }

    fn entries(&self) -> &[(String, Yaml)] {
        match self {
            Yaml::Map(entries) => entries,
            _ => &[],
        }
    }

    fn entries_mut(&mut self) -> &mut [(String, Yaml)] {
        match self {
            Yaml::Map(entries) => entries,
            _ => &mut [],
        }
    }

    fn items(&self) -> &[Yaml] {
        match self {
            Yaml::Seq(items) => items,
            _ => &[],
        }
    }

    fn items_mut(&mut self) -> &mut [Yaml] {
        match self {
            Yaml::Seq(items) => items,
            _ => &mut [],
        }
    }

    fn get(&self, key: &str) -> Option<&Yaml> {
        self.entries()
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut Yaml> {
        let entries = self.entries_mut().iter_mut();
        entries.filter(|(known, _)| known == key).map(|(_, value)| value).next()
    }
}
