//! Conditional requests and fields of one's choice.

use axum::response::Response;
use http::StatusCode;
use http::header::{CACHE_CONTROL, ETAG, LAST_MODIFIED};
use serde_json::{Map, Value};

use super::request::HttpbinRequest;
use super::response::{chosen_header, header, reply, typed};
use super::{GET_KEYS, python_json, status};

fn described(request: &HttpbinRequest) -> Response {
    reply(StatusCode::OK, &Value::Object(request.describe(GET_KEYS)))
}

/// A 304 to any conditional request.
pub(super) fn cache(request: &HttpbinRequest, tag: &str) -> Response {
    if request.headers.contains_key("if-modified-since") || request.headers.contains_key("if-none-match") {
        return status::response(304);
    }
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let now = time::OffsetDateTime::now_utc().format(&format).unwrap_or_default();
    header(header(described(request), LAST_MODIFIED, &now), ETAG, tag)
}

pub(super) fn max_age(request: &HttpbinRequest, seconds: &str) -> Response {
    header(described(request), CACHE_CONTROL, &format!("public, max-age={seconds}"))
}

/// A resource with this tag: RFC 9110, sections 13.1.1 and 13.1.2, but that the tag has no quotes, as in httpbin.
pub(super) fn etag(request: &HttpbinRequest, etag: &str) -> Response {
    let tags = |name: &str| -> Vec<String> {
        let text = request.header(name).unwrap_or_default();
        let tags = text
            .split(',')
            .map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned());
        tags.filter(|_| !text.is_empty()).collect()
    };
    let names = |tags: &[String]| tags.iter().any(|tag| tag == etag || tag == "*");
    let (none, some) = (tags("if-none-match"), tags("if-match"));
    if !none.is_empty() {
        if names(&none) {
            return header(status::response(304), ETAG, etag);
        }
    } else if !some.is_empty() && !names(&some) {
        return status::response(412);
    }
    header(described(request), ETAG, etag)
}

/// The query's parameters as header fields, and the fields as JSON. The body states its own length, so it is written
/// until that is right; that settles at once or with the next digit.
pub(super) fn response_headers(request: &HttpbinRequest) -> Response {
    let mut length = 0;
    let mut body = String::new();
    for _ in 0..5 {
        body = python_json::pretty(&fields(request, length));
        if body.len() == length {
            break;
        }
        length = body.len();
    }
    let mut response = typed(StatusCode::OK, "application/json", body);
    for (name, value) in &request.query {
        response = chosen_header(response, name, value);
    }
    response
}

fn fields(request: &HttpbinRequest, length: usize) -> Value {
    let mut all = vec![
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("Content-Length".to_owned(), length.to_string()),
    ];
    all.extend(request.query.iter().cloned());
    let mut map = Map::new();
    for (name, _) in &all {
        let same = all.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let mut values: Vec<_> = same.map(|(_, value)| Value::String(value.clone())).collect();
        let value = if values.len() == 1 {
            values.swap_remove(0)
        } else {
            Value::Array(values)
        };
        map.insert(name.clone(), value);
    }
    Value::Object(map)
}
