//! Bodies that are random, slow, long or in pieces. They are made while they are read; a wait ends when the client
//! disconnects, as the body is dropped then.

#![expect(clippy::result_large_err, reason = "a refusal is a whole response, made rarely")]

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::unfold;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::{Value, json};

use super::python_random::PythonRandom;
use super::request::HttpbinRequest;
use super::response::{TEXT, bad, header, typed};
use super::{python_json, status};
use crate::fake::made_up::dice::{Dice, Stream};

/// The most random bytes of one response, as in httpbin.
const BYTES_LIMIT: u64 = 100 * 1024;

/// The most that `/drip` sends, as in httpbin.
const DRIP_LIMIT: u64 = 10 * 1024 * 1024;

/// The longest that a slow body may take.
const DURATION_LIMIT: f64 = 600.0;

/// The longest `/delay`, in seconds, as in httpbin.
pub(super) const DELAY_LIMIT: f64 = 10.0;

const OCTETS: &str = "application/octet-stream";

/// A piece of a body, and how long it waits after the one before.
type DelayedPiece = (Duration, Bytes);

fn streamed(
    status: StatusCode,
    content_type: &'static str,
    pieces: impl Iterator<Item = DelayedPiece> + Send + 'static,
) -> Response {
    let frames = unfold(pieces, |mut pieces| async move {
        let (wait, bytes) = pieces.next()?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Some((Ok::<_, Infallible>(bytes), pieces))
    });
    let mut response = Response::new(Body::from_stream(frames));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A parameter as a number of seconds: `1.5`, or with a unit as in `200ms`; 0 to [`DURATION_LIMIT`].
pub(super) fn seconds(request: &HttpbinRequest, name: &str, default: f64) -> Result<f64, Response> {
    let Some(text) = request.parameter(name) else {
        return Ok(default);
    };
    let parsed = text.trim().parse::<f64>().ok();
    let parsed = parsed.or_else(|| {
        humantime::parse_duration(text.trim())
            .ok()
            .map(|time| time.as_secs_f64())
    });
    match parsed {
        Some(seconds) if (0.0..=DURATION_LIMIT).contains(&seconds) => Ok(seconds),
        _ => Err(bad(&format!(
            "{name} must be a number of seconds from 0 to {DURATION_LIMIT}"
        ))),
    }
}

fn whole(request: &HttpbinRequest, name: &str, default: i64) -> Result<i64, Response> {
    match request.parameter(name).map(|text| text.trim().parse::<i64>()) {
        None => Ok(default),
        Some(Ok(number)) => Ok(number),
        Some(Err(_)) => Err(bad(&format!("{name} must be a whole number"))),
    }
}

fn dice_of(request: &HttpbinRequest, dice: Dice) -> Result<Dice, Response> {
    match request.parameter("seed") {
        None => Ok(dice),
        Some(_) => Ok(Dice::new(
            whole(request, "seed", 0)?.cast_unsigned(),
            Stream::Httpbin,
            u64::MAX,
        )),
    }
}

/// Random bytes: of the caller's seed those of httpbin, without one those of the fake's.
enum RandomBytes {
    Seeded(Box<PythonRandom>),
    Own(Dice),
}

impl RandomBytes {
    fn of(request: &HttpbinRequest, dice: Dice) -> Result<Self, Response> {
        let Some(seed) = request.parameter("seed") else {
            return Ok(Self::Own(dice));
        };
        let random = PythonRandom::seeded(seed).ok_or_else(|| bad("seed must be a whole number"))?;
        Ok(Self::Seeded(Box::new(random)))
    }

    fn take(&mut self, count: u64) -> Bytes {
        let byte = |_| match self {
            Self::Seeded(random) => random.byte(),
            Self::Own(dice) => dice.throw().to_le_bytes()[0],
        };
        (0..count).map(byte).collect()
    }
}

pub(super) fn bytes(request: &HttpbinRequest, count: u64, dice: Dice) -> Result<Response, Response> {
    let mut random = RandomBytes::of(request, dice)?;
    Ok(typed(StatusCode::OK, OCTETS, random.take(count.min(BYTES_LIMIT))))
}

/// Sends the bytes of `/bytes` in chunks.
pub(super) fn stream_bytes(request: &HttpbinRequest, count: u64, dice: Dice) -> Result<Response, Response> {
    let mut random = RandomBytes::of(request, dice)?;
    let chunk = whole(request, "chunk_size", 10 * 1024)?.max(1).cast_unsigned();
    let mut left = count.min(BYTES_LIMIT);
    let pieces = std::iter::from_fn(move || {
        let size = left.min(chunk);
        left -= size;
        (size > 0).then(|| (Duration::ZERO, random.take(size)))
    });
    Ok(streamed(StatusCode::OK, OCTETS, pieces))
}

/// The description of the request, up to a hundred times, a line each.
pub(super) fn stream(request: &HttpbinRequest, count: u64) -> Response {
    let mut described = request.describe(&["url", "args", "headers", "origin"]);
    let lines = (0..count.min(100)).map(move |i| {
        described.insert("id".to_owned(), Value::from(i));
        let line = python_json::line(&Value::Object(described.clone())) + "\n";
        (Duration::ZERO, Bytes::from(line))
    });
    streamed(StatusCode::OK, "application/json", lines)
}

/// Stars over a time. Pieces leave at most every 10 ms, so that many bytes take no longer than they should.
pub(super) fn drip(request: &HttpbinRequest) -> Result<Response, Response> {
    let duration = seconds(request, "duration", 2.0)?;
    let delay = seconds(request, "delay", 0.0)?;
    let count = match whole(request, "numbytes", 10)? {
        count if count <= 0 => return Err(typed(StatusCode::BAD_REQUEST, TEXT, "number of bytes must be positive")),
        count => count.cast_unsigned().min(DRIP_LIMIT),
    };
    let code = u16::try_from(whole(request, "code", 200)?)
        .ok()
        .filter(|code| (200..=999).contains(code));
    let Some(status) = code.and_then(|code| StatusCode::from_u16(code).ok()) else {
        return Err(bad("code must be a status from 200 to 999"));
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 60,000")]
    let turns = ((duration * 100.0) as u64)
        .clamp(1, count)
        .max(count.div_ceil(64 * 1024));
    #[expect(clippy::cast_precision_loss, reason = "at most 60,000")]
    let pause = Duration::from_secs_f64(duration / turns as f64);
    let pieces = (0..turns).map(move |turn| {
        let size = count * (turn + 1) / turns - count * turn / turns;
        let wait = if turn == 0 {
            Duration::from_secs_f64(delay)
        } else {
            pause
        };
        (wait, Bytes::from(vec![b'*'; usize::try_from(size).unwrap_or_default()]))
    });
    let response = streamed(status, OCTETS, pieces);
    Ok(header(response, CONTENT_LENGTH, &count.to_string()))
}

/// The alphabet over and over, of which a client may ask for a part.
pub(super) fn range(request: &HttpbinRequest, size: u64) -> Result<Response, Response> {
    let labelled = |response| {
        let response = header(response, ETAG, &format!("range{size}"));
        header(response, ACCEPT_RANGES, "bytes")
    };
    if size == 0 || size > BYTES_LIMIT {
        let problem = "number of bytes must be in the range (0, 102400]";
        return Ok(labelled(typed(StatusCode::NOT_FOUND, TEXT, problem)));
    }
    let duration = seconds(request, "duration", 0.0)?;
    let chunk = whole(request, "chunk_size", 10 * 1024)?.max(1).cast_unsigned();
    let (first, last) = wanted_range(request, size);
    if first > last || last >= size {
        let response = labelled(typed(StatusCode::RANGE_NOT_SATISFIABLE, TEXT, ""));
        return Ok(header(response, CONTENT_RANGE, &format!("bytes */{size}")));
    }
    let mut at = first;
    let pieces = std::iter::from_fn(move || {
        let end = (at.saturating_add(chunk)).min(last + 1);
        let bytes: Bytes = (at..end)
            .map(|i| b'a' + u8::try_from(i % 26).unwrap_or_default())
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "at most 102,400")]
        let wait = Duration::from_secs_f64(duration * (end - at) as f64 / size as f64);
        at = end;
        (!bytes.is_empty()).then_some((wait, bytes))
    });
    let whole = first == 0 && last == size - 1;
    let status = if whole {
        StatusCode::OK
    } else {
        StatusCode::PARTIAL_CONTENT
    };
    let response = labelled(streamed(status, OCTETS, pieces));
    let response = header(response, CONTENT_LENGTH, &(last + 1 - first).to_string());
    Ok(header(response, CONTENT_RANGE, &format!("bytes {first}-{last}/{size}")))
}

/// The first and the last byte that a request asks for: all of them where it has no single range of bytes, or one under an
/// `If-Range` (RFC 9110, section 13.1.5) that names something else.
fn wanted_range(request: &HttpbinRequest, size: u64) -> (u64, u64) {
    let all = (0, size - 1);
    let other = request
        .header("if-range")
        .is_some_and(|tag| tag.trim().trim_matches('"') != format!("range{size}"));
    let text = request.header("range").unwrap_or_default();
    let Some(text) = text.trim().strip_prefix("bytes=").filter(|_| !other) else {
        return all;
    };
    let mut ends = text.split('-').map(|end| end.trim().parse::<u64>().ok());
    match (ends.next().flatten(), ends.next().flatten()) {
        (None, None) => all,
        (Some(first), None) => (first, size - 1),
        // The last no bytes are none: a range that can't be had.
        (None, Some(0)) => (size, size),
        (None, Some(count)) => (size.saturating_sub(count), size - 1),
        (Some(first), Some(last)) => (first, last),
    }
}

/// Server-Sent Events named `ping`, as go-httpbin has them: `count` of them over `duration`, after `delay`.
pub(super) fn sse(request: &HttpbinRequest) -> Result<Response, Response> {
    let duration = seconds(request, "duration", 5.0)?;
    let delay = seconds(request, "delay", 0.0)?;
    let count = match whole(request, "count", 10)? {
        count @ 1..=100_000 => count.cast_unsigned(),
        _ => return Err(bad("count must be from 1 to 100000")),
    };
    #[expect(clippy::cast_precision_loss, reason = "at most 100,000")]
    let pause = Duration::from_secs_f64(duration / (count.max(2) - 1) as f64);
    let events = (0..count).map(move |id| {
        let wait = if id == 0 { Duration::from_secs_f64(delay) } else { pause };
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let data = json!({"id": id, "timestamp": u64::try_from(now.as_millis()).unwrap_or_default()});
        (wait, Bytes::from(format!("event: ping\ndata: {data}\n\n")))
    });
    let response = streamed(StatusCode::OK, "text/event-stream; charset=utf-8", events);
    Ok(header(response, "cache-control", "no-store"))
}

/// The query's parameters as trailer fields (RFC 9110, section 6.5) after a short body.
pub(super) fn trailers(request: &HttpbinRequest) -> Response {
    let mut fields = HeaderMap::new();
    for (name, value) in &request.query {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes())) {
            fields.append(name, value);
        }
    }
    let names: Vec<_> = fields.keys().map(|name| name.as_str().to_owned()).collect();
    let body = Frame::data(Bytes::from_static(b"{\"ok\":true}\n"));
    let frames = futures_util::stream::iter([Ok::<_, Infallible>(body), Ok(Frame::trailers(fields))]);
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    header(response, "trailer", &names.join(", "))
}

/// A 500 for a share of the requests: of its own seed, or of the run's.
pub(super) fn unstable(request: &HttpbinRequest, dice: Dice) -> Result<Response, Response> {
    let rate = request
        .parameter("failure_rate")
        .map_or(Ok(0.5), |text| text.trim().parse::<f64>());
    let Some(rate) = rate.ok().filter(|rate| (0.0..=1.0).contains(rate)) else {
        return Err(bad("failure_rate must be from 0 to 1"));
    };
    let mut dice = dice_of(request, dice)?;
    let code = if dice.unit() < rate { 500 } else { 200 };
    let mut response = status::response(code);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    Ok(response)
}
