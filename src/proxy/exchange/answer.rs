//! Responses that squall generates itself: injected ones, and errors.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::http::date::get_cached_date;

use crate::fault::answer::{Answer, GrpcAnswer, http_date};
use crate::fault::rewrite::is_bodiless;
use crate::proxy::body::Sink;
use crate::proxy::client::Client;

/// The head of an injected response. `status` overrides its own.
pub(super) fn head(answer: &Answer, status: Option<StatusCode>) -> Result<ResponseHeader> {
    let status = status.unwrap_or(answer.status);
    let mut head = ResponseHeader::build(status, Some(answer.headers.len() + 4))?;
    for (name, value) in &answer.headers {
        head.append_header(name.clone(), value.clone())?;
    }
    let date = answer.retry_date.and_then(|after| SystemTime::now().checked_add(after));
    if let Some(date) = date.and_then(http_date) {
        head.insert_header(header::RETRY_AFTER, date)?;
    }
    Ok(head)
}

/// The head of a plain-text error response.
pub(super) fn text_head(status: u16) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(status, Some(4))?;
    head.insert_header(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    )?;
    Ok(head)
}

/// The head of a trailers-only gRPC response (gRPC over HTTP/2, "Responses").
pub(super) fn grpc_head(answer: &GrpcAnswer) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(StatusCode::OK, Some(6))?;
    head.insert_header(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"))?;
    for (name, value) in answer.status.fields() {
        head.insert_header(name, value)?;
    }
    for (name, value) in &answer.headers {
        head.append_header(name.clone(), value.clone())?;
    }
    Ok(head)
}

/// Sends a complete response, framed for the request: no content for HEAD, 204 and 304 (RFC 9110, section 6.4.1).
///
/// # Errors
/// The client has disconnected.
pub(super) async fn send(client: &mut Client, mut head: ResponseHeader, body: Bytes) -> Result<()> {
    let bodiless = is_bodiless(head.status);
    if head.status == StatusCode::RESET_CONTENT {
        head.insert_header(header::CONTENT_LENGTH, 0)?;
    } else if !bodiless {
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    let body = if bodiless || !client.wants_body() {
        Bytes::new()
    } else {
        body
    };
    send_framed(client, head, body).await
}

/// Sends a gRPC status without a message: a head that is the complete response, with END_STREAM over HTTP/2 (gRPC over
/// HTTP/2, "Trailers-Only").
///
/// # Errors
/// The client has disconnected.
pub(super) async fn send_trailers_only(client: &mut Client, head: ResponseHeader) -> Result<()> {
    if client.is_http2() {
        send_framed(client, head, Bytes::new()).await
    } else {
        send(client, head, Bytes::new()).await
    }
}

async fn send_framed(client: &mut Client, mut head: ResponseHeader, mut body: Bytes) -> Result<()> {
    if !head.headers.contains_key(header::DATE) {
        // An origin server with a clock must send Date (RFC 9110, section 6.6.1).
        head.insert_header(header::DATE, get_cached_date())?;
    }
    client.respond(head, body.is_empty())?;
    std::future::poll_fn(|cx| client.poll_send(cx, &mut body)).await?;
    std::future::poll_fn(|cx| client.poll_end(cx, None)).await
}
