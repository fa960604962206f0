//! A request that somebody asks about, and where it would be sent.

use std::path::PathBuf;

use crate::explain::Asked;

/// A request on its way to squall, not yet at a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The request that is made.
    pub asked: Asked,
    /// Where the connection goes.
    pub place: Place,
    /// What could not be known of the request, in sentences.
    pub notes: Vec<String>,
}

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Not said.
    Anywhere,
    /// A host, an IPv6 address in brackets, and a port.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}
