//! Opens TCP ports and unix sockets, accepts on them, and removes socket files.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketType, listen, shutdown, sockopt};
use tokio::net::{TcpListener, UnixListener};

use super::own::OwnPort;
use super::socket::Socket;
use crate::proxy::net::address::AddressSpec;

/// The most connections that wait in the kernel until they are accepted.
const BACKLOG: i32 = 1024;

/// When a client that has been silent is asked whether it is still there, how often, and how many times in vain until its
/// connection is closed: two minutes in all. A client that vanished without a word would stay for ever, since listeners let
/// a request last for as long as it wants.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 6;

/// An open address.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) acceptor: Acceptor,
    /// The address, with the kernel's choice in place of port 0.
    pub(crate) address: AddressSpec,
    /// The file of a unix socket.
    pub(crate) file: Option<SocketFile>,
}

/// An open port or unix socket.
#[derive(Debug)]
pub(crate) enum Acceptor {
    /// With the note that its port is squall's own.
    Tcp {
        listener: TcpListener,
        _own: OwnPort,
    },
    Unix(UnixListener),
}

impl Opened {
    /// Opens `address`. A TCP port may be reopened at once after it was closed (SO_REUSEADDR). Needs a tokio runtime.
    pub(crate) fn open(address: &AddressSpec) -> io::Result<Self> {
        match address {
            AddressSpec::Tcp(address) => {
                // Sets SO_REUSEADDR on unix.
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                keep_alive(&listener)?;
                listen(&listener, BACKLOG)?;
                let address = listener.local_addr()?;
                Ok(Self {
                    address: AddressSpec::Tcp(address),
                    acceptor: Acceptor::Tcp {
                        listener: TcpListener::from_std(listener)?,
                        _own: OwnPort::new(address),
                    },
                    file: None,
                })
            }
            AddressSpec::Unix(path) => {
                remove_if_stale(path)?;
                let listener = std::os::unix::net::UnixListener::bind(path)?;
                let file = Some(SocketFile::of(path)?);
                listener.set_nonblocking(true)?;
                listen(&listener, BACKLOG)?;
                Ok(Self {
                    acceptor: Acceptor::Unix(UnixListener::from_std(listener)?),
                    address: address.clone(),
                    file,
                })
            }
        }
    }
}

/// Turns on TCP keepalive. The accepted sockets of a listening one inherit it, which saves four calls for each.
pub(crate) fn keep_alive(socket: impl AsFd) -> io::Result<()> {
    let socket = socket.as_fd();
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, KEEPALIVE_COUNT)?;
    Ok(())
}

impl Acceptor {
    /// The next connection, with its client's address where it has one. Cancel-safe.
    pub(crate) async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp { listener, .. } => {
                let (stream, peer) = listener.accept().await?;
                // Fails only if the client has disconnected, which the first read reports.
                let _client_has_left = stream.set_nodelay(true);
                Ok((stream.into(), Some(peer)))
            }
            Self::Unix(listener) => Ok((listener.accept().await?.0.into(), None)),
        }
    }

    /// Stops listening at once, even while the accept loop still holds the socket, and wakes that loop.
    pub(crate) fn close(&self) {
        let closed = match self {
            Self::Tcp { listener, .. } => shutdown(listener, Shutdown::Both),
            Self::Unix(listener) => shutdown(listener, Shutdown::Both),
        };
        if let Err(error) = closed {
            tracing::debug!("a listener was already closed: {error}");
        }
    }
}

/// Removes a socket file that no process listens on any more.
fn remove_if_stale(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        let what = format!("{} exists and is not a socket", path.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    // Non-blocking: a process that listens but does not accept would otherwise block this thread, and a reload with it.
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// A socket file, removed on drop unless another file has taken its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), "the socket file can't be removed: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_file_is_replaced_only_if_stale() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("squall.sock");
        let address = AddressSpec::Unix(path.clone());

        let first = Opened::open(&address).unwrap();
        assert_eq!(Opened::open(&address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(!path.exists());

        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a process that died leaves its file");
        let second = Opened::open(&address).unwrap();
        assert_eq!(second.address, address);

        std::fs::remove_file(&path).unwrap();
        let third = Opened::open(&address).unwrap();
        drop(second);
        assert!(path.exists(), "the file of another listener stays");
        drop(third);

        std::fs::write(&path, "precious").unwrap();
        let error = Opened::open(&address).unwrap_err();
        assert!(error.to_string().contains("is not a socket"), "{error}");
        assert!(path.exists());
    }

    /// A process that listens and never accepts: once its backlog is full, a blocking connect would not return.
    #[tokio::test]
    async fn a_socket_whose_owner_does_not_accept_is_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.sock");
        let owner = std::os::unix::net::UnixListener::bind(&path).unwrap();
        listen(&owner, 0).unwrap();
        let mut waiting = Vec::new();
        let full = loop {
            let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
            rustix::io::ioctl_fionbio(&socket, true).unwrap();
            match rustix::net::connect(&socket, &SocketAddrUnix::new(&path).unwrap()) {
                Ok(()) => waiting.push(socket),
                Err(error) => break error,
            }
            assert!(waiting.len() < 100, "the backlog is never full");
        };
        assert_eq!(full, Errno::AGAIN);
        let error = remove_if_stale(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(owner);
        remove_if_stale(&path).unwrap();
        assert!(!path.exists());
    }
}
