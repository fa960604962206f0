//! What a listener, its accept loop and its connections share: the list of what is alive.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::accept::{EntranceOptions, ListenerOptions};
use super::gate::Gate;
use super::intercept::Intercepting;
use crate::proxy::client::connection::{Connection, ListenerInfo};
use crate::proxy::tls::ServerTls;

/// The state of one listener, for as long as it or any of its connections lives.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) info: Arc<ListenerInfo>,
    pub(super) options: ListenerOptions,
    pub(super) entrance: ArcSwap<Entrance>,
    /// One for each connection that may still be opened.
    pub(super) permits: Arc<Semaphore>,
    aborted: AtomicBool,
    alive: Mutex<Alive>,
    next_id: AtomicU64,
    /// Told of whatever [`Shared::drained`] waits for.
    changed: Notify,
}

/// What new connections meet; replaced as a whole, so that each sees one configuration.
#[derive(Debug)]
pub(super) struct Entrance {
    pub(super) tls: Option<Arc<ServerTls>>,
    pub(super) gate: Option<Gate>,
    pub(super) intercepting: Option<Arc<Intercepting>>,
}

impl Entrance {
    /// Whether something comes before a connection's first request.
    pub(super) fn delays(&self) -> bool {
        self.tls.is_some() || self.gate.is_some() || self.intercepting.is_some()
    }

    pub(super) fn new(options: EntranceOptions) -> Arc<Self> {
        Arc::new(Self {
            tls: options.tls.map(Arc::new),
            gate: options.gate,
            intercepting: options.intercepting.map(Arc::new),
        })
    }
}

#[derive(Debug)]
struct Alive {
    accepting: bool,
    connections: HashMap<u64, Arc<Connection>>,
}

impl Shared {
    pub(super) fn new(options: ListenerOptions) -> Arc<Self> {
        let limit = options.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            info: Arc::new(ListenerInfo::new(Arc::clone(&options.name))),
            entrance: ArcSwap::from(Entrance::new(options.entrance.clone())),
            options,
            permits: Arc::new(Semaphore::new(limit)),
            aborted: AtomicBool::new(false),
            alive: Mutex::new(Alive {
                accepting: true,
                connections: HashMap::new(),
            }),
            next_id: AtomicU64::new(0),
            changed: Notify::new(),
        })
    }

    /// To be held by the accept loop; what notes its end.
    pub(super) fn accepting(self: &Arc<Self>) -> Accepting {
        Accepting(Arc::clone(self))
    }

    /// Puts a connection on the list, until the returned value is dropped.
    pub(super) fn enlist(self: &Arc<Self>, connection: &Arc<Connection>, permit: OwnedSemaphorePermit) -> Place {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.alive.lock().connections.insert(id, Arc::clone(connection));
        Place {
            shared: Arc::clone(self),
            id,
            _permit: permit,
        }
    }

    /// The connections that are open now.
    pub(super) fn connections(&self) -> Vec<Arc<Connection>> {
        self.alive.lock().connections.values().cloned().collect()
    }

    /// How many connections are open now.
    pub(super) fn count(&self) -> usize {
        self.alive.lock().connections.len()
    }

    /// Marks what is alive, and what a late accept still adds, as to be dropped.
    pub(super) fn set_aborted(&self) {
        self.aborted.store(true, Ordering::SeqCst);
    }

    pub(super) fn aborted(&self) -> bool {
        self.aborted.load(Ordering::SeqCst)
    }

    /// Resolves when nothing is accepted any more and no connection is left.
    pub(super) async fn drained(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no change is missed.
            changed.as_mut().enable();
            if self.is_drained() {
                return;
            }
            changed.await;
        }
    }

    fn is_drained(&self) -> bool {
        let alive = self.alive.lock();
        !alive.accepting && alive.connections.is_empty()
    }
}

/// Notes the end of the accept loop when dropped.
pub(super) struct Accepting(Arc<Shared>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.alive.lock().accepting = false;
        self.0.changed.notify_waiters();
    }
}

/// A connection's place on the list, and its share of the limit.
pub(super) struct Place {
    shared: Arc<Shared>,
    id: u64,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut alive = self.shared.alive.lock();
        let removed = alive.connections.remove(&self.id);
        let last = alive.connections.is_empty();
        drop(alive);
        drop(removed);
        if last {
            self.shared.changed.notify_waiters();
        }
    }
}
