//! Being told by the kernel (inotify) that something happened.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::RwLock;
use tokio::sync::Notify;

/// What events are about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Interest {
    /// Names, as folder and name, whose own events count.
    pub(super) names: HashSet<PathBuf>,
    /// Folders in which every name counts.
    pub(super) folders: HashSet<PathBuf>,
}

/// Folders that the kernel watches for us.
#[derive(Debug)]
pub(super) struct Kernel {
    watcher: Option<RecommendedWatcher>,
    interest: Arc<RwLock<Interest>>,
    watched: BTreeSet<PathBuf>,
    wake: Arc<Notify>,
}

impl Kernel {
    /// Wakes whenever something happens. Where inotify can't be had, it says so in the log and never wakes by itself.
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

    /// One that is never told.
    #[cfg(test)]
    pub(super) fn deaf(wake: Arc<Notify>) -> Kernel {
        Kernel {
            watcher: None,
            interest: Arc::default(),
            watched: BTreeSet::new(),
            wake,
        }
    }

    /// Whether the kernel tells of changes.
    pub(super) fn tells(&self) -> bool {
        self.watcher.is_some()
    }

    /// Watches the folders of `interest` and no others, and wakes if there are new ones: what happened in them before
    /// was not told. Folders are asked for again each time, as one of the same name may have taken a folder's place.
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
            // It may have been deleted, and its watch with it.
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
                // A folder that is missing is told of by the one above it, and one that we may not read is looked at
                // from time to time.
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
            // We read the files ourselves.
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
