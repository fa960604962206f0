//! File events from the kernel (inotify).

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::RwLock;
use tokio::sync::Notify;

/// The names whose events count.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Interest {
    /// Names, as folder and name, whose own events count.
    pub(super) names: HashSet<PathBuf>,
    /// Folders in which every name counts.
    pub(super) folders: HashSet<PathBuf>,
}

/// The folders that the kernel watches, and the events that count.
#[derive(Debug)]
pub(super) struct Kernel {
    watcher: Option<RecommendedWatcher>,
    /// Shared with notify's thread, which reads it for each event. Written for an assignment, never across an await.
    interest: Arc<RwLock<Interest>>,
    watched: BTreeSet<PathBuf>,
    wake: Arc<Notify>,
}

impl Kernel {
    /// Notifies `wake` of events. If inotify is not available, logs that and never notifies.
    pub(super) fn new(wake: Arc<Notify>) -> Kernel {
        let interest = Arc::new(RwLock::new(Interest::default()));
        let (shared, waking) = (Arc::clone(&interest), Arc::clone(&wake));
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| shared.read().concerns(&event)) {
                waking.notify_one();
            }
        });
        let watcher = watcher.inspect_err(complain).ok();
        Kernel {
            watcher,
            interest,
            watched: BTreeSet::new(),
            wake,
        }
    }

    /// A kernel without events.
    #[cfg(test)]
    pub(super) fn deaf(wake: Arc<Notify>) -> Kernel {
        Kernel {
            watcher: None,
            interest: Arc::default(),
            watched: BTreeSet::new(),
            wake,
        }
    }

    /// Whether the kernel reports changes.
    pub(super) fn tells(&self) -> bool {
        self.watcher.is_some()
    }

    /// Watches exactly the folders of `interest`. Notifies if there are new ones, since earlier changes in them were not
    /// reported. Watches are renewed each time, since a folder may have been replaced by another of the same name.
    pub(super) fn watch(&mut self, interest: Interest) {
        let Some(watcher) = &mut self.watcher else { return };
        let parents = interest
            .names
            .iter()
            .filter_map(|name| name.parent())
            .map(PathBuf::from);
        let wanted: BTreeSet<PathBuf> = parents.chain(interest.folders.iter().cloned()).collect();
        *self.interest.write() = interest;
        for gone in self.watched.difference(&wanted) {
            // Fails if the folder was deleted, and its watch with it.
            drop(watcher.unwatch(gone));
        }
        let mut watched = BTreeSet::new();
        for folder in wanted {
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(watched.insert(folder)),
                Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => {
                    complain(&error);
                    self.watcher = None;
                    return;
                }
                // A missing folder is reported by its parent, and one that can't be read is polled.
                Err(error) => tracing::debug!("not watched: {error}"),
            }
        }
        if !watched.is_subset(&self.watched) {
            self.wake.notify_one();
        }
        self.watched = watched;
    }
}

impl Interest {
    fn concerns(&self, event: &Event) -> bool {
        let looked_at = match event.kind {
            // Reading files here causes access events too.
            EventKind::Access(kind) => kind != AccessKind::Close(AccessMode::Write),
            _ => false,
        };
        let ours = |path: &PathBuf| {
            self.names.contains(path)
                || self.folders.contains(path)
                || path.parent().is_some_and(|folder| self.folders.contains(folder))
        };
        event.need_rescan() || (!looked_at && event.paths.iter().any(ours))
    }
}

fn complain(error: &notify::Error) {
    tracing::warn!(
        "the kernel does not report changes ({error}; see fs.inotify.max_user_instances and max_user_watches): the \
        configuration's files are checked every second"
    );
}
