//! Listeners, connections, requests.

pub mod accept;
pub mod connection;
pub mod tls;
pub mod upstream;
