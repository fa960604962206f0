//! HTTP/1 on the wire (RFC 9112): heads, body framing, and the buffers of a connection.
//!
//! ```text
//! bytes ─ Wire::input ─ head::parse_… ─ Decoder ─ Part      Part ─ Encoder ─ Wire::output ─ bytes
//! ```
//!
//! Clients and upstreams use this one implementation, so heads keep their order and case, trailers and interim responses
//! pass, and both sides apply the same checks.

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
    /// The status of the error response.
    pub(crate) status: u16,
    /// What is wrong, for the error response and the log.
    pub(crate) reason: &'static str,
}

impl Malformed {
    /// A malformed message that gets a 400.
    pub(crate) const fn bad(reason: &'static str) -> Malformed {
        Malformed { status: 400, reason }
    }

    /// Converts this to an error. Its source, client or upstream, must still be set.
    pub(crate) fn error(self) -> Box<Error> {
        Error::explain(ErrorType::InvalidHTTPHeader, self.reason)
    }
}
