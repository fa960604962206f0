//! What happens to a request, in the words of other tools: the faults for one word with its settings.

use super::block::{Hit, Toxic};
use super::fault::{Fault, is_own, own_key};
use super::units::{MILLISECOND, SECOND, time};
use super::value::{entries, first, flow, is_nested, is_true, number};
use super::{abort, connection, delay, when};
use crate::yaml::tree::{Node, Value};
use crate::yaml::units::{ByteRate, Time};

/// The aborts for a list of statuses.
pub(super) fn statuses(name: &str, value: &Node) -> Option<Vec<Fault>> {
    let is_status = matches!(
        name,
        "status"
            | "statuses"
            | "statuscode"
            | "statuscodes"
            | "errors"
            | "error"
            | "abort"
            | "httpstatus"
            | "codes"
            | "code"
    );
    let list = match &value.value {
        Value::Map(_) if name == "abort" => abort::of(value),
        Value::Seq(_) => abort::of(value),
        _ => return None,
    };
    (is_status && list.len() > 1).then_some(list)
}

/// The share that stands in the map of a fault.
pub(super) fn share_in(map: &Node) -> Option<String> {
    entries(map)
        .find(|(key, _)| when::is_share(key))
        .and_then(|(key, value)| when::share(key, value))
}

/// The faults for a word, with its settings.
pub(super) fn faults(key: &str, name: &str, value: &Node, map: &Node) -> Option<Vec<Hit>> {
    let share = share_in(value);
    let asked = first(value, &["headerdelay", "headerabort", "headerlimit"]).is_some();
    let toxic = match name {
        "timeout" => Some(Toxic::Timeout),
        "resetpeer" => Some(Toxic::Reset),
        "latency" => Some(Toxic::Latency),
        _ => None,
    };
    let with = |faults: Vec<Fault>| -> Option<Vec<Hit>> {
        let hits = faults.into_iter().map(|fault| Hit {
            fault,
            share: share.clone(),
            asked,
            toxic,
            on_request: None,
        });
        Some(hits.collect())
    };
    if let Some(fault) = own(key, value) {
        return with(vec![fault]);
    }
    match name {
        // The settings of the map are the delay's.
        "minms" | "maxms" | "jitter" | "jitterms" | "mean" | "stddev" | "median" => with(vec![delay::of(map)?]),
        "latency"
        | "delay"
        | "slow"
        | "slowness"
        | "lag"
        | "fixeddelay"
        | "fixeddelaymilliseconds"
        | "fixeddelayms"
        | "delayms"
        | "delaymilliseconds"
        | "latencyms"
        | "wait"
        | "sleep"
        | "pause"
        | "responsedelay"
        | "connectiondelay"
        | "injectdelay"
        | "adddelay"
        | "delaydistribution"
        | "randomdelay"
        | "random"
        | "fixed"
        | "uniform"
        | "lognormal"
        | "normal"
        | "exponential" => delays(key, name, value, map).and_then(with),
        "chunkeddribbledelay" => with(vec![connection::dribble(value)]),
        "down" => with(vec![Fault::of("reset", "before", "connection")]),
        "loss" | "packetloss" | "corruption" | "reorder" | "corrupt" | "duplicate" => {
            let malformed = value
                .text()
                .and_then(connection::ending)
                .filter(|_| name != "duplicate");
            if let Some(malformed) = malformed {
                return with(vec![malformed]);
            }
            let (fault, share) = connection::packets(name, value)?;
            Some(vec![Hit {
                share,
                ..Hit::from(fault)
            }])
        }
        "ratelimit" | "ratelimiting" | "ratelimitingplugin" | "throttle" | "quota" | "localratelimit" => {
            let fault = connection::bandwidth("rate", value).filter(|_| value.text().is_some_and(has_bytes));
            with(vec![fault.or_else(|| connection::quota(value))?])
        }
        "bandwidth" | "throughput" | "responseratelimit" | "rate" | "slownetwork" | "bytespersecond" | "limitkbps"
            if name != "rate" || value.text().is_none_or(has_bytes) =>
        {
            let toxic = connection::toxic(name, value).filter(|_| name == "bandwidth");
            with(toxic.or_else(|| Some(vec![connection::bandwidth(key, value)?]))?)
        }
        "http2error" => with(vec![Fault::of("reset", "code", flow(value))]),
        "replace" | "patch" | "modify" | "transform" => with(vec![rewrite(value)?]),
        "httperror" | "errorresponse"
            if first(value, &["dropconnection"]).is_some() || connection_name(value).is_some() =>
        {
            let waits = first(value, &["delay"]).and_then(delay::of);
            let ends = connection_name(value).unwrap_or_else(|| Fault::new("close"));
            with(waits.into_iter().chain([ends]).collect())
        }
        "abort" if is_true(value) => {
            // Chaos Mesh's `HTTPChaos` ends the connection.
            let is_chaos = first(map, &["target", "port"]).is_some();
            with(vec![if is_chaos {
                Fault::new("close")
            } else {
                Fault::of("abort", "status", 503)
            }])
        }
        "dropconnection" | "closesocket" | "closeconnection" if value.text() == Some("false") => Some(Vec::new()),
        _ if connection::toxic(name, value).is_some() => with(connection::toxic(name, value)?),
        _ if connection::ending(key).is_some() => with(vec![connection::ending(key)?]),
        "grpcstatus" | "grpc" => {
            let status = abort::of(&single("grpc", value));
            with(status).filter(|hits| !hits.is_empty())
        }
        "abort" | "httpstatus" | "status" | "statuscode" | "error" | "errors" | "fail" | "failure" | "httperror"
        | "httpabort" | "code" | "return" | "exception" | "abortwith" | "errorcode" => {
            aborts(value, map).and_then(with)
        }
        "unavailable" => with(vec![Fault::of("abort", "status", 503)]),
        "cut" | "truncated" => with(vec![Fault::of("truncate", "after", "50%")]),
        _ => None,
    }
}

/// A map with one entry, for a value that stands alone.
fn single(key: &str, value: &Node) -> Node {
    let mut map = Node::empty_map(value.span);
    map.insert(key, value.clone());
    map
}

fn connection_name(value: &Node) -> Option<Fault> {
    connection::ending(value.text()?)
}

/// One of squall's own faults whose settings are all squall's own, too.
fn own(key: &str, value: &Node) -> Option<Fault> {
    if !is_own(key) {
        return None;
    }
    match &value.value {
        Value::Map(_) => {
            let mut fault = Fault::new(key);
            for (name, inner) in entries(value) {
                fault = fault.with(own_key(key, name)?, own_setting(key, name, inner)?);
            }
            Some(fault)
        }
        Value::Null => {
            Some(Fault::new(key)).filter(|_| matches!(key, "close" | "reset" | "hang" | "goaway" | "duplicate"))
        }
        Value::String(_) if is_own_text(key, value) => Some(Fault::of(key, "", flow(value))),
        _ => None,
    }
}

/// A setting as it is, if nothing is missing from it.
fn own_setting(fault: &str, name: &str, value: &Node) -> Option<String> {
    let lacks_unit = fault == "delay" && number(value).is_some() && matches!(name, "fixed" | "max");
    let is_odd = match name {
        "uniform" => !matches!(value.value, Value::Seq(_)),
        "status" => matches!(value.value, Value::Seq(_)),
        _ => false,
    };
    (!lacks_unit && !is_odd).then(|| flow(value))
}

/// Whether a text is the short form of one of squall's faults.
fn is_own_text(fault: &str, value: &Node) -> bool {
    let text = value.text().unwrap_or_default();
    match fault {
        "delay" => text.parse::<Time>().is_ok(),
        "bandwidth" => text.parse::<ByteRate>().is_ok(),
        "quota" => text.contains('/') && !has_bytes(text),
        "truncate" | "stall" | "drop" | "profile" | "certificate" => true,
        _ => false,
    }
}

fn has_bytes(text: &str) -> bool {
    let unit = text
        .trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.')
        .trim();
    let lower = unit.to_ascii_lowercase();
    lower.ends_with("bit") || lower.ends_with("bps") || lower.ends_with("b/s") || lower.ends_with("bit/s")
}

/// A delay, which may have an unusable length, and a share of its own.
fn delays(key: &str, name: &str, value: &Node, map: &Node) -> Option<Vec<Fault>> {
    if matches!(value.value, Value::Null) {
        return Some(vec![Fault::of("delay", "fixed", "200ms")]);
    }
    // Envoy's delay whose length the caller says; the rule's is the longest.
    let asked = first(value, &["headerdelay"]).map(|_| Fault::of("delay", "fixed", "10s"));
    let unit = if name == "delay" && matches!(value.value, Value::Float(_)) {
        SECOND
    } else {
        MILLISECOND
    };
    let scalar = value.text().and_then(|_| time(value, unit));
    let with_jitter = scalar.and_then(|length| {
        let jitter = first(map, &["jitter"]).and_then(|jitter| time(jitter, unit));
        let is_alone = !is_own(key) || first(map, &["jitter"]).is_some();
        is_alone.then(|| delay::around(length, jitter))
    });
    let distribution = is_nested(value).then(|| delay::distribution(name, value)).flatten();
    Some(vec![
        with_jitter.or(distribution).or_else(|| delay::of(value)).or(asked)?,
    ])
}

/// An abort by a value, or by the map that the value is in: `{statusCode: 503, body: x}` is one response.
fn aborts(value: &Node, map: &Node) -> Option<Vec<Fault>> {
    if matches!(value.value, Value::Null) {
        return Some(vec![Fault::of("abort", "status", 503)]);
    }
    let http2 = first(value, &["http2error"]);
    if let Some(code) = http2 {
        return Some(vec![Fault::of("reset", "code", flow(code))]);
    }
    // Envoy's abort whose status the caller says.
    if first(value, &["headerabort"]).is_some() {
        return Some(vec![Fault::of("abort", "status", 503)]);
    }
    let mut faults = abort::of(value);
    if faults.is_empty() {
        faults.extend(connection_name(value));
    }
    if let ([one], None) = (faults.as_slice(), first(map, &["method", "type"])) {
        let whole = abort::of(map);
        if let ([whole], false, true) = (whole.as_slice(), is_nested(value), whole.len() == 1) {
            return Some(vec![if whole.has("status") || whole.has("grpc") {
                whole.clone()
            } else {
                one.clone()
            }]);
        }
    }
    (faults.len() == 1).then_some(faults)
}

/// `HTTPChaos` puts parts in the place of the response's own.
fn rewrite(value: &Node) -> Option<Fault> {
    let mut fault = Fault::new("rewrite").maybe("status", abort::status_of(value));
    if let Some(headers) = abort::headers(value) {
        fault = fault.with("headers", format_args!("{{set: {headers}}}"));
    }
    if let Some((key, body)) = abort::body(value) {
        fault = fault.with(key, body);
    }
    (fault != Fault::new("rewrite")).then_some(fault)
}
