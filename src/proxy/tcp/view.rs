//! The part of a configuration that the connections of one TCP listener use.

use std::sync::Arc;
use std::time::Duration;

use crate::guards::natural::Natural;
use crate::metrics::TcpMetrics;
use crate::proxy::execute::hold::Bounds;
use crate::proxy::upstream::TcpServer;
use crate::rule::sets::RuleSets;

/// A TCP listener's part of a configuration snapshot.
#[derive(Debug, Clone)]
pub struct TcpView {
    /// The rules that apply to the listener's connections.
    pub rules: RuleSets,
    /// The server that connections go to.
    pub server: Arc<TcpServer>,
    /// The space that all connections of this listener are in.
    pub space: Option<Arc<str>>,
    /// Metrics, and the names of the listener and of the upstream that they are labelled with.
    pub metrics: TcpMetrics,
    /// The conditions that watch what upstreams do by themselves.
    pub guards: Arc<Natural>,
    /// The bounds of injected waits.
    pub bounds: Bounds,
    /// Bytes that a shaper may buffer.
    pub buffer: usize,
    /// How long a connection may be without a byte in either direction; `None` means unlimited.
    pub idle: Option<Duration>,
    /// Which connections are logged.
    pub log: ConnectionLog,
}

/// Which connections are logged.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLog {
    /// Whether connections are logged at all.
    pub access: bool,
    /// Whether there is a line when a connection begins, too.
    pub opened: bool,
    /// The share of connections without a fault or error that are logged, in parts per million.
    pub sample_ppm: u32,
}
