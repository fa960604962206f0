//! Fake upstreams: servers that squall brings along, so that there is something to be slow, broken or kind without a
//! second process.
//!
//! A fake is an [`axum::Router`]. The proxy calls it in process, once for each request (`tower::ServiceExt::oneshot`):
//! there is no socket between them. `squall fake NAME` puts the same router behind a listener with [`serve`].
//!
//! Fakes inject nothing and decide nothing about faults: what they answer is the natural answer. A `delay` that a
//! client asks `test-api` for is a property of that API, not an injected delay.

mod echo;
mod test_api;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Extensions, HeaderValue, StatusCode};
use serde::Serialize;
use tokio::net::TcpListener;

/// The names that [`build`] knows, in alphabetical order.
pub const NAMES: &[&str] = &["echo", "test-api"];

/// What a fake is made from.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where generated data comes from: the same seed gives the same names, texts and identifiers.
    pub seed: u64,
    /// Where rows live. A fake without rows (`echo`) ignores it.
    pub store: Store,
}

/// Where a fake keeps its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// In memory: gone with the router.
    Memory,
    /// In an SQLite file, made and filled if it is not there yet. A row is in the file before the reply that
    /// acknowledges it is sent, so it survives a `kill -9`. One process at a time; within a process all routers on the
    /// same file share it.
    File(PathBuf),
}

/// The address of the client, as a request extension. Whoever calls a router in process sets it, if it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client(pub IpAddr);

/// Why a fake could not be built.
#[derive(Debug, thiserror::Error)]
pub enum FakeError {
    /// There is no fake of that name.
    #[error("there is no fake `{name}`; built in are: {}", NAMES.join(", "))]
    Unknown {
        /// The name as asked for.
        name: String,
    },
    /// The rows could not be opened, made or read.
    #[error("the fake's store {place} can't be used: {source}")]
    Store {
        /// The path of the file, or `in memory`.
        place: String,
        /// What SQLite says, or that the file is a database of something else.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Builds the fake `name`.
///
/// Opens and, where needed, fills the store before it returns, so that the first request finds everything ready: call
/// it where a few tens of milliseconds of blocking are fine.
///
/// # Errors
///
/// [`FakeError::Unknown`] for a name that is not in [`NAMES`], [`FakeError::Store`] if the store can't be used.
pub fn build(name: &str, options: &Options) -> Result<Router, FakeError> {
    match name {
        "echo" => Ok(echo::router()),
        "test-api" => test_api::router(options),
        _ => Err(FakeError::Unknown { name: name.to_owned() }),
    }
}

/// Serves the fake `name` over HTTP/1.1 on `listener` until `shutdown` completes, then lets the requests in flight
/// finish.
///
/// # Errors
///
/// What [`build`] refuses, as [`io::ErrorKind::InvalidInput`].
pub async fn serve(
    name: &str,
    options: &Options,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = build(name, options).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(shutdown)
        .await
}

/// The client's address: what the caller set, or else the other end of the socket.
fn client_of(extensions: &Extensions) -> Option<IpAddr> {
    let set = extensions.get::<Client>().map(|client| client.0);
    set.or_else(|| extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip()))
}

/// Why a body could not be had.
#[derive(Debug, PartialEq, Eq)]
enum BodyError {
    /// It is longer than the fake takes.
    TooLarge,
    /// It broke off or was malformed on its way.
    Broken,
}

/// The whole body, if it has at most `limit` bytes.
async fn read_body(body: Body, limit: usize) -> Result<Bytes, BodyError> {
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
fn json_text(status: StatusCode, text: impl Into<Bytes>) -> Response {
    let content_type = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, content_type, text.into()).into_response()
}

/// A reply with `value` as compact JSON.
fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => json_text(status, text),
        Err(error) => {
            tracing::error!(%error, "a fake's reply could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_builds_and_an_unknown_one_lists_them() {
        let options = Options {
            seed: 1,
            store: Store::Memory,
        };
        for name in NAMES {
            assert!(build(name, &options).is_ok(), "{name}");
        }
        let error = build("nope", &options).unwrap_err().to_string();
        assert_eq!(error, "there is no fake `nope`; built in are: echo, test-api");
    }

    #[test]
    fn a_store_that_cannot_be_used_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            seed: 1,
            store: Store::File(directory.path().to_owned()),
        };
        let error = build("test-api", &options).unwrap_err().to_string();
        assert!(error.contains(&directory.path().display().to_string()), "{error}");

        let text = directory.path().join("text");
        std::fs::write(&text, "no database, but long enough to be taken for one: ".repeat(20)).unwrap();
        let options = Options {
            seed: 1,
            store: Store::File(text),
        };
        assert!(
            build("test-api", &options)
                .unwrap_err()
                .to_string()
                .contains("not a database")
        );
    }
}
