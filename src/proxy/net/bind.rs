//! Where a listener listens: opening TCP ports and unix sockets, and leaving none behind.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::config::root::AddressSpec;

/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 1024;

/// The address of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// A TCP address; port 0 lets the kernel choose one.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl From<&AddressSpec> for Bind {
    fn from(address: &AddressSpec) -> Self {
        match address {
            AddressSpec::Tcp(address) => Self::Tcp(*address),
            AddressSpec::Unix(path) => Self::Unix(path.clone()),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An open port or socket file. Non-blocking, and not yet known to tokio.
#[derive(Debug)]
pub(crate) enum Opened {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

impl Opened {
    /// Opens `address`. A TCP port may be reopened at once after it was closed (SO_REUSEADDR).
    pub(crate) fn open(address: &Bind) -> io::Result<Self> {
        match address {
            Bind::Tcp(address) => {
                // Sets SO_REUSEADDR on unix.
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                rustix::net::listen(&listener, BACKLOG)?;
                Ok(Self::Tcp(listener))
            }
            Bind::Unix(path) => {
                remove_if_stale(path)?;
                let listener = std::os::unix::net::UnixListener::bind(path)?;
                let file = SocketFile::of(path)?;
                listener.set_nonblocking(true)?;
                rustix::net::listen(&listener, BACKLOG)?;
                Ok(Self::Unix(listener, file))
            }
        }
    }

    /// The address with the port that the kernel chose.
    pub(crate) fn local_addr(&self) -> io::Result<Bind> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Bind::Tcp),
            Self::Unix(_, file) => Ok(Bind::Unix(file.path.clone())),
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
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// A socket file of ours, which is removed with this value, unless another has taken its place meanwhile.
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

    #[test]
    fn a_socket_file_is_replaced_only_if_nobody_listens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("squall.sock");
        let address = Bind::Unix(path.clone());

        let first = Opened::open(&address).unwrap();
        assert_eq!(Opened::open(&address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(!path.exists());

        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a process that died leaves its file");
        let second = Opened::open(&address).unwrap();
        assert_eq!(second.local_addr().unwrap(), address);

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
}
