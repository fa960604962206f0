//! Listeners: each accepts on its own, and serves its connections with one proxy.
//!
//! Pingora's own services take their list of ports once, at start. These can be added, stopped and replaced while
//! requests are in flight on the others.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use super::gate::Gate;
use super::intercept::Intercepting;
use super::live::ListenerState;
use super::serve::spawn;
use crate::proxy::exchange::Squall;
use crate::proxy::net::address::AddressSpec;
use crate::proxy::net::bind::{Acceptor, Opened, SocketFile};
use crate::proxy::net::socket::Socket;
use crate::proxy::tls::ServerTls;

/// The pause after an accept that failed for want of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(100);

/// What a listener is to do.
#[derive(Clone, Debug)]
pub struct ListenerOptions {
    /// The name in the configuration, for logs, metrics and rules.
    pub name: Arc<str>,
    /// The address to listen on.
    pub address: AddressSpec,
    /// What connections meet before they have requests.
    pub entrance: Entrance,
    /// Whether plaintext clients may speak HTTP/2 by prior knowledge (RFC 9113, section 3.3).
    pub h2c: bool,
    /// Connections at once; further ones wait in the kernel's queue. At least 1.
    pub max_connections: usize,
    /// HTTP/2 streams at once on one connection.
    pub max_streams: u32,
    /// Limit of the TLS handshake.
    pub handshake_timeout: Duration,
    /// Limit of each wait for a request's first byte, also between requests (keep-alive), and then of the time to the end of
    /// its head. On HTTP/2 it is the time without any stream, to within its double.
    pub header_timeout: Duration,
}

/// What new connections of a listener meet; replaced as a whole, so that each sees one configuration.
#[derive(Clone, Debug, Default)]
pub struct Entrance {
    /// TLS, with HTTP/2 and HTTP/1.1 by ALPN; `None` for plaintext.
    pub tls: Option<ServerTls>,
    /// What happens to connections before they have requests; `None`: nothing.
    pub gate: Option<Gate>,
    /// Connections were redirected here, and those that are not HTTP go on to where they were headed.
    pub intercepting: Option<Intercepting>,
}

impl Entrance {
    /// Whether something comes before a connection's first request.
    pub(super) fn delays(&self) -> bool {
        self.tls.is_some() || self.gate.is_some() || self.intercepting.is_some()
    }
}

impl ListenerOptions {
    /// A plaintext listener: HTTP/1 and h2c, 10,000 connections, 128 streams on each, 10 s for a handshake, 60 s for a
    /// head.
    pub fn new(name: impl Into<Arc<str>>, address: AddressSpec) -> Self {
        Self {
            name: name.into(),
            address,
            entrance: Entrance::default(),
            h2c: true,
            max_connections: 10_000,
            max_streams: 128,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(60),
        }
    }
}

/// Opens a listener's address. Clients can connect from now on; they are accepted by [`Bound::serve`].
///
/// A stale socket file is replaced, one that a process listens on is not.
///
/// # Errors
/// The operating system's, most often that the address is in use or not ours. Outside of a tokio runtime this panics, as
/// tokio does.
pub fn bind(options: ListenerOptions) -> io::Result<Bound> {
    let opened = Opened::open(&options.address)?;
    Ok(Bound { opened, options })
}

/// An open address that nothing is accepted on yet. Dropping it closes it.
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

    /// Starts to accept, and to serve every connection with `squall`, in tasks of the current tokio runtime.
    pub fn serve(self, squall: Arc<Squall>) -> Listener {
        let Opened {
            acceptor,
            address,
            file,
        } = self.opened;
        let acceptor = Arc::new(acceptor);
        let shared = ListenerState::new(self.options);
        tokio::spawn(accept_all(Arc::clone(&acceptor), Arc::clone(&shared), squall));
        Listener {
            shared,
            address,
            open: Mutex::new(Some((acceptor, file))),
        }
    }
}

/// A running listener. Dropping it stops it, and lets its connections finish.
#[derive(Debug)]
pub struct Listener {
    shared: Arc<ListenerState>,
    address: AddressSpec,
    /// Until it is stopped.
    open: Mutex<Option<(Arc<Acceptor>, Option<SocketFile>)>>,
}

impl Listener {
    /// The address, with the port that was chosen for port 0.
    pub fn local_addr(&self) -> &AddressSpec {
        &self.address
    }

    /// Closes the port at once, so that it can be opened again; connections that are still in the kernel's queue are
    /// reset. Idle connections are closed. Those with requests in flight end after these: HTTP/1 with the response, which
    /// says so, HTTP/2 after a GOAWAY.
    pub fn stop_accepting(&self) {
        if !self.shared.info.stop() {
            return;
        }
        if let Some((acceptor, file)) = self.open.lock().take() {
            acceptor.close();
            drop(file);
        }
        for connection in self.shared.connections() {
            connection.leave_if_idle();
        }
    }

    /// Resolves when nothing is accepted any more and the last connection has ended. To be called after
    /// [`Listener::stop_accepting`], since it keeps new connections waiting; one whose client is slow to close takes a second
    /// longer than its last response, or up to ten while the client is still sending.
    pub async fn drained(&self) {
        // Whoever accepts holds a permit, as each connection does. The semaphore is never closed.
        let _all = self.shared.permits.acquire_many(self.shared.limit).await;
    }

    /// Stops, and drops every connection with whatever is in flight on it.
    pub fn abort(&self) {
        // Before the list is read: a connection that is enlisted later sees the flag.
        self.shared.aborted.store(true, Ordering::SeqCst);
        self.stop_accepting();
        for connection in self.shared.connections() {
            connection.abort();
        }
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.shared.count()
    }

    /// Requests in flight now. Looks at every connection.
    pub fn requests(&self) -> usize {
        self.shared
            .connections()
            .iter()
            .map(|connection| connection.requests())
            .sum()
    }

    /// Uses other certificates (or none, or TLS where there was none) and so on for the connections that are accepted
    /// from now on.
    pub fn replace(&self, entrance: Entrance) {
        self.shared.entrance.store(Arc::new(entrance));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop_accepting();
    }
}

async fn accept_all(acceptor: Arc<Acceptor>, shared: Arc<ListenerState>, squall: Arc<Squall>) {
    let mut stopped = std::pin::pin!(shared.info.stopped());
    let mut failures = 0_u32;
    loop {
        // Biased: a listener that was told to stop takes no further connection, even if one is waiting.
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => return,
            accepted = accept_one(&acceptor, &shared) => accepted,
        };
        match accepted {
            Ok((socket, peer, permit)) => {
                failures = 0;
                spawn(&shared, &squall, socket, peer, permit);
            }
            // Of the client's making, and gone with it.
            Err(error) if is_about_one_client(&error) => {}
            Err(error) => {
                // The first, then one about every ten seconds.
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
    // Never closed, so there is always a permit in the end.
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
