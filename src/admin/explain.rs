//! The endpoint that explains what would happen to a request under the configuration in force. It changes no state.

use std::str::FromStr;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Uri};

use super::problem::{Accept, Problem, json_answer};
use super::{Context, Shared, body};
use crate::explain::question::Question;
use crate::yaml::forms::OneOrMany;

/// The format that the query asks for, which overrides `Accept`.
type Form = Option<Accept>;

/// `?url=/pay&method=POST&header=x-user:%20ada&header=…`
pub(super) async fn query(State(context): Shared, headers: HeaderMap, uri: Uri) -> Response {
    let asked = pairs(&uri).and_then(question);
    answer(&context, &headers, asked)
}

/// A [`Question`] as JSON: `{"curl": "curl …"}`, or `{"url": …, "headers": {…}, …}`.
pub(super) async fn posted(State(context): Shared, headers: HeaderMap, body: Body) -> Response {
    let example = "{\"curl\": \"curl http://127.0.0.1:8080/pay\"}";
    let asked = body::json(&context, body, example).await;
    answer(&context, &headers, asked.map(|question| (question, None)))
}

/// The response as JSON, unless plain text is asked for.
fn answer(context: &Context, headers: &HeaderMap, asked: Result<(Question, Form), Problem>) -> Response {
    let accept = Accept::of(headers);
    let explained = asked.and_then(|(question, form)| {
        let snapshot = context.server.snapshot();
        let mut explanation = question
            .answer(&snapshot, &context.server.addresses(), Instant::now())
            .map_err(Problem::bad_request)?;
        explanation.notes.extend(stopped(context));
        Ok(match form.unwrap_or(accept) {
            Accept::Text => explanation.to_text(false).into_response(),
            _ => json_answer(&explanation.to_json()),
        })
    });
    explained.unwrap_or_else(|problem| problem.answer(accept))
}

/// A note that nothing of it would happen now, if the stop switch was used.
fn stopped(context: &Context) -> Option<String> {
    let stopped = context.server.stopped()?;
    let reason = stopped.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    Some(format!(
        "squall is stopped{reason}: nothing of this is injected until it is armed again"
    ))
}

/// Decodes the names and values of a query, in order.
pub(super) fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    let pairs = Query::try_from_uri(uri).map_err(|error| Problem::bad_request(error.body_text()))?;
    Ok(pairs.0)
}

fn question(pairs: Vec<(String, String)>) -> Result<(Question, Form), Problem> {
    let mut question = Question::default();
    let mut form = None;
    let mut seen = Vec::new();
    for (name, value) in pairs {
        if name != "header" && seen.contains(&name) {
            return Err(Problem::bad_request(format!("`{name}` is given twice")));
        }
        match name.as_str() {
            "url" => question.url = Some(value),
            "method" => question.method = Some(value),
            "body" => question.body = Some(value),
            "curl" => question.curl = Some(value),
            "listener" => question.listener = Some(value),
            "client" => question.client = Some(parsed(&name, &value, "an IP address")?),
            "ordinal" => question.ordinal = Some(parsed(&name, &value, "a number from 1")?),
            "at" => question.at = Some(parsed(&name, &value, "a time such as 30s")?),
            "format" => form = Some(form_of(&value)?),
            "header" => {
                let Some((field, value)) = value.split_once(':') else {
                    return Err(Problem::bad_request(format!(
                        "`header={value}` is not a valid header field: use `header=name:value`"
                    )));
                };
                let values = question
                    .headers
                    .entry(field.trim().to_owned())
                    .or_insert_with(|| OneOrMany(Vec::new()));
                values.0.push(value.trim().to_owned());
            }
            // Refused before.
            _ => {}
        }
        seen.push(name);
    }
    Ok((question, form))
}

fn parsed<T: FromStr>(name: &str, value: &str, what: &str) -> Result<T, Problem> {
    value
        .parse()
        .map_err(|_| Problem::bad_request(format!("`{name}={value}` is not valid: use {what}")))
}

fn form_of(value: &str) -> Result<Accept, Problem> {
    match value {
        "json" => Ok(Accept::Json),
        "text" => Ok(Accept::Text),
        _ => Err(Problem::bad_request("`format` must be json or text")),
    }
}
