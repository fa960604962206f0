//! `/api/v1/todo`.

use axum::response::Response;
use rusqlite::Row;
use serde::Serialize;

use super::store::Record;
use super::validate::Fields;
use super::{dates, status};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Todo {
    pub(super) todo_id: String,
    pub(super) title: String,
    pub(super) description: Option<String>,
    pub(super) is_complete: bool,
    pub(super) date_due: Option<String>,
    pub(super) date_create: String,
    pub(super) date_update: String,
    pub(super) date_complete: Option<String>,
    pub(super) user_id: Option<String>,
}

impl Record for Todo {
    const TABLE: &'static str = "todos";
    const COLUMNS: &'static str =
        "todoId, title, description, isComplete, dateDue, dateCreate, dateUpdate, dateComplete, userId";
    const ID: &'static str = "todoId";
    const FLAG: &'static str = "isComplete";
    const FINISH: &'static str = "UPDATE todos SET isComplete = 1, dateComplete = ?2 WHERE todoId = ?1";
    const FINISHED: bool = true;
    const FLAG_PARAMETER: &'static str = "complete";
    const PAGED: bool = false;
    const BODY: &'static str = "todo";

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            todo_id: row.get(0)?,
            title: row.get(1)?,
            description: row.get(2)?,
            is_complete: row.get(3)?,
            date_due: row.get(4)?,
            date_create: row.get(5)?,
            date_update: row.get(6)?,
            date_complete: row.get(7)?,
            user_id: row.get(8)?,
        })
    }

    fn flag(&self) -> bool {
        self.is_complete
    }

    fn new(todo_id: String, fields: &mut Fields) -> Self {
        // The order in which the original looks at them, and so lists what is wrong.
        let (title, user_id) = (fields.required("title"), fields.optional("userId"));
        let now = dates::now();
        Self {
            todo_id,
            title,
            description: fields.optional("description"),
            is_complete: false,
            date_due: fields.optional_date("dateDue"),
            date_create: now.clone(),
            date_update: now,
            date_complete: None,
            user_id,
        }
    }

    /// The original never looks.
    fn found(id: &str, _row: Option<Self>) -> Response {
        status(id, "retrieved")
    }

    fn finished(id: &str) -> Response {
        status(id, "retrieved")
    }
}
