//! JSON that keeps its text: whatever nobody asks for stays as it was written.
//!
//! Numbers keep every digit, strings keep their escapes, and members keep their order, even those with the same name. A document is
//! looked into only as far as something asks, so all else is valid however deep it is, and however large its numbers are.

mod number;
mod scan;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;

use serde::de::IgnoredAny;
use serde_json::Value;

pub use self::number::is_same;
use self::scan::{Level, level, without_space};
use super::MARK;

/// How deep a document can be looked into. What walks it recurses.
const DEEPEST: usize = 512;

/// A part of a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<'a> {
    /// Its text, without white space around it.
    Text(&'a str),
    /// An array that was looked into.
    Array(Vec<Node<'a>>),
    /// An object that was looked into: names as they are written in JSON, and values.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// Splits off the byte order mark, which some clients send before JSON.
pub fn split_mark(body: &[u8]) -> (&[u8], &[u8]) {
    let length = if body.starts_with(MARK) { MARK.len() } else { 0 };
    body.split_at_checked(length).unwrap_or((&[], body))
}

impl<'a> Node<'a> {
    /// A document; `None` if it is not valid JSON (RFC 8259).
    pub fn parse(text: &'a [u8]) -> Option<Node<'a>> {
        let text = std::str::from_utf8(text).ok()?;
        serde_json::from_str::<IgnoredAny>(text).ok()?;
        Some(Node::Text(text.trim_matches([' ', '\t', '\n', '\r'])))
    }

    /// Looks one level into the node, if it is an array or an object.
    fn open(&mut self) {
        let Node::Text(text) = *self else { return };
        match level(text) {
            Level::Scalar => {}
            Level::Array(items) => *self = Node::Array(items.into_iter().map(Node::Text).collect()),
            Level::Object(members) => {
                let members = members.into_iter();
                *self = Node::Object(members.map(|(name, value)| (name.into(), Node::Text(value))).collect());
            }
        }
    }

    /// The items or members, one level down.
    pub fn opened(&mut self) -> &mut Node<'a> {
        self.open();
        self
    }

    /// The node at the end of a path of names and indices; `None` if there is none.
    pub fn find<'t>(&mut self, path: impl IntoIterator<Item = Cow<'t, str>>) -> Option<&mut Node<'a>> {
        let mut node = self;
        for (depth, token) in path.into_iter().enumerate() {
            if depth == DEEPEST {
                return None;
            }
            node = match node.opened() {
                Node::Array(items) => items.get_mut(index(&token)?)?,
                Node::Object(members) => {
                    let at = position(members, &token)?;
                    &mut members.get_mut(at)?.1
                }
                Node::Text(_) => return None,
            };
        }
        Some(node)
    }

    /// Whether another node that is put so deep leaves the document shallow enough.
    pub fn fits_at(&self, depth: usize) -> bool {
        depth.saturating_add(self.depth()) <= DEEPEST
    }

    fn depth(&self) -> usize {
        let below = match self {
            Node::Text(_) => return 0,
            Node::Array(items) => items.iter().map(Node::depth).max(),
            Node::Object(members) => members.iter().map(|(_, value)| value.depth()).max(),
        };
        below.unwrap_or(0) + 1
    }

    /// Whether it has this value: numbers compare by value, objects in any order.
    pub fn is(&self, wanted: &Value) -> bool {
        self.compare(wanted, true)
    }

    /// Whether it has what is wanted: of objects the members that are given, else the same value.
    pub fn has(&self, wanted: &Value) -> bool {
        self.compare(wanted, false)
    }

    fn compare(&self, wanted: &Value, is_exact: bool) -> bool {
        match (self, wanted) {
            (Node::Text(text), Value::Array(_) | Value::Object(_)) => match level(text) {
                Level::Scalar => false,
                _ => self.clone().opened().compare(wanted, is_exact),
            },
            (Node::Array(items), Value::Array(wanted)) => {
                let mut pairs = items.iter().zip(wanted);
                items.len() == wanted.len() && pairs.all(|(item, wanted)| item.compare(wanted, is_exact))
            }
            (Node::Object(members), Value::Object(wanted)) => {
                let names: HashMap<Cow<'_, str>, &Node<'_>> = members
                    .iter()
                    .filter_map(|(name, value)| Some((decoded(name)?, value)))
                    .collect();
                let member = |name: &String| names.get(name.as_str());
                (!is_exact || (names.len() == wanted.len()))
                    && wanted
                        .iter()
                        .all(|(name, wanted)| member(name).is_some_and(|value| value.compare(wanted, is_exact)))
            }
            (Node::Text(text), Value::String(wanted)) => decoded(text).is_some_and(|text| text == *wanted),
            (Node::Text(text), Value::Number(wanted)) => is_same(text, wanted),
            (Node::Text(text), Value::Bool(wanted)) => *text == if *wanted { "true" } else { "false" },
            (Node::Text(text), Value::Null) => *text == "null",
            _ => false,
        }
    }

    /// Writes the document without white space.
    ///
    /// # Errors
    /// The writer fails.
    pub fn write(&self, to: &mut impl io::Write) -> io::Result<()> {
        match self {
            Node::Text(text) => without_space(text).try_for_each(|piece| to.write_all(piece.as_bytes())),
            Node::Array(items) => {
                to.write_all(b"[")?;
                for (number, item) in items.iter().enumerate() {
                    to.write_all(if number == 0 { b"" } else { b"," })?;
                    item.write(to)?;
                }
                to.write_all(b"]")
            }
            Node::Object(members) => {
                to.write_all(b"{")?;
                for (number, (name, value)) in members.iter().enumerate() {
                    to.write_all(if number == 0 { b"" } else { b"," })?;
                    to.write_all(name.as_bytes())?;
                    to.write_all(b":")?;
                    value.write(to)?;
                }
                to.write_all(b"}")
            }
        }
    }
}

/// Where the member with this name is: the last one, as most readers have it.
pub fn position(members: &[(Cow<'_, str>, Node<'_>)], name: &str) -> Option<usize> {
    members
        .iter()
        .rposition(|(other, _)| decoded(other).is_some_and(|other| other == name))
}

/// Whether a name, as it is written in JSON, is this one.
pub fn is_named(written: &str, name: &str) -> bool {
    decoded(written).is_some_and(|other| other == name)
}

/// An index of an array as RFC 6901 has it.
pub fn index(token: &str) -> Option<usize> {
    let is_plain = token.bytes().all(|byte| byte.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    is_plain.then(|| token.parse().ok()).flatten()
}

/// The text of a string; `None` if it is not a string, or has escapes that stand for no text, such as half a surrogate pair.
fn decoded(written: &str) -> Option<Cow<'_, str>> {
    let inner = written.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str::<String>(written).ok().map(Cow::from);
    }
    Some(inner.into())
}

#[cfg(test)]
mod tests;
