//! Redirected connections (iptables REDIRECT): those that are not HTTP are passed on unread to their destination.
//!
//! ```text
//! first byte ─ a letter: HTTP, whose requests go on to the original destination like to any upstream
//!            ├ 22: TLS ─ ClientHello read for its name ─ handshake rules ─ passed on
//!            └ else: passed on
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{ReadBuf, copy_bidirectional};
use tokio::net::TcpStream;

use crate::proxy::client::Connection;
use crate::proxy::exchange::log;
use crate::proxy::exchange::view::View;
use crate::proxy::net::socket::{Raw, Socket};

/// The first byte of a TLS connection: a record of the type `handshake` (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// Passes redirected connections on to their original destinations.
#[derive(Clone, Debug)]
pub struct Intercepting {
    view: Arc<View>,
    connect: Duration,
}

/// The protocol of a client, guessed from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientProtocol {
    /// HTTP/1 or HTTP/2.
    Http,
    /// TLS, with anything in it.
    Tls,
    /// Neither HTTP nor TLS.
    Other,
}

/// Waits for the first byte, and puts it back for the next reader. Has no time limit.
///
/// # Errors
/// The socket's, or `UnexpectedEof` if the client closes the connection without sending anything.
pub(super) async fn protocol(socket: &Socket) -> io::Result<ClientProtocol> {
    let mut first = [0];
    let mut buf = ReadBuf::new(&mut first);
    std::future::poll_fn(|cx| socket.poll_read(cx, &mut buf)).await?;
    socket.unread(buf.filled());
    match buf.filled().first() {
        Some(byte) => Ok(ClientProtocol::of(*byte)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl ClientProtocol {
    /// In practice a method begins with a letter. Empty lines may precede it (RFC 9112, sections 2.2 and 3.1).
    fn of(first: u8) -> Self {
        match first {
            TLS_HANDSHAKE => Self::Tls,
            b'A'..=b'Z' | b'a'..=b'z' | b'\r' | b'\n' => Self::Http,
            _ => Self::Other,
        }
    }
}

impl Intercepting {
    /// `None` if the listener's upstream is not `original_destination`.
    pub fn new(view: &Arc<View>) -> Option<Self> {
        let connect = view.own.target.as_ref()?.original_destination()?;
        let view = Arc::clone(view);
        Some(Self { view, connect })
    }

    /// Connects to the original destination, and copies bytes both ways until both sides have ended. `name` is the server
    /// name in the client's TLS, if any, for the log.
    pub(super) async fn pass_on(&self, mut client: Raw, connection: &Connection, name: Option<String>) {
        let began = Instant::now();
        let view = &self.view;
        view.own.metrics.passed_on.inc();
        let (destination, passed) = match connection.original_destination() {
            Ok(destination) => (Some(destination), self.carry(&mut client, destination).await),
            Err(error) => (None, Err(error)),
        };
        if passed.is_err() {
            // The client must see the failure as if it were connected directly.
            connection.reset();
        }
        if view.access {
            let bytes = passed.as_ref().ok();
            tracing::info!(
                target: log::TARGET,
                listener = &*view.name,
                upstream = &*view.own.upstream,
                client = connection.client().map(tracing::field::display),
                host = name,
                destination = destination.map(tracing::field::display),
                total_ms = log::millis(began.elapsed()),
                bytes_in = bytes.map(|(from_client, _)| from_client),
                bytes_out = bytes.map(|(_, to_client)| to_client),
                error = passed.as_ref().err().map(tracing::field::display),
                "passed on"
            );
        }
    }

    async fn carry(&self, client: &mut Raw, destination: SocketAddr) -> io::Result<(u64, u64)> {
        let connected = tokio::time::timeout(self.connect, TcpStream::connect(destination)).await;
        let timed_out = || io::Error::new(io::ErrorKind::TimedOut, "connecting timed out");
        let opened = connected.map_err(|_| timed_out()).and_then(|opened| opened);
        let mut server = opened.inspect_err(|_| self.view.own.metrics.upstream_errors.inc())?;
        server.set_nodelay(true)?;
        let carried = copy_bidirectional(client, &mut server).await;
        if carried.is_err() {
            Socket::from(server).reset();
        }
        carried
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells() {
        for first in [b'G', b'P', b'D', b'm', b'\r'] {
            assert_eq!(ClientProtocol::of(first), ClientProtocol::Http);
        }
        assert_eq!(ClientProtocol::of(0x16), ClientProtocol::Tls);
        // Redis, PostgreSQL, MQTT, AMQP of old, and nonsense.
        for first in [b'*', 0, 0x10, b'$', 0xff] {
            assert_eq!(ClientProtocol::of(first), ClientProtocol::Other);
        }
    }

    #[tokio::test]
    async fn the_first_byte_is_read_again() {
        use std::io::Write;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = Socket::from(listener.accept().await.unwrap().0);
        client.write_all(b"GET").unwrap();
        assert_eq!(protocol(&socket).await.unwrap(), ClientProtocol::Http);
        let mut all = [0; 3];
        let mut buf = ReadBuf::new(&mut all);
        while buf.remaining() > 0 {
            std::future::poll_fn(|cx| socket.poll_read(cx, &mut buf)).await.unwrap();
        }
        assert_eq!(buf.filled(), b"GET");
        drop(client);
        assert!(protocol(&socket).await.is_err());
    }
}
