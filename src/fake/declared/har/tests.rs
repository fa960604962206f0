use http_body_util::BodyExt as _;
use serde_json::Value;

use super::*;
use crate::fake::declared::bodiless_for_head;

fn recorded(method: &str, target: &str, body: &'static str) -> Recorded {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Recorded {
        request: ComparableRequest::new(method, path, query, Bytes::new()),
        status: StatusCode::OK,
        headers: http::HeaderMap::new(),
        body: Bytes::from_static(body.as_bytes()),
        wait: Duration::from_millis(400),
        receive: Duration::from_millis(1000),
    }
}

fn har(long: HarLong) -> Har {
    let all = vec![
        recorded("GET", "/a?x=1&y=2", "first"),
        recorded("GET", "/a?y=2&x=1", "second"),
        recorded("POST", "/a", "posted"),
        recorded("GET", "/about", "about"),
    ];
    Har::new(&long, all, true)
}

async fn ask(har: &Har, method: &str, target: &str) -> (StatusCode, String) {
    let request = Request::builder()
        .method(method)
        .uri(target)
        .body(Body::empty())
        .unwrap();
    let Outcome::Answered(response) = har.answer(request).await else {
        panic!("passed on");
    };
    let response = bodiless_for_head(&method.parse().unwrap(), response);
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn answers_come_in_order_and_then_the_last_or_the_first() {
    let last = har(HarLong::default());
    let cycle = har(HarLong {
        repeat: Some(HarRepeat::Cycle),
        ..HarLong::default()
    });
    for (har, third) in [(last, "second"), (cycle, "first")] {
        for expected in ["first", "second", third] {
            assert_eq!(ask(&har, "GET", "/a?y=2&x=1").await.1, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answers_take_their_time_divided_by_the_speed() {
    for (long, expected) in [
        (HarLong::default(), 1400),
        (
            HarLong {
                speed: Some(2.0.into()),
                ..HarLong::default()
            },
            700,
        ),
        (
            HarLong {
                timing: Some(false),
                ..HarLong::default()
            },
            0,
        ),
    ] {
        let har = har(long);
        let began = Instant::now();
        assert_eq!(ask(&har, "GET", "/about").await, (StatusCode::OK, "about".to_owned()));
        let took = began.elapsed().as_millis();
        assert!(
            (expected..expected + 10).contains(&took),
            "{took} instead of {expected} ms"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_recorded_is_told_with_what_was() {
    let har = har(HarLong::default());
    let (status, body) = ask(&har, "GET", "/a?x=2").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &body["error"]),
        (StatusCode::NOT_FOUND, &json!("GET /a?x=2 was not recorded"))
    );
    assert_eq!(body["nearest"], json!(["GET /a?x=1&y=2", "POST /a", "GET /about"]));
    let (status, body) = ask(&har, "HEAD", "/about").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, ""));
}
