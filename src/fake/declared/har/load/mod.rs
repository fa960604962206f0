//! HAR 1.2 files (<http://www.softwareishard.com/blog/har-12-spec/>), read.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;

use crate::fake::query::{decode_path, pairs};

/// Fields that belong to the connection on which the response was recorded (RFC 9110, section 7.6.1), or to the coding
/// of its body, which a recording holds decoded.
const LEFT_OUT: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "content-encoding",
];

/// An exchange that can be served back.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) request: ComparableRequest,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
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
    pub(super) body: Bytes,
}

impl ComparableRequest {
    pub(super) fn new(method: &str, path: &str, query: &str, body: Bytes) -> Self {
        let mut query = pairs(query.as_bytes());
        query.sort();
        Self {
            method: method.to_owned(),
            path: decode_path(path),
            query,
            body,
        }
    }
}

/// All exchanges that have a response, in the order of the file; only those of `host`, if it is given.
///
/// # Errors
/// What is wrong with the file, and where.
pub(super) fn load(bytes: &[u8], host: Option<&str>) -> Result<Vec<Recorded>, String> {
    // Some recorders begin the file with a byte order mark.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let file: HarFile = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let mut recorded = Vec::new();
    for (index, entry) in file.log.entries.into_iter().enumerate() {
        // Browsers write 0 where no response came; an upgraded connection has none that could be repeated.
        if entry.response.status < 200 {
            continue;
        }
        let problem = |problem: String| format!("/log/entries/{index}: {problem}");
        let url = Url::read(&entry.request.url)
            .ok_or_else(|| problem(format!("/request/url: `{}` is not an http URL", entry.request.url)))?;
        if host.is_some_and(|host| !host.eq_ignore_ascii_case(url.host)) {
            continue;
        }
        recorded.push(exchange(&entry, &url).map_err(problem)?);
    }
    Ok(recorded)
}

fn exchange(entry: &HarEntry, url: &Url<'_>) -> Result<Recorded, String> {
    let response = &entry.response;
    let status = StatusCode::from_u16(response.status)
        .ok()
        .filter(|status| status.as_u16() < 600)
        .ok_or_else(|| format!("/response/status: {} is not a valid status", response.status))?;
    let body = body(&response.content)?;
    let posted = entry.request.post_data.as_ref().map_or("", |data| data.text.as_str());
    let timings = &entry.timings;
    let without = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    Ok(Recorded {
        request: ComparableRequest::new(
            &entry.request.method.to_ascii_uppercase(),
            url.path,
            url.query,
            Bytes::copy_from_slice(posted.as_bytes()),
        ),
        status,
        headers: headers(response),
        body: if without { Bytes::new() } else { body },
        wait: milliseconds(timings.send).saturating_add(milliseconds(timings.wait)),
        receive: milliseconds(timings.receive),
    })
}

/// -1 stands for what does not apply.
fn milliseconds(time: f64) -> Duration {
    Duration::try_from_secs_f64(time.max(0.0) / 1000.0).unwrap_or_default()
}

fn body(content: &HarContent) -> Result<Bytes, String> {
    match content.encoding.as_deref() {
        None | Some("") => Ok(Bytes::copy_from_slice(content.text.as_bytes())),
        Some("base64") => {
            let text: String = content.text.split_ascii_whitespace().collect();
            let decoded = STANDARD.decode(text);
            decoded
                .map(Bytes::from)
                .map_err(|error| format!("/response/content/text is not valid base64: {error}"))
        }
        Some(other) => Err(format!(
            "unknown /response/content/encoding `{other}`: only base64 is supported"
        )),
    }
}

fn headers(response: &ResponseEntry) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for HarField { name, value } in &response.headers {
        // HTTP/2's pseudo fields, which some recorders list, are no names and fall out here.
        let Ok(name) = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()) else {
            continue;
        };
        if LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        // Chrome joins fields that came several times by line ends.
        for line in value.split('\n') {
            if let Ok(value) = HeaderValue::from_bytes(line.trim().as_bytes()) {
                headers.append(name.clone(), value);
            }
        }
    }
    let content = &response.content;
    if !headers.contains_key(CONTENT_TYPE)
        && !content.mime_type.is_empty()
        && let Ok(value) = HeaderValue::from_bytes(content.mime_type.as_bytes())
        && !content.text.is_empty()
        // What recorders write where the server named none.
        && content.mime_type != "x-unknown"
    {
        headers.insert(CONTENT_TYPE, value);
    }
    if content.encoding.as_deref().is_none_or(str::is_empty) {
        name_the_charset(&mut headers);
    }
    headers
}

/// A text stands in the file as UTF-8, whatever its charset was on the wire.
fn name_the_charset(headers: &mut HeaderMap) {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return;
    };
    let parts = value.split(';').map(|part| {
        let charset = part
            .trim_start()
            .get(..8)
            .is_some_and(|name| name.eq_ignore_ascii_case("charset="));
        if charset { " charset=utf-8" } else { part }
    });
    let changed = parts.collect::<Vec<_>>().join(";");
    let already = value.to_ascii_lowercase().replace('"', "").contains("charset=utf-8");
    if !already && let Ok(changed) = HeaderValue::from_str(&changed) {
        headers.insert(CONTENT_TYPE, changed);
    }
}

/// The parts of an absolute URL. Browsers record characters that RFC 3986 does not allow, so nothing is refused for those.
struct Url<'a> {
    host: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Url<'a> {
    fn read(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return None;
        }
        let (rest, _fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(slash);
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let path = if path.is_empty() { "/" } else { path };
        (!host.is_empty()).then_some(Self { host, path, query })
    }
}

#[derive(Deserialize)]
struct HarFile {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<HarEntry>,
}

#[derive(Deserialize)]
struct HarEntry {
    request: RequestEntry,
    response: ResponseEntry,
    #[serde(default)]
    timings: Timings,
}

#[derive(Deserialize)]
struct RequestEntry {
    method: String,
    url: String,
    #[serde(default, rename = "postData")]
    post_data: Option<PostData>,
}

#[derive(Deserialize)]
struct PostData {
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct ResponseEntry {
    status: u16,
    #[serde(default)]
    headers: Vec<HarField>,
    #[serde(default)]
    content: HarContent,
}

#[derive(Deserialize)]
struct HarField {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Default, Deserialize)]
struct HarContent {
    #[serde(default, rename = "mimeType")]
    mime_type: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    encoding: Option<String>,
}

/// Milliseconds.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Timings {
    #[serde(deserialize_with = "number")]
    send: f64,
    #[serde(deserialize_with = "number")]
    wait: f64,
    #[serde(deserialize_with = "number")]
    receive: f64,
}

/// Some recorders write null where nothing was measured.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Option::<f64>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests;
