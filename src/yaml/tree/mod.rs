//! Parses YAML text to a tree of [`Node`]s with positions.
//!
//! YAML 1.2 with the core schema, so `no` and `on` are texts. Aliases and merge keys (`<<`) work. Likely mistakes are
//! errors: a duplicate key, a second document, a tag outside the core schema. Every size is bounded.

mod build;
mod places;
mod scalar;

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

use super::env::Lookup;
use super::json;
use super::report::{Diagnostic, SourceId, Sources, Span};

/// The largest file that is read: 16 MiB.
pub const MAX_FILE_BYTES: usize = 16 << 20;
/// How deep lists and maps may nest, including what aliases add.
pub const MAX_DEPTH: usize = 64;
/// The most nodes of one file, counting those that aliases repeat each time.
pub const MAX_NODES: usize = 2_000_000;

/// Removes the top-level keys that begin with `x-`, which hold what the rest refers to by alias, as in compose files.
pub fn remove_anchors(document: &mut Node) {
    if let Value::Map(entries) = &mut document.value {
        entries.retain(|(key, _)| !key.text().is_some_and(|key| key.starts_with("x-")));
    }
}

/// A value in a YAML file.
#[derive(Clone, Debug)]
pub struct Node {
    /// The position. Nodes repeated by an alias have the position of the anchor; an absent value has that of its key.
    pub span: Span,
    /// The value of the node.
    pub value: Value,
    /// The text of an unquoted scalar before it was resolved, with variables replaced.
    plain: Option<Arc<str>>,
}

/// The value of a node.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`, `~`, or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number within the range of `i64` or of `u64`.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// A text.
    String(Arc<str>),
    /// A list.
    Seq(Vec<Node>),
    /// A map in the order of the file, with the keys of merged maps last. Keys are unique scalars.
    Map(Vec<(Node, Node)>),
    /// A value that could not be read. A diagnostic was already added, so no other code reports it.
    Unusable,
}

/// The node of an absent value.
pub static NOTHING: Node = Node {
    span: Span::NOWHERE,
    value: Value::Null,
    plain: None,
};

impl Node {
    /// A map without entries.
    pub fn empty_map(span: Span) -> Self {
        Self {
            span,
            value: Value::Map(Vec::new()),
            plain: None,
        }
    }

    /// A text that is written nowhere, at the position of what implies it.
    pub fn implied(text: &str, span: Span) -> Self {
        Self {
            span,
            value: Value::String(text.into()),
            plain: None,
        }
    }

    /// A value that stands in for one that is missing, at the position of what lacks it.
    pub(in crate::yaml) fn standing(value: Value, span: Span) -> Self {
        Self {
            span,
            value,
            plain: None,
        }
    }

    /// The text of a scalar: for a number, a boolean or null, the text in the file.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => self.plain.as_deref(),
        }
    }

    /// Whether the node is an unquoted scalar.
    pub fn is_plain(&self) -> bool {
        self.plain.is_some()
    }

    /// The node as JSON. Keys become strings, as in the file; values that JSON lacks (`.nan`, `.inf`) become null.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null | Value::Unusable => serde_json::Value::Null,
            Value::Bool(flag) => (*flag).into(),
            Value::Int(number) => match i64::try_from(*number) {
                Ok(number) => number.into(),
                Err(_) => u64::try_from(*number).map_or(serde_json::Value::Null, Into::into),
            },
            Value::Float(number) => (*number).into(),
            Value::String(text) => (**text).into(),
            Value::Seq(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|(key, value)| (key.text().unwrap_or_default().to_owned(), value.to_json()))
                .collect(),
        }
    }

    /// The value of a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries
                .iter()
                .find(|(name, _)| name.text() == Some(key))
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// Adds an entry to a map; does nothing to other nodes.
    pub fn insert(&mut self, key: &str, value: Node) {
        if let Value::Map(entries) = &mut self.value {
            entries.push((Node::implied(key, value.span), value));
        }
    }

    /// Removes an entry from a map, and returns its key and value.
    pub fn remove(&mut self, key: &str) -> Option<(Node, Node)> {
        match &mut self.value {
            Value::Map(entries) => {
                let place = entries.iter().position(|(name, _)| name.text() == Some(key))?;
                Some(entries.remove(place))
            }
            _ => None,
        }
    }
}

/// Adds a file's bytes to the sources as text. `None`, and a diagnostic, if it is too large or not UTF-8.
pub fn add_source(
    sources: &mut Sources,
    name: &str,
    bytes: Vec<u8>,
    directory: impl Into<std::path::PathBuf>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<SourceId> {
    if bytes.len() > MAX_FILE_BYTES {
        diagnostics.push(Diagnostic::error(None, format!("{name} is larger than 16 MiB")));
        return None;
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some(sources.add(name, text, directory)),
        Err(error) => {
            let start = error.utf8_error().valid_up_to();
            let source = sources.add(name, String::from_utf8_lossy(error.as_bytes()), directory);
            let span = Span {
                source,
                start,
                end: start + '\u{fffd}'.len_utf8(),
            };
            let help = "save the file as UTF-8";
            diagnostics.push(Diagnostic::error(span, format!("{name} is not UTF-8 text")).help(help));
            None
        }
    }
}

/// Parses one document: YAML, or by its name JSON, which may have comments. Variables of `lookup` are replaced in every text; without `lookup` texts are not expanded. An empty
/// file is an empty map.
///
/// Errors are added to `diagnostics`. `None` if the text is not YAML at all; after lesser errors the rest is returned, so
/// that it can be checked too.
pub fn parse(
    sources: &Sources,
    source: SourceId,
    lookup: Option<&Lookup<'_>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Node> {
    let text = sources.shared_text(source);
    let text = if sources.name(source).is_some_and(json::is_json) {
        json::as_yaml(&text)
    } else {
        Cow::Borrowed(&*text)
    };
    match build::build(&text, source, lookup, diagnostics) {
        Ok(node) => Some(node),
        Err(fatal) => {
            diagnostics.push(*fatal);
            None
        }
    }
}

/// A text that is equal for equal values, to tell whether a reload changed them.
pub fn identity(value: &impl Serialize) -> String {
    // Configuration always has a JSON form. If it had none, the texts would be equal.
    serde_json::to_string(value).unwrap_or_default()
}

/// A hash of [`identity`], without building the text: that of a large configuration has megabytes.
pub fn identity_hash(value: &impl Serialize, more: impl std::fmt::Display, seed: u64) -> u64 {
    let mut hasher = HashWriter(Xxh3::with_seed(seed));
    // Neither writing to a hasher nor the JSON form of a configuration fails.
    let _ = serde_json::to_writer(&mut hasher, value);
    let _ = write!(hasher, "{more}");
    hasher.0.digest()
}

struct HashWriter(Xxh3);

impl Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a value can't be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("can't be written as YAML: {0}")]
pub struct WriteError(#[from] serde_yaml::Error);

/// Writes a value as YAML that reads back as an equal value: enums as one-key maps, and `${` escaped.
///
/// serde_yaml only writes here: it is archived, and as a reader it gives no positions. It treats U+2028 and U+2029 as line
/// ends, as old YAML did, so a text with these may change.
///
/// # Errors
/// Only where the value's own `Serialize` fails.
pub fn to_yaml<T: Serialize>(value: &T) -> Result<String, WriteError> {
    let mut bytes = Vec::new();
    serde_yaml::with::singleton_map_recursive::serialize(value, &mut serde_yaml::Serializer::new(&mut bytes))?;
    Ok(String::from_utf8_lossy(&bytes).replace("${", "$${"))
}

#[cfg(test)]
mod tests;
