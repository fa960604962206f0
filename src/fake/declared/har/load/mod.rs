//! HAR 1.2 files (<http://www.softwareishard.com/blog/har-12-spec/>), read.
//!
//! Recorders differ: they write null for what they do not know, numbers as text, entries of requests that failed or never
//! left the browser. An entry is read as long as its meaning is plain. Any other is left out and noted, and the rest of the
//! file is served.

mod entry;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::fake::forms;
use crate::fake::query::{decode_path, pairs};
use crate::fake::reply::essence;

/// An exchange that can be served back.
#[derive(Debug)]
pub(super) struct Recorded {
    /// The host that was asked, with its port; empty if the recording has none.
    pub(super) host: String,
    pub(super) request: ComparableRequest,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether the response had a body that the recording lacks.
    pub(super) incomplete: bool,
    /// From the request to the head.
    pub(super) wait: Duration,
    /// From the head to the end of the body.
    pub(super) receive: Duration,
}

/// A request as far as it can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ComparableRequest {
    pub(super) method: String,
    /// Decoded.
    pub(super) path: String,
    /// Decoded and sorted.
    pub(super) query: Vec<(String, String)>,
    /// Of a form its fields, whatever their coding; of JSON its value, whatever the order of its keys; of any other body its
    /// bytes.
    pub(super) body: Bytes,
}

impl ComparableRequest {
    pub(super) fn new(method: &str, path: &str, query: &str, content_type: &str, body: Bytes) -> Self {
        let mut query = pairs(query.as_bytes());
        query.sort();
        Self {
            method: method.to_owned(),
            path: decode_path(path),
            query,
            body: comparable(content_type, body),
        }
    }
}

/// A form's fields: browsers record them decoded, and the boundary between the parts of a form is another each time. Of an
/// uploaded file its name counts: its bytes are not recorded.
fn comparable(content_type: &str, body: Bytes) -> Bytes {
    let form = match essence(content_type).as_str() {
        "application/x-www-form-urlencoded" | "multipart/form-data" => forms::form(content_type, &body),
        _ => return comparable_json(body),
    };
    if form.fields.is_empty() && form.files.is_empty() {
        return body;
    }
    let files = form.files.into_iter().map(|file| (file.name, file.filename));
    fields(form.fields.into_iter().chain(files))
}

/// JSON without what says nothing: spaces, and the order of keys.
fn comparable_json(body: Bytes) -> Bytes {
    if !matches!(body.trim_ascii_start().first(), Some(b'{' | b'[')) {
        return body;
    }
    match serde_json::from_slice::<Value>(&body) {
        Ok(mut value) => {
            value.sort_all_objects();
            value.to_string().into()
        }
        Err(_) => body,
    }
}

/// Fields of a form, in any order.
fn fields(fields: impl Iterator<Item = (String, String)>) -> Bytes {
    let mut fields: Vec<_> = fields.collect();
    fields.sort();
    format!("{fields:?}").into()
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Recording {
    /// All exchanges that can be served, in the order of the file.
    pub(super) exchanges: Vec<Recorded>,
    /// How many entries there are, of the host that was asked for.
    pub(super) entries: usize,
    /// Why entries were left out, and which, by their index.
    pub(super) left_out: Vec<(Cow<'static, str>, Vec<usize>)>,
}

impl Recording {
    fn leave_out(&mut self, index: usize, reason: Cow<'static, str>) {
        match self.left_out.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, entries)) => entries.push(index),
            None => self.left_out.push((reason, vec![index])),
        }
    }
}

/// Reads a file; only exchanges with `host`, if it is given. `attached` reads a file that stands beside it.
///
/// # Errors
/// What is wrong with the file as a whole, and where.
pub(super) fn load(
    bytes: &[u8],
    host: Option<&str>,
    attached: &dyn Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<Recording, String> {
    let text = decoded(bytes);
    // Entries are parsed one by one: a text that Unicode does not allow spoils no other.
    let file: HarFile<'_> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let mut recording = Recording::default();
    for (index, raw) in file.log.entries.into_iter().enumerate() {
        let entry = parsed(raw.get())?;
        if host.is_some_and(|host| !entry::is_of(&entry, host)) {
            continue;
        }
        recording.entries += 1;
        match entry::exchange(&entry, attached) {
            Ok(exchange) => recording.exchanges.push(exchange),
            Err(reason) => recording.leave_out(index, reason),
        }
    }
    Ok(recording)
}

/// The text of a file. Some recorders begin it with a byte order mark, and Windows' shells write UTF-16.
fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let pairs = bytes.chunks_exact(2);
        let units: Vec<u16> = pairs.filter_map(|pair| pair.try_into().ok().map(unit)).collect();
        Cow::Owned(String::from_utf16_lossy(&units))
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        _ => String::from_utf8_lossy(bytes),
    }
}

/// One entry. Halves of surrogate pairs, which a text that was cut can end with, become U+FFFD, as in browsers.
fn parsed(text: &str) -> Result<Value, String> {
    serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&without_lone_surrogates(text)))
        .map_err(|error| error.to_string())
}

fn without_lone_surrogates(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        whole.push_str(before);
        let length = match (surrogate(escape), escape.get(6..).and_then(surrogate)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(_), _) => {
                whole.push('\u{fffd}');
                rest = escape.get(6..).unwrap_or_default();
                continue;
            }
            // The escape and what it escapes, which may be another backslash.
            (None, _) => 1 + escape.chars().nth(1).map_or(0, char::len_utf8),
        };
        let (kept, after) = escape.split_at_checked(length).unwrap_or((escape, ""));
        whole.push_str(kept);
        rest = after;
    }
    whole.push_str(rest);
    whole
}

/// The code unit of an escape such as `\ud83d`, if it is half of a pair.
fn surrogate(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix("\\u")?.get(..4)?;
    let unit = u16::from_str_radix(digits, 16).ok()?;
    (0xd800..=0xdfff).contains(&unit).then_some(unit)
}

#[derive(Deserialize)]
struct HarFile<'a> {
    #[serde(borrow)]
    log: Log<'a>,
}

#[derive(Deserialize)]
struct Log<'a> {
    #[serde(borrow)]
    entries: Vec<&'a RawValue>,
}

#[cfg(test)]
mod tests;
