//! The client's side of an exchange over HTTP/1: parses requests and writes responses on one connection (RFC 9112).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{ErrorSource, Result};
use tokio::time::Sleep;
use tokio_util::sync::ReusableBoxFuture;

use super::connection::Connection;
use super::malformed::MalformedResponse;
use super::stream::Stream;
use crate::proxy::body::Part;
use crate::proxy::http1::head::{self, Fate};
use crate::proxy::http1::{Decoder, Encoder, Framing, Malformed, Wire};

/// Bytes read ahead while a request is held, so that a FIN behind them is noticed. Beyond that the socket reads ahead, see
/// [`Connection::gone`](super::Connection::gone).
const AHEAD: usize = 16 << 10;

/// How many bytes of an unwanted request body are read, and for how long, to keep the connection usable.
const DRAIN: u64 = 64 << 10;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// How long a response may pause before a client that has closed its sending side in the meantime counts as gone.
const SILENCE: Duration = Duration::from_secs(1);

/// A client's HTTP/1 connection and the state of its current request.
#[derive(Debug)]
pub(crate) struct ClientHttp1 {
    wire: Wire<Stream>,
    /// Watches for the client's disconnect once the read-ahead is full.
    leaving: Option<ReusableBoxFuture<'static, ()>>,
    /// Set once the client has closed its sending side while a response was sent: the number of writes by then, and a timer.
    silence: Option<(usize, Pin<Box<Sleep>>)>,
    /// Whether the first byte of the response was sent before its head, see [`ClientHttp1::poll_half_closed`].
    begun: bool,
    /// Whether the client has closed its sending side before the response.
    half_closed: bool,
    /// Whether another request may follow this one.
    keep_alive: bool,
    /// Whether the final response head was written.
    answered: bool,
    /// Whether the client still waits for a 100 (Continue).
    waits: bool,
    /// Whether the connection has switched protocols.
    switched: bool,
    malformed: Option<MalformedResponse>,
}

impl ClientHttp1 {
    pub(crate) fn new(stream: Stream) -> ClientHttp1 {
        ClientHttp1 {
            wire: Wire::new(stream, ErrorSource::Downstream),
            leaving: None,
            silence: None,
            begun: false,
            half_closed: false,
            keep_alive: true,
            answered: false,
            waits: false,
            switched: false,
            malformed: None,
        }
    }

    /// Whether bytes of the next request are buffered.
    pub(crate) fn has_begun(&self) -> bool {
        !self.wire.input.is_empty()
    }

    /// Waits for the client's first byte. Returns false if the connection ends without one.
    pub(crate) async fn first_byte(&mut self) -> bool {
        self.has_begun() || self.fill().await.unwrap_or(false)
    }

    /// Whether the client begins with the HTTP/2 preface (RFC 9113, section 3.4). Reads only up to the first difference, so
    /// that an HTTP/1 request shorter than the preface is served.
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

    /// Returns the stream and the bytes that were read from it but not parsed.
    pub(crate) fn into_parts(self) -> (Stream, BytesMut) {
        self.wire.into_parts()
    }

    /// Reads the next request head; `None` if the connection is closed or a limit is exceeded. `idle` bounds the wait for the
    /// first byte, `limit` the time from then on to the end of the head.
    ///
    /// # Errors
    /// The bytes are not a valid request, the client has closed its sending side before the end of the head, or the head has
    /// taken too long (RFC 9110, section 15.5.9).
    pub(crate) async fn request(
        &mut self,
        idle: Duration,
        limit: Duration,
    ) -> Result<Option<RequestHeader>, Malformed> {
        // A pipelined request that was read with the one before needs no wait, and no timer.
        if !self.has_begun() && !tokio::time::timeout(idle, self.first_byte()).await.unwrap_or(false) {
            return Ok(None);
        }
        if let Some(head) = self.parse()? {
            return Ok(Some(head));
        }
        let rest = async {
            while let Ok(more) = self.fill().await {
                if !more {
                    return head::check_absent(&self.wire.input).map(|()| None);
                }
                if let Some(head) = self.parse()? {
                    return Ok(Some(head));
                }
            }
            Ok(None)
        };
        match tokio::time::timeout(limit, rest).await {
            Ok(head) => head,
            // Empty lines alone are no request that could be answered.
            Err(_) if head::check_absent(&self.wire.input).is_ok() => Ok(None),
            Err(_) => Err(Malformed {
                status: 408,
                reason: "the head did not arrive in time",
            }),
        }
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
        self.silence = None;
        self.begun = false;
        self.half_closed = false;
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
                Ok(false) => return self.poll_half_closed(cx),
                Err(_) => return Poll::Ready(()),
            }
        }
        ready!(self.poll_leaving(cx, |connection| async move { connection.gone().await }));
        self.leaving = None;
        self.poll_half_closed(cx)
    }

    /// Ready when a client that has closed its sending side can't receive the response either.
    ///
    /// A FIN does not tell whether the client has closed both sides, but its answer to a byte does: a RST if it has. Each
    /// response begins with the same byte, so that byte is sent ahead of the head. Once a response is under way its own bytes
    /// tell, as long as it does not pause.
    fn poll_half_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.answered && !self.half_closed {
            return self.poll_silence(cx);
        }
        if !self.half_closed {
            self.half_closed = true;
            // It may wait for a FIN, which has come.
            self.leaving = None;
            if self.wire.output.len() == 0 {
                self.begun = true;
                self.wire.output.put(b"H");
            }
        }
        match self.wire.poll_flush(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            _ => self.poll_reset(cx),
        }
    }

    /// Ready when nothing was written for [`SILENCE`], or the client has reset the connection.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (writes, blocked) = self.wire.stream().connection().writes();
        let (seen, timer) = self.silence.get_or_insert_with(|| {
            self.leaving = None;
            (writes, Box::pin(tokio::time::sleep(SILENCE)))
        });
        if *seen != writes || blocked {
            *seen = writes;
            timer.as_mut().reset(tokio::time::Instant::now() + SILENCE);
        }
        let silent = timer.as_mut().poll(cx).is_ready();
        if silent { Poll::Ready(()) } else { self.poll_reset(cx) }
    }

    /// Ready when the client has reset the connection; a closed sending side does not count.
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
        // An interim response has no content (RFC 9110, section 15.2), so it needs no framing, and its `Connection` is
        // dropped.
        let mut fields = ResponseFields::new(head, Framing::NONE, None);
        let begun = std::mem::take(&mut self.begun);
        self.wire.output.append(|buffer| {
            behind_first_byte(begun, buffer, |buffer| {
                head::write_response(head, buffer, |name| fields.fate(name), &[]);
            });
        });
    }

    /// Whether bytes written so far still wait for the client to read.
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
        // A short rest of the body is read and discarded. A client that waits for a 100 may send its body nevertheless or
        // close: keep-alive in the head tells it that squall goes on reading (RFC 9110, section 10.1.1).
        let much = self.wire.decoder.left().map_or(self.waits, |left| left > DRAIN);
        let refuses = head.status.is_client_error() || head.status.is_server_error();
        let unread = much && (self.waits || refuses);
        let old = request.version == Version::HTTP_10;
        let framing = self.framing(&request.method, head, old);
        let last = self.wire.has_ended() && self.is_body_done() && !self.has_begun();
        self.keep_alive &= !(leaving || unread || last || framing == Framing::UntilClose);
        self.answered = true;
        self.wire.encoder = Encoder::new(match framing {
            // A Content-Length that lies on purpose must not cut the body.
            Framing::Length(1..) if self.malformed.is_some() => Framing::UntilClose,
            framing => framing,
        });
        let connection: &[u8] = if self.keep_alive { b"keep-alive" } else { b"close" };
        let mut fields = ResponseFields::new(head, framing, Some(connection));
        let mut extra = smallvec::SmallVec::<[(&str, &[u8]); 2]>::new();
        if framing == Framing::Chunked && !head::is_chunked(&head.headers) {
            extra.push(("Transfer-Encoding", b"chunked"));
        }
        // Persistence is the default of HTTP/1.1 and needs no field (RFC 9112, section 9.3).
        if !self.switched && !fields.nominates && (!self.keep_alive || old) {
            extra.push(("Connection", connection));
        }
        let (switched, malformed) = (self.switched, self.malformed.as_ref());
        let fate = |name: &[u8]| if switched { Fate::Pass } else { fields.fate(name) };
        let begun = std::mem::take(&mut self.begun);
        self.wire.output.append(|buffer| {
            let write = |buffer: &mut BytesMut| head::write_response(head, buffer, fate, &extra);
            behind_first_byte(begun, buffer, |buffer| match malformed {
                Some(malformed) => malformed.head(buffer, write),
                None => write(buffer),
            });
        });
    }

    fn framing(&self, method: &Method, head: &ResponseHeader, old: bool) -> Framing {
        if self.switched {
            return Framing::UntilClose;
        }
        // An upstream's framing was validated when its head was read, and squall's own responses are framed correctly.
        let framing = Framing::of_response(method, head.status, &head.headers).unwrap_or(Framing::UntilClose);
        match framing {
            // HTTP/1.0 has no transfer codings (RFC 9112, section 6.1).
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
            // A body shorter than its Content-Length can only be ended by closing the connection.
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

    /// Whether a FIN marks the response as incomplete. It does not where the end of the connection ends the body.
    pub(super) fn is_broken_by_closing(&self) -> bool {
        self.wire.encoder.framing() != Framing::UntilClose
    }

    /// Prepares the connection for its next request. Returns false if it can't have one.
    pub(crate) async fn finish(&mut self) -> bool {
        // A response after an incomplete one would be read as part of its body.
        let whole = self.answered && self.wire.encoder.is_done();
        let flushed = std::future::poll_fn(|cx| self.poll_flush(cx)).await;
        // A client may close its sending side behind several requests (RFC 9112, section 9.6).
        let last = self.wire.has_ended() && !self.has_begun();
        if flushed.is_err() || !self.keep_alive || !whole || last || !self.drain().await {
            return false;
        }
        self.wire.rest();
        true
    }

    /// Reads and discards the rest of the request body, within [`DRAIN`] and [`DRAIN_TIME`]. Returns whether it has ended.
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

    /// Answers a malformed request with an error, and closes the connection.
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

/// Writes a head with `write`, without its first byte if that was sent already.
fn behind_first_byte(begun: bool, buffer: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = buffer.len();
    write(buffer);
    if begun {
        let head = buffer.split_off(start);
        buffer.extend_from_slice(head.get(1..).unwrap_or_default());
    }
}

/// Decides which fields of a response are sent, and with which values.
struct ResponseFields<'a> {
    head: &'a ResponseHeader,
    framing: Framing,
    /// What the first `Connection` field becomes; further ones are dropped.
    connection: Option<&'static [u8]>,
    /// Whether there is a `Connection` field, whose options name hop-by-hop fields (RFC 9110, section 7.6.1).
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
            // Framing fields are decided before `Connection` options, which must not remove them.
            14 if is(&CONTENT_LENGTH) => passes_if(!self.has_no_length()),
            17 if is(&TRANSFER_ENCODING) => passes_if(self.framing == Framing::Chunked),
            // Says what the upstream could be upgraded to, which it asks for with this status only (RFC 9110, section 15.5.22).
            7 if is(&UPGRADE) => passes_if(self.head.status == StatusCode::UPGRADE_REQUIRED),
            // Of the upstream's connection: its time is not squall's.
            2 if is(&TE) => Fate::Drop,
            10 if name.eq_ignore_ascii_case(b"keep-alive") => Fate::Drop,
            16 if name.eq_ignore_ascii_case(b"proxy-connection") => Fate::Drop,
            _ if self.nominates => passes_if(!head::has_token(&self.head.headers, &CONNECTION, name)),
            _ => Fate::Pass,
        }
    }

    /// Whether the response must not have a Content-Length: interim, 204 (RFC 9110, section 8.6), or chunked (RFC 9112,
    /// section 6.2).
    fn has_no_length(&self) -> bool {
        let status = self.head.status;
        status.is_informational() || status == StatusCode::NO_CONTENT || self.framing == Framing::Chunked
    }
}
