//! What building a fake may look at.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use crate::yaml::report::{Diagnostic, Span};

/// What building a fake may look at besides its own settings.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// Where generated data comes from: the same seed gives the same names, texts and identifiers.
    pub seed: u64,
    /// Where rows live. A fake without rows (`echo`) ignores it.
    pub store: Store,
    /// The folder that relative paths start from: the one of the file in which the fake stands.
    pub folder: &'a Path,
    /// Where the fake is written: the place of mistakes that have none of their own.
    pub place: Span,
    /// What is odd about the fake without keeping it from being built.
    pub warnings: RefCell<Vec<Diagnostic>>,
}

impl Context<'_> {
    /// Notes something that its author should know, though the fake can be built.
    pub(super) fn warn(&self, warning: Diagnostic) {
        self.warnings.borrow_mut().push(warning);
    }
}

/// Where a fake keeps its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// In memory: gone with the router.
    Memory,
    /// In an SQLite file, made and filled if it is not there yet. A row is in the file before the reply that
    /// acknowledges it is sent, so it survives a `kill -9`. One process at a time; within a process all routers on the
    /// same file share it.
    File(PathBuf),
}
