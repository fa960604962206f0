//! Values as other tools write them, in squall's units: milliseconds without a unit, shares from 0 to 1, shares in maps.

use std::time::Duration;

use crate::yaml::tree::{Node, Value};
use crate::yaml::units::{ByteSize, Percentage, Time};

/// A number, as a number or a text.
pub(super) fn number(node: &Node) -> Option<f64> {
    node.text()?
        .trim()
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

/// A time; a number without a unit counts `unit`s.
pub(super) fn time(node: &Node, unit: Duration) -> Option<Time> {
    match number(node) {
        Some(number) => Duration::try_from_secs_f64(number * unit.as_secs_f64())
            .ok()
            .map(Time::saturating),
        None => node.text()?.parse().ok(),
    }
}

/// A time; a number without a unit counts milliseconds.
pub(super) fn ms(node: &Node) -> Option<Time> {
    time(node, Duration::from_millis(1))
}

/// A time in words, or an example where there is none.
pub(super) fn ms_or(node: &Node, example: &str) -> String {
    ms(node).map_or_else(|| example.to_owned(), |time| time.to_string())
}

/// The value of the first of these keys that a map has.
pub(super) fn first<'a>(map: &'a Node, keys: &[&str]) -> Option<&'a Node> {
    keys.iter().find_map(|key| map.get(key))
}

/// A share of which 1 is all: a probability.
pub(super) fn probability(node: &Node) -> String {
    match number(node) {
        Some(number) if number <= 1.0 => percentage(number * 100.0),
        _ => percent(node),
    }
}

/// A share of which 100 is all, also as Istio's `{value: 10}` and Envoy's `{numerator: 10, denominator: HUNDRED}`.
pub(super) fn percent(node: &Node) -> String {
    if let Some(inner) = first(node, &["value", "default_value"]) {
        return percent(inner);
    }
    if let Some(numerator) = node.get("numerator").and_then(number) {
        let whole = match node.get("denominator").and_then(Node::text) {
            Some("TEN_THOUSAND") => 100.0,
            Some("MILLION") => 10_000.0,
            _ => 1.0,
        };
        return percentage(numerator / whole);
    }
    let text = node.text().unwrap_or_default().trim();
    match number(node) {
        Some(number) => percentage(number),
        None if text.parse::<Percentage>().is_ok() => text.to_owned(),
        None => "10%".to_owned(),
    }
}

fn percentage(percent: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is from 0 to 1,000,000"
    )]
    let ppm = (percent.clamp(0.0, 100.0) * 10_000.0).round() as u32;
    Percentage::from_ppm(ppm).to_string()
}

/// A number of bytes, or an example where there is none.
pub(super) fn size(node: Option<&Node>, example: &str) -> String {
    let size = node.and_then(Node::text).and_then(|text| text.parse::<ByteSize>().ok());
    size.map_or_else(|| example.to_owned(), |size| size.to_string())
}

/// A scalar as it is written, or an example where there is none.
pub(super) fn word(node: Option<&Node>, example: &str) -> String {
    match node.and_then(Node::text) {
        Some(text) if !text.is_empty() && !text.contains('\n') => text.to_owned(),
        _ => example.to_owned(),
    }
}

/// A value in YAML's flow style, which is JSON but for the quotes that a short word can do without. Long ones are cut out.
pub(super) fn flow(node: &Node, example: &str) -> String {
    let text = match &node.value {
        Value::Null | Value::Unusable => return example.to_owned(),
        Value::Seq(items) => {
            let items: Vec<_> = items.iter().map(|item| flow(item, "null")).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", scalar(key), flow(value, "null")));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        _ => scalar(node),
    };
    if text.len() > 80 || text.contains('`') {
        example.to_owned()
    } else {
        text
    }
}

fn scalar(node: &Node) -> String {
    let text = node.text().unwrap_or_default();
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-%*+ ".contains(letter);
    let plain = node.is_plain() || (text.starts_with(char::is_alphabetic) && !text.ends_with(' '));
    if plain && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}
