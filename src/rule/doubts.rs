//! What is valid, and likely to be meant otherwise.

use super::spec::{FieldSpec, MatchSpec, TextSpec};
use super::text::path_hint;
use crate::yaml::decode::Named;
use crate::yaml::report::{Diagnostic, Span};
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

/// Patterns that match only what hardly any request has, also in the conditions within.
pub fn of_match(spec: &MatchSpec) -> Vec<(Span, String)> {
    let path = spec.path.iter();
    let path = path.filter_map(|path| Some((path.span, path_hint(&path.value)?)));
    let fields = [&spec.headers, &spec.query, &spec.cookies].into_iter().flatten();
    let any = fields.flat_map(Named::iter).filter_map(|(name, field)| {
        let is_star = matches!(&field.value, FieldSpec::Value(TextSpec::Plain(text)) if text == "*");
        let name = &name.value;
        let message = || format!("`{name}: \"*\"` is for the value `*` only: use `{name}: present`");
        is_star.then(|| (field.span, message()))
    });
    let within = spec.within().flat_map(of_match);
    path.chain(any).chain(within).collect()
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
