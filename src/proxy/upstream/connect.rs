//! Opens sessions with upstreams, over pooled connections or new ones.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use pingora::Result;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::Stream;
use pingora::upstreams::peer::{ALPN, HttpPeer, Peer};

use super::pool::{self, Pool};
use super::session::{Session, UpstreamHttp1, UpstreamHttp2};

/// The most idle HTTP/1 connections, to all upstreams together.
const KEPT: usize = 1024;

/// Opens sessions with upstreams, and pools their connections.
pub struct Connector {
    transport: TransportConnector,
    http2: Pool,
    /// Servers that negotiate HTTP/2 but respond with HTTP_1_1_REQUIRED. Locked for one look-up at a time, never across an
    /// await.
    http1_only: Mutex<HashSet<String>>,
}

impl Default for Connector {
    fn default() -> Self {
        Self {
            transport: TransportConnector::new(Some(ConnectorOptions::new(KEPT))),
            http2: Pool::default(),
            http1_only: Mutex::default(),
        }
    }
}

impl Connector {
    /// Opens a session with `peer`. `fresh`: over a connection that has served no request.
    pub(in crate::proxy) async fn session(&self, peer: &HttpPeer, fresh: bool) -> Result<Session> {
        let key = peer.reuse_hash();
        let mut over_http1 = None;
        if peer.options.alpn == ALPN::H2H1 && self.avoids_http2(peer) {
            over_http1.insert(peer.clone()).options.alpn = ALPN::H1;
        }
        let peer = over_http1.as_ref().unwrap_or(peer);
        let (options, alpn) = (&peer.options, &peer.options.alpn);
        let idle = options.idle_timeout;
        // Without idle time no connection is used twice.
        let fresh = fresh || idle == Some(Duration::ZERO);
        let http1 = |stream, reused| Session::http1(UpstreamHttp1::new(stream, reused, key, idle), options);
        let http2 = |slot| Session::http2(UpstreamHttp2::new(slot, peer.is_tls()), options);
        if alpn.get_max_http_version() == 2
            && !fresh
            && let Some(slot) = self.http2.reuse(key).await
        {
            return Ok(http2(slot));
        }
        if alpn.get_min_http_version() == 1
            && !fresh
            && let Some(stream) = self.transport.reused_stream(peer).await
        {
            return Ok(http1(stream, true));
        }
        // Boxed: the state of connecting, 8 KB with TLS, would otherwise be part of every request's future.
        let stream = Box::pin(self.transport.new_stream(peer)).await;
        let stream = stream.map_err(|error| error.into_up())?;
        if speaks_http2(&stream, peer) {
            Box::pin(self.http2.open(stream, peer, key)).await.map(http2)
        } else {
            Ok(http1(stream, false))
        }
    }

    /// Uses HTTP/1.1 with `server` from now on, if the configuration leaves the choice. Returns false if that was known.
    pub(super) fn avoid_http2(&self, server: &str) -> bool {
        let mut known = self.http1_only.lock();
        known.len() < KEPT && known.insert(server.to_owned())
    }

    fn avoids_http2(&self, peer: &HttpPeer) -> bool {
        let known = self.http1_only.lock();
        // The common case first: hardly any server requires HTTP/1.1, and the key costs an allocation.
        !known.is_empty() && known.contains(&pool::server(peer))
    }

    /// Pools a connection for the next request with the same key, unless its idle time is zero.
    pub(super) fn release(&self, stream: Stream, key: u64, idle: Option<Duration>) {
        if idle != Some(Duration::ZERO) {
            self.transport.release_stream(stream, key, idle);
        }
    }
}

/// Whether a connection speaks HTTP/2: by ALPN over TLS, else by configuration (RFC 9113, section 3.3).
fn speaks_http2(stream: &Stream, peer: &HttpPeer) -> bool {
    match stream.selected_alpn_proto() {
        Some(ALPN::H2) => true,
        Some(_) => false,
        None => !peer.is_tls() && peer.options.alpn.get_min_http_version() == 2,
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
