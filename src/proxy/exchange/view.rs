//! The part of a configuration that requests of one listener use.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::route::Route;
use crate::guards::natural::Natural;
use crate::proxy::execute::hold::Bounds;
use crate::proxy::record::RevealSpec;
use crate::proxy::upstream::{TcpServer, Upstream};
use crate::rule::sets::RuleSets;

/// A listener's part of a configuration snapshot. A request keeps the view that it started with.
#[derive(Debug, Clone)]
pub struct View {
    /// The rules that apply to the listener's requests.
    pub rules: RuleSets,
    /// Where requests go, tried in this order.
    pub routes: Arc<[Arc<Route>]>,
    /// Where the rest goes: to the listener's own upstream.
    pub own: Arc<Route>,
    /// The listener's name in the configuration.
    pub name: Arc<str>,
    /// The space that all requests of this listener are in, whatever they name.
    pub space: Option<Arc<str>>,
    /// The conditions that watch what upstreams do by themselves.
    pub guards: Arc<Natural>,
    /// Proxies whose X-Forwarded-For is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// How injected faults are shown in responses.
    pub reveal: RevealSpec,
    /// The bounds of injected waits.
    pub bounds: Bounds,
    /// Bytes that a shaped body may buffer, per direction.
    pub buffer: usize,
    /// Bytes that the collected bodies of all requests may take.
    pub bodies: usize,
    /// Whether the access log is on.
    pub access: bool,
    /// The share of requests without a fault or error that are logged, in parts per million.
    pub sample_ppm: u32,
}

/// The upstream or fake that a listener's requests go to.
#[derive(Debug)]
pub enum Target {
    /// A server, over the network.
    Real(Arc<Upstream>),
    /// A fake, called in process.
    Fake(axum::Router),
}

impl Target {
    /// The connect timeout, if requests go to the original destination of their redirected connections.
    pub fn original_destination(&self) -> Option<Duration> {
        match self {
            Target::Real(upstream) => upstream.original_destination(),
            Target::Fake(_) => None,
        }
    }

    /// The server of connections, if it is one for bytes of any protocol.
    pub fn tcp(&self) -> Option<&Arc<TcpServer>> {
        match self {
            Target::Real(upstream) => upstream.tcp(),
            Target::Fake(_) => None,
        }
    }

    /// The prefix of all its paths; empty without one.
    pub fn base(&self) -> &str {
        match self {
            Target::Real(upstream) => upstream.base(),
            Target::Fake(_) => "",
        }
    }

    /// Whether requests go to the host that they name themselves.
    pub fn is_forward(&self) -> bool {
        matches!(self, Target::Real(upstream) if upstream.is_forward())
    }

    /// The upstream's [fingerprint](Upstream::fingerprint); `None` for a fake.
    pub fn fingerprint(&self) -> Option<u64> {
        match self {
            Target::Real(upstream) => Some(upstream.fingerprint()),
            Target::Fake(_) => None,
        }
    }
}

impl View {
    /// The client's address: the peer's, or behind a trusted proxy the last address of X-Forwarded-For that is not a trusted
    /// proxy itself.
    pub fn client(&self, peer: Option<IpAddr>, forwarded: Option<&str>) -> Option<IpAddr> {
        let trusted = |address: &IpAddr| self.trusted_proxies.iter().any(|net| net.contains(address));
        let peer = peer?.to_canonical();
        if self.trusted_proxies.is_empty() || !trusted(&peer) {
            return Some(peer);
        }
        let mut client = peer;
        for hop in forwarded.unwrap_or("").rsplit(',') {
            let Some(address) = hop_address(hop.trim()) else {
                break;
            };
            client = address.to_canonical();
            if !trusted(&client) {
                break;
            }
        }
        Some(client)
    }
}

/// Parses an entry of X-Forwarded-For: an address, with a port as some proxies write it.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    hop.parse().ok().or_else(with_port)
}
