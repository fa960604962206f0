//! Opens sessions with upstreams, over pooled connections or new ones.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::Stream;
use pingora::upstreams::peer::{ALPN, HttpPeer, Peer};
use pingora::{Error, ErrorType, Result};

use super::peer::Destination;
use super::pool::{self, Pool};
use super::session::{Session, UpstreamHttp1, UpstreamHttp2};
use super::tls::Handshake;

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
    /// Opens a session. `fresh`: over a connection that has served no request.
    pub(in crate::proxy) async fn session(&self, destination: &Destination, fresh: bool) -> Result<Session> {
        let (peer, tls) = (&*destination.peer, destination.handshake.is_some());
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
        let http2 = |slot| Session::http2(UpstreamHttp2::new(slot, tls), options);
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
        // Boxed: the state of connecting would otherwise be part of every request's future.
        let stream = Box::pin(self.connect(peer, destination.handshake.as_deref())).await;
        let stream = stream.map_err(|error| error.into_up())?;
        if speaks_http2(&stream, alpn, tls) {
            Box::pin(self.http2.open(stream, peer, key)).await.map(http2)
        } else {
            Ok(http1(stream, false))
        }
    }

    /// Opens a connection, and performs the TLS handshake if there is one. Both together have the time limit of the peer.
    async fn connect(&self, peer: &HttpPeer, handshake: Option<&Handshake>) -> Result<Stream> {
        let Some(handshake) = handshake else {
            return self.transport.new_stream(peer).await;
        };
        let secured = async {
            let stream = self.transport.new_stream(peer).await?;
            handshake.perform(stream, &peer.options.alpn).await
        };
        // Pingora's own limit, which counts for TCP alone, is the same.
        let limit = peer.options.total_connection_timeout.unwrap_or(Duration::MAX);
        match tokio::time::timeout(limit, secured).await {
            Ok(secured) => secured,
            Err(_) => Error::e_explain(ErrorType::TLSHandshakeTimedout, "connecting took too long"),
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
fn speaks_http2(stream: &Stream, alpn: &ALPN, tls: bool) -> bool {
    match stream.selected_alpn_proto() {
        Some(ALPN::H2) => true,
        Some(_) => false,
        None => !tls && alpn.get_min_http_version() == 2,
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
