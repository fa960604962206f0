//! SQLite for fakes that keep rows: one connection for each database, used by one piece of work at a time on a blocking
//! thread. Requests queue for it without holding a thread.
//!
//! Opening the same file again in this process, as after a reload of the configuration, shares the connection.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;
use rusqlite::Connection;
use rusqlite::types::Value as Sql;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::fake::context::Store;

/// The most that a database may grow to, in pages of 4 KiB: 256 MiB. Then rows can't be added until some are deleted.
const MAX_PAGES: u32 = 65_536;

/// Why the work failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// No room is left.
    #[error("the store is full")]
    Full,
    #[error(transparent)]
    Sqlite(rusqlite::Error),
    #[error("the operation was cancelled: the process is stopping")]
    Stopped,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            _ => Self::Sqlite(error),
        }
    }
}

/// A database that is open.
#[derive(Debug, Clone)]
pub(super) struct Database {
    open: Arc<Open>,
}

#[derive(Debug)]
struct Open {
    connection: Mutex<Connection>,
    /// Whose turn it is.
    turn: Arc<Semaphore>,
}

/// What is open in this process, by file.
pub(super) struct OpenFiles<T>(Mutex<HashMap<PathBuf, Weak<T>>>);

impl<T> Default for OpenFiles<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> OpenFiles<T> {
    /// What is open for a file; `open` opens it, by its absolute path, if nothing is.
    pub(super) fn get<E>(&self, path: &Path, open: impl FnOnce(&Path) -> Result<Arc<T>, E>) -> Result<Arc<T>, E> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut files = self.0.lock();
        files.retain(|_, open| open.strong_count() > 0);
        if let Some(open) = files.get(&path).and_then(Weak::upgrade) {
            return Ok(open);
        }
        let opened = open(&path)?;
        files.insert(path, Arc::downgrade(&opened));
        Ok(opened)
    }
}

static OPEN_FILES: LazyLock<OpenFiles<Open>> = LazyLock::new(OpenFiles::default);

impl Database {
    /// Opens a database, and makes the file if there is none.
    ///
    /// # Errors
    /// The file can't be used, or is no database.
    pub(super) fn open(store: &Store) -> rusqlite::Result<Self> {
        let open = match store {
            Store::Memory => prepare(Connection::open_in_memory()?),
            Store::File(path) => OPEN_FILES.get(path, open_file),
        };
        open.map(|open| Self { open })
    }

    /// Works at once, on this thread: for the time before the first request.
    pub(super) fn now<T>(&self, work: impl FnOnce(&mut Connection) -> T) -> T {
        work(&mut self.open.connection.lock())
    }

    /// Does the work when it is its turn. Work that has begun is finished, even if its caller is gone.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let open = Arc::clone(&self.open);
        let turn = Arc::clone(&open.turn).acquire_owned().await;
        let turn = turn.map_err(|_| StoreError::Stopped)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&mut open.connection.lock());
            drop(turn);
            result
        });
        done.await.map_err(|_| StoreError::Stopped)?
    }
}

fn open_file(path: &Path) -> rusqlite::Result<Arc<Open>> {
    let connection = Connection::open(path)?;
    // In WAL mode every commit is written before it returns, so it outlives the process. NORMAL saves the fsync
    // that only a power failure would need.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    prepare(connection)
}

fn prepare(connection: Connection) -> rusqlite::Result<Arc<Open>> {
    connection.pragma_update_and_check(None, "max_page_count", MAX_PAGES, |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(Arc::new(Open {
        connection: Mutex::new(connection),
        turn: Arc::new(Semaphore::new(1)),
    }))
}

/// What SQLite compares a JSON value with: what `json_extract` makes of it.
pub(super) fn sql_value(value: &Value) -> Sql {
    match value {
        Value::Null => Sql::Null,
        Value::Bool(flag) => Sql::Integer(i64::from(*flag)),
        Value::Number(number) => number
            .as_i64()
            .map(Sql::Integer)
            .or_else(|| number.as_f64().map(Sql::Real))
            .unwrap_or(Sql::Null),
        Value::String(text) => Sql::Text(text.clone()),
        Value::Array(_) | Value::Object(_) => Sql::Text(value.to_string()),
    }
}
