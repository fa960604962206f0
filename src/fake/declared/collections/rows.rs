//! The rows of collections in SQLite: for each collection a table of identifiers and JSON texts.
//!
//! A row is kept as it is sent, so a changed schema needs no migration. What the table `squall_collections` knows of
//! a collection tells whether its first rows were made, and which integer comes next: none is used twice.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use super::spec::IdKind;
use super::{Collection, RowProblem};
use crate::fake::made_up::dice::{Dice, Stream};
use crate::fake::made_up::fields;
use crate::fake::store::{StoreError, sql_value};

/// Why a collection can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrepareError {
    #[error("its table `{0}` was not created by squall")]
    Foreign(String),
    #[error("the stored rows of `{0}` have ids of another type: {1}")]
    OtherIds(String, String),
    #[error("the rows of `{0}` do not fit")]
    Full(String),
    /// By index.
    #[error("row {0}: {1}")]
    Row(usize, String),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// What a client wants changed.
pub(super) enum Change {
    Create(Map<String, Value>),
    Replace(Value, Map<String, Value>),
    Merge(Value, Map<String, Value>),
    Delete(Value),
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Done {
    /// Identifier and text of the new row.
    Created(Value, String),
    Changed(String),
    Deleted,
    Missing,
    /// It is not in the version that the client names.
    Other,
    Unfit(Vec<RowProblem>),
    /// The identifier or a unique field is taken.
    Taken(Vec<RowProblem>),
}

/// Makes the table and its first rows, all or nothing, unless they were made before.
pub(super) fn prepare(
    connection: &mut Connection,
    collection: &Collection,
    rows: Vec<Value>,
    generate: u32,
    seed: u64,
) -> Result<(), PrepareError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS squall_collections (name TEXT PRIMARY KEY, id TEXT NOT NULL, next INTEGER NOT NULL)",
    )?;
    let name = &collection.name;
    let kind = format!("{:?}", collection.id).to_lowercase();
    let known: Option<String> = transaction
        .query_row("SELECT id FROM squall_collections WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .optional()?;
    match known {
        Some(known) if known != kind => return Err(PrepareError::OtherIds(name.clone(), known)),
        Some(_) => {
            index(&transaction, collection)?;
            return Ok(transaction.commit()?);
        }
        None => {}
    }
    let sql = "SELECT count(*) FROM sqlite_master WHERE name = ?1 COLLATE NOCASE";
    if transaction.query_row(sql, [name], |row| row.get::<_, i64>(0))? > 0 {
        return Err(PrepareError::Foreign(name.clone()));
    }
    transaction.execute_batch(&format!(
        "CREATE TABLE \"{name}\" (seq INTEGER PRIMARY KEY AUTOINCREMENT, id UNIQUE NOT NULL, row TEXT NOT NULL)"
    ))?;
    transaction.execute("INSERT INTO squall_collections VALUES (?1, ?2, 1)", params![name, kind])?;
    index(&transaction, collection)?;
    fill(&transaction, collection, rows, generate, seed)?;
    Ok(transaction.commit()?)
}

/// What makes looking for a taken value quick.
fn index(transaction: &Transaction<'_>, collection: &Collection) -> rusqlite::Result<()> {
    let table = &collection.name;
    for field in collection.fields.iter().filter(|field| field.unique) {
        let name = &field.name;
        transaction.execute_batch(&format!(
            "CREATE INDEX IF NOT EXISTS \"squall_{table}_{name}\" ON \"{table}\" (json_extract(row, '$.\"{name}\"'))"
        ))?;
    }
    Ok(())
}

fn fill(
    transaction: &Transaction<'_>,
    collection: &Collection,
    rows: Vec<Value>,
    generate: u32,
    seed: u64,
) -> Result<(), PrepareError> {
    let key = seed ^ xxh3_64(collection.name.as_bytes());
    let made_up = (0..generate as usize).map(|index| {
        let mut dice = Dice::new(key, Stream::Rows, index as u64);
        let id = match collection.id {
            IdKind::Integer => None,
            IdKind::Uuid => Some(fields::uuid(&mut dice).to_string()),
            IdKind::String => Some(format!("{}-{}", collection.name, index + 1)),
        };
        let fields = collection.fields.iter();
        let fields = fields.map(|field| (field.name.clone(), field.made_up(index, &mut dice)));
        let id = id.map(|id| ("id".to_owned(), Value::from(id)));
        Value::Object(id.into_iter().chain(fields).collect())
    });
    let given = rows.len();
    for (index, row) in rows.into_iter().chain(made_up).enumerate() {
        let Value::Object(mut row) = row else { continue };
        if collection.id == IdKind::Uuid && !row.contains_key("id") {
            let mut dice = Dice::new(key, Stream::Rows, (1 << 40) + index as u64);
            row.insert("id".to_owned(), fields::uuid(&mut dice).to_string().into());
        }
        let problems = match create(transaction, collection, row) {
            Ok(Done::Unfit(problems) | Done::Taken(problems)) => problems,
            Ok(_) => continue,
            Err(StoreError::Sqlite(error)) => return Err(error.into()),
            Err(_) => return Err(PrepareError::Full(collection.name.clone())),
        };
        // Made-up rows without a match for a pattern, or beyond the values that a unique field may have, are left out.
        if index < given {
            let problems: Vec<_> = problems
                .iter()
                .map(|one| format!("`{}` {}", one.field, one.message))
                .collect();
            return Err(PrepareError::Row(index, problems.join(", ")));
        }
    }
    Ok(())
}

/// The text of a row.
pub(super) fn find(connection: &Connection, collection: &Collection, id: &Value) -> Result<Option<String>, StoreError> {
    let sql = format!("SELECT row FROM \"{}\" WHERE id = ?1", collection.name);
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row([sql_value(id)], |row| row.get(0)).optional()?)
}

/// Makes one change. It is committed when this returns.
pub(super) fn change(
    connection: &mut Connection,
    collection: &Collection,
    change: Change,
    wanted: Option<&str>,
) -> Result<Done, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = match change {
        Change::Create(row) => create(&transaction, collection, row)?,
        Change::Replace(id, row) => replace(&transaction, collection, id, row, wanted)?,
        Change::Merge(id, patch) => match current(&transaction, collection, &id, wanted)? {
            Err(done) => done,
            Ok(text) => {
                let mut row = serde_json::from_str(&text).unwrap_or_default();
                merge(&mut row, patch);
                update(&transaction, collection, &id, row)?
            }
        },
        Change::Delete(id) => match current(&transaction, collection, &id, wanted)? {
            Err(done) => done,
            Ok(_) => {
                let sql = format!("DELETE FROM \"{}\" WHERE id = ?1", collection.name);
                transaction.prepare_cached(&sql)?.execute([sql_value(&id)])?;
                Done::Deleted
            }
        },
    };
    match done {
        Done::Created(..) | Done::Changed(_) | Done::Deleted => transaction.commit()?,
        Done::Missing | Done::Other | Done::Unfit(_) | Done::Taken(_) => transaction.rollback()?,
    }
    Ok(done)
}

/// The text of a row that must be there, in the wanted version.
fn current(
    transaction: &Transaction<'_>,
    collection: &Collection,
    id: &Value,
    wanted: Option<&str>,
) -> Result<Result<String, Done>, StoreError> {
    Ok(match find(transaction, collection, id)? {
        None => Err(Done::Missing),
        Some(text) if wanted.is_some_and(|wanted| !has_tag(wanted, &tag(&text), false)) => Err(Done::Other),
        Some(text) => Ok(text),
    })
}

fn create(
    transaction: &Transaction<'_>,
    collection: &Collection,
    mut row: Map<String, Value>,
) -> Result<Done, StoreError> {
    let given = row.shift_remove("id").filter(|id| !id.is_null());
    let mut problems = collection.complete(&mut row);
    problems.extend(given.as_ref().and_then(|id| collection.id_problem(id)));
    if given.is_none() && collection.id == IdKind::String {
        problems.push(RowProblem::new("id", "is missing"));
    }
    if !problems.is_empty() {
        return Ok(Done::Unfit(problems));
    }
    let id = match (given, collection.id) {
        (Some(Value::String(id)), IdKind::Uuid) => id.to_ascii_lowercase().into(),
        (Some(id), _) => id,
        (None, IdKind::Uuid) => uuid::Uuid::new_v4().to_string().into(),
        (None, _) => {
            let sql = "SELECT next FROM squall_collections WHERE name = ?1";
            let mut statement = transaction.prepare_cached(sql)?;
            statement
                .query_row([&collection.name], |row| row.get::<_, i64>(0))?
                .into()
        }
    };
    if let Some(number) = id.as_i64() {
        let sql = "UPDATE squall_collections SET next = max(next, ?2 + 1) WHERE name = ?1";
        transaction
            .prepare_cached(sql)?
            .execute(params![collection.name, number])?;
    }
    let mut taken = taken(transaction, collection, &id, &row)?;
    if find(transaction, collection, &id)?.is_some() {
        taken.insert(0, RowProblem::new("id", "is taken"));
    }
    if !taken.is_empty() {
        return Ok(Done::Taken(taken));
    }
    let text = text_of(&id, row);
    let sql = format!("INSERT INTO \"{}\" (id, row) VALUES (?1, ?2)", collection.name);
    transaction
        .prepare_cached(&sql)?
        .execute(params![sql_value(&id), text])?;
    Ok(Done::Created(id, text))
}

fn replace(
    transaction: &Transaction<'_>,
    collection: &Collection,
    id: Value,
    mut row: Map<String, Value>,
    wanted: Option<&str>,
) -> Result<Done, StoreError> {
    match current(transaction, collection, &id, wanted)? {
        Ok(_) => {
            row.entry("id").or_insert_with(|| id.clone());
            collection.add_defaults(&mut row);
            update(transaction, collection, &id, row)
        }
        // RFC 9110, section 13.1.1: `If-Match` is false where there is no version at all.
        Err(Done::Missing) if wanted.is_some() => Ok(Done::Other),
        Err(Done::Missing) if collection.id == IdKind::String => {
            if row.get("id").is_some_and(|given| *given != id) {
                return Ok(Done::Unfit(vec![RowProblem::new("id", "differs from the path")]));
            }
            row.insert("id".to_owned(), id);
            create(transaction, collection, row)
        }
        Err(done) => Ok(done),
    }
}

fn update(
    transaction: &Transaction<'_>,
    collection: &Collection,
    id: &Value,
    mut row: Map<String, Value>,
) -> Result<Done, StoreError> {
    let same = match row.shift_remove("id") {
        Some(Value::String(given)) if collection.id == IdKind::Uuid => {
            id.as_str().is_some_and(|id| id.eq_ignore_ascii_case(&given))
        }
        given => given.as_ref() == Some(id),
    };
    let mut problems = collection.problems(&row);
    if !same {
        problems.push(RowProblem::new("id", "can't be changed"));
    }
    if !problems.is_empty() {
        return Ok(Done::Unfit(problems));
    }
    let taken = taken(transaction, collection, id, &row)?;
    if !taken.is_empty() {
        return Ok(Done::Taken(taken));
    }
    let text = text_of(id, row);
    let sql = format!("UPDATE \"{}\" SET row = ?2 WHERE id = ?1", collection.name);
    transaction
        .prepare_cached(&sql)?
        .execute(params![sql_value(id), text])?;
    Ok(Done::Changed(text))
}

/// The unique fields whose value another row has.
fn taken(
    transaction: &Transaction<'_>,
    collection: &Collection,
    id: &Value,
    row: &Map<String, Value>,
) -> Result<Vec<RowProblem>, StoreError> {
    let mut problems = Vec::new();
    for field in collection.fields.iter().filter(|field| field.unique) {
        let Some(value) = row.get(&field.name).filter(|value| !value.is_null()) else {
            continue;
        };
        let sql = format!(
            "SELECT 1 FROM \"{}\" WHERE json_extract(row, '$.\"{}\"') = ?1 AND id <> ?2 LIMIT 1",
            collection.name, field.name
        );
        let mut statement = transaction.prepare_cached(&sql)?;
        if statement.exists(params![sql_value(value), sql_value(id)])? {
            problems.push(RowProblem::new(&field.name, "is taken"));
        }
    }
    Ok(problems)
}

/// The row as it is sent, its `id` first.
fn text_of(id: &Value, row: Map<String, Value>) -> String {
    let id = [("id".to_owned(), id.clone())];
    Value::Object(id.into_iter().chain(row).collect()).to_string()
}

/// RFC 7396, section 2. JSON that was read nests at most 128 deep.
fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.shift_remove(&key);
            }
            Value::Object(patch) => {
                let slot = target.entry(key).or_insert(Value::Null);
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Some(slot) = slot.as_object_mut() {
                    merge(slot, patch);
                }
            }
            value => {
                target.insert(key, value);
            }
        }
    }
}

/// A strong entity tag (RFC 9110, section 8.8.3).
pub(super) fn tag(text: &str) -> String {
    format!("\"{:016x}\"", xxh3_64(text.as_bytes()))
}

/// Whether a list of entity tags has this one. `weak` ones are compared as such only where that is enough.
pub(super) fn has_tag(list: &str, tag: &str, weak: bool) -> bool {
    list.split(',').map(str::trim).any(|one| {
        let bare = if weak {
            one.strip_prefix("W/").unwrap_or(one)
        } else {
            one
        };
        one == "*" || bare == tag
    })
}
