//! The response of an operation: which of those declared, in which media type, and its content.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::check::is_json;
use super::document::Document;
use super::encode::{Syntax, plain};
use super::links::Links;
use super::operations::Operation;
use super::schemas::Schema;
use super::{header_fields, paging};
use crate::fake::made_up::dice::Dice;
use crate::fake::picture::png;
use crate::fake::query::pairs;
use crate::fake::reply::{essence, json as json_reply};
use crate::fake::schema::Maker;

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

/// A request to an operation.
pub(super) struct Asked<'a> {
    pub(super) operation: &'a Operation,
    pub(super) head: &'a Parts,
    pub(super) preference: &'a Preference,
    /// The parameter that names what is below the path, with its schema.
    pub(super) below: Option<(&'a str, Option<&'a Schema>)>,
}

/// Answers as the operation says. `dice` makes up what has no example.
pub(super) fn respond<'a>(document: &'a Document, asked: &Asked<'a>, links: &Links<'_>, dice: Dice) -> Response {
    let Asked {
        operation, preference, ..
    } = asked;
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
    let mut maker = Maker::checked(&document.root, document.checker.clone(), dice);
    if preference.dynamic {
        maker = maker.without_examples();
    }
    let (mut reply, value) = match body(document, response, asked, links, &mut maker) {
        Ok(Some(body)) => {
            let media_type = [(CONTENT_TYPE, body.media_type)];
            ((status, media_type, body.bytes).into_response(), body.value)
        }
        Ok(None) => (status.into_response(), Value::Null),
        Err(refusal) => return *refusal,
    };
    if matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    ) {
        *reply.body_mut() = Body::empty();
        reply.headers_mut().remove(CONTENT_TYPE);
    }
    let headers = response.get("headers").and_then(Value::as_object);
    if let Some(headers) = headers.filter(|headers| !headers.is_empty()) {
        let id = id_of(&value, asked.below, &mut maker);
        for (name, header) in headers {
            header_fields::add(&mut reply, document, (name, header), links, &id, &mut maker);
        }
    }
    reply
}

/// What names the thing that an answer is about: in its body, as the parameter that names such things or as `id`, if that fits
/// the parameter; or else what fits.
fn id_of<'a>(body: &Value, below: Option<(&str, Option<&'a Schema>)>, maker: &mut Maker<'a>) -> String {
    let (name, schema) = below.unwrap_or(("id", None));
    let schema = schema.map(|schema| &schema.value);
    // Some wrap what they return.
    let holders = [Some(body), body.get("data")].into_iter().flatten();
    let mut given = holders.flat_map(|holder| [holder.get(name), holder.get("id")].into_iter().flatten());
    let fits = |value: &&Value| match value {
        Value::String(_) | Value::Number(_) => schema.is_none_or(|schema| maker.accepts(schema, value)),
        _ => false,
    };
    match (given.find(fits), schema) {
        (Some(id), _) => plain(id),
        (None, Some(schema)) => plain(&maker.value(schema, name)),
        (None, None) => maker.named("id"),
    }
}

fn unknown(what: &str, wanted: &str, known: Vec<String>) -> Response {
    let error = json!({"error": format!("the document has no {what} `{wanted}` here"), "known": known});
    json_reply(StatusCode::NOT_FOUND, &error)
}

/// `example`, or those of `examples`.
pub(super) fn examples<'a>(document: &'a Document, holder: &'a Value) -> Vec<&'a Value> {
    let several = holder.get("examples").and_then(Value::as_object);
    let several = several.into_iter().flat_map(Map::values);
    let values = several.filter_map(|example| document.resolve(example).get("value"));
    holder.get("example").into_iter().chain(values).collect()
}

/// A body, and the value that it stands for.
struct EncodedBody {
    media_type: HeaderValue,
    bytes: Vec<u8>,
    value: Value,
}

/// The smallest picture that a browser shows.
const PIXELS: u32 = 16;

fn body<'a>(
    document: &'a Document,
    response: &'a Value,
    asked: &Asked<'a>,
    links: &Links<'_>,
    maker: &mut Maker<'a>,
) -> Result<Option<EncodedBody>, Box<Response>> {
    let preference = asked.preference;
    let content = response
        .get("content")
        .and_then(Value::as_object)
        .filter(|content| !content.is_empty());
    let Some(content) = content else { return Ok(None) };
    let Some((name, media)) = negotiate(content, &asked.head.headers) else {
        let known: Vec<_> = content.keys().collect();
        let error = json!({"error": "the request accepts none of these media types", "known": known});
        return Err(Box::new(json_reply(StatusCode::NOT_ACCEPTABLE, &error)));
    };
    let media = document.resolve(media);
    let concrete = match essence(name).as_str() {
        "*/*" | "application/*" => "application/json".to_owned(),
        "text/*" => "text/plain".to_owned(),
        "image/*" => "image/png".to_owned(),
        "audio/*" => "audio/mpeg".to_owned(),
        "video/*" => "video/mp4".to_owned(),
        range if range.ends_with("/*") => "application/octet-stream".to_owned(),
        _ => name.clone(),
    };
    let Ok(media_type) = HeaderValue::from_str(&concrete) else {
        return Ok(None);
    };
    let syntax = Syntax::of(&essence(&concrete));
    // OpenAPI 3.2 describes the items of a stream.
    let schema = media.get("schema").or_else(|| media.get("itemSchema"));
    let given = match &preference.example {
        Some(wanted) => Some(named_example(document, media, wanted)?),
        // Without a schema there is nothing to make a value from.
        None if preference.dynamic && schema.is_some() => None,
        None => examples(document, media).first().copied(),
    };
    if given.is_none() && essence(&concrete) == "image/png" {
        let bytes = png(PIXELS, PIXELS, [0xc0, 0xc4, 0xcc]).to_vec();
        let value = Value::Null;
        return Ok(Some(EncodedBody {
            media_type,
            bytes,
            value,
        }));
    }
    let (mut value, is_given) = match (given, schema) {
        (Some(given), None) => (given.clone(), true),
        (Some(given), Some(_)) if preference.example.is_some() => (given.clone(), true),
        // An author's text of XML, or of a table, is not what the schema describes.
        (Some(given @ Value::String(_)), Some(_)) if syntax != Syntax::Json => (given.clone(), true),
        (Some(_), Some(schema)) => {
            let all = examples(document, media);
            match all.iter().find(|example| maker.accepts(schema, example)) {
                Some(example) => ((*example).clone(), true),
                None => like(maker, schema, given),
            }
        }
        (None, Some(schema)) => (maker.value(schema, ""), false),
        // Any value will do for a client that parses it.
        (None, None) if syntax == Syntax::Json => (json!({}), false),
        (None, None) => {
            let (bytes, value) = (Vec::new(), Value::Null);
            return Ok(Some(EncodedBody {
                media_type,
                bytes,
                value,
            }));
        }
    };
    if links.is_for_later_page() && preference.example.is_none() {
        value = maker.last_page(schema, value);
    }
    if let Some(schema) = schema.filter(|_| given.is_none()) {
        value = paging::agreeing(value, asked.operation, asked.head, |value| maker.accepts(schema, value));
    }
    links.turn(&mut value);
    let bytes = syntax.write(document, schema, &value, is_given);
    Ok(Some(EncodedBody {
        media_type,
        bytes,
        value,
    }))
}

/// A value that is like an example that does not fit, and whether an author wrote all of it.
fn like<'a>(maker: &mut Maker<'a>, schema: &'a Value, example: Option<&'a Value>) -> (Value, bool) {
    // Examples of JSON are often given as its text.
    let text = example.and_then(Value::as_str);
    if let Some(value) = text.and_then(|text| serde_json::from_str(text).ok())
        && maker.accepts(schema, &value)
    {
        return (value, true);
    }
    match example {
        Some(example) => (maker.value_like(schema, example), false),
        None => (maker.value(schema, ""), false),
    }
}

/// The example of this name.
fn named_example<'a>(document: &'a Document, media: &'a Value, wanted: &str) -> Result<&'a Value, Box<Response>> {
    let examples = media.get("examples").and_then(Value::as_object);
    let found = examples.and_then(|examples| document.resolve(examples.get(wanted)?).get("value"));
    found.ok_or_else(|| {
        let known = examples.map(|all| all.keys().cloned().collect());
        Box::new(unknown("example", wanted, known.unwrap_or_default()))
    })
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
        .map(range)
        // What is none at all wishes for nothing.
        .filter(|(range, _)| range.contains('/'))
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
