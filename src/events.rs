//! What happens in squall, told to those who listen.
//!
//! Nobody listening is the usual case, and costs one load of a counter. A listener that is too slow loses the oldest events, and
//! learns how many.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::broadcast;

/// The most events that wait for a slow listener.
const WAITING: usize = 1024;

/// What happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its kind, such as `rule` or `fault`: the `event` field of the stream.
    pub kind: &'static str,
    /// What there is to say about it.
    pub data: Value,
}

/// Tells events to everybody who listens.
#[derive(Debug)]
pub struct Events(broadcast::Sender<Arc<Event>>);

impl Default for Events {
    fn default() -> Self {
        Events(broadcast::Sender::new(WAITING))
    }
}

impl Events {
    /// Whether somebody listens.
    pub fn are_heard(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Tells an event. `data` is only made if somebody listens.
    pub fn tell(&self, kind: &'static str, data: impl FnOnce() -> Value) {
        if self.are_heard() {
            // An error means that the last listener has just left.
            let _ = self.0.send(Arc::new(Event { kind, data: data() }));
        }
    }

    /// Listens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<Event>> {
        self.0.subscribe()
    }
}
