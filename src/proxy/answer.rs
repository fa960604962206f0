//! Answers that squall sends by itself.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;

use super::carry::is_bodiless;
use super::gone;
use crate::fault::abort::{Answer, GrpcStatus};

/// The head of an injected answer, with another status if one is given.
pub fn head(answer: &Answer, status: Option<StatusCode>) -> Result<ResponseHeader> {
    let status = status.unwrap_or(answer.status);
    let mut head = ResponseHeader::build(status, Some(answer.headers.len() + 4))?;
    for (name, value) in &answer.headers {
        head.append_header(name.clone(), value.clone())?;
    }
    Ok(head)
}

/// The head of a plain text of squall's own.
pub fn text_head(status: u16) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(status, Some(4))?;
    head.insert_header(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    )?;
    Ok(head)
}

/// The head of a trailers-only gRPC answer (gRPC over HTTP/2, "Responses").
pub fn grpc_head(status: &GrpcStatus) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(StatusCode::OK, Some(6))?;
    head.insert_header(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"))?;
    head.insert_header("grpc-status", status.code.number().to_string())?;
    if !status.message.is_empty() {
        head.insert_header("grpc-message", status.message.as_str())?;
    }
    Ok(head)
}

/// Sends a whole answer, framed for the request: no content after HEAD, nor with 204 and 304 (RFC 9110, section 6.4.1).
pub async fn send(session: &mut Session, mut head: ResponseHeader, body: Bytes) -> Result<()> {
    let bodiless = is_bodiless(head.status);
    if head.status == StatusCode::RESET_CONTENT {
        head.insert_header(header::CONTENT_LENGTH, 0)?;
    } else if !bodiless {
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    let ends = bodiless || body.is_empty() || session.req_header().method == http::Method::HEAD;
    gone::close_if_stopping(session);
    session.write_response_header(Box::new(head), ends).await?;
    if !ends {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// Sends a head that is the whole answer, with END_STREAM on it on HTTP/2.
pub async fn send_trailers_only(session: &mut Session, head: ResponseHeader) -> Result<()> {
    if let ServerSession::H2(stream) = &mut *session.downstream_session {
        // The session's own method would leave the stream open for a DATA frame, which is no trailers-only answer.
        stream.write_response_header(Box::new(head), true)?;
        return Ok(());
    }
    send(session, head, Bytes::new()).await
}
