//! A request to explain, and where it would be sent.

use std::path::PathBuf;

use crate::explain::Asked;

/// A request before it is assigned to a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The request to explain.
    pub asked: Asked,
    /// Where the connection goes.
    pub place: Place,
    /// What is unknown about the request, in sentences.
    pub notes: Vec<String>,
}

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Not given.
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
