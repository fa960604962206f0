use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::json;
use tower::ServiceExt as _;

use super::*;
use crate::fake::context::Store;
use crate::yaml::report::Span;

fn router() -> Router {
    let context = Context {
        seed: 1,
        store: Store::Memory,
        folder: std::path::Path::new("."),
        place: Span::NOWHERE,
        warnings: std::cell::RefCell::default(),
    };
    super::router(&FakeSpec::named("llm"), &context).unwrap()
}

async fn ask(router: &Router, path: &str, body: &Value) -> Response {
    let request = Request::post(path)
        .header("anthropic-version", "2023-06-01")
        .body(Body::from(body.to_string()));
    router.clone().oneshot(request.unwrap()).await.unwrap()
}

fn question(model: &str, text: &str) -> Value {
    json!({ "model": model, "max_tokens": 100, "messages": [{ "role": "user", "content": text }], "input": text })
}

/// The pieces of a body, with the milliseconds at which they came.
async fn pieces(began: Instant, response: Response) -> Vec<(u128, String)> {
    let mut body = response.into_body();
    let mut pieces = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let data = frame.into_data().unwrap();
        pieces.push((began.elapsed().as_millis(), String::from_utf8(data.to_vec()).unwrap()));
    }
    pieces
}

const PATHS: [&str; 3] = ["/v1/chat/completions", "/v1/responses", "/v1/messages"];

#[tokio::test(start_paused = true)]
async fn streams_and_plain_replies_take_equally_long() {
    for path in PATHS {
        let mut times = Vec::new();
        for streamed in [true, false] {
            // The same number of the request, so the same jitter.
            let router = router();
            let mut body = question("x", "tokens: 26");
            body["stream"] = streamed.into();
            let began = Instant::now();
            let response = ask(&router, path, &body).await;
            assert_eq!(response.status(), 200);
            assert!(
                !streamed || began.elapsed().as_millis() == 300,
                "the head comes with the first token"
            );
            times.push(pieces(began, response).await);
        }
        let (streamed, plain) = (&times[0], &times[1]);
        assert!(streamed.len() > 26 + 2, "{path}: {}", streamed.len());
        let last = streamed.last().unwrap().0;
        assert!(
            (750..=850).contains(&last),
            "{path}: 0.3 s and 25 gaps of 20 ms, not {last} ms"
        );
        assert!(plain[0].0.abs_diff(last) <= 1, "{path}: {} and {last}", plain[0].0);
        assert!(streamed.windows(2).all(|two| two[1].0 - two[0].0 <= 25), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_can_be_asked_to_fail() {
    let router = router();
    for path in PATHS {
        for (name, status) in [
            ("error-429", 429),
            ("error-529", 529),
            ("error-401", 401),
            ("error-nonsense", 404),
            ("error-301", 404),
            ("error-600", 404),
            ("err-600", 200),
        ] {
            let response = ask(&router, path, &question(name, "hello")).await;
            assert_eq!(response.status(), status, "{path} {name}");
            let retry = response.headers().get("retry-after-ms");
            assert_eq!(retry.is_some(), [429, 529].contains(&status), "{path} {name}");
        }
        for (name, words) in [("error-stream", "error"), ("error-cut", ""), ("error-stall", "")] {
            let mut body = question(name, "tokens: 50");
            let plain = ask(&router, path, &body).await;
            assert!(plain.status().is_server_error(), "{path} {name}");
            body["stream"] = true.into();
            let began = Instant::now();
            let response = ask(&router, path, &body).await;
            assert_eq!(response.status(), 200);
            let pieces = pieces(began, response).await;
            let last = &pieces.last().unwrap().1;
            assert!(pieces.len() < 10 && last.contains(words), "{path} {name}: {last}");
            assert_eq!(began.elapsed() >= HANG, name == "error-stall");
        }
        let began = Instant::now();
        assert_eq!(ask(&router, path, &question("error-hang", "hello")).await.status(), 504);
        assert!(began.elapsed() >= HANG);
    }
}

#[tokio::test(start_paused = true)]
async fn many_choices_are_made_as_they_are_sent() {
    let mut body = question("x", "tokens: 16384");
    body["n"] = 16.into();
    body["stream"] = true.into();
    body["max_tokens"] = 1_000_000.into();
    let began = Instant::now();
    let response = ask(&router(), "/v1/chat/completions", &body).await;
    let mut body = response.into_body();
    for _ in 0..40 {
        assert!(body.frame().await.unwrap().is_ok());
    }
    assert!(began.elapsed() < Duration::from_millis(350), "two rounds of sixteen");
}
