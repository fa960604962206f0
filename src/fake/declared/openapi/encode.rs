//! A value in the syntax of its media type.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::check::is_json;
use super::document::Document;
use super::xml;

/// How values of a media type are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Json,
    /// One value a line.
    Lines,
    /// A record separator before each value (RFC 7464).
    Sequence,
    /// Server-sent events.
    Events,
    Xml,
    Csv,
    Form,
    Yaml,
    Plain,
}

impl Syntax {
    /// The syntax of a media type without parameters.
    pub(super) fn of(essence: &str) -> Self {
        let subtype = essence.split_once('/').map_or("", |(_, subtype)| subtype);
        match subtype.strip_prefix("x-").unwrap_or(subtype) {
            "event-stream" => Self::Events,
            "ndjson" | "jsonl" | "jsonlines" | "json-lines" | "json-stream" | "stream+json" | "json-l" | "nljson" => {
                Self::Lines
            }
            "json-seq" => Self::Sequence,
            "csv" => Self::Csv,
            "www-form-urlencoded" => Self::Form,
            "yaml" | "yml" => Self::Yaml,
            "xml" => Self::Xml,
            subtype if subtype.ends_with("+xml") => Self::Xml,
            subtype if subtype.ends_with("+yaml") => Self::Yaml,
            subtype if subtype.ends_with("+json-seq") => Self::Sequence,
            "json" => Self::Json,
            _ if is_json(essence) => Self::Json,
            _ => Self::Plain,
        }
    }

    /// Whether a body is a row of values, rather than one.
    fn is_streamed(self) -> bool {
        matches!(self, Self::Lines | Self::Sequence | Self::Events)
    }

    /// A value as bytes. A text that an author wrote stands for itself, except in JSON.
    pub(super) fn write(self, document: &Document, schema: Option<&Value>, value: &Value, is_given: bool) -> Vec<u8> {
        if let (Value::String(text), true) = (value, is_given)
            && (self != Self::Json || is_text_of_json(text))
        {
            return text.as_bytes().to_vec();
        }
        let values = match value {
            Value::Array(values) if self.is_streamed() => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        let text = match self {
            Self::Json => value.to_string(),
            Self::Lines => values.iter().map(|value| format!("{value}\n")).collect(),
            Self::Sequence => values.iter().map(|value| format!("\u{1e}{value}\n")).collect(),
            Self::Events => values.iter().map(event).collect(),
            Self::Xml => xml::write(document, schema, value),
            Self::Csv => csv(value),
            Self::Form => form(value),
            Self::Yaml => serde_yaml::to_string(value).unwrap_or_default(),
            Self::Plain => plain(value),
        };
        text.into_bytes()
    }
}

/// A text as it is, anything else as JSON.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Examples of JSON are often given as its text.
fn is_text_of_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// A value as a server-sent event: by its fields if it has those of an event (OpenAPI 3.2), else as the data of one.
fn event(value: &Value) -> String {
    const FIELDS: &[&str] = &["event", "id", "retry", "data"];
    let fields = value.as_object().filter(|map| {
        map.contains_key("data") && map.keys().all(|key| FIELDS.contains(&key.as_str()) || key == "comment")
    });
    let Some(fields) = fields else {
        return format!("{}\n", lines("data", &plain(value)));
    };
    let known = FIELDS.iter().filter_map(|field| Some((field, fields.get(*field)?)));
    let known = known.filter(|(_, value)| !value.is_null());
    let written: String = known.map(|(field, value)| lines(field, &plain(value))).collect();
    written + "\n"
}

fn lines(field: &str, text: &str) -> String {
    text.split('\n')
        .map(|line| format!("{field}: {}\n", line.trim_end_matches('\r')))
        .collect()
}

/// A list of objects as rows under their names, a list of lists as rows.
fn csv(value: &Value) -> String {
    let rows = match value {
        Value::Array(rows) => rows.as_slice(),
        Value::String(text) => return text.clone(),
        other => std::slice::from_ref(other),
    };
    let mut names: Vec<&str> = Vec::new();
    for name in rows.iter().filter_map(Value::as_object).flat_map(|row| row.keys()) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let line = |cells: Vec<String>| format!("{}\r\n", cells.join(","));
    let head = line(names.iter().map(|name| cell(name)).collect());
    let rows = rows.iter().map(|row| match row {
        Value::Object(map) => {
            let of = |name: &&str| {
                map.get(*name)
                    .filter(|value| !value.is_null())
                    .map_or_else(String::new, plain)
            };
            line(names.iter().map(|name| cell(&of(name))).collect())
        }
        Value::Array(cells) => line(cells.iter().map(|value| cell(&plain(value))).collect()),
        other => line(vec![cell(&plain(other))]),
    });
    let rows: String = rows.collect();
    if names.is_empty() { rows } else { head + &rows }
}

/// A cell of a table (RFC 4180).
fn cell(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn form(value: &Value) -> String {
    let Value::Object(map) = value else { return plain(value) };
    let coded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut pairs = Vec::new();
    for (name, value) in map {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        pairs.extend(
            values
                .iter()
                .map(|value| format!("{}={}", coded(name), coded(&plain(value)))),
        );
    }
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(media_type: &str, value: Value, expected: &str) {
        let document = Document::read_from(b"openapi: 3.1.0", None).unwrap();
        let written = Syntax::of(media_type).write(&document, None, &value, false);
        assert_eq!(String::from_utf8(written).unwrap(), expected, "{media_type}");
    }

    #[test]
    fn values_are_framed_as_their_media_type_says() {
        let two = || json!([{"a": 1}, {"a": 2}]);
        check("application/problem+json", two(), r#"[{"a":1},{"a":2}]"#);
        for lines in ["application/x-ndjson", "application/jsonl", "application/stream+json"] {
            check(lines, two(), "{\"a\":1}\n{\"a\":2}\n");
        }
        check("application/json-seq", two(), "\u{1e}{\"a\":1}\n\u{1e}{\"a\":2}\n");
        check("text/event-stream", two(), "data: {\"a\":1}\n\ndata: {\"a\":2}\n\n");
        check("text/event-stream", json!({"a": 1}), "data: {\"a\":1}\n\n");
        let event = json!({"data": {"x": "y"}, "event": "made", "id": 5, "retry": null});
        check(
            "text/event-stream",
            event,
            "event: made\nid: 5\ndata: {\"x\":\"y\"}\n\n",
        );
        check("text/event-stream", json!("a\nb"), "data: a\ndata: b\n\n");
        check(
            "text/csv",
            json!([{"a": 1, "b": "x,y"}, {"a": null, "c": "\""}]),
            "a,b,c\r\n1,\"x,y\",\r\n,,\"\"\"\"\r\n",
        );
        check("text/csv", json!([[1, 2]]), "1,2\r\n");
        check(
            "application/x-www-form-urlencoded",
            json!({"a b": [1, "&"], "c": true}),
            "a%20b=1&a%20b=%26&c=true",
        );
        check("application/yaml", json!({"a": [1]}), "a:\n- 1\n");
        check("text/plain", json!({"a": 1}), r#"{"a":1}"#);
        check(
            "image/svg+xml",
            json!({"a": 1}),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<root><a>1</a></root>",
        );
    }

    #[test]
    fn texts_of_authors_stand_for_themselves() {
        let document = Document::read_from(b"openapi: 3.1.0", None).unwrap();
        for (media_type, text, expected) in [
            ("text/event-stream", "data: [DONE]\n\n", "data: [DONE]\n\n"),
            ("application/json", "{\"a\": 1}", "{\"a\": 1}"),
            ("application/json", "a", "\"a\""),
            ("application/xml", "<a/>", "<a/>"),
        ] {
            let written = Syntax::of(media_type).write(&document, None, &text.into(), true);
            assert_eq!(String::from_utf8(written).unwrap(), expected);
        }
    }
}
