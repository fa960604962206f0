//! Upstreams in their usable form: which endpoint serves a request, and how Pingora connects to it.
//!
//! ```text
//! config::upstream::UpstreamSpec ── build ──> Upstream ── select ──> Picked ── peer ──> HttpPeer
//!                                   target    Balancer               │ report: failures eject an endpoint
//!                                   certificates                     │ describe: what the client is told
//!                                   Endpoint (a template) <──────────┘
//! ```
//!
//! - [`build`](Upstream::build) reads certificates and checks everything, so that requests only meet the network's
//!   troubles.
//! - `resolve` looks up names, for each connection anew after some seconds.
//! - [`describe_error`] turns a natural failure into an answer.

mod balance;
mod build;
mod certificates;
mod connect;
mod failure;
mod peer;
mod pool;
mod resolve;
mod session;
mod target;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::HeaderValue;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType};

use self::balance::Balancer;
pub use self::certificates::check_system_authorities;
pub use self::connect::Connector;
pub use self::failure::{Failure, describe_error};
use self::peer::Endpoint;
pub use self::resolve::RESOLVE_FAILED;
pub(super) use self::session::{Fake, Session};
pub use self::target::Place;
use crate::fake::spec::FakeSpec;

/// A named target, ready for requests.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    fingerprint: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Http(Http),
    Fake(Box<FakeSpec>),
    Tcp(Place),
}

#[derive(Debug)]
struct Http {
    /// Never empty.
    endpoints: Box<[Endpoint]>,
    /// The limit of connecting, where requests go on to where their connections were headed.
    original: Option<Duration>,
    balancer: Balancer,
    /// Answers that count as failures.
    failing_statuses: Box<[u16]>,
}

impl Upstream {
    /// The name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Equal for two upstreams that were built from the same text and the same certificates. A reload can go on with the
    /// old one then, and so keep what it knows of failing endpoints and of names.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The built-in server, if it is one.
    pub fn fake(&self) -> Option<&FakeSpec> {
        match &self.kind {
            Kind::Fake(fake) => Some(fake),
            Kind::Http(_) | Kind::Tcp(_) => None,
        }
    }

    /// The TCP server, if it is one.
    pub fn tcp(&self) -> Option<&Place> {
        match &self.kind {
            Kind::Tcp(place) => Some(place),
            Kind::Http(_) | Kind::Fake(_) => None,
        }
    }

    /// The endpoint for the next request; `None` for a fake and for a TCP server. `now` is the monotonic time, and is
    /// looked at only if failing endpoints are ejected.
    pub fn select(self: &Arc<Self>, now: Instant) -> Option<Picked> {
        let index = self.http()?.balancer.select(now);
        let upstream = Arc::clone(self);
        Some(Picked {
            upstream,
            index,
            original: None,
            failed: AtomicBool::new(false),
        })
    }

    /// For an upstream that is wherever a connection was headed before it was redirected: the limit of connecting.
    pub fn original_destination(&self) -> Option<Duration> {
        self.http()?.original
    }

    /// The labels of all endpoints, in the configuration's order; none for a fake and for a TCP server.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        let endpoints = self.http().map(|http| http.endpoints.iter());
        endpoints.into_iter().flatten().map(Endpoint::label)
    }

    /// How many endpoints are left out.
    pub fn ejected(&self, now: Instant) -> usize {
        self.http().map_or(0, |http| http.balancer.ejected(now))
    }

    fn http(&self) -> Option<&Http> {
        match &self.kind {
            Kind::Http(http) => Some(http),
            Kind::Fake(_) | Kind::Tcp(_) => None,
        }
    }
}

/// How a request to an endpoint ended, as far as the endpoint is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered with this status.
    Answered(u16),
    /// It could not be reached, broke the connection, or took too long.
    Failed,
}

impl Outcome {
    /// `None` if the endpoint is not to blame: the client left, or squall itself failed.
    pub fn of_error(error: &Error) -> Option<Self> {
        let blame = error.esource() == &ErrorSource::Upstream && error.etype() != &ErrorType::InternalError;
        blame.then_some(Self::Failed)
    }
}

/// The endpoint that one request goes to. Dropping it says that the request is over.
#[derive(Debug)]
pub struct Picked {
    upstream: Arc<Upstream>,
    index: usize,
    /// Where its connection was headed, which is what a message then names.
    original: Option<Original>,
    /// Whether it was reported as failed.
    failed: AtomicBool,
}

#[derive(Debug)]
struct Original {
    destination: SocketAddr,
    http2: bool,
    label: String,
}

impl Picked {
    /// For an upstream with [`Upstream::original_destination`]: where the request goes, and whether it came over HTTP/2.
    pub fn aim(&mut self, destination: SocketAddr, http2: bool) {
        self.original = Some(Original {
            destination,
            http2,
            label: destination.to_string(),
        });
    }

    /// What Pingora connects to. It may be called again for a second try.
    ///
    /// # Errors
    ///
    /// [`RESOLVE_FAILED`] if the endpoint's name has no address.
    pub async fn peer(&self) -> pingora::Result<Box<HttpPeer>> {
        match (self.endpoint(), &self.original) {
            (Some(endpoint), Some(original)) => Ok(endpoint.original_peer(original.destination, original.http2)),
            (Some(endpoint), None) => endpoint.peer().await,
            (None, _) => Err(Error::explain(ErrorType::InternalError, "no such endpoint")),
        }
    }

    /// The `Host` header (or `:authority`) to send; `None` sends the client's.
    pub fn host(&self) -> Option<&HeaderValue> {
        self.endpoint().and_then(Endpoint::host)
    }

    /// The endpoint as the configuration writes it, without the scheme: `10.0.0.1:80`. For logs and messages.
    pub fn label(&self) -> &str {
        let configured = || self.endpoint().map_or("", Endpoint::label);
        self.original
            .as_ref()
            .map_or_else(configured, |original| &original.label)
    }

    /// The upstream that it belongs to.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// To be called when an answer begins, and when the endpoint fails; never for what was injected. An endpoint fails a
    /// request once at most, however often that is reported. True if the endpoint is left out from now on.
    pub fn report(&self, outcome: Outcome, now: Instant) -> bool {
        let Some(http) = self.upstream.http() else {
            return false;
        };
        match outcome {
            Outcome::Answered(status) if !http.failing_statuses.contains(&status) => {
                http.balancer.succeeded(self.index);
                false
            }
            Outcome::Answered(_) | Outcome::Failed => {
                !self.failed.swap(true, Ordering::Relaxed) && http.balancer.failed(self.index, now)
            }
        }
    }

    /// What the client is told about a natural failure.
    pub fn describe(&self, error: &Error) -> Failure {
        describe_error(error, &self.upstream.name, Some(self.label()))
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        self.upstream.http().and_then(|http| http.endpoints.get(self.index))
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        if let Some(http) = self.upstream.http() {
            http.balancer.release(self.index);
        }
    }
}
