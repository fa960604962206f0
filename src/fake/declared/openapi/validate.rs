//! Whether a value is as a schema says.

use serde::Serialize;
use serde_json::Value;

use super::super::collections::{is_date, is_date_time, is_email, is_url};
use super::document::Document;

/// The most problems that one reply lists.
pub(super) const PROBLEMS_LIMIT: usize = 100;

/// How many schemas deep a value is looked into.
const DEPTH_LIMIT: usize = 64;

/// How many schemas one value is held against in all. What lies beyond counts as fitting.
const STEPS_LIMIT: usize = 100_000;

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    /// `path`, `query`, `header`, `cookie` or `body`.
    #[serde(rename = "in")]
    pub(super) part: &'static str,
    /// The parameter's name, or the place in the body: `tags[0].name`.
    pub(super) field: String,
    pub(super) message: String,
}

/// Holds values against schemas.
pub(super) struct Checker<'a> {
    document: &'a Document,
    part: &'static str,
    problems: Vec<Problem>,
    steps: usize,
}

impl<'a> Checker<'a> {
    /// What is wrong with the body of a request.
    pub(super) fn body(document: &'a Document, schema: &Value, value: &Value) -> Vec<Problem> {
        Self::check(document, "body", "", schema, value)
    }

    /// What is wrong with a value whose place is `field`.
    pub(super) fn check(
        document: &'a Document,
        part: &'static str,
        field: &str,
        schema: &Value,
        value: &Value,
    ) -> Vec<Problem> {
        let mut checker = Self {
            document,
            part,
            problems: Vec::new(),
            steps: 0,
        };
        checker.value(schema, value, field, 0);
        checker.problems
    }

    fn report(&mut self, field: &str, message: impl Into<String>) {
        if self.problems.len() < PROBLEMS_LIMIT {
            self.problems.push(Problem {
                part: self.part,
                field: field.to_owned(),
                message: message.into(),
            });
        }
    }

    fn value(&mut self, schema: &Value, value: &Value, at: &str, depth: usize) {
        self.steps += 1;
        if depth > DEPTH_LIMIT || self.steps > STEPS_LIMIT {
            return;
        }
        let document = self.document;
        let schema = document.resolve(schema);
        if schema == &Value::Bool(false) {
            return self.report(at, "must not be there");
        }
        if value.is_null() && schema.get("nullable") == Some(&Value::Bool(true)) {
            return;
        }
        let kinds = kinds(schema);
        if !kinds.is_empty() && !kinds.iter().any(|kind| is_kind(value, kind)) {
            return self.report(at, format!("must be {}", kinds.join(" or ")));
        }
        if let Some(options) = schema.get("enum").and_then(Value::as_array)
            && !options.iter().any(|option| same(option, value))
        {
            let options: Vec<_> = options.iter().take(20).map(Value::to_string).collect();
            self.report(at, format!("must be one of {}", options.join(", ")));
        }
        if let Some(only) = schema.get("const").filter(|only| !same(only, value)) {
            self.report(at, format!("must be {only}"));
        }
        self.composed(schema, value, at, depth);
        match value {
            Value::String(text) => self.text(schema, text, at),
            Value::Number(number) => self.number(schema, number.as_f64().unwrap_or_default(), at),
            Value::Array(items) => self.array(schema, items, at, depth),
            Value::Object(_) => self.object(schema, value, at, depth),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn composed(&mut self, schema: &Value, value: &Value, at: &str, depth: usize) {
        let list = |key| {
            schema
                .get(key)
                .and_then(Value::as_array)
                .map(Vec::as_slice)
                .unwrap_or_default()
        };
        for part in list("allOf") {
            self.value(part, value, at, depth + 1);
        }
        for key in ["oneOf", "anyOf"] {
            let options = list(key);
            if options.is_empty() {
                continue;
            }
            let fitting = options.iter().filter(|option| self.fits(option, value, depth)).count();
            match fitting {
                0 => self.report(
                    at,
                    format!("must be as one of {} schemas, and is as none", options.len()),
                ),
                1 => {}
                _ if key == "oneOf" => self.report(at, format!("must be as one schema only, and is as {fitting}")),
                _ => {}
            }
        }
        if let Some(not) = schema.get("not")
            && self.fits(not, value, depth)
        {
            self.report(at, "must not be so");
        }
    }

    fn fits(&mut self, schema: &Value, value: &Value, depth: usize) -> bool {
        let before = std::mem::take(&mut self.problems);
        self.value(schema, value, "", depth + 1);
        std::mem::replace(&mut self.problems, before).is_empty()
    }

    fn text(&mut self, schema: &Value, text: &str, at: &str) {
        let length = text.chars().count() as u64;
        let bound = |key| schema.get(key).and_then(Value::as_u64);
        if let Some(least) = bound("minLength").filter(|least| length < *least) {
            self.report(at, format!("must have at least {least} characters"));
        }
        if let Some(most) = bound("maxLength").filter(|most| length > *most) {
            self.report(at, format!("must have at most {most} characters"));
        }
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
            && !self.document.matches(pattern, text)
        {
            self.report(at, format!("must match {pattern}"));
        }
        let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
        let fits = match format {
            "date" => is_date(text),
            "date-time" => is_date_time(text),
            "email" => is_email(text),
            "uri" | "url" => is_url(text),
            "uuid" => uuid::Uuid::try_parse(text).is_ok(),
            "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
            "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
            _ => true,
        };
        if !fits {
            self.report(at, format!("must be of the format {format}"));
        }
    }

    #[allow(clippy::float_cmp, reason = "numbers as written, not results")]
    fn number(&mut self, schema: &Value, number: f64, at: &str) {
        let bound = |key| schema.get(key).and_then(Value::as_f64);
        let excluded = |key| schema.get(key) == Some(&Value::Bool(true));
        if let Some(least) = bound("minimum") {
            if excluded("exclusiveMinimum") && number <= least {
                self.report(at, format!("must be more than {least}"));
            } else if number < least {
                self.report(at, format!("must be at least {least}"));
            }
        }
        if let Some(most) = bound("maximum") {
            if excluded("exclusiveMaximum") && number >= most {
                self.report(at, format!("must be less than {most}"));
            } else if number > most {
                self.report(at, format!("must be at most {most}"));
            }
        }
        if let Some(least) = bound("exclusiveMinimum").filter(|least| number <= *least) {
            self.report(at, format!("must be more than {least}"));
        }
        if let Some(most) = bound("exclusiveMaximum").filter(|most| number >= *most) {
            self.report(at, format!("must be less than {most}"));
        }
        if let Some(step) = bound("multipleOf").filter(|step| *step > 0.0) {
            let steps = number / step;
            if (steps - steps.round()).abs() > 1e-9 * steps.abs().max(1.0) {
                self.report(at, format!("must be a multiple of {step}"));
            }
        }
    }

    fn array(&mut self, schema: &Value, items: &[Value], at: &str, depth: usize) {
        let bound = |key| schema.get(key).and_then(Value::as_u64);
        if let Some(least) = bound("minItems").filter(|least| (items.len() as u64) < *least) {
            self.report(at, format!("must have at least {least} items"));
        }
        if let Some(most) = bound("maxItems").filter(|most| items.len() as u64 > *most) {
            self.report(at, format!("must have at most {most} items"));
        }
        if schema.get("uniqueItems") == Some(&Value::Bool(true)) {
            let mut seen = std::collections::HashSet::new();
            if items.iter().any(|item| !seen.insert(item.to_string())) {
                self.report(at, "must not have equal items");
            }
        }
        let fixed = schema
            .get("prefixItems")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        for (index, item) in items.iter().enumerate() {
            if let Some(of) = fixed.get(index).or_else(|| schema.get("items")) {
                self.value(of, item, &format!("{at}[{index}]"), depth + 1);
            }
        }
    }

    fn object(&mut self, schema: &Value, value: &Value, at: &str, depth: usize) {
        let Some(object) = value.as_object() else { return };
        let below = |name: &str| {
            if at.is_empty() {
                name.to_owned()
            } else {
                format!("{at}.{name}")
            }
        };
        let properties = schema.get("properties").and_then(Value::as_object);
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let Some(name) = name.as_str().filter(|name| !object.contains_key(*name)) else {
                continue;
            };
            // What only the server sets, no client can be asked for.
            let property = properties.and_then(|properties| properties.get(name));
            let read_only = property.map(|property| self.document.resolve(property).get("readOnly"));
            if read_only.flatten() != Some(&Value::Bool(true)) {
                self.report(&below(name), "is missing");
            }
        }
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        for (name, value) in object {
            let declared = properties.and_then(|properties| properties.get(name));
            if let Some(property) = declared {
                self.value(property, value, &below(name), depth + 1);
                continue;
            }
            let mut patterns = patterns.into_iter().flatten();
            if let Some((_, property)) = patterns.find(|(pattern, _)| self.document.matches(pattern, name)) {
                self.value(property, value, &below(name), depth + 1);
                continue;
            }
            match schema.get("additionalProperties") {
                Some(Value::Bool(false)) => self.report(&below(name), "is not known"),
                Some(additional) => self.value(additional, value, &below(name), depth + 1),
                None => {}
            }
        }
        let bound = |key| schema.get(key).and_then(Value::as_u64);
        if let Some(least) = bound("minProperties").filter(|least| (object.len() as u64) < *least) {
            self.report(at, format!("must have at least {least} properties"));
        }
        if let Some(most) = bound("maxProperties").filter(|most| object.len() as u64 > *most) {
            self.report(at, format!("must have at most {most} properties"));
        }
    }
}

/// The types that a schema allows; none if it does not say.
fn kinds(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => true,
    }
}

#[allow(clippy::float_cmp, reason = "numbers as written, not results")]
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_problem_is_listed_at_its_place() {
        let document = Document::read(b"openapi: 3.1.0").unwrap();
        let schema = json!({"type": "object", "required": ["name", "id", "tags"], "additionalProperties": false, "properties": {
            "id": {"type": "integer", "readOnly": true}, "name": {"type": "string", "minLength": 2},
            "tags": {"type": "array", "items": {"type": "object", "properties": {"rank": {"type": "integer", "maximum": 3}}}},
            "when": {"type": "string", "format": "date", "nullable": true}}});
        let value = json!({"name": "x", "tags": [{"rank": 9}, {"rank": 1.5}], "when": null, "more": 1});
        let problems = Checker::body(&document, &schema, &value);
        let shown: Vec<_> = problems
            .iter()
            .map(|one| format!("{} {}", one.field, one.message))
            .collect();
        assert_eq!(
            shown,
            [
                "name must have at least 2 characters",
                "tags[0].rank must be at most 3",
                "tags[1].rank must be integer",
                "more is not known"
            ]
        );
        assert_eq!(
            Checker::body(&document, &schema, &json!([]))[0].message,
            "must be object"
        );
    }
}
