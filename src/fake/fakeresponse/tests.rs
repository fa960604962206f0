use axum::body::Body;
use tower::ServiceExt as _;

use super::*;
use crate::fake::context::Store;
use crate::fake::reply::Client;

fn fake(limited: bool) -> Router {
    let spec: FakeSpec = serde_json::from_value(json!({ "name": "fakeresponse", "rate_limit": limited })).unwrap();
    let context = Context {
        seed: 1,
        store: Store::Memory,
        folder: std::path::Path::new("."),
        place: crate::yaml::report::Span::NOWHERE,
        warnings: std::cell::RefCell::default(),
    };
    router(&spec, &context).unwrap()
}

async fn ask(router: &Router, method: &str, target: &str, auth: Option<&str>) -> (u16, HeaderMap, Value) {
    let mut request = Request::builder().method(method).uri(target).header(USER_AGENT, "me/1");
    if let Some(auth) = auth {
        request = request.header(AUTHORIZATION, auth);
    }
    let request = request
        .extension(Client("192.0.2.7".parse().unwrap()))
        .body(Body::empty())
        .unwrap();
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    (
        parts.status.as_u16(),
        parts.headers,
        serde_json::from_slice(&body).unwrap_or_default(),
    )
}

#[tokio::test(start_paused = true)]
async fn replies_are_as_asked() {
    let fake = fake(false);
    let began = Instant::now();
    let target = "/api/?sleep=1.5&status=404&data=%7B%22a%22%3A1%7D&api_key=k";
    let (status, _, reply) = ask(&fake, "PUT", target, None).await;
    assert_eq!(began.elapsed().as_millis(), 1500);
    assert_eq!(
        (status, &reply["status"], &reply["slept"]),
        (404, &json!(404), &json!(1.5))
    );
    assert_eq!(reply["response"], "Slept for 1.5 seconds.");
    assert_eq!(
        (&reply["data"], &reply["api_key"], &reply["method"]),
        (&json!({ "a": 1 }), &json!("k"), &json!("PUT"))
    );
    assert_eq!(
        (&reply["meta"]["agent"], &reply["meta"]["originating_ip"]),
        (&json!("me/1"), &json!("192.0.2.7"))
    );
    let (_, _, reply) = ask(&fake, "GET", "/api?meta=false&sleep=1", None).await;
    assert!(reply.get("meta").is_none());
    assert_eq!(reply["response"], "Slept for 1.0 seconds.");
    assert_eq!(ask(&fake, "GET", "/api/?status=204", None).await.2, Value::Null);
}

#[tokio::test]
async fn mistakes_are_named() {
    let fake = fake(false);
    for (query, word) in [
        ("sleep=6", "sleep"),
        ("sleep=-1", "sleep"),
        ("sleep=NaN", "sleep"),
        ("status=99", "status"),
        ("status=abc", "status"),
        ("data=%7B", "data"),
        ("auth=x", "auth"),
    ] {
        let (status, _, reply) = ask(&fake, "GET", &format!("/api/?{query}"), None).await;
        assert_eq!(status, 400, "{query}");
        assert!(reply["error"].as_str().unwrap().contains(word), "{query}: {reply}");
    }
    assert_eq!(ask(&fake, "GET", "/other", None).await.0, 404);
}

#[tokio::test]
async fn credentials_are_asked_for() {
    let fake = fake(false);
    let target = "/api/?auth=ada:secret";
    let (status, headers, _) = ask(&fake, "GET", target, None).await;
    assert_eq!(
        (status, headers[WWW_AUTHENTICATE].to_str().unwrap()),
        (401, "Basic realm=\"FakeResponse\"")
    );
    assert_eq!(ask(&fake, "GET", target, Some("Basic YWRhOndyb25n")).await.0, 401);
    assert_eq!(ask(&fake, "GET", target, Some("Basic YWRhOnNlY3JldA==")).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn calls_without_a_key_have_to_wait() {
    let fake = fake(true);
    assert_eq!(ask(&fake, "GET", "/api/", None).await.0, 200);
    let (status, headers, reply) = ask(&fake, "GET", "/api/", None).await;
    assert_eq!((status, &reply["error"]), (429, &json!("Rate Limit exceeded!")));
    assert_eq!(headers[RETRY_AFTER], "2");
    assert_eq!(ask(&fake, "GET", "/api/?api_key=k", None).await.0, 200);
    tokio::time::sleep(PAUSE).await;
    assert_eq!(ask(&fake, "GET", "/api/", None).await.0, 200);
}
