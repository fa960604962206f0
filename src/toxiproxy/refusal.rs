//! Why a request is refused, in Toxiproxy's words.

use http::StatusCode;
use serde_json::{Value, json};

use super::asked::MAX_TOXICS;

/// An error of the API: a status, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl Refusal {
    /// The body can't be used, for this reason.
    pub(super) fn bad_body(reason: impl std::fmt::Display) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, format!("bad request body: {reason}"))
    }

    /// A field of the body is absent or empty.
    pub(super) fn missing(field: &str) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, format!("missing required field: {field}"))
    }

    /// The stream of a toxic is none.
    pub(super) fn invalid_stream() -> Refusal {
        let message = "stream was invalid, can be either upstream or downstream";
        Refusal::new(StatusCode::BAD_REQUEST, message)
    }

    /// The type of a toxic is none.
    pub(super) fn invalid_type() -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "invalid toxic type")
    }

    /// No proxy has the name.
    pub(super) fn no_proxy() -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "proxy not found")
    }

    /// No toxic of the proxy has the name.
    pub(super) fn no_toxic() -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "toxic not found")
    }

    /// Another proxy has the name.
    pub(super) fn proxy_exists() -> Refusal {
        Refusal::new(StatusCode::CONFLICT, "proxy already exists")
    }

    /// Another toxic of the proxy has the name.
    pub(super) fn toxic_exists() -> Refusal {
        Refusal::new(StatusCode::CONFLICT, "toxic already exists")
    }

    /// The proxy has as many toxics as it can have.
    pub(super) fn too_many_toxics() -> Refusal {
        Refusal::bad_body(format!("a proxy can have at most {MAX_TOXICS} toxics"))
    }

    /// An address can't be used, or not be listened on.
    pub(super) fn of_system(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// The body is larger than the limit.
    pub(super) fn too_large() -> Refusal {
        let message = "bad request body: http: request body too large";
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal {
            status,
            message: message.into(),
        }
    }

    /// The refusal with the place that it is about, such as ` at proxy 2`.
    pub(super) fn at(mut self, place: &str) -> Refusal {
        self.message.push_str(place);
        self
    }

    /// The body of the answer.
    pub(super) fn to_json(&self) -> Value {
        json!({"error": self.message, "status": self.status.as_u16()})
    }
}
