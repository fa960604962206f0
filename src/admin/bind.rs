//! Opens the admin API's port.

use std::io;

use crate::proxy::net::address::AddressSpec;
use crate::proxy::net::bind::Opened;

/// The open admin API's port, not served yet. Dropping it closes the port, and removes the file of a unix socket.
#[derive(Debug)]
pub struct Bound(pub(super) Opened);

/// Opens the admin API's port. A stale socket file is replaced. Needs a tokio runtime.
///
/// # Errors
/// The operating system's, most often that the address is in use.
pub async fn bind(address: &AddressSpec) -> io::Result<Bound> {
    Opened::open(address).map(Bound)
}

impl Bound {
    /// The address, with the real port in place of port 0.
    pub fn address(&self) -> &AddressSpec {
        &self.0.address
    }
}
