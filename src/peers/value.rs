//! Reading and writing nodes: keys without regard to their spelling, numbers, and values in YAML's flow style.

use std::slice;

use crate::yaml::tree::{Node, Value};

/// The longest value that a line repeats; `…` stands for a longer one.
const LONGEST: usize = 240;

/// What a line has in place of a value that is too long for it.
pub(super) const CUT: &str = "…";

/// A key without its spelling: `fixed_delay`, `fixed-delay` and `fixedDelay` are one word.
pub(super) fn plain(key: &str) -> String {
    let letters = key.chars().filter(|letter| !matches!(letter, '_' | '-' | ' '));
    letters.flat_map(char::to_lowercase).collect()
}

/// The entries of a map; nothing for other nodes.
pub(super) fn entries(node: &Node) -> impl Iterator<Item = (&str, &Node)> {
    let entries = match &node.value {
        Value::Map(entries) => entries.as_slice(),
        _ => &[],
    };
    entries.iter().filter_map(|(key, value)| Some((key.text()?, value)))
}

/// The items of a list, or the node itself.
pub(super) fn items(node: &Node) -> &[Node] {
    match &node.value {
        Value::Seq(items) => items,
        _ => slice::from_ref(node),
    }
}

/// The value of the first of these words that a map has, however it spells them.
pub(super) fn first<'a>(map: &'a Node, words: &[&str]) -> Option<&'a Node> {
    let one = |word: &&str| entries(map).find(|(key, _)| plain(key) == **word);
    words.iter().find_map(one).map(|(_, value)| value)
}

/// The text of the first of these words.
pub(super) fn text<'a>(map: &'a Node, words: &[&str]) -> Option<&'a str> {
    first(map, words).and_then(Node::text)
}

/// A number, as a number or a text.
pub(super) fn number(node: &Node) -> Option<f64> {
    let number: f64 = node.text()?.trim().parse().ok()?;
    number.is_finite().then_some(number)
}

/// Whether a node is a flag that is on.
pub(super) fn is_true(node: &Node) -> bool {
    node.text() == Some("true")
}

/// Whether a node is a map or a list.
pub(super) fn is_nested(node: &Node) -> bool {
    matches!(node.value, Value::Map(_) | Value::Seq(_))
}

/// A scalar as a line has it, or an example where there is none.
pub(super) fn word(node: &Node, example: &str) -> String {
    match node.text() {
        Some(text) if !text.is_empty() => flow(node),
        _ => example.to_owned(),
    }
}

/// A value in YAML's flow style, which is JSON but for the quotes that a short word can do without.
pub(super) fn flow(node: &Node) -> String {
    let text = match &node.value {
        Value::Null | Value::Unusable => "null".to_owned(),
        Value::Seq(items) => list(items.iter().map(flow)),
        Value::Map(_) => map(entries(node).map(|(key, value)| (quoted(key), flow(value)))),
        Value::String(text) if !node.is_plain() => quoted(text),
        _ => match node.text() {
            // What is plain in a block is not always plain in a flow.
            Some(text) if is_plain(text) => text.to_owned(),
            text => json(text.unwrap_or_default()),
        },
    };
    if text.chars().count() > LONGEST || text.contains('`') {
        CUT.to_owned()
    } else {
        text
    }
}

/// `[a, b]`
pub(super) fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(", "))
}

/// `{a: 1, b: 2}`
pub(super) fn map<K: AsRef<str>>(entries: impl IntoIterator<Item = (K, String)>) -> String {
    let entries = entries
        .into_iter()
        .map(|(key, value)| format!("{}: {value}", key.as_ref()));
    format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
}

/// A text that stays a text: with quotes if it would be something else without them.
pub(super) fn quoted(text: &str) -> String {
    let is_other = text.parse::<f64>().is_ok() || matches!(text, "true" | "false" | "null" | "" | "~");
    if is_other || !is_plain(text) {
        json(text)
    } else {
        text.to_owned()
    }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether a text needs no quotes anywhere.
fn is_plain(text: &str) -> bool {
    let starts = |letter: char| letter.is_ascii_alphanumeric() || "/._".contains(letter);
    let may_have = |letter: char| letter.is_alphanumeric() || "/._-%*+ ".contains(letter);
    let is_negative = text.starts_with('-') && text.parse::<f64>().is_ok();
    (text.starts_with(starts) && !text.ends_with(' ') && text.chars().all(may_have)) || is_negative
}
