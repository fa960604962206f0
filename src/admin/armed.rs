//! The stop switch: stops all injection at once, or allows it again.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::problem::{Accept, Problem, json_answer};
use super::{Context, Shared, body};
use crate::rule::decide::Rule;
use crate::server::Server;

/// The longest reason that can be given, in bytes. It is shown in the log and on pages.
const MAX_REASON_BYTES: usize = 500;

/// `{"armed": false, "reason": "…"}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    armed: bool,
    /// Why it is stopped, to be shown while it is.
    reason: Option<String>,
}

pub(super) async fn show(State(context): Shared) -> Response {
    json_answer(&armed_json(&context.server))
}

pub(super) async fn change(State(context): Shared, headers: HeaderMap, body: Body) -> Response {
    match wanted(&context, body).await {
        Ok(wanted) => {
            if context.server.arm(wanted.armed, wanted.reason.as_deref()) {
                // Only a stopping squall refuses it, and then nobody asks for revisions.
                let touched = context.server.change(|draft| {
                    draft.touch_all();
                    Ok(())
                });
                let _ = touched.await;
            }
            json_answer(&armed_json(&context.server))
        }
        Err(problem) => problem.answer(Accept::of(&headers)),
    }
}

async fn wanted(context: &Context, body: Body) -> Result<Wanted, Problem> {
    let wanted: Wanted = body::json(context, body, "{\"armed\": false, \"reason\": \"…\"}").await?;
    let reason = wanted.reason.as_deref().unwrap_or_default();
    if reason.len() > MAX_REASON_BYTES || reason.chars().any(char::is_control) {
        return Err(Problem::bad_request(format!(
            "`reason` must be one line of at most {MAX_REASON_BYTES} bytes"
        )));
    }
    Ok(wanted)
}

fn armed_json(server: &Server) -> Value {
    let reason = server.stopped().and_then(|stopped| stopped.reason);
    json!({
        "armed": server.is_armed(),
        "reason": reason.as_deref(),
        "revision": server.snapshot().revision,
    })
}

/// Since when nothing is injected, and why; null while faults may be injected.
pub(super) fn stopped_json(server: &Server) -> Value {
    server.stopped().map_or(
        Value::Null,
        |stopped| json!({"reason": stopped.reason.as_deref(), "since_seconds": stopped.since.elapsed().as_secs_f64()}),
    )
}

/// Which guard has stopped a rule, and why; null if none has.
pub(super) fn trip_json(rule: &Rule) -> Value {
    rule.state.tripped().map_or(Value::Null, |trip| {
        json!({
            "guard": &*trip.guard,
            "reason": &*trip.reason,
            "since_seconds": trip.since.elapsed().as_secs_f64(),
        })
    })
}
