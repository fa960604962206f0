//! `fakeresponse`: FakeResponse.com, which responds as requested: `GET /api/?sleep=1&status=404&data={"a":1}`.
//!
//! | parameter | what it does |
//! |---|---|
//! | `sleep` | waits so many seconds, more than 0 and at most 5, fractions allowed |
//! | `status` | the status of the reply, 200 to 599 |
//! | `data` | JSON that comes back |
//! | `meta` | `false` leaves out the part about the service and the caller |
//! | `auth` | `user:password`: the caller must show them (Basic, RFC 7617) |
//! | `api_key` | comes back, and lifts the rate limit |
//!
//! With the setting `rate_limit: true`, a call without `api_key` that comes within 2 s of the same client's last one gets a
//! 429. The original's response is not known; ours has its words, "Rate Limit exceeded!", under `error`.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, RETRY_AFTER, USER_AGENT, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use lru::LruCache;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::page::{page, rows};
use super::spec::FakeSpec;
use crate::fake::context::Context;
use crate::fake::reply::{Address, basic_credentials, client_of, json, with_field};
use crate::yaml::report::Diagnostic;

/// The longest sleep, in seconds.
const MAX_SLEEP: f64 = 5.0;
/// How long a client without a key has to wait between two calls.
const PAUSE: Duration = Duration::from_secs(2);
/// Clients whose last call is remembered; of more than that, the longest silent one is forgotten.
const CLIENTS: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// One running fake.
struct FakeResponse {
    /// When each client called last, if calls are limited.
    calls: Option<Mutex<LruCache<IpAddr, Instant>>>,
}

/// # Errors
/// None: every setting is valid.
pub(super) fn router(spec: &FakeSpec, _context: &Context<'_>) -> Result<Router, Vec<Diagnostic>> {
    let limited = spec.rate_limit.as_ref().is_some_and(|limit| limit.value);
    let fake = FakeResponse {
        calls: limited.then(|| Mutex::new(LruCache::new(CLIENTS))),
    };
    Ok(Router::new().fallback(answer).with_state(Arc::new(fake)))
}

async fn answer(State(fake): State<Arc<FakeResponse>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    match parts.uri.path() {
        "/" => page("FakeResponse", INTRODUCTION, &rows(ROWS), &Address::of(&parts)),
        "/api" | "/api/" => fake.api(&parts).await,
        _ => refuse(StatusCode::NOT_FOUND, "There is nothing here: try /api/"),
    }
}

impl FakeResponse {
    async fn api(&self, request: &Parts) -> Response {
        let asked = match FakeRequest::read(request) {
            Ok(asked) => asked,
            Err(message) => return refuse(StatusCode::BAD_REQUEST, &message),
        };
        let client = client_of(&request.extensions);
        if asked.key.is_none()
            && let Some(left) = self.too_soon(client)
        {
            let seconds = left.as_millis().div_ceil(1000).to_string();
            let response = refuse(StatusCode::TOO_MANY_REQUESTS, "Rate Limit exceeded!");
            return with_field(response, RETRY_AFTER, &seconds);
        }
        if asked.auth.as_ref().is_some_and(|auth| !shows(&request.headers, auth)) {
            let response = refuse(StatusCode::UNAUTHORIZED, "Send the credentials given in `auth`");
            return with_field(response, WWW_AUTHENTICATE, "Basic realm=\"FakeResponse\"");
        }
        tokio::time::sleep(Duration::from_secs_f64(asked.sleep)).await;
        let mut reply = json!({
            "meta": meta(request, client),
            "status": asked.status.as_u16(),
            "slept": asked.sleep,
            "response": format!("Slept for {:?} seconds.", asked.sleep),
            "api_key": asked.key,
            "method": request.method.as_str(),
            "data": asked.data,
        });
        if let (false, Some(fields)) = (asked.meta, reply.as_object_mut()) {
            fields.shift_remove("meta");
        }
        if matches!(
            asked.status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        ) {
            // These have no body (RFC 9110, section 15).
            return asked.status.into_response();
        }
        json(asked.status, &reply)
    }

    /// How long this client still has to wait, if it has to; otherwise this is its last call from now on.
    fn too_soon(&self, client: Option<IpAddr>) -> Option<Duration> {
        let (calls, client) = (self.calls.as_ref()?, client?);
        let now = Instant::now();
        let mut calls = calls.lock();
        match calls.get(&client).map(|last| now.duration_since(*last)) {
            Some(passed) if passed < PAUSE => PAUSE.checked_sub(passed),
            _ => {
                calls.put(client, now);
                None
            }
        }
    }
}

/// What a request asks for.
struct FakeRequest {
    sleep: f64,
    status: StatusCode,
    data: Value,
    meta: bool,
    auth: Option<String>,
    key: Option<String>,
}

impl FakeRequest {
    fn read(request: &Parts) -> Result<Self, String> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&request.uri).map(|query| query.0);
        let mut asked = Self {
            sleep: 0.0,
            status: StatusCode::OK,
            data: Value::Null,
            meta: true,
            auth: None,
            key: None,
        };
        for (name, value) in pairs.map_err(|_| "The query is malformed")? {
            match name.as_str() {
                "sleep" => asked.sleep = seconds(&value)?,
                "status" => asked.status = status(&value)?,
                "data" => {
                    asked.data = serde_json::from_str(&value).map_err(|error| format!("`data` is not JSON: {error}"))?
                }
                "meta" => asked.meta = !value.eq_ignore_ascii_case("false"),
                "auth" if value.contains(':') => asked.auth = Some(value),
                "auth" => return Err("`auth` must be USER:PASSWORD".to_owned()),
                "api_key" if !value.is_empty() => asked.key = Some(value),
                _ => {}
            }
        }
        Ok(asked)
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text
        .parse::<f64>()
        .ok()
        .filter(|seconds| *seconds == 0.0 || (0.0..=MAX_SLEEP).contains(seconds));
    seconds.ok_or_else(|| format!("`sleep` must be a number of seconds, more than 0 and at most 5, not `{text}`"))
}

fn status(text: &str) -> Result<StatusCode, String> {
    let status = text.parse().ok().filter(|status| (200..=599).contains(status));
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    status.ok_or_else(|| format!("`status` must be a number from 200 to 599, not `{text}`"))
}

fn shows(headers: &HeaderMap, auth: &str) -> bool {
    let field = headers.get(AUTHORIZATION).and_then(|field| field.to_str().ok());
    field
        .and_then(basic_credentials)
        .is_some_and(|shown| shown == auth.as_bytes())
}

fn meta(request: &Parts, client: Option<IpAddr>) -> Value {
    let agent = request
        .headers
        .get(USER_AGENT)
        .map(|agent| String::from_utf8_lossy(agent.as_bytes()));
    json!({
        "help": {
            "data": "data={json}: returned under `data`",
            "sleep": "sleep=1.5: waits this number of seconds, at most 5",
            "status": "status=404: the status of the response",
            "basic_auth": "auth=user:password: requires these credentials",
            "documentation": "/",
        },
        "about": { "name": "FakeResponse", "description": "A fake served by squall" },
        "agent": agent,
        "originating_ip": client.map(|client| client.to_string()),
    })
}

fn refuse(status: StatusCode, message: &str) -> Response {
    json(status, &json!({ "error": message, "status": status.as_u16() }))
}

const INTRODUCTION: &str = "A fake served by squall: FakeResponse.com, which responds as requested.";

/// The rows of the page, see [`rows`].
const ROWS: &str = r#"
any | /api/ | waits, then responds with a status and data | sleep (seconds, up to 5), status, data (JSON), meta=false, api_key | -g /api/?sleep=1.5&status=404&data={"a":[1]}
any | /api/?auth=user:password | requires credentials | auth | -u ada:secret /api/?auth=ada:secret
"#;

#[cfg(test)]
mod tests;
