//! What can be asked about todos and about users alike.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value};

use super::route::Action;
use super::store::{Record, Table};
use super::validate::{Fields, QueryParameters};
use super::{
    DELAY_SECONDS, Rejection, TestApi, UnreadBody, Version, count, detail, new_identifier, read_json, status, wait,
};
use crate::fake::reply::{json, json_text};

/// Users of one page, and how many may be skipped: in later versions.
const PAGE: std::ops::RangeInclusive<i64> = 1..=500;
const OFFSET: std::ops::RangeInclusive<i64> = 0..=i64::MAX;

/// Answers a request about the rows of one table. In 2019, most responses did not depend on whether the row exists.
pub(super) async fn answer<R: Record>(
    api: &TestApi,
    rows: &Table<R>,
    action: Action<'_>,
    mut parameters: QueryParameters,
    body: UnreadBody<'_>,
) -> Result<Response, Rejection> {
    if action == Action::Create {
        return create(api, rows, parameters, body).await;
    }
    let strict = api.version == Version::TestApiLater;
    let done = |id: &str, found: bool, response: Response| {
        if found || !strict {
            response
        } else {
            detail(StatusCode::NOT_FOUND, &format!("{id} not found"))
        }
    };
    if let Action::Delete(id) = action {
        return Ok(done(id, rows.delete(id).await?, status(id, "deleted")));
    }
    let delay = parameters.integer("delay", DELAY_SECONDS);
    let flag = parameters.boolean(R::FLAG_PARAMETER);
    let paged = strict && R::PAGED && action == Action::List;
    let page = paged.then(|| (parameters.integer("qty", PAGE), parameters.integer("offset", OFFSET)));
    parameters.finish()?;
    wait(delay).await;
    match action {
        Action::List => {
            let list = match page {
                None | Some((None, None)) => rows.list(flag).await?,
                Some((quantity, offset)) => rows.page(flag, quantity.unwrap_or(-1), offset.unwrap_or(0)).await?,
            };
            Ok(json_text(StatusCode::OK, list))
        }
        Action::Count => Ok(count(rows.count(flag))),
        Action::Finish(id) => Ok(done(id, rows.finish(id).await?, R::finished(id))),
        Action::Get(id) => {
            let row = rows.find(id).await?;
            Ok(done(id, row.is_some(), R::found(id, row)))
        }
        Action::Delete(_) | Action::Create => Ok(super::not_found()),
    }
}

async fn create<R: Record>(
    api: &TestApi,
    rows: &Table<R>,
    mut parameters: QueryParameters,
    body: UnreadBody<'_>,
) -> Result<Response, Rejection> {
    let body = read_json(body).await?;
    let delay = parameters.integer("delay", DELAY_SECONDS);
    let mut fields = Fields::new(R::BODY, body, parameters.into_problems());
    let id = new_identifier(api.seed);
    let row = R::new(id.clone(), &mut fields);
    fields.finish()?;
    wait(delay).await;
    rows.create(row).await?;
    let reply: Map<String, Value> = [(R::ID.to_owned(), id.into())].into_iter().collect();
    Ok(json(StatusCode::OK, &reply))
}
