//! Detects changes: which files a configuration has, and the hashes of their contents.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::kernel::{Interest, Kernel};
use super::way::Way;
use crate::config::load::{Disk, Files, Start, load_tree};
use crate::files;

/// A hash of a file's content; `None` if it can't be read.
type Content = Option<u64>;

/// Detects changes in a configuration's files.
#[derive(Debug)]
pub(super) struct Eye {
    main: PathBuf,
    /// Files that the configuration names besides its YAML.
    others: BTreeMap<PathBuf, Content>,
    tree: Tree,
    kernel: Kernel,
}

/// The files and folders that loading the YAML touched.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tree {
    files: BTreeMap<PathBuf, Content>,
    /// The folders that globs were expanded in, with a hash of their names.
    folders: BTreeMap<PathBuf, Content>,
}

/// Fails if `main` is not a regular file, such as a pipe, which can't be read twice.
pub(super) fn check(main: &Path) -> io::Result<()> {
    if main.metadata()?.is_file() {
        return Ok(());
    }
    let message = format!("{} is not a regular file", main.display());
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}

impl Eye {
    /// Takes a first look at the files.
    ///
    /// # Errors
    /// `main` is not a regular file, such as a pipe, which can't be read twice.
    pub(super) fn open(main: PathBuf, others: Vec<PathBuf>, kernel: Kernel) -> io::Result<Eye> {
        check(&main)?;
        let mut eye = Eye {
            tree: Tree::walk(&main),
            main,
            others: BTreeMap::new(),
            kernel,
        };
        eye.also(others);
        eye.listen();
        Ok(eye)
    }

    /// Whether the kernel reports changes.
    pub(super) fn is_told(&self) -> bool {
        self.kernel.tells()
    }

    /// The files that are watched.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.tree.files.keys().chain(self.others.keys()).cloned().collect()
    }

    /// Replaces the other files. Their present contents don't count as a change.
    pub(super) fn also(&mut self, others: Vec<PathBuf>) {
        let mut known = std::mem::take(&mut self.others);
        for file in others.into_iter().filter(|file| !self.tree.files.contains_key(file)) {
            let content = known.remove(&file).unwrap_or_else(|| content(&file));
            self.others.insert(file, content);
        }
    }

    /// Looks again. Returns whether a file has changed, appeared or disappeared.
    pub(super) fn look(&mut self) -> bool {
        // Before reading, so that no change between reading and watching is missed.
        self.listen();
        let mut changed = false;
        for (file, before) in &mut self.others {
            let now = content(file);
            changed |= std::mem::replace(before, now) != now;
        }
        if !self.tree.is_current() {
            // Loading it shows which files it names now.
            let tree = Tree::walk(&self.main);
            changed |= tree.files != self.tree.files;
            self.tree = tree;
            self.listen();
        }
        changed
    }

    /// Updates the kernel's watches to the files and the paths to them, which may have changed.
    fn listen(&mut self) {
        if !self.kernel.tells() {
            return;
        }
        let mut interest = Interest::default();
        for file in self.tree.files.keys().chain(self.others.keys()) {
            interest.names.extend(Way::to(file).names);
        }
        for folder in self.tree.folders.keys() {
            let way = Way::to(folder);
            interest.names.extend(way.names);
            interest.folders.insert(way.end);
        }
        self.kernel.watch(interest);
    }
}

impl Tree {
    fn walk(main: &Path) -> Tree {
        let noting = Noting::default();
        if !noting.read(main).is_ok_and(|bytes| stands_alone(&bytes)) {
            // Errors are reported by the reload.
            drop(load_tree(Start::Path(main), &noting, &|name| std::env::var(name).ok()));
        }
        noting.0.into_inner()
    }

    fn is_current(&self) -> bool {
        self.files.iter().all(|(file, before)| content(file) == *before)
            && self
                .folders
                .iter()
                .all(|(folder, before)| names(&Disk.list(folder)) == *before)
    }
}

/// Whether a file includes no other, seen without parsing it: that takes as long as loading, and as much memory. A key could
/// be written with escapes, so a file with backslashes may include others.
fn stands_alone(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| !text.contains("include") && !text.contains('\\'))
}

/// The real file system, which records what is read.
#[derive(Debug, Default)]
struct Noting(RefCell<Tree>);

impl Files for Noting {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let read = Disk.read(path);
        self.0.borrow_mut().files.insert(path.to_owned(), in_short(&read));
        read
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<(String, bool)>> {
        let listed = Disk.list(folder);
        self.0.borrow_mut().folders.insert(folder.to_owned(), names(&listed));
        listed
    }
}

fn content(path: &Path) -> Content {
    in_short(&files::read(path, files::MAX_RECORDS_BYTES))
}

fn in_short(read: &io::Result<Vec<u8>>) -> Content {
    read.as_ref().ok().map(|bytes| xxh3_64(bytes))
}

fn names(listed: &io::Result<Vec<(String, bool)>>) -> Content {
    let mut names: Vec<&(String, bool)> = listed.as_ref().ok()?.iter().collect();
    names.sort();
    let mut hasher = Xxh3::new();
    for (name, is_folder) in names {
        hasher.update(name.as_bytes());
        // Separators that can't occur in names.
        hasher.update(if *is_folder { b"/" } else { b"\0" });
    }
    Some(hasher.digest())
}
