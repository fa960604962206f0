//! What loading a configuration has read, by which it is known later whether anything is different.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{MAX_RECORDS_BYTES, read};

/// A hash of a file's content, or of the names in a folder; `None` if it can't be read.
type Content = Option<u64>;

/// The files and folders that were read, those that could not be read included. Loading depends on nothing else that changes,
/// so as long as these are as they were, it would have the same result.
///
/// Each is noted before it is read: a change between the two is then taken for one that came later, and not missed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    files: BTreeMap<PathBuf, Content>,
    folders: BTreeMap<PathBuf, Content>,
}

impl Seen {
    /// Notes a file with its present content, unless it is known.
    pub fn file(&mut self, path: &Path) {
        if !self.files.contains_key(path) {
            self.files.insert(path.to_owned(), content(path));
        }
    }

    /// Notes a folder with its present names, unless it is known.
    pub fn folder(&mut self, path: &Path) {
        if !self.folders.contains_key(path) {
            self.folders.insert(path.to_owned(), names(path));
        }
    }

    /// Adds what was seen by others, unless it is known.
    pub fn extend(&mut self, other: Seen) {
        for (path, content) in other.files {
            self.files.entry(path).or_insert(content);
        }
        for (path, names) in other.folders {
            self.folders.entry(path).or_insert(names);
        }
    }

    /// The paths of the files, sorted.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.keys()
    }

    /// The paths of the folders, sorted.
    pub fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.folders.keys()
    }

    /// Whether there is such a file here.
    pub fn has_file(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    /// Whether every file has the content that it had.
    pub fn has_same_files(&self) -> bool {
        self.files.iter().all(|(file, before)| content(file) == *before)
    }

    /// Looks into the folders again. Returns whether all have the names that they had.
    pub fn follow_folders(&mut self) -> bool {
        let mut same = true;
        for (folder, before) in &mut self.folders {
            let now = names(folder);
            same &= std::mem::replace(before, now) == now;
        }
        same
    }
}

fn content(path: &Path) -> Content {
    read(path, MAX_RECORDS_BYTES).ok().map(|bytes| xxh3_64(&bytes))
}

fn names(folder: &Path) -> Content {
    let mut names = super::names(folder).ok()?;
    names.sort();
    let mut hasher = Xxh3::new();
    for (name, is_folder) in &names {
        hasher.update(name.as_bytes());
        // Separators that can't occur in names.
        hasher.update(if *is_folder { b"/" } else { b"\0" });
    }
    Some(hasher.digest())
}
