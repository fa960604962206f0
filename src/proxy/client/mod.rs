//! The client's side of an exchange: one request over HTTP/1 or HTTP/2, and the ways to respond to it or to end it.
//!
//! Everything is polled and nothing is locked, so that one task can read from a client and write to it in turn, and
//! neither direction waits for the other.

pub mod connection;
mod http1;
mod http2;
mod malformed;
pub(crate) mod stream;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};

pub(crate) use self::connection::Connection;
pub(crate) use self::http1::ClientHttp1;
pub(crate) use self::http2::ClientHttp2;
pub(crate) use self::malformed::MalformedResponse;
use super::body::{Part, Sink, Source};
use super::http1::head;

/// The head start of an HTTP/2 response before GOAWAY follows it.
const RESPONSE_AHEAD: Duration = Duration::from_millis(25);

/// A client with one request.
#[derive(Debug)]
pub struct Client {
    head: RequestHeader,
    connection: Arc<Connection>,
    side: ClientSide,
    /// The status of the final response head, once it was sent.
    status: Option<StatusCode>,
    /// Whether the connection takes no further request after this one.
    goes_away: bool,
    /// Parts of the body that were read ahead.
    ahead: VecDeque<Part>,
    read: u64,
    sent: u64,
}

#[derive(Debug)]
enum ClientSide {
    Http1(Box<ClientHttp1>),
    Http2(Box<ClientHttp2>),
}

/// Calls the same method on either variant.
macro_rules! either {
    ($client:expr, $side:ident => $body:expr) => {
        match &mut $client.side {
            ClientSide::Http1($side) => $body,
            ClientSide::Http2($side) => $body,
        }
    };
}

impl Client {
    pub(crate) fn http1(head: RequestHeader, connection: Arc<Connection>, http1: Box<ClientHttp1>) -> Client {
        Client::new(head, connection, ClientSide::Http1(http1))
    }

    pub(crate) fn http2(head: RequestHeader, connection: Arc<Connection>, http2: ClientHttp2) -> Client {
        Client::new(head, connection, ClientSide::Http2(Box::new(http2)))
    }

    fn new(head: RequestHeader, connection: Arc<Connection>, side: ClientSide) -> Client {
        Client {
            head,
            connection,
            side,
            status: None,
            goes_away: false,
            ahead: VecDeque::new(),
            read: 0,
            sent: 0,
        }
    }

    /// The request head.
    pub(crate) fn head(&self) -> &RequestHeader {
        &self.head
    }

    /// The connection that the request was received on.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Whether the request was received over HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.side, ClientSide::Http2(_))
    }

    /// The status of the response, once its head was sent.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Bytes read of the request body.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read
    }

    /// Bytes written of the response body.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.sent
    }

    /// Whether the request body was read to its end. True from the start for a request without one.
    pub(crate) fn is_body_done(&self) -> bool {
        self.ahead.is_empty()
            && match &self.side {
                ClientSide::Http1(http1) => http1.is_body_done(),
                ClientSide::Http2(http2) => http2.is_body_done(),
            }
    }

    /// Takes back what was read of the request body, so that it is read again: as if nobody had looked at it.
    pub(crate) fn put_back(&mut self, pieces: impl IntoIterator<Item = Bytes>, trailers: Option<HeaderMap>) {
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
        self.ahead.extend(pieces.map(Part::Data));
        self.ahead.extend(trailers.map(Part::Trailers));
    }

    /// Whether the client waits for a 100 before it sends its body (RFC 9110, section 10.1.1).
    pub(crate) fn expects_continue(&self) -> bool {
        self.head.version == Version::HTTP_11 && !self.is_body_done() && head::expects_continue(&self.head.headers)
    }

    /// Ready when the client can no longer receive the response. Reads ahead, and keeps what it has read.
    ///
    /// A client that only closes its sending side can still receive it (RFC 9112, section 9.6). It can be told from one that
    /// closed both by sending a byte, see [`ClientHttp1::poll_half_closed`]. On HTTP/2, a reset of the stream or the end of the
    /// connection counts.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        either!(self, side => side.poll_gone(cx))
    }

    /// Whether the whole response was sent, so that a disconnect now loses nothing. Over HTTP/1 a Content-Length can tell
    /// before the upstream's end is read.
    pub(crate) fn has_whole_response(&self) -> bool {
        self.status.is_some()
            && match &self.side {
                ClientSide::Http1(http1) => http1.has_sent_all(),
                ClientSide::Http2(http2) => http2.has_ended(),
            }
    }

    /// Ready when the client has reset the connection or the stream; a closed sending side does not count.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.side {
            ClientSide::Http1(http1) => http1.poll_reset(cx),
            ClientSide::Http2(http2) => http2.poll_gone(cx),
        }
    }

    /// Whether bytes sent so far still wait for the client to read. Always false over HTTP/2, where h2 does not report it for
    /// heads.
    pub(crate) fn is_behind(&self) -> bool {
        matches!(&self.side, ClientSide::Http1(http1) if http1.is_behind())
    }

    /// Whether the client can receive transfer codings other than chunked: only HTTP/1.1 has them.
    pub(crate) fn takes_transfer_codings(&self) -> bool {
        self.head.version == Version::HTTP_11
    }

    /// Sends an interim response (RFC 9110, section 15.2), except to HTTP/1.0 clients.
    pub(crate) fn inform(&mut self, head: &ResponseHeader) {
        match &mut self.side {
            // HTTP/1.0 has no interim responses.
            ClientSide::Http1(_) if self.head.version == Version::HTTP_10 => {}
            ClientSide::Http1(http1) => http1.inform(head),
            ClientSide::Http2(http2) => http2.inform(head),
        }
    }

    /// Sends 100 (Continue), which tells the client to send its body.
    pub(crate) fn tell_to_continue(&mut self) {
        if let Ok(head) = ResponseHeader::build(StatusCode::CONTINUE, Some(0)) {
            self.inform(&head);
        }
    }

    /// Writes the final response head, which is sent with the first bytes of the body or when flushed. With `whole` the head
    /// is the complete response; otherwise a body follows, which must be [ended](Client::poll_end).
    ///
    /// # Errors
    /// The client has disconnected or reset the stream.
    pub(crate) fn respond(&mut self, head: ResponseHeader, whole: bool) -> Result<()> {
        self.status = Some(head.status);
        let leaving = self.connection.is_leaving() || self.goes_away;
        match &mut self.side {
            ClientSide::Http1(http1) => {
                http1.respond(&self.head, &head, leaving);
                Ok(())
            }
            ClientSide::Http2(http2) => http2.respond(head, whole),
        }
    }

    /// Makes this the last request of its connection. HTTP/1 announces it in the response head (RFC 9112, section 9.6),
    /// HTTP/2 by GOAWAY after the response. Call it before [`Client::respond`].
    pub(crate) fn go_away(&mut self) {
        self.goes_away = true;
    }

    /// Sends what follows the response: a GOAWAY, after [`Client::go_away`].
    pub(crate) async fn finish(&self) {
        if self.goes_away && self.is_http2() {
            // Some clients read nothing after a GOAWAY, not even frames received together with it (Python's h2).
            tokio::time::sleep(RESPONSE_AHEAD).await;
            self.connection.go_away();
        }
    }

    /// Breaks the next response as `malformed` says; over HTTP/1 only.
    pub(crate) fn malform(&mut self, malformed: MalformedResponse) {
        if let ClientSide::Http1(http1) = &mut self.side {
            http1.malform(malformed);
        }
    }

    /// Switches the connection to another protocol, in both directions until they end. Call it before the 101 is written.
    pub(crate) fn switch_protocols(&mut self) {
        if let ClientSide::Http1(http1) = &mut self.side {
            http1.switch_protocols();
        }
    }

    /// Resets the HTTP/2 stream with RST_STREAM and `code`, which leaves the connection's other streams alone, or the HTTP/1
    /// connection with a TCP RST.
    pub(crate) fn reset(&mut self, code: u32) {
        match &mut self.side {
            ClientSide::Http1(_) => self.connection.reset(),
            ClientSide::Http2(http2) => http2.reset(code),
        }
    }

    /// Closes the connection with a FIN and no response. On HTTP/2 that ends the other streams too.
    pub(crate) fn close(&mut self) {
        self.connection.close();
    }

    /// Breaks off a response that has begun, so that the client can't take it for a complete one.
    pub(crate) fn break_off(&mut self) {
        match &mut self.side {
            ClientSide::Http1(http1) if http1.is_broken_by_closing() => self.connection.close(),
            ClientSide::Http1(_) => self.connection.reset(),
            ClientSide::Http2(http2) => http2.reset(h2::Reason::INTERNAL_ERROR.into()),
        }
    }

    /// Returns the HTTP/1 side; `None` for HTTP/2.
    pub(crate) fn into_http1(self) -> Option<Box<ClientHttp1>> {
        match self.side {
            ClientSide::Http1(http1) => Some(http1),
            ClientSide::Http2(_) => None,
        }
    }

    /// Whether the request's method allows a response body.
    pub(crate) fn wants_body(&self) -> bool {
        self.head.method != Method::HEAD
    }
}

/// The request body.
impl Source for Client {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>>> {
        if let Some(part) = self.ahead.pop_front() {
            return Poll::Ready(Ok(Some(part)));
        }
        let part = either!(self, side => side.poll_part(cx));
        if let Poll::Ready(Ok(Some(Part::Data(data)))) = &part {
            self.read += data.len() as u64;
        }
        part
    }
}

/// The response body.
impl Sink for Client {
    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<Result<bool>> {
        let before = bytes.len();
        let sent = either!(self, side => side.poll_send(cx, bytes));
        self.sent += (before - bytes.len()) as u64;
        sent
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, trailers: Option<&HeaderMap>) -> Poll<Result<()>> {
        match &mut self.side {
            ClientSide::Http1(http1) => http1.poll_end(cx, trailers),
            ClientSide::Http2(http2) => Poll::Ready(http2.end(trailers)),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.side {
            ClientSide::Http1(http1) => http1.poll_flush(cx),
            // h2 sends from the connection's own task.
            ClientSide::Http2(_) => Poll::Ready(Ok(())),
        }
    }
}
