//! The bytes of a client whose request asks for another protocol.

use std::sync::Arc;

use axum::body::Body;
use parking_lot::Mutex;

/// What the client sends once a 101 was sent, as a request extension. Whoever calls a router in process sets it where the request
/// asks for another protocol; the bytes of the response's body then go to the client as they are.
#[derive(Debug, Clone)]
pub struct Tunnel(Arc<Mutex<Option<Body>>>);

impl Tunnel {
    /// The client's bytes as a body, which is not read before there is a 101.
    pub fn new(bytes: Body) -> Tunnel {
        Tunnel(Arc::new(Mutex::new(Some(bytes))))
    }

    /// The client's bytes; `None` from the second time on.
    pub(super) fn take(&self) -> Option<Body> {
        self.0.lock().take()
    }
}
