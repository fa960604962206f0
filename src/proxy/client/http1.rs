//! A client over HTTP/1: its connection, request after request.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{ErrorSource, Result};
use tokio_util::sync::ReusableBoxFuture;

use super::connection::Connection;
use super::malformed::MalformedResponse;
use super::stream::Stream;
use crate::proxy::body::Part;
use crate::proxy::http1::head::{self, Fate};
use crate::proxy::http1::{Decoder, Encoder, Framing, Malformed, Wire};

/// Unread bytes that are read while a request is held, so that the client's end can arrive behind them. Beyond that the
/// socket reads on, see [`Connection::gone`](super::Connection::gone).
const AHEAD: usize = 16 << 10;

/// What is read of a body that nobody wants any more, so that the connection can be used again: up to this many bytes,
/// for this long.
const DRAIN: u64 = 64 << 10;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// A client's connection, with the request that it is at.
#[derive(Debug)]
pub(crate) struct ClientHttp1 {
    wire: Wire<Stream>,
    /// The client's leaving, where it has more to send than is read ahead.
    leaving: Option<ReusableBoxFuture<'static, ()>>,
    /// Another request may follow this one.
    keep_alive: bool,
    /// The final head was given.
    answered: bool,
    /// The client waits for a 100 that it has not got.
    waits: bool,
    /// In another protocol by now.
    switched: bool,
    malformed: Option<MalformedResponse>,
}

impl ClientHttp1 {
    pub(crate) fn new(stream: Stream) -> ClientHttp1 {
        ClientHttp1 {
            wire: Wire::new(stream, ErrorSource::Downstream),
            leaving: None,
            keep_alive: true,
            answered: false,
            waits: false,
            switched: false,
            malformed: None,
        }
    }

    /// Whether the next request has begun to come.
    pub(crate) fn has_begun(&self) -> bool {
        !self.wire.input.is_empty()
    }

    /// Waits for the client's first byte; false if it leaves without one.
    pub(crate) async fn first_byte(&mut self) -> bool {
        self.has_begun() || self.fill().await.unwrap_or(false)
    }

    /// Whether the client begins with the HTTP/2 preface (RFC 9113, section 3.4). Reads no further than to the first
    /// difference, so any HTTP/1 request is answered, however short.
    pub(crate) async fn begins_with_http2(&mut self) -> Result<bool> {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        loop {
            let both = self.wire.input.len().min(PREFACE.len());
            let same = self.wire.input.get(..both) == PREFACE.get(..both);
            if both > 0 && (!same || both == PREFACE.len()) {
                return Ok(same);
            }
            if !self.fill().await? {
                return Ok(false);
            }
        }
    }

    /// The stream, and what was read of it.
    pub(crate) fn into_parts(self) -> (Stream, BytesMut) {
        self.wire.into_parts()
    }

    /// Reads the next request's head; `None` if the connection is over, or said nothing for too long. `limit` bounds the
    /// wait for its first byte, and then the time from there to its end.
    ///
    /// # Errors
    /// What came is not a request.
    pub(crate) async fn request(&mut self, limit: Duration) -> Result<Option<RequestHeader>, Malformed> {
        // A pipelined request that was read with the one before needs no wait, and no timer.
        if !self.has_begun() && !tokio::time::timeout(limit, self.first_byte()).await.unwrap_or(false) {
            return Ok(None);
        }
        if let Some(head) = self.parse()? {
            return Ok(Some(head));
        }
        let rest = async {
            while self.fill().await.unwrap_or(false) {
                if let Some(head) = self.parse()? {
                    return Ok(Some(head));
                }
            }
            Ok(None)
        };
        tokio::time::timeout(limit, rest).await.unwrap_or(Ok(None))
    }

    async fn fill(&mut self) -> Result<bool> {
        std::future::poll_fn(|cx| self.wire.poll_fill(cx)).await
    }

    fn parse(&mut self) -> Result<Option<RequestHeader>, Malformed> {
        let Some(head) = head::parse_request(&mut self.wire.input)? else {
            return Ok(None);
        };
        self.wire.decoder = Decoder::new(Framing::of_request(&head.headers)?);
        self.wire.encoder = Encoder::new(Framing::NONE);
        self.keep_alive = head::keeps_alive(head.version, &head.headers);
        self.waits = !self.is_body_done() && head::expects_continue(&head.headers);
        self.answered = false;
        self.malformed = None;
        self.leaving = None;
        Ok(Some(head))
    }

    pub(super) fn is_body_done(&self) -> bool {
        self.wire.decoder.is_done()
    }

    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>>> {
        let part = ready!(self.wire.poll_part(cx));
        match &part {
            Ok(Some(_)) => {
                self.waits = false;
                self.leaving = None;
            }
            Ok(None) => {}
            Err(_) => self.keep_alive = false,
        }
        Poll::Ready(part)
    }

    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.wire.input.len() < AHEAD {
            match ready!(self.wire.poll_listen(cx)) {
                Ok(true) => {}
                Ok(false) | Err(_) => return Poll::Ready(()),
            }
        }
        ready!(self.poll_leaving(cx, |connection| async move { connection.gone().await }));
        self.keep_alive = false;
        Poll::Ready(())
    }

    /// Like [`ClientHttp1::poll_gone`], for a client that may close its sending side and stay.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_leaving(cx, |connection| async move { connection.reset_by_client().await })
    }

    fn poll_leaving<F>(&mut self, cx: &mut Context<'_>, wait: impl FnOnce(Arc<Connection>) -> F) -> Poll<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let connection = self.wire.stream().connection();
        let leaving = self
            .leaving
            .get_or_insert_with(|| ReusableBoxFuture::new(wait(Arc::clone(connection))));
        leaving.poll(cx)
    }

    pub(super) fn inform(&mut self, head: &ResponseHeader) {
        if head.status == StatusCode::CONTINUE {
            self.waits = false;
        }
        // An interim response has no content (RFC 9110, section 15.2), so it needs no framing, and its `Connection` is dropped.
        let mut fields = ResponseFields::new(head, Framing::NONE, None);
        self.wire
            .output
            .append(|buffer| head::write_response(head, buffer, |name| fields.fate(name), &[]));
    }

    /// Whether the client has yet to read what was given so far.
    pub(super) fn is_behind(&self) -> bool {
        self.wire.is_behind()
    }

    pub(super) fn malform(&mut self, malformed: MalformedResponse) {
        self.malformed = Some(malformed);
        self.keep_alive = false;
    }

    pub(super) fn switch_protocols(&mut self) {
        self.wire.decoder = Decoder::new(Framing::UntilClose);
        self.switched = true;
        self.keep_alive = false;
    }

    pub(super) fn respond(&mut self, request: &RequestHeader, head: &ResponseHeader, leaving: bool) {
        // What is left of the body is read and thrown away, if that is little. A client that waits for its 100 sends it all
        // the same, or closes: the head says that squall goes on reading (RFC 9110, section 10.1.1).
        let much = self.wire.decoder.left().map_or(self.waits, |left| left > DRAIN);
        let refuses = head.status.is_client_error() || head.status.is_server_error();
        let unread = much && (self.waits || refuses);
        let old = request.version == Version::HTTP_10;
        let framing = self.framing(&request.method, head, old);
        self.keep_alive &= !(leaving || unread || framing == Framing::UntilClose);
        self.answered = true;
        self.wire.encoder = Encoder::new(match framing {
            // A length that lies is not kept to.
            Framing::Length(1..) if self.malformed.is_some() => Framing::UntilClose,
            framing => framing,
        });
        let connection: &[u8] = if self.keep_alive { b"keep-alive" } else { b"close" };
        let mut fields = ResponseFields::new(head, framing, Some(connection));
        let mut extra = smallvec::SmallVec::<[(&str, &[u8]); 2]>::new();
        if framing == Framing::Chunked && !head::is_chunked(&head.headers) {
            extra.push(("Transfer-Encoding", b"chunked"));
        }
        // What goes without saying is not said (RFC 9112, section 9.3).
        if !self.switched && !fields.nominates && (!self.keep_alive || old) {
            extra.push(("Connection", connection));
        }
        let (switched, malformed) = (self.switched, self.malformed.as_ref());
        let fate = |name: &[u8]| if switched { Fate::Pass } else { fields.fate(name) };
        self.wire.output.append(|buffer| {
            let write = |buffer: &mut BytesMut| head::write_response(head, buffer, fate, &extra);
            match malformed {
                Some(malformed) => malformed.head(buffer, write),
                None => write(buffer),
            }
        });
    }

    fn framing(&self, method: &Method, head: &ResponseHeader, old: bool) -> Framing {
        if self.switched {
            return Framing::UntilClose;
        }
        // What an upstream says was checked when it was read, and squall's own answers are right.
        let framing = Framing::of_response(method, head.status, &head.headers).unwrap_or(Framing::UntilClose);
        match framing {
            // RFC 9112, section 6.1: HTTP/1.0 knows no chunks.
            Framing::Chunked if old => Framing::UntilClose,
            Framing::UntilClose if !old => Framing::Chunked,
            framing => framing,
        }
    }

    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<Result<bool>> {
        ready!(self.wire.poll_ready(cx))?;
        let piece = std::mem::take(bytes);
        if let Some(malformed) = &mut self.malformed
            && malformed.breaks_chunk(self.wire.encoder.framing() == Framing::Chunked)
        {
            malformed.chunk(&mut self.wire.output);
            return Poll::Ready(Ok(false));
        }
        self.wire.data(piece);
        Poll::Ready(Ok(true))
    }

    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>, trailers: Option<&HeaderMap>) -> Poll<Result<()>> {
        let chunked = self.wire.encoder.framing() == Framing::Chunked;
        let broken = self
            .malformed
            .as_mut()
            .is_some_and(|malformed| malformed.end(chunked, &mut self.wire.output));
        if !broken {
            // Of less than was promised only the end of the connection can tell.
            self.keep_alive &= self.wire.end(trailers);
        }
        if self.switched {
            self.wire.poll_shutdown(cx)
        } else {
            self.wire.poll_flush(cx)
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.wire.poll_flush(cx)
    }

    pub(super) fn has_sent_all(&self) -> bool {
        self.wire.encoder.is_done() && self.wire.output.len() == 0
    }

    /// Whether a FIN shows that the response is not whole.
    pub(super) fn is_broken_by_closing(&self) -> bool {
        self.wire.encoder.framing() != Framing::UntilClose
    }

    /// Gets the connection ready for its next request. False if there can't be one.
    pub(crate) async fn finish(&mut self) -> bool {
        // A response that has not come to its end must not be followed by another.
        let whole = self.answered && self.wire.encoder.is_done();
        let flushed = std::future::poll_fn(|cx| self.poll_flush(cx)).await;
        if flushed.is_err() || !self.keep_alive || !whole || self.wire.has_ended() || !self.drain().await {
            return false;
        }
        self.wire.rest();
        true
    }

    /// Reads what is left of the request's body, if that is little.
    async fn drain(&mut self) -> bool {
        if self.is_body_done() {
            return true;
        }
        let rest = async {
            let mut read = 0;
            while let Ok(part) = std::future::poll_fn(|cx| self.poll_part(cx)).await {
                match part {
                    Some(Part::Data(data)) => read += data.len() as u64,
                    Some(Part::Trailers(_)) => {}
                    None => return true,
                }
                if read > DRAIN {
                    return false;
                }
            }
            false
        };
        tokio::time::timeout(DRAIN_TIME, rest).await.unwrap_or(false)
    }

    /// Refuses what is not a request.
    pub(crate) async fn refuse(&mut self, malformed: Malformed) {
        self.keep_alive = false;
        let status = StatusCode::from_u16(malformed.status).unwrap_or(StatusCode::BAD_REQUEST);
        let body = format!("squall: the request is not valid HTTP: {}\n", malformed.reason);
        let text = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default(),
            body.len()
        );
        self.wire.output.put(text.as_bytes());
        let _left_already = std::future::poll_fn(|cx| self.poll_flush(cx)).await;
    }
}

/// Which fields of a response leave, and as what.
struct ResponseFields<'a> {
    head: &'a ResponseHeader,
    framing: Framing,
    /// What its first `Connection` becomes; the others are dropped.
    connection: Option<&'static [u8]>,
    /// It has a `Connection`, whose tokens are fields for squall alone (RFC 9110, section 7.6.1).
    nominates: bool,
}

impl<'a> ResponseFields<'a> {
    fn new(head: &'a ResponseHeader, framing: Framing, connection: Option<&'static [u8]>) -> Self {
        ResponseFields {
            head,
            framing,
            connection,
            nominates: head.headers.contains_key(CONNECTION),
        }
    }

    fn fate(&mut self, name: &[u8]) -> Fate<'static> {
        let is = |field: &http::HeaderName| name.eq_ignore_ascii_case(field.as_str().as_bytes());
        let passes_if = |passes| if passes { Fate::Pass } else { Fate::Drop };
        match name.len() {
            10 if is(&CONNECTION) => {
                let connection = self.connection.take();
                connection.map_or(Fate::Drop, |value| Fate::Become("Connection", value))
            }
            // What tells where the body ends passes whatever `Connection` says.
            14 if is(&CONTENT_LENGTH) => passes_if(!self.has_no_length()),
            17 if is(&TRANSFER_ENCODING) => passes_if(self.framing == Framing::Chunked),
            7 if is(&UPGRADE) => Fate::Pass,
            10 if name.eq_ignore_ascii_case(b"keep-alive") => Fate::Pass,
            _ if self.nominates => passes_if(!head::has_token(&self.head.headers, &CONNECTION, name)),
            _ => Fate::Pass,
        }
    }

    /// RFC 9110, section 8.6: neither an interim response nor a 204 has a length.
    fn has_no_length(&self) -> bool {
        let status = self.head.status;
        status.is_informational() || status == StatusCode::NO_CONTENT || self.framing == Framing::Chunked
    }
}
