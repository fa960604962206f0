//! Sockets, addresses and timers, which the rest of the proxy is built on.

pub mod address;
pub(crate) mod bind;
pub(crate) mod own;
pub mod proxy_protocol;
pub(crate) mod socket;
pub(crate) mod timer;
