//! The body of a request: JSON, forms, and texts.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde_json::{Map, Value};

use super::super::document::{Document, parse};
use super::super::operations::{MediaType, RequestBody};
use super::super::schemas::Schema;
use super::super::validate::{MISSING, RequestProblem, Validator};
use super::multipart;
use super::typed::{FieldTree, FieldValue, Layers, Reading};
use super::{Refusal, is_json};
use crate::fake::query::{decode_form, raw_pairs};
use crate::fake::reply::essence;
use crate::fake::schema::{is_marked, property};

/// What is wrong with a body.
///
/// # Errors
/// It has a media type that the document does not know, or can't be read as what it says it is.
pub(super) fn check(
    document: &Document,
    validator: &Validator,
    described: &RequestBody,
    head: &Parts,
    body: &Bytes,
) -> Result<Vec<RequestProblem>, Refusal> {
    let given = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // An empty form is one without fields, and an empty text is one, too.
    let is_empty = body.is_empty() && !given.is_some_and(|given| is_fine_empty(described, &essence(given)));
    if is_empty || (body.is_empty() && !described.required) {
        let missing = problem("", MISSING);
        return Ok(if described.required { vec![missing] } else { Vec::new() });
    }
    if described.content.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = given.map_or_else(|| usual(described), essence);
    let Some(media) = media(&described.content, &wanted) else {
        let known = described.content.iter().map(|(name, _)| name.clone());
        return Err(Refusal::MediaType(known.collect()));
    };
    let Some(schema) = &media.schema else {
        return Ok(Vec::new());
    };
    if is_json(&wanted) {
        let value = serde_json::from_slice(body)
            .map_err(|error| Refusal::Malformed(format!("the body is not valid JSON: {error}")))?;
        // A JSON patch is a list (RFC 6902), even where one schema is written for all kinds of patches, as in Kubernetes.
        if wanted == "application/json-patch+json" && Value::is_array(&value) {
            let kinds = Layers::of(document, [&schema.value]).kinds();
            if !kinds.contains(&"array") {
                return Ok(Vec::new());
            }
        }
        let problems = validator.check(schema.number, "body", "", value);
        return Ok(without_read_only(document, schema, problems));
    }
    let layers = Layers::of(document, [&schema.value]);
    if wanted == FORM {
        let mut problems = reserved(media, body);
        let fields = form(&layers, media, body);
        problems.extend(hold_form(validator, schema, &layers, &fields));
        return Ok(problems);
    }
    if wanted.starts_with("multipart/") {
        let boundary = given.and_then(crate::content::multipart::boundary);
        let boundary = boundary.ok_or_else(|| Refusal::Malformed("the Content-Type has no `boundary`".to_owned()))?;
        let fields = multipart::read(body, &boundary, &layers).map_err(Refusal::Malformed)?;
        return Ok(hold_form(validator, schema, &layers, &fields));
    }
    if is_yaml(&wanted) {
        let value = parse(body)
            .map_err(|problems| Refusal::Malformed(format!("the body is not valid YAML: {}", problems.join("; "))))?;
        return Ok(validator.check(schema.number, "body", "", value));
    }
    if wanted.starts_with("text/") && layers.kinds().iter().any(|kind| !matches!(*kind, "object" | "array")) {
        let text = String::from_utf8_lossy(body);
        let readings = Reading::ALL.map(|reading| layers.scalar(&text, reading));
        return Ok(validator.check_any(schema.number, "body", "", readings));
    }
    Ok(Vec::new())
}

/// Problems without those of properties that only the server sets. Where a part of `allOf` requires what another part describes,
/// no schema alone tells that.
fn without_read_only(document: &Document, schema: &Schema, mut problems: Vec<RequestProblem>) -> Vec<RequestProblem> {
    let root = &document.root;
    problems.retain(|problem| {
        let described = problem
            .field
            .split('.')
            .try_fold(&schema.value, |schema, name| property(root, schema, name, 0));
        let is_read_only = described.is_some_and(|property| is_marked(root, property, "readOnly"));
        !(is_read_only && problem.message == MISSING)
    });
    problems
}

fn is_yaml(essence: &str) -> bool {
    let subtype = essence.split_once('/').map_or("", |(_, subtype)| subtype);
    matches!(subtype, "yaml" | "x-yaml" | "yml" | "vnd.yaml") || subtype.ends_with("+yaml")
}

const FORM: &str = "application/x-www-form-urlencoded";

fn problem(field: &str, message: &str) -> RequestProblem {
    RequestProblem {
        part: "body",
        field: field.to_owned(),
        message: message.to_owned(),
    }
}

/// Whether an empty body can be one of this media type.
fn is_fine_empty(described: &RequestBody, wanted: &str) -> bool {
    (wanted == FORM || wanted.starts_with("text/")) && described.content.iter().any(|(name, _)| essence(name) == wanted)
}

/// The media type of a body that does not say its own: JSON if it may be that, or else the first that is described.
fn usual(described: &RequestBody) -> String {
    let mut names = described.content.iter().map(|(name, _)| essence(name));
    let json = names.clone().any(|name| is_json(&name) || name.contains('*'));
    let first = names.next().filter(|_| !json);
    first.unwrap_or_else(|| "application/json".to_owned())
}

fn hold_form(validator: &Validator, schema: &Schema, layers: &Layers<'_>, fields: &FieldTree) -> Vec<RequestProblem> {
    let readings = Reading::ALL.map(|reading| match fields.read(layers, reading) {
        // Without fields there is nothing that tells.
        Value::String(text) if text.is_empty() => Value::Object(Map::new()),
        value => value,
    });
    // A list without items has no field, either.
    let with_lists = readings.clone().map(|mut value| {
        if let Some(fields) = value.as_object_mut() {
            for (name, _) in layers
                .named()
                .filter(|(name, _)| layers.property(name).kinds() == ["array"])
            {
                fields.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            }
        }
        value
    });
    let readings = readings.into_iter().chain(with_lists);
    validator.check_any(schema.number, "body", "", readings)
}

/// The fields of a form.
fn form(layers: &Layers<'_>, media: &MediaType, body: &Bytes) -> FieldTree {
    let text = String::from_utf8_lossy(body);
    let mut fields = FieldTree::default();
    for (name, raw) in raw_pairs(&text) {
        let value = decode_form(raw);
        let encoding = |key: &str| media.encoding.get(&name)?.get(key);
        if encoding("contentType")
            .and_then(Value::as_str)
            .is_some_and(|media| is_json(&essence(media)))
            && let Ok(value) = serde_json::from_str(&value)
        {
            fields.add_literally(&name, FieldValue::Json(value));
            continue;
        }
        let separator = match encoding("style").and_then(Value::as_str) {
            Some("spaceDelimited") => Some(' '),
            Some("pipeDelimited") => Some('|'),
            _ if encoding("explode") == Some(&Value::Bool(false)) => Some(','),
            _ => None,
        };
        let is_list = || layers.property(&name).kinds().contains(&"array");
        match separator.filter(|_| is_list()) {
            Some(separator) => value
                .split(separator)
                .for_each(|item| fields.add_literally(&name, FieldValue::Text(item.to_owned()))),
            None if layers.named().any(|(key, _)| key == name) => fields.add_literally(&name, FieldValue::Text(value)),
            None => fields.add(&name, FieldValue::Text(value)),
        }
    }
    fields
}

/// FieldTree that have reserved characters, though the document says `allowReserved: false` of them.
fn reserved(media: &MediaType, body: &Bytes) -> Vec<RequestProblem> {
    let denied = |name: &str| {
        let encoding = media.encoding.get(name);
        encoding.and_then(|encoding| encoding.get("allowReserved")) == Some(&Value::Bool(false))
    };
    if media.encoding.is_empty() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(body);
    raw_pairs(&text)
        .filter(|(name, raw)| denied(name) && raw.contains(|letter| ":/?#[]@!$&'()*,;=".contains(letter)))
        .map(|(name, _)| problem(&name, "must have its reserved characters percent-encoded"))
        .collect()
}

/// The entry of `content` for a media type: itself, a range such as `image/*`, or of JSON any other kind of JSON.
fn media<'a>(content: &'a [(String, MediaType)], wanted: &str) -> Option<&'a MediaType> {
    let find = |fits: &dyn Fn(&str) -> bool| content.iter().find(|(name, _)| fits(&essence(name)));
    let exact = find(&|name| name == wanted);
    let range = || {
        find(&|name| {
            name.strip_suffix('*')
                .is_some_and(|class| class == "*/" || wanted.starts_with(class))
        })
    };
    let json = || find(&|name| is_json(name) && is_json(wanted));
    exact.or_else(range).or_else(json).map(|(_, media)| media)
}
