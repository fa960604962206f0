//! The proxies' data path: what the API starts, changes and stops.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::ops::Add;
use std::sync::Arc;

use prometheus::IntCounter;

use super::Limits;
use super::rules::LONGEST;
use crate::metrics::{Metrics, Site, TcpMetrics};
use crate::proxy::execute::hold::{Bounds, Holder};
use crate::proxy::listen::accept::{self, Listener, ListenerOptions, Service};
use crate::proxy::net::address::AddressSpec;
use crate::proxy::tcp::Relay;
use crate::proxy::tcp::view::TcpView;
use crate::proxy::upstream::TcpServer;
use crate::rule::decide::Rule;
use crate::rule::switch::Switches;

/// What a proxy is started with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<'a> {
    pub(super) name: &'a str,
    /// The address to listen on; port 0 takes a free one.
    pub(super) listen: SocketAddr,
    /// A host and a port, or any other text: then connections to it fail.
    pub(super) upstream: &'a str,
    pub(super) rules: &'a [Arc<Rule>],
}

/// Starts proxies. Nothing here waits: it is called under a lock.
pub(super) trait Engine: Debug + Send + Sync {
    /// Opens the port and accepts connections.
    ///
    /// # Errors
    /// The operating system's, most often that the address is in use.
    fn start(&self, start: Start<'_>) -> io::Result<Box<dyn Running>>;
}

/// A proxy that accepts connections. Dropping it frees the port and closes all connections.
pub(super) trait Running: Debug + Send + Sync {
    /// The real address, with the system's choice in place of port 0.
    fn address(&self) -> SocketAddr;

    /// Replaces all rules, also those of open connections.
    fn replace(&self, rules: &[Arc<Rule>]);

    /// The bytes so far.
    fn bytes(&self) -> Bytes;
}

/// squall's own data path: a TCP listener for each proxy.
#[derive(Debug)]
pub(super) struct Tcp {
    limits: Limits,
    holder: Arc<Holder>,
}

impl Tcp {
    pub(super) fn new(limits: Limits, metrics: Arc<Metrics>, switches: Arc<Switches>) -> Tcp {
        Tcp {
            limits,
            holder: Holder::new(metrics, switches),
        }
    }
}

impl Engine for Tcp {
    fn start(&self, start: Start<'_>) -> io::Result<Box<dyn Running>> {
        let mut options = ListenerOptions::new(start.name, AddressSpec::Tcp(start.listen));
        options.max_connections = self.limits.connections;
        let bound = accept::bind(options)?;
        let address = match bound.local_addr() {
            AddressSpec::Tcp(address) => *address,
            AddressSpec::Unix(_) => start.listen,
        };
        // Of this proxy alone: a listener of the configuration may have the same name.
        let counter = || IntCounter::new("bytes", "Bytes of a proxy.").map_err(io::Error::other);
        let metrics = TcpMetrics {
            site: Site::new(start.name, start.upstream),
            connections: counter()?,
            bytes_in: counter()?,
            bytes_out: counter()?,
            upstream_errors: counter()?,
        };
        let view = TcpView {
            rules: start.rules.iter().cloned().collect(),
            server: Arc::new(TcpServer::of(start.upstream)),
            space: None,
            metrics,
            guards: Arc::default(),
            bounds: Bounds {
                held: self.limits.held,
                longest: LONGEST,
            },
            buffer: self.limits.buffer,
            idle: None,
            log: self.limits.log,
        };
        let relay = Relay::new(Arc::new(view), Arc::clone(&self.holder), Arc::default());
        let listener = bound.serve(Service::Tcp(Arc::clone(&relay)));
        Ok(Box::new(TcpRunning {
            address,
            relay,
            listener,
        }))
    }
}

#[derive(Debug)]
struct TcpRunning {
    address: SocketAddr,
    relay: Arc<Relay>,
    listener: Listener,
}

impl Running for TcpRunning {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn replace(&self, rules: &[Arc<Rule>]) {
        let now = self.relay.view();
        self.relay.replace(Arc::new(TcpView {
            rules: rules.iter().cloned().collect(),
            server: Arc::clone(&now.server),
            space: None,
            metrics: now.metrics.clone(),
            guards: Arc::clone(&now.guards),
            ..*now
        }));
    }

    fn bytes(&self) -> Bytes {
        let metrics = &self.relay.view().metrics;
        Bytes {
            upstream: metrics.bytes_in.get(),
            downstream: metrics.bytes_out.get(),
        }
    }
}

impl Drop for TcpRunning {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// The bytes of all connections of a proxy, those of open ones included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    /// From clients to the upstream.
    pub(super) upstream: u64,
    /// From the upstream to clients.
    pub(super) downstream: u64,
}

impl Add for Bytes {
    type Output = Bytes;

    fn add(self, other: Bytes) -> Bytes {
        Bytes {
            upstream: self.upstream.saturating_add(other.upstream),
            downstream: self.downstream.saturating_add(other.downstream),
        }
    }
}
