//! Numbers that are valid, and that many take for something else.

use crate::yaml::report::Diagnostic;
use crate::yaml::tree::{Node, Value};
use crate::yaml::units::Percentage;

/// The percentages below 1 that a configuration file writes without a percent sign.
pub fn of_file(document: &Node, doubts: &mut Vec<Diagnostic>) {
    for rule in items(document.get("rules")) {
        of_rule(rule, doubts);
    }
    of_limits(document, doubts);
    of_guards(document, doubts);
}

/// The percentages below 1 that a rule writes without a percent sign.
pub fn of_rule(rule: &Node, doubts: &mut Vec<Diagnostic>) {
    if let Some(when) = rule.get("when") {
        check("percentage", when.get("percentage"), doubts);
        of_limits(when, doubts);
    }
    of_guards(rule, doubts);
}

fn of_limits(map: &Node, doubts: &mut Vec<Diagnostic>) {
    check(
        "share",
        map.get("limits").and_then(|limits| limits.get("share")),
        doubts,
    );
}

fn of_guards(map: &Node, doubts: &mut Vec<Diagnostic>) {
    for errors in items(map.get("stop_when"))
        .iter()
        .filter_map(|guard| guard.get("errors"))
    {
        check("errors", Some(errors), doubts);
        check("above", errors.get("above"), doubts);
    }
}

fn items(list: Option<&Node>) -> &[Node] {
    match list.map(|list| &list.value) {
        Some(Value::Seq(items)) => items,
        _ => &[],
    }
}

/// Warns of `0.5`, which is half a percent and may be meant for a half, as `toxicity: 0.5` is elsewhere.
fn check(key: &str, value: Option<&Node>, doubts: &mut Vec<Diagnostic>) {
    let Some((value, text)) = value.and_then(|value| Some((value, value.text()?.trim()))) else {
        return;
    };
    let Ok(percentage) = text.parse::<Percentage>() else {
        return;
    };
    let hundredfold = percentage.ppm().saturating_mul(100);
    if text.ends_with('%') || percentage == Percentage::NONE || hundredfold >= Percentage::ALL.ppm() {
        return;
    }
    let other = Percentage::from_ppm(hundredfold);
    let message = format!("`{key}: {text}` means {percentage}, not {other}");
    let help = format!("write `{key}: {percentage}` if that is meant, or `{key}: {other}`");
    doubts.push(Diagnostic::warning(value.span, message).help(help));
}
