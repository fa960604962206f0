//! The endpoints of scenarios: starts them, tells how far they are, and shows their reports.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use futures_util::stream;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Duration, timeout};

use super::params::Params;
use super::problem::{Accept, Problem, json_answer};
use super::serve::Lasting;
use super::{Context, MAX_BODY_BYTES, Shared, body};
use crate::scenario::Scenario;
use crate::scenario::live::Live;
use crate::scenario::plays::{NotStarted, Play, Stage};
use crate::scenario::run::Progress;
use crate::yaml::report::Report;

/// The longest name of a scenario's file, in characters.
const LONGEST_FILE: usize = 200;
/// A line of progress comes at least this often, so that both ends notice when the other one has gone.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// The scenario that is played, and the last ones before it.
pub(super) async fn list(State(context): Shared) -> Response {
    let plays = context.plays.all();
    json_answer(&json!({"scenarios": plays.iter().map(|play| play.to_json()).collect::<Vec<_>>()}))
}

/// Starts the scenario in the body. With `?detach=1` it is played whether or not the caller stays. Without it the response
/// lasts until its end, one line of JSON for each step forward and the report in the last one; if the caller disconnects
/// before, the scenario is aborted, and everything is put back.
pub(super) async fn start(State(context): Shared, headers: HeaderMap, uri: Uri, body: Body) -> Response {
    let accept = Accept::of(&headers);
    let started = async {
        let params = Params::of(&uri)?;
        let detach = params.flag("detach")?;
        let file = params.get("file").unwrap_or("request body");
        if file.chars().count() > LONGEST_FILE || file.chars().any(char::is_control) {
            return Err(Problem::bad_request("`file` is not a valid name of a file"));
        }
        let bytes = body::read(&context, body, MAX_BODY_BYTES).await?;
        let scenario = Scenario::load(file, bytes.to_vec()).map_err(|report| invalid(&report, accept))?;
        if context.is_draining() {
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "squall is draining"));
        }
        let stage = Stage {
            steer: Arc::new(Live::new(Arc::clone(&context.server), &scenario)),
            measure: Arc::clone(context.server.traffic().measure()),
            events: Arc::clone(context.server.events()),
        };
        let play = context.plays.start(scenario, stage).await;
        let play = play.map_err(|refused| not_started(refused, accept))?;
        Ok(if detach { detached(&play) } else { followed(play) })
    };
    started.await.unwrap_or_else(|problem| problem.answer(accept))
}

fn detached(play: &Play) -> Response {
    let mut response = json_answer(&play.to_json());
    *response.status_mut() = StatusCode::ACCEPTED;
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/scenarios/{}", play.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// A response that lasts as long as the scenario, which ends with it.
fn followed(play: Arc<Play>) -> Response {
    let lease = Lease {
        progress: play.follow(),
        play,
        is_over: false,
    };
    let lines = stream::unfold(lease, |mut lease| async move {
        let line = lease.next().await?;
        Some((Ok::<_, Infallible>(format!("{line}\n")), lease))
    });
    let mut response = ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response();
    response.extensions_mut().insert(Lasting);
    response
}

/// A caller on whose staying a scenario depends.
struct Lease {
    play: Arc<Play>,
    progress: watch::Receiver<Progress>,
    is_over: bool,
}

impl Lease {
    /// The next line; `None` after the one with the report.
    async fn next(&mut self) -> Option<Value> {
        if self.is_over {
            return None;
        }
        // An error means that it has ended.
        let _in_time = timeout(HEARTBEAT, self.progress.changed()).await;
        // Asked before the line is made: the last line must say that it has ended.
        let is_done = self.play.is_done();
        let mut line = self.play.to_json();
        if is_done {
            self.is_over = true;
            if let (Some(line), Some(report)) = (line.as_object_mut(), self.play.report()) {
                line.insert("report".into(), serde_json::to_value(&*report).unwrap_or_default());
            }
        }
        Some(line)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_over {
            self.play.abort("its client has disconnected");
        }
    }
}

/// How far one scenario is.
pub(super) async fn show(State(context): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    match find(&context, &id) {
        Ok(play) => json_answer(&play.to_json()),
        Err(problem) => problem.answer(Accept::of(&headers)),
    }
}

/// Pauses, resumes or aborts a scenario.
pub(super) async fn order(
    State(context): Shared,
    Path((id, order)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let accept = Accept::of(&headers);
    let ordered = find(&context, &id).and_then(|play| {
        let taken = match order.as_str() {
            "pause" => play.pause(true),
            "resume" => play.pause(false),
            "abort" => play.abort("it was aborted by the API"),
            _ => {
                let detail = format!("`{order}` can't be done with a scenario: use pause, resume or abort");
                return Err(Problem::new(StatusCode::NOT_FOUND, detail));
            }
        };
        if taken {
            return Ok(json_answer(&play.to_json()));
        }
        Err(Problem::new(
            StatusCode::CONFLICT,
            "the scenario has ended, or is about to end",
        ))
    });
    ordered.unwrap_or_else(|problem| problem.answer(accept))
}

/// The report of a scenario that has ended.
pub(super) async fn report(State(context): Shared, Path(id): Path<String>, headers: HeaderMap, uri: Uri) -> Response {
    let accept = Accept::of(&headers);
    let shown = find(&context, &id).and_then(|play| {
        let params = Params::of(&uri)?;
        let report = play.report().ok_or_else(|| {
            let detail = if play.is_done() {
                "the scenario broke down, and has left no report"
            } else {
                "the scenario has not ended yet"
            };
            Problem::new(StatusCode::CONFLICT, detail)
        })?;
        let format = params.get("format").unwrap_or(match accept {
            Accept::Html => "html",
            _ => "json",
        });
        Ok(match format {
            "json" => json_answer(&serde_json::to_value(&*report).unwrap_or_default()),
            "junit" => ([(CONTENT_TYPE, "application/xml")], report.junit()).into_response(),
            "html" => Html(report.html()).into_response(),
            "text" => report.summary().into_response(),
            other => {
                let detail = format!("`format={other}` is not valid: use json, junit, html or text");
                return Err(Problem::bad_request(detail));
            }
        })
    });
    shown.unwrap_or_else(|problem| problem.answer(accept))
}

fn find(context: &Context, id: &str) -> Result<Arc<Play>, Problem> {
    let play = id.parse().ok().and_then(|id| context.plays.get(id));
    play.ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no scenario has this number, or it was forgotten",
        )
    })
}

fn not_started(refused: NotStarted, accept: Accept) -> Problem {
    match refused {
        NotStarted::Bad(report) => invalid(&report, accept),
        NotStarted::Busy(play) => Problem::new(StatusCode::CONFLICT, NotStarted::Busy(Arc::clone(&play)).to_string())
            .with("id", play.id)
            .with("scenario", play.name.clone()),
    }
}

fn invalid(report: &Report, accept: Accept) -> Problem {
    let detail = if accept == Accept::Json {
        report.summary()
    } else {
        report.render(false)
    };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with("errors", report.to_json())
}
