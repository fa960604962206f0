//! The paths of `echo` with long or slow responses, or for long uploads.
//!
//! | path | response |
//! |---|---|
//! | `GET /bytes/{size}` | `size` bytes (`1024`, `1MiB`, at most 4 GiB), of which number `i`, from 0, is `(31 * i + 7) % 251`. `Content-Length` is set, unless `?chunked=true` |
//! | `GET /lines/{count}` | lines of JSON (`application/x-ndjson`): `{"n": 0}`, `{"n": 1}` and so on, at most ten million |
//! | `GET /events/{count}` | as many Server-Sent Events (`text/event-stream`): `id: 0`, `data: {"n": 0}` and an empty line, and so on |
//! | `POST /count`, `PUT /count` | reads the body, keeps nothing of it, and answers `{"bytes":5,"adler32":103547413}` |
//!
//! `?every=100ms` lets a line or an event leave every 100 ms, the first at once; each is a piece of its own then. The
//! times are counted from the first, so that they do not drift. Adler-32 is the checksum of RFC 1950, section 9 (Python's
//! `zlib.adler32`). Other methods on these paths are echoed.
//!
//! A body is made while it is read: it takes a few KiB, however long it is.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::echo;
use crate::fake::reply::{error, json, scheduled};
use crate::yaml::units::{ByteSize, Time};

/// The most that `/bytes` sends.
const BYTES_LIMIT: u64 = 4 << 30;

/// The most lines or events of one response.
const COUNT_LIMIT: u64 = 10_000_000;

/// Lines or events without a pause leave in pieces of at least this many bytes.
const PIECE: usize = 8 * 1024;

/// A whole number of periods of the bytes that `/bytes` sends.
static BLOCK: LazyLock<Bytes> = LazyLock::new(|| (0..251_u32 * 256).map(byte_at).collect());

fn byte_at(i: u32) -> u8 {
    u8::try_from((31 * i + 7) % 251).unwrap_or_default()
}

pub(super) fn router() -> Router {
    Router::new()
        .route("/bytes/{size}", get(bytes).fallback(echo))
        .route("/lines/{count}", get(lines).fallback(echo))
        .route("/events/{count}", get(events).fallback(echo))
        .route("/count", post(count).put(count).fallback(echo))
}

/// What a query may say.
#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    chunked: bool,
    #[serde(default)]
    every: Time,
}

type OptionsQuery = Result<Query<Options>, QueryRejection>;

async fn bytes(Path(size): Path<String>, options: OptionsQuery) -> Response {
    let size = match size.parse::<ByteSize>() {
        Ok(size) if size.get() <= BYTES_LIMIT => size.get(),
        Ok(_) => return error(StatusCode::BAD_REQUEST, "at most 4GiB"),
        Err(problem) => return error(StatusCode::BAD_REQUEST, &problem.to_string()),
    };
    let options = match options {
        Ok(options) => options.0,
        Err(problem) => return error(StatusCode::BAD_REQUEST, &problem.body_text()),
    };
    let known = !options.chunked;
    let mut response = Response::new(Body::new(PatternBody { left: size, known }));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if known {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    }
    response
}

async fn lines(Path(count): Path<String>, options: OptionsQuery) -> Response {
    series(&count, options, "application/x-ndjson", |n| format!("{{\"n\": {n}}}\n"))
}

async fn events(Path(count): Path<String>, options: OptionsQuery) -> Response {
    series(&count, options, "text/event-stream", |n| {
        format!("id: {n}\ndata: {{\"n\": {n}}}\n\n")
    })
}

fn series(count: &str, options: OptionsQuery, content_type: &'static str, write: fn(u64) -> String) -> Response {
    let count = match count.parse::<u64>() {
        Ok(count) if count <= COUNT_LIMIT => count,
        _ => return error(StatusCode::BAD_REQUEST, "the count must be from 0 to 10000000"),
    };
    let every = match options {
        Ok(options) => options.0.every.get(),
        Err(problem) => return error(StatusCode::BAD_REQUEST, &problem.body_text()),
    };
    let mut numbers = 0..count;
    let pieces = std::iter::from_fn(move || {
        let number = numbers.next()?;
        let mut text = write(number);
        while every.is_zero() && text.len() < PIECE {
            let Some(number) = numbers.next() else { break };
            text.push_str(&write(number));
        }
        let due = every.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
        Some((due, Ok::<_, Infallible>(Bytes::from(text))))
    });
    let mut response = Response::new(scheduled(Instant::now(), pieces));
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// The body of `/bytes`: pieces of one shared block.
struct PatternBody {
    left: u64,
    /// Whether the length is told.
    known: bool,
}

impl HttpBody for PatternBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        // Every piece but the last is a whole block, so each begins with the period's first byte.
        let take = usize::try_from(self.left).map_or(BLOCK.len(), |left| left.min(BLOCK.len()));
        self.left -= take as u64;
        Poll::Ready(Some(Ok(Frame::data(BLOCK.slice(..take)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.known {
            SizeHint::with_exact(self.left)
        } else {
            SizeHint::default()
        }
    }
}

async fn count(mut body: Body) -> Response {
    let mut sum = Adler32::default();
    let mut bytes = 0_u64;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return error(StatusCode::BAD_REQUEST, "the body could not be read");
        };
        if let Some(data) = frame.data_ref() {
            bytes += data.len() as u64;
            sum.add(data);
        }
    }
    json(StatusCode::OK, &json!({ "bytes": bytes, "adler32": sum.get() }))
}

/// The checksum of RFC 1950, section 9.
struct Adler32 {
    a: u32,
    b: u32,
}

impl Adler32 {
    /// The largest prime below 2^16.
    const MODULUS: u32 = 65_521;
    /// So many bytes can be added before `b` could pass 2^32 and the modulus must be taken.
    const RUN: usize = 5_552;

    fn add(&mut self, bytes: &[u8]) {
        for run in bytes.chunks(Self::RUN) {
            for byte in run {
                self.a += u32::from(*byte);
                self.b += self.a;
            }
            self.a %= Self::MODULUS;
            self.b %= Self::MODULUS;
        }
    }

    fn get(&self) -> u32 {
        self.b << 16 | self.a
    }
}

impl Default for Adler32 {
    fn default() -> Self {
        Self { a: 1, b: 0 }
    }
}

#[cfg(test)]
mod tests;
