//! The upstream's side of an exchange over HTTP/1 (RFC 9112).

use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::super::connect::Connector;
use crate::proxy::body::Part;
use crate::proxy::http1::head::{self, Fate};
use crate::proxy::http1::{Decoder, Encoder, Framing, Wire};

/// A connection to a server, used for one request.
#[derive(Debug)]
pub(in crate::proxy::upstream) struct UpstreamHttp1 {
    wire: Wire<Stream>,
    method: Method,
    /// Whether the server keeps the connection open.
    keep_alive: bool,
    /// Whether the connection has served a request before.
    reused: bool,
    /// Whether a byte of the response was received.
    heard: bool,
    /// Whether the sending side is closed at the end of the request: after a switch of protocols, or if the body is shorter
    /// than its Content-Length.
    closes: bool,
    /// The key in the connection pool, and below it the idle time.
    key: u64,
    idle: Option<Duration>,
}

impl UpstreamHttp1 {
    pub(in crate::proxy::upstream) fn new(
        stream: Stream,
        reused: bool,
        key: u64,
        idle: Option<Duration>,
    ) -> UpstreamHttp1 {
        let mut wire = Wire::new(stream, ErrorSource::Upstream);
        // Until the response head tells the framing.
        wire.decoder = Decoder::new(Framing::UntilClose);
        UpstreamHttp1 {
            wire,
            method: Method::GET,
            keep_alive: false,
            reused,
            heard: false,
            closes: false,
            key,
            idle,
        }
    }

    pub(super) fn ask(&mut self, head: &RequestHeader, host: Option<&HeaderValue>, body: bool, upgrade: bool) {
        self.method = head.method.clone();
        // The client's framing was validated when its head was read.
        let framing = match Framing::of_request(&head.headers).unwrap_or(Framing::NONE) {
            Framing::Length(0) if body => Framing::Chunked,
            framing => framing,
        };
        self.wire.encoder = Encoder::new(framing);
        let cookies = joined_cookies(head);
        let host = host.map(HeaderValue::as_bytes);
        let mut fields = RequestFields {
            head,
            host,
            cookies: cookies.as_deref(),
            cookie_written: false,
            framing,
            upgrade,
            nominates: head.headers.contains_key(CONNECTION),
        };
        let mut extra = smallvec::SmallVec::<[(&str, &[u8]); 2]>::new();
        // An HTTP/2 client sends :authority in place of Host.
        let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
        if let Some(host) = host.or(authority).filter(|_| !head.headers.contains_key(HOST)) {
            extra.push(("Host", host));
        }
        if framing == Framing::Chunked && !head.headers.contains_key(TRANSFER_ENCODING) {
            extra.push(("Transfer-Encoding", b"chunked"));
        }
        self.wire
            .output
            .append(|buffer| head::write_request(head, buffer, |name| fields.fate(name), &extra));
    }

    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<Result<()>> {
        ready!(self.wire.poll_ready(cx))?;
        self.wire.data(std::mem::take(bytes));
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>, trailers: Option<&HeaderMap>) -> Poll<Result<()>> {
        // Closing tells the server that a body shorter than its Content-Length has ended.
        self.closes |= !self.wire.end(trailers);
        if self.closes {
            self.wire.poll_shutdown(cx)
        } else {
            self.wire.poll_flush(cx)
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.wire.poll_flush(cx)
    }

    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHeader>> {
        loop {
            let parsed = head::parse_response(&mut self.wire.input);
            if let Some(head) = parsed.map_err(|malformed| self.wire.blame(malformed.error()))? {
                return Poll::Ready(self.take_head(head));
            }
            if ready!(self.wire.poll_fill(cx))? {
                self.heard = true
            } else {
                return Poll::Ready(Err(self.wire.closed()));
            }
        }
    }

    fn take_head(&mut self, head: ResponseHeader) -> Result<ResponseHeader> {
        if head.status.is_informational() {
            return Ok(head);
        }
        let framing = Framing::of_response(&self.method, head.status, &head.headers);
        let framing = framing.map_err(|malformed| self.wire.blame(malformed.error()))?;
        // HTTP/1.0 has no transfer codings, so the framing of one that has is faulty (RFC 9112, section 6.1).
        let faulty = head.version == Version::HTTP_10 && head.headers.contains_key(TRANSFER_ENCODING);
        let ends = faulty || framing == Framing::UntilClose;
        self.keep_alive = !ends && head::keeps_alive(head.version, &head.headers);
        self.wire.decoder = Decoder::new(framing);
        Ok(head)
    }

    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>>> {
        self.wire.poll_part(cx)
    }

    pub(super) fn is_body_done(&self) -> bool {
        self.wire.decoder.is_done()
    }

    pub(super) fn switch_protocols(&mut self) {
        self.closes = true;
        self.wire.encoder = Encoder::new(Framing::UntilClose);
        self.wire.decoder = Decoder::new(Framing::UntilClose);
    }

    /// Whether an error means that the server had closed the idle connection before this request (RFC 9112, section 9.3.1).
    pub(super) fn was_stale(&self, error: &Error) -> bool {
        let over = matches!(
            error.etype(),
            ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError
        );
        self.reused && !self.heard && over
    }

    pub(super) fn release(mut self, connector: &Connector) {
        let wire = &self.wire;
        let whole = wire.encoder.is_done() && wire.decoder.is_done() && wire.output.len() == 0;
        // Bytes after the response would be read as part of the next one.
        let clean = wire.input.is_empty() && !wire.has_ended();
        if self.keep_alive && whole && clean && !self.closes {
            self.wire.rest();
            let (stream, _) = self.wire.into_parts();
            connector.release(stream, self.key, self.idle);
        }
    }
}

/// Joins the cookies of an HTTP/2 request, which may be in separate fields only there (RFC 9113, section 8.2.3).
fn joined_cookies(head: &RequestHeader) -> Option<Vec<u8>> {
    if head.version != Version::HTTP_2 || head.headers.get_all(COOKIE).iter().nth(1).is_none() {
        return None;
    }
    let cookies: Vec<&[u8]> = head.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    Some(cookies.join(&b"; "[..]))
}

/// Decides which fields of a request are sent, and with which values.
struct RequestFields<'a> {
    head: &'a RequestHeader,
    host: Option<&'a [u8]>,
    cookies: Option<&'a [u8]>,
    cookie_written: bool,
    framing: Framing,
    upgrade: bool,
    /// Whether there is a `Connection` field, whose options name hop-by-hop fields (RFC 9110, section 7.6.1).
    nominates: bool,
}

impl<'a> RequestFields<'a> {
    fn fate(&mut self, name: &[u8]) -> Fate<'a> {
        let is = |field: &HeaderName| name.eq_ignore_ascii_case(field.as_str().as_bytes());
        let passes_if = |passes| if passes { Fate::Pass } else { Fate::Drop };
        match name.len() {
            2 if is(&TE) => Fate::Drop,
            4 if is(&HOST) => self.host.map_or(Fate::Pass, |host| Fate::Become("Host", host)),
            6 if is(&COOKIE) && self.cookies.is_some() => {
                if !std::mem::replace(&mut self.cookie_written, true) {
                    Fate::Become("Cookie", self.cookies.unwrap_or_default())
                } else {
                    Fate::Drop
                }
            }
            7 if is(&UPGRADE) => passes_if(self.upgrade),
            10 if is(&CONNECTION) => passes_if(self.upgrade),
            10 if name.eq_ignore_ascii_case(b"keep-alive") => Fate::Drop,
            14 if is(&CONTENT_LENGTH) => passes_if(self.framing != Framing::Chunked),
            14 if name.eq_ignore_ascii_case(b"http2-settings") => Fate::Drop,
            16 if name.eq_ignore_ascii_case(b"proxy-connection") => Fate::Drop,
            17 if is(&TRANSFER_ENCODING) => passes_if(self.framing == Framing::Chunked),
            18 if is(&PROXY_AUTHENTICATE) => Fate::Drop,
            19 if is(&PROXY_AUTHORIZATION) => Fate::Drop,
            _ if self.nominates && head::has_token(&self.head.headers, &CONNECTION, name) => passes_if(self.upgrade),
            _ => Fate::Pass,
        }
    }
}
