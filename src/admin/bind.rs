//! Opening the side port.

use std::io;

use crate::proxy::net::address::AddressSpec;
use crate::proxy::net::bind::Opened;

/// The side port, open and not yet served. Dropping it closes it, and removes a unix socket's file.
#[derive(Debug)]
pub struct Bound(pub(super) Opened);

/// Opens the side port. A socket file that no process listens on any more is replaced. Needs a tokio runtime.
///
/// # Errors
/// The operating system's, most often that the address is in use.
pub async fn bind(address: &AddressSpec) -> io::Result<Bound> {
    Opened::open(address).map(Bound)
}

impl Bound {
    /// The address, with the real port where any free one was asked for.
    pub fn address(&self) -> &AddressSpec {
        &self.0.address
    }
}
