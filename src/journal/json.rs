//! Entries as JSON, with secrets masked.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use super::Numbered;
use super::attempts::Attempt;
use super::entry::{Entry, Injected, Kind, Missed, Skipped};
use super::mask;

/// An entry as JSON. Times are in milliseconds; null stands for what there is not.
pub fn entry(one: &Numbered, attempt: Option<&Attempt>) -> Value {
    let entry = &one.entry;
    let head = &entry.head;
    let is_request = entry.kind == Kind::Request;
    let injected = |of: fn(&Injected) -> &str| {
        let mut names: Vec<&str> = Vec::new();
        for name in entry.injected.iter().map(of) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    };
    json!({
        "id": one.id,
        "kind": entry.kind.name(),
        "time": timestamp(entry.time),
        "listener": &*entry.listener,
        "upstream": Some(&*entry.upstream).filter(|name| !name.is_empty()),
        "space": entry.space(),
        "client": entry.client,
        "method": head.method().map(http::Method::as_str),
        "path": is_request.then(|| mask::target(&head.target())),
        "host": Some(entry.with_head(|head| head.host().to_owned())).filter(|host| !host.is_empty()),
        "status": Some(entry.status).filter(|status| *status > 0),
        "rules": injected(|one| &one.rule),
        "faults": injected(|one| one.fault),
        "draws": entry.injected.iter().map(draw).collect::<Vec<_>>(),
        "skipped": entry.skipped.iter().map(skipped).collect::<Vec<_>>(),
        "missed": entry.missed.iter().map(missed).collect::<Vec<_>>(),
        "injected_ms": millis(entry.waited),
        "upstream_ms": entry.natural.map(millis),
        "total_ms": millis(entry.total),
        "bytes_in": entry.bytes[0],
        "bytes_out": entry.bytes[1],
        "client_gone": entry.gone,
        "error": entry.error,
        "request_id": request_id(entry),
        "attempt": attempt.map(|attempt| attempt.number),
        "attempt_by": attempt.map(|attempt| attempt.by),
        "gap_ms": attempt.and_then(|attempt| attempt.gap).map(millis),
        "headers": fields(entry),
        "headers_cut": head.is_cut(),
    })
}

fn draw(one: &Injected) -> Value {
    let drawn = f64::from(one.drawn) / 1e6;
    json!({"rule": &*one.rule, "fault": one.fault, "ordinal": one.ordinal, "draw": drawn})
}

/// A fault that could not be applied, as JSON.
pub fn skipped(one: &Skipped) -> Value {
    let mut shown = json!({"rule": &*one.rule, "fault": one.fault, "reason": one.reason});
    if let (Some(members), Some(detail)) = (shown.as_object_mut(), &one.detail) {
        members.insert("detail".to_owned(), Value::from(&**detail));
    }
    shown
}

fn missed(one: &Missed) -> Value {
    json!({"rule": &*one.rule, "ordinal": one.ordinal, "reason": one.reason.to_string()})
}

/// The header fields as pairs of name and value.
fn fields(entry: &Entry) -> Vec<(&str, String)> {
    let shown = |(name, value)| (name, mask::field(name, value));
    entry.head.fields().map(shown).collect()
}

/// The request's id, if it carries one: `x-request-id`, or the trace id of `traceparent` (W3C Trace Context).
fn request_id(entry: &Entry) -> Option<&str> {
    let trace = || entry.head.field("traceparent")?.split('-').nth(1);
    entry.head.field("x-request-id").or_else(trace)
}

/// A time as in RFC 3339, in UTC and with milliseconds.
fn timestamp(time: SystemTime) -> Option<String> {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from(time).format(format).ok()
}

/// A duration in milliseconds, rounded to the microsecond.
pub(super) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::journal::entry::testing;
    use crate::rule::when::{Exceeded, Reason};

    #[test]
    fn an_entry_is_shown_without_its_secrets() {
        let headers = [
            ("host", "Shop.example"),
            ("authorization", "Bearer abc"),
            ("x-request-id", "r1"),
        ];
        let request = Entry {
            injected: vec![Injected {
                rule: "slow".into(),
                fault: "delay",
                ordinal: 7,
                drawn: 42_310,
            }],
            skipped: vec![Skipped {
                rule: "cut".into(),
                fault: "truncate",
                reason: "body too short",
                detail: Some("by a byte".into()),
            }],
            missed: vec![Missed {
                rule: "rare".into(),
                ordinal: 3,
                reason: Reason::Limit(Exceeded::Total),
            }],
            waited: Duration::from_micros(1_500),
            ..testing::entry("GET", "/a?token=t", 1_500, 12, &headers)
        };
        let numbered = Numbered {
            id: 5,
            entry: Arc::new(request),
        };
        let attempt = Attempt {
            number: 2,
            gap: Some(Duration::from_millis(100)),
            by: "x-request-id",
        };
        let shown = entry(&numbered, Some(&attempt));
        let expected = json!({
            "id": 5, "kind": "request", "time": "1970-01-01T00:00:01.500Z", "listener": "web", "upstream": "app",
            "space": null, "client": "127.0.0.1", "method": "GET", "path": "/a?token=***", "host": "shop.example",
            "status": 200, "rules": ["slow"], "faults": ["delay"],
            "draws": [{"rule": "slow", "fault": "delay", "ordinal": 7, "draw": 0.04231}],
            "skipped": [{"rule": "cut", "fault": "truncate", "reason": "body too short", "detail": "by a byte"}],
            "missed": [{"rule": "rare", "ordinal": 3, "reason": Reason::Limit(Exceeded::Total).to_string()}],
            "injected_ms": 1.5, "upstream_ms": null, "total_ms": 12.0, "bytes_in": 0, "bytes_out": 0,
            "client_gone": false, "error": null, "request_id": "r1", "attempt": 2, "attempt_by": "x-request-id",
            "gap_ms": 100.0,
            "headers": [["host", "Shop.example"], ["authorization", "***"], ["x-request-id", "r1"]],
            "headers_cut": false,
        });
        assert_eq!(shown, expected);
    }
}
