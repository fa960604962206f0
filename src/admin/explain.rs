//! The endpoint that explains what would happen to a request under the configuration in force. It changes no state.

use std::str::FromStr;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use tokio::time::timeout;

use super::problem::{Accept, Problem, json_answer};
use super::{Context, MAX_BODY_BYTES, Shared};
use crate::explain::question::Question;
use crate::limits::bodies::Full;
use crate::limits::collector::{Uncollected, collect};
use crate::yaml::forms::OneOrMany;
use crate::yaml::report::did_you_mean;

/// The longest time for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The valid names in a query.
const NAMES: [&str; 9] = [
    "url", "method", "header", "curl", "client", "listener", "ordinal", "at", "format",
];

/// The format that the query asks for, which overrides `Accept`.
type Form = Option<Accept>;

/// `?url=/pay&method=POST&header=x-user:%20ada&header=…`
pub(super) async fn query(State(context): Shared, headers: HeaderMap, uri: Uri) -> Response {
    let asked = pairs(&uri).and_then(question);
    answer(&context, &headers, asked)
}

/// A [`Question`] as JSON: `{"curl": "curl …"}`, or `{"url": …, "headers": {…}, …}`.
pub(super) async fn body(State(context): Shared, headers: HeaderMap, body: Body) -> Response {
    let asked = read(&context, body).await.and_then(|bytes| {
        let question = serde_json::from_slice(&bytes);
        let help = "the body must be JSON such as {\"curl\": \"curl http://127.0.0.1:8080/pay\"}";
        Ok((
            question.map_err(|error| Problem::bad_request(format!("{help}: {error}")))?,
            None,
        ))
    });
    answer(&context, &headers, asked)
}

/// The response as JSON, unless plain text is asked for.
fn answer(context: &Context, headers: &HeaderMap, asked: Result<(Question, Form), Problem>) -> Response {
    let accept = Accept::of(headers);
    let explained = asked.and_then(|(question, form)| {
        let snapshot = context.server.snapshot();
        let explanation = question
            .answer(&snapshot, Instant::now())
            .map_err(Problem::bad_request)?;
        Ok(match form.unwrap_or(accept) {
            Accept::Text => explanation.to_text(false).into_response(),
            _ => json_answer(&explanation.to_json()),
        })
    });
    explained.unwrap_or_else(|problem| problem.answer(accept))
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
            _ => return Err(unknown(&name)),
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

fn unknown(name: &str) -> Problem {
    let help = match did_you_mean(name, NAMES) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", NAMES.join(", ")),
    };
    Problem::bad_request(format!("unknown parameter `{name}`; {help}"))
}

/// Reads a request body within its limits of size and time.
async fn read(context: &Context, body: Body) -> Result<Bytes, Problem> {
    let budget = context.server.budget();
    let (status, detail) = match timeout(BODY_TIMEOUT, collect(body, MAX_BODY_BYTES, &budget)).await {
        Ok(Ok(bytes)) => return Ok(bytes),
        Ok(Err(Uncollected::TooLarge)) => (
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {MAX_BODY_BYTES} bytes"),
        ),
        Ok(Err(Uncollected::Full)) => (StatusCode::SERVICE_UNAVAILABLE, Full::REASON.to_owned()),
        Ok(Err(Uncollected::Broken)) => (StatusCode::BAD_REQUEST, "the body is incomplete".to_owned()),
        Err(_) => (
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time".to_owned(),
        ),
    };
    Err(Problem::new(status, detail))
}
