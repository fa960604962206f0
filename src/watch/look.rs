//! Detects changes in what the last load has read.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::kernel::{Interest, Kernel};
use super::way::Way;
use crate::config::load::{Disk, Start, load_tree};
use crate::files::Seen;

/// Detects changes in a configuration's files.
#[derive(Debug)]
pub(super) struct Eye {
    main: PathBuf,
    /// What the last load has read.
    loaded: Arc<Seen>,
    /// The same, with the names that its folders have by now.
    known: Seen,
    kernel: Kernel,
}

impl Eye {
    /// Has not looked yet.
    ///
    /// # Errors
    /// `main` is not a regular file, such as a pipe, which can't be read twice.
    pub(super) fn open(main: PathBuf, loaded: Arc<Seen>, kernel: Kernel) -> io::Result<Eye> {
        if !main.metadata()?.is_file() {
            let message = format!("{} is not a regular file", main.display());
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        Ok(Eye {
            main,
            known: Seen::clone(&loaded),
            loaded,
            kernel,
        })
    }

    /// Whether the kernel reports changes.
    pub(super) fn is_told(&self) -> bool {
        self.kernel.tells()
    }

    /// Whether loading would read anything else than it last did, which was `loaded`.
    pub(super) fn look(&mut self, loaded: &Arc<Seen>) -> bool {
        if !Arc::ptr_eq(&self.loaded, loaded) {
            self.known = Seen::clone(loaded);
            self.loaded = Arc::clone(loaded);
        }
        // Before reading, so that no change between reading and watching is missed.
        self.listen();
        !self.known.has_same_files() || !self.known.follow_folders() && self.finds_another_file()
    }

    /// Whether a glob matches a file that the last load has not read.
    fn finds_another_file(&self) -> bool {
        let disk = Disk::default();
        // Errors are reported by the reload.
        drop(load_tree(Start::Path(&self.main), &disk, &|name| {
            std::env::var(name).ok()
        }));
        disk.into_seen().files().any(|file| !self.known.has_file(file))
    }

    /// Updates the kernel's watches to the files and the paths to them, which may have changed.
    fn listen(&mut self) {
        if !self.kernel.tells() {
            return;
        }
        let mut interest = Interest::default();
        for file in self.known.files() {
            interest.names.extend(Way::to(file).names);
        }
        for folder in self.known.folders() {
            let way = Way::to(folder);
            interest.names.extend(way.names);
            interest.folders.insert(way.end);
        }
        self.kernel.watch(interest);
    }
}
