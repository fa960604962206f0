//! gRPC over HTTP/2: an echo service, health checks and reflection.
//!
//! ```proto
//! package squall.echo.v1;
//!
//! service Echo {
//!   rpc Echo(EchoMessage) returns (EchoMessage);                  // gives the message back
//!   rpc Repeat(EchoMessage) returns (stream EchoMessage);         // gives it `count` times, each with its `number`
//!   rpc Collect(stream EchoMessage) returns (EchoSummary);        // counts messages and bytes
//!   rpc Chat(stream EchoMessage) returns (stream EchoMessage);    // gives each message back at once
//! }
//! ```
//!
//! Metadata whose name begins with `echo-head-` comes back before the first message, and with `echo-trailer-` after the last
//! one. A message with a `status` ends its call with that status. Beside it, `grpc.health.v1.Health` and `ServerReflection`, as v1
//! and v1alpha.

mod descriptors;
mod health;
mod messages;
mod proto;
mod reflection;
mod responder;
mod service;

use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, Version};
use tokio::time::Instant;

use self::messages::{Encoding, Messages};
use self::responder::{Responder, refusal};
use crate::draw::head::Head;
use crate::fake::reply::budget_of;
use crate::grpc::{GrpcCode, GrpcStatus};

/// Whether a request is a gRPC call. It needs HTTP/2: HTTP/1.1 often loses trailers.
pub(super) fn is_call(request: &Request) -> bool {
    let head = Head::new(request.method(), "/", None, request.headers(), None);
    request.version() == Version::HTTP_2 && request.method() == Method::POST && head.is_grpc()
}

/// Serves a call to its end.
pub(super) async fn call(request: Request) -> Response {
    let arrived = Instant::now();
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let mut responder = Responder::new(headers);
    let (encoding, limit) = match (encoding(headers), timeout(headers)) {
        (Ok(encoding), Ok(limit)) => (encoding, limit),
        (Err(status), _) | (_, Err(status)) => return refusal(&status),
    };
    responder.deadline = limit.and_then(|limit| arrived.checked_add(limit));
    let messages = Messages::new(body, encoding, budget_of(&parts.extensions));
    match parts.uri.path() {
        "/squall.echo.v1.Echo/Echo" => responder.one(service::echo(messages)).await,
        "/squall.echo.v1.Echo/Repeat" => responder.some(service::repeat(messages)),
        "/squall.echo.v1.Echo/Collect" => responder.one(service::collect(messages)).await,
        "/squall.echo.v1.Echo/Chat" => responder.some(service::chat(messages)),
        "/grpc.health.v1.Health/Check" => responder.one(health::check(messages)).await,
        "/grpc.health.v1.Health/Watch" => responder.some(health::watch(messages)),
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        | "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo" => {
            responder.some(reflection::answers(messages))
        }
        other => {
            let services: Vec<&str> = descriptors::services().collect();
            let text = format!("{other} is unknown; the echo fake has {}", services.join(", "));
            refusal(&GrpcStatus::new(GrpcCode::UNIMPLEMENTED, &text))
        }
    }
}

/// How the client's messages are encoded.
fn encoding(headers: &HeaderMap) -> Result<Encoding, GrpcStatus> {
    let unsupported = |text: &str| Err(GrpcStatus::new(GrpcCode::UNIMPLEMENTED, text));
    let kind = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let subtype = kind.and_then(|kind| kind.split(';').next()?.trim().split_once('+'));
    if subtype.is_some_and(|(_, format)| !format.eq_ignore_ascii_case("proto")) {
        return unsupported("the echo fake reads messages of protobuf alone");
    }
    match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(Encoding::Identity),
        Some(b"gzip") => Ok(Encoding::Gzip),
        Some(_) => unsupported("of compressed messages, the echo fake reads gzip alone"),
    }
}

/// How long the client waits (gRPC over HTTP/2, "Timeout"): up to eight digits, and a unit.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, GrpcStatus> {
    let Some(field) = headers.get("grpc-timeout") else {
        return Ok(None);
    };
    let limit = || {
        let (digits, unit) = field.to_str().ok()?.split_at_checked(field.len().checked_sub(1)?)?;
        let is_valid = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = digits.parse().ok().filter(|_| is_valid)?;
        match unit {
            "H" => Some(Duration::from_secs(number * 3600)),
            "M" => Some(Duration::from_secs(number * 60)),
            "S" => Some(Duration::from_secs(number)),
            "m" => Some(Duration::from_millis(number)),
            "u" => Some(Duration::from_micros(number)),
            "n" => Some(Duration::from_nanos(number)),
            _ => None,
        }
    };
    let malformed = || GrpcStatus::new(GrpcCode::INTERNAL, "grpc-timeout is malformed");
    limit().map(Some).ok_or_else(malformed)
}

#[cfg(test)]
mod tests;
