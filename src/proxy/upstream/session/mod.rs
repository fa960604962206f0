//! The upstream's side of an exchange: one request to a server over HTTP/1 or HTTP/2, or to a fake.
//!
//! [`Session`] mirrors [`Client`](crate::proxy::client::Client): it sends a head and a body, receives heads and a body,
//! and everything is polled.

mod fake;
mod http1;
mod http2;
mod patience;

use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::PeerOptions;
use pingora::{Error, ErrorType, Result};

pub(in crate::proxy) use self::fake::Fake;
pub(super) use self::http1::UpstreamHttp1;
pub(super) use self::http2::UpstreamHttp2;
use self::patience::Patience;
use super::connect::Connector;
use crate::fault::rewrite::media_type;
use crate::proxy::body::{Part, Sink, Source};
use crate::shape::Framing;

/// One request to an upstream.
#[derive(Debug)]
pub(in crate::proxy) struct Session {
    side: UpstreamSide,
    /// The time limit between two pieces of the response, and before the first, once the whole request was sent.
    read: Patience,
    /// Takes the place of `read` in streams of messages and in tunnels.
    stream: Option<Duration>,
    /// Whether the protocol was switched, so that bytes in either direction end a wait.
    tunnel: bool,
    /// The time limit for the upstream to accept a piece of the request.
    write: Patience,
    /// Whether the whole request was sent, or the upstream accepts no more of it. `read` counts from then on.
    asked: bool,
    /// Whether the request asks for another protocol.
    asks_upgrade: bool,
}

#[derive(Debug)]
enum UpstreamSide {
    Http1(Box<UpstreamHttp1>),
    Http2(Box<UpstreamHttp2>),
    Fake(Box<Fake>),
}

/// Calls the same method on any variant.
macro_rules! either {
    ($session:expr, $side:ident => $body:expr) => {
        match &mut $session.side {
            UpstreamSide::Http1($side) => $body,
            UpstreamSide::Http2($side) => $body,
            UpstreamSide::Fake($side) => $body,
        }
    };
}

impl Session {
    pub(super) fn http1(http1: UpstreamHttp1, options: &PeerOptions) -> Session {
        Session::new(
            UpstreamSide::Http1(Box::new(http1)),
            options.read_timeout,
            options.write_timeout,
        )
    }

    pub(super) fn http2(http2: UpstreamHttp2, options: &PeerOptions) -> Session {
        Session::new(
            UpstreamSide::Http2(Box::new(http2)),
            options.read_timeout,
            options.write_timeout,
        )
    }

    /// A session with a fake, without time limits.
    pub(in crate::proxy) fn fake(fake: Fake) -> Session {
        Session::new(UpstreamSide::Fake(Box::new(fake)), None, None)
    }

    fn new(side: UpstreamSide, read: Option<Duration>, write: Option<Duration>) -> Session {
        Session {
            side,
            read: Patience::new(read),
            stream: None,
            tunnel: false,
            write: Patience::new(write),
            asked: false,
            asks_upgrade: false,
        }
    }

    /// Sets the time limit of silence in streams of messages and in tunnels; `None`, as it is at first, means unlimited.
    pub(in crate::proxy) fn limit_streams(&mut self, limit: Option<Duration>) {
        self.stream = limit;
    }

    /// Whether this is a server over HTTP/1, which sends 100 (Continue).
    pub(in crate::proxy) fn is_http1(&self) -> bool {
        matches!(self.side, UpstreamSide::Http1(_))
    }

    /// Whether it can switch to another protocol. HTTP/2 can't (RFC 9113, section 8.6).
    pub(in crate::proxy) fn can_upgrade(&self) -> bool {
        !matches!(self.side, UpstreamSide::Http2(_))
    }

    /// Sends the request head. `body`: a body follows, which must be [ended](Session::poll_end). `host` replaces the request's
    /// own. `upgrade`: the request's `Upgrade` is passed on.
    ///
    /// # Errors
    /// The head can't be sent over this protocol, or the connection has ended.
    pub(in crate::proxy) fn ask(
        &mut self,
        head: &RequestHeader,
        host: Option<&HeaderValue>,
        body: bool,
        upgrade: bool,
    ) -> Result<()> {
        self.asks_upgrade = upgrade;
        match &mut self.side {
            UpstreamSide::Http1(http1) => http1.ask(head, host, body, upgrade),
            UpstreamSide::Http2(http2) => http2.ask(head, host, body)?,
            UpstreamSide::Fake(fake) => fake.ask(head, body, upgrade),
        }
        Ok(())
    }

    /// Polls for the next response head: any number of interim ones, then the final one.
    ///
    /// # Errors
    /// The connection ended, the head is not valid HTTP, or the time limit is exceeded.
    pub(in crate::proxy) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHeader>> {
        match either!(self, side => side.poll_head(cx)) {
            Poll::Ready(Ok(head)) if head.status == StatusCode::SWITCHING_PROTOCOLS && !self.asks_upgrade => {
                // Allowed only if the client asked for it (RFC 9110, section 15.2.2).
                let unasked = Error::explain(
                    ErrorType::InvalidHTTPHeader,
                    "it switched protocols without being asked",
                );
                Poll::Ready(Err(unasked.into_up()))
            }
            Poll::Ready(Ok(head)) => {
                if Framing::of(&media_type(&head.headers)) != Framing::Opaque {
                    self.read = Patience::new(self.stream);
                }
                self.poll_read(cx, Poll::Ready(Ok(head)))
            }
            head => self.poll_read(cx, head),
        }
    }

    /// Whether the response was read to its end.
    pub(in crate::proxy) fn is_body_done(&self) -> bool {
        match &self.side {
            UpstreamSide::Http1(http1) => http1.is_body_done(),
            UpstreamSide::Http2(http2) => http2.is_body_done(),
            UpstreamSide::Fake(fake) => fake.is_body_done(),
        }
    }

    /// Switches the connection to another protocol, after a 101.
    pub(in crate::proxy) fn switch_protocols(&mut self) {
        match &mut self.side {
            UpstreamSide::Http1(http1) => http1.switch_protocols(),
            UpstreamSide::Fake(fake) => fake.switch_protocols(),
            UpstreamSide::Http2(_) => {}
        }
        self.tunnel = true;
        self.read = Patience::new(self.stream);
        // One limit is enough: a server that accepts nothing for as long is silent, too.
        self.write = Patience::new(None);
    }

    /// Whether a failed request may be retried over another connection: the upstream can't have processed it (RFC 9113,
    /// section 8.7), or the method is idempotent (RFC 9110, section 9.2.2).
    pub(in crate::proxy) fn may_ask_again(&self, error: &Error, idempotent: bool, connector: &Connector) -> bool {
        match &self.side {
            UpstreamSide::Http1(http1) => idempotent && http1.was_stale(error),
            UpstreamSide::Http2(http2) => {
                let over_http1 = http2.wants_http1(error);
                over_http1.is_some_and(|server| connector.avoid_http2(server))
                    || http2.was_not_processed(error)
                    || idempotent && http2.was_stale(error)
            }
            UpstreamSide::Fake(_) => false,
        }
    }

    /// Returns the connection to the pool, if it can be reused.
    pub(in crate::proxy) fn release(self, connector: &Connector) {
        if let UpstreamSide::Http1(http1) = self.side {
            http1.release(connector);
        }
    }

    /// Applies the read limit to a poll of the response.
    fn poll_read<T>(&mut self, cx: &mut Context<'_>, read: Poll<Result<T>>) -> Poll<Result<T>> {
        if read.is_ready() {
            self.read.rest();
            return read;
        }
        if !self.asked {
            // The limit does not run yet: the upstream may be waiting for a client that is slow to send its request.
            return Poll::Pending;
        }
        ready!(self.read.poll_over(cx));
        let why = if self.tunnel {
            "nothing in either direction in time"
        } else {
            "no response in time"
        };
        self.give_up(ErrorType::ReadTimedout, why)
    }

    /// Applies the write limit to a poll of the request.
    fn poll_write<T>(&mut self, cx: &mut Context<'_>, written: Poll<Result<T>>) -> Poll<Result<T>> {
        if let Poll::Ready(written) = written {
            self.write.rest();
            // After an error nothing more is sent, so the read limit begins.
            self.asked |= written.is_err();
            return Poll::Ready(written);
        }
        ready!(self.write.poll_over(cx));
        self.asked = true;
        self.give_up(ErrorType::WriteTimedout, "the request was not accepted in time")
    }

    fn give_up<T>(&mut self, kind: ErrorType, why: &'static str) -> Poll<Result<T>> {
        if let UpstreamSide::Http2(http2) = &mut self.side {
            // The connection may be dead, and other requests should not have to find that out.
            http2.retire();
        }
        Poll::Ready(Err(Error::explain(kind, why).into_up()))
    }
}

/// The response body.
impl Source for Session {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>>> {
        let part = either!(self, side => side.poll_part(cx));
        self.poll_read(cx, part)
    }
}

/// The request body.
impl Sink for Session {
    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<Result<bool>> {
        let sent = either!(self, side => side.poll_send(cx, bytes));
        if self.tunnel && sent.is_ready() {
            self.read.rest();
        }
        self.poll_write(cx, sent).map_ok(|()| true)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, trailers: Option<&HeaderMap>) -> Poll<Result<()>> {
        let ended = either!(self, side => side.poll_end(cx, trailers));
        self.asked |= ended.is_ready();
        self.poll_write(cx, ended)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = match &mut self.side {
            UpstreamSide::Http1(http1) => http1.poll_flush(cx),
            // h2 sends from the connection's own task, and a fake has no connection.
            UpstreamSide::Http2(_) | UpstreamSide::Fake(_) => Poll::Ready(Ok(())),
        };
        self.poll_write(cx, flushed)
    }
}
