//! The client's side of an exchange over HTTP/2: one stream of a connection (RFC 9113).

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};

use crate::proxy::body::Part;
use crate::proxy::http2;

/// One stream opened by a client.
#[derive(Debug)]
pub(crate) struct ClientHttp2 {
    body: RecvStream,
    respond: SendResponse<Bytes>,
    /// Set when the final response head is sent.
    send: Option<SendStream<Bytes>>,
    read_all: bool,
    ended: bool,
}

impl ClientHttp2 {
    pub(crate) fn new(body: RecvStream, respond: SendResponse<Bytes>) -> ClientHttp2 {
        ClientHttp2 {
            read_all: body.is_end_stream(),
            body,
            respond,
            send: None,
            ended: false,
        }
    }

    pub(super) fn is_body_done(&self) -> bool {
        self.read_all
    }

    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>>> {
        if self.read_all {
            return Poll::Ready(Ok(None));
        }
        let part = ready!(http2::poll_part(&mut self.body, cx)).map_err(left)?;
        self.read_all = !matches!(part, Some(Part::Data(_)));
        Poll::Ready(Ok(part))
    }

    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut self.send {
            Some(send) => send.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        // An error means that the connection has ended, and the client with it.
        reset.map(drop)
    }

    pub(super) fn inform(&mut self, head: &ResponseHeader) {
        let mut response = Response::new(());
        *response.status_mut() = head.status;
        *response.headers_mut() = http2::end_to_end(head.headers.clone());
        // Fails only if the stream has ended, which the next write reports.
        let _over = self.respond.send_informational(response);
    }

    pub(super) fn respond(&mut self, head: ResponseHeader, whole: bool) -> Result<()> {
        let parts = http::response::Parts::from(head);
        let mut response = Response::new(());
        *response.status_mut() = parts.status;
        *response.headers_mut() = http2::end_to_end(parts.headers);
        if parts.status == StatusCode::NO_CONTENT {
            // A 204 must not have one (RFC 9110, section 8.6): clients would wait for the body.
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        let send = self.respond.send_response(response, whole).map_err(left)?;
        self.send = Some(send);
        self.ended = whole;
        Ok(())
    }

    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<Result<bool>> {
        match &mut self.send {
            Some(send) if !self.ended => http2::poll_send(send, cx, bytes).map_ok(|()| true).map_err(left),
            _ => {
                bytes.clear();
                Poll::Ready(Ok(true))
            }
        }
    }

    pub(super) fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<()> {
        match &mut self.send {
            Some(send) if !std::mem::replace(&mut self.ended, true) => http2::end(send, trailers).map_err(left),
            _ => Ok(()),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn reset(&mut self, code: u32) {
        self.ended = true;
        match &mut self.send {
            Some(send) => send.send_reset(code.into()),
            None => self.respond.send_reset(code.into()),
        }
    }
}

fn left(error: h2::Error) -> Box<Error> {
    Error::because(ErrorType::ReadError, "the client's stream ended", error).into_down()
}
