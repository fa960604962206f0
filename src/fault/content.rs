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
    let end = file.rsplit_once('.').map_or("", |(_, end)| end).to_ascii_lowercase();
    match end.as_str() {
        "json" | "map" => "application/json",
        "html" | "htm" => "text/html; charset=utf-8",
        "txt" | "md" => "text/plain; charset=utf-8",
        "xml" => "application/xml",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "ndjson" | "jsonl" => "application/x-ndjson",
        "yaml" | "yml" => "application/yaml",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "apng" => "image/apng",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "bmp" => "image/bmp",
        "ico" => "image/vnd.microsoft.icon",
        "mp4" | "m4v" => "video/mp4",
        "webm" => "video/webm",
        "ogv" => "video/ogg",
        "mov" => "video/quicktime",
        "m3u8" => "application/vnd.apple.mpegurl",
        "ts" => "video/mp2t",
        "mpd" => "application/dash+xml",
        "vtt" => "text/vtt; charset=utf-8",
        "mp3" => "audio/mpeg",
        "m4a" => "audio/mp4",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "tar" => "application/x-tar",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_files() {
        for (file, kind) in [
            ("a.JPG", "image/jpeg"),
            ("a.b.woff2", "font/woff2"),
            ("clip.mp4", "video/mp4"),
            ("app.js.map", "application/json"),
            ("a", "application/octet-stream"),
            ("a.xyz", "application/octet-stream"),
        ] {
            assert_eq!(type_of(file), kind, "{file}");
        }
    }
}
