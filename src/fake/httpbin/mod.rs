//! `httpbin`: responds as httpbin 0.10 does, with what go-httpbin and fortio add. The page at `/` lists the routes.
//!
//! Random choices (weights, bytes, identifiers) are a function of the fake's seed and of the number of the request.
//! Bodies over [`BODY_LIMIT`] get a 413. Known differences from httpbin:
//!
//! | where | httpbin | here |
//! |---|---|---|
//! | a parameter that is no number or out of range (`/delay/x`, `/redirect/0`, `/drip?numbytes=x`) | 500, from an exception | 400 with a line of text, as go-httpbin |
//! | `/redirect-to` without `url` | `Location: None` | 400 |
//! | `/status` below 200 | sent as it is, which breaks the connection | 400 |
//! | digest credentials without the parameters that they need | 500 | 401 |
//! | digest credentials of another user with a right hash | 200 | 401 |
//! | `If-Range` on `/range` | ignored | RFC 9110, section 13.1.5 |
//! | two slashes within a path | 308 to a path with one | two slashes |
//! | request bodies in chunks | 501 unless under gunicorn | taken |
//! | `NaN` and numbers of more than 64 bits in a JSON body | read | `json` is null, or rounded |
//! | texts, images, `/json`, `/xml`, the pages of errors and redirects, the 402 and the teapot | | own ones |
//! | `/hostname`, `/dump/request`, `/unstable`, `/sse`, `/trailers` | 404 | go-httpbin's |
//! | `delay`, `status`, `size`, `close`, `header` in queries | echoed | echoed and obeyed: see [`fortio`] |
//!
//! Trailer fields reach clients of `squall fake`; the proxy drops them.

#![expect(clippy::result_large_err, reason = "a refusal is a whole response, made rarely")]

mod auth;
mod bodies;
mod caching;
mod formats;
mod fortio;
mod page;
mod python_json;
mod python_random;
mod request;
mod response;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::PAD;
use http::header::{ALLOW, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use self::fortio::Wishes;
use self::request::HttpbinRequest;
use self::response::{HTML, TEXT, bad, cookie, empty, error, header, redirect, reply, typed};
use super::made_up::dice::{Dice, Stream};
use super::made_up::fields::uuid;
use super::spec::FakeSpec;
use crate::fake::context::Context;
use crate::fake::reply::{Address, BodyError, read_json_body};
use crate::yaml::report::Diagnostic;

/// The longest body that is taken, in bytes.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// From this many bytes of body on, the reply is put together off the async workers.
const LARGE_BODY: usize = 128 * 1024;

const GET_KEYS: &[&str] = &["url", "args", "headers", "origin"];
const BODY_KEYS: &[&str] = &["url", "args", "form", "data", "origin", "headers", "files", "json"];
const ALL_KEYS: &[&str] = &[
    "url", "args", "headers", "origin", "method", "form", "data", "files", "json",
];
const DELAY_KEYS: &[&str] = &["url", "args", "form", "data", "origin", "headers", "files"];

#[expect(clippy::unnecessary_wraps, reason = "the signature that all fakes share")]
pub(super) fn router(spec: &FakeSpec, context: &Context<'_>) -> Result<Router, Vec<Diagnostic>> {
    let seed = spec.seed.as_ref().map_or(context.seed, |seed| seed.value);
    let count = Arc::new(AtomicU64::new(0));
    Ok(Router::new().fallback(move |request: Request| {
        // Relaxed: numbers only have to differ.
        let dice = Dice::new(seed, Stream::Httpbin, count.fetch_add(1, Ordering::Relaxed));
        answer(request, dice)
    }))
}

async fn answer(request: Request, mut dice: Dice) -> Response {
    let (parts, body) = request.into_parts();
    let cors = Cors::new(&parts.headers, &parts.method);
    let response = match read_json_body(&parts.extensions, body, BODY_LIMIT).await {
        Ok(body) => {
            let request = Arc::new(HttpbinRequest::new(parts, body));
            let wishes = Wishes::draw(&request, &mut dice);
            let delay = wishes.delay;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            wishes.apply(dispatch(&request, dice).await)
        }
        Err(BodyError::TooLarge) => error(StatusCode::PAYLOAD_TOO_LARGE, "The body is longer than 16 MiB."),
        Err(BodyError::Full) => error(StatusCode::SERVICE_UNAVAILABLE, BodyError::FULL),
        Err(BodyError::Broken) => error(StatusCode::BAD_REQUEST, "The body could not be read."),
    };
    cors.apply(response)
}

/// The fields for browsers of other origins (the Fetch standard, "CORS protocol").
struct Cors {
    origin: HeaderValue,
    preflight: bool,
    wanted: Option<HeaderValue>,
}

impl Cors {
    fn new(headers: &HeaderMap, method: &Method) -> Self {
        Self {
            origin: headers.get("origin").cloned().unwrap_or(HeaderValue::from_static("*")),
            preflight: method == Method::OPTIONS,
            wanted: headers.get("access-control-request-headers").cloned(),
        }
    }

    fn apply(self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.insert("access-control-allow-origin", self.origin);
        headers.insert("access-control-allow-credentials", HeaderValue::from_static("true"));
        if self.preflight {
            let methods = HeaderValue::from_static("GET, POST, PUT, DELETE, PATCH, OPTIONS");
            headers.insert("access-control-allow-methods", methods);
            headers.insert("access-control-max-age", HeaderValue::from_static("3600"));
            if let Some(wanted) = self.wanted {
                headers.insert("access-control-allow-headers", wanted);
            }
        }
        response
    }
}

/// Characters that are percent-encoded in `Location` (RFC 3986, section 2), besides what is not ASCII.
const NOT_IN_URLS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

const GET: &[&str] = &["GET"];
const ANY: &[&str] = &["GET", "POST", "PUT", "DELETE", "PATCH", "TRACE"];

/// The methods that a path takes, besides HEAD with GET, and OPTIONS; `None` where there is nothing.
fn methods(path: &[&str]) -> Option<&'static [&'static str]> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    Some(match path {
        [.., last] if last.is_empty() && path.len() > 1 && path.first() != Some(&"anything") => return None,
        ["post"] => &["POST"],
        ["put"] => &["PUT"],
        ["patch"] => &["PATCH"],
        ["delete"] => &["DELETE"],
        ["anything", ""] => return None,
        ["anything", ..] | ["status" | "delay", _] | ["redirect-to"] | ["dump", "request"] => ANY,
        ["response-headers"] => &["GET", "POST"],
        [
            "bytes" | "stream" | "stream-bytes" | "range" | "redirect" | "relative-redirect" | "absolute-redirect",
            n,
        ]
        | ["links", n]
        | ["cache", n]
            if number(n) =>
        {
            GET
        }
        ["links", n, offset] if number(n) && number(offset) => GET,
        [
            "" | "get" | "headers" | "ip" | "user-agent" | "uuid" | "hostname" | "drip" | "cookies" | "bearer"
            | "cache",
        ]
        | ["gzip" | "deflate" | "brotli" | "html" | "json" | "xml" | "robots.txt" | "deny" | "image"]
        | ["unstable" | "sse" | "trailers"]
        | ["cookies", "set" | "delete"]
        | ["cookies", "set", _, _]
        | ["basic-auth" | "hidden-basic-auth", _, _]
        | ["digest-auth", _, _, _]
        | ["digest-auth", _, _, _, _]
        | ["digest-auth", _, _, _, _, _]
        | ["encoding", "utf8"]
        | ["forms", "post"]
        | ["image", "png" | "jpeg" | "svg" | "webp"]
        | ["base64" | "etag", _] => GET,
        _ => return None,
    })
}

async fn dispatch(request: &Arc<HttpbinRequest>, dice: Dice) -> Response {
    let path: Vec<&str> = request.path.split('/').skip(1).collect();
    let Some(methods) = methods(&path) else {
        return error(
            StatusCode::NOT_FOUND,
            "Nothing is served at this path; / lists all paths.",
        );
    };
    let method = if request.method == Method::HEAD {
        "GET"
    } else {
        request.method.as_str()
    };
    if !methods.contains(&method) {
        let head = if methods.contains(&"GET") { ", HEAD" } else { "" };
        let allowed = format!("{}, OPTIONS{head}", methods.join(", "));
        let response = match method {
            "OPTIONS" => empty(StatusCode::OK),
            _ => error(
                StatusCode::METHOD_NOT_ALLOWED,
                "This path does not support this method.",
            ),
        };
        return header(response, ALLOW, &allowed);
    }
    let response = match path.as_slice() {
        ["get"] => Ok(describe(request, GET_KEYS).await),
        ["post" | "put" | "patch" | "delete"] => Ok(describe(request, BODY_KEYS).await),
        ["anything", ..] => Ok(describe(request, ALL_KEYS).await),
        ["delay", seconds] => delay(request, seconds).await,
        path => route(request, path, dice),
    };
    response.unwrap_or_else(|refused| refused)
}

async fn describe(request: &Arc<HttpbinRequest>, keys: &'static [&'static str]) -> Response {
    if request.body.len() < LARGE_BODY {
        return reply(StatusCode::OK, &Value::Object(request.describe(keys)));
    }
    let request = Arc::clone(request);
    let large = tokio::task::spawn_blocking(move || reply(StatusCode::OK, &Value::Object(request.describe(keys))));
    large.await.unwrap_or_else(|_| status::response(500))
}

async fn delay(request: &Arc<HttpbinRequest>, seconds: &str) -> Result<Response, Response> {
    match seconds.trim().parse::<f64>() {
        Ok(seconds) if seconds >= 0.0 => {
            tokio::time::sleep(Duration::from_secs_f64(seconds.min(bodies::DELAY_LIMIT))).await;
            Ok(describe(request, DELAY_KEYS).await)
        }
        _ => Err(bad("the delay must be a number of seconds, 0 or more")),
    }
}

/// The routes that neither wait nor read the body.
fn route(request: &HttpbinRequest, path: &[&str], mut dice: Dice) -> Result<Response, Response> {
    let ok = |value: &Value| reply(StatusCode::OK, value);
    Ok(match path {
        [""] => page::response(request),
        ["headers"] => ok(&Value::Object(request.describe(&["headers"]))),
        ["ip"] => ok(&json!({"origin": request.origin()})),
        ["user-agent"] => ok(&json!({"user-agent": request.header("user-agent")})),
        ["hostname"] => ok(&json!({"hostname": request.base.trim_start_matches("http://")})),
        ["uuid"] => ok(&json!({"uuid": uuid(&mut dice).hyphenated().to_string()})),
        ["dump", "request"] => dump(request),
        ["status", codes] => status::route(codes, &mut dice),
        ["redirect-to"] => redirect_to(request)?,
        ["redirect" | "relative-redirect" | "absolute-redirect", n] => redirects(request, path, n)?,
        ["links", n] => redirect(&format!("/links/{}/0", n.parse::<u64>().unwrap_or(u64::MAX))),
        ["links", n, offset] => links(n, offset, &request.address),
        ["cookies", ..] => cookies(request, path),
        ["basic-auth", user, password] => auth::basic(request, user, password, 401),
        ["hidden-basic-auth", user, password] => auth::basic(request, user, password, 404),
        ["bearer"] => auth::bearer(request),
        ["digest-auth", qop, user, password, more @ ..] => {
            let wanted = auth::Wanted {
                qop,
                user,
                password,
                algorithm: more.first().copied().unwrap_or("MD5"),
                stale_after: more.get(1).copied().unwrap_or("never"),
            };
            auth::digest_auth(request, &wanted, &mut dice)
        }
        ["gzip" | "deflate" | "brotli"] => formats::encoded(request, &request.path[1..]),
        ["image"] => formats::negotiated_image(request),
        ["image", kind] => formats::image(kind).unwrap_or_else(|| status::response(404)),
        ["base64", text] => base64(text),
        ["cache"] => caching::cache(request, &uuid(&mut dice).simple().to_string()),
        ["cache", seconds] => {
            let seconds = seconds.trim_start_matches('0');
            caching::max_age(request, if seconds.is_empty() { "0" } else { seconds })
        }
        ["etag", tag] => caching::etag(request, tag),
        ["response-headers"] => caching::response_headers(request),
        _ => return stream(request, path, dice),
    })
}

fn stream(request: &HttpbinRequest, path: &[&str], dice: Dice) -> Result<Response, Response> {
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    match path {
        ["bytes", n] => bodies::bytes(request, number(n), dice),
        ["stream-bytes", n] => bodies::stream_bytes(request, number(n), dice),
        ["stream", n] => Ok(bodies::stream(request, number(n))),
        ["range", n] => bodies::range(request, number(n)),
        ["drip"] => bodies::drip(request),
        ["sse"] => bodies::sse(request),
        ["trailers"] => Ok(bodies::trailers(request)),
        ["unstable"] => bodies::unstable(request, dice),
        _ => Ok(formats::document(&path.join("/")).unwrap_or_else(|| status::response(404))),
    }
}

/// The request as it might have been on the wire.
fn dump(request: &HttpbinRequest) -> Response {
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method, request.target).into_bytes();
    for (name, value) in &request.headers {
        text.extend_from_slice(format!("{name}: ").as_bytes());
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(&request.body);
    typed(StatusCode::OK, TEXT, text)
}

fn redirect_to(request: &HttpbinRequest) -> Result<Response, Response> {
    let Some(url) = request.parameter("url") else {
        return Err(bad("url is missing"));
    };
    let status = match request.parameter("status_code").map(|code| code.trim().parse::<u16>()) {
        None => 302,
        Some(Ok(code @ 300..=399)) => code,
        Some(Ok(_)) => 302,
        Some(Err(_)) => return Err(bad("status_code must be a number")),
    };
    let response = empty(StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND));
    let location = utf8_percent_encode(url, NOT_IN_URLS).to_string();
    Ok(header(response, LOCATION, &location))
}

fn redirects(request: &HttpbinRequest, path: &[&str], n: &str) -> Result<Response, Response> {
    let left = match n.parse::<u64>() {
        Ok(n) if n > 0 => n - 1,
        _ => return Err(bad("the number of redirects must be positive")),
    };
    let wants_absolute = || {
        request
            .parameter("absolute")
            .unwrap_or_default()
            .eq_ignore_ascii_case("true")
    };
    let (base, kind) = match path.first() {
        Some(&"absolute-redirect") => (request.base.as_str(), "absolute"),
        Some(&"redirect") if wants_absolute() => (request.base.as_str(), "absolute"),
        _ => ("", "relative"),
    };
    Ok(match left {
        0 => redirect(&format!("{base}/get")),
        _ => redirect(&format!("{base}/{kind}-redirect/{left}")),
    })
}

fn links(n: &str, offset: &str, address: &Address) -> Response {
    let n = n.parse::<u64>().unwrap_or(u64::MAX).clamp(1, 200);
    let offset = offset.parse::<u64>().unwrap_or(u64::MAX);
    let mut page = String::from("<html><head><title>Links</title></head><body>");
    for i in 0..n {
        if i == offset {
            page.push_str(&format!("{i} "))
        } else {
            page.push_str(&format!(
                "<a href='{}'>{i}</a> ",
                address.path(&format!("/links/{n}/{i}"))
            ))
        }
    }
    page.push_str("</body></html>");
    typed(StatusCode::OK, HTML, page)
}

fn cookies(request: &HttpbinRequest, path: &[&str]) -> Response {
    match path {
        ["cookies", "set", name, value] => cookie(redirect("/cookies"), name, value),
        ["cookies", "set"] => {
            let all = request.first_values();
            all.iter().fold(redirect("/cookies"), |response, (name, value)| {
                cookie(response, name, value)
            })
        }
        ["cookies", "delete"] => {
            let gone = "=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/";
            let all = request.first_values();
            all.iter().fold(redirect("/cookies"), |response, (name, _)| {
                header(response, "set-cookie", &format!("{name}{gone}"))
            })
        }
        _ => {
            let show_all = request.query.iter().any(|(name, _)| name == "show_env");
            // Those of trackers, which httpbin hides.
            let shown = |name: &str| show_all || !(name.starts_with("__utm") || name.starts_with("_gauges_unique"));
            let all = request.cookies().into_iter().filter(|(name, _)| shown(name));
            let all = all.map(|(name, value)| (name, Value::String(value))).collect();
            reply(StatusCode::OK, &json!({"cookies": Value::Object(all)}))
        }
    }
}

/// The URL-safe alphabet with padding (RFC 4648, section 5).
fn base64(text: &str) -> Response {
    let engine = GeneralPurpose::new(&URL_SAFE, PAD.with_decode_allow_trailing_bits(true));
    let decoded = engine.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let hint = "Incorrect Base64 data try: SFRUUEJJTiBpcyBhd2Vzb21l";
    typed(StatusCode::OK, HTML, decoded.unwrap_or_else(|| hint.to_owned()))
}
