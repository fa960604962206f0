//! JSON schemas, as OpenAPI documents and the clients of language models write them, and values that fit them.

mod generate;
mod pattern;

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

pub(super) use self::generate::Maker;

/// How many references are followed from one to the next.
const HOPS_LIMIT: usize = 32;

/// What a value stands for: itself, or what its `$ref` leads to within `root`. Null if that leads back to itself.
pub(super) fn resolve<'a>(root: &'a Value, value: &'a Value) -> &'a Value {
    let mut value = value;
    for _ in 0..HOPS_LIMIT {
        match reference(value).and_then(|reference| target(root, reference)) {
            Some(target) => value = target,
            None => return value,
        }
    }
    &Value::Null
}

/// Where a value refers to, if it does. Under `properties`, `$ref` can be a name, but then no text follows.
pub(super) fn reference(value: &Value) -> Option<&str> {
    value.get("$ref")?.as_str()
}

/// Where a reference leads.
pub(super) fn target<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    root.pointer(&pointer(reference)?)
}

/// The JSON pointer (RFC 6901) of a reference: its fragment, in which characters may be percent-encoded.
pub(super) fn pointer(reference: &str) -> Option<Cow<'_, str>> {
    Some(percent_decode_str(reference.strip_prefix('#')?).decode_utf8_lossy())
}
