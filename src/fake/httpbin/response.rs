//! Building responses.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use super::python_json;

pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

pub(super) fn typed(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Response {
    let mut response = (status, Body::from(body.into())).into_response();
    if let Ok(content_type) = HeaderValue::from_str(content_type) {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    response
}

pub(super) fn reply(status: StatusCode, value: &Value) -> Response {
    typed(status, "application/json", python_json::pretty(value))
}

pub(super) fn empty(status: StatusCode) -> Response {
    typed(status, HTML, "")
}

/// The response to a parameter that makes no sense.
pub(super) fn bad(message: &str) -> Response {
    typed(StatusCode::BAD_REQUEST, TEXT, message.to_owned())
}

/// A page that names an error.
pub(super) fn error(status: StatusCode, explanation: &str) -> Response {
    let reason = status.canonical_reason().unwrap_or_default();
    let page = format!(
        "<!doctype html>\n<html lang=en>\n<title>{} {reason}</title>\n<h1>{reason}</h1>\n<p>{explanation}</p>\n",
        status.as_u16()
    );
    typed(status, HTML, page)
}

/// Adds a field, if it can be one.
pub(super) fn header(mut response: Response, name: impl TryInto<HeaderName>, value: &str) -> Response {
    if let (Ok(name), Ok(value)) = (name.try_into(), HeaderValue::from_bytes(value.as_bytes())) {
        response.headers_mut().append(name, value);
    }
    response
}

/// Adds a field that a query names, unless it is one that frames the message.
pub(super) fn chosen_header(response: Response, name: &str, value: &str) -> Response {
    if ["content-length", "transfer-encoding", "connection"].contains(&name.to_ascii_lowercase().as_str()) {
        return response;
    }
    header(response, name, value)
}

/// A 302 to a path of this server, or to a URL.
pub(super) fn redirect(location: &str) -> Response {
    let shown = location
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;");
    let page = format!(
        "<!doctype html>\n<html lang=en>\n<title>Redirecting...</title>\n<p>See <a href=\"{shown}\">{shown}</a>.\n"
    );
    header(typed(StatusCode::FOUND, HTML, page), LOCATION, location)
}

pub(super) fn cookie(response: Response, name: &str, value: &str) -> Response {
    header(response, SET_COOKIE, &format!("{name}={}; Path=/", quoted(value)))
}

/// A cookie's value, in quotes and escaped where RFC 6265 does not allow it as it is.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_!#$%&'()*+-./:<=>?@[]^`{|}~".contains(&byte);
    if value.bytes().all(plain) {
        return value.to_owned();
    }
    let mut text = String::from("\"");
    for byte in value.bytes() {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b',' | b';' | 0..=0x19 | 0x7f.. => text.push_str(&format!("\\{byte:03o}")),
            _ => text.push(char::from(byte)),
        }
    }
    text.push('"');
    text
}
