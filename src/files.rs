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

/// The most bytes of a file, unless its kind has a bound of its own.
pub const MAX_BYTES: usize = 16 << 20;
/// The most bytes of a file that holds records: samples of delays, and recordings.
pub const MAX_RECORDS_BYTES: usize = 64 << 20;

/// The files that one configuration names besides its YAML. What is read is kept until loading ends, since thousands of rules
/// may name the same file.
#[derive(Debug, Default)]
pub struct Named {
    read: RefCell<BTreeMap<PathBuf, Option<Bytes>>>,
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

    /// Notes files that are read elsewhere.
    pub fn note(&self, paths: impl IntoIterator<Item = PathBuf>) {
        let mut read = self.read.borrow_mut();
        for path in paths {
            read.entry(path).or_default();
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
        let known = self.read.borrow().get(path).cloned().flatten();
        if let Some(bytes) = known {
            return if bytes.len() > max_bytes {
                Err(too_large(max_bytes))
            } else {
                Ok(bytes)
            };
        }
        // Noted before it can fail, so that a correction is noticed.
        self.note([path.to_owned()]);
        let bytes = Bytes::from(read(path, max_bytes)?);
        self.read.borrow_mut().insert(path.to_owned(), Some(bytes.clone()));
        Ok(bytes)
    }

    /// The paths of all of them, sorted.
    pub fn into_paths(self) -> Vec<PathBuf> {
        self.read.into_inner().into_keys().collect()
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
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    const MIB: usize = 1 << 20;

    #[track_caller]
    fn check(path: &Path, expect: Result<&str, &str>) {
        let read = read(path, MIB).map_err(|error| error.to_string());
        let read = read.as_deref().map_err(String::as_str);
        assert_eq!(read, expect.map(str::as_bytes), "{}", path.display());
    }

    #[test]
    fn only_regular_files_are_read_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "content").unwrap();
        check(&at("file"), Ok("content"));
        check(folder.path(), Err("it is a folder, not a file"));
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        check(&at("pipe"), Err("it is a pipe, and only a regular file can be read"));
        symlink("pipe", at("link to a pipe")).unwrap();
        check(
            &at("link to a pipe"),
            Err("it is a pipe, and only a regular file can be read"),
        );
        let _listener = UnixListener::bind(at("socket")).unwrap();
        check(
            &at("socket"),
            Err("it is a socket, and only a regular file can be read"),
        );
        for device in ["/dev/zero", "/dev/null", "/dev/tty"] {
            check(
                Path::new(device),
                Err("it is a device, and only a regular file can be read"),
            );
        }
        symlink("loop", at("loop")).unwrap();
        assert!(read(&at("loop"), MIB).is_err());
        assert_eq!(read(&at("none"), MIB).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// Kubernetes mounts a ConfigMap as links over `..data`, which it replaces.
    #[test]
    fn links_of_a_config_map_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("..2026")).unwrap();
        std::fs::write(at("..2026/squall.yaml"), "seed: 1").unwrap();
        symlink("..2026", at("..data")).unwrap();
        symlink("..data/squall.yaml", at("squall.yaml")).unwrap();
        check(&at("squall.yaml"), Ok("seed: 1"));
    }

    #[test]
    fn sizes_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![b'x'; MIB]).unwrap();
        assert_eq!(read(&path, MIB).unwrap().len(), MIB);
        File::options()
            .append(true)
            .open(&path)
            .unwrap()
            .set_len(MIB as u64 + 1)
            .unwrap();
        check(&path, Err("it is larger than 1 MiB"));
        // A sparse file of a terabyte takes no room, but reading it would.
        File::options()
            .append(true)
            .open(&path)
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        check(&path, Err("it is larger than 1 MiB"));
        assert!(
            read_at_most(io::repeat(0), MIB)
                .unwrap_err()
                .to_string()
                .contains("1 MiB")
        );
    }

    #[test]
    fn a_named_file_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("file"), folder.path().join("other"));
        std::fs::write(&path, "content").unwrap();
        let named = Named::default();
        named.note([other.clone()]);
        assert_eq!(named.read(&path, MIB).unwrap(), "content");
        std::fs::write(&path, "changed").unwrap();
        assert_eq!(named.read(&path, MIB).unwrap(), "content");
        assert!(named.read(&path, 1).unwrap_err().to_string().contains("larger"));
        assert!(named.read(&other, MIB).is_err());
        assert_eq!(named.into_paths(), [path, other]);
    }

    #[test]
    fn descriptors_are_streams_unless_they_are_files() {
        let (reader, _writer) = io::pipe().unwrap();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&reader);
        assert!(is_stream(Path::new(&format!("/dev/fd/{descriptor}"))));
        assert!(is_stream(Path::new(&format!("/proc/self/fd/{descriptor}"))));
        let file = tempfile::tempfile().unwrap();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file);
        assert!(!is_stream(Path::new(&format!("/dev/fd/{descriptor}"))));
        for other in [
            "/dev/zero",
            "/dev",
            "dev/stdin",
            "/dev/fd",
            "/proc/self/fd/",
            "squall.yaml",
        ] {
            assert!(!is_stream(Path::new(other)), "{other}");
        }
    }
}
