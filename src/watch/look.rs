//! Looking at the files: which there are, and what they say.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::kernel::{Interest, Kernel};
use super::way::Way;
use crate::config::load::{Disk, Files, Start, load_tree};

/// What a file says, in short; `None` where it cannot be read.
type Content = Option<u64>;

/// Looks at a configuration's files.
#[derive(Debug)]
pub(super) struct Eye {
    main: PathBuf,
    /// Files that the configuration needs and that are no YAML of its own.
    others: BTreeMap<PathBuf, Content>,
    tree: Tree,
    kernel: Kernel,
}

/// What loading the YAML has touched.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tree {
    files: BTreeMap<PathBuf, Content>,
    /// The folders that globs were looked up in, with their names in short.
    folders: BTreeMap<PathBuf, Content>,
}

impl Eye {
    /// Has a first look.
    ///
    /// # Errors
    /// `main` is no regular file: what a pipe says can't be read twice.
    pub(super) fn open(main: PathBuf, others: Vec<PathBuf>, kernel: Kernel) -> io::Result<Eye> {
        if !main.metadata()?.is_file() {
            let message = format!("{} is not a regular file", main.display());
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
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

    /// Whether the kernel tells of changes.
    pub(super) fn is_told(&self) -> bool {
        self.kernel.tells()
    }

    /// The files that are watched.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.tree.files.keys().chain(self.others.keys()).cloned().collect()
    }

    /// Replaces the other files. What they say now is not a change.
    pub(super) fn also(&mut self, others: Vec<PathBuf>) {
        let mut known = std::mem::take(&mut self.others);
        for file in others.into_iter().filter(|file| !self.tree.files.contains_key(file)) {
            let content = known.remove(&file).unwrap_or_else(|| content(&file));
            self.others.insert(file, content);
        }
    }

    /// Looks again. Whether a file says something else, or has come or gone.
    pub(super) fn look(&mut self) -> bool {
        // First, so that nothing can happen unseen between the reading and the watching.
        self.listen();
        let mut changed = false;
        for (file, before) in &mut self.others {
            let now = content(file);
            changed |= std::mem::replace(before, now) != now;
        }
        if !self.tree.is_current() {
            // Reading it as loading does tells which files it names now.
            let tree = Tree::walk(&self.main);
            changed |= tree.files != self.tree.files;
            self.tree = tree;
            self.listen();
        }
        changed
    }

    /// Has the kernel tell of the files and of the ways to them, which may have changed since.
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
        // What is wrong with it is for the reload to say.
        drop(load_tree(Start::Path(main), &noting, &|name| std::env::var(name).ok()));
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

/// The real file system, noting what is asked of it.
#[derive(Debug, Default)]
struct Noting(RefCell<Tree>);

impl Files for Noting {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let read = read(path);
        self.0.borrow_mut().files.insert(path.to_owned(), in_short(&read));
        read
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<(String, bool)>> {
        let listed = Disk.list(folder);
        self.0.borrow_mut().folders.insert(folder.to_owned(), names(&listed));
        listed
    }
}

/// Only of regular files: opening a pipe would wait for its writer.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path.metadata()?.is_file() {
        Disk.read(path)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

fn content(path: &Path) -> Content {
    in_short(&read(path))
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
        // A name can hold neither of these.
        hasher.update(if *is_folder { b"/" } else { b"\0" });
    }
    Some(hasher.digest())
}
