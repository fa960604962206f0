//! Problem details (RFC 9457), in the media type that a request accepts.

use std::fmt::Write as _;

use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

/// The namespace of problem details in XML (RFC 9457, appendix B).
const NAMESPACE: &str = "urn:ietf:rfc:7807";

/// A form of problem details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Xml,
    Html,
    Text,
}

/// The media types that problem details are written in, the preferred ones first.
const TYPES: [(&str, Form); 7] = [
    ("application/problem+json", Form::Json),
    ("application/json", Form::Json),
    ("application/problem+xml", Form::Xml),
    ("application/xml", Form::Xml),
    ("text/plain", Form::Text),
    ("text/html", Form::Html),
    ("text/xml", Form::Xml),
];

/// Writes a problem: its media type and body. Members that RFC 9457 defines and that are missing are added.
pub fn write(members: &Map<String, Value>, status: StatusCode, headers: &HeaderMap) -> (&'static str, String) {
    let (kind, form) = accepted(headers);
    let members = completed(members, status);
    match form {
        Form::Json => (kind, Value::Object(members).to_string()),
        Form::Xml => (kind, xml(&members)),
        Form::Html => ("text/html; charset=utf-8", html(&members, status)),
        Form::Text => ("text/plain; charset=utf-8", text(&members)),
    }
}

/// Adds `type`, `title` and `status`.
fn completed(members: &Map<String, Value>, status: StatusCode) -> Map<String, Value> {
    let own = [
        ("type", Value::from("about:blank")),
        ("title", status.canonical_reason().unwrap_or("Error").into()),
        ("status", status.as_u16().into()),
    ];
    let mut all: Map<String, Value> = own
        .into_iter()
        .map(|(name, value)| (name.to_owned(), members.get(name).cloned().unwrap_or(value)))
        .collect();
    for (name, value) in members {
        all.entry(name.clone()).or_insert_with(|| value.clone());
    }
    all
}

/// The first of the [`TYPES`] that `Accept` prefers (RFC 9110, section 12.5.1). Without one that is acceptable, the first of all.
fn accepted(headers: &HeaderMap) -> (&'static str, Form) {
    let ranges = ranges(headers);
    let quality = |kind: &str| {
        let fits = |range: &str| -> u8 {
            match range.strip_suffix("/*") {
                _ if range == kind => 3,
                Some("*") => 1,
                Some(group) if kind.strip_prefix(group).is_some_and(|rest| rest.starts_with('/')) => 2,
                _ => 0,
            }
        };
        // The most specific range counts.
        let best = ranges
            .iter()
            .map(|(range, quality)| (fits(range), *quality))
            .filter(|(fit, _)| *fit > 0);
        best.max_by_key(|(fit, _)| *fit)
            .map_or((0, 0), |(fit, quality)| (quality, fit))
    };
    let [first, ..] = TYPES;
    let mut best = (first, (0, 0));
    for candidate in TYPES {
        let quality = quality(candidate.0);
        // The first of equals stays: the order of the list.
        if quality.0 > 0 && quality > best.1 {
            best = (candidate, quality);
        }
    }
    best.0
}

/// The media ranges of `Accept` in lower case, with their qualities in thousandths.
fn ranges(headers: &HeaderMap) -> Vec<(String, u16)> {
    let fields = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|field| field.to_str().ok());
    let ranges = fields.flat_map(|field| field.split(','));
    let range = |text: &str| {
        let mut parts = text.split(';').map(str::trim);
        let range = parts.next().filter(|range| !range.is_empty())?.to_ascii_lowercase();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let quality: f32 = quality.map_or(Some(1.0), |quality| quality.parse().ok())?;
        Some((range, thousandths(quality)))
    };
    ranges.filter_map(range).collect()
}

fn thousandths(quality: f32) -> u16 {
    (quality.clamp(0.0, 1.0) * 1000.0) as u16
}

fn xml(members: &Map<String, Value>) -> String {
    let mut out = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<problem xmlns=\"{NAMESPACE}\">");
    members.iter().for_each(|(name, value)| element(name, value, &mut out));
    out.push_str("</problem>\n");
    out
}

/// A member as an element; the items of a list are `i` elements (RFC 9457, appendix B).
fn element(name: &str, value: &Value, out: &mut String) {
    let name = element_name(name);
    let _ = write!(out, "<{name}>");
    match value {
        Value::Array(items) => items.iter().for_each(|item| element("i", item, out)),
        Value::Object(members) => members.iter().for_each(|(name, value)| element(name, value, out)),
        other => out.push_str(&escaped(&plain(other))),
    }
    let _ = write!(out, "</{name}>");
}

/// A name as XML allows it, with `_` for what it does not.
fn element_name(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let name: String = name.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        name
    } else {
        format!("_{name}")
    }
}

fn html(members: &Map<String, Value>, status: StatusCode) -> String {
    let title = escaped(&members.get("title").map(plain).unwrap_or_default());
    let mut out = format!(
        "<!doctype html>\n<html><head><meta charset=\"utf-8\"><title>{0} {title}</title></head><body>\n<h1>{0} {title}</h1>\n",
        status.as_u16()
    );
    if let Some(detail) = members.get("detail") {
        let _ = writeln!(out, "<p>{}</p>", escaped(&plain(detail)));
    }
    out.push_str("</body></html>\n");
    out
}

fn text(members: &Map<String, Value>) -> String {
    members.iter().fold(String::new(), |mut out, (name, value)| {
        let _ = writeln!(out, "{name}: {}", plain(value));
        out
    })
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A text within XML or HTML. Characters that XML has none for become U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(accept: &str) -> (&'static str, String) {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, accept.parse().unwrap());
        }
        let members = json!({"detail": "a < b & \"c\"", "errors": [{"at x": 1}, "e"]});
        write(members.as_object().unwrap(), StatusCode::SERVICE_UNAVAILABLE, &headers)
    }

    #[test]
    fn the_preferred_type_is_written() {
        for (accept, kind) in [
            ("", "application/problem+json"),
            ("*/*", "application/problem+json"),
            ("application/json", "application/json"),
            ("application/json, application/problem+json", "application/problem+json"),
            ("application/*", "application/problem+json"),
            ("application/json, */*;q=0.1", "application/json"),
            ("application/json, text/plain, */*", "application/json"),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                "text/html; charset=utf-8",
            ),
            ("text/xml;q=0.5, text/plain;q=0.4", "text/xml"),
            ("APPLICATION/PROBLEM+XML", "application/problem+xml"),
            (
                "application/problem+json;q=0, application/json;q=0.001",
                "application/json",
            ),
            ("text/*", "text/plain; charset=utf-8"),
            ("image/png", "application/problem+json"),
            ("application/json;q=x, text/plain", "text/plain; charset=utf-8"),
        ] {
            assert_eq!(written(accept).0, kind, "{accept}");
        }
    }

    #[test]
    fn each_form() {
        for (accept, body) in [
            (
                "application/problem+json",
                r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"a < b & \"c\"","errors":[{"at x":1},"e"]}"#,
            ),
            (
                "application/xml",
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<problem xmlns=\"urn:ietf:rfc:7807\"><type>about:blank</type>\
                <title>Service Unavailable</title><status>503</status><detail>a &lt; b &amp; &quot;c&quot;</detail>\
                <errors><i><at_x>1</at_x></i><i>e</i></errors></problem>\n",
            ),
            (
                "text/html",
                "<!doctype html>\n<html><head><meta charset=\"utf-8\"><title>503 Service Unavailable</title></head><body>\n\
                <h1>503 Service Unavailable</h1>\n<p>a &lt; b &amp; &quot;c&quot;</p>\n</body></html>\n",
            ),
            (
                "text/plain",
                "type: about:blank\ntitle: Service Unavailable\nstatus: 503\ndetail: a < b & \"c\"\nerrors: [{\"at x\":1},\"e\"]\n",
            ),
        ] {
            assert_eq!(written(accept).1, body, "{accept}");
        }
    }
}
