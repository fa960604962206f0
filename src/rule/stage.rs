//! When a rule is decided: for a request, or for a connection before its first request.

use crate::fault::before::Before;

/// When a rule is decided, and what it acts on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// When a connection was accepted and nothing was read from it.
    Connection,
    /// When a ClientHello was read and not answered yet.
    Handshake,
    /// When a request head was read.
    #[default]
    Request,
}

impl Stage {
    /// The stage of a fault with this `before`.
    pub fn of(before: Before) -> Stage {
        match before {
            Before::Connection => Stage::Connection,
            Before::Handshake => Stage::Handshake,
            Before::Request | Before::Response | Before::Body | Before::Message | Before::End => Stage::Request,
        }
    }

    /// The stage in words, for messages: `when a connection is accepted`.
    pub fn moment(self) -> &'static str {
        match self {
            Stage::Connection => "when a connection is accepted",
            Stage::Handshake => "in the TLS handshake",
            Stage::Request => "when a request's head arrives",
        }
    }

    /// What the rule acts on, in words: `connection` or `request`.
    pub fn subject(self) -> &'static str {
        match self {
            Stage::Connection | Stage::Handshake => "connection",
            Stage::Request => "request",
        }
    }

    /// The stage's name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Connection => "connection",
            Stage::Handshake => "handshake",
            Stage::Request => "request",
        }
    }
}
