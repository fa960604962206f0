//! Reads what callers ask of the journal, in the words of a rule's `match`.

use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::rule::matcher::Condition;
use crate::rule::spec::MatchSpec;
use crate::yaml::decode::decode;
use crate::yaml::report::{Diagnostic, Report, Sources};
use crate::yaml::tree;

/// Reads a text in YAML or JSON, then makes of it what is meant.
///
/// # Errors
/// Everything that is wrong with it, with its place in the text.
pub(super) fn read<T: DeserializeOwned, U>(
    text: &str,
    make: impl FnOnce(T, &mut Vec<Diagnostic>) -> U,
) -> Result<U, Report> {
    let (mut sources, mut diagnostics) = (Sources::default(), Vec::new());
    let source = sources.add("body", text, PathBuf::new());
    // Without a look-up: callers can't read squall's environment.
    let node = tree::parse(&sources, source, None, &mut diagnostics);
    let made = node
        .and_then(|node| decode::<T>(&node, &mut diagnostics))
        .map(|value| make(value, &mut diagnostics));
    let report = Report::new(diagnostics, Arc::new(sources));
    match made {
        Some(made) if !report.has_errors() => Ok(made),
        _ => Err(report),
    }
}

/// Compiles a `match`, and adds its mistakes to the diagnostics.
pub(super) fn condition(spec: &MatchSpec, diagnostics: &mut Vec<Diagnostic>) -> Condition {
    let mut mistakes = Vec::new();
    let condition = Condition::compile(spec, &mut mistakes);
    let mistakes = mistakes.into_iter();
    diagnostics.extend(mistakes.map(|(span, message)| Diagnostic::error(span, message)));
    for body in spec.bodies() {
        let message = "`body` can't be asked of requests that are over: the journal keeps no bodies";
        let help = "ask for what their heads have, such as `path` or `headers`";
        diagnostics.push(Diagnostic::error(body.span, message).help(help));
    }
    condition
}

/// The condition that a `match` with these keys is, each with a text as it would be typed.
///
/// # Errors
/// What is wrong with the values.
pub fn condition_of(keys: &[(&str, &str)]) -> Result<Option<Condition>, Report> {
    if keys.is_empty() {
        return Ok(None);
    }
    let map: Map<String, Value> = keys
        .iter()
        .map(|(key, text)| ((*key).to_owned(), (*text).into()))
        .collect();
    // JSON is YAML, too.
    read(&Value::Object(map).to_string(), |spec: MatchSpec, diagnostics| {
        condition(&spec, diagnostics)
    })
    .map(Some)
}
