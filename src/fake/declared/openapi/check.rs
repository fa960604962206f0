//! Whether a request is as its operation says.

use std::collections::HashMap;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE};
use http::request::Parts;
use serde_json::{Map, Value};

use super::document::Document;
use super::operations::{Operation, Parameter, ParameterLocation, RequestBody};
use super::validate::{PROBLEMS_LIMIT, RequestProblem, Validator};
use crate::fake::query::{decode_path, pairs};
use crate::fake::reply::essence;
use crate::fake::schema::kind;

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The body has another media type; these are known.
    MediaType(Vec<String>),
    /// The body can't be read as what it says it is.
    Malformed(String),
    Problems(Vec<RequestProblem>),
}

/// Checks the parameters and the body.
pub(super) fn check(
    document: &Document,
    validator: &Validator,
    operation: &Operation,
    path: &HashMap<String, String>,
    head: &Parts,
    body: &Bytes,
) -> Result<(), Refusal> {
    let query = pairs(head.uri.query().unwrap_or("").as_bytes());
    let mut problems = Vec::new();
    for parameter in &operation.parameters {
        let texts = texts(parameter, path, &query, head);
        if texts.is_empty() {
            if parameter.required {
                problems.push(RequestProblem {
                    part: parameter.place.name(),
                    field: parameter.name.clone(),
                    message: "is missing".to_owned(),
                });
            }
            continue;
        }
        if !parameter.opaque {
            let value = read(document, parameter, &texts);
            problems.extend(validator.check(parameter.schema.number, parameter.place.name(), &parameter.name, value));
        }
    }
    if let Some(described) = &operation.body {
        problems.extend(check_body(document, validator, described, head, body)?);
    }
    problems.truncate(PROBLEMS_LIMIT);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Refusal::Problems(problems))
    }
}

/// What a request has for a parameter.
fn texts(
    parameter: &Parameter,
    path: &HashMap<String, String>,
    query: &[(String, String)],
    head: &Parts,
) -> Vec<String> {
    let name = &parameter.name;
    let headers = |name: &str| {
        head.headers
            .get_all(name)
            .into_iter()
            .filter_map(|value| value.to_str().ok())
    };
    match parameter.place {
        ParameterLocation::Path => path.get(name).cloned().into_iter().collect(),
        ParameterLocation::Query => {
            // `tags[]` is how some clients name a list, and `filter[a]` how deep objects are written.
            let deep = format!("{name}[");
            let mine = query
                .iter()
                .filter(|(key, _)| key == name || (parameter.opaque && key.starts_with(&deep)));
            mine.map(|(_, value)| value.clone()).collect()
        }
        ParameterLocation::Header => headers(name).map(str::to_owned).collect(),
        ParameterLocation::Cookie => headers(COOKIE.as_str())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(key, _)| key == name)
            .map(|(_, value)| decode_path(value))
            .collect(),
    }
}

/// A text as the type that the schema wants; as text where it can't be that.
fn read(document: &Document, parameter: &Parameter, texts: &[String]) -> Value {
    let schema = &parameter.schema.value;
    if kind(&[schema]) == "array" && schema.get("type").is_some() {
        let items = document.get(schema, "items").unwrap_or(&Value::Null);
        let texts = texts.iter().flat_map(|text| match parameter.separator {
            Some(separator) => text.split(separator).collect::<Vec<_>>(),
            None => vec![text.as_str()],
        });
        return texts
            .map(|text| scalar(document, items, text))
            .collect::<Vec<_>>()
            .into();
    }
    scalar(document, schema, texts.first().map_or("", String::as_str))
}

fn scalar(document: &Document, schema: &Value, text: &str) -> Value {
    let options = ["oneOf", "anyOf", "allOf"]
        .iter()
        .filter_map(|key| schema.get(key)?.as_array())
        .flatten();
    let mut kinds: Vec<&str> = options.map(|option| kind(&[document.resolve(option)])).collect();
    match schema.get("type") {
        Some(Value::Array(several)) => kinds.extend(several.iter().filter_map(Value::as_str)),
        Some(Value::String(one)) => kinds.push(one),
        _ => {}
    }
    for kind in kinds {
        let value = match kind {
            "integer" | "number" => {
                let integer = text.parse::<i64>().ok().map(Value::from);
                integer.or_else(|| {
                    text.parse::<f64>()
                        .ok()
                        .filter(|number| number.is_finite())
                        .map(Value::from)
                })
            }
            "boolean" => text.parse::<bool>().ok().map(Value::from),
            _ => None,
        };
        if let Some(value) = value {
            return value;
        }
    }
    text.into()
}

fn check_body(
    document: &Document,
    validator: &Validator,
    described: &RequestBody,
    head: &Parts,
    body: &Bytes,
) -> Result<Vec<RequestProblem>, Refusal> {
    let missing = RequestProblem {
        part: "body",
        field: String::new(),
        message: "is missing".to_owned(),
    };
    if body.is_empty() {
        return Ok(if described.required { vec![missing] } else { Vec::new() });
    }
    if described.content.is_empty() {
        return Ok(Vec::new());
    }
    let given = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = essence(given.unwrap_or("application/json"));
    let Some(schema) = media(&described.content, &essence) else {
        let known = described.content.iter().map(|(name, _)| name.clone());
        return Err(Refusal::MediaType(known.collect()));
    };
    let Some(schema) = schema else {
        return Ok(Vec::new());
    };
    let value = if is_json(&essence) {
        serde_json::from_slice(body)
            .map_err(|error| Refusal::Malformed(format!("the body is not valid JSON: {error}")))?
    } else if essence == "application/x-www-form-urlencoded" {
        form(document, &schema.value, body)
    } else {
        return Ok(Vec::new());
    };
    Ok(validator.check(schema.number, "body", "", value))
}

fn form(document: &Document, schema: &Value, body: &Bytes) -> Value {
    let mut object = Map::new();
    for (name, text) in pairs(String::from_utf8_lossy(body).as_bytes()) {
        let property = property(document, schema, &name, 0).unwrap_or(&Value::Null);
        if kind(&[property]) == "array" {
            let item = scalar(document, document.get(property, "items").unwrap_or(&Value::Null), &text);
            let list = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            if let Some(list) = list.as_array_mut() {
                list.push(item);
            }
        } else {
            let value = scalar(document, property, &text);
            object.insert(name, value);
        }
    }
    Value::Object(object)
}

/// What a schema, or one that it is composed of, says of a property.
fn property<'a>(document: &'a Document, schema: &'a Value, name: &str, depth: usize) -> Option<&'a Value> {
    let schema = document.resolve(schema);
    let own = schema
        .get("properties")
        .and_then(|properties| document.get(properties, name));
    own.or_else(|| {
        let parts = ["allOf", "anyOf", "oneOf"]
            .iter()
            .filter_map(|key| schema.get(key)?.as_array());
        let mut parts = parts.flatten().filter(|_| depth < 8);
        parts.find_map(|part| property(document, part, name, depth + 1))
    })
}

/// The entry of `content` for a media type: itself, or a range such as `image/*`.
fn media<'a, T>(content: &'a [(String, T)], wanted: &str) -> Option<&'a T> {
    let exact = content.iter().find(|(name, _)| essence(name) == wanted);
    let range = || {
        content.iter().find(|(name, _)| {
            let name = essence(name);
            name == "*/*" || name.strip_suffix('*').is_some_and(|class| wanted.starts_with(class))
        })
    };
    exact.or_else(range).map(|(_, media)| media)
}

pub(super) fn is_json(essence: &str) -> bool {
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}
