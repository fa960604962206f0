//! Upstreams in their usable form: which endpoint serves a request, and how Pingora connects to it.
//!
//! ```text
//! config::upstream::UpstreamSpec ── build ──> Upstream ── select ──> Picked ── peer ──> HttpPeer
//!                                   target    Balancer               │ answered, failed: failures eject an endpoint
//!                                   certificates                     │
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
pub mod spec;
mod target;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType};

use self::balance::Balancer;
pub use self::certificates::check_system_authorities;
pub use self::connect::Connector;
pub use self::failure::{Failure, describe_error};
use self::peer::Endpoint;
pub(super) use self::resolve::unresolved;
pub(super) use self::session::{Fake, Session};

/// A named target, ready for requests.
#[derive(Debug)]
pub struct Upstream {
    fingerprint: u64,
    /// `None` for a fake, which is not asked over the network, and for a TCP server.
    http: Option<Arc<Http>>,
}

#[derive(Debug)]
struct Http {
    /// At least one, in the order of the configuration.
    endpoints: Box<[Endpoint]>,
    /// The limit of connecting, where requests go on to where their connections were headed.
    original: Option<Duration>,
    balancer: Balancer,
    /// Answers that count as failures.
    failing_statuses: Box<[u16]>,
}

impl Upstream {
    /// Equal for two upstreams that were built from the same text and the same certificates. A reload can go on with the
    /// old one then, and so keep what it knows of failing endpoints and of names.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The endpoint for the next request; `None` for a fake and for a TCP server. `now` is the monotonic time, and is
    /// looked at only if failing endpoints are ejected.
    pub fn select(&self, now: Instant) -> Option<Picked> {
        let http = Arc::clone(self.http.as_ref()?);
        Some(Picked {
            index: http.balancer.select(now),
            http,
            original: None,
            failed: false,
        })
    }

    /// For an upstream that is wherever a connection was headed before it was redirected: the limit of connecting.
    pub fn original_destination(&self) -> Option<Duration> {
        self.http.as_ref()?.original
    }
}

/// The endpoint that one request goes to. Dropping it says that the request is over.
#[derive(Debug)]
pub struct Picked {
    http: Arc<Http>,
    index: usize,
    /// Where its connection was headed, which is what a message then names.
    original: Option<Original>,
    /// Whether it was counted as failed.
    failed: bool,
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
    /// The endpoint's name has no address.
    pub async fn peer(&self) -> pingora::Result<Box<HttpPeer>> {
        match self.endpoint() {
            Some(endpoint) => endpoint.peer(self.original.as_ref()).await,
            None => Err(Error::explain(ErrorType::InternalError, "no such endpoint")),
        }
    }

    /// The `Host` header (or `:authority`) to send; `None` sends the client's.
    pub fn host(&self) -> Option<&HeaderValue> {
        self.endpoint()?.host.as_ref()
    }

    /// The endpoint as the configuration writes it, without the scheme: `10.0.0.1:80`. For logs and messages.
    pub fn label(&self) -> &str {
        match &self.original {
            Some(original) => &original.label,
            None => self.endpoint().map_or("", |endpoint| &endpoint.label),
        }
    }

    /// The endpoint has begun to answer with this status, which may count as a failure.
    pub fn answered(&mut self, status: u16, now: Instant) {
        if self.http.failing_statuses.contains(&status) {
            self.count_failure(now);
        } else {
            self.http.balancer.succeeded(self.index);
        }
    }

    /// The request failed by itself, never by a fault. That counts if the endpoint is to blame: it could not be reached,
    /// broke the connection, or took too long. It does not if the client left, or squall itself failed.
    pub fn failed(&mut self, error: &Error, now: Instant) {
        if error.esource() == &ErrorSource::Upstream && !failure::is_squalls_own(error) {
            self.count_failure(now);
        }
    }

    /// An endpoint fails a request once at most, however often that shows.
    fn count_failure(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.failed, true) {
            self.http.balancer.failed(self.index, now);
        }
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        self.http.endpoints.get(self.index)
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.http.balancer.release(self.index);
    }
}
