//! The configuration of JSON patches (RFC 6902), checked when it is loaded.

use std::borrow::Cow;
use std::io::{self, BufWriter, IntoInnerError};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_with::skip_serializing_none;

use super::body::{MAX_LIMIT, reason};
use crate::content::document::{self, Node};
use crate::fault::content::present;
use crate::limits::bodies::{Budget, Full, Writing, parsed_size, tree_size};

/// One operation: `{op: replace, path: /items/0/price, value: -1}`.
#[skip_serializing_none]
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationSpec {
    /// What to do.
    pub op: Op,
    /// Where: a JSON pointer (RFC 6901), such as `/items/0/price`; `-` stands for the place after an array's last item.
    pub path: String,
    /// Where from, for `move` and `copy`: a JSON pointer.
    pub from: Option<String>,
    /// The value, for `add`, `replace` and `test`.
    #[serde(default, deserialize_with = "present")]
    pub value: Option<Value>,
}

/// The operations of RFC 6902, section 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Adds a value.
    Add,
    /// Removes a value.
    Remove,
    /// Replaces a value.
    Replace,
    /// Moves a value to another place.
    Move,
    /// Copies a value to another place.
    Copy,
    /// Continues only if the value there equals this one; otherwise the body stays unchanged.
    Test,
}

/// A compiled operation.
#[derive(Debug)]
pub(super) enum Operation {
    Add(Pointer, Box<str>),
    Remove(Pointer),
    Replace(Pointer, Box<str>),
    Move { from: Pointer, path: Pointer },
    Copy { from: Pointer, path: Pointer },
    Test(Pointer, Value),
}

/// A JSON pointer: names and indices, decoded.
#[derive(Debug)]
pub(super) struct Pointer(Vec<Box<str>>);

/// Checks all operations.
///
/// # Errors
/// A pointer that is none; a value or a source that is missing, or that the operation has no use for.
pub(super) fn compile(operations: &[OperationSpec]) -> Result<Vec<Operation>, String> {
    let compiled = (1usize..).zip(operations).map(|(number, spec)| {
        spec.compile()
            .map_err(|problem| format!("operation {number} of `json_patch`: {problem}"))
    });
    compiled.collect()
}

/// Applies all operations to a body. What they don't name keeps its text and its order; white space is lost.
///
/// # Errors
/// The reason why the body stays unchanged: one of [`crate::metrics::SKIP_REASONS`].
pub(super) fn apply(operations: &[Operation], body: &[u8], budget: &Budget) -> Result<Bytes, &'static str> {
    let mut parsed = budget.take(parsed_size(body)).map_err(|Full| Full::REASON)?;
    let (mark, text) = document::split_mark(body);
    let mut document = Node::parse(text).ok_or("not JSON")?;
    for operation in operations {
        if let Operation::Copy { from, .. } = operation
            && let Some(copied) = document.find(from.tokens())
        {
            // A few copies of a document into itself would fill any memory.
            parsed.grow(tree_size(copied)).map_err(|Full| Full::REASON)?;
        }
        operation.apply(&mut document).ok_or("patch failed")?;
    }
    written(mark, &document, budget)
}

fn written(mark: &[u8], document: &Node<'_>, budget: &Budget) -> Result<Bytes, &'static str> {
    let mut writing = BufWriter::new(Writing::new(budget, MAX_LIMIT));
    let written = io::Write::write_all(&mut writing, mark).and_then(|()| document.write(&mut writing));
    let flushed = written.and_then(|()| writing.into_inner().map_err(IntoInnerError::into_error));
    let failed = |error: io::Error| error.downcast().map_or("patch failed", reason);
    flushed.map(Writing::finish).map_err(failed)
}

impl Operation {
    /// Changes the document; `None` if that is not possible.
    fn apply<'a>(&'a self, document: &mut Node<'a>) -> Option<()> {
        match self {
            Operation::Add(path, value) => add(document, path, Node::Text(value)),
            Operation::Remove(path) => remove(document, path).map(drop),
            Operation::Replace(path, value) => {
                *document.find(path.tokens())? = Node::Text(value);
                Some(())
            }
            // A value can't be moved into itself.
            Operation::Move { from, path } if path.is_within(from) => None,
            Operation::Move { from, path } => {
                let moved = remove(document, from)?;
                add(document, path, moved)
            }
            Operation::Copy { from, path } => {
                let copied = document.find(from.tokens())?.clone();
                add(document, path, copied)
            }
            Operation::Test(path, value) => document.find(path.tokens())?.is(value).then_some(()),
        }
    }
}

fn add<'a>(document: &mut Node<'a>, path: &'a Pointer, value: Node<'a>) -> Option<()> {
    if !value.fits_at(path.0.len()) {
        return None;
    }
    let Some((last, parent)) = path.0.split_last() else {
        *document = value;
        return Some(());
    };
    match document.find(tokens(parent))?.opened() {
        Node::Array(items) => {
            let at = if &**last == "-" {
                items.len()
            } else {
                document::index(last)?
            };
            if at > items.len() {
                return None;
            }
            items.insert(at, value);
        }
        Node::Object(members) => match document::position(members, last) {
            Some(at) => members.get_mut(at)?.1 = value,
            None => members.push((Value::from(&**last).to_string().into(), value)),
        },
        Node::Text(_) => return None,
    }
    Some(())
}

fn remove<'a>(document: &mut Node<'a>, path: &Pointer) -> Option<Node<'a>> {
    let (last, parent) = path.0.split_last()?;
    match document.find(tokens(parent))?.opened() {
        Node::Array(items) => {
            let at = document::index(last).filter(|at| *at < items.len())?;
            Some(items.remove(at))
        }
        Node::Object(members) => {
            let (_, removed) = members.remove(document::position(members, last)?);
            // Else an earlier member of this name would appear in its place.
            members.retain(|(name, _)| !document::is_named(name, last));
            Some(removed)
        }
        Node::Text(_) => None,
    }
}

impl Pointer {
    fn tokens(&self) -> impl Iterator<Item = Cow<'_, str>> {
        tokens(&self.0)
    }

    /// Whether it points to something below `other`.
    fn is_within(&self, other: &Pointer) -> bool {
        self.0.len() > other.0.len() && self.0.starts_with(&other.0)
    }
}

fn tokens(path: &[Box<str>]) -> impl Iterator<Item = Cow<'_, str>> {
    path.iter().map(|token| Cow::from(&**token))
}

impl OperationSpec {
    fn compile(&self) -> Result<Operation, String> {
        let path = pointer(&self.path)?;
        Ok(match self.op {
            Op::Add => Operation::Add(path, self.only_value()?.to_string().into()),
            Op::Replace => Operation::Replace(path, self.only_value()?.to_string().into()),
            Op::Test => Operation::Test(path, self.only_value()?.clone()),
            Op::Move => Operation::Move {
                from: self.only_from()?,
                path,
            },
            Op::Copy => Operation::Copy {
                from: self.only_from()?,
                path,
            },
            Op::Remove => match (&self.value, &self.from) {
                (None, None) => Operation::Remove(path),
                _ => return Err("`remove` needs only a `path`".into()),
            },
        })
    }

    fn only_value(&self) -> Result<&Value, String> {
        match (&self.value, &self.from) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(format!("`{}` needs a `value`", self.op.name())),
            (_, Some(_)) => Err(format!("`from` needs `move` or `copy`, not `{}`", self.op.name())),
        }
    }

    fn only_from(&self) -> Result<Pointer, String> {
        match (&self.from, &self.value) {
            (Some(from), None) => pointer(from),
            (None, _) => Err(format!("`{}` needs a `from`", self.op.name())),
            (_, Some(_)) => Err(format!(
                "`value` needs `add`, `replace` or `test`, not `{}`",
                self.op.name()
            )),
        }
    }
}

impl Op {
    fn name(self) -> &'static str {
        match self {
            Op::Add => "add",
            Op::Remove => "remove",
            Op::Replace => "replace",
            Op::Move => "move",
            Op::Copy => "copy",
            Op::Test => "test",
        }
    }
}

fn pointer(text: &str) -> Result<Pointer, String> {
    if text.is_empty() {
        return Ok(Pointer(Vec::new()));
    }
    let Some(tokens) = text.strip_prefix('/') else {
        return Err(format!(
            "`{text}` is not a valid JSON pointer: start it with `/`, or leave it empty for the whole document"
        ));
    };
    let tokens: Option<_> = tokens.split('/').map(unescaped).collect();
    tokens.map(Pointer).ok_or_else(|| {
        format!("`{text}` is not a valid JSON pointer: after `~` use 0 (for `~`) or 1 (for `/`) (RFC 6901)")
    })
}

/// A part of a pointer, decoded; `None` if a `~` has no meaning.
fn unescaped(token: &str) -> Option<Box<str>> {
    let mut pieces = token.split('~');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (letter, rest) = match piece.as_bytes().first()? {
            b'0' => ('~', piece.strip_prefix('0')?),
            b'1' => ('/', piece.strip_prefix('1')?),
            _ => return None,
        };
        text.push(letter);
        text.push_str(rest);
    }
    Some(text.into())
}
