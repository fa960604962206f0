//! The file that tells other programs that squall is ready, and where.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::server::Server;

/// What the file says.
#[derive(Serialize)]
struct Addresses<'a> {
    admin: &'a str,
    listeners: BTreeMap<&'a str, &'a str>,
}

/// A file that is there for as long as squall is ready. Dropping it removes the file.
#[derive(Debug)]
pub(super) struct ReadyFile(PathBuf);

impl ReadyFile {
    /// Removes what an earlier process may have left behind, before anybody takes it for this one's.
    ///
    /// # Errors
    /// As the file system says.
    pub(super) fn announced(path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes the addresses, with the system's choice in place of port 0. The file appears as a whole.
    ///
    /// # Errors
    /// As the file system says.
    pub(super) fn write(path: PathBuf, server: &Server, admin: &str) -> io::Result<ReadyFile> {
        let open = server.addresses();
        let listeners = open.iter().map(|(name, address)| (&**name, address.as_str())).collect();
        let text = serde_json::to_string(&Addresses { admin, listeners })?;
        let mut part = path.clone().into_os_string();
        part.push(format!(".{}", std::process::id()));
        std::fs::write(&part, text + "\n")?;
        std::fs::rename(&part, &path)?;
        Ok(ReadyFile(path))
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        // It may have been removed already, with its folder.
        let _gone = std::fs::remove_file(&self.0);
    }
}
