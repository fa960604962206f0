//! Reads the bodies of requests, within limits of size and time.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http::StatusCode;
use tokio::time::timeout;

use super::Context;
use super::problem::Problem;
use crate::limits::bodies::Full;
use crate::limits::collector::{Uncollected, collect};

/// The longest time for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a request body of at most `max_bytes`.
pub(super) async fn read(context: &Context, body: Body, max_bytes: usize) -> Result<Bytes, Problem> {
    let budget = context.server.budget();
    let (status, detail) = match timeout(BODY_TIMEOUT, collect(body, max_bytes, &budget)).await {
        Ok(Ok(bytes)) => return Ok(bytes),
        Ok(Err(Uncollected::TooLarge)) => (
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {max_bytes} bytes"),
        ),
        Ok(Err(Uncollected::Full)) => (StatusCode::SERVICE_UNAVAILABLE, Full::REASON.to_owned()),
        Ok(Err(Uncollected::Broken)) => (StatusCode::BAD_REQUEST, "the body is incomplete".to_owned()),
        Err(_) => (
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time".to_owned(),
        ),
    };
    Err(Problem::new(status, detail))
}

/// Reads a body as JSON; an empty one is an empty object. `example` says what is valid.
pub(super) async fn json<T: serde::de::DeserializeOwned>(
    context: &Context,
    body: Body,
    example: &str,
) -> Result<T, Problem> {
    let bytes = read(context, body, super::MAX_BODY_BYTES).await?;
    object(&bytes).map_err(|error| Problem::bad_request(format!("the body must be JSON such as {example}: {error}")))
}

/// Reads a JSON object. For serde a list of a struct's members would do as well.
fn object<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    match text.trim_ascii_start().first() {
        None if text.is_empty() => serde_json::from_slice(b"{}"),
        Some(b'[') => return Err("a list is not an object".to_owned()),
        _ => serde_json::from_slice(text),
    }
    .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::object;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Wish {
        ttl: Option<String>,
    }

    #[test]
    fn only_an_object_is_one() {
        assert_eq!(object(b""), Ok(Wish::default()));
        assert_eq!(object(b" {\"ttl\": \"1s\"} "), Ok(Wish { ttl: Some("1s".into()) }));
        for wrong in ["[]", " [\"1s\"]", "null", "7", " ", "{} {}"] {
            assert!(object::<Wish>(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
