//! The plan: what was decided for one request. Pure data, made once, carried out by the proxy.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use smallvec::SmallVec;

use super::decide::Rule;
use crate::fault::Before;
use crate::fault::abort::Answer;
use crate::fault::certificate::CertificateSpec;
use crate::fault::concurrency::Station;
use crate::fault::delay::Mode;
use crate::fault::quota::QuotaHeaders;
use crate::fault::rewrite::Rewrite;
use crate::grpc::GrpcStatus;
use crate::shape::Part;

/// What happens to a request, in order.
#[derive(Debug, Default)]
pub struct Plan {
    /// The rules that hit it.
    pub hits: SmallVec<[Hit; 2]>,
    /// Their faults, in order.
    pub actions: SmallVec<[Action; 2]>,
}

/// A rule that hit the request.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The rule.
    pub rule: Arc<Rule>,
    /// The request's number in the rule.
    pub ordinal: u64,
    /// What was drawn against the percentage, in parts per million.
    pub drawn: u32,
}

/// One fault of a plan.
#[derive(Debug, Clone)]
pub struct Action {
    /// Position of the rule in [`Plan::hits`].
    pub hit: usize,
    /// Position of the fault among all faults of its rule.
    pub fault: usize,
    /// What to do.
    pub effect: Effect,
}

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
    /// Answer instead of the upstream.
    Answer {
        /// With this.
        answer: Arc<Answer>,
        /// With another status than the answer's own, as the request asked.
        status: Option<StatusCode>,
        /// Instead of asking the upstream, or instead of its response.
        before: Before,
    },
    /// Answer a gRPC call instead of the upstream.
    Grpc {
        /// With this status.
        status: Arc<GrpcStatus>,
        /// Instead of asking the upstream, or instead of its response.
        before: Before,
    },
    /// End the connection.
    Close {
        /// Before or after asking the upstream.
        before: Before,
    },
    /// Reset the connection or the stream.
    Reset {
        /// The HTTP/2 error code.
        code: u32,
        /// Before or after asking the upstream.
        before: Before,
    },
    /// Never answer.
    Hang {
        /// But for this long at most.
        limit: Option<Duration>,
        /// From when on.
        before: Before,
    },
    /// Present a certificate that the client must not accept.
    Certificate(CertificateSpec),
    /// Wait for a place at an overloaded server.
    Queue(Arc<Station>),
    /// Add fields to the response.
    Fields(QuotaHeaders),
    /// Change heads and bodies.
    Rewrite(Arc<Rewrite>),
    /// Shape the bytes of the request's or the response's body.
    Shape(SmallVec<[Part; 2]>),
    /// Send the request to the upstream twice.
    Duplicate {
        /// If its body has at most so many bytes.
        limit: usize,
    },
    /// The fault cannot be applied to this request, for this reason.
    Skip(&'static str),
}

impl Effect {
    /// Whether it ends the request without the upstream's response.
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            Effect::Answer { .. }
                | Effect::Grpc { .. }
                | Effect::Close { .. }
                | Effect::Reset { .. }
                | Effect::Hang { .. }
        )
    }

    /// Where it acts.
    pub fn before(&self) -> Before {
        match self {
            Effect::Wait { before, .. }
            | Effect::Answer { before, .. }
            | Effect::Grpc { before, .. }
            | Effect::Close { before }
            | Effect::Reset { before, .. }
            | Effect::Hang { before, .. } => *before,
            Effect::Queue(station) => station.before,
            Effect::Certificate(_) => Before::Handshake,
            Effect::Duplicate { .. } | Effect::Skip(_) => Before::Request,
            Effect::Shape(_) => Before::Body,
            Effect::Fields(_) => Before::Response,
            Effect::Rewrite(rewrite) if !rewrite.touches_request() => Before::Response,
            Effect::Rewrite(_) => Before::Request,
        }
    }
}

impl Plan {
    /// Whether nothing happens.
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty()
    }
}
