//! Upstreams, ready for requests: choose an endpoint, connect to it, and exchange a request with it.
//!
//! ```text
//! config::upstream::UpstreamSpec ── build ──> Upstream ── select ──> Picked ── destination ──> Destination
//!                                   target    Balancer               │ answered, failed: failures eject an endpoint
//!                                   certificates                     │
//!                                   Endpoint (a template) <──────────┘
//! ```
//!
//! - [`build`](Upstream::build) reads certificates and checks everything, so that requests can only fail by the network.
//! - `resolve` looks up names and caches their addresses for some seconds.
//! - [`describe_error`] turns a natural failure into an error response.

mod balance;
mod build;
mod certificates;
mod connect;
mod failure;
mod forward;
mod page;
mod peer;
mod pool;
mod prefix;
mod resolve;
mod server;
mod session;
pub mod spec;
mod target;
#[cfg(test)]
mod tests;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use pingora::{Error, ErrorSource, ErrorType};

use self::balance::Balancer;
pub use self::connect::Connector;
pub use self::failure::{Failure, describe_error};
use self::forward::Forward;
pub(super) use self::forward::refused;
pub use self::page::Page;
pub(super) use self::peer::Destination;
use self::peer::Endpoint;
pub use self::prefix::check_prefix;
pub(super) use self::resolve::unresolved;
pub(super) use self::server::Secure;
pub use self::server::TcpServer;
pub(super) use self::session::{Fake, Session};

/// Checks that the system's certificate authorities (or `SSL_CERT_FILE` and `SSL_CERT_DIR`) can be read. Pingora's
/// connector reads them when it is created, and panics on an error. An empty set is fine.
///
/// # Errors
///
/// The operating system's error about the files.
pub fn check_system_authorities() -> Result<(), String> {
    tls::Authorities::of_system().map(drop)
}

/// A named target, ready for requests.
#[derive(Debug)]
pub struct Upstream {
    fingerprint: u64,
    /// `None` for a fake, which is called in process, and for a TCP server.
    http: Option<Arc<Http>>,
    tcp: Option<Arc<TcpServer>>,
}

#[derive(Debug)]
struct Http {
    /// At least one, in the order of the configuration.
    endpoints: Box<[Endpoint]>,
    /// The prefix of all paths; empty without one.
    base: Box<str>,
    /// The beginnings of its URLs.
    places: Box<[Place]>,
    /// The connect timeout, if requests go to the original destination of their redirected connections.
    original: Option<Duration>,
    /// Makes the endpoints, if requests go to the hosts that they name themselves.
    forward: Option<Box<Forward>>,
    balancer: Balancer,
    /// The limit of silence in streams of messages and upgraded connections; `None` means unlimited.
    stream: Option<Duration>,
    /// Statuses that count as failures.
    failing_statuses: Box<[u16]>,
}

impl Upstream {
    /// Equal for two upstreams built from the same configuration and certificates. A reload then keeps the old one, with its
    /// state of failing endpoints and looked-up names.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The TCP server, if it is one.
    pub fn tcp(&self) -> Option<&Arc<TcpServer>> {
        self.tcp.as_ref()
    }

    /// The state of its endpoints; none for a fake.
    pub fn health(&self, now: Instant) -> Vec<Health> {
        if let Some(tcp) = &self.tcp {
            return vec![Health {
                address: tcp.label().to_owned(),
                ..Health::default()
            }];
        }
        let endpoints = self.http.iter().flat_map(|http| {
            http.endpoints.iter().enumerate().map(|(index, endpoint)| {
                let (failures, ejected) = http.balancer.health(index, now);
                Health {
                    address: endpoint.label.to_string(),
                    failures,
                    ejected,
                }
            })
        });
        endpoints.collect()
    }

    /// Chooses the endpoint for the next request; `None` for a fake and for a TCP server. `now` is the monotonic time, used
    /// only if failing endpoints are ejected.
    pub fn select(&self, now: Instant) -> Option<Picked> {
        let http = Arc::clone(self.http.as_ref()?);
        Some(Picked {
            index: http.balancer.select(now),
            http,
            original: None,
            forwarded: None,
            outcome: Outcome::Unknown,
        })
    }

    /// The prefix of all its paths, without a final slash; empty without one.
    pub fn base(&self) -> &str {
        self.http.as_ref().map_or("", |http| &http.base)
    }

    /// The beginnings of its URLs; none for a unix socket, and where each request names its own.
    pub fn places(&self) -> &[Place] {
        self.http.as_ref().map_or(&[], |http| &http.places)
    }

    /// Whether requests go to the hosts that they name themselves, as those made to a proxy do.
    pub fn is_forward(&self) -> bool {
        self.http.as_ref().is_some_and(|http| http.forward.is_some())
    }

    /// Whether requests to this host may be forwarded; names are not looked up.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn may_forward(&self, secure: bool, authority: &str) -> Result<(), String> {
        let forward = self.http.as_ref().and_then(|http| http.forward.as_ref());
        forward.map_or(Ok(()), |forward| forward.endpoint(secure, authority).map(drop))
    }

    /// The connect timeout, if requests go to the original destination of their redirected connections.
    pub fn original_destination(&self) -> Option<Duration> {
        self.http.as_ref()?.original
    }
}

/// The beginning of a server's URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whether they are of the scheme `https`.
    pub secure: bool,
    /// The host, and the port unless it is the scheme's default.
    pub authority: String,
}

/// The state of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// As written in the configuration, without the scheme: `10.0.0.1:80`.
    pub address: String,
    /// Failures since the last success; counted only with `ejection`.
    pub failures: u32,
    /// How long it is still not used because it failed.
    pub ejected: Option<Duration>,
}

/// The endpoint chosen for one request. Dropping it marks the request as finished.
#[derive(Debug)]
pub struct Picked {
    http: Arc<Http>,
    index: usize,
    /// The original destination of a redirected connection, which also replaces the label.
    original: Option<Original>,
    /// The endpoint that the request names itself.
    forwarded: Option<Arc<Endpoint>>,
    outcome: Outcome,
}

/// How a request went, as far as the upstream is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// There is no response yet.
    Unknown,
    /// There is a good response, at least its head. It is a success when the request is over, since its body may break off.
    Good,
    /// A failure, which was counted.
    Failed,
}

#[derive(Debug)]
struct Original {
    destination: SocketAddr,
    http2: bool,
    label: String,
}

impl Picked {
    /// Sets the original destination, and whether the request came over HTTP/2. For upstreams with
    /// [`Upstream::original_destination`].
    pub fn aim(&mut self, destination: SocketAddr, http2: bool) {
        self.original = Some(Original {
            destination,
            http2,
            label: destination.to_string(),
        });
    }

    /// Sets the host that the request names itself. For upstreams with [`Upstream::is_forward`].
    ///
    /// # Errors
    /// Why it may not be asked, in words.
    pub(super) fn forward(&mut self, (secure, authority): (bool, &str)) -> Result<(), String> {
        if let Some(forward) = &self.http.forward {
            self.forwarded = Some(forward.endpoint(secure, authority)?);
        }
        Ok(())
    }

    /// Where to connect to. May be called again for a retry.
    ///
    /// # Errors
    ///
    /// The endpoint's name has no address.
    pub(super) async fn destination(&self) -> pingora::Result<Destination> {
        match self.endpoint() {
            Some(endpoint) => endpoint.destination(self.original.as_ref()).await,
            None => Err(Error::explain(ErrorType::InternalError, "no such endpoint")),
        }
    }

    /// The `Host` header (or `:authority`) to send; `None` sends the client's.
    pub fn host(&self) -> Option<&HeaderValue> {
        self.endpoint()?.host.as_ref()
    }

    /// The endpoint as written in the configuration, without the scheme: `10.0.0.1:80`. For logs and messages.
    pub fn label(&self) -> &str {
        match &self.original {
            Some(original) => &original.label,
            None => self.endpoint().map_or("", |endpoint| &endpoint.label),
        }
    }

    /// The limit of silence in streams of messages and upgraded connections; `None` means unlimited.
    pub fn stream_limit(&self) -> Option<Duration> {
        self.http.stream
    }

    /// Notes the status of the response, which may count as a failure.
    pub fn answered(&mut self, status: u16, now: Instant) {
        if self.http.failing_statuses.contains(&status) {
            self.count_failure(now);
        } else {
            self.outcome = Outcome::Good;
        }
    }

    /// Notes a natural failure of the request. It counts if the endpoint could not be reached, broke the connection, or took
    /// too long, but not if the client disconnected or squall itself failed.
    pub fn failed(&mut self, error: &Error, now: Instant) {
        if error.esource() == &ErrorSource::Upstream && !failure::is_squalls_own(error) {
            self.count_failure(now);
        }
    }

    /// Counts a failure at most once per request.
    fn count_failure(&mut self, now: Instant) {
        if std::mem::replace(&mut self.outcome, Outcome::Failed) != Outcome::Failed {
            self.http.balancer.failed(self.index, now);
        }
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        self.forwarded
            .as_deref()
            .or_else(|| self.http.endpoints.get(self.index))
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        if self.outcome == Outcome::Good {
            self.http.balancer.succeeded(self.index);
        }
        self.http.balancer.release(self.index);
    }
}
