use axum::extract::Request;
use proptest::prelude::*;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;

async fn ask(method: &str, target: &str, body: impl Into<Body>) -> Response {
    let request = Request::builder().method(method).uri(target).body(body.into());
    super::super::router().oneshot(request.unwrap()).await.unwrap()
}

async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn bytes_are_as_documented() {
    for size in [0_usize, 1, 251, 64_255, 64_256, 64_257, 200_000] {
        let response = ask("GET", &format!("/bytes/{size}"), Body::empty()).await;
        assert_eq!(response.headers()[CONTENT_LENGTH], size.to_string().as_str());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let expected: Vec<u8> = (0..size).map(|i| ((31 * i + 7) % 251) as u8).collect();
        assert!(body == expected, "{size}");
    }
}

#[tokio::test]
async fn the_length_of_bytes_can_be_left_out() {
    let response = ask("GET", "/bytes/1KiB?chunked=true", Body::empty()).await;
    assert!(!response.headers().contains_key(CONTENT_LENGTH));
    assert_eq!(HttpBody::size_hint(response.body()).exact(), None);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 1024);
}

#[tokio::test]
async fn a_head_request_learns_the_length_alone() {
    let response = ask("HEAD", "/bytes/4GiB", Body::empty()).await;
    assert_eq!(response.headers()[CONTENT_LENGTH], "4294967296");
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn lines_and_events() {
    let response = ask("GET", "/lines/3", Body::empty()).await;
    assert_eq!(response.headers()[CONTENT_TYPE], "application/x-ndjson");
    assert_eq!(text(response).await, "{\"n\": 0}\n{\"n\": 1}\n{\"n\": 2}\n");
    let response = ask("GET", "/events/2", Body::empty()).await;
    assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
    assert_eq!(
        text(response).await,
        "id: 0\ndata: {\"n\": 0}\n\nid: 1\ndata: {\"n\": 1}\n\n"
    );
    let many = text(ask("GET", "/lines/5000", Body::empty()).await).await;
    assert_eq!(many.lines().count(), 5000);
    assert_eq!(many.lines().last(), Some("{\"n\": 4999}"));
    assert_eq!(text(ask("GET", "/lines/0", Body::empty()).await).await, "");
}

#[tokio::test(start_paused = true)]
async fn one_leaves_every_so_often() {
    let began = Instant::now();
    let mut body = ask("GET", "/events/3?every=100ms", Body::empty()).await.into_body();
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        assert_eq!(data.iter().filter(|byte| **byte == b'\n').count(), 3);
        seen.push(began.elapsed().as_millis());
    }
    assert_eq!(seen, [0, 100, 200]);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let targets = [
        "/bytes/x",
        "/bytes/-1",
        "/bytes/4294967297",
        "/bytes/1?chunked=perhaps",
        "/lines/1KiB",
        "/lines/10000001",
        "/events/2?every=100",
        "/events/2?every=-1s",
    ];
    for target in targets {
        let response = ask("GET", target, Body::empty()).await;
        assert_eq!(response.status(), 400, "{target}");
        let body: Value = serde_json::from_str(&text(response).await).unwrap();
        assert!(body["error"].is_string(), "{target}");
    }
}

#[tokio::test]
async fn uploads_are_counted() {
    let response = ask("POST", "/count", "hello").await;
    assert_eq!(text(response).await, r#"{"bytes":5,"adler32":103547413}"#);
    let response = ask("PUT", "/count", "").await;
    assert_eq!(text(response).await, r#"{"bytes":0,"adler32":1}"#);
    // Python: zlib.adler32(b"\xff" * 1_000_000)
    let response = ask("POST", "/count", vec![0xff; 1_000_000]).await;
    assert_eq!(text(response).await, r#"{"bytes":1000000,"adler32":943972798}"#);
}

#[tokio::test]
async fn other_methods_are_echoed() {
    for (method, target) in [("DELETE", "/bytes/5"), ("POST", "/lines/5"), ("GET", "/count")] {
        let body: Value = serde_json::from_str(&text(ask(method, target, "x").await).await).unwrap();
        assert_eq!((&body["method"], &body["path"]), (&json!(method), &json!(target)));
    }
}

proptest! {
    #[test]
    fn a_checksum_does_not_depend_on_the_pieces(bytes: Vec<u8>, cut: prop::sample::Index) {
        let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
        let (mut whole, mut parts) = (Adler32::default(), Adler32::default());
        whole.add(&bytes);
        parts.add(first);
        parts.add(second);
        prop_assert_eq!(whole.get(), parts.get());
    }
}
