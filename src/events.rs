//! What happens in squall, told to those who listen.
//!
//! Nobody listening is the usual case, and costs one load of a counter. A listener that is too slow loses the oldest events, and
//! learns how many. Events that traffic causes are capped, so that no listener slows it down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::broadcast;

/// The most events that wait for a slow listener.
const WAITING: usize = 1024;
/// The most events about requests that are told in a second.
const REQUESTS_PER_SECOND: u32 = 50;

/// All kinds of events that a listener can choose from.
pub const KINDS: [&str; 8] = [
    "stats", "request", "rule", "armed", "guard", "space", "reload", "scenario",
];

/// Something that happened, as listeners get it.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its number among all events of the process, from 1, in the order in which listeners get them.
    pub id: u64,
    /// Its kind, one of [`KINDS`]: the `event` field of the stream.
    pub kind: &'static str,
    /// What there is to say about it.
    pub data: Value,
}

/// Tells events to everybody who listens.
#[derive(Debug)]
pub struct Events {
    listeners: broadcast::Sender<Arc<Event>>,
    /// The number of events told. Locked while one is sent, so that events arrive in the order of their numbers.
    told: Mutex<u64>,
    cap: Mutex<Cap>,
}

impl Default for Events {
    fn default() -> Self {
        Events {
            listeners: broadcast::Sender::new(WAITING),
            told: Mutex::default(),
            cap: Mutex::new(Cap::new(Instant::now())),
        }
    }
}

impl Events {
    /// Whether somebody listens, and events are made at all.
    pub fn are_heard(&self) -> bool {
        self.listeners.receiver_count() > 0
    }

    /// Tells an event. `data` is only made if somebody listens.
    pub fn tell(&self, kind: &'static str, data: impl FnOnce() -> Value) {
        if self.are_heard() {
            let data = data();
            let mut told = self.told.lock();
            *told += 1;
            // An error means that the last listener has just left.
            let _ = self.listeners.send(Arc::new(Event { id: *told, kind, data }));
        }
    }

    /// Tells an event about a request, at most 50 in a second. `data` gets the number of requests that were left out since the
    /// last one told.
    pub fn tell_request(&self, data: impl FnOnce(u64) -> Value) {
        if !self.are_heard() {
            return;
        }
        let left_out = self.cap.lock().admit(Instant::now());
        if let Some(left_out) = left_out {
            self.tell("request", || data(left_out));
        }
    }

    /// Listens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<Event>> {
        self.listeners.subscribe()
    }
}

/// Bounds a number of events in each second.
#[derive(Debug)]
struct Cap {
    since: Instant,
    told: u32,
    left_out: u64,
}

impl Cap {
    fn new(now: Instant) -> Cap {
        Cap {
            since: now,
            told: 0,
            left_out: 0,
        }
    }

    /// Admits an event, with the number of those that were left out before it, or leaves it out.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            self.since = now;
            self.told = 0;
        }
        if self.told < REQUESTS_PER_SECOND {
            self.told += 1;
            return Some(std::mem::take(&mut self.left_out));
        }
        self.left_out += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_is_made_for_nobody() {
        let events = Events::default();
        events.tell("rule", || unreachable!("nobody listens"));
        events.tell_request(|_| unreachable!("nobody listens"));
        let mut listener = events.listen();
        events.tell("rule", || json!(1));
        let event = listener.try_recv().unwrap();
        assert_eq!((event.id, event.kind, &event.data), (1, "rule", &json!(1)));
    }

    #[test]
    fn requests_are_capped_and_those_left_out_are_counted() {
        let began = Instant::now();
        let mut cap = Cap::new(began);
        let admitted = (0..1000).filter(|_| cap.admit(began) == Some(0)).count();
        assert_eq!(admitted, 50);
        let later = began + Duration::from_secs(1);
        assert_eq!(cap.admit(later), Some(950));
        assert_eq!(cap.admit(later), Some(0));
    }

    #[test]
    fn a_slow_listener_loses_the_oldest() {
        let events = Events::default();
        let mut listener = events.listen();
        for n in 0..WAITING + 10 {
            events.tell("rule", || json!(n));
        }
        assert_eq!(
            listener.try_recv().unwrap_err(),
            broadcast::error::TryRecvError::Lagged(10)
        );
        assert_eq!(listener.try_recv().unwrap().id, 11);
    }
}
