//! The proxies' data path: what the API starts, changes and stops.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::ops::Add;
use std::sync::Arc;

use crate::rule::decide::Rule;

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

    /// The bytes so far, those of open connections included.
    fn bytes(&self) -> Bytes;
}

/// The bytes that passed in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// The bytes of all connections of a proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    /// From clients to the upstream.
    pub(super) upstream: Passed,
    /// From the upstream to clients.
    pub(super) downstream: Passed,
}

impl Add for Passed {
    type Output = Passed;

    fn add(self, other: Passed) -> Passed {
        Passed {
            received: self.received.saturating_add(other.received),
            sent: self.sent.saturating_add(other.sent),
        }
    }
}

impl Add for Bytes {
    type Output = Bytes;

    fn add(self, other: Bytes) -> Bytes {
        Bytes {
            upstream: self.upstream + other.upstream,
            downstream: self.downstream + other.downstream,
        }
    }
}
