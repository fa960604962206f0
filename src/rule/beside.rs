//! Keys on the wrong side of `match`: those of a rule inside it, and conditions beside it.

use crate::yaml::decode::word::{Hint, Word};

/// The keys of a rule that may stand in its `match` by mistake.
const OF_RULES: [&str; 8] = [
    "upstream",
    "space",
    "when",
    "stop_when",
    "faults",
    "choose",
    "enabled",
    "shadow",
];

/// The conditions that may stand in a rule by mistake, without those that other tools' words lead to.
const OF_MATCH: [&str; 5] = ["body", "alpn", "any", "all", "not"];

/// What is meant by a word in a configuration file.
pub fn of_file(word: &Word<'_>) -> Option<Hint> {
    match word.path.as_slice() {
        ["listeners", _, "routes", inner @ ..] => in_match(word, inner, "route").filter(|_| word.key == "upstream"),
        ["rules", inner @ ..] => of_rule_at(word, inner),
        _ => None,
    }
}

/// What is meant by a word in a rule that stands alone, as the API takes it.
pub fn of_rule(word: &Word<'_>) -> Option<Hint> {
    of_rule_at(word, &word.path)
}

/// What is meant by a word in a scenario, whose steps may have rules of their own.
pub fn of_scenario(word: &Word<'_>) -> Option<Hint> {
    let put = word.path.iter().position(|key| *key == "put")?;
    of_rule_at(word, word.path.get(put + 1..)?)
}

/// What is meant by a word in a rule, given the keys that lead to it there.
fn of_rule_at(word: &Word<'_>, inner: &[&str]) -> Option<Hint> {
    if inner.is_empty() && !word.is_value && OF_MATCH.contains(&word.key) {
        let key = word.key;
        let help = format!("`{key}` stands in `match`: write `match: {{{key}: {}}}`", value(word));
        return Some(Hint::said(help));
    }
    in_match(word, inner, "rule")
}

/// What is meant by a key in `match`, or in the conditions within.
fn in_match(word: &Word<'_>, inner: &[&str], whole: &str) -> Option<Hint> {
    let [first, within @ ..] = inner else { return None };
    let is_condition = *first == "match" && within.iter().all(|key| ["any", "all", "not"].contains(key));
    if !is_condition || word.is_value || !OF_RULES.contains(&word.key) {
        return None;
    }
    let key = word.key;
    let help = format!(
        "`{key}` stands beside `match`, in the {whole}: write `{key}: {}` there",
        value(word)
    );
    Some(Hint::said(help))
}

/// The value of a word, in short.
fn value<'a>(word: &Word<'a>) -> &'a str {
    word.value.text().unwrap_or("…")
}
