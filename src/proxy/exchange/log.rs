//! The access log: one structured line per request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderName;
use pingora::http::RequestHeader;

use super::Request;
use crate::journal::entry::Skipped;
use crate::proxy::client::{Client, Connection};
use crate::proxy::exchange::view::View;
use crate::proxy::execute::Execution;
use crate::proxy::record::Record;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// The tracing target of access lines, for log filters.
pub(crate) const TARGET: &str = "squall::access";

/// Whether a request is logged: every one with a fault or a server error, and the configured share of the others.
pub(crate) fn wanted(view: &View, hit: bool, status: u16) -> bool {
    view.access && (hit || status >= 500 || is_sampled(view.sample_ppm))
}

/// Whether the next request or connection of those without a fault or error is logged, of which a share in parts per million
/// is.
pub(in crate::proxy) fn is_sampled(ppm: u32) -> bool {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    if ppm >= 1_000_000 {
        return true;
    }
    // Spreads the sampled lines evenly instead of drawing them.
    let due = |n: u64| (u128::from(n) * u128::from(ppm)) / 1_000_000;
    let seen = SEEN.fetch_add(1, Ordering::Relaxed);
    // Relaxed: only the count itself matters, and the read-modify-write keeps it exact.
    due(seen + 1) > due(seen)
}

/// Writes a request's line. `status` is the status sent, `total` the time from the request head to the end of the response.
pub(super) fn write(client: &Client, request: &Request, status: u16, total: Duration) {
    let head = client.head();
    let record = request.execution.as_ref().map(Execution::record);
    let faults = record.and_then(|record| faults(record));
    let injected = record.map(|record| record.time()).unwrap_or_default();
    tracing::info!(
        target: TARGET,
        listener = &*request.view.name,
        upstream = &*request.route().upstream,
        client = request.address.map(tracing::field::display),
        method = head.method.as_str(),
        path = %String::from_utf8_lossy(head.raw_path()),
        version = ?head.version,
        status,
        rules = faults.as_ref().map(|(rules, _)| rules.as_str()),
        faults = faults.as_ref().map(|(_, faults)| faults.as_str()),
        skipped = record.and_then(|record| skipped(record)),
        injected_ms = millis(injected),
        upstream_ms = request.natural.map(millis),
        total_ms = millis(total),
        bytes_in = client.bytes_read(),
        bytes_out = client.bytes_sent(),
        client_gone = request.gone.then_some(true),
        body_unread = request.unread.as_deref(),
        request_id = request_id(head),
        error = request.error.as_deref(),
        "request"
    );
}

/// Writes the line of a request whose head was refused.
pub(super) fn write_refused(view: &View, connection: &Connection, status: u16, reason: &str) {
    tracing::info!(
        target: TARGET,
        listener = &*view.name,
        upstream = &*view.own.upstream,
        client = connection.client().map(tracing::field::display),
        status,
        error = reason,
        "request"
    );
}

/// The rules and the faults that were injected, as two lists.
fn faults(record: &Record) -> Option<(String, String)> {
    let (rules, faults): (Vec<&str>, Vec<&str>) = record.faults().into_iter().unzip();
    (!faults.is_empty()).then(|| (rules.join(", "), faults.join(", ")))
}

/// The faults that could not be applied, with the reasons, as one list.
pub(in crate::proxy) fn skipped(record: &Record) -> Option<String> {
    let skipped = record.skipped();
    let words = |one: &Skipped| format!("{}: {}", one.fault, one.reason);
    (!skipped.is_empty()).then(|| skipped.iter().map(words).collect::<Vec<_>>().join(", "))
}

/// The request's id, if it carries one: `x-request-id`, or the trace id of `traceparent` (W3C Trace Context).
pub(super) fn request_id(head: &RequestHeader) -> Option<&str> {
    let field = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    field(REQUEST_ID).or_else(|| field(TRACE_PARENT).and_then(|value| value.split('-').nth(1)))
}

/// A duration in milliseconds, rounded to the microsecond.
pub(in crate::proxy) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
