//! Guards: shows the conditions that stop injection, adds and removes some that stop everything, and resets them.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::problem::{Accept, Problem, json_answer};
use super::{Context, Shared, body};
use crate::config::guard::Guard;
use crate::guards::spec::GuardSpec;
use crate::server::{GuardRefusal, Server};
use crate::yaml::decode::{Spanned, decode};
use crate::yaml::report::{Diagnostic, Report, Sources};
use crate::yaml::tree;

/// The name of what was sent, in diagnostics.
const SENT: &str = "the body";

pub(super) async fn list(State(context): Shared) -> Response {
    let (server, now) = (&context.server, Instant::now());
    let guards: Vec<Value> = server.guards().iter().map(|guard| shown(server, guard, now)).collect();
    let snapshot = server.snapshot();
    let limits = json!({
        "spec": &snapshot.spec.limits,
        "active": snapshot.overall.active(),
        "hits": snapshot.overall.hits(),
        "expired": snapshot.overall.is_over(now),
    });
    masked(server, &json!({"guards": guards, "limits": limits}))
}

/// A response without the configuration's secrets.
fn masked(server: &Server, shown: &Value) -> Response {
    match server.snapshot().masks.json(shown) {
        Ok(shown) => json_answer(&shown),
        Err(error) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).answer(Accept::Json),
    }
}

fn shown(server: &Server, guard: &Guard, now: Instant) -> Value {
    let mut shown = guard.to_json(now);
    let snapshot = server.snapshot();
    // Not by name: a rule of the API may shadow one of the file, and its guards have the same names.
    let of_file = snapshot.file_guards.iter().any(|one| std::ptr::eq(&**one, guard));
    let layer = if of_file { "file" } else { "api" };
    if let Some(members) = shown.as_object_mut() {
        members.insert("layer".to_owned(), layer.into());
    }
    shown
}

/// Adds a guard that stops everything. The body is an entry of `stop_when`, as JSON or YAML.
pub(super) async fn put(State(context): Shared, Path(name): Path<String>, headers: HeaderMap, body: Body) -> Response {
    match add(&context, &name, body).await {
        Ok((guard, is_new)) => {
            let mut response = masked(&context.server, &shown(&context.server, &guard, Instant::now()));
            if is_new {
                *response.status_mut() = StatusCode::CREATED;
            }
            response
        }
        Err(problem) => problem.answer(Accept::of(&headers)),
    }
}

async fn add(context: &Context, name: &str, body: Body) -> Result<(Arc<Guard>, bool), Problem> {
    let bytes = body::read(context, body, super::MAX_BODY_BYTES).await?;
    let (mut sources, mut diagnostics) = (Sources::default(), Vec::new());
    let source = tree::add_source(&mut sources, SENT, bytes.to_vec(), ".", &mut diagnostics);
    let node = source.and_then(|source| tree::parse(&sources, source, None, &mut diagnostics));
    let spec = node.and_then(|node| decode::<Spanned<GuardSpec>>(&node, &mut diagnostics));
    let wrong = |diagnostics| {
        let report = Report::new(diagnostics, Arc::new(sources));
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, report.summary()).with("errors", report.to_json())
    };
    let (Some(mut spec), true) = (spec, diagnostics.is_empty()) else {
        return Err(wrong(diagnostics));
    };
    if let Some(other) = spec.value.name.as_ref().filter(|other| other.value != name) {
        let message = format!("the name differs from `{name}`, the one in the path");
        return Err(wrong(vec![Diagnostic::error(other.span, message)]));
    }
    spec.value.name = Some(Spanned::new(name.to_owned(), spec.span));
    context.server.add_guard(&spec).map_err(|refusal| match refusal {
        GuardRefusal::OfFile => of_file(name),
        GuardRefusal::Wrong(diagnostics) => wrong(diagnostics),
    })
}

pub(super) async fn delete(State(context): Shared, Path(name): Path<String>, headers: HeaderMap) -> Response {
    if context.server.remove_guard(&name) {
        return StatusCode::NO_CONTENT.into_response();
    }
    let known = context.server.guards().iter().any(|guard| *guard.name == *name);
    let problem = if known { of_file(&name) } else { unknown(&name) };
    problem.answer(Accept::of(&headers))
}

/// Makes a guard forget what it has seen; what it has stopped goes on.
pub(super) async fn reset(State(context): Shared, Path(name): Path<String>, headers: HeaderMap) -> Response {
    if !context.server.reset_guard(&name) {
        return unknown(&name).answer(Accept::of(&headers));
    }
    let guards = context.server.guards();
    match guards.iter().find(|guard| *guard.name == *name) {
        Some(guard) => masked(&context.server, &shown(&context.server, guard, Instant::now())),
        None => unknown(&name).answer(Accept::of(&headers)),
    }
}

fn of_file(name: &str) -> Problem {
    let detail = format!("the guard `{name}` belongs to the configuration file or to a rule: change it there");
    Problem::new(StatusCode::CONFLICT, detail)
}

fn unknown(name: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no guard `{name}`"))
}
