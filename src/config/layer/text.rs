//! Reads rules as they are sent to the API: JSON or YAML, in the language of the file, with a `ttl` besides.

use std::path::PathBuf;
use std::sync::Arc;

use crate::peers;
use crate::rule::id::RuleId;
use crate::rule::spec::RuleSpec;
use crate::rule::{beside, doubts};
use crate::yaml::decode::word::Word;
use crate::yaml::decode::{Spanned, decode, decode_hinted};
use crate::yaml::report::{Diagnostic, Report, Sources};
use crate::yaml::tree::{self, Node, Value};
use crate::yaml::units::Time;

/// What a request's body is called in diagnostics.
const NAME: &str = "request body";

/// A text that was sent, and where the files that it names would be.
#[derive(Debug, Clone)]
pub struct Text {
    /// The text itself, as JSON or YAML.
    pub text: String,
    /// The folder that relative paths start from.
    pub folder: PathBuf,
}

/// A rule that was read, not compiled yet.
pub(super) struct Read {
    pub(super) id: RuleId,
    pub(super) spec: RuleSpec,
    pub(super) ttl: Option<Time>,
}

/// What was read of one text, with the mistakes so far.
pub(super) struct Reading<T> {
    pub(super) value: T,
    pub(super) sources: Arc<Sources>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// Reads one rule, which has the name and the space of `id`.
pub(super) fn rule(text: Text, id: &RuleId) -> Result<Reading<Read>, Report> {
    read(text, |node, diagnostics| one(node, Some(id), diagnostics))
}

/// Reads a whole layer: `{rules: [...]}`.
pub(super) fn layer(text: Text) -> Result<Reading<Vec<Read>>, Report> {
    read(text, |mut node, diagnostics| {
        let Some((_, rules)) = node.remove("rules") else {
            let message = "`rules` is missing: a list of rules";
            diagnostics.push(Diagnostic::error(node.span, message));
            return None;
        };
        // Ignored, so that a layer that was read can be sent back.
        node.remove("revision");
        if let Value::Map(entries) = &node.value
            && let Some((key, _)) = entries.first()
        {
            diagnostics.push(Diagnostic::error(key.span, "a layer has one key, `rules`"));
        }
        let Value::Seq(rules) = rules.value else {
            diagnostics.push(Diagnostic::error(rules.span, "`rules` must be a list"));
            return None;
        };
        let read = rules.into_iter().map(|rule| one(rule, None, diagnostics));
        // All of them, so that every mistake is found.
        read.collect::<Vec<_>>().into_iter().collect()
    })
}

fn read<T>(
    Text { text, folder }: Text,
    decode: impl FnOnce(Node, &mut Vec<Diagnostic>) -> Option<T>,
) -> Result<Reading<T>, Report> {
    let (mut sources, mut diagnostics) = (Sources::default(), Vec::new());
    let source = sources.add(NAME, text, folder);
    // Without a look-up: callers can't read squall's environment.
    let node = tree::parse(&sources, source, None, &mut diagnostics);
    let value = node.and_then(|node| decode(node, &mut diagnostics));
    let sources = Arc::new(sources);
    match value {
        Some(value) => Ok(Reading {
            value,
            sources,
            diagnostics,
        }),
        None => Err(Report::new(diagnostics, sources)),
    }
}

fn one(mut node: Node, id: Option<&RuleId>, diagnostics: &mut Vec<Diagnostic>) -> Option<Read> {
    let ttl = node
        .remove("ttl")
        .filter(|(_, ttl)| !matches!(ttl.value, Value::Null))
        .and_then(|(_, ttl)| decode::<Spanned<Time>>(&ttl, diagnostics));
    if let Some(ttl) = &ttl
        && ttl.value.get().is_zero()
    {
        diagnostics.push(Diagnostic::error(ttl.span, "`ttl` must be longer than 0s"));
    }
    if let Some(id) = id {
        let given = [("name", Some(&id.name)), ("space", id.space.as_ref())];
        for (key, value) in given {
            match (node.get(key), value) {
                (None, Some(value)) => node.insert(key, Node::implied(value, node.span)),
                (Some(typed), _) if typed.text() != value.map(|value| &**value) => {
                    let other = value.map_or("none".to_owned(), |value| format!("`{value}`"));
                    let message = format!("the {key} differs from the one that the request is about: {other}");
                    diagnostics.push(Diagnostic::error(typed.span, message));
                }
                _ => {}
            }
        }
    }
    doubts::of_rule(&node, diagnostics);
    let hint = |word: &Word<'_>| peers::of_rule(word).or_else(|| beside::of_rule(word));
    let spec: RuleSpec = decode_hinted(&node, &hint, diagnostics)?;
    Some(Read {
        id: RuleId::new(spec.space(), &spec.name.value),
        spec,
        ttl: ttl.map(|ttl| ttl.value),
    })
}
