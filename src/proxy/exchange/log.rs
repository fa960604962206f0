//! The access log: one structured line a request.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pingora::Error;
use pingora::http::RequestHeader;

use crate::config::snapshot::View;
use crate::proxy::client::Client;
use crate::proxy::record::Record;

/// The target of access lines, for filters.
pub(crate) const TARGET: &str = "squall::access";

/// What is known of a request at its end.
pub(crate) struct Access<'a> {
    /// The listener's view.
    pub view: &'a View,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The status that was sent; 0 for none.
    pub status: u16,
    /// From the request's head to the end of its answer.
    pub total: Duration,
    /// The upstream's own time.
    pub natural: Option<Duration>,
    /// What was injected.
    pub record: Option<&'a Record>,
    /// Whether the client left.
    pub gone: bool,
    /// What went wrong.
    pub error: Option<&'a Error>,
}

/// Whether a request gets a line: all with a fault or a server error, and the configured share of the others.
pub(crate) fn wanted(view: &View, hit: bool, status: u16) -> bool {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    if !view.access {
        return false;
    }
    if hit || status >= 500 || view.sample_ppm >= 1_000_000 {
        return true;
    }
    // Evenly spread: a line whenever the count of wanted lines grows.
    let due = |n: u64| (u128::from(n) * u128::from(view.sample_ppm)) / 1_000_000;
    let seen = SEEN.fetch_add(1, Ordering::Relaxed);
    due(seen + 1) > due(seen)
}

impl Access<'_> {
    /// Writes the line.
    pub(crate) fn write(&self, client: &Client) {
        let header = client.head();
        let faults = self.faults();
        let injected = self.record.map(Record::time).unwrap_or_default();
        let error = self.error.map(|error| error.to_string());
        tracing::info!(
            target: TARGET,
            listener = &*self.view.name,
            upstream = &*self.view.upstream,
            client = self.client.map(tracing::field::display),
            method = header.method.as_str(),
            path = %String::from_utf8_lossy(header.raw_path()),
            version = ?header.version,
            status = self.status,
            rules = faults.as_ref().map(|(rules, _)| rules.as_str()),
            faults = faults.as_ref().map(|(_, faults)| faults.as_str()),
            injected_ms = millis(injected),
            upstream_ms = self.natural.map(millis),
            total_ms = millis(self.total),
            bytes_in = client.bytes_read(),
            bytes_out = client.bytes_sent(),
            client_gone = self.gone.then_some(true),
            request_id = request_id(header),
            error,
            "request"
        );
    }

    fn faults(&self) -> Option<(String, String)> {
        let (rules, faults): (Vec<&str>, Vec<&str>) = self.record?.faults().into_iter().unzip();
        (!faults.is_empty()).then(|| (rules.join(", "), faults.join(", ")))
    }
}

/// The request's own id, where its sender gave one: `x-request-id`, or the trace id of `traceparent` (W3C Trace Context).
fn request_id(head: &RequestHeader) -> Option<&str> {
    let field = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    field("x-request-id").or_else(|| field("traceparent").and_then(|value| value.split('-').nth(1)))
}

/// Milliseconds, to the microsecond.
pub(in crate::proxy) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
