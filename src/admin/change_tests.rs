//! Tests of what changes through the API must not do.

use std::sync::Arc;
use std::time::Instant;

use http::header::{ACCEPT, CONNECTION};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::tests::{Asked, admin, text};
use crate::config::Source;
use crate::metrics::Series;
use crate::rule::id::RuleId;
use crate::rule::switch::Trip;

async fn call(admin: &Asked, method: Method, target: &str, body: &str) -> (StatusCode, Value) {
    let target = format!("/api/v1{target}");
    let response = admin.send(method, &target, &[(ACCEPT, "application/json")], body).await;
    let (status, text) = text(response).await;
    (status, serde_json::from_str(&text).unwrap_or_default())
}

const DELAY: &str = r#"{"faults": [{"delay": "1ms"}]}"#;

#[tokio::test]
async fn neither_the_configuration_nor_its_keys_can_be_read_through_a_rule() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples");
    let more = format!(
        "  other: {{url: 'https://127.0.0.1:1', tls: {{ca: '{examples}/localhost.pem'}}}}\nrules:\n  - {{name: page, faults: [{{abort: {{status: 200, file: '{examples}/abort.yaml'}}}}]}}\n"
    );
    let admin = admin(&more);
    let Source::File(main) = admin.server.source() else {
        panic!("a file")
    };
    let main = main.display().to_string();
    for (file, expect) in [
        (main, StatusCode::UNPROCESSABLE_ENTITY),
        (format!("{examples}/localhost.pem"), StatusCode::UNPROCESSABLE_ENTITY),
        (format!("{examples}/abort.yaml"), StatusCode::CREATED),
    ] {
        let body = json!({"faults": [{"abort": {"status": 200, "file": file}}]}).to_string();
        let (status, said) = call(&admin, Method::PUT, "/rules/reader", &body).await;
        assert_eq!(status, expect, "{file}: {said}");
    }
}

#[tokio::test]
async fn a_listener_of_a_space_takes_no_address_of_another_one() {
    let admin = admin("");
    let put = async |space: &str, listeners: Value| {
        let body = json!({ "listeners": listeners }).to_string();
        call(&admin, Method::PUT, &format!("/spaces/{space}"), &body).await
    };
    // Another one's port, so that it is free again only once that one has gone.
    let (_, space) = put("later", json!(["web"])).await;
    let address = space["listeners"]["web"].as_str().unwrap().to_owned();
    call(&admin, Method::DELETE, "/spaces/later", "").await;
    assert_eq!(put("later", json!({"web": address})).await.0, StatusCode::CREATED);
    // Sorts before it, and would take its socket.
    let (status, said) = put("earlier", json!({"web": address})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{said}");
    assert!(
        said["detail"].as_str().unwrap().contains("has this address already"),
        "{said}"
    );
    assert_eq!(
        call(&admin, Method::GET, "/spaces/earlier", "").await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        call(&admin, Method::GET, "/spaces/later", "").await.1["listeners"]["web"],
        address
    );
    let (status, said) = put("twice", json!(["web", "web"])).await;
    assert_eq!(status, StatusCode::CONFLICT, "{said}");
}

const SECRETIVE: &str = "
rules:
  - name: of the file
    match: {headers: {authorization: Bearer of-the-file}}
    faults: [{delay: 1ms}, {abort: {status: 503, headers: {x-api-key: key-of-the-file}}}]
";

/// What is shown of a rule has `***` for secrets. Whoever changes it and sends it back means the secrets.
#[tokio::test]
async fn what_was_read_can_be_sent_back() {
    let admin = admin(SECRETIVE);
    let of_rule = async |name: &str| {
        let snapshot = admin.server.snapshot();
        let rules = snapshot.layer.rules().iter();
        let rule = rules.clone().find(|rule| &*rule.id.name == name).unwrap();
        serde_json::to_string(&*rule.spec).unwrap()
    };
    let typed = r#"{"match": {"headers": {"authorization": "Bearer of-the-api"}}, "faults": [{"delay": "1ms"}]}"#;
    assert_eq!(
        call(&admin, Method::PUT, "/rules/of%20the%20api", typed).await.0,
        StatusCode::CREATED
    );
    for (name, secret) in [("of the file", "of-the-file"), ("of the api", "of-the-api")] {
        let target = format!("/rules/{}", name.replace(' ', "%20"));
        let (_, shown) = call(&admin, Method::GET, &target, "").await;
        assert!(!shown.to_string().contains(secret), "{shown}");
        // As the dashboard does, which changes one fault and sends all of them.
        let mut faults = shown["spec"]["faults"].clone();
        faults[0]["delay"] = "7ms".into();
        let (status, said) = call(&admin, Method::PATCH, &target, &json!({"faults": faults}).to_string()).await;
        assert_eq!(status, StatusCode::OK, "{said}");
        let mut spec = shown["spec"].clone();
        spec["faults"][0]["delay"] = "8ms".into();
        let (status, said) = call(&admin, Method::PUT, &target, &spec.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{said}");
        let spec = of_rule(name).await;
        assert!(
            spec.contains(secret) && spec.contains("8ms") && !spec.contains("***"),
            "{spec}"
        );
    }
    let (_, layer) = call(&admin, Method::GET, "/layers/api", "").await;
    assert!(!layer.to_string().contains("of-the-"), "{layer}");
    let (status, said) = call(&admin, Method::PUT, "/layers/api", &layer.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let (file, api) = (of_rule("of the file").await, of_rule("of the api").await);
    assert!(
        file.contains("key-of-the-file") && api.contains("Bearer of-the-api"),
        "{file} {api}"
    );
    // Nobody knows which secret this is.
    let unknown = r#"{"match": {"headers": {"authorization": "***"}}, "faults": [{"delay": "1ms"}]}"#;
    let (status, said) = call(&admin, Method::PUT, "/rules/new", unknown).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{said}");
}

#[tokio::test]
async fn secrets_of_rules_of_the_api_are_hidden_everywhere() {
    let admin = admin("");
    let typed = r#"{"match": {"path": "/pay", "headers": {"authorization": "Bearer of-the-api"}}, "faults": [{"delay": "1ms"}]}"#;
    let (_, said) = call(&admin, Method::PUT, "/rules/new", typed).await;
    assert!(said["match"].as_str().unwrap().contains("***"), "{said}");
    let question = r#"{"url": "/pay"}"#;
    for (method, target, body) in [
        (Method::GET, "/rules", ""),
        (Method::GET, "/rules/new", ""),
        (Method::GET, "/config", ""),
        (Method::POST, "/explain", question),
        (Method::POST, "/reload", ""),
        (Method::GET, "/rules", ""),
    ] {
        let (_, said) = call(&admin, method, target, body).await;
        assert!(!said.to_string().contains("of-the-api"), "{target}: {said}");
    }
    call(&admin, Method::DELETE, "/rules/new", "").await;
    let masks = &admin.server.snapshot().masks;
    assert_eq!(
        masks.text("Bearer of-the-api"),
        "Bearer of-the-api",
        "it is forgotten with its rule"
    );
}

/// The answer shows the switch as it is, and a switch and its revision are set at once.
#[tokio::test]
async fn a_switch_is_set_with_its_revision() {
    let admin = admin("");
    call(&admin, Method::PUT, "/rules/one", DELAY).await;
    let (_, off) = call(&admin, Method::PATCH, "/rules/one", r#"{"enabled": false}"#).await;
    assert_eq!(
        (&off["switch"], &off["enabled"]),
        (&json!("off"), &json!(false)),
        "{off}"
    );
    let (_, dry) = call(&admin, Method::PATCH, "/rules/one?dry_run=1", r#"{"enabled": true}"#).await;
    assert_eq!(dry["switch"], "off");
    let (_, put) = call(&admin, Method::PUT, "/rules/one", DELAY).await;
    assert_eq!(put["switch"], "configured", "the answer shows what is in force");
}

#[tokio::test]
async fn a_space_that_only_rules_opened_goes_with_the_last_of_them() {
    let admin = admin("");
    let brief = r#"{"faults": [{"delay": "1ms"}], "ttl": "50ms"}"#;
    call(&admin, Method::PUT, "/spaces/opened", "{}").await;
    for space in ["opened", "of-rules"] {
        call(&admin, Method::PUT, &format!("/rules/brief?space={space}"), brief).await;
    }
    call(&admin, Method::PUT, "/rules/brief?space=both", brief).await;
    call(&admin, Method::PUT, "/rules/long?space=both", DELAY).await;
    let begun = std::time::Instant::now();
    while admin.server.snapshot().layer.rules().len() > 1 {
        assert!(begun.elapsed().as_secs() < 10, "the rules are still there");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let snapshot = admin.server.snapshot();
    let left: Vec<&str> = snapshot.layer.spaces().keys().map(|name| &**name).collect();
    assert_eq!(left, ["both", "opened"]);
}

fn rewrite(admin: &Asked, from: &str, to: &str) {
    let Source::File(path) = admin.server.source() else {
        panic!("the configuration is a file")
    };
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[tokio::test]
async fn a_rule_that_a_reload_put_out_of_force_comes_back_as_it_was_switched() {
    let admin = admin("");
    let body = r#"{"listener": "web", "faults": [{"delay": "1ms"}]}"#;
    call(&admin, Method::PUT, "/rules/one", body).await;
    call(&admin, Method::PATCH, "/rules/one", r#"{"enabled": false}"#).await;
    for (from, to, problem) in [
        ("  web:", "  other:", true),
        ("seed: 42", "seed: 43", true),
        ("  other:", "  web:", false),
    ] {
        rewrite(&admin, from, to);
        let (status, said) = call(&admin, Method::POST, "/reload", "").await;
        assert_eq!(status, StatusCode::OK, "{said}");
        let (_, rule) = call(&admin, Method::GET, "/rules/one", "").await;
        assert_eq!(rule["problem"].is_string(), problem, "{rule}");
        assert_eq!(rule["enabled"], false, "{rule}");
    }
    assert_eq!(call(&admin, Method::GET, "/rules/one", "").await.1["switch"], "off");
}

#[tokio::test]
async fn a_reload_leaves_a_guard_of_a_rule_of_the_api_tripped() {
    let admin = admin("");
    let body = r#"{"faults": [{"delay": "1ms"}], "stop_when": [{"errors": {"above": "5%"}}]}"#;
    call(&admin, Method::PUT, "/rules/one", body).await;
    let guard = Arc::clone(&admin.server.guards()[0]);
    let trip = Trip {
        guard: Arc::clone(&guard.name),
        reason: "too many".into(),
        since: Instant::now(),
    };
    guard.trip(&trip.reason, trip.since);
    assert!(admin.server.trip(&RuleId::new(None, "one"), trip));
    for _ in 0..2 {
        rewrite(&admin, "seed: 4", "seed: 44");
        let (status, said) = call(&admin, Method::POST, "/reload", "").await;
        assert_eq!(status, StatusCode::OK, "{said}");
        assert!(admin.server.guards()[0].tripped().is_some());
    }
    let (_, rule) = call(&admin, Method::GET, "/rules/one", "").await;
    assert_eq!(rule["switch"], "tripped");
    // It knows what it has stopped, so it can let it go on.
    call(&admin, Method::POST, "/guards/errors%20of%20one/reset", "").await;
    let (_, rule) = call(&admin, Method::GET, "/rules/one", "").await;
    assert_eq!(
        (&rule["switch"], &rule["enabled"]),
        (&json!("configured"), &json!(true))
    );
}

/// Clients that keep connections would send the next request into one that is about to be closed.
#[tokio::test]
async fn a_response_that_did_not_wait_for_the_body_ends_the_connection_and_says_so() {
    let admin = admin("");
    for (method, target, body, closes) in [
        (Method::PUT, "/api/v1/rules/one", DELAY.to_owned(), false),
        (Method::PUT, "/api/v1/rules/one?spaces=a", DELAY.to_owned(), true),
        (Method::PUT, "/api/v1/rules/one", "x".repeat(1 << 20), true),
        (Method::POST, "/api/v1/rules", DELAY.to_owned(), true),
        (Method::POST, "/api/v1/reload", String::new(), false),
        (Method::GET, "/api/v1/rules/none", String::new(), false),
    ] {
        let response = admin.send(method, target, &[], &body).await;
        let close = response.headers().get(CONNECTION).is_some_and(|value| value == "close");
        assert_eq!(close, closes, "{target} {}", response.status());
    }
}

#[tokio::test]
async fn rules_leave_no_series_behind_however_they_were_changed() {
    let admin = admin("");
    for faults in ["[{\"delay\": \"1ms\"}]", "[\"hang\"]", "[{\"abort\": 503}]"] {
        let body = format!("{{\"faults\": {faults}}}");
        for space in ["a", "b"] {
            call(&admin, Method::PUT, &format!("/rules/passing?space={space}"), &body).await;
        }
        admin.server.metrics_page(Series::All);
    }
    let snapshot = admin.server.snapshot();
    let count = |page: &str| page.matches("rule=\"passing\"").count();
    assert!(count(&admin.server.metrics_page(Series::All)) > 0 && snapshot.rules.len() == 2);
    call(&admin, Method::DELETE, "/rules/passing?space=a", "").await;
    assert!(
        count(&admin.server.metrics_page(Series::All)) > 0,
        "the other one is still there"
    );
    call(&admin, Method::DELETE, "/rules/passing?space=b", "").await;
    let page = admin.server.metrics_page(Series::All);
    assert_eq!(count(&page), 0, "{page}");
}
