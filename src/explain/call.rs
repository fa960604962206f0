//! A request to explain, and where it would be sent.

use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderMap, Method};

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

impl Call {
    /// A connection to a TCP listener, which has no requests.
    pub fn connection() -> Call {
        Call {
            asked: Asked {
                method: Method::GET,
                target: String::new(),
                authority: None,
                headers: HeaderMap::new(),
                body: Ok(Bytes::new()),
                client: None,
                listener: None,
                ordinal: None,
                at: None,
            },
            place: Place::Anywhere,
            notes: Vec::new(),
        }
    }

    /// Whether it is only a connection, without a request.
    pub fn is_connection(&self) -> bool {
        self.asked.target.is_empty()
    }
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
