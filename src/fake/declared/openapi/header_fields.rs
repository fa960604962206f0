//! The header fields of a response.

use axum::response::Response;
use http::header::{CONTENT_LOCATION, LINK, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use super::document::Document;
use super::encode::plain;
use super::links::Links;
use super::respond::examples;
use crate::fake::schema::Maker;

/// Adds a field that a response is declared with. `id` names what a request has made.
pub(super) fn add<'a>(
    reply: &mut Response,
    document: &'a Document,
    (name, header): (&str, &'a Value),
    links: &Links<'_>,
    id: &str,
    maker: &mut Maker<'a>,
) {
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
        return;
    };
    if !is_for_the_document(&name) {
        return;
    }
    let header = document.resolve(header);
    let content = header.get("content").and_then(Value::as_object);
    let media = content.and_then(|content| content.values().next());
    let schema = header
        .get("schema")
        .or_else(|| media?.get("schema"))
        .unwrap_or(&Value::Null);
    let given = examples(document, header).first().copied().cloned();
    let given = given.or_else(|| maker.has_example(schema).then(|| maker.value(schema, name.as_str())));
    let text = match given {
        // What is not there is not on a next page.
        None if name == LINK => return,
        None if name == LOCATION || name == CONTENT_LOCATION => {
            let is_new = name == LOCATION && reply.status() == StatusCode::CREATED;
            links.made(is_new, id)
        }
        None => written(maker.value(schema, name.as_str()), media.is_some()),
        Some(given) => written(given, media.is_some()),
    };
    let text = if name == LINK {
        links.link(&text)
    } else if name == LOCATION || name == CONTENT_LOCATION {
        links.location(&text)
    } else {
        links.text(&text).into_owned()
    };
    if let Ok(value) = HeaderValue::from_str(&text)
        && !text.is_empty()
    {
        reply.headers_mut().insert(name, value);
    }
}

/// OpenAPI: a Content-Type here shall be ignored. What frames or codes the message (RFC 9110, sections 7.6.1 and 8.4) is not
/// the document's to say, as the body is written anew.
fn is_for_the_document(name: &HeaderName) -> bool {
    !matches!(
        name.as_str(),
        "connection"
            | "content-encoding"
            | "content-length"
            | "content-range"
            | "content-type"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// A value in the style `simple`, without and with names (OpenAPI 3.1.1, section 4.8.12.3), or as JSON.
fn written(value: Value, is_json: bool) -> String {
    match value {
        Value::Null => String::new(),
        value if is_json => value.to_string(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        Value::Object(map) => {
            let pairs = map.iter().map(|(name, value)| format!("{name},{}", plain(value)));
            pairs.collect::<Vec<_>>().join(",")
        }
        other => plain(&other),
    }
}
