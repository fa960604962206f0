//! What those who listen to events learn of a request with an injected fault.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::Request;
use super::log::{millis, request_id};
use crate::draw::head::space_of;
use crate::journal::json;
use crate::proxy::client::Client;
use crate::proxy::execute::Execution;

/// A request as an event. `ended` is the status sent and the time from the request head to the end of the response; `left_out`
/// is the number of requests before this one that were not told. The path comes without its query, which may have secrets.
pub(super) fn request(
    client: &Client,
    request: &Request,
    execution: &Execution,
    ended: (u16, Duration),
    left_out: u64,
) -> Value {
    let head = client.head();
    let own_space = request.view.space.as_deref().map(Cow::Borrowed);
    let space = own_space.or_else(|| space_of(&head.headers));
    let path = String::from_utf8_lossy(head.raw_path());
    let fault = |(rule, fault): (&str, &str)| json!({"rule": rule, "fault": fault});
    let faults: Vec<Value> = execution.record().faults().into_iter().map(fault).collect();
    let skipped = execution.record().skipped();
    let skipped: Vec<Value> = skipped.iter().map(json::skipped).collect();
    let (status, total) = ended;
    json!({
        "time": unix_seconds(),
        "listener": &*request.view.name,
        "upstream": &*request.route().upstream,
        "space": space,
        "client": request.address,
        "method": head.method.as_str(),
        "path": path.split('?').next(),
        "status": status,
        "faults": faults,
        "skipped": skipped,
        "injected_ms": millis(execution.record().time()),
        "upstream_ms": request.natural.map(millis),
        "total_ms": millis(total),
        "client_gone": request.gone,
        "request_id": request_id(head),
        "error": request.error.as_deref(),
        "left_out": left_out,
    })
}

/// The time as seconds since 1970, to the millisecond.
fn unix_seconds() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs_f64() * 1e3).round() / 1e3
}
