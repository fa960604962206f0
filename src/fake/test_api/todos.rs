//! `/api/v1/todo`.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use rusqlite::Row;
use rusqlite::types::Value;
use serde::Serialize;

use super::route::Action;
use super::store::Record;
use super::validate::{Fields, Parameters};
use super::{DELAY_SECONDS, Refusal, TestApi, count, dates, new_identifier, read_json, status, wait};
use crate::fake::{json, json_text};

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

    fn values(self) -> Vec<Value> {
        vec![
            self.todo_id.into(),
            self.title.into(),
            self.description.into(),
            self.is_complete.into(),
            self.date_due.into(),
            self.date_create.into(),
            self.date_update.into(),
            self.date_complete.into(),
            self.user_id.into(),
        ]
    }

    fn flag(&self) -> bool {
        self.is_complete
    }
}

/// Answers a request about todos. Whether a todo exists makes no difference to most answers, as in the original.
pub(super) async fn answer(
    api: &TestApi,
    action: Action<'_>,
    mut parameters: Parameters,
    body: Body,
) -> Result<Response, Refusal> {
    let todos = &api.database.todos;
    if let Action::Delete(id) = action {
        todos.delete(id).await?;
        return Ok(status(id, "deleted"));
    }
    if action == Action::Create {
        return create(api, parameters, body).await;
    }
    let delay = parameters.integer("delay", DELAY_SECONDS);
    let complete = parameters.boolean("complete");
    parameters.finish()?;
    wait(delay).await;
    match action {
        Action::List => Ok(json_text(StatusCode::OK, todos.list(complete).await?)),
        Action::Count => Ok(count(todos.count(complete))),
        Action::Finish(id) => {
            todos.finish(id).await?;
            Ok(status(id, "retrieved"))
        }
        Action::Get(id) => Ok(status(id, "retrieved")),
        Action::Delete(_) | Action::Create => Ok(super::not_found()),
    }
}

async fn create(api: &TestApi, mut parameters: Parameters, body: Body) -> Result<Response, Refusal> {
    let body = read_json(body).await?;
    let delay = parameters.integer("delay", DELAY_SECONDS);
    let mut fields = Fields::new("todo", body, parameters.into_problems());
    // The order in which the original looks at them, and so lists what is wrong.
    let (title, user_id) = (fields.required("title"), fields.optional("userId"));
    let now = dates::now();
    let todo = Todo {
        todo_id: new_identifier(api.seed),
        title,
        description: fields.optional("description"),
        is_complete: false,
        date_due: fields.optional_date("dateDue"),
        date_create: now.clone(),
        date_update: now,
        date_complete: None,
        user_id,
    };
    fields.finish()?;
    wait(delay).await;
    let reply = serde_json::json!({ "todoId": todo.todo_id });
    api.database.todos.create(todo).await?;
    Ok(json(StatusCode::OK, &reply))
}
