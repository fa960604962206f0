//! A server over HTTP/1.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use pingora::{Error, ErrorType, Result};

use super::super::connect::Connector;
use crate::proxy::body::Part;
use crate::proxy::http1::head::{self, Fate};
use crate::proxy::http1::{Decoder, Encoder, Framing, Wire};

/// Bytes of the request that wait for the server to read them before more is asked for.
const BACKLOG: usize = 16 << 10;

/// One connection, for one request.
#[derive(Debug)]
pub(in crate::proxy::upstream) struct Http1 {
    wire: Wire<Stream>,
    encoder: Encoder,
    decoder: Decoder,
    method: Method,
    /// The server means to go on with the connection.
    keep_alive: bool,
    /// The connection has served a request before.
    reused: bool,
    /// A byte of the answer has come.
    heard: bool,
    switched: bool,
    /// Where the connection goes back to, and for how long.
    key: u64,
    idle: Option<Duration>,
}

impl Http1 {
    pub(in crate::proxy::upstream) fn new(stream: Stream, reused: bool, key: u64, idle: Option<Duration>) -> Http1 {
        Http1 {
            wire: Wire::new(stream, BytesMut::new()),
            encoder: Encoder::new(Framing::NONE),
            decoder: Decoder::new(Framing::UntilClose),
            method: Method::GET,
            keep_alive: false,
            reused,
            heard: false,
            switched: false,
            key,
            idle,
        }
    }

    pub(super) fn ask(&mut self, head: &RequestHeader, host: Option<&HeaderValue>, body: bool, upgrade: bool) {
        self.method = head.method.clone();
        // What a client says was checked when it was read.
        let framing = match Framing::of_request(&head.headers).unwrap_or(Framing::NONE) {
            Framing::Length(0) if body => Framing::Chunked,
            framing => framing,
        };
        self.encoder = Encoder::new(framing);
        let cookies = joined_cookies(head);
        let fields = RequestFields {
            head,
            host: host.map(HeaderValue::as_bytes),
            cookies: cookies.as_deref(),
            framing,
            upgrade,
            nominates: head.headers.contains_key(CONNECTION),
        };
        let mut cookie_written = false;
        let mut extra = smallvec::SmallVec::<[(&str, &[u8]); 2]>::new();
        if let Some(host) = fields.host.filter(|_| !head.headers.contains_key(HOST)) {
            extra.push(("Host", host));
        } else if !head.headers.contains_key(HOST)
            && let Some(authority) = head.uri.authority()
        {
            // HTTP/2 says it elsewhere.
            extra.push(("Host", authority.as_str().as_bytes()));
        }
        if framing == Framing::Chunked && !head.headers.contains_key(TRANSFER_ENCODING) {
            extra.push(("Transfer-Encoding", b"chunked"));
        }
        self.wire.output.append(|buffer| {
            head::write_request(head, buffer, |name| fields.fate(name, &mut cookie_written), &extra);
        });
    }

    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<Result<()>> {
        if self.wire.output.len() >= BACKLOG {
            ready!(self.poll_flush(cx))?;
        }
        self.encoder.data(std::mem::take(bytes), &mut self.wire.output);
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>, trailers: Option<&HeaderMap>) -> Poll<Result<()>> {
        if !self.encoder.end(trailers, &mut self.wire.output) {
            // Less than was promised: the server has to wait for the rest, or to learn that there is none.
            return self.wire.poll_shutdown(cx).map_err(broken);
        }
        if self.switched {
            return self.wire.poll_shutdown(cx).map_err(broken);
        }
        self.poll_flush(cx)
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.wire.poll_flush(cx).map_err(broken)
    }

    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHeader>> {
        loop {
            let parsed = head::parse_response(&mut self.wire.input);
            if let Some(head) = parsed.map_err(|malformed| malformed.error().into_up())? {
                return Poll::Ready(self.take_head(head));
            }
            match ready!(self.wire.poll_fill(cx)).map_err(broken)? {
                true => self.heard = true,
                false => return Poll::Ready(Err(closed())),
            }
        }
    }

    fn take_head(&mut self, head: ResponseHeader) -> Result<ResponseHeader> {
        if head.status.is_informational() {
            return Ok(head);
        }
        let framing = Framing::of_response(&self.method, head.status, &head.headers);
        let framing = framing.map_err(|malformed| malformed.error().into_up())?;
        self.keep_alive = framing != Framing::UntilClose && head::keeps_alive(head.version, &head.headers);
        self.decoder = Decoder::new(framing);
        Ok(head)
    }

    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>>> {
        loop {
            let part = self.decoder.decode(&mut self.wire.input);
            match part.map_err(|malformed| malformed.error().into_up())? {
                Some(part) => return Poll::Ready(Ok(Some(part))),
                None if self.decoder.is_done() => return Poll::Ready(Ok(None)),
                None => {}
            }
            match ready!(self.wire.poll_fill(cx)).map_err(broken)? {
                true => {}
                false if self.decoder.end_of_input() => return Poll::Ready(Ok(None)),
                false => return Poll::Ready(Err(closed())),
            }
        }
    }

    pub(super) fn is_body_done(&self) -> bool {
        self.decoder.is_done()
    }

    pub(super) fn switch_protocols(&mut self) {
        self.switched = true;
        self.encoder = Encoder::new(Framing::UntilClose);
        self.decoder = Decoder::new(Framing::UntilClose);
    }

    /// Whether the server had closed a kept-alive connection before the request came (RFC 9112, section 9.3.1).
    pub(super) fn was_stale(&self, error: &Error) -> bool {
        let over = matches!(
            error.etype(),
            ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError
        );
        self.reused && !self.heard && over
    }

    pub(super) fn release(mut self, connector: &Connector) {
        let whole = self.encoder.is_done() && self.decoder.is_done() && self.wire.output.len() == 0;
        // Bytes behind an answer are nobody's.
        let clean = self.wire.input.is_empty() && !self.wire.has_ended();
        if self.keep_alive && whole && clean && !self.switched {
            self.wire.rest();
            connector.release(self.wire.into_stream(), self.key, self.idle);
        }
    }
}

/// The server has closed the connection before its answer was complete.
fn closed() -> Box<Error> {
    Error::explain(ErrorType::ConnectionClosed, "before the answer was complete").into_up()
}

fn broken(error: io::Error) -> Box<Error> {
    Error::because(ErrorType::ReadError, "the upstream's connection broke", error).into_up()
}

/// Cookies may come as one field each over HTTP/2 alone (RFC 9113, section 8.2.3).
fn joined_cookies(head: &RequestHeader) -> Option<Vec<u8>> {
    if head.version != Version::HTTP_2 || head.headers.get_all(COOKIE).iter().nth(1).is_none() {
        return None;
    }
    let cookies: Vec<&[u8]> = head.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    Some(cookies.join(&b"; "[..]))
}

/// Which fields of a request leave, and as what.
struct RequestFields<'a> {
    head: &'a RequestHeader,
    host: Option<&'a [u8]>,
    cookies: Option<&'a [u8]>,
    framing: Framing,
    upgrade: bool,
    /// It has a `Connection`.
    nominates: bool,
}

impl<'a> RequestFields<'a> {
    fn fate(&self, name: &[u8], cookie_written: &mut bool) -> Fate<'a> {
        let is = |field: &HeaderName| name.eq_ignore_ascii_case(field.as_str().as_bytes());
        let passes_if = |passes| if passes { Fate::Pass } else { Fate::Drop };
        match name.len() {
            2 if is(&TE) => Fate::Drop,
            4 if is(&HOST) => self.host.map_or(Fate::Pass, |host| Fate::Become("Host", host)),
            6 if is(&COOKIE) && self.cookies.is_some() => match std::mem::replace(cookie_written, true) {
                false => Fate::Become("Cookie", self.cookies.unwrap_or_default()),
                true => Fate::Drop,
            },
            7 if is(&UPGRADE) => passes_if(self.upgrade),
            10 if is(&CONNECTION) => passes_if(self.upgrade),
            10 if name.eq_ignore_ascii_case(b"keep-alive") => Fate::Drop,
            14 if is(&CONTENT_LENGTH) => passes_if(self.framing != Framing::Chunked),
            14 if name.eq_ignore_ascii_case(b"http2-settings") => Fate::Drop,
            16 if name.eq_ignore_ascii_case(b"proxy-connection") => Fate::Drop,
            17 if is(&TRANSFER_ENCODING) => passes_if(self.framing == Framing::Chunked),
            18 if is(&PROXY_AUTHENTICATE) => Fate::Drop,
            19 if is(&PROXY_AUTHORIZATION) => Fate::Drop,
            _ if self.nominates && self.is_nominated(name) => passes_if(self.upgrade),
            _ => Fate::Pass,
        }
    }

    /// Whether the client's `Connection` says that a field is for squall alone (RFC 9110, section 7.6.1).
    fn is_nominated(&self, name: &[u8]) -> bool {
        head::tokens(&self.head.headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case(name))
    }
}
