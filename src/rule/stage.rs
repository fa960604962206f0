//! What a rule decides about: a request, or a connection before it has any.

use crate::fault::before::Before;

/// What a rule decides about, and when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// A connection, when it is accepted and nothing was read from it.
    Connection,
    /// A connection, when the client has begun the TLS handshake and nothing was answered.
    Handshake,
    /// A request, when its head has come.
    #[default]
    Request,
}

impl Stage {
    /// Where a fault with such a `before` is decided.
    pub fn of(before: Before) -> Stage {
        match before {
            Before::Connection => Stage::Connection,
            Before::Handshake => Stage::Handshake,
            Before::Request | Before::Response | Before::Body | Before::Message => Stage::Request,
        }
    }

    /// When it is decided, in words: `when a connection is accepted`.
    pub fn moment(self) -> &'static str {
        match self {
            Stage::Connection => "when a connection is accepted",
            Stage::Handshake => "in the TLS handshake",
            Stage::Request => "when a request's head arrives",
        }
    }

    /// What is decided about.
    pub fn subject(self) -> &'static str {
        match self {
            Stage::Connection | Stage::Handshake => "connection",
            Stage::Request => "request",
        }
    }

    /// The name, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Connection => "connection",
            Stage::Handshake => "handshake",
            Stage::Request => "request",
        }
    }
}
