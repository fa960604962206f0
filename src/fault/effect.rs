//! What a fault does to one request, or to one connection: pure data, carried out by the proxy.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use smallvec::SmallVec;

use super::answer::Answer;
use super::before::{Before, Mode};
use super::certificate::CertificateSpec;
use super::concurrency::Station;
use super::reset_code;
use super::rewrite::change::Rewrite;
use crate::grpc::GrpcStatus;
use crate::shape::Part;
use crate::yaml::units::Time;

/// What a fault does to this request.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Wait.
    Wait {
        /// Where.
        before: Before,
        /// On top of natural time, or instead of it.
        mode: Mode,
        /// How long.
        time: Duration,
    },
    /// End the request, or the connection.
    End {
        /// How.
        ending: Ending,
        /// Instead of asking the upstream, instead of its response, or before there is a request.
        before: Before,
    },
    /// Present a certificate that the client must not accept.
    Certificate(CertificateSpec),
    /// Wait for a place at an overloaded server.
    Queue(Arc<Station>),
    /// Add fields to the response.
    Fields(Arc<Vec<(HeaderName, HeaderValue)>>),
    /// Let no request follow this one on its connection.
    GoAway,
    /// Change heads and bodies.
    Rewrite(Arc<Rewrite>),
    /// Shape the bytes of the request's or the response's body.
    Shape(SmallVec<[Part; 2]>),
    /// Send the request to the upstream twice.
    Duplicate {
        /// The longest body, in bytes, that is sent twice.
        limit: usize,
    },
    /// The fault can't be applied to this request, for this reason.
    Skip(&'static str),
}

/// How a request ends, or a connection.
#[derive(Debug, Clone)]
pub enum Ending {
    /// squall answers; with another status than the answer's own, if the request asked for that.
    Answer(Arc<Answer>, Option<StatusCode>),
    /// squall answers a gRPC call.
    Grpc(Arc<GrpcStatus>),
    /// The connection is closed without a reply.
    Close,
    /// The connection or the stream is reset, with this HTTP/2 code.
    Reset(u32),
    /// Nothing is ever answered, but for this long at most; then the connection is closed.
    Hang(Option<Duration>),
}

impl Effect {
    /// Whether it ends the request without the upstream's response.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Effect::End { .. })
    }

    /// The moment at which it acts.
    pub fn before(&self) -> Before {
        match self {
            Effect::Wait { before, .. } | Effect::End { before, .. } => *before,
            Effect::Queue(station) => station.before,
            Effect::Certificate(_) => Before::Handshake,
            Effect::Duplicate { .. } | Effect::GoAway | Effect::Skip(_) => Before::Request,
            Effect::Shape(_) => Before::Body,
            Effect::Fields(_) => Before::Response,
            Effect::Rewrite(rewrite) if !rewrite.touches_request() => Before::Response,
            Effect::Rewrite(_) => Before::Request,
        }
    }
}

impl Ending {
    /// What happens, in words that follow the name of a fault. No wait is longer than `longest_wait`.
    pub fn describe(&self, longest_wait: Duration) -> String {
        match self {
            Ending::Answer(answer, asked) => {
                let why = if asked.is_some() { ", as the request asks" } else { "" };
                let status = asked.unwrap_or(answer.status);
                format!("answers {status}{}{why}", answer.describe())
            }
            Ending::Grpc(status) => format!("answers the gRPC status {status}"),
            Ending::Close => "closes the connection without a reply".into(),
            Ending::Reset(code) => format!(
                "resets the connection; over HTTP/2 the stream, with {}",
                reset_code::name(*code)
            ),
            Ending::Hang(limit) => {
                let limit = limit.unwrap_or(longest_wait).min(longest_wait);
                format!(
                    "never answers; after {} the connection is closed",
                    Time::saturating(limit)
                )
            }
        }
    }

    /// The status that squall answers with, where it does.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Ending::Answer(answer, asked) => Some(asked.unwrap_or(answer.status)),
            _ => None,
        }
    }
}
