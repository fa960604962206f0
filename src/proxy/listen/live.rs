//! The state shared by a listener, its accept loop and its connections: above all the list of open connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::accept::{Entrance, ListenerOptions, Service};
use crate::proxy::client::connection::{Connection, ListenerInfo};

/// The state of one listener, which lives as long as the listener or any of its connections.
#[derive(Debug)]
pub(super) struct ListenerState {
    pub(super) info: Arc<ListenerInfo>,
    pub(super) options: ListenerOptions,
    pub(super) serving: ArcSwap<Serving>,
    /// One permit for each connection that may still be opened.
    pub(super) permits: Arc<Semaphore>,
    /// The total number of permits.
    pub(super) limit: u32,
    /// Whether all connections are to be dropped, including those that are accepted late.
    pub(super) aborted: AtomicBool,
    /// Held for single map operations, never across an await.
    alive: Mutex<HashMap<u64, Arc<Connection>>>,
    next_id: AtomicU64,
}

/// What new connections get. Replaced as a whole, so that a connection sees one configuration.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) service: Service,
    pub(super) entrance: Entrance,
}

impl ListenerState {
    pub(super) fn new(options: ListenerOptions, service: Service) -> Arc<Self> {
        let limit = u32::try_from(options.max_connections).unwrap_or(u32::MAX).max(1);
        Arc::new(Self {
            info: Arc::new(ListenerInfo::new(Arc::clone(&options.name))),
            serving: ArcSwap::from_pointee(Serving {
                service,
                entrance: options.entrance.clone(),
            }),
            options,
            permits: Arc::new(Semaphore::new(limit as usize)),
            limit,
            aborted: AtomicBool::new(false),
            alive: Mutex::default(),
            next_id: AtomicU64::new(0),
        })
    }

    /// Adds a connection to the list. Dropping the returned value removes it.
    pub(super) fn enlist(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        permit: OwnedSemaphorePermit,
    ) -> ConnectionSlot {
        // Relaxed: the ids only have to differ.
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.alive.lock().insert(id, Arc::clone(connection));
        ConnectionSlot {
            shared: Arc::clone(self),
            id,
            _permit: permit,
        }
    }

    /// The open connections.
    pub(super) fn connections(&self) -> Vec<Arc<Connection>> {
        self.alive.lock().values().cloned().collect()
    }

    /// The number of open connections.
    pub(super) fn count(&self) -> usize {
        self.alive.lock().len()
    }
}

/// A connection's entry in the list, and its permit.
pub(super) struct ConnectionSlot {
    shared: Arc<ListenerState>,
    id: u64,
    _permit: OwnedSemaphorePermit,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        // Bound to a variable, so that the connection is dropped after the lock is released.
        let _removed = self.shared.alive.lock().remove(&self.id);
    }
}
