use std::path::Path;

use axum::body::{Body, to_bytes};
use axum::response::Response;
use http::header::{ACCEPT, ALLOW, AUTHORIZATION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::{Method, Request, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::config::Source;
use crate::metrics::Metrics;

const MAIN: &str = "
seed: 42
listeners:
  web: {address: '127.0.0.1:0', upstream: mirror}
upstreams:
  mirror: {fake: echo}
";

/// A server from [`MAIN`] and more YAML, and the folder of its file.
pub(super) fn server(more: &str) -> (TempDir, Arc<Server>) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), more);
    let source = Source::File(folder.path().join("squall.yaml"));
    let server = Server::start(source, None, Metrics::new().unwrap()).map_err(|failure| failure.to_string());
    (folder, server.unwrap())
}

fn write(folder: &Path, more: &str) {
    std::fs::write(folder.join("squall.yaml"), format!("{MAIN}{more}")).unwrap();
}

pub(super) struct Asked {
    router: axum::Router,
    pub(super) server: Arc<Server>,
    folder: TempDir,
}

pub(super) fn admin(more: &str) -> Asked {
    let (folder, server) = server(more);
    Asked {
        router: router(Arc::clone(&server)),
        server,
        folder,
    }
}

impl Asked {
    pub(super) async fn send(
        &self,
        method: Method,
        target: &str,
        fields: &[(http::HeaderName, &str)],
        body: &str,
    ) -> Response {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, "localhost:9900");
        for (name, value) in fields {
            request = request.header(name, *value);
        }
        self.pass(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    pub(super) async fn pass(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn get(&self, target: &str) -> (StatusCode, String) {
        text(self.send(Method::GET, target, &[], "").await).await
    }

    pub(super) async fn json(&self, method: Method, target: &str) -> (StatusCode, Value) {
        let (status, text) = text(self.send(method, target, &[(ACCEPT, "application/json")], "").await).await;
        (status, serde_json::from_str(&text).unwrap())
    }
}

pub(super) async fn text(response: Response) -> (StatusCode, String) {
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

const RULE: &str = "
rules:
  - name: pay is down
    listener: web
    match: {path: /pay}
    when: {percentage: 12.5, key: client}
    faults: [{delay: 1ms}, {abort: 503}]
";

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let admin = admin("");
    let response = admin.send(Method::GET, "/metrics", &[], "").await;
    assert_eq!(
        response.headers()[CONTENT_TYPE],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert!(text(response).await.1.contains("squall_info{"));
    let head = admin.send(Method::HEAD, "/metrics", &[], "").await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(text(head).await.1, "");
}

#[tokio::test]
async fn metrics_may_leave_out_rules_that_matched_nothing() {
    let more = "rules: [{name: quiet, faults: [{delay: 1ms}]}, {name: busy, faults: [{abort: 503}]}]\n";
    let admin = admin(more);
    admin.server.snapshot().rules[1].metrics.matched();
    let (status, all) = admin.get("/metrics").await;
    let (_, matched) = admin.get("/metrics?rules=matched").await;
    assert_eq!(status, StatusCode::OK);
    assert!(all.contains("rule=\"quiet\"") && all.contains("rule=\"busy\""));
    assert!(!matched.contains("rule=\"quiet\""), "{matched}");
    let busy = |page: &str| page.matches("rule=\"busy\"").count();
    assert_eq!(busy(&matched), busy(&all));
    assert!(matched.contains("squall_info{") && matched.contains("squall_requests_held 0"));
    let (status, problem) = admin.get("/metrics?rules=none").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
}

#[tokio::test]
async fn readiness_ends_with_draining() {
    let admin = admin("");
    assert_eq!(admin.get("/healthz").await, (StatusCode::OK, "ok\n".into()));
    assert_eq!(admin.get("/readyz").await, (StatusCode::OK, "ready\n".into()));
    assert_eq!(admin.json(Method::GET, "/readyz").await.1["ready"], true);
    admin.server.drain(std::time::Duration::from_secs(5)).await;
    assert_eq!(admin.get("/healthz").await.0, StatusCode::OK);
    let unready = (
        StatusCode::SERVICE_UNAVAILABLE,
        "not ready: squall is draining\n".into(),
    );
    assert_eq!(admin.get("/readyz").await, unready);
    assert_eq!(admin.json(Method::GET, "/readyz").await.1["ready"], false);
    assert_eq!(admin.json(Method::GET, "/api/v1/status").await.1["state"], "draining");
    let (status, _) = text(admin.send(Method::POST, "/api/v1/reload", &[], "").await).await;
    assert_eq!(
        status,
        StatusCode::SERVICE_UNAVAILABLE,
        "what is stopping opens no listeners"
    );
}

#[tokio::test]
async fn status_tells_real_addresses() {
    let admin = admin(RULE);
    let (_, status) = admin.json(Method::GET, "/api/v1/status").await;
    assert_eq!(status["seed"], 42);
    assert_eq!(status["state"], "running");
    assert_eq!(status["config_hash"], *admin.server.snapshot().hash);
    assert_eq!(status["rules"], 1);
    assert_eq!(status["requests_held"], 0);
    let listener = &status["listeners"][0];
    assert_eq!(
        (&listener["name"], &listener["upstream"]),
        (&"web".into(), &"mirror".into())
    );
    let address: std::net::SocketAddr = listener["address"].as_str().unwrap().parse().unwrap();
    assert_ne!(address.port(), 0);
}

#[tokio::test]
async fn the_configuration_is_shown_without_the_token() {
    let admin = admin(&format!("admin: {{address: '127.0.0.1:0', token: s3cret}}{RULE}"));
    let known = [(AUTHORIZATION, "Bearer s3cret")];
    let mut shown = Vec::new();
    for target in [
        "/api/v1/config",
        "/api/v1/config?format=yaml",
        "/api/v1/config?format=json",
    ] {
        let (status, text) = text(admin.send(Method::GET, target, &known, "").await).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        assert!(text.contains("pay is down") && !text.contains("s3cret"), "{text}");
        shown.push(text);
    }
    let json: Value = serde_json::from_str(&shown[0]).unwrap();
    assert_eq!(json["seed"], 42);
    assert_eq!(json["rules"][0]["match"]["path"], "/pay");
    // What is shown can be loaded, and is the same configuration.
    let file = admin.folder.path().join("shown.yaml");
    std::fs::write(&file, &shown[1]).unwrap();
    let found = Server::check(&Source::File(file), None, admin.server.metrics()).map_err(|report| report.render(false));
    assert_eq!(found.unwrap().hash, admin.server.snapshot().hash);
    assert_eq!(
        admin
            .send(Method::GET, "/api/v1/config?format=xml", &known, "")
            .await
            .status(),
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn rules_are_shown_with_what_they_did() {
    let admin = admin(RULE);
    let (_, rules) = admin.json(Method::GET, "/api/v1/rules").await;
    let rule = &rules["rules"][0];
    assert_eq!(rule["name"], "pay is down");
    assert_eq!(rule["match"], "path `/pay`");
    assert_eq!(rule["listeners"], serde_json::json!(["web"]));
    assert_eq!(rule["percentage"], 12.5);
    assert_eq!(rule["key"], "client");
    assert_eq!(rule["outcomes"][0]["faults"], serde_json::json!(["delay", "abort"]));
    assert_eq!(
        (&rule["matched"], &rule["hits"], &rule["active"]),
        (&0.into(), &0.into(), &0.into())
    );
}

#[tokio::test]
async fn a_reload_says_how_it_went() {
    let admin = admin("");
    let before = admin.server.snapshot().hash.clone();
    write(admin.folder.path(), RULE);
    let (status, answer) = admin.json(Method::POST, "/api/v1/reload").await;
    assert_eq!((status, &answer["result"]), (StatusCode::OK, &"ok".into()));
    let after = admin.server.snapshot().hash.clone();
    assert_ne!(before, after);
    assert_eq!(answer["config_hash"], *after);

    write(admin.folder.path(), "rules: [{name: a, faults: [{dellay: 1s}]}]\n");
    let (status, report) = text(admin.send(Method::POST, "/api/v1/reload", &[], "").await).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        report.contains("did you mean `delay`?") && report.contains("squall.yaml:"),
        "{report}"
    );
    let (status, problem) = admin.json(Method::POST, "/api/v1/reload").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["status"], 422);
    assert_eq!(problem["result"], "error");
    assert_eq!(problem["errors"][0]["severity"], "error");
    assert_eq!(problem["config_hash"], *after, "the old one stays");
    assert_eq!(admin.server.snapshot().hash, after);
}

#[tokio::test]
async fn a_reload_that_cannot_listen_changes_nothing() {
    let admin = admin("");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let main = MAIN.replace("127.0.0.1:0", &taken.local_addr().unwrap().to_string());
    std::fs::write(admin.folder.path().join("squall.yaml"), main).unwrap();
    let (status, problem) = admin.json(Method::POST, "/api/v1/reload").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(
        problem["detail"].as_str().unwrap().contains("can't listen"),
        "{problem}"
    );
    assert_eq!(admin.get("/readyz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_reload_may_change_the_token() {
    let admin = admin("admin: {address: '127.0.0.1:0'}\n");
    assert_eq!(admin.get("/metrics").await.0, StatusCode::OK);
    write(admin.folder.path(), "admin: {address: '127.0.0.1:0', token: s3cret}\n");
    assert_eq!(
        admin.send(Method::POST, "/api/v1/reload", &[], "").await.status(),
        StatusCode::OK
    );
    let response = admin.send(Method::GET, "/metrics", &[], "").await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(
        response.headers()[WWW_AUTHENTICATE]
            .to_str()
            .unwrap()
            .starts_with("Bearer")
    );
    assert_eq!(admin.get("/healthz").await.0, StatusCode::OK);
    let known = [(AUTHORIZATION, "Bearer s3cret")];
    assert_eq!(
        admin.send(Method::GET, "/metrics", &known, "").await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn unknown_paths_list_the_endpoints() {
    let admin = admin("");
    for target in ["/none", "/metrics/", "/api/v1", "/api/v1/%00", "//"] {
        let (status, text) = admin.get(target).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{target}");
        assert!(text.contains("/api/v1/status"), "{text}");
    }
    assert_eq!(admin.get("/api/v1/%FF").await.0, StatusCode::BAD_REQUEST);
    let (_, problem) = admin.json(Method::GET, "/none").await;
    assert_eq!(problem["title"], "Not Found");
    assert_eq!(problem["endpoints"].as_array().unwrap().len(), pages::ENDPOINTS.len());
}

#[tokio::test]
async fn the_list_of_endpoints_is_what_there_is() {
    let admin = admin("");
    let index = admin.get("/").await.1;
    for endpoint in pages::ENDPOINTS {
        assert!(index.contains(endpoint.path));
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let listed = endpoint.methods.contains(&method.as_str());
            let response = admin.send(method.clone(), endpoint.path, &[], "").await;
            assert_eq!(
                response.status() != StatusCode::METHOD_NOT_ALLOWED,
                listed,
                "{method} {}",
                endpoint.path
            );
            if !listed {
                let allow = response.headers()[ALLOW].to_str().unwrap();
                assert!(endpoint.methods.iter().all(|method| allow.contains(method)), "{allow}");
            }
        }
    }
}

#[tokio::test]
async fn explains_requests() {
    let admin = admin(RULE);
    let (status, explained) = admin
        .json(Method::GET, "/api/v1/explain?url=/pay&client=10.0.0.1&method=POST")
        .await;
    assert_eq!(status, StatusCode::OK, "{explained}");
    assert_eq!(explained["request"]["path"], "/pay");
    assert_eq!(explained["request"]["method"], "POST");
    assert_eq!(explained["request"]["client"], "10.0.0.1");
    assert_eq!(explained["rules"][0]["rule"], "pay is down");
    assert_eq!(explained["config_hash"], *admin.server.snapshot().hash);

    let body = "{\"curl\": \"curl -H 'x-a: 1' http://localhost:8080/other?x=1\", \"listener\": \"web\"}";
    let (status, explained) = text(admin.send(Method::POST, "/api/v1/explain", &[], body).await).await;
    assert_eq!(status, StatusCode::OK, "{explained}");
    let explained: Value = serde_json::from_str(&explained).unwrap();
    assert_eq!(explained["request"]["target"], "/other?x=1");
    assert_eq!(explained["rules"][0]["verdict"], "no_match");

    let (_, in_words) = admin.get("/api/v1/explain?url=/pay&format=text").await;
    assert!(
        in_words.contains("pay is down") && !in_words.starts_with('{'),
        "{in_words}"
    );
    assert_eq!(
        admin.server.snapshot().rules[0].state.matched(),
        0,
        "asking counts nothing"
    );
}

#[tokio::test]
async fn header_fields_may_be_repeated() {
    let rule = "rules: [{name: two, match: {headers: {x-a: 'b: c'}}, faults: [{delay: 1ms}]}]\n";
    let admin = admin(rule);
    let target = "/api/v1/explain?url=/&header=x-a:1&header=X-A:%20b:%20c&ordinal=3&at=30s&listener=web";
    let (status, explained) = admin.json(Method::GET, target).await;
    assert_eq!(
        (status, &explained["rules"][0]["verdict"]),
        (StatusCode::OK, &"hit".into()),
        "{explained}"
    );
    assert_eq!(explained["rules"][0]["ordinal"], 3);
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let admin = admin(RULE);
    let queries = [
        "",
        "url=",
        "url=/&url=/a",
        "url=/&curl=curl",
        "urll=/",
        "url=/&client=nobody",
        "url=/&ordinal=0",
        "url=/&ordinal=-1",
        "url=/&at=soon",
        "url=/&header=none",
        "url=/&header=a%0Ab:c",
        "url=/&method=A%20B",
        "url=/&listener=none",
        "url=/&format=xml",
        "url=http://[::1",
        "curl=curl%20'",
        "url=%FF%00",
        "&&==&=",
    ];
    for query in queries {
        let (status, text) = admin.get(&format!("/api/v1/explain?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {text}");
        assert!(!text.is_empty());
    }
    assert!(
        admin
            .get("/api/v1/explain?urll=/")
            .await
            .1
            .contains("did you mean `url`?")
    );
    for body in [
        "",
        "{",
        "[]",
        "{\"curl\": 1}",
        "{\"curl\": \"\"}",
        "{\"none\": 1}",
        "\u{0}",
    ] {
        let response = admin.send(Method::POST, "/api/v1/explain", &[], body).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{body}");
    }
    let large = format!("{{\"curl\": \"{}\"}}", "x".repeat(MAX_BODY_BYTES));
    let response = admin
        .send(Method::POST, "/api/v1/explain", &[(ACCEPT, "application/json")], &large)
        .await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
}

#[tokio::test]
async fn the_stop_switch_is_used_and_shown() {
    let asked = admin("rules: [{name: r, faults: [{abort: 503}]}]\n");
    let put = |body: &'static str| asked.send(Method::PUT, "/api/v1/armed", &[(ACCEPT, "application/json")], body);
    let armed = async |body| serde_json::from_str::<Value>(&text(put(body).await).await.1).unwrap();
    assert_eq!(armed(r#"{"armed": false, "reason": "pager"}"#).await["armed"], false);
    let (_, status) = asked.json(Method::GET, "/api/v1/status").await;
    assert_eq!(
        (&status["armed"], &status["stopped"]["reason"]),
        (&false.into(), &"pager".into())
    );
    let (_, shown) = asked.json(Method::GET, "/api/v1/armed").await;
    assert_eq!(shown["reason"], "pager");
    let (_, explained) = asked.json(Method::GET, "/api/v1/explain?url=/&format=json").await;
    assert!(
        explained["notes"][0].as_str().unwrap().contains("stopped (pager)"),
        "{explained}"
    );
    for bad in [
        "",
        "{}",
        r#"{"armed": 1}"#,
        r#"{"armed": false, "reason": "a\nb"}"#,
        r#"{"armed": true, "x": 1}"#,
    ] {
        assert_eq!(put(bad).await.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
    assert!(!asked.server.is_armed(), "a bad request changes nothing");
    assert_eq!(armed(r#"{"armed": true}"#).await["reason"], Value::Null);
    let (_, status) = asked.json(Method::GET, "/api/v1/status").await;
    assert_eq!((&status["armed"], &status["stopped"]), (&true.into(), &Value::Null));
}

#[tokio::test]
async fn a_switched_rule_says_so() {
    let asked = admin("rules: [{name: r, faults: [{abort: 503}]}]\n");
    let rule = async || asked.json(Method::GET, "/api/v1/rules").await.1["rules"][0].clone();
    assert_eq!(
        (&rule().await["switch"], &rule().await["enabled"]),
        (&"configured".into(), &true.into())
    );
    asked.server.switch(
        &crate::rule::id::RuleId::new(None, "r"),
        crate::rule::switch::Switch::Off,
    );
    assert_eq!(
        (&rule().await["switch"], &rule().await["enabled"]),
        (&"off".into(), &false.into())
    );
    let (_, explained) = asked.json(Method::GET, "/api/v1/explain?url=/").await;
    assert_eq!(explained["rules"][0]["reason"], "it was switched off", "{explained}");
    asked.server.switch(
        &crate::rule::id::RuleId::new(None, "r"),
        crate::rule::switch::Switch::On,
    );
    let why = crate::rule::switch::Trip {
        guard: "g".into(),
        reason: "too many errors".into(),
        since: Instant::now(),
    };
    assert!(asked.server.trip(&crate::rule::id::RuleId::new(None, "r"), why));
    let shown = rule().await;
    assert_eq!(
        (&shown["switch"], &shown["tripped"]["guard"]),
        (&"tripped".into(), &"g".into())
    );
}
