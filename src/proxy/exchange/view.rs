//! What a request of one listener needs of the configuration in force.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::metrics::ListenerMetrics;
use crate::proxy::execute::hold::Bounds;
use crate::proxy::record::RevealSpec;
use crate::proxy::upstream::Upstream;
use crate::rule::decide::RuleSet;

/// What a request of one listener needs: its snapshot's view of the world.
#[derive(Debug)]
pub struct View {
    /// The rules that requests of the listener are held against.
    pub rules: RuleSet,
    /// The upstream or fake that answers.
    pub target: Arc<Target>,
    /// The listener's name in the configuration.
    pub name: Arc<str>,
    /// The target's name in the configuration.
    pub upstream: Arc<str>,
    /// Counters that are labelled with the listener.
    pub metrics: ListenerMetrics,
    /// Proxies whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How injected faults are shown.
    pub reveal: RevealSpec,
    /// What bounds injected waits.
    pub bounds: Bounds,
    /// Bytes that a shaped body keeps, for each direction.
    pub buffer: usize,
    /// Whether each request gets a line in the log.
    pub access: bool,
    /// The share of requests that get one, in parts per million.
    pub sample_ppm: u32,
}

/// The upstream or fake that a listener's requests go to.
#[derive(Debug)]
pub enum Target {
    /// A server, over the network.
    Real(Arc<Upstream>),
    /// An answer in process.
    Fake(axum::Router),
}

impl Target {
    /// Where requests go on to where their connections were headed before they were redirected: the limit of connecting.
    pub fn original_destination(&self) -> Option<Duration> {
        match self {
            Target::Real(upstream) => upstream.original_destination(),
            Target::Fake(_) => None,
        }
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
    /// The address that a request comes from: the peer's, or, where the peer is a trusted proxy, the last address of
    /// X-Forwarded-For that is not one itself.
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

/// An entry of X-Forwarded-For: an address, which some proxies write with a port.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    hop.parse().ok().or_else(with_port)
}
