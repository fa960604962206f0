//! HTTP/1 on the wire (RFC 9112): heads, body framing, and the buffers of a connection. No rules and no upstreams here.
//!
//! ```text
//! bytes ─ Wire::input ─ head::parse_… ─ Decoder ─ Part      Part ─ Encoder ─ Wire::output ─ bytes
//! ```
//!
//! Both sides of squall use it, so heads keep their order and case, trailers and interim responses pass, and what is
//! refused is refused on either side for the same reason.

mod body;
pub(super) mod head;
mod output;
mod wire;

use pingora::{Error, ErrorType};

pub(super) use self::body::{Decoder, Encoder, Framing};
pub(super) use self::output::Output;
pub(super) use self::wire::Wire;

/// A message that breaks the grammar of RFC 9112.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// What a client is answered for it.
    pub(crate) status: u16,
    /// What is wrong, for the answer and the log.
    pub(crate) reason: &'static str,
}

impl Malformed {
    /// A message that a client is answered with 400 for.
    pub(crate) const fn bad(reason: &'static str) -> Malformed {
        Malformed { status: 400, reason }
    }

    /// Makes an error whose source, client or upstream, is not set yet.
    pub(crate) fn error(self) -> Box<Error> {
        Error::explain(ErrorType::InvalidHTTPHeader, self.reason)
    }
}
