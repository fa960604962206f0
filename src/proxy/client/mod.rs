//! The client's side of an exchange: one request, over HTTP/1 or HTTP/2, and the ways to answer it or to end it.
//!
//! Everything is polled and nothing is held in between, so that the loop can read from a client and write to it in turn,
//! and neither direction ever waits for the other.

pub mod connection;
mod http1;
mod http2;
mod malformed;
pub(crate) mod stream;

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

/// How long a response over HTTP/2 has to arrive before GOAWAY follows it.
const RESPONSE_AHEAD: Duration = Duration::from_millis(25);

/// A client that has asked for something.
#[derive(Debug)]
pub struct Client {
    head: RequestHeader,
    connection: Arc<Connection>,
    side: ClientSide,
    /// The status of the final head, once it was given.
    status: Option<StatusCode>,
    /// No request follows on the connection.
    goes_away: bool,
    read: u64,
    sent: u64,
}

#[derive(Debug)]
enum ClientSide {
    Http1(Box<ClientHttp1>),
    Http2(Box<ClientHttp2>),
}

/// Calls a method of whichever side it is.
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
            read: 0,
            sent: 0,
        }
    }

    /// What it asks for.
    pub(crate) fn head(&self) -> &RequestHeader {
        &self.head
    }

    /// The connection it came on.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Whether it speaks HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.side, ClientSide::Http2(_))
    }

    /// The status that it was answered with, if it was.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Bytes of the request's body that were read.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read
    }

    /// Bytes of the response's body that were written.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.sent
    }

    /// Whether nothing more of the request's body can come. True from the start for a request without one.
    pub(crate) fn is_body_done(&self) -> bool {
        match &self.side {
            ClientSide::Http1(http1) => http1.is_body_done(),
            ClientSide::Http2(http2) => http2.is_body_done(),
        }
    }

    /// Whether it waits for a 100 before it sends its body (RFC 9110, section 10.1.1).
    pub(crate) fn expects_continue(&self) -> bool {
        self.head.version == Version::HTTP_11 && !self.is_body_done() && head::expects_continue(&self.head.headers)
    }

    /// Resolves when the client is no longer there to hear the answer. Reads ahead a little, and loses nothing.
    ///
    /// A client that closes its sending side of an HTTP/1 connection counts as gone: nobody can tell it from one that closed
    /// both. On HTTP/2 END_STREAM says no such thing, and a reset of the stream or the end of the connection does.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        either!(self, side => side.poll_gone(cx))
    }

    /// Whether all of the answer was sent, so that leaving now is no loss to anybody. Over HTTP/1 a stated length tells before the
    /// upstream's end does.
    pub(crate) fn has_whole_answer(&self) -> bool {
        self.status.is_some()
            && match &self.side {
                ClientSide::Http1(http1) => http1.has_sent_all(),
                ClientSide::Http2(http2) => http2.has_ended(),
            }
    }

    /// Resolves when a client that may close its sending side and stay has reset the connection or the stream.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.side {
            ClientSide::Http1(http1) => http1.poll_reset(cx),
            ClientSide::Http2(http2) => http2.poll_gone(cx),
        }
    }

    /// Whether it has yet to read what it was sent. Never over HTTP/2, which does not tell of heads.
    pub(crate) fn is_behind(&self) -> bool {
        matches!(&self.side, ClientSide::Http1(http1) if http1.is_behind())
    }

    /// Whether it can be told of transfer codings besides chunks.
    pub(crate) fn takes_transfer_codings(&self) -> bool {
        self.head.version == Version::HTTP_11
    }

    /// Sends an interim response, to clients that know them (RFC 9110, section 15.2).
    pub(crate) fn inform(&mut self, head: &ResponseHeader) {
        match &mut self.side {
            // HTTP/1.0 has none.
            ClientSide::Http1(_) if self.head.version == Version::HTTP_10 => {}
            ClientSide::Http1(http1) => http1.inform(head),
            ClientSide::Http2(http2) => http2.inform(head),
        }
    }

    /// Tells a client that waits for it to go on and send its body.
    pub(crate) fn tell_to_continue(&mut self) {
        if let Ok(head) = ResponseHeader::build(StatusCode::CONTINUE, Some(0)) {
            self.inform(&head);
        }
    }

    /// Gives the final head; sent with the first bytes of the body, or when it is flushed. A body follows, and has to be
    /// [ended](Client::poll_end), unless `whole`: then the head is all.
    ///
    /// # Errors
    /// The client has left.
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

    /// No request is to follow this one on its connection. The client is told with the response: over HTTP/1 by its head
    /// (RFC 9112, section 9.6), over HTTP/2 by GOAWAY after it. To be called before the final head is given.
    pub(crate) fn go_away(&mut self) {
        self.goes_away = true;
    }

    /// What comes after the response.
    pub(crate) async fn finish(&self) {
        if self.goes_away && self.is_http2() {
            // Some clients take nothing more once they know of a GOAWAY, not even what came with it (Python's h2).
            tokio::time::sleep(RESPONSE_AHEAD).await;
            self.connection.go_away();
        }
    }

    /// The next head is not to be what HTTP says; over HTTP/1 only.
    pub(crate) fn malform(&mut self, malformed: MalformedResponse) {
        if let ClientSide::Http1(http1) = &mut self.side {
            http1.malform(malformed);
        }
    }

    /// From now on the connection speaks another protocol, in both directions until they end. To be called before the 101
    /// is given.
    pub(crate) fn switch_protocols(&mut self) {
        if let ClientSide::Http1(http1) = &mut self.side {
            http1.switch_protocols();
        }
    }

    /// Resets what carries the request: the HTTP/2 stream with RST_STREAM and `code`, so that its siblings live on, or the
    /// HTTP/1 connection with a TCP RST.
    pub(crate) fn reset(&mut self, code: u32) {
        match &mut self.side {
            ClientSide::Http1(_) => self.connection.reset(),
            ClientSide::Http2(http2) => http2.reset(code),
        }
    }

    /// Closes the connection without another word: a FIN on HTTP/1 and on HTTP/2, where it ends the other streams too.
    pub(crate) fn close(&mut self) {
        self.connection.close();
    }

    /// Breaks a response off that has begun, so that its receiver can't take it for a whole one.
    pub(crate) fn break_off(&mut self) {
        match &mut self.side {
            ClientSide::Http1(http1) if http1.is_broken_by_closing() => self.connection.close(),
            ClientSide::Http1(_) => self.connection.reset(),
            ClientSide::Http2(http2) => http2.reset(h2::Reason::INTERNAL_ERROR.into()),
        }
    }

    /// The HTTP/1 side; `None` for HTTP/2.
    pub(crate) fn into_http1(self) -> Option<Box<ClientHttp1>> {
        match self.side {
            ClientSide::Http1(http1) => Some(http1),
            ClientSide::Http2(_) => None,
        }
    }

    /// Whether the request's method lets its response have a body.
    pub(crate) fn wants_body(&self) -> bool {
        self.head.method != Method::HEAD
    }
}

/// The body of its request.
impl Source for Client {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>>> {
        let part = either!(self, side => side.poll_part(cx));
        if let Poll::Ready(Ok(Some(Part::Data(data)))) = &part {
            self.read += data.len() as u64;
        }
        part
    }
}

/// The body of its response.
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
            // The connection's own task sends.
            ClientSide::Http2(_) => Poll::Ready(Ok(())),
        }
    }
}
