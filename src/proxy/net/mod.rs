//! The ground: sockets, addresses, and waiting until an instant.

pub mod address;
pub(crate) mod bind;
pub(crate) mod socket;
pub(crate) mod timer;
