//! The operations of a document, for the page at `/`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::document::Document;
use super::encode::plain;
use crate::fake::made_up::dice::{Dice, Stream};
use crate::fake::page::Row;
use crate::fake::schema::Maker;

/// Methods in the order in which a page lists them.
const METHODS: [&str; 8] = ["get", "post", "put", "patch", "delete", "head", "options", "trace"];

/// The longest summary that is shown, in characters.
const SUMMARY_LIMIT: usize = 200;

/// What the values of parameters hold encoded (RFC 3986, section 2.3).
pub(super) const UNSAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A row for each operation, in the order of the document.
pub(super) fn of(document: &Document, prefix: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for (path, item) in document.paths().into_iter().flatten() {
        let item = document.resolve(item);
        for method in METHODS {
            if let Some(operation) = document.get(item, method).filter(|operation| operation.is_object()) {
                rows.push(row(document, (prefix, path, method), item, operation));
            }
        }
    }
    rows
}

fn row(document: &Document, (prefix, path, method): (&str, &str, &str), item: &Value, operation: &Value) -> Row {
    let text = |key: &str| {
        operation
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let summary = text("summary")
        .or(text("description"))
        .or(text("operationId"))
        .unwrap_or_default();
    let parameters = parameters(document, &[operation, item]);
    let method = method.to_ascii_uppercase();
    let mut target = format!("{prefix}{path}");
    for parameter in parameters.iter().filter(|parameter| parameter.place == "path") {
        let value = utf8_percent_encode(&parameter.example, UNSAFE).to_string();
        target = target.replace(&format!("{{{}}}", parameter.name), &value);
    }
    let required = parameters
        .iter()
        .filter(|parameter| parameter.place == "query" && parameter.required);
    let query: Vec<_> = required
        .map(|one| {
            let encode = |text: &str| utf8_percent_encode(text, UNSAFE).to_string();
            format!("{}={}", encode(&one.name), encode(&one.example))
        })
        .collect();
    if !query.is_empty() {
        target.push('?');
        target.push_str(&query.join("&"));
    }
    let options = match method.as_str() {
        "GET" => String::new(),
        "HEAD" => "-I ".to_owned(),
        other => format!("-X {other} "),
    };
    let names = parameters.iter().filter(|parameter| parameter.place != "path");
    let names: Vec<_> = names.map(|parameter| parameter.name.as_str()).collect();
    Row {
        path: format!("{prefix}{path}"),
        summary: summary
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(SUMMARY_LIMIT)
            .collect(),
        parameters: names.join(", "),
        // A space would part the target from the options.
        example: format!("{options}{}", target.replace(' ', "%20")),
        method,
    }
}

/// A parameter, with a value to try.
struct ShownParameter {
    name: String,
    place: String,
    required: bool,
    example: String,
}

/// The parameters of an operation and its path; the first of a name and place counts.
fn parameters(document: &Document, of: &[&Value]) -> Vec<ShownParameter> {
    let mut all: Vec<ShownParameter> = Vec::new();
    let lists = of.iter().filter_map(|one| one.get("parameters")?.as_array());
    for parameter in lists.flatten() {
        let parameter = document.resolve(parameter);
        let text = |key: &str| parameter.get(key).and_then(Value::as_str);
        let (Some(name), Some(place)) = (text("name"), text("in")) else {
            continue;
        };
        if all.iter().any(|known| known.name == name && known.place == place) {
            continue;
        }
        all.push(ShownParameter {
            name: name.to_owned(),
            place: place.to_owned(),
            required: parameter.get("required") == Some(&Value::Bool(true)),
            example: example(document, parameter),
        });
    }
    all
}

fn example(document: &Document, parameter: &Value) -> String {
    let schema = document.get(parameter, "schema").unwrap_or(&Value::Null);
    let first = |key: &str| schema.get(key)?.as_array()?.first();
    let given = parameter
        .get("example")
        .or_else(|| schema.get("example"))
        .or_else(|| schema.get("default"));
    match given.or_else(|| first("examples")).or_else(|| first("enum")) {
        Some(Value::String(text)) => text.clone(),
        Some(scalar @ (Value::Number(_) | Value::Bool(_))) => scalar.to_string(),
        _ => made(document, schema, parameter),
    }
}

/// What fits the schema: 1 if it does.
fn made(document: &Document, schema: &Value, parameter: &Value) -> String {
    let one = [Value::from(1), Value::from("1")];
    if schema.is_null() || one.iter().any(|one| document.checker.fits(schema, one)) {
        return "1".to_owned();
    }
    let dice = Dice::new(0, Stream::Documents, 0);
    let name = parameter.get("name").and_then(Value::as_str).unwrap_or_default();
    match Maker::checked(&document.root, document.checker.clone(), dice).value(schema, name) {
        scalar @ (Value::String(_) | Value::Number(_) | Value::Bool(_)) => plain(&scalar),
        _ => "1".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_is_listed_with_a_line_to_try() {
        let document = br#"{"openapi": "3.0.3", "info": {"title": "t", "version": "1"}, "paths": {"/pets/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string", "example": "a b"}}],
            "delete": {"operationId": "remove", "responses": {"204": {"description": ""}}},
            "get": {"summary": "One pet\nof all", "responses": {"200": {"description": ""}},
                "parameters": [{"name": "kind", "in": "query", "required": true, "schema": {"enum": ["cat", "dog"]}},
                    {"name": "page", "in": "query"}]}}}}"#;
        let document = Document::read_from(document, None).unwrap();
        let rows: Vec<_> = of(&document, "/v1")
            .into_iter()
            .map(|row| (row.summary, row.parameters, row.example))
            .collect();
        let expected = [
            ("One pet", "kind, page", "/v1/pets/a%20b?kind=cat"),
            ("remove", "", "-X DELETE /v1/pets/a%20b"),
        ];
        let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(rows, expected);
    }
}
