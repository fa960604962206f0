//! The endpoints, over HTTP: statuses, headers and bodies as Toxiproxy sends them.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, LOCATION, USER_AGENT, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

use super::counters;
use super::json::Json;
use super::refusal::Refusal;
use super::route::{Elsewhere, Endpoint, route};
use super::{Shared, VERSION};
use crate::admin::guard;

/// The largest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 1 << 20;
/// How much of a body that is too large is read, in bytes.
const MAX_DRAINED_BYTES: usize = 64 << 20;
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(15);

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Tells requests apart in logs.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-toxiproxy-request-id");

/// What a path in a `Location` can't contain as it is.
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'#');

/// Answers one request.
pub(super) async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // Also where nobody asked for one: behind a body that was not read, the connection would be closed.
    let body = read(body).await;
    let endpoint = match route(&parts.method, parts.uri.path()) {
        Ok(Endpoint::Metrics) if !shared.has_metrics() => return elsewhere(Elsewhere::Unknown, &parts),
        Ok(endpoint) => endpoint,
        Err(other) => return elsewhere(other, &parts),
    };
    let mut response = match refused(&parts) {
        Some(refusal) => text(StatusCode::FORBIDDEN, refusal),
        None => match serve(&shared, endpoint, body).await {
            Ok(response) => response,
            Err(refusal) => error(&refusal),
        },
    };
    let id: String = Uuid::new_v4().simple().to_string().chars().take(20).collect();
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The first JSON value of a body, or why there is none. Fails if the body is too large.
type Read = Result<Result<Json, String>, Refusal>;

async fn serve(shared: &Shared, endpoint: Endpoint, body: Read) -> Result<Response, Refusal> {
    let proxies = &shared.proxies;
    let ok = |value| json(StatusCode::OK, &value);
    Ok(match endpoint {
        Endpoint::Proxies => ok(proxies.list()),
        Endpoint::CreateProxy => {
            let body = body?.map_err(Refusal::bad_body)?;
            json(StatusCode::CREATED, &proxies.create(&body).await?)
        }
        Endpoint::Populate => {
            let populated = match body {
                Ok(Ok(body)) => proxies.populate(&body).await,
                Ok(Err(reason)) => (Vec::new(), Some(Refusal::bad_body(reason))),
                Err(refusal) => (Vec::new(), Some(refusal)),
            };
            populate(populated)
        }
        Endpoint::Proxy(proxy) => ok(proxies.show(&proxy)?),
        Endpoint::UpdateProxy(proxy) => ok(proxies.update(&proxy, body?).await?),
        Endpoint::DeleteProxy(proxy) => no_content(proxies.delete(&proxy)?),
        Endpoint::Toxics(proxy) => ok(proxies.toxics(&proxy)?),
        Endpoint::CreateToxic(proxy) => ok(proxies.create_toxic(&proxy, body?)?),
        Endpoint::Toxic(proxy, toxic) => ok(proxies.toxic(&proxy, &toxic)?),
        Endpoint::UpdateToxic(proxy, toxic) => ok(proxies.update_toxic(&proxy, &toxic, body?)?),
        Endpoint::DeleteToxic(proxy, toxic) => no_content(proxies.delete_toxic(&proxy, &toxic)?),
        Endpoint::Reset => no_content(proxies.reset().await?),
        Endpoint::Version => {
            let version = format!("{{\"version\": \"{VERSION}\"}}\n");
            ([(CONTENT_TYPE, "application/json;charset=utf-8")], version).into_response()
        }
        Endpoint::Metrics => {
            let traffic = shared.settings.proxy_metrics.then(|| proxies.traffic());
            let page = counters::page(traffic.as_deref(), shared.settings.runtime_metrics);
            let page = page.map_err(|error| Refusal::of_system(error.to_string()))?;
            ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response()
        }
    })
}

/// Reads a body to its end.
async fn read(body: Body) -> Read {
    match timeout(BODY_TIME, collect(body)).await {
        Ok(Ok(bytes)) if bytes.len() > MAX_BODY_BYTES => Err(Refusal::too_large()),
        Ok(Ok(bytes)) => Ok(Json::first(&bytes)),
        Ok(Err(_)) => Ok(Err("unexpected EOF".into())),
        Err(_) => Ok(Err("i/o timeout".into())),
    }
}

/// The bytes of a body; of one that is too large, some more than it may have. Up to [`MAX_DRAINED_BYTES`] are read, so that the
/// client has sent all and reads the response.
async fn collect(mut body: Body) -> Result<Vec<u8>, axum::Error> {
    let (mut bytes, mut total) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        total += data.len();
        if bytes.len() <= MAX_BODY_BYTES {
            bytes.extend_from_slice(&data);
        }
        if total > MAX_DRAINED_BYTES {
            break;
        }
    }
    Ok(bytes)
}

/// Why a browser is refused: a page of the web must not change proxies. Other clients are not asked for their Host, since they
/// use any name for this machine.
fn refused(request: &Parts) -> Option<&'static str> {
    let agent = request.headers.get(USER_AGENT);
    if agent.is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/")) {
        return Some("User agent not allowed");
    }
    (!guard::is_own_origin(&request.method, &request.uri, &request.headers)).then_some(guard::FOREIGN_ORIGIN)
}

/// The answer to a request without an endpoint.
fn elsewhere(elsewhere: Elsewhere, request: &Parts) -> Response {
    match elsewhere {
        Elsewhere::Malformed => text(StatusCode::BAD_REQUEST, "400 Bad Request"),
        Elsewhere::Unknown => text(StatusCode::NOT_FOUND, "404 page not found"),
        Elsewhere::WrongMethod => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        Elsewhere::Moved(path) => {
            let mut location = utf8_percent_encode(&path, NOT_IN_PATH).to_string();
            if let Some(query) = request.uri.query() {
                location = format!("{location}?{query}");
            }
            (StatusCode::MOVED_PERMANENTLY, [(LOCATION, location)]).into_response()
        }
    }
}

fn json(status: StatusCode, value: &Value) -> Response {
    (status, [(CONTENT_TYPE, JSON)], value.to_string()).into_response()
}

fn no_content((): ()) -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// The proxies that are as wanted, behind the error, if there is one.
fn populate((proxies, refusal): (Vec<Value>, Option<Refusal>)) -> Response {
    let status = refusal.as_ref().map_or(StatusCode::CREATED, |refusal| refusal.status);
    let mut answer = refusal.map_or_else(|| Value::Object(serde_json::Map::new()), |refusal| refusal.to_json());
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("proxies".into(), proxies.into());
    }
    json(status, &answer)
}

/// An error. Go's `http.Error`, which Toxiproxy uses, sends every error as text.
fn error(refusal: &Refusal) -> Response {
    text(refusal.status, &refusal.to_json().to_string())
}

fn text(status: StatusCode, line: &str) -> Response {
    let headers = [(CONTENT_TYPE, TEXT), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (status, headers, Body::from(format!("{line}\n"))).into_response()
}
