//! The endpoints of the journal: the last requests, and one of them with the rules that almost matched it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::body::read;
use super::explain::pairs;
use super::params::Params;
use super::problem::{Accept, Problem, json_answer};
use super::{Context, MAX_BODY_BYTES, Shared};
use crate::journal::attempts::{Attempt, attempts};
use crate::journal::filter::Filter;
use crate::journal::json as shown;
use crate::journal::near::near_misses;
use crate::journal::verify::{Question, SETTLED};
use crate::journal::{Numbered, Of, Page, ask};
use crate::limits::aside;
use crate::yaml::report::Report;
use crate::yaml::units::Time;

/// How many requests an answer has, unless the query says otherwise.
const LIMIT: usize = 100;

/// The most requests that an answer has.
const MOST: usize = 1000;

/// What a query asks for.
#[derive(Debug)]
struct Query {
    of: Of,
    after: Option<u64>,
    limit: usize,
    since: Option<Duration>,
    filter: Filter,
}

/// `?space=&after=&limit=&since=&hit=&rule=&listener=&method=&path=&status=`
pub(super) async fn list(State(context): Shared, headers: HeaderMap, uri: Uri) -> Response {
    answer(&headers, query(&uri).map(|query| page(Arc::clone(&context), query))).await
}

/// One request, with the rules in force that almost matched it.
pub(super) async fn one(State(context): Shared, headers: HeaderMap, Path(id): Path<String>) -> Response {
    let asked = id.parse().map_err(|_| {
        let detail = format!("`{id}` is not the number of a request: use an `id` of /api/v1/journal");
        Problem::bad_request(detail)
    });
    answer(&headers, asked.map(|id| single(Arc::clone(&context), id))).await
}

/// `?space=`: forgets requests.
pub(super) async fn clear(State(context): Shared, headers: HeaderMap, uri: Uri) -> Response {
    match Params::of(&uri) {
        Ok(params) => {
            let of = params.get("space").map_or(Of::All, Of::named);
            context.server.journal().clear(&of);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(problem) => problem.answer(Accept::of(&headers)),
    }
}

/// A question about the requests of the journal, in YAML or JSON.
///
/// `?space=` is that of the question, unless it names one itself.
pub(super) async fn verify(State(context): Shared, headers: HeaderMap, uri: Uri, body: Body) -> Response {
    let params = Params::of(&uri);
    answer(
        &headers,
        params.map(|params| verified(Arc::clone(&context), params, body)),
    )
    .await
}

async fn answer(headers: &HeaderMap, asked: Result<impl Future<Output = Result<Value, Problem>>, Problem>) -> Response {
    let found = match asked {
        Ok(asked) => asked.await,
        Err(problem) => Err(problem),
    };
    match found {
        Ok(found) => json_answer(&found),
        Err(problem) => problem.answer(Accept::of(headers)),
    }
}

/// Looks through the journal off the threads that carry traffic: there may be a hundred thousand entries.
async fn aside<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    aside::run(look).await.map_err(stopping)
}

fn stopping(_: aside::Aborted) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "squall is stopping")
}

async fn page(context: Arc<Context>, query: Query) -> Result<Value, Problem> {
    // A client has its response a moment before the request is over here, and expects to find it.
    sleep(SETTLED).await;
    aside(move || {
        let journal = context.server.journal();
        // All of them, since attempts count from the first one.
        let all = journal.read(&query.of, 0);
        let (found, next) = query.select(&all);
        let requests = entries(&context, &found, &attempts(&all.entries))?;
        let incomplete = match query.after {
            Some(after) => journal.read(&query.of, after).incomplete,
            None => all.incomplete,
        };
        Ok(json!({
            "enabled": journal.is_on(),
            "requests": requests,
            "dropped": all.dropped,
            "incomplete": incomplete,
            "next": next,
        }))
    })
    .await?
}

async fn single(context: Arc<Context>, id: u64) -> Result<Value, Problem> {
    aside(move || {
        let journal = context.server.journal();
        let found = journal.find(id).ok_or_else(|| {
            let detail = format!("the journal has no request {id}: it was dropped or removed, or has not ended yet");
            Problem::new(StatusCode::NOT_FOUND, detail)
        })?;
        let of = found.entry.space().map_or(Of::NoSpace, Of::Space);
        let known = attempts(&journal.read(&of, 0).entries);
        let mut shown = entries(&context, &[&found], &known)?;
        let mut one = shown.pop().unwrap_or_default();
        let snapshot = context.server.snapshot();
        let misses = near_misses(&found.entry, &snapshot.rules);
        let misses = snapshot.masks.json(&misses).map_err(unwritable)?;
        if let Some(one) = one.as_object_mut() {
            one.insert("near_misses".to_owned(), misses);
        }
        Ok(one)
    })
    .await?
}

async fn verified(context: Arc<Context>, params: Params, body: Body) -> Result<Value, Problem> {
    let bytes = read(&context, body, MAX_BODY_BYTES).await?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Problem::bad_request("the body is not UTF-8"))?;
    let mut question = Question::read(text).map_err(|report| malformed(&report))?;
    if let Some(space) = params.get("space") {
        question.within(space).map_err(Problem::bad_request)?;
    }
    let journal = Arc::clone(context.server.journal());
    let answer = question.answer(journal).await.map_err(stopping)?;
    aside(move || {
        let known = attempts(&context.server.journal().read(&Of::All, 0).entries);
        let masks = &context.server.snapshot().masks;
        let shown = |one: &Numbered| masks.json(&shown::entry(one, known.get(&one.id)));
        answer.to_json(shown).map_err(unwritable)
    })
    .await?
}

/// Entries as JSON, without the secrets of requests or of the configuration.
fn entries(context: &Context, found: &[&Numbered], attempts: &HashMap<u64, Attempt>) -> Result<Vec<Value>, Problem> {
    let masks = &context.server.snapshot().masks;
    let shown = |one: &&Numbered| {
        let entry = shown::entry(one, attempts.get(&one.id));
        masks.json(&entry).map_err(unwritable)
    };
    found.iter().map(shown).collect()
}

fn unwritable(error: impl std::fmt::Display) -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        format!("can't write the answer: {error}"),
    )
}

impl Query {
    /// The entries that are asked for, and the number after which to go on: with `after` the first ones behind it, otherwise the
    /// last ones.
    fn select<'a>(&self, all: &'a Page) -> (Vec<&'a Numbered>, u64) {
        let after = self.after.unwrap_or(0);
        let since = self.since.and_then(|since| Instant::now().checked_sub(since));
        let is_meant = |one: &&Numbered| {
            one.id > after && since.is_none_or(|since| one.entry.ended() >= since) && self.filter.accepts(&one.entry)
        };
        let newest = all.entries.last().map_or(after, |one| one.id.max(after));
        let meant = all.entries.iter().filter(is_meant);
        if self.after.is_none() {
            let mut found: Vec<&Numbered> = meant.rev().take(self.limit).collect();
            found.reverse();
            return (found, newest);
        }
        let found: Vec<&Numbered> = meant.take(self.limit).collect();
        // A full page ends with its last entry. Otherwise all were looked at.
        let next = found.last().filter(|_| found.len() == self.limit);
        let next = next.map_or(newest, |one| one.id);
        (found, next)
    }
}

fn query(uri: &Uri) -> Result<Query, Problem> {
    let pairs = pairs(uri)?;
    let mut query = Query {
        of: Of::All,
        after: None,
        limit: LIMIT,
        since: None,
        filter: Filter::default(),
    };
    let mut conditions = Vec::new();
    for (at, (name, value)) in pairs.iter().enumerate() {
        let bad = |what: &str| Problem::bad_request(format!("`{name}={value}` is not valid: use {what}"));
        let twice = pairs.iter().take(at).any(|(other, _)| other == name);
        if twice && name != "status" {
            return Err(Problem::bad_request(format!("`{name}` is given twice")));
        }
        match name.as_str() {
            "space" => query.of = Of::named(value),
            "after" => {
                query.after = Some(
                    value
                        .parse()
                        .map_err(|_| bad("a number, such as `next` of the last answer"))?,
                )
            }
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                query.limit = limit.ok_or_else(|| bad("a number from 1 to 1000"))?;
            }
            "since" => query.since = Some(value.parse::<Time>().map_err(|_| bad("a time such as 30s"))?.get()),
            "hit" => query.filter.hit = Some(value.parse().map_err(|_| bad("true or false"))?),
            "rule" => query.filter.rule = Some(value.clone()),
            "listener" => query.filter.listener = Some(value.clone()),
            "method" | "path" => conditions.push((name.as_str(), value.as_str())),
            "status" => query
                .filter
                .statuses
                .push(value.parse().map_err(|_| bad("one such as 503 or 5xx"))?),
            // Refused before.
            _ => {}
        }
    }
    query.filter.condition = ask::condition_of(&conditions).map_err(|report| malformed(&report))?;
    Ok(query)
}

/// Something in the words of a rule's `match` is wrong.
fn malformed(report: &Report) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, report.summary()).with("errors", report.to_json())
}
