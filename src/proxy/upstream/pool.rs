//! The pool of HTTP/2 connections to upstreams, each shared by many requests.
//!
//! It replaces Pingora's pool, whose sessions can't read interim responses. The connections themselves, with TLS and ALPN,
//! are opened by Pingora.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use parking_lot::Mutex;
use pingora::protocols::Stream;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr, Result};

/// The largest frame that the server may send, in bytes.
const FRAME: u32 = 64 << 10;

/// The most bytes of one request body that are buffered for sending.
const SEND_BUFFER: usize = 64 << 10;

/// The open connections, by the reuse hash of their peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    /// Held for single map operations, never across an await.
    connections: Arc<Mutex<HashMap<u64, Vec<Arc<SharedConnection>>>>>,
}

/// The identity of a server: its address and TLS server name.
pub(super) fn server(peer: &HttpPeer) -> String {
    format!("{} {}", peer._address, peer.sni)
}

/// A connection shared by many requests.
#[derive(Debug)]
struct SharedConnection {
    key: u64,
    server: String,
    send: SendRequest<Bytes>,
    /// The number of open streams, and below it their limit.
    streams: AtomicUsize,
    most: usize,
    /// Whether the connection takes no further requests.
    retired: AtomicBool,
    /// When the last stream ended. Locked for one read or write, never across an await.
    idle_since: Mutex<Instant>,
}

/// One request's place on a connection, freed on drop.
#[derive(Debug)]
pub(super) struct Slot {
    connection: Arc<SharedConnection>,
    send: SendRequest<Bytes>,
    reused: bool,
}

impl Pool {
    /// Takes a place on an open connection; `None` if there is none with room.
    pub(super) async fn reuse(&self, key: u64) -> Option<Slot> {
        loop {
            let connection = self.free(key)?;
            match Slot::open(connection, true).await {
                Ok(slot) => return Some(slot),
                // `Slot::open` has retired this connection, so the next turn finds another one or none.
                Err(_) => continue,
            }
        }
    }

    fn free(&self, key: u64) -> Option<Arc<SharedConnection>> {
        let connections = self.connections.lock();
        let known = connections.get(&key)?;
        known.iter().find(|connection| connection.has_room()).cloned()
    }

    /// Opens a connection over `stream`, and takes a place on it.
    pub(super) async fn open(&self, stream: Stream, peer: &HttpPeer, key: u64) -> Result<Slot> {
        let options = &peer.options;
        let (send, connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_max_send_streams(options.max_h2_streams)
            .max_frame_size(FRAME)
            .max_send_buffer_size(SEND_BUFFER)
            .initial_window_size(options.h2_stream_window_size.unwrap_or(FRAME))
            .initial_connection_window_size(options.h2_connection_window_size.unwrap_or(FRAME))
            .handshake(stream)
            .await
            .or_err(ErrorType::HandshakeError, "HTTP/2 with the upstream")
            .map_err(|error| error.into_up())?;
        let shared = Arc::new(SharedConnection {
            key,
            server: server(peer),
            send,
            streams: AtomicUsize::new(0),
            most: options.max_h2_streams,
            retired: AtomicBool::new(false),
            idle_since: Mutex::new(Instant::now()),
        });
        self.connections
            .lock()
            .entry(key)
            .or_default()
            .push(Arc::clone(&shared));
        let drive = self
            .clone()
            .drive(connection, Arc::clone(&shared), options.idle_timeout);
        // Ends with the connection, or when it has been idle for too long.
        tokio::spawn(drive);
        Slot::open(shared, false).await
    }

    /// Drives a connection until it ends or has been idle for too long.
    async fn drive(
        self,
        connection: h2::client::Connection<Stream, Bytes>,
        shared: Arc<SharedConnection>,
        idle: Option<Duration>,
    ) {
        let mut connection = std::pin::pin!(connection);
        // Not biased: if both happen at once, the connection is closed either way.
        let over = tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!("an HTTP/2 connection to an upstream ended: {error}");
                }
                true
            }
            () = shared.idle_for(idle) => false,
        };
        shared.retire();
        self.forget(&shared);
        drop(shared);
        if !over {
            // The last `SendRequest` is dropped, so h2 closes the connection by itself, after any request that took a
            // place just now.
            let _ended = connection.await;
        }
    }

    fn forget(&self, connection: &Arc<SharedConnection>) {
        if let Entry::Occupied(mut known) = self.connections.lock().entry(connection.key) {
            known.get_mut().retain(|other| !Arc::ptr_eq(other, connection));
            if known.get().is_empty() {
                known.remove();
            }
        }
    }
}

impl SharedConnection {
    fn has_room(&self) -> bool {
        // Relaxed: only a hint, since h2 itself enforces the limit. The values guard no other memory.
        let open = self.streams.load(Ordering::Relaxed);
        let retired = self.retired.load(Ordering::Relaxed);
        !retired && open < self.most && open < self.send.current_max_send_streams()
    }

    /// Takes the connection out of use for further requests; those in flight go on.
    fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Resolves when the connection has had no stream for `limit`; never without a limit.
    async fn idle_for(&self, limit: Option<Duration>) {
        let Some(limit) = limit else {
            return std::future::pending().await;
        };
        // With a limit of zero the connector uses no connection twice. The minimum lets its one stream begin first.
        let limit = limit.max(Duration::from_millis(100));
        loop {
            // Pairs with the release in `Slot`'s drop: where no stream is seen, `idle_since` is that of the last one.
            let idle = match self.streams.load(Ordering::Acquire) {
                0 => self.idle_since.lock().elapsed(),
                _ => Duration::ZERO,
            };
            match limit.checked_sub(idle) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => return,
            }
        }
    }
}

impl Slot {
    async fn open(connection: Arc<SharedConnection>, reused: bool) -> Result<Slot> {
        // Counted before the await, so that concurrent requests see the place as taken.
        connection.streams.fetch_add(1, Ordering::Relaxed);
        let mut slot = Slot {
            send: connection.send.clone(),
            connection,
            reused,
        };
        match std::future::poll_fn(|cx| slot.send.poll_ready(cx)).await {
            Ok(()) => Ok(slot),
            Err(error) => {
                slot.retire();
                Err(Error::because(ErrorType::H2Error, "opening a stream", error).into_up())
            }
        }
    }

    /// Sends the request head, which opens the stream. `whole`: no body follows.
    pub(super) fn send_request(
        &mut self,
        request: Request<()>,
        whole: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.send.send_request(request, whole)
    }

    /// The identity of the server; see [`server`].
    pub(super) fn server(&self) -> &str {
        &self.connection.server
    }

    /// Takes the connection out of use for further requests; those in flight go on.
    pub(super) fn retire(&self) {
        self.connection.retire();
    }

    /// Whether the connection was open before this request.
    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // The time first: `idle_for` must see it once it sees the stream gone.
        *self.connection.idle_since.lock() = Instant::now();
        self.connection.streams.fetch_sub(1, Ordering::Release);
    }
}
