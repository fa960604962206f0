//! The pages outside of the API: the list of endpoints, metrics, health.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::ALLOW;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde_json::json;

use super::dashboard;
use super::problem::{Accept, Problem, json_answer};
use super::{Context, Shared};

#[derive(Debug)]
/// An endpoint, as listed at `/`.
pub(super) struct Endpoint {
    pub(super) methods: &'static [&'static str],
    pub(super) path: &'static str,
    what: &'static str,
}

impl Endpoint {
    /// Whether a path is this endpoint's, whose names in braces stand for one segment each.
    fn is_at(&self, path: &str) -> bool {
        let same = |(own, other): (&str, &str)| own == other || own.starts_with('{');
        self.path.split('/').count() == path.split('/').count() && self.path.split('/').zip(path.split('/')).all(same)
    }
}

const fn endpoint(methods: &'static [&'static str], path: &'static str, what: &'static str) -> Endpoint {
    Endpoint { methods, path, what }
}

/// All endpoints.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    endpoint(&["GET"], "/", "this list; for browsers the dashboard"),
    endpoint(
        &["GET"],
        "/dashboard",
        "the dashboard, which needs no token to be loaded",
    ),
    endpoint(&["GET"], "/dashboard/{file}", "what the dashboard loads"),
    endpoint(
        &["GET"],
        "/metrics",
        "metrics for Prometheus; ?rules=matched leaves out rules that have matched nothing",
    ),
    endpoint(&["GET"], "/healthz", "200 while the process is alive"),
    endpoint(
        &["GET"],
        "/readyz",
        "200 while all listeners accept, 503 while squall stops",
    ),
    endpoint(
        &["GET"],
        "/api/v1/openapi.json",
        "the OpenAPI document of these endpoints",
    ),
    endpoint(
        &["GET"],
        "/api/v1/status",
        "version, seed, configuration hash, listeners with their real addresses",
    ),
    endpoint(
        &["GET", "PUT"],
        "/api/v1/armed",
        "the stop switch: PUT {\"armed\": false, \"reason\": \"…\"} stops all injection",
    ),
    endpoint(&["GET"], "/api/v1/config", "the configuration in force; ?format=yaml"),
    endpoint(
        &["GET"],
        "/api/v1/rules",
        "the rules and their counters; ?space=NAME for those of a space",
    ),
    endpoint(
        &["GET", "PUT", "PATCH", "DELETE"],
        "/api/v1/rules/{name}",
        "one rule: show it, add or replace it, change parts of it (RFC 7396), remove it; ?space=NAME, ?dry_run=1",
    ),
    endpoint(
        &["POST"],
        "/api/v1/rules/{name}/reset",
        "forget what the rule has counted and remembered",
    ),
    endpoint(&["POST"], "/api/v1/reset", "the same for all rules"),
    endpoint(
        &["PUT"],
        "/api/v1/order",
        "the order of the API's rules: {\"rules\": [names]}",
    ),
    endpoint(
        &["GET", "PUT", "DELETE"],
        "/api/v1/layers/api",
        "all rules of the API at once: {\"rules\": [...]}; ?dry_run=1",
    ),
    endpoint(&["GET"], "/api/v1/spaces", "the spaces that tests have opened"),
    endpoint(
        &["GET", "PUT", "DELETE"],
        "/api/v1/spaces/{id}",
        "one space: {\"ttl\": \"10m\", \"listeners\": [\"web\"]}; with it go its rules and listeners",
    ),
    endpoint(
        &["GET"],
        "/api/v1/upstreams",
        "the upstreams and the health of their endpoints",
    ),
    endpoint(
        &["GET"],
        "/api/v1/guards",
        "the conditions that stop injection, and how far each is",
    ),
    endpoint(
        &["PUT", "DELETE"],
        "/api/v1/guards/{name}",
        "a condition that stops everything, as in `stop_when`",
    ),
    endpoint(
        &["POST"],
        "/api/v1/guards/{name}/reset",
        "makes a guard forget what it has seen; what it has stopped goes on",
    ),
    endpoint(
        &["GET"],
        "/api/v1/ca.pem",
        "the authority that issues the certificates of the fault `certificate`",
    ),
    endpoint(&["POST"], "/api/v1/reload", "reload the configuration"),
    endpoint(&["GET"], "/api/v1/stats", "figures of the last second"),
    endpoint(
        &["GET"],
        "/api/v1/events",
        "what happens, as server-sent events; ?kinds=stats,request",
    ),
    endpoint(
        &["GET", "POST"],
        "/api/v1/scenarios",
        "the scenarios, and a new one: its YAML as the body; ?detach=1",
    ),
    endpoint(&["GET"], "/api/v1/scenarios/{id}", "how far a scenario is"),
    endpoint(
        &["GET"],
        "/api/v1/scenarios/{id}/report",
        "the report of a scenario that has ended; ?format=json, junit, html or text",
    ),
    endpoint(
        &["POST"],
        "/api/v1/scenarios/{id}/{order}",
        "pause, resume or abort a scenario; aborting puts everything back",
    ),
    endpoint(
        &["GET", "POST"],
        "/api/v1/explain",
        "explain a request: ?url=&method=&header=&client=&listener=&ordinal=&at=, or {\"curl\": \"curl …\"}",
    ),
    endpoint(
        &["GET", "DELETE"],
        "/api/v1/journal",
        "the last requests: ?space=&after=&limit=&since=&hit=&rule=&listener=&method=&path=&status=",
    ),
    endpoint(
        &["GET"],
        "/api/v1/journal/{id}",
        "one of the last requests, with the rules that almost matched it",
    ),
    endpoint(
        &["POST"],
        "/api/v1/verify",
        "whether requests were as expected: {\"match\": {\"path\": \"/pay\"}, \"count\": 3, \"gaps\": {\"min\": \"100ms\"}}",
    ),
];

pub(super) async fn index(headers: HeaderMap) -> Response {
    match Accept::of(&headers) {
        Accept::Html => dashboard::page().await,
        Accept::Json => {
            let endpoint = |one: &Endpoint| json!({"path": one.path, "methods": one.methods, "what": one.what});
            json_answer(&json!({"endpoints": ENDPOINTS.iter().map(endpoint).collect::<Vec<_>>()}))
        }
        Accept::Any | Accept::Text => format!("squall {}\n\n{}", env!("CARGO_PKG_VERSION"), list()).into_response(),
    }
}

fn list() -> String {
    let line = |one: &Endpoint| format!("{:<20} {:<27} {}\n", one.methods.join(" "), one.path, one.what);
    ENDPOINTS.iter().map(line).collect()
}

pub(super) async fn health() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(context): Shared, headers: HeaderMap) -> Response {
    let accept = Accept::of(&headers);
    match (context.not_ready(), accept) {
        (Some(reason), _) => {
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}"));
            problem.with("ready", false).with("reason", reason).answer(accept)
        }
        (None, Accept::Json) => json_answer(&json!({"ready": true})),
        (None, _) => "ready\n".into_response(),
    }
}

impl Context {
    /// Whether squall is stopping.
    pub(super) fn is_draining(&self) -> bool {
        self.server.is_stopping()
    }

    /// Why requests are not accepted on every listener, if so.
    fn not_ready(&self) -> Option<String> {
        let open = self.server.addresses();
        if self.is_draining() {
            return Some("squall is draining".to_owned());
        }
        let snapshot = self.server.snapshot();
        let missing = snapshot
            .listeners
            .iter()
            .filter(|one| one.enabled)
            .find(|one| open.iter().all(|(name, _)| *name != one.name))?;
        Some(format!("the listener {} is not accepting connections", missing.name))
    }
}

pub(super) async fn unknown(uri: Uri, headers: HeaderMap) -> Response {
    let paths: Vec<&str> = ENDPOINTS.iter().map(|one| one.path).collect();
    let problem = |detail| Problem::new(StatusCode::NOT_FOUND, detail).with("endpoints", paths);
    match Accept::of(&headers) {
        Accept::Json => problem(format!("there is nothing at {}", uri.path())).answer(Accept::Json),
        accept => problem(format!("{} not found; available:\n\n{}", uri.path(), list())).answer(accept),
    }
}

pub(super) async fn wrong_method(uri: Uri, headers: HeaderMap) -> Response {
    let methods = ENDPOINTS
        .iter()
        .find(|one| one.is_at(uri.path()))
        .map(|one| one.methods)
        .unwrap_or_default();
    // axum serves HEAD wherever there is a GET.
    let allow = methods.join(", ").replace("GET", "GET, HEAD");
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{} supports only {allow}", uri.path()),
    );
    let mut response = problem.answer(Accept::of(&headers));
    if let Ok(allow) = HeaderValue::try_from(allow) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}
