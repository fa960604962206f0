//! The parts of bodies, and the traits of what they are read from and written to.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING};
use pingora::Result;

/// A part of a body. The end of the body is not a part.
#[derive(Debug)]
pub(crate) enum Part {
    /// Bytes, at least one.
    Data(Bytes),
    /// Trailer fields (RFC 9110, section 6.5). Only the end follows them.
    Trailers(HeaderMap),
}

/// Fields that must not be trailers (RFC 9110, section 6.5.1): a recipient that merges them into the head would frame or route
/// the message in another way.
const NEVER_TRAILERS: [HeaderName; 4] = [CONTENT_LENGTH, TRANSFER_ENCODING, HOST, CONNECTION];

impl Part {
    /// The part for a trailer section, without fields that must not be there; `None` if there are no others.
    pub(crate) fn trailers(mut fields: HeaderMap) -> Option<Part> {
        for name in &NEVER_TRAILERS {
            // Removing reorders the others, so only where there is something to remove.
            if fields.contains_key(name) {
                fields.remove(name);
            }
        }
        (!fields.is_empty()).then_some(Part::Trailers(fields))
    }
}

/// Where a body is read from: the client for a request, the upstream for a response.
pub(crate) trait Source: Send {
    /// Polls for the next part; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// The sender disconnected, broke the framing, or exceeded its time limit.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>>>;

    /// Waits for the next part; see [`Source::poll_part`]. Cancel-safe.
    fn part(&mut self) -> impl Future<Output = Result<Option<Part>>> + Send {
        std::future::poll_fn(|cx| self.poll_part(cx))
    }
}

/// Where a body is written to.
pub(crate) trait Sink: Send {
    /// Writes bytes. Ready when all of them are written, though perhaps not flushed; false if nothing may follow them.
    ///
    /// # Errors
    /// The receiver accepts no more.
    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<Result<bool>>;

    /// Ends the body, with trailers if given, and flushes it.
    ///
    /// # Errors
    /// The receiver accepts no more.
    fn poll_end(&mut self, cx: &mut Context<'_>, trailers: Option<&HeaderMap>) -> Poll<Result<()>>;

    /// Flushes the bytes written so far.
    ///
    /// # Errors
    /// The receiver accepts no more.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;
}
