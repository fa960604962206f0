//! The response of an operation: which of those declared, in which media type, and its content.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::check::is_json;
use super::document::Document;
use super::operations::Operation;
use crate::fake::made_up::dice::Dice;
use crate::fake::query::pairs;
use crate::fake::reply::{essence, json as json_reply};
use crate::fake::schema::{Maker, reference};

/// What the `Prefer` fields of a request ask for (RFC 7240, with the preferences that Prism knows), or its query: `__code`,
/// `__example` and `__dynamic`, for those who can't set fields. The fields win.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Preference {
    code: Option<String>,
    example: Option<String>,
    /// Whether examples are passed over for made-up values.
    dynamic: bool,
}

impl Preference {
    pub(super) fn read(head: &Parts) -> Self {
        let mut preference = Self::default();
        if let Some(query) = head.uri.query().filter(|query| query.contains("__")) {
            for (name, value) in pairs(query.as_bytes()) {
                if let Some(name) = name.strip_prefix("__") {
                    preference.set(name, value);
                }
            }
        }
        let lines = head
            .headers
            .get_all("prefer")
            .into_iter()
            .filter_map(|value| value.to_str().ok());
        for one in lines.flat_map(|line| line.split([',', ';'])) {
            let (name, value) = one.split_once('=').unwrap_or((one, ""));
            let value = value.trim().trim_matches('"').to_owned();
            preference.set(&name.trim().to_ascii_lowercase(), value);
        }
        preference
    }

    fn set(&mut self, name: &str, value: String) {
        match name {
            "code" => self.code = Some(value),
            "example" => self.example = Some(value),
            "dynamic" => self.dynamic = value != "false",
            _ => {}
        }
    }

    /// Whether it asks for this very status.
    pub(super) fn is_for(&self, status: StatusCode) -> bool {
        self.code.as_deref() == Some(status.as_str())
    }
}

/// Answers as the operation says. `dice` makes up what has no example.
pub(super) fn respond(
    document: &Document,
    operation: &Operation,
    headers: &HeaderMap,
    preference: &Preference,
    dice: Dice,
) -> Response {
    let (status, response) = match &preference.code {
        None => operation.responses.success(),
        Some(code) => {
            let status = StatusCode::from_bytes(code.as_bytes())
                .ok()
                .filter(|status| (200..600).contains(&status.as_u16()));
            match status.and_then(|status| Some((status, operation.responses.of(status)?))) {
                Some((status, response)) => (status, Some(response)),
                None => return unknown("response", code, operation.responses.names()),
            }
        }
    };
    let status = if status.is_informational() {
        StatusCode::OK
    } else {
        status
    };
    let Some(response) = response else {
        return status.into_response();
    };
    let mut maker = Maker::new(&document.root, dice);
    let mut reply = match body(document, response, headers, preference, &mut maker) {
        Ok(Some((media_type, body))) => (status, [(CONTENT_TYPE, media_type)], body).into_response(),
        Ok(None) => status.into_response(),
        Err(refusal) => return *refusal,
    };
    if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        *reply.body_mut() = Body::empty();
        reply.headers_mut().remove(CONTENT_TYPE);
    }
    for (name, header) in response.get("headers").and_then(Value::as_object).into_iter().flatten() {
        add_header(&mut reply, document, name, header, &mut maker);
    }
    reply
}

fn unknown(what: &str, wanted: &str, known: Vec<String>) -> Response {
    let error = json!({"error": format!("the document has no {what} `{wanted}` here"), "known": known});
    json_reply(StatusCode::NOT_FOUND, &error)
}

fn add_header<'a>(reply: &mut Response, document: &'a Document, name: &str, header: &'a Value, maker: &mut Maker<'a>) {
    // OpenAPI: a Content-Type here shall be ignored. What frames the message is not the document's to say.
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
        return;
    };
    if matches!(
        name.as_str(),
        "content-type" | "content-length" | "transfer-encoding" | "connection"
    ) {
        return;
    }
    let header = document.resolve(header);
    let value = match example(document, header, None) {
        Some(value) => value.clone(),
        None => maker.value(header.get("schema").unwrap_or(&Value::Null), name.as_str()),
    };
    let text = match value {
        Value::Null => return,
        Value::String(text) => text,
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => plain(&other),
    };
    if let Ok(value) = HeaderValue::from_str(&text) {
        reply.headers_mut().insert(name, value);
    }
}

/// `example`, or that of `examples` with this name, or the first.
fn example<'a>(document: &'a Document, holder: &'a Value, name: Option<&str>) -> Option<&'a Value> {
    let examples = holder.get("examples").and_then(Value::as_object);
    let named = |example: &'a Value| document.resolve(example).get("value");
    match name {
        Some(name) => examples?.get(name).and_then(named),
        None => holder.get("example").or_else(|| examples?.values().find_map(named)),
    }
}

type EncodedBody = Option<(HeaderValue, Vec<u8>)>;

fn body<'a>(
    document: &'a Document,
    response: &'a Value,
    headers: &HeaderMap,
    preference: &Preference,
    maker: &mut Maker<'a>,
) -> Result<EncodedBody, Box<Response>> {
    let content = response
        .get("content")
        .and_then(Value::as_object)
        .filter(|content| !content.is_empty());
    let Some(content) = content else { return Ok(None) };
    let Some((name, media)) = negotiate(content, headers) else {
        let known: Vec<_> = content.keys().collect();
        let error = json!({"error": "the request accepts none of these media types", "known": known});
        return Err(Box::new(json_reply(StatusCode::NOT_ACCEPTABLE, &error)));
    };
    let media = document.resolve(media);
    let given = match &preference.example {
        Some(wanted) => {
            let names = || {
                media
                    .get("examples")
                    .and_then(Value::as_object)
                    .map(|all| all.keys().cloned().collect())
            };
            let found = example(document, media, Some(wanted));
            Some(found.ok_or_else(|| Box::new(unknown("example", wanted, names().unwrap_or_default())))?)
        }
        None if preference.dynamic => None,
        None => example(document, media, None),
    };
    let schema = media.get("schema");
    let value = match (given, schema) {
        (Some(given), _) => given.clone(),
        (None, Some(schema)) => maker.value(schema, ""),
        (None, None) => return Ok(None),
    };
    let concrete = match essence(name).as_str() {
        "*/*" | "application/*" => "application/json".to_owned(),
        "text/*" => "text/plain".to_owned(),
        range if range.ends_with("/*") => "application/octet-stream".to_owned(),
        _ => name.clone(),
    };
    let Ok(media_type) = HeaderValue::from_str(&concrete) else {
        return Ok(None);
    };
    let root = schema.and_then(|schema| root_name(document, schema));
    Ok(Some((
        media_type,
        write(&essence(&concrete), value, given.is_some(), root),
    )))
}

fn write(essence: &str, value: Value, given: bool, root: Option<String>) -> Vec<u8> {
    if is_json(essence) {
        // Examples of JSON are often given as its text.
        let text = value
            .as_str()
            .filter(|text| given && text.trim_start().starts_with(['{', '[']));
        if let Some(text) = text.filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()) {
            return text.as_bytes().to_vec();
        }
        return value.to_string().into_bytes();
    }
    let xml = essence == "application/xml" || essence == "text/xml" || essence.ends_with("+xml");
    match value {
        Value::String(text) if !xml || given => text.into_bytes(),
        value if xml => {
            let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
            write_xml(&mut text, &root.unwrap_or_else(|| "root".to_owned()), &value);
            text.into_bytes()
        }
        value => plain(&value).into_bytes(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn root_name(document: &Document, schema: &Value) -> Option<String> {
    let named = document.resolve(schema).pointer("/xml/name").and_then(Value::as_str);
    let referred = || reference(schema)?.rsplit('/').next();
    named.or_else(referred).map(str::to_owned)
}

/// Elements only. A list stands as one element for each of its items.
fn write_xml(text: &mut String, name: &str, value: &Value) {
    let letters = |character: char| character.is_alphanumeric() || "_-.".contains(character);
    let name = if name.starts_with(char::is_alphabetic) && name.chars().all(letters) {
        name
    } else {
        "item"
    };
    text.push_str(&format!("<{name}>"));
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::Array(items) => items.iter().for_each(|item| write_xml(text, key, item)),
                    value => write_xml(text, key, value),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| write_xml(text, "item", item)),
        Value::Null => {}
        value => {
            let plain = plain(value);
            text.push_str(&plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"));
        }
    }
    text.push_str(&format!("</{name}>"));
}

/// The entry that the client likes most (RFC 9110, section 12.5.1); among equals JSON, then the first.
fn negotiate<'a>(content: &'a Map<String, Value>, headers: &HeaderMap) -> Option<(&'a String, &'a Value)> {
    let lines: Vec<_> = headers
        .get_all(ACCEPT)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let accept = lines.join(",");
    let ranges: Vec<(String, f32)> = accept
        .split(',')
        .filter(|range| !range.trim().is_empty())
        .map(range)
        .collect();
    let mut best: Option<(f32, &String, &Value)> = None;
    let json_first = content.iter().filter(|(name, _)| is_json(&essence(name)));
    let others = content.iter().filter(|(name, _)| !is_json(&essence(name)));
    for (name, media) in json_first.chain(others) {
        let quality = if ranges.is_empty() {
            1.0
        } else {
            quality(&ranges, &essence(name))
        };
        if quality > 0.0 && best.is_none_or(|(best, ..)| quality > best) {
            best = Some((quality, name, media));
        }
    }
    best.map(|(_, name, media)| (name, media))
}

fn range(text: &str) -> (String, f32) {
    let weight = text
        .split(';')
        .skip(1)
        .find_map(|part| part.trim().to_ascii_lowercase().strip_prefix("q=")?.parse().ok());
    (essence(text), weight.unwrap_or(1.0))
}

/// The weight of the most precise range that has the type.
fn quality(ranges: &[(String, f32)], essence: &str) -> f32 {
    let class = essence.split('/').next().unwrap_or_default();
    let find = |wanted: &str| {
        ranges
            .iter()
            .find(|(range, _)| range == wanted)
            .map(|(_, weight)| *weight)
    };
    // A range in the document is met by any type of that kind.
    let met = || {
        let class = essence.strip_suffix('*')?;
        let class = if class == "*/" { "" } else { class };
        ranges
            .iter()
            .find(|(range, _)| range.starts_with(class))
            .map(|(_, weight)| *weight)
    };
    // Clients of `application/vnd.x+json` read JSON of other names, too, if there is nothing that they like better.
    let kin = || {
        let suffix = syntax(essence)?;
        let mut kin = ranges.iter().filter(|(range, _)| syntax(range) == Some(suffix));
        kin.next().map(|(_, weight)| weight / 1000.0)
    };
    find(essence)
        .or_else(met)
        .or_else(|| find(&format!("{class}/*")))
        .or_else(|| find("*/*"))
        .or_else(kin)
        .unwrap_or(0.0)
}

/// How a media type is written underneath: `json` for `application/json` and `application/hal+json` (RFC 6838, section 4.2.8).
fn syntax(essence: &str) -> Option<&str> {
    let (_, subtype) = essence.split_once('/')?;
    let suffix = subtype.rsplit('+').next()?;
    matches!(suffix, "json" | "xml" | "yaml").then_some(suffix)
}
