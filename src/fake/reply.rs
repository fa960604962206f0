//! What the fakes have in common: clients, bodies, replies in JSON.

use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Extensions, HeaderValue, StatusCode};
use serde::Serialize;

/// The address of the client, as a request extension. Whoever calls a router in process sets it, if it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client(pub IpAddr);

/// The client's address: what the caller set, or else the other end of the socket.
pub(super) fn client_of(extensions: &Extensions) -> Option<IpAddr> {
    let set = extensions.get::<Client>().map(|client| client.0);
    set.or_else(|| extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip()))
}

/// Why a body could not be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It is longer than the fake takes.
    TooLarge,
    /// It broke off or was malformed on its way.
    Broken,
}

/// The whole body, if it has at most `limit` bytes.
pub(super) async fn read_body(body: Body, limit: usize) -> Result<Bytes, BodyError> {
    axum::body::to_bytes(body, limit).await.map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) {
            BodyError::TooLarge
        } else {
            BodyError::Broken
        }
    })
}

/// A reply of ready-made JSON text.
pub(super) fn json_text(status: StatusCode, text: impl Into<Bytes>) -> Response {
    let content_type = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, content_type, text.into()).into_response()
}

/// A reply with `value` as compact JSON.
pub(super) fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => json_text(status, text),
        Err(error) => {
            tracing::error!(%error, "a fake's reply could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
