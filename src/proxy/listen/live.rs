//! What a listener, its accept loop and its connections share: the list of what is alive.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::accept::{Entrance, ListenerOptions};
use crate::proxy::client::connection::{Connection, ListenerInfo};

/// The state of one listener, for as long as it or any of its connections lives.
#[derive(Debug)]
pub(super) struct ListenerState {
    pub(super) info: Arc<ListenerInfo>,
    pub(super) options: ListenerOptions,
    pub(super) entrance: ArcSwap<Entrance>,
    /// One for each connection that may still be opened.
    pub(super) permits: Arc<Semaphore>,
    /// How many permits there are in all.
    pub(super) limit: u32,
    /// What is alive, and what a late accept still adds, is to be dropped.
    pub(super) aborted: AtomicBool,
    alive: Mutex<HashMap<u64, Arc<Connection>>>,
    next_id: AtomicU64,
}

impl ListenerState {
    pub(super) fn new(options: ListenerOptions) -> Arc<Self> {
        let limit = u32::try_from(options.max_connections).unwrap_or(u32::MAX).max(1);
        Arc::new(Self {
            info: Arc::new(ListenerInfo::new(Arc::clone(&options.name))),
            entrance: ArcSwap::from_pointee(options.entrance.clone()),
            options,
            permits: Arc::new(Semaphore::new(limit as usize)),
            limit,
            aborted: AtomicBool::new(false),
            alive: Mutex::default(),
            next_id: AtomicU64::new(0),
        })
    }

    /// Puts a connection on the list, until the returned value is dropped.
    pub(super) fn enlist(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        permit: OwnedSemaphorePermit,
    ) -> ConnectionSlot {
        // Relaxed: numbers only have to differ.
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.alive.lock().insert(id, Arc::clone(connection));
        ConnectionSlot {
            shared: Arc::clone(self),
            id,
            _permit: permit,
        }
    }

    /// The connections that are open now.
    pub(super) fn connections(&self) -> Vec<Arc<Connection>> {
        self.alive.lock().values().cloned().collect()
    }

    /// How many connections are open now.
    pub(super) fn count(&self) -> usize {
        self.alive.lock().len()
    }
}

/// A connection's place on the list, and its share of the limit.
pub(super) struct ConnectionSlot {
    shared: Arc<ListenerState>,
    id: u64,
    _permit: OwnedSemaphorePermit,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        // A variable, so that the connection is dropped after the lock.
        let _removed = self.shared.alive.lock().remove(&self.id);
    }
}
