//! The rows, in SQLite.
//!
//! One connection, used by one request at a time on a blocking thread: requests queue for it without holding a thread.
//! What is asked for most needs no connection at all: counts are kept beside the rows in one atomic word, and rendered
//! lists are kept until the next write. Both change under the connection's lock, before the write is acknowledged, so
//! that a client whose write was acknowledged sees its effect.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use axum::response::Response;
use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params_from_iter};
use serde::Serialize;

use super::todos::Todo;
use super::users::User;
use super::validate::Fields;
use super::{data, dates};
use crate::fake::context::Store;
use crate::fake::store::{self, OpenFiles, StoreError, sql_value};

/// Rendered lists up to this many bytes are kept for the next reader.
const KEEP_LIST_BYTES: usize = 1024 * 1024;

/// `user_version` of a filled database.
const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE todos (
        todoId TEXT PRIMARY KEY, title TEXT, description TEXT, isComplete INTEGER NOT NULL, dateDue TEXT,
        dateCreate TEXT, dateUpdate TEXT, dateComplete TEXT, userId TEXT);
    CREATE TABLE users (
        userId TEXT PRIMARY KEY, firstName TEXT, lastName TEXT, title TEXT, company TEXT, address TEXT, city TEXT,
        country TEXT, postal TEXT, email TEXT, website TEXT, password TEXT, description TEXT, dateCreate TEXT,
        isActive INTEGER NOT NULL, isSuperuser INTEGER NOT NULL);";

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// Filling it would mix up somebody's data.
    #[error("it is a database of another application")]
    Foreign,
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// What can be a row of a table.
pub(super) trait Record: Serialize + Send + Sized + 'static {
    const TABLE: &'static str;
    /// All columns, the identifier first. They are named as the fields of the row in JSON are.
    const COLUMNS: &'static str;
    const ID: &'static str;
    /// The boolean column that lists and counts can be narrowed by.
    const FLAG: &'static str;
    /// Sets the flag to what "finished" means: a todo is complete, a user is not active. `?1` is the identifier, `?2`
    /// the time.
    const FINISH: &'static str;
    /// The flag's value after that.
    const FINISHED: bool;
    /// The query parameter that narrows lists and counts by the flag.
    const FLAG_PARAMETER: &'static str;
    /// Whether lists come in pages where a version has pages.
    const PAGED: bool;
    /// What bodies call a row.
    const BODY: &'static str;

    fn read(row: &Row<'_>) -> rusqlite::Result<Self>;
    fn flag(&self) -> bool;
    /// A new row from the fields of a body.
    fn new(id: String, fields: &mut Fields) -> Self;
    /// The response to a request for a row.
    fn found(id: &str, row: Option<Self>) -> Response;
    /// The response to a request that finishes a row.
    fn finished(id: &str) -> Response;
}

/// Both tables.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) todos: Table<Todo>,
    pub(super) users: Table<User>,
}

/// The files that are open in this process. Two routers on the same file, as before and after a reload of the
/// configuration, must share the counts.
static OPEN_FILES: LazyLock<OpenFiles<Tables>> = LazyLock::new(OpenFiles::default);

impl Tables {
    /// Opens the database and fills an empty one with what `seed` gives.
    pub(super) fn open(store: &Store, seed: u64) -> Result<Arc<Self>, OpenError> {
        let Store::File(path) = store else {
            return Self::prepare(store, seed);
        };
        OPEN_FILES.get(path, |_| Self::prepare(store, seed))
    }

    fn prepare(store: &Store, seed: u64) -> Result<Arc<Self>, OpenError> {
        let rows = store::Database::open(store)?;
        let (todos, users) = rows.now(|connection| {
            fill(connection, seed)?;
            Ok::<_, OpenError>((Shared::load::<Todo>(connection)?, Shared::load::<User>(connection)?))
        })?;
        Ok(Arc::new(Self {
            todos: Table::new(rows.clone(), todos),
            users: Table::new(rows, users),
        }))
    }
}

/// All or nothing, also if the process dies on the way.
fn fill(connection: &mut Connection, seed: u64) -> Result<(), OpenError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == SCHEMA_VERSION {
        return Ok(());
    }
    let others: i64 = transaction.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    if version != 0 || others != 0 {
        return Err(OpenError::Foreign);
    }
    transaction.execute_batch(SCHEMA)?;
    for user in data::users(seed) {
        insert(&transaction, user)?;
    }
    for todo in data::todos(seed) {
        insert(&transaction, todo)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()?;
    Ok(())
}

fn insert<R: Record>(connection: &Connection, record: R) -> rusqlite::Result<()> {
    let row = to_json(serde_json::to_value(&record))?;
    let columns = R::COLUMNS.split(", ");
    let values: Vec<_> = columns
        .map(|column| row.get(column).map_or(Value::Null, sql_value))
        .collect();
    let marks = vec!["?"; values.len()].join(",");
    let sql = format!("INSERT INTO {} ({}) VALUES ({marks})", R::TABLE, R::COLUMNS);
    connection.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    Ok(())
}

/// One table and what is known of it without asking.
#[derive(Debug)]
pub(super) struct Table<R> {
    rows: store::Database,
    shared: Arc<Shared>,
    record: PhantomData<fn() -> R>,
}

#[derive(Debug)]
struct Shared {
    /// All rows in the upper half, rows with the flag in the lower: one word, so that no reader sees a half-done write.
    tally: AtomicU64,
    /// The rendered list of all rows, of those with the flag, and of those without.
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    all: Option<Bytes>,
    set: Option<Bytes>,
    unset: Option<Bytes>,
}

const ONE_ROW: u64 = 1 << 32;

impl Shared {
    fn load<R: Record>(connection: &Connection) -> rusqlite::Result<Self> {
        let sql = format!("SELECT count(*), coalesce(sum({}), 0) FROM {}", R::FLAG, R::TABLE);
        let (rows, set): (u32, u32) = connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let tally = AtomicU64::new(u64::from(rows) << 32 | u64::from(set));
        Ok(Self {
            tally,
            lists: Mutex::default(),
        })
    }

    fn count(&self, flag: Option<bool>) -> u32 {
        let tally = self.tally.load(Ordering::Acquire);
        #[expect(clippy::cast_possible_truncation, reason = "the halves of the word")]
        let (rows, set) = ((tally >> 32) as u32, tally as u32);
        match flag {
            None => rows,
            Some(true) => set,
            Some(false) => rows.saturating_sub(set),
        }
    }

    /// Called by the holder of the connection only.
    fn changed(&self, change: impl FnOnce(u64) -> u64) {
        *self.lists.lock() = Lists::default();
        // A load and a store lose no change, because only the holder of the connection writes.
        self.tally
            .store(change(self.tally.load(Ordering::Acquire)), Ordering::Release);
    }
}

impl Lists {
    fn slot(&mut self, flag: Option<bool>) -> &mut Option<Bytes> {
        match flag {
            None => &mut self.all,
            Some(true) => &mut self.set,
            Some(false) => &mut self.unset,
        }
    }
}

impl<R: Record> Table<R> {
    fn new(rows: store::Database, shared: Shared) -> Self {
        Self {
            rows,
            shared: Arc::new(shared),
            record: PhantomData,
        }
    }

    /// How many rows there are: all, or those with this value of the flag. Never waits.
    pub(super) fn count(&self, flag: Option<bool>) -> u32 {
        self.shared.count(flag)
    }

    /// Some of the rows, oldest first, as a JSON array: `quantity` of them, after the first `offset`.
    pub(super) async fn page(&self, flag: Option<bool>, quantity: i64, offset: i64) -> Result<Bytes, StoreError> {
        self.run(move |connection, _| render::<R>(connection, flag, quantity, offset))
            .await
    }

    /// The rows, oldest first, as a JSON array.
    pub(super) async fn list(&self, flag: Option<bool>) -> Result<Bytes, StoreError> {
        let kept = self.shared.lists.lock().slot(flag).clone();
        if let Some(list) = kept {
            return Ok(list);
        }
        self.run(move |connection, shared| {
            let list = render::<R>(connection, flag, -1, 0)?;
            if list.len() <= KEEP_LIST_BYTES {
                *shared.lists.lock().slot(flag) = Some(list.clone());
            }
            Ok(list)
        })
        .await
    }

    /// One row.
    pub(super) async fn find(&self, id: &str) -> Result<Option<R>, StoreError> {
        let id = id.to_owned();
        self.run(move |connection, _| {
            let sql = format!("SELECT {} FROM {} WHERE {} = ?1", R::COLUMNS, R::TABLE, R::ID);
            let mut statement = connection.prepare_cached(&sql)?;
            Ok(statement.query_row([id], |row| R::read(row)).optional()?)
        })
        .await
    }

    /// Adds a row.
    pub(super) async fn create(&self, record: R) -> Result<(), StoreError> {
        self.run(move |connection, shared| {
            let set = u64::from(record.flag());
            insert(connection, record)?;
            shared.changed(|tally| tally + ONE_ROW + set);
            Ok(())
        })
        .await
    }

    /// Deletes a row; false if it is not there.
    pub(super) async fn delete(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.run(move |connection, shared| {
            let sql = format!("DELETE FROM {} WHERE {} = ?1 RETURNING {}", R::TABLE, R::ID, R::FLAG);
            let set: Option<bool> = connection
                .prepare_cached(&sql)?
                .query_row([id], |row| row.get(0))
                .optional()?;
            if let Some(set) = set {
                shared.changed(|tally| tally - ONE_ROW - u64::from(set));
            }
            Ok(set.is_some())
        })
        .await
    }

    /// Completes a todo or deactivates a user; false if it is not there.
    pub(super) async fn finish(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.run(move |connection, shared| {
            let sql = format!("SELECT {} FROM {} WHERE {} = ?1", R::FLAG, R::TABLE, R::ID);
            let before: Option<bool> = connection
                .prepare_cached(&sql)?
                .query_row([&id], |row| row.get(0))
                .optional()?;
            let Some(before) = before else { return Ok(false) };
            connection.prepare_cached(R::FINISH)?.execute([id, dates::now()])?;
            shared.changed(|tally| tally - u64::from(before) + u64::from(R::FINISHED));
            Ok(true)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.rows.run(move |connection| work(connection, &shared)).await
    }
}

/// A `quantity` below 0 is no limit.
fn render<R: Record>(
    connection: &Connection,
    flag: Option<bool>,
    quantity: i64,
    offset: i64,
) -> Result<Bytes, StoreError> {
    let narrow = if flag.is_some() {
        format!("WHERE {} = ?1", R::FLAG)
    } else {
        String::new()
    };
    let sql = format!(
        "SELECT {} FROM {} {narrow} ORDER BY rowid LIMIT {quantity} OFFSET {offset}",
        R::COLUMNS,
        R::TABLE
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(flag))?;
    let mut list = vec![b'['];
    while let Some(row) = rows.next()? {
        if list.len() > 1 {
            list.push(b',');
        }
        let row = R::read(row)?;
        to_json(serde_json::to_writer(&mut list, &row))?;
    }
    list.push(b']');
    Ok(list.into())
}

/// Rows can be written as JSON, so there is no error of SQLite's for it.
fn to_json<T>(result: serde_json::Result<T>) -> rusqlite::Result<T> {
    result.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

#[cfg(test)]
mod tests;
