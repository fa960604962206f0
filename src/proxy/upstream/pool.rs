//! HTTP/2 connections to upstreams, each shared by many requests.
//!
//! Pingora's own pool hides the stream's response behind a session that reads no interim responses; the connections
//! themselves, with their TLS and ALPN, are Pingora's.

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

/// Frames that the server may send at once, in bytes.
const FRAME: u32 = 64 << 10;

/// Bytes of one request's body that wait for the connection to send them.
const SEND_BUFFER: usize = 64 << 10;

/// The connections, by what makes them interchangeable.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    connections: Arc<Mutex<HashMap<u64, Vec<Arc<SharedConnection>>>>>,
}

/// What a server is known by: its address, and the name that TLS asks for.
pub(super) fn server(peer: &HttpPeer) -> String {
    format!("{} {}", peer._address, peer.sni)
}

/// A connection, which many requests share.
#[derive(Debug)]
struct SharedConnection {
    key: u64,
    server: String,
    send: SendRequest<Bytes>,
    /// Streams that are open now, and how many may be.
    streams: AtomicUsize,
    most: usize,
    /// It takes no further requests.
    retired: AtomicBool,
    /// When its last stream ended.
    idle_since: Mutex<Instant>,
}

/// A place on a connection, for one request.
#[derive(Debug)]
pub(super) struct Slot {
    connection: Arc<SharedConnection>,
    send: SendRequest<Bytes>,
    reused: bool,
}

impl Pool {
    /// A place on a connection that is open already.
    pub(super) async fn reuse(&self, key: u64) -> Option<Slot> {
        loop {
            let connection = self.free(key)?;
            match Slot::open(connection, true).await {
                Ok(slot) => return Some(slot),
                // It is over, or about to be; perhaps another is not.
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
        tokio::spawn(drive);
        Slot::open(shared, false).await
    }

    /// Moves a connection's frames until it is over, or idle for too long.
    async fn drive(
        self,
        connection: h2::client::Connection<Stream, Bytes>,
        shared: Arc<SharedConnection>,
        idle: Option<Duration>,
    ) {
        let mut connection = std::pin::pin!(connection);
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
            // Without anybody who could ask, it says goodbye by itself; whoever took a place just now is served first.
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
        // Relaxed: only a hint, and the counts guard no other memory.
        let open = self.streams.load(Ordering::Relaxed);
        let retired = self.retired.load(Ordering::Relaxed);
        !retired && open < self.most && open < self.send.current_max_send_streams()
    }

    /// Keeps further requests off the connection; those that are on it go on.
    fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Resolves when it has had no stream for so long; never without a limit.
    async fn idle_for(&self, limit: Option<Duration>) {
        let Some(limit) = limit else {
            return std::future::pending().await;
        };
        // A limit of zero means that no connection is used twice, which the connector sees to. Its one stream begins first.
        let limit = limit.max(Duration::from_millis(100));
        loop {
            // Pairs with the release in `Slot`'s drop: a reader that sees no stream also sees since when.
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

    /// Sends the head of the request, which opens the stream. `whole`: no body follows.
    pub(super) fn send_request(
        &mut self,
        request: Request<()>,
        whole: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.send.send_request(request, whole)
    }

    /// The server, whichever of its connections this is.
    pub(super) fn server(&self) -> &str {
        &self.connection.server
    }

    /// Keeps further requests off the connection; those that are on it go on.
    pub(super) fn retire(&self) {
        self.connection.retire();
    }

    /// Whether the connection was open before.
    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // First the time: whoever sees no stream has to see since when.
        *self.connection.idle_since.lock() = Instant::now();
        self.connection.streams.fetch_sub(1, Ordering::Release);
    }
}
