//! The keywords of JSON Schema that assert something.

use serde_json::{Map, Value};

/// What stands below a keyword.
pub(in crate::fake) enum Below {
    One,
    List,
    Map,
    /// No schema.
    Other,
}

/// What stands below a keyword that asserts something.
pub(in crate::fake) fn below(keyword: &str) -> Option<Below> {
    Some(match keyword {
        "additionalProperties"
        | "contains"
        | "else"
        | "if"
        | "items"
        | "not"
        | "propertyNames"
        | "then"
        | "unevaluatedItems"
        | "unevaluatedProperties" => Below::One,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Below::List,
        "dependentSchemas" | "patternProperties" | "properties" => Below::Map,
        "const" | "dependentRequired" | "enum" | "exclusiveMaximum" | "exclusiveMinimum" | "format" | "maxContains"
        | "maxItems" | "maxLength" | "maxProperties" | "maximum" | "minContains" | "minItems" | "minLength"
        | "minProperties" | "minimum" | "multipleOf" | "pattern" | "required" | "type" | "uniqueItems" => Below::Other,
        _ => return None,
    })
}

/// OpenAPI 3.0 marks a bound as excluded; since then, an excluded bound has a keyword of its own.
pub(in crate::fake) fn exclude_bounds(schema: &Map<String, Value>, written: &mut Map<String, Value>) {
    for (bound, exclusive) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")] {
        if schema.get(exclusive) == Some(&Value::Bool(true))
            && let Some(limit) = written.shift_remove(bound)
        {
            written.insert(exclusive.to_owned(), limit);
        }
    }
}
