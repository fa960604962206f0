//! The parts of bodies, and the traits of what they are read from and written to.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use pingora::Result;

/// A part of a body. The end of the body is not a part.
#[derive(Debug)]
pub(crate) enum Part {
    /// Bytes, at least one.
    Data(Bytes),
    /// Fields behind the body (RFC 9110, section 6.5); nothing follows them but the end.
    Trailers(HeaderMap),
}

/// Where a body comes from: a client, for the request; an upstream, for the response.
pub(crate) trait Source: Send {
    /// The next part; `None` at the end. Loses nothing when it is dropped in between.
    ///
    /// # Errors
    /// Whoever sends it has left, broken the framing, or taken too long.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>>>;

    /// [`Source::poll_part`], to be waited for. Cancel-safe.
    fn part(&mut self) -> impl Future<Output = Result<Option<Part>>> + Send {
        std::future::poll_fn(|cx| self.poll_part(cx))
    }
}

/// Where a body goes.
pub(crate) trait Sink: Send {
    /// Hands bytes on; ready when all of them are. They may still have to be flushed. False where nothing may follow them.
    ///
    /// # Errors
    /// Whoever receives it takes no more.
    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<Result<bool>>;

    /// Ends the body, with trailers, and sends everything.
    ///
    /// # Errors
    /// Whoever receives it takes no more.
    fn poll_end(&mut self, cx: &mut Context<'_>, trailers: Option<&HeaderMap>) -> Poll<Result<()>>;

    /// Sends what was handed on.
    ///
    /// # Errors
    /// Whoever receives it takes no more.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;
}
