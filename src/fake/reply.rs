//! What the fakes have in common: clients and their credentials, bodies, responses.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::unfold;
use http::header::{CONTENT_TYPE, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{Extensions, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use crate::limits::bodies::{Budget, Full, parsed_size};
use crate::limits::collector::{Uncollected, collect};

/// The address of the client, as a request extension. Whoever calls a router in process sets it, if it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client(pub IpAddr);

/// The client's address: what the caller set, or else the other end of the socket.
pub(super) fn client_of(extensions: &Extensions) -> Option<IpAddr> {
    let set = extensions.get::<Client>().map(|client| client.0);
    set.or_else(|| extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip()))
}

/// An extension of requests that came over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverTls;

/// Scheme and host that lead back to this server as the client reached it, `http://localhost:8080`; empty if the host is
/// not known. A proxy in front that terminates TLS says so in `X-Forwarded-Proto`.
pub(super) fn origin_of(head: &Parts) -> String {
    let field = || head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = head.uri.authority().map(Authority::as_str);
    let host = authority.or_else(field).unwrap_or_default();
    let forwarded = head.headers.get("x-forwarded-proto");
    let secure = match forwarded {
        Some(scheme) => scheme.as_bytes().eq_ignore_ascii_case(b"https"),
        None => head.extensions.get::<OverTls>().is_some(),
    };
    match host {
        "" => String::new(),
        host if secure => format!("https://{host}"),
        host => format!("http://{host}"),
    }
}

/// An extension of requests whose path was changed on its way to the fake: what the client asked for below `outer`, the fake
/// gets below `inner`. Both are without a slash at their ends, and may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    /// What the client's path begins with, such as `/shop`.
    pub outer: String,
    /// What the path begins with that the fake gets in place of it.
    pub inner: String,
}

/// Where a client reaches the fake: what links in bodies begin with. `Location`, `Link` and other fields need no more than
/// [`origin_of`], since the proxy maps them back.
#[derive(Debug, Clone, Default)]
pub(super) struct Address {
    origin: String,
    mount: Mount,
}

impl Address {
    pub(super) fn of(head: &Parts) -> Self {
        Self {
            origin: origin_of(head),
            mount: head.extensions.get().cloned().unwrap_or_default(),
        }
    }

    /// A path of the fake as the client has to ask for it. One that the client can't reach stays as it is.
    pub(super) fn path(&self, path: &str) -> String {
        let below = path.strip_prefix(&self.mount.inner);
        match below.filter(|below| below.is_empty() || below.starts_with(['/', '?', '#'])) {
            Some(below) => format!("{}{below}", self.mount.outer),
            None => path.to_owned(),
        }
    }

    /// A path of the fake as a URL; without scheme and host if the host is not known.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{}", self.origin, self.path(path))
    }

    /// As [`url`](Self::url), with `localhost` for a host that is not known.
    pub(super) fn full_url(&self, path: &str) -> String {
        match self.origin.as_str() {
            "" => format!("http://localhost{}", self.path(path)),
            _ => self.url(path),
        }
    }
}

/// `user:password` of the value of an `Authorization` field, if its scheme is Basic (RFC 7617).
pub(super) fn basic_credentials(field: &str) -> Option<Vec<u8>> {
    let (scheme, coded) = field.split_once(' ')?;
    let credentials = STANDARD.decode(coded.trim()).ok()?;
    scheme.eq_ignore_ascii_case("basic").then_some(credentials)
}

/// A media type without its parameters.
pub(super) fn essence(media_type: &str) -> String {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Why a body could not be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It is longer than the fake takes.
    TooLarge,
    /// It broke off or was malformed on its way.
    Broken,
    /// Bodies in memory take as much as they may.
    Full,
}

/// The longest body that a declared fake looks at.
pub(super) const BODY_LIMIT: usize = 8 << 20;

impl BodyError {
    /// A response that says so, of a fake that takes `limit` bytes.
    pub(super) fn response(&self, limit: usize) -> Response {
        match self {
            Self::TooLarge => error(self.status(), &format!("the body is longer than {} MiB", limit >> 20)),
            Self::Broken => error(self.status(), "the body could not be read"),
            Self::Full => error(self.status(), Self::FULL),
        }
    }

    /// What every fake says in this case.
    pub(super) const FULL: &str = "squall holds as many bodies as `bounds.bodies` allows: try again";

    /// The status of the response that says so.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The bound that bodies count against: a request extension, which whoever calls a router sets.
pub(super) fn budget_of(extensions: &Extensions) -> Budget {
    extensions.get().cloned().unwrap_or_default()
}

/// The whole body of a request with these extensions, if it has at most `limit` bytes.
pub(super) async fn read_body(extensions: &Extensions, body: Body, limit: usize) -> Result<Bytes, BodyError> {
    let collected = collect(body, limit, &budget_of(extensions)).await;
    collected.map_err(|error| match error {
        Uncollected::TooLarge => BodyError::TooLarge,
        Uncollected::Full => BodyError::Full,
        Uncollected::Broken => BodyError::Broken,
    })
}

/// The whole body of a request, as [`read_body`] reads it, if there is also room for the JSON that may be in it. That room
/// counts as held for as long as the body does.
pub(super) async fn read_json_body(extensions: &Extensions, body: Body, limit: usize) -> Result<Bytes, BodyError> {
    let bytes = read_body(extensions, body, limit).await?;
    let parsed = budget_of(extensions).take(parsed_size(&bytes));
    let parsed = parsed.map_err(|Full| BodyError::Full)?;
    Ok(parsed.attach(bytes))
}

/// A body whose pieces leave when they are due, counted from `start`. They are made one after the other, as they are read;
/// an error breaks the body off.
pub(super) fn scheduled<E: Into<BoxError> + Send + 'static>(
    start: Instant,
    pieces: impl Iterator<Item = (Duration, Result<Bytes, E>)> + Send + 'static,
) -> Body {
    Body::from_stream(unfold(pieces, move |mut pieces| async move {
        let (due, piece) = pieces.next()?;
        if !due.is_zero() {
            tokio::time::sleep_until(start + due).await;
        }
        Some((piece, pieces))
    }))
}

/// A response of ready-made JSON text.
pub(super) fn json_text(status: StatusCode, text: impl Into<Bytes>) -> Response {
    let content_type = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, content_type, text.into()).into_response()
}

/// An error as `{"error": message}`.
pub(super) fn error(status: StatusCode, message: &str) -> Response {
    json(status, &json!({ "error": message }))
}

/// Sets a header field, if the value can be one.
pub(super) fn with_field(mut response: Response, name: HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// A response with `value` as compact JSON.
pub(super) fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => json_text(status, text),
        Err(error) => {
            tracing::error!(%error, "a fake's response could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
