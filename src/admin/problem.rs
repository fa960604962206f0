//! Responses of the admin API: JSON, and errors as plain text or, if JSON is asked for, as problem details (RFC 9457).

use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

/// The format that a caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accept {
    /// Anything, or nothing known.
    Any,
    /// Plain text.
    Text,
    /// HTML, among others.
    Html,
    /// JSON.
    Json,
}

impl Accept {
    /// The format that a request asks for: the first of JSON and HTML in `Accept` (RFC 9110, section 12.5.1). Entries with
    /// `q=0` are skipped; other weights are ignored.
    pub(super) fn of(headers: &HeaderMap) -> Accept {
        let lists = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        lists
            .flat_map(|list| list.split(','))
            .find_map(Accept::of_range)
            .unwrap_or(Accept::Any)
    }

    fn of_range(range: &str) -> Option<Accept> {
        let mut parts = range.split(';').map(|part| part.trim().to_ascii_lowercase());
        let kind = parts.next()?;
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
        if weight == Some(0.0) {
            return None;
        }
        match kind.as_str() {
            "text/html" => Some(Accept::Html),
            "text/plain" => Some(Accept::Text),
            "application/json" | "text/json" => Some(Accept::Json),
            kind => (kind.starts_with("application/") && kind.ends_with("+json")).then_some(Accept::Json),
        }
    }
}

/// What went wrong with a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// The problem in words, in one or more lines.
    pub(super) detail: String,
    /// Additional members of the JSON form.
    pub(super) members: Vec<(&'static str, Value)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            detail: detail.into(),
            members: Vec::new(),
        }
    }

    /// A malformed request (400).
    pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Problem {
        self.members.push((name, value.into()));
        self
    }

    pub(super) fn answer(self, accept: Accept) -> Response {
        if accept != Accept::Json {
            return (self.status, format!("{}\n", self.detail.trim_end())).into_response();
        }
        let mut problem = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(problem) = problem.as_object_mut() {
            problem.extend(self.members.into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
        let mut response = json_answer(&problem);
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, http::HeaderValue::from_static("application/problem+json"));
        response
    }
}

/// A JSON response, indented for reading with curl.
pub(super) fn json_answer(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], format!("{value:#}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_follows_accept() {
        let of = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            Accept::of(&headers)
        };
        assert_eq!(Accept::of(&HeaderMap::new()), Accept::Any);
        assert_eq!(of("*/*"), Accept::Any);
        assert_eq!(of("application/json"), Accept::Json);
        assert_eq!(of("application/problem+json, text/plain"), Accept::Json);
        assert_eq!(
            of("text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8"),
            Accept::Html
        );
        assert_eq!(of("Application/JSON; charset=utf-8"), Accept::Json);
        assert_eq!(of("application/json;q=0, text/html"), Accept::Html);
        assert_eq!(of("text/plain, application/json"), Accept::Text);
        assert_eq!(of(";;,q=,"), Accept::Any);
    }
}
