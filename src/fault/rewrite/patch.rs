//! The configuration of JSON patches (RFC 6902), checked when it is loaded.

use std::io::{self, BufWriter, IntoInnerError};

use bytes::Bytes;
use json_patch::jsonptr::PointerBuf;
use json_patch::{
    AddOperation, CopyOperation, MoveOperation, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_with::skip_serializing_none;

use super::body::{MAX_LIMIT, reason};
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

/// Checks all operations.
///
/// # Errors
/// A pointer that is none; a value or a source that is missing, or that the operation has no use for.
pub(super) fn compile(operations: &[OperationSpec]) -> Result<Vec<PatchOperation>, String> {
    let compiled = (1usize..).zip(operations).map(|(number, spec)| {
        spec.compile()
            .map_err(|problem| format!("operation {number} of `json_patch`: {problem}"))
    });
    compiled.collect()
}

/// Applies all operations to a body. JSON is parsed and written again. Its members keep their order, except that the last one
/// takes the place of a removed one. White space is lost, and numbers are limited to 64 bits.
///
/// # Errors
/// The reason why the body stays unchanged: one of [`crate::metrics::SKIP_REASONS`].
pub(super) fn apply(operations: &[PatchOperation], body: &[u8], budget: &Budget) -> Result<Bytes, &'static str> {
    let mut parsed = budget.take(parsed_size(body)).map_err(|Full| Full::REASON)?;
    let mut document = serde_json::from_slice(body).map_err(|_| "not JSON")?;
    for operation in operations {
        if let PatchOperation::Copy(copy) = operation
            && let Ok(copied) = copy.from.resolve(&document)
        {
            // A few copies of a document into itself would fill any memory.
            parsed.grow(tree_size(copied)).map_err(|Full| Full::REASON)?;
        }
        json_patch::patch(&mut document, std::slice::from_ref(operation)).map_err(|_| "patch failed")?;
    }
    written(&document, budget)
}

fn written(document: &Value, budget: &Budget) -> Result<Bytes, &'static str> {
    let mut writing = BufWriter::new(Writing::new(budget, MAX_LIMIT));
    let written = serde_json::to_writer(&mut writing, document).map_err(io::Error::from);
    let flushed = written.and_then(|()| writing.into_inner().map_err(IntoInnerError::into_error));
    let failed = |error: io::Error| error.downcast().map_or("patch failed", reason);
    flushed.map(Writing::finish).map_err(failed)
}

impl OperationSpec {
    fn compile(&self) -> Result<PatchOperation, String> {
        let path = pointer(&self.path)?;
        Ok(match self.op {
            Op::Add => PatchOperation::Add(AddOperation {
                path,
                value: self.only_value()?,
            }),
            Op::Replace => PatchOperation::Replace(ReplaceOperation {
                path,
                value: self.only_value()?,
            }),
            Op::Test => PatchOperation::Test(TestOperation {
                path,
                value: self.only_value()?,
            }),
            Op::Move => PatchOperation::Move(MoveOperation {
                from: self.only_from()?,
                path,
            }),
            Op::Copy => PatchOperation::Copy(CopyOperation {
                from: self.only_from()?,
                path,
            }),
            Op::Remove => match (&self.value, &self.from) {
                (None, None) => PatchOperation::Remove(RemoveOperation { path }),
                _ => return Err("`remove` needs only a `path`".into()),
            },
        })
    }

    fn only_value(&self) -> Result<Value, String> {
        match (&self.value, &self.from) {
            (Some(value), None) => Ok(value.clone()),
            (None, _) => Err(format!("`{}` needs a `value`", self.op.name())),
            (_, Some(_)) => Err(format!("`from` needs `move` or `copy`, not `{}`", self.op.name())),
        }
    }

    fn only_from(&self) -> Result<PointerBuf, String> {
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

fn pointer(text: &str) -> Result<PointerBuf, String> {
    PointerBuf::parse(text).map_err(|_| {
        if text.starts_with('/') {
            format!("`{text}` is not a valid JSON pointer: after `~` use 0 (for `~`) or 1 (for `/`) (RFC 6901)")
        } else {
            format!("`{text}` is not a valid JSON pointer: start it with `/`, or leave it empty for the whole document")
        }
    })
}
