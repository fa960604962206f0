//! Listeners: each accepts on its own, and serves its connections with one proxy.
//!
//! Pingora's own services take their list of ports once, at start. These can be added, stopped and replaced while
//! requests are in flight on the others.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::OwnedSemaphorePermit;

use super::gate::Gate;
use super::intercept::Intercepting;
use super::live::{Accepting, Entrance, Shared};
use super::serve::spawn;
use crate::proxy::exchange::Squall;
pub use crate::proxy::net::bind::Bind;
use crate::proxy::net::bind::{Opened, SocketFile};
use crate::proxy::net::socket::Socket;
use crate::proxy::tls::ServerTls;

/// The pause after an accept that failed for want of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(100);

/// What a listener is to do.
#[derive(Clone, Debug)]
pub struct ListenerOptions {
    /// The name in the configuration, for logs, metrics and rules.
    pub name: Arc<str>,
    /// Where to listen.
    pub bind: Bind,
    /// What connections meet before they have requests.
    pub entrance: EntranceOptions,
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

/// What new connections of a listener meet.
#[derive(Clone, Debug, Default)]
pub struct EntranceOptions {
    /// TLS, with HTTP/2 and HTTP/1.1 by ALPN; `None` for plaintext.
    pub tls: Option<ServerTls>,
    /// What happens to connections before they have requests; `None`: nothing.
    pub gate: Option<Gate>,
    /// Connections were redirected here, and those that are not HTTP go on to where they were headed.
    pub intercepting: Option<Intercepting>,
}

impl ListenerOptions {
    /// A plaintext listener: HTTP/1 and h2c, 10,000 connections, 128 streams on each, 10 s for a handshake, 60 s for a
    /// head.
    pub fn new(name: impl Into<Arc<str>>, bind: Bind) -> Self {
        Self {
            name: name.into(),
            bind,
            entrance: EntranceOptions::default(),
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
/// The operating system's, most often that the address is in use or not ours.
pub fn bind(options: &ListenerOptions) -> io::Result<Bound> {
    let opened = Opened::open(&options.bind)?;
    let address = opened.local_addr()?;
    Ok(Bound {
        opened,
        address,
        options: options.clone(),
    })
}

/// An open address that nothing is accepted on yet. Dropping it closes it.
#[derive(Debug)]
pub struct Bound {
    opened: Opened,
    address: Bind,
    options: ListenerOptions,
}

impl Bound {
    /// The address, with the port that was chosen for port 0.
    pub fn local_addr(&self) -> &Bind {
        &self.address
    }

    /// Starts to accept, and to serve every connection with `squall`, in tasks of the current tokio runtime.
    ///
    /// # Errors
    /// If tokio can't watch the socket. Outside of a tokio runtime this panics, as tokio does.
    pub fn serve(self, squall: Arc<Squall>) -> io::Result<Listener> {
        let Self {
            opened,
            address,
            options,
        } = self;
        let (acceptor, file) = match opened {
            Opened::Tcp(listener) => (Acceptor::Tcp(TcpListener::from_std(listener)?), None),
            Opened::Unix(listener, file) => (Acceptor::Unix(UnixListener::from_std(listener)?), Some(file)),
        };
        let acceptor = Arc::new(acceptor);
        let shared = Shared::new(options);
        tokio::spawn(accept_all(
            Arc::clone(&acceptor),
            Arc::clone(&shared),
            squall,
            shared.accepting(),
        ));
        Ok(Listener {
            shared,
            address,
            acceptor: Mutex::new(Some((acceptor, file))),
        })
    }
}

/// A running listener. Dropping it stops it, and lets its connections finish.
#[derive(Debug)]
pub struct Listener {
    shared: Arc<Shared>,
    address: Bind,
    acceptor: Mutex<Option<(Arc<Acceptor>, Option<SocketFile>)>>,
}

impl Listener {
    /// The address, with the port that was chosen for port 0.
    pub fn local_addr(&self) -> &Bind {
        &self.address
    }

    /// Closes the port at once, so that it can be opened again; connections that are still in the kernel's queue are
    /// reset. Idle connections are closed. Those with requests in flight end after these: HTTP/1 with the response, which
    /// says so, HTTP/2 after a GOAWAY.
    pub fn stop_accepting(&self) {
        if !self.shared.info.stop() {
            return;
        }
        if let Some((acceptor, file)) = self.acceptor.lock().take() {
            acceptor.close();
            drop(file);
        }
        for connection in self.shared.connections() {
            connection.leave_if_idle();
        }
    }

    /// Resolves when nothing is accepted any more and the last connection has ended. To be called after
    /// [`Listener::stop_accepting`]; a connection whose client is slow to close takes a second longer than its last
    /// response, or up to ten while the client is still sending.
    pub async fn drained(&self) {
        self.shared.drained().await;
    }

    /// Stops, and drops every connection with whatever is in flight on it.
    pub fn abort(&self) {
        self.shared.set_aborted();
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
    pub fn replace(&self, entrance: EntranceOptions) {
        self.shared.entrance.store(Entrance::new(entrance));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop_accepting();
    }
}

#[derive(Debug)]
enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Fails only if the client has left already, which will show.
                let _client_has_left = stream.set_nodelay(true);
                Ok((stream.into(), Some(peer)))
            }
            Self::Unix(listener) => Ok((listener.accept().await?.0.into(), None)),
        }
    }

    /// Stops listening before the accept loop has noticed, and wakes it.
    fn close(&self) {
        let how = rustix::net::Shutdown::Both;
        let closed = match self {
            Self::Tcp(listener) => rustix::net::shutdown(listener, how),
            Self::Unix(listener) => rustix::net::shutdown(listener, how),
        };
        if let Err(error) = closed {
            tracing::debug!("a listener was closed already: {error}");
        }
    }
}

async fn accept_all(acceptor: Arc<Acceptor>, shared: Arc<Shared>, squall: Arc<Squall>, _accepting: Accepting) {
    let mut stopped = std::pin::pin!(shared.info.stopped());
    let mut failures = 0_u32;
    loop {
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
    shared: &Shared,
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
