//! Reads the files that a configuration names: regular files only, without waiting for any, and never beyond a bound.
//!
//! A pipe without a writer, a terminal or `/dev/zero` would otherwise stop whoever reads it, for good.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{Mode, OFlags};

mod seen;

pub use self::seen::Seen;

/// The most bytes of a file, unless its kind has a bound of its own.
pub const MAX_BYTES: usize = 16 << 20;
/// The most bytes of a file that holds records: samples of delays, and recordings.
pub const MAX_RECORDS_BYTES: usize = 64 << 20;

/// The most names of a folder.
pub const MAX_NAMES: usize = 100_000;

/// The files that one configuration names besides its YAML. What is read is kept until loading ends, since thousands of rules
/// may name the same file.
#[derive(Debug, Default)]
pub struct Named {
    read: RefCell<BTreeMap<PathBuf, Bytes>>,
    seen: RefCell<Seen>,
    /// The only files that may be read; `None`: any.
    only: Option<BTreeSet<PathBuf>>,
}

impl Named {
    /// Only these files: whoever writes this configuration may not read others of this machine.
    pub fn only(files: impl IntoIterator<Item = PathBuf>) -> Named {
        Named {
            only: Some(files.into_iter().collect()),
            ..Named::default()
        }
    }

    /// Notes files that are read elsewhere, and not before this.
    pub fn note(&self, paths: impl IntoIterator<Item = PathBuf>) {
        let mut seen = self.seen.borrow_mut();
        for path in paths {
            seen.file(&path);
        }
    }

    /// Reads a file as [`read`] does, once.
    ///
    /// # Errors
    /// Those of [`read`], or that this file can't be read here.
    pub fn read(&self, path: &Path, max_bytes: usize) -> io::Result<Bytes> {
        match &self.only {
            None => {}
            Some(only) if only.contains(path) => {}
            Some(only) => {
                let message = if only.is_empty() {
                    "no files can be read here"
                } else {
                    "only files that rules of the configuration file name can be read here"
                };
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
            }
        }
        let known = self.read.borrow().get(path).cloned();
        if let Some(bytes) = known {
            return if bytes.len() > max_bytes {
                Err(too_large(max_bytes))
            } else {
                Ok(bytes)
            };
        }
        self.note([path.to_owned()]);
        let bytes = Bytes::from(read(path, max_bytes)?);
        self.read.borrow_mut().insert(path.to_owned(), bytes.clone());
        Ok(bytes)
    }

    /// What was read, and what was noted.
    pub fn into_seen(self) -> Seen {
        self.seen.into_inner()
    }
}

/// Reads a regular file, or a link to one.
///
/// # Errors
/// As the file system says; it is not a regular file; it has more than `max_bytes`.
pub fn read(path: &Path, max_bytes: usize) -> io::Result<Vec<u8>> {
    // Before it is opened too, since opening a device may do something.
    regular(&path.metadata().map_err(in_words)?)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    let file = File::from(opened.map_err(|error| in_words(error.into()))?);
    let found = file.metadata()?;
    regular(&found)?;
    if found.len() > max_bytes as u64 {
        return Err(too_large(max_bytes));
    }
    read_at_most(file, max_bytes)
}

/// Reads a stream to its end, and waits for it.
///
/// # Errors
/// As the operating system says; it has more than `max_bytes`.
pub fn read_at_most(stream: impl io::Read, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more, which tells that there are too many.
    stream
        .take((max_bytes as u64).saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() > max_bytes {
        return Err(too_large(max_bytes));
    }
    Ok(bytes)
}

/// Lists the names in a folder, in any order, each with whether it is a folder: at most [`MAX_NAMES`]. A link to a folder
/// counts as a file.
///
/// # Errors
/// As the file system says.
pub fn names(folder: &Path) -> io::Result<Vec<(String, bool)>> {
    let here = folder.as_os_str().is_empty().then_some(Path::new("."));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(here.unwrap_or(folder))?.take(MAX_NAMES) {
        let entry = entry?;
        // Patterns are UTF-8 and can't match a name that is not.
        if let Ok(name) = entry.file_name().into_string() {
            names.push((name, entry.file_type()?.is_dir()));
        }
    }
    Ok(names)
}

/// Whether a path names an open descriptor of this process that is not a regular file: `/dev/stdin`, or the `/dev/fd/63` of
/// a shell's `<(…)`. It can be read, but only once.
pub fn is_stream(path: &Path) -> bool {
    let mut parts = path.components().filter_map(|part| match part {
        Component::Normal(part) => part.to_str(),
        _ => None,
    });
    let names = [parts.next(), parts.next(), parts.next()];
    let is_descriptor = matches!(
        names,
        [Some("dev"), Some("stdin" | "fd"), _] | [Some("proc"), Some("self"), Some("fd")]
    );
    is_descriptor && path.is_absolute() && path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir())
}

fn in_words(error: io::Error) -> io::Error {
    let words = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file",
        io::ErrorKind::PermissionDenied => "permission denied",
        _ => return error,
    };
    io::Error::new(error.kind(), words)
}

fn regular(found: &Metadata) -> io::Result<()> {
    let kind = found.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a folder, not a file",
        ));
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    let message = format!("it is {what}, and only a regular file can be read");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

fn too_large(max_bytes: usize) -> io::Error {
    let message = format!("it is larger than {} MiB", max_bytes >> 20);
    io::Error::new(io::ErrorKind::FileTooLarge, message)
}

#[cfg(test)]
mod tests;
