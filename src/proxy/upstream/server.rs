//! A TCP server, for listeners with `protocol: tcp`: connects to it, and performs the TLS handshake if there is one.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pingora::tls::TlsConnector;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::resolve::Resolver;
use super::target::{TargetAddress, parse_address};
use crate::proxy::net::proxy_protocol::{Ends, ProxyProtocol};
use crate::proxy::net::socket::{Raw, Socket};
use crate::proxy::tls::words;

/// The time limit of connecting where none is configured.
const CONNECT: Duration = Duration::from_secs(30);

/// A server that takes bytes.
pub struct TcpServer {
    place: TargetAddress,
    /// The server as written in the configuration, for logs: `10.0.0.1:5432`.
    label: Box<str>,
    /// For a name.
    resolver: Option<Resolver>,
    /// The client side of TLS, and the name to send and to verify; `None` without TLS.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// The header that each connection begins with, if any.
    proxy_protocol: Option<ProxyProtocol>,
    /// The time limit of connecting, the look-up of a name and the TLS handshake included.
    connect: Duration,
}

/// A stream with TLS over a socket.
pub(in crate::proxy) type Secure = Pin<Box<dyn Duplex>>;

/// Bytes in both directions.
pub(in crate::proxy) trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

impl fmt::Debug for TcpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpServer({})", self.label)
    }
}

impl TcpServer {
    /// Prepares a server. `tls`: the client side of TLS, and the name to send and to verify.
    pub(super) fn new(
        place: TargetAddress,
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
        connect: Duration,
    ) -> TcpServer {
        let resolver = match &place {
            TargetAddress::Name(host, port) => Some(Resolver::new(host.clone(), *port, connect)),
            _ => None,
        };
        TcpServer {
            label: place.to_string().into(),
            place,
            resolver,
            tls,
            proxy_protocol: None,
            connect,
        }
    }

    /// A server by its address, `HOST:PORT`, where nobody can be told of a mistake: then connections to it fail. Without a
    /// host it is this machine.
    pub fn of(address: &str) -> TcpServer {
        let of_this_machine = address.starts_with(':').then(|| format!("127.0.0.1{address}"));
        let place = Some(of_this_machine.as_deref().unwrap_or(address))
            .filter(|address| !address.starts_with("unix:"))
            .and_then(|address| parse_address(address, Path::new("")).ok());
        let place = place.unwrap_or_else(|| TargetAddress::Name(address.to_owned(), 0));
        TcpServer {
            label: address.into(),
            ..TcpServer::new(place, None, CONNECT)
        }
    }

    /// The server as written in the configuration: `10.0.0.1:5432`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Begins each connection with a header of the PROXY protocol.
    pub(super) fn with_header(mut self, proxy_protocol: Option<ProxyProtocol>) -> TcpServer {
        self.proxy_protocol = proxy_protocol;
        self
    }

    /// Opens a connection for a client. The second part is its TLS, if there is one. `ends` are the client's address and the one
    /// that it connected to, for a server that is told.
    ///
    /// # Errors
    /// The server can't be reached within the time limit, or the TLS handshake fails; in words, for the log.
    pub(in crate::proxy) async fn connect(&self, ends: Option<Ends>) -> io::Result<(Arc<Socket>, Option<Secure>)> {
        let connected = timeout(self.connect, self.open(ends)).await;
        connected.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "connecting timed out")))
    }

    async fn open(&self, ends: Option<Ends>) -> io::Result<(Arc<Socket>, Option<Secure>)> {
        let socket = Arc::new(self.socket().await?);
        if let Some(version) = self.proxy_protocol {
            let mut raw = Raw::new(Arc::clone(&socket));
            raw.write_all(&version.header(ends)).await?;
        }
        let Some((config, name)) = &self.tls else {
            return Ok((socket, None));
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let secured = connector.connect(name.clone(), Raw::new(Arc::clone(&socket))).await;
        let secured = secured.map_err(|error| match words::rustls_error(&error) {
            Some(tls) => io::Error::other(format!("TLS: {}", words::failure(tls))),
            None => io::Error::new(
                error.kind(),
                format!("the connection broke in the TLS handshake: {error}"),
            ),
        })?;
        Ok((socket, Some(Box::pin(secured))))
    }

    async fn socket(&self) -> io::Result<Socket> {
        let stream = match (&self.place, &self.resolver) {
            (TargetAddress::Unix(path), _) => return Ok(UnixStream::connect(path).await?.into()),
            (TargetAddress::Ip(address), _) => TcpStream::connect(address).await?,
            (_, Some(resolver)) => resolver.connect_first().await?,
            // Not built: see `Builder::tcp`.
            (_, None) => return Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        stream.set_nodelay(true)?;
        crate::proxy::net::bind::keep_alive(&stream)?;
        Ok(stream.into())
    }
}
