//! A recorded HAR file, served back.
//!
//! Several recorded responses to one request are given one after the other. A request that was not recorded gets a
//! 404 that names the nearest ones that were, unless another source is asked after this.

mod links;
mod load;
mod notes;
pub(super) mod spec;

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::{Component, Path};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use tokio::time::Instant;

use self::links::Hosts;
use self::load::{ComparableRequest, Recorded, Recording};
use self::spec::{HarLong, HarPart, HarRepeat};
use super::super::spec::FakeSpec;
use super::{Built, Outcome, Source, files};
use crate::fake::context::Context;
use crate::fake::page::Row;
use crate::fake::reply::{BODY_LIMIT, json as json_reply, origin_of, read_json_body, scheduled};
use crate::files::MAX_RECORDS_BYTES;
use crate::yaml::report::{Diagnostic, Span};

/// The longest wait of one response, however slow it was when it was recorded.
const WAIT_LIMIT: Duration = Duration::from_secs(600);

/// A slow body leaves in at most so many pieces, and not more often than this.
const PIECES_LIMIT: u32 = 100;
const PIECE_TIME: Duration = Duration::from_millis(10);

/// How many recorded requests are looked at to find the nearest, and how many are named.
const COMPARED_LIMIT: usize = 2_000;
const NAMED_LIMIT: usize = 3;

/// How many recorded requests the page at `/` lists.
const LISTED_LIMIT: usize = 500;

/// What paths and queries hold encoded (RFC 3986, section 2.3).
const UNSAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The source, if it is declared.
///
/// # Errors
/// All that is wrong with it, each at its place.
pub(super) fn source(spec: &FakeSpec, context: &Context<'_>) -> Built {
    let Some(har) = &spec.har else { return Ok(None) };
    let (long, place) = (&har.value.0, har.span);
    let mut mistakes = check(long);
    let host = long.host.as_ref().map(|host| host.value.as_str());
    let recording = read(long, place, context, host).map_err(|mistake| mistakes.push(*mistake));
    let Ok(recording) = recording else {
        return Err(mistakes);
    };
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let left_out = notes::left_out(&long.file.value, &recording);
    let har = Har::new(long, recording.exchanges, spec.openapi.is_none());
    let span = files::place_of(&long.file, place);
    let several = notes::several_hosts(&long.file.value, &har.series);
    for (message, help) in left_out
        .into_iter()
        .chain(several)
        .chain(notes::incomplete(&long.file.value, &har.series))
    {
        context.warn(
            help.into_iter()
                .fold(Diagnostic::warning(span, message), Diagnostic::help),
        );
    }
    Ok(Some(Box::new(har)))
}

fn check(long: &HarLong) -> Vec<Diagnostic> {
    let speed = long
        .speed
        .as_ref()
        .filter(|speed| !(0.01..=1000.0).contains(&speed.value));
    let parts = long.parts.as_ref().filter(|parts| parts.value.is_empty());
    let speed = speed.map(|speed| Diagnostic::error(speed.span, "`speed` must be from 0.01 to 1000"));
    let parts = parts.map(|parts| {
        Diagnostic::error(parts.span, "`match` is empty: all requests would be the same")
            .help("name at least one of `method`, `path`, `query` and `body`")
    });
    speed.into_iter().chain(parts).collect()
}

fn read(long: &HarLong, place: Span, context: &Context<'_>, host: Option<&str>) -> Result<Recording, Box<Diagnostic>> {
    let file = &long.file.value;
    let bytes = files::read(&long.file, place, context.folder, MAX_RECORDS_BYTES)?;
    let span = files::place_of(&long.file, place);
    let folder = context.folder.join(file);
    let attached = |name: &str| attached(folder.parent(), name);
    let recording = load::load(&bytes, host, &attached).map_err(|problem| {
        Box::new(Diagnostic::error(
            span,
            format!("{file} is not a valid HAR file: {problem}"),
        ))
    })?;
    if recording.exchanges.is_empty() {
        let of = host.map(|host| format!(" of {host}")).unwrap_or_default();
        let mistake = Diagnostic::error(span, format!("{file} has no response{of} that can be served"));
        let why = notes::left_out(file, &recording).map(|(message, _)| message);
        return Err(Box::new(why.into_iter().fold(mistake, Diagnostic::help)));
    }
    Ok(recording)
}

/// A body that the recorder stored beside the recording. It must not name a file elsewhere.
fn attached(folder: Option<&Path>, name: &str) -> Result<Vec<u8>, String> {
    let mut parts = Path::new(name).components();
    if !parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(format!("`{name}` is not beside the recording"));
    }
    let path = folder.unwrap_or(Path::new(".")).join(name);
    crate::files::read(&path, MAX_RECORDS_BYTES).map_err(|error| format!("`{name}`: {error}"))
}

/// A recording.
struct Har {
    series: HashMap<String, ResponseSeries>,
    hosts: Hosts,
    parts: Vec<HarPart>,
    repeat: HarRepeat,
    /// By what recorded times are divided; `None` for no waiting.
    speed: Option<f64>,
    /// Whether no other source is asked after this one.
    last: bool,
}

/// All responses to one request.
#[derive(Default)]
struct ResponseSeries {
    responses: Vec<Arc<Recorded>>,
    /// Those that hold what was asked for: neither a 304 nor a response whose body was not recorded.
    complete: Vec<Arc<Recorded>>,
    given: AtomicUsize,
}

impl ResponseSeries {
    fn push(&mut self, one: Recorded) {
        let one = Arc::new(one);
        let without = one.incomplete || (one.status == StatusCode::NOT_MODIFIED && one.body.is_empty());
        if !without {
            self.complete.push(Arc::clone(&one));
        }
        self.responses.push(one);
    }

    /// What was asked, for the page at `/`.
    fn row(&self) -> Option<Row> {
        let first = self.responses.first()?;
        let asked = &first.request;
        let summary = match self.responses.len() {
            1 => format!("the recorded response, {}", first.status.as_u16()),
            more => format!("{more} recorded responses"),
        };
        let encode = |text: &str| utf8_percent_encode(text, UNSAFE).to_string();
        let path = asked.path.split('/').map(encode).collect::<Vec<_>>().join("/");
        let query: Vec<_> = asked
            .query
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        let mark = if query.is_empty() { "" } else { "?" };
        let options = if asked.method == "GET" {
            String::new()
        } else {
            format!("-X {} ", asked.method)
        };
        Some(Row {
            method: asked.method.clone(),
            path: path.clone(),
            summary,
            parameters: query.join("&"),
            example: format!("{options}{path}{mark}{}", query.join("&")),
        })
    }

    /// The responses to choose from. A 304 means nothing to a client that has no copy.
    fn candidates(&self, conditional: bool) -> &[Arc<Recorded>] {
        if conditional || self.complete.is_empty() {
            &self.responses
        } else {
            &self.complete
        }
    }

    fn next(&self, repeat: HarRepeat, conditional: bool) -> Option<&Arc<Recorded>> {
        let candidates = self.candidates(conditional);
        let given = self.given.fetch_add(1, Ordering::Relaxed);
        let index = match repeat {
            HarRepeat::Last => given.min(candidates.len().saturating_sub(1)),
            HarRepeat::Cycle => given % candidates.len().max(1),
        };
        candidates.get(index)
    }
}

impl Har {
    fn new(long: &HarLong, recorded: Vec<Recorded>, last: bool) -> Self {
        let parts = match &long.parts {
            Some(parts) => parts.value.clone(),
            None => vec![HarPart::Method, HarPart::Path, HarPart::Query],
        };
        let speed = long.speed.as_ref().map_or(1.0, |speed| speed.value);
        let hosts = Hosts::new(recorded.iter().map(|one| one.host.as_str()));
        let mut series: HashMap<String, ResponseSeries> = HashMap::new();
        for one in recorded {
            let key = key(&one.request, &parts);
            series.entry(key).or_default().push(one);
        }
        Self {
            series,
            hosts,
            parts,
            repeat: long.repeat.unwrap_or_default(),
            speed: long.timing.unwrap_or(true).then_some(speed),
            last,
        }
    }

    /// The response to HEAD is that to GET, unless HEAD itself was recorded.
    fn find(&self, asked: &ComparableRequest, conditional: bool) -> Option<&Arc<Recorded>> {
        let found = self.series.get(&key(asked, &self.parts));
        let found = found.or_else(|| {
            let get = ComparableRequest {
                method: "GET".to_owned(),
                ..asked.clone()
            };
            (asked.method == "HEAD").then(|| self.series.get(&key(&get, &self.parts)))?
        });
        found?.next(self.repeat, conditional)
    }

    fn missing(&self, asked: &ComparableRequest) -> Response {
        let mut near: Vec<_> = self
            .series
            .values()
            .take(COMPARED_LIMIT)
            .filter_map(|series| series.responses.first())
            .map(|one| (distance(asked, &one.request), show(&one.request)))
            .collect();
        near.sort();
        near.dedup();
        let near: Vec<_> = near.into_iter().take(NAMED_LIMIT).map(|(_, shown)| shown).collect();
        let error = format!("{} {}", show(asked), self.unlike(asked));
        let error = json!({"error": error, "nearest": near});
        json_reply(StatusCode::NOT_FOUND, &error)
    }

    /// What a request that was not recorded has unlike those that were.
    fn unlike(&self, asked: &ComparableRequest) -> &'static str {
        let recorded = self.series.values().filter_map(|series| series.responses.first());
        let mut found = "was not recorded";
        for one in recorded.map(|one| &one.request) {
            if one.method == asked.method && one.path == asked.path {
                if one.query == asked.query {
                    return "was recorded only with another body";
                }
                found = "was recorded only with another query";
            }
        }
        found
    }

    fn scaled(&self, time: Duration) -> Duration {
        let seconds = self.speed.map_or(0.0, |speed| time.as_secs_f64() / speed);
        Duration::try_from_secs_f64(seconds)
            .unwrap_or(WAIT_LIMIT)
            .min(WAIT_LIMIT)
    }
}

#[async_trait]
impl Source for Har {
    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<_> = self.series.values().filter_map(ResponseSeries::row).collect();
        rows.sort_by(|a, b| (&a.path, &a.method, &a.parameters).cmp(&(&b.path, &b.method, &b.parameters)));
        rows.truncate(LISTED_LIMIT);
        rows
    }

    async fn answer(&self, request: Request) -> Outcome {
        let (head, mut body) = request.into_parts();
        let mut bytes = Bytes::new();
        if self.parts.contains(&HarPart::Body) {
            bytes = match read_json_body(&head.extensions, body, BODY_LIMIT).await {
                Ok(bytes) => bytes,
                Err(error) => return Outcome::Answered(error.response(BODY_LIMIT)),
            };
            body = Body::from(bytes.clone());
        } else if self.last {
            // Nothing reads it. The server reads it to its end, so that the connection can be used again.
            body = Body::empty();
        }
        let query = head.uri.query().unwrap_or("");
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default();
        let asked = ComparableRequest::new(head.method.as_str(), head.uri.path(), query, content_type, bytes);
        let conditional = [IF_NONE_MATCH, IF_MODIFIED_SINCE]
            .iter()
            .any(|name| head.headers.contains_key(name));
        match self.find(&asked, conditional) {
            Some(recorded) => Outcome::Answered(self.reply(recorded, &head, conditional).await),
            None if self.last && !is_for_the_page(&head) => Outcome::Answered(self.missing(&asked)),
            None => Outcome::Passed(Request::from_parts(head, body), Vec::new()),
        }
    }
}

impl Har {
    async fn reply(&self, recorded: &Recorded, asked: &Parts, conditional: bool) -> Response {
        let wait = self.scaled(recorded.wait);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        // A browser records a 304 with the body from its cache, which is what this client would have got.
        let fresh = recorded.status == StatusCode::NOT_MODIFIED && !conditional && !recorded.body.is_empty();
        let status = if fresh { StatusCode::OK } else { recorded.status };
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        let body = if bodiless { Bytes::new() } else { recorded.body.clone() };
        let length = HeaderValue::from(body.len());
        let body = paced(body, self.scaled(recorded.receive));
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        *headers = recorded.headers.clone();
        self.hosts.lead_to(&origin_of(asked), headers);
        if !bodiless {
            headers.insert(CONTENT_LENGTH, length);
        }
        response
    }
}

/// Whether a request may be for the page that documents the fake.
fn is_for_the_page(head: &Parts) -> bool {
    head.uri.path() == "/" && head.uri.query().is_none() && matches!(head.method, Method::GET | Method::HEAD)
}

/// A body that takes about so long, in pieces of the same size at even times. The last leaves at the end of it.
fn paced(body: Bytes, receive: Duration) -> Body {
    if body.is_empty() || receive < PIECE_TIME {
        return Body::from(body);
    }
    let by_time = u32::try_from(receive.as_millis() / PIECE_TIME.as_millis()).unwrap_or(PIECES_LIMIT);
    let pieces = by_time
        .min(PIECES_LIMIT)
        .min(u32::try_from(body.len()).unwrap_or(u32::MAX))
        .max(1);
    let size = body.len().div_ceil(pieces as usize);
    let every = receive / pieces;
    let mut rest = body;
    let pieces = (1..).map_while(move |number| {
        let piece = rest.split_to(size.min(rest.len()));
        (!piece.is_empty()).then_some((every * number, Ok::<_, Infallible>(piece)))
    });
    scheduled(Instant::now(), pieces)
}

/// What requests are told apart by. The parts are separated by a character that a request line can't hold.
fn key(asked: &ComparableRequest, parts: &[HarPart]) -> String {
    let mut key = String::new();
    for part in [HarPart::Method, HarPart::Path, HarPart::Query, HarPart::Body] {
        if !parts.contains(&part) {
            continue;
        }
        match part {
            HarPart::Method => key.push_str(&asked.method),
            HarPart::Path => key.push_str(&asked.path),
            HarPart::Query => {
                for (name, value) in &asked.query {
                    key.push_str(&format!("{name:?}={value:?}&"));
                }
            }
            HarPart::Body => key.push_str(&String::from_utf8_lossy(&asked.body)),
        }
        key.push('\n');
    }
    key
}

/// Orders recorded requests by likeness: an equal path comes first, then an equal method, then what looks alike.
fn distance(asked: &ComparableRequest, recorded: &ComparableRequest) -> (bool, bool, usize) {
    let short = |path: &str| path.chars().take(100).collect::<String>();
    let query = asked.query.iter().filter(|pair| !recorded.query.contains(pair)).count();
    let unlike = strsim::levenshtein(&short(&asked.path), &short(&recorded.path)) * 10 + query;
    (asked.path != recorded.path, asked.method != recorded.method, unlike)
}

fn show(asked: &ComparableRequest) -> String {
    let query: Vec<_> = asked
        .query
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mark = if query.is_empty() { "" } else { "?" };
    let shown = format!("{} {}{mark}{}", asked.method, asked.path, query.join("&"));
    match shown.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", shown.get(..end).unwrap_or_default()),
        None => shown,
    }
}

#[cfg(test)]
mod tests;
