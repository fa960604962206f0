//! One entry of a HAR file.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;

use super::{ComparableRequest, Recorded, fields};

/// Why an entry can't be served.
type Reason = Cow<'static, str>;

/// Reads a file that stands beside the recording.
type Attached<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

/// Fields that belong to the connection on which the response was recorded (RFC 9110, section 7.6.1), to the coding of its
/// body, which a recording holds decoded, or that lead to other addresses of the recorded host (RFC 7838).
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
    "alt-svc",
];

/// What recorders write where the server named no media type.
const UNKNOWN: &str = "x-unknown";

/// Whether an entry is of a host. One without a host is of none.
pub(super) fn is_of(entry: &Value, host: &str) -> bool {
    let url = entry.pointer("/request/url").and_then(Value::as_str);
    let url = url.and_then(|url| Url::read(url).ok());
    url.is_some_and(|url| url.host.eq_ignore_ascii_case(host))
}

/// The exchange that an entry records.
///
/// # Errors
/// Why it can't be served.
pub(super) fn exchange(entry: &Value, attached: Attached<'_>) -> Result<Recorded, Reason> {
    let request = entry.get("request").filter(|request| request.is_object());
    let request = request.ok_or("no request was recorded")?;
    let method = words(request.get("method")).unwrap_or_default().to_ascii_uppercase();
    if method == "CONNECT" {
        return Err("a tunnel (CONNECT)".into());
    }
    let url = words(request.get("url")).unwrap_or_default();
    let url = Url::read(&url)?;
    Method::from_bytes(method.as_bytes()).map_err(|_| "no valid request method")?;
    let response = entry.get("response").filter(|response| response.is_object());
    let response = response.ok_or("no response was recorded")?;
    let status = status(response)?;
    let content = response.get("content").unwrap_or(&Value::Null);
    let (body, encoded) = body(content, attached)?;
    let bodiless = method == "HEAD" || [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT].contains(&status);
    let incomplete = !bodiless && body.is_empty() && lacks_text(status, response, content);
    let timings = entry.get("timings").unwrap_or(&Value::Null);
    let whole = Some(entry.get("time")).filter(|_| !timings.is_object());
    Ok(Recorded {
        host: url.host.to_ascii_lowercase(),
        request: comparable(&method, &url, request.get("postData").unwrap_or(&Value::Null)),
        status,
        headers: headers(response, content, &body, encoded),
        body: if status == StatusCode::NO_CONTENT {
            Bytes::new()
        } else {
            body
        },
        incomplete,
        wait: match whole {
            Some(time) => milliseconds(time),
            None => milliseconds(timings.get("send")).saturating_add(milliseconds(timings.get("wait"))),
        },
        receive: milliseconds(timings.get("receive")),
    })
}

/// Recorders write 0 or a negative number where no response came.
fn status(response: &Value) -> Result<StatusCode, Reason> {
    let status = match response.get("status") {
        None | Some(Value::Null) => 0.0,
        Some(status) => number(status).ok_or("the status is not a number")?,
    };
    if status < 100.0 {
        return Err("no response came (a status below 100)".into());
    }
    if status < 200.0 {
        return Err(match status as u16 {
            101 => "an upgraded connection, such as a WebSocket".into(),
            _ => "only an interim response".into(),
        });
    }
    let valid = (status < 600.0)
        .then(|| StatusCode::from_u16(status as u16).ok())
        .flatten();
    valid.ok_or_else(|| format!("{status} is not a valid response status").into())
}

/// The request, as far as it is compared.
fn comparable(method: &str, url: &Url<'_>, posted: &Value) -> ComparableRequest {
    let content_type = words(posted.get("mimeType")).unwrap_or_default();
    let text = words(posted.get("text")).unwrap_or_default();
    let coded = posted.get("encoding").and_then(Value::as_str) == Some("base64");
    let text = match coded.then(|| unbase64(&text)).flatten() {
        Some(bytes) => bytes,
        None => Bytes::copy_from_slice(text.as_bytes()),
    };
    let mut request = ComparableRequest::new(method, url.path, url.query, &content_type, text);
    if request.body.is_empty()
        && let Some(Value::Array(params)) = posted.get("params")
        && !params.is_empty()
    {
        request.body = fields(params.iter().map(|param| {
            let text = |key| words(param.get(key)).map(Cow::into_owned);
            let value = text("fileName").or_else(|| text("value")).unwrap_or_default();
            (text("name").unwrap_or_default(), value)
        }));
    }
    request
}

/// The body, and whether the file holds it as bytes rather than as a text.
fn body(content: &Value, attached: Attached<'_>) -> Result<(Bytes, bool), Reason> {
    // Playwright can store bodies in files of their own.
    if let Some(file) = content.get("_file").and_then(Value::as_str) {
        let bytes = attached(file).map_err(|problem| format!("its body can't be read: {problem}"))?;
        return Ok((bytes.into(), true));
    }
    let text = match content {
        Value::String(_) => words(Some(content)),
        _ => words(content.get("text")),
    };
    let text = text.unwrap_or_default();
    let encoding = content.get("encoding").and_then(Value::as_str).unwrap_or_default();
    match encoding.to_ascii_lowercase().as_str() {
        "" | "utf-8" | "utf8" | "text" | "plain" | "none" | "identity" => {
            Ok((Bytes::copy_from_slice(text.as_bytes()), false))
        }
        "base64" => {
            let bytes = unbase64(&text).ok_or("its body is not valid base64")?;
            Ok((bytes, true))
        }
        other => Err(format!("its body has an unknown encoding, `{other}`").into()),
    }
}

/// Recorders disagree about line ends and padding, and some use the alphabet of URLs.
fn unbase64(text: &str) -> Option<Bytes> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text: String = text.split_ascii_whitespace().collect();
    let text = text.replace('-', "+").replace('_', "/");
    let decoded = GeneralPurpose::new(&alphabet::STANDARD, config).decode(text);
    decoded.ok().map(Bytes::from)
}

/// Whether a response had a body, of which the file holds nothing. Browsers leave out bodies that are large or come from a
/// page that was left, and may be told to leave out all. Nobody reads the bodies of redirects.
fn lacks_text(status: StatusCode, response: &Value, content: &Value) -> bool {
    let size = content.get("size").and_then(number);
    let wire = response.get("bodySize").and_then(number);
    let fields = listed(response.get("headers"));
    let length = fields
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str()));
    let length = length.and_then(|(_, value)| value.trim().parse::<f64>().ok());
    let sized = [size, wire, length].into_iter().flatten().any(|size| size > 0.0);
    // A negative size: the recorder does not know.
    let hidden = content.get("text").is_none_or(Value::is_null) && size.is_some_and(|size| size < 0.0);
    !status.is_redirection() && (sized || hidden)
}

/// -1 stands for what does not apply, null for what was not measured.
fn milliseconds(time: Option<&Value>) -> Duration {
    let time = time.and_then(number).unwrap_or_default();
    Duration::try_from_secs_f64(time.max(0.0) / 1000.0).unwrap_or_default()
}

fn headers(response: &Value, content: &Value, body: &Bytes, encoded: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in listed(response.get("headers")) {
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
    let mut insert = |name: HeaderName, value: Option<Cow<'_, str>>| {
        let value = value.filter(|value| !value.is_empty() && value != UNKNOWN);
        let value = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
        if let Some(value) = value.filter(|_| !headers.contains_key(&name)) {
            headers.insert(name, value);
        }
    };
    if !body.is_empty() {
        insert(CONTENT_TYPE, words(content.get("mimeType")));
    }
    insert(LOCATION, words(response.get("redirectURL")));
    if !encoded {
        name_the_charset(&mut headers, body.is_ascii());
    }
    headers
}

/// A text stands in the file as UTF-8, whatever its charset was on the wire.
fn name_the_charset(headers: &mut HeaderMap, ascii: bool) {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return;
    };
    let is_charset = |part: &str| {
        let name = part.trim_start().get(..8);
        name.is_some_and(|name| name.eq_ignore_ascii_case("charset="))
    };
    let parts = value.split(';');
    let parts = parts.map(|part| if is_charset(part) { " charset=utf-8" } else { part });
    let mut changed = parts.collect::<Vec<_>>().join(";");
    // Without a charset, clients guess.
    if !ascii && !value.split(';').any(is_charset) && value.to_ascii_lowercase().starts_with("text/") {
        changed.push_str("; charset=utf-8");
    }
    let already = value.to_ascii_lowercase().replace('"', "").contains("charset=utf-8");
    if !already && let Ok(changed) = HeaderValue::from_str(&changed) {
        headers.insert(CONTENT_TYPE, changed);
    }
}

/// Header fields: a list of names and values, as HAR has it, or an object; several values of a name may be a list.
fn listed(fields: Option<&Value>) -> Vec<(String, String)> {
    let mut listed = Vec::new();
    let mut add = |name: &str, value: &Value| {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        let values = values.iter().filter_map(|value| words(Some(value)));
        listed.extend(values.map(|value| (name.to_owned(), value.into_owned())));
    };
    match fields {
        Some(Value::Array(fields)) => {
            for field in fields {
                let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
                add(name, field.get("value").unwrap_or(&Value::Null));
            }
        }
        Some(Value::Object(fields)) => fields.iter().for_each(|(name, value)| add(name, value)),
        _ => {}
    }
    listed
}

/// A text. Some recorders write numbers without quotes, and JSON bodies as JSON.
fn words(value: Option<&Value>) -> Option<Cow<'_, str>> {
    match value? {
        Value::Null => None,
        Value::String(text) => Some(text.into()),
        other => Some(other.to_string().into()),
    }
}

/// A number, which some recorders write in quotes.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// The parts of a URL. Browsers record characters that RFC 3986 does not allow, so nothing is refused for those.
struct Url<'a> {
    /// Empty in a relative URL.
    host: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Url<'a> {
    fn read(url: &'a str) -> Result<Self, Reason> {
        let url = url.trim();
        let (scheme, rest) = match url.split_once(':') {
            Some((scheme, rest)) if !scheme.contains(['/', '?', '#']) => (scheme.to_ascii_lowercase(), rest),
            _ if url.starts_with('/') => ("http".to_owned(), url),
            _ => return Err("not an http URL".into()),
        };
        match (scheme.as_str(), rest.strip_prefix("//")) {
            ("ws" | "wss", _) => return Err("a WebSocket".into()),
            ("http" | "https", Some(rest)) => Self::split(rest, true),
            // Without scheme and host, it is the path that matters.
            ("http", None) if rest.starts_with('/') && rest == url => Self::split(rest, false),
            _ => None,
        }
        .ok_or("not an http URL".into())
    }

    fn split(rest: &'a str, with_host: bool) -> Option<Self> {
        let (rest, _fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let slash = if with_host {
            rest.find('/').unwrap_or(rest.len())
        } else {
            0
        };
        let (authority, path) = rest.split_at(slash);
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let path = if path.is_empty() { "/" } else { path };
        (!with_host || !host.is_empty()).then_some(Self { host, path, query })
    }
}
