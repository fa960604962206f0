//! References within a document.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// How many references are followed from one to the next.
const HOPS_LIMIT: usize = 32;

/// What a value stands for: itself, or what its `$ref` leads to within `root`. Null if that leads back to itself.
pub(in crate::fake) fn resolve<'a>(root: &'a Value, value: &'a Value) -> &'a Value {
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
pub(in crate::fake) fn reference(value: &Value) -> Option<&str> {
    value.get("$ref")?.as_str()
}

/// Where a reference leads.
pub(in crate::fake) fn target<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    root.pointer(&pointer(reference)?)
}

/// The JSON pointer (RFC 6901) of a reference: its fragment, in which characters may be percent-encoded.
pub(in crate::fake) fn pointer(reference: &str) -> Option<Cow<'_, str>> {
    Some(percent_decode_str(reference.strip_prefix('#')?).decode_utf8_lossy())
}

/// Whether the root is a document of OpenAPI 3. What is `writeOnly` there is in no answer, though it may be required.
pub(in crate::fake) fn is_openapi(root: &Value) -> bool {
    let version = root.get("openapi").and_then(Value::as_str);
    version.is_some_and(|version| version.starts_with("3."))
}

/// Whether a schema, or one that it refers to, is marked with `readOnly` or `writeOnly`.
pub(in crate::fake) fn is_marked(root: &Value, schema: &Value, mark: &str) -> bool {
    // The mark may stand beside the reference.
    schema.get(mark) == Some(&Value::Bool(true)) || resolve(root, schema).get(mark) == Some(&Value::Bool(true))
}

/// What a schema says of a property, itself or by the parts that it is composed of.
pub(in crate::fake) fn property<'a>(root: &'a Value, schema: &'a Value, name: &str, depth: usize) -> Option<&'a Value> {
    const DEPTH_LIMIT: usize = 8;
    let schema = resolve(root, schema);
    let own = schema.get("properties").and_then(|properties| properties.get(name));
    let parts = || schema.get("allOf")?.as_array();
    own.or_else(|| {
        let parts = parts().filter(|_| depth < DEPTH_LIMIT)?;
        parts.iter().find_map(|part| property(root, part, name, depth + 1))
    })
}

/// Whether the root is a document of OpenAPI 3.0. In it, what stands beside a `$ref` is ignored.
pub(in crate::fake) fn is_3_0(root: &Value) -> bool {
    let version = root.get("openapi").and_then(Value::as_str);
    version.is_some_and(|version| version.starts_with("3.0"))
}
