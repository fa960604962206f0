//! Opening the side port.

use std::io;

use tokio::net::{TcpListener, UnixListener};

use crate::config::root::AddressSpec;
use crate::proxy::net::bind::{Bind, Opened, SocketFile};

/// The side port, open and not yet served.
#[derive(Debug)]
pub struct Bound {
    pub(super) socket: Socket,
    address: AddressSpec,
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "removes the socket's file when it is dropped")] SocketFile,
    ),
}

/// Opens the side port. A socket file that no process listens on any more is replaced. Needs a tokio runtime.
///
/// # Errors
/// The operating system's, most often that the address is in use.
pub async fn bind(address: &AddressSpec) -> io::Result<Bound> {
    let (socket, address) = match Opened::open(&Bind::from(address))? {
        Opened::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            let address = AddressSpec::Tcp(listener.local_addr()?);
            (Socket::Tcp(listener), address)
        }
        Opened::Unix(listener, file) => (Socket::Unix(UnixListener::from_std(listener)?, file), address.clone()),
    };
    Ok(Bound { socket, address })
}

impl Bound {
    /// The address, with the real port where any free one was asked for.
    pub fn address(&self) -> &AddressSpec {
        &self.address
    }
}
