//! Effects: what a fault does to one request or connection, as plain data that the proxy carries out.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use smallvec::SmallVec;

use super::answer::{Answer, GrpcAnswer};
use super::before::{Before, Mode};
use super::certificate::CertificateSpec;
use super::concurrency::Station;
use super::reset_code;
use super::rewrite::change::Rewrite;
use super::skip::Skip;
use crate::shape::{Part, Stream};
use crate::yaml::units::Time;

/// What a fault does to a request or a connection.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Wait.
    Wait {
        /// What waits.
        before: Before,
        /// How the wait combines with the natural time.
        mode: Mode,
        /// How long to wait.
        time: Duration,
    },
    /// End the request, or the connection.
    End {
        /// How it ends.
        ending: Ending,
        /// When it ends: in place of the upstream's response, or before there is a request.
        before: Before,
    },
    /// Present a certificate that the client must not accept.
    Certificate(CertificateSpec),
    /// Wait for a place at an overloaded server.
    Queue {
        /// The server.
        station: Arc<Station>,
        /// How the request ends if the queue is full, or the wait too long.
        refusal: Ending,
    },
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
    Skip(Skip),
}

/// How a request or connection ends.
#[derive(Debug, Clone)]
pub enum Ending {
    /// squall sends this response, with another status if the request asked for one.
    Answer(Arc<Answer>, Option<StatusCode>),
    /// squall ends a gRPC call with this status.
    Grpc(Arc<GrpcAnswer>),
    /// The connection is closed without a response.
    Close,
    /// The connection or the stream is reset, with this HTTP/2 code.
    Reset(u32),
    /// No response is sent, for at most this long; then the connection is closed.
    Hang(Option<Duration>),
}

impl Effect {
    /// Whether the effect ends the request without the upstream's response.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Effect::End { .. })
    }

    /// Checks that the effect can act on a connection that has no requests.
    ///
    /// # Errors
    /// The reason why not: one of [`crate::metrics::SKIP_REASONS`].
    pub fn on_connection(&self) -> Result<(), &'static str> {
        match self {
            Effect::Shape(parts) => {
                let accepts = |part: &Part| Stream::of_connection(part.direction).accepts(&part.act);
                let mut refused = Ok(());
                for part in parts {
                    match accepts(part) {
                        Ok(()) => return Ok(()),
                        Err(reason) => refused = Err(reason),
                    }
                }
                refused
            }
            Effect::Wait { .. } | Effect::Queue { .. } | Effect::Certificate(_) | Effect::Skip(_) => Ok(()),
            Effect::End { before, ending } if *before != Before::Response => match ending {
                Ending::Close | Ending::Reset(_) | Ending::Hang(_) => Ok(()),
                Ending::Answer(..) | Ending::Grpc(_) => Err("not HTTP"),
            },
            Effect::End { .. } | Effect::Fields(_) | Effect::GoAway | Effect::Rewrite(_) | Effect::Duplicate { .. } => {
                Err("not HTTP")
            }
        }
    }

    /// When the effect acts.
    pub fn before(&self) -> Before {
        match self {
            Effect::Wait { before, .. } | Effect::End { before, .. } => *before,
            Effect::Queue { station, .. } => station.before,
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
    /// Describes the effect in words that follow the name of a fault. Waits are capped at `longest_wait`.
    pub fn describe(&self, longest_wait: Duration) -> String {
        match self {
            Ending::Answer(answer, asked) => {
                let why = if asked.is_some() { ", as requested" } else { "" };
                let status = asked.unwrap_or(answer.status);
                format!("responds with {status}{}{why}", answer.describe())
            }
            Ending::Grpc(answer) => format!("responds with {}", answer.describe()),
            Ending::Close => "closes the connection without a response".into(),
            Ending::Reset(code) => format!(
                "resets the connection, or over HTTP/2 the stream with {}",
                reset_code::name(*code)
            ),
            Ending::Hang(limit) => {
                let limit = limit.unwrap_or(longest_wait).min(longest_wait);
                format!(
                    "sends no response, and closes the connection after {}",
                    Time::saturating(limit)
                )
            }
        }
    }

    /// The status of the response that squall sends, if any.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Ending::Answer(answer, asked) => Some(asked.unwrap_or(answer.status)),
            _ => None,
        }
    }
}
