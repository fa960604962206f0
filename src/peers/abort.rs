//! Responses: a status, a gRPC status, a body and header fields, as other tools write them.

use super::fault::{Fault, own_key};
use super::units::{SECOND, time};
use super::value::{CUT, entries, first, flow, is_nested, items, list, map, number, plain, quoted, text};
use crate::grpc::GrpcCode;
use crate::yaml::tree::{Node, Value};

const STATUS: &[&str] = &[
    "statuscode",
    "status",
    "code",
    "httpstatus",
    "httpcode",
    "errorcode",
    "http",
];
const GRPC: &[&str] = &["grpcstatus", "grpccode", "grpc"];
const BODY: &[&str] = &["body", "text", "content", "responsebody", "detail", "error"];
const JSON: &[&str] = &["jsonbody", "json", "data"];
const FILE: &[&str] = &["bodyfilename", "bodyfile", "file"];
const HEADERS: &[&str] = &["headers", "header", "responseheaders", "addheaders"];

/// Whether a key belongs to a response, in the words of other tools.
pub(super) fn is_part(key: &str) -> bool {
    let key = plain(key);
    [STATUS, GRPC, BODY, JSON, FILE, HEADERS]
        .iter()
        .any(|list| list.contains(&&*key))
        || matches!(
            &*key,
            "contenttype" | "retryafter" | "reasonphrase" | "reason" | "http2error"
        )
}

/// The gRPC status that a text names.
pub(super) fn grpc_name(text: &str) -> Option<&'static str> {
    let code = GrpcCode::named(&text.replace(['-', ' '], "_"))?;
    (code != GrpcCode::OK).then(|| code.name())
}

/// A status to answer with; `5xx` is one, too.
pub(super) fn status(node: &Node) -> Option<u16> {
    let text = node.text()?.trim();
    let digits: String = text
        .chars()
        .take(3)
        .map(|letter| if matches!(letter, 'x' | 'X') { '0' } else { letter })
        .collect();
    digits
        .parse()
        .ok()
        .filter(|status| (200..600).contains(status) && text.len() <= 3 || (text.len() > 3 && text.contains(' ')))
}

/// The faults for a value: one, or one of several for a list of statuses.
pub(super) fn of(node: &Node) -> Vec<Fault> {
    match &node.value {
        Value::Map(_) => {
            let several = first(node, STATUS).filter(|status| matches!(status.value, Value::Seq(_)));
            match several {
                Some(several) => items(several)
                    .iter()
                    .filter_map(|status| of_map(node, Some(status)))
                    .collect(),
                None => of_map(node, first(node, STATUS)).into_iter().collect(),
            }
        }
        Value::Seq(items) => items.iter().flat_map(of).collect(),
        _ => of_scalar(node).into_iter().collect(),
    }
}

fn of_scalar(node: &Node) -> Option<Fault> {
    if let Some(status) = status(node) {
        return Some(Fault::of("abort", "status", status));
    }
    Some(Fault::of("abort", "grpc", grpc_name(node.text()?)?))
}

fn of_map(map: &Node, code: Option<&Node>) -> Option<Fault> {
    let mut fault = Fault::new("abort");
    if let Some(code) = code {
        fault = match status(code) {
            Some(status) => fault.with("status", status),
            None => fault.maybe("grpc", code.text().and_then(grpc_name)),
        };
    }
    fault = fault.maybe("grpc", first(map, GRPC).and_then(grpc));
    if let Some((key, value)) = body(map) {
        fault = fault.with(key, value);
    }
    fault = fault.maybe("headers", headers(map));
    let after = first(map, &["retryafter"]).and_then(|after| time(after, SECOND));
    fault = fault.maybe("retry_after", after);
    for (key, value) in entries(map) {
        if let Some(own) = own_key("abort", key)
            && matches!(own, "message" | "problem" | "echo" | "before" | "retry_after")
        {
            fault = fault.with(own, flow(value));
        }
    }
    (fault != Fault::new("abort")).then_some(fault)
}

fn grpc(node: &Node) -> Option<String> {
    match number(node) {
        Some(_) => node.text().map(str::to_owned),
        None => grpc_name(node.text()?).map(str::to_owned),
    }
}

/// The body of a response: squall's key for it, and its value.
pub(super) fn body(map: &Node) -> Option<(&'static str, String)> {
    if let Some(json) = first(map, JSON) {
        return Some(("json", parsed(json)));
    }
    if let Some(file) = first(map, FILE) {
        return Some(("file", flow(file)));
    }
    let body = first(map, BODY)?;
    match text(body, &["type"]) {
        // MockServer's body with its type.
        Some("JSON") => Some(("json", parsed(first(body, &["json"])?))),
        Some("STRING") => Some(("body", flow(first(body, &["string"])?))),
        // The text of Istio's and Envoy's direct response.
        _ if first(body, &["string", "inlinestring"]).is_some() && entries(body).nth(1).is_none() => {
            Some(("body", flow(first(body, &["string", "inlinestring"])?)))
        }
        _ if is_nested(body) => Some(("json", flow(body))),
        _ => Some(("body", flow(body))),
    }
}

/// JSON that may stand in a text.
pub(super) fn parsed(node: &Node) -> String {
    let text = node.text().filter(|text| text.trim_start().starts_with(['{', '[']));
    match text.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok()) {
        Some(json) => of_json(&json),
        None => flow(node),
    }
}

fn of_json(json: &serde_json::Value) -> String {
    match json {
        serde_json::Value::Array(items) => list(items.iter().map(of_json)),
        serde_json::Value::Object(entries) => map(entries.iter().map(|(key, value)| (quoted(key), of_json(value)))),
        serde_json::Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// The header fields of a response: from a map, or MockServer's and Envoy's list of `{name, values}`.
pub(super) fn headers(map: &Node) -> Option<String> {
    let mut fields: Vec<(String, String)> = Vec::new();
    if let Some(headers) = first(map, HEADERS) {
        for item in items(headers) {
            match text(item, &["name"]) {
                Some(name) => {
                    let values = first(item, &["values", "value"]);
                    fields.push((quoted(name), values.map_or_else(|| CUT.to_owned(), one)));
                }
                None => fields.extend(entries(item).map(|(name, value)| (quoted(name), one(value)))),
            }
        }
    }
    if let Some(media) = first(map, &["contenttype"]) {
        fields.push(("content-type".to_owned(), flow(media)));
    }
    (!fields.is_empty()).then(|| self::map(fields))
}

/// The values of a field, of which one needs no list.
fn one(values: &Node) -> String {
    match items(values) {
        [value] => flow(value),
        _ => flow(values),
    }
}

/// The status of a response.
pub(super) fn status_of(map: &Node) -> Option<u16> {
    first(map, &["statuscode", "status", "code", "httpstatus"]).and_then(status)
}
