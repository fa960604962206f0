//! Bodies in the configuration: as text, as JSON, or from a file that is read when the configuration is loaded.

use bytes::Bytes;
use serde::{Deserialize, Deserializer};

use super::context::Context;
use crate::files;

/// The content type of a text.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// The content type of JSON.
pub(super) const JSON: &str = "application/json";

/// A body and its content type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The default content type.
    pub kind: &'static str,
    /// The bytes of the body.
    pub bytes: Bytes,
}

/// Reads the body that is given, if any.
///
/// # Errors
/// More than one is given; the file can't be read, or is larger than 16 MiB.
pub(super) fn given(
    body: Option<&str>,
    json: Option<&serde_json::Value>,
    file: Option<&str>,
    context: &Context<'_>,
) -> Result<Option<Content>, String> {
    let content = |kind, bytes| Ok(Some(Content { kind, bytes }));
    match (body, json, file) {
        (None, None, None) => Ok(None),
        (Some(text), None, None) => content(TEXT, Bytes::from(text.to_owned())),
        (None, Some(json), None) => content(JSON, Bytes::from(json.to_string())),
        (None, None, Some(file)) => content(type_of(file), read(file, context)?),
        _ => Err("`body`, `json` and `file` can't be combined: give one of them".into()),
    }
}

/// Deserializes a value that may be `null`, so that only a missing key is `None`.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(deserializer).map(Some)
}

fn read(file: &str, context: &Context<'_>) -> Result<Bytes, String> {
    let path = context.folder.join(file);
    (context.read)(&path, files::MAX_BYTES).map_err(|error| format!("can't read `{}`: {error}", path.display()))
}

/// The content type of a file, by its extension.
pub(crate) fn type_of(file: &str) -> &'static str {
    match file.rsplit_once('.').map(|(_, end)| end) {
        Some("json") => "application/json",
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        Some("xml") => "application/xml",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("csv") => "text/csv; charset=utf-8",
        Some("ndjson" | "jsonl") => "application/x-ndjson",
        Some("yaml" | "yml") => "application/yaml",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        Some("pdf") => "application/pdf",
        _ => "application/octet-stream",
    }
}
