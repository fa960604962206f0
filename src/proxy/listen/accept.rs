//! Listeners, which can be added, stopped and replaced while requests are in flight.
//!
//! Pingora's own services can't: they take their list of ports once, at start. So squall accepts connections itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use super::gate::Gate;
use super::intercept::Intercepting;
use super::live::{ListenerState, Serving};
use super::serve::spawn;
use crate::proxy::exchange::Squall;
use crate::proxy::net::address::AddressSpec;
use crate::proxy::net::bind::{Acceptor, Opened, SocketFile};
use crate::proxy::net::socket::Socket;
use crate::proxy::tcp::Relay;
use crate::proxy::tls::ServerTls;

/// The pause after an accept that failed for lack of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The settings of a listener.
#[derive(Clone, Debug)]
pub struct ListenerOptions {
    /// The name in the configuration, for logs, metrics and rules.
    pub name: Arc<str>,
    /// The address to listen on.
    pub address: AddressSpec,
    /// What happens to connections before their first request.
    pub entrance: Entrance,
    /// Whether plaintext clients may speak HTTP/2 by prior knowledge (RFC 9113, section 3.3).
    pub h2c: bool,
    /// The most connections at once, at least 1; further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// The most HTTP/2 streams at once on one connection.
    pub max_streams: u32,
}

/// What happens to new connections of a listener. Replaced as a whole, so that a connection sees one configuration.
#[derive(Clone, Debug, Default)]
pub struct Entrance {
    /// TLS, for HTTP with HTTP/2 and HTTP/1.1 by ALPN; `None` for plaintext.
    pub tls: Option<ServerTls>,
    /// Rules on connections; `None` if there are none.
    pub gate: Option<Gate>,
    /// For redirected connections: those that are not HTTP are passed on to their original destination.
    pub intercepting: Option<Intercepting>,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub proxied: bool,
    /// How long clients may take.
    pub timeouts: ListenerTimeouts,
}

/// What a listener's connections are for.
#[derive(Clone, Debug)]
pub enum Service {
    /// HTTP requests.
    Http(Arc<Squall>),
    /// Bytes of any protocol.
    Tcp(Arc<Relay>),
}

/// How long clients may take. None of these limits a request whose head has arrived.
#[derive(Clone, Copy, Debug)]
pub struct ListenerTimeouts {
    /// The time limit of a TLS handshake.
    pub handshake: Duration,
    /// The time limit of a request's head, from its first byte to its end.
    pub header: Duration,
    /// The time limit of each wait for the first byte of a request, also between requests (keep-alive). On HTTP/2, how long a
    /// connection may have no stream, up to double that.
    pub idle: Duration,
}

impl Default for ListenerTimeouts {
    /// 10 s for a handshake, 60 s for a head and between requests.
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(60),
            idle: Duration::from_secs(60),
        }
    }
}

impl Entrance {
    /// Whether something precedes a connection's first request.
    pub(super) fn delays(&self) -> bool {
        self.proxied || self.tls.is_some() || self.gate.is_some() || self.intercepting.is_some()
    }
}

impl ListenerOptions {
    /// Options of a plaintext listener: HTTP/1 and h2c, 10,000 connections, 128 streams each.
    pub fn new(name: impl Into<Arc<str>>, address: AddressSpec) -> Self {
        Self {
            name: name.into(),
            address,
            entrance: Entrance::default(),
            h2c: true,
            max_connections: 10_000,
            max_streams: 128,
        }
    }
}

/// Opens a listener's address. Clients can connect from now on, and are accepted after [`Bound::serve`].
///
/// A stale socket file is replaced; one that a process listens on is not.
///
/// # Errors
/// The operating system's, most often that the address is in use.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn bind(options: ListenerOptions) -> io::Result<Bound> {
    let opened = Opened::open(&options.address)?;
    Ok(Bound { opened, options })
}

/// An open address on which no connection is accepted yet. Dropping it closes the address.
#[derive(Debug)]
pub struct Bound {
    opened: Opened,
    options: ListenerOptions,
}

impl Bound {
    /// The address, with the port that was chosen for port 0.
    pub fn local_addr(&self) -> &AddressSpec {
        &self.opened.address
    }

    /// Accepts connections and serves each of them with `service`, in tasks of the current tokio runtime.
    pub fn serve(self, service: Service) -> Listener {
        let Opened {
            acceptor,
            address,
            file,
        } = self.opened;
        let acceptor = Arc::new(acceptor);
        let shared = ListenerState::new(self.options, service);
        // Ended by `stop_accepting`, which the returned listener calls at the latest when it is dropped.
        tokio::spawn(accept_all(Arc::clone(&acceptor), Arc::clone(&shared)));
        Listener {
            shared,
            address,
            open: Mutex::new(Some((acceptor, file))),
        }
    }
}

/// A running listener. Dropping it stops accepting, and lets its connections finish.
#[derive(Debug)]
pub struct Listener {
    shared: Arc<ListenerState>,
    address: AddressSpec,
    /// `None` once stopped. Locked for a single `take`, never across an await.
    open: Mutex<Option<(Arc<Acceptor>, Option<SocketFile>)>>,
}

impl Listener {
    /// The address, with the port that was chosen for port 0.
    pub fn local_addr(&self) -> &AddressSpec {
        &self.address
    }

    /// Closes the port at once, so that it can be reopened; connections still in the kernel's queue are reset. Idle
    /// connections are closed. The others end after their requests in flight: HTTP/1 announces it in the response, HTTP/2 by
    /// GOAWAY.
    pub fn stop_accepting(&self) {
        if !self.shared.info.stop() {
            return;
        }
        if let Some((acceptor, file)) = self.open.lock().take() {
            acceptor.close();
            // After the socket is closed, so that a client finds either a listening socket or no file.
            drop(file);
        }
        for connection in self.shared.connections() {
            connection.leave_if_idle();
        }
    }

    /// Resolves when the last connection has ended. Call it after [`Listener::stop_accepting`], since it keeps new
    /// connections waiting. A connection ends up to a second after its last response if the client is slow to close, and
    /// up to ten seconds after if the client is still sending.
    pub async fn drained(&self) {
        // The accept loop and every connection hold a permit each. The semaphore is never closed, so this can't fail.
        let _all = self.shared.permits.acquire_many(self.shared.limit).await;
    }

    /// Stops accepting, and drops every connection together with its requests in flight.
    pub fn abort(&self) {
        // Stored before the list is read: a connection that is added to the list later sees the flag in `serve::spawn`.
        self.shared.aborted.store(true, Ordering::SeqCst);
        self.stop_accepting();
        for connection in self.shared.connections() {
            connection.abort();
        }
    }

    /// The number of open connections.
    pub fn connections(&self) -> usize {
        self.shared.count()
    }

    /// The number of requests in flight. Visits every connection.
    pub fn requests(&self) -> usize {
        self.shared
            .connections()
            .iter()
            .map(|connection| connection.requests())
            .sum()
    }

    /// Replaces the service and everything before it for connections accepted from now on.
    pub fn replace(&self, service: Service, entrance: Entrance) {
        self.shared.serving.store(Arc::new(Serving { service, entrance }));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop_accepting();
    }
}

async fn accept_all(acceptor: Arc<Acceptor>, shared: Arc<ListenerState>) {
    let mut stopped = std::pin::pin!(shared.info.stopped());
    let mut failures = 0_u32;
    loop {
        // Biased: a stopped listener accepts no further connection, even if one is waiting.
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => return,
            accepted = accept_one(&acceptor, &shared) => accepted,
        };
        match accepted {
            Ok((socket, peer, permit)) => {
                failures = 0;
                spawn(&shared, socket, peer, permit);
            }
            // Caused by one client: the next accept may succeed at once.
            Err(error) if is_about_one_client(&error) => {}
            Err(error) => {
                // Log the first failure, then about one every ten seconds.
                if failures.is_multiple_of(100) && !shared.info.stopping() {
                    tracing::warn!(listener = %shared.info.name(), "can't accept connections: {error}");
                }
                failures = failures.wrapping_add(1);
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// Accepts when there is room for one more connection. Cancel-safe.
async fn accept_one(
    acceptor: &Acceptor,
    shared: &ListenerState,
) -> io::Result<(Socket, Option<SocketAddr>, OwnedSemaphorePermit)> {
    // The permit comes first, so that connections beyond the limit stay in the kernel's queue. Never closed.
    let permit = Arc::clone(&shared.permits)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (socket, peer) = acceptor.accept().await?;
    Ok((socket, peer, permit))
}

fn is_about_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
