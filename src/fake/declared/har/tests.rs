use http_body_util::BodyExt as _;
use serde_json::Value;

use super::*;
use crate::fake::declared::bodiless_for_head;

fn recorded(method: &str, target: &str, body: &'static str) -> Recorded {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Recorded {
        host: "a.example".to_owned(),
        incomplete: false,
        request: ComparableRequest::new(method, path, query, "", Bytes::new()),
        status: StatusCode::OK,
        headers: http::HeaderMap::new(),
        body: Bytes::from_static(body.as_bytes()),
        wait: Duration::from_millis(400),
        receive: Duration::from_millis(1000),
    }
}

fn har(long: HarLong) -> Har {
    har_of(long, all())
}

fn har_of(long: HarLong, all: Vec<Recorded>) -> Har {
    Har::new(&long, all, true)
}

fn all() -> Vec<Recorded> {
    vec![
        recorded("GET", "/a?x=1&y=2", "first"),
        recorded("GET", "/a?y=2&x=1", "second"),
        recorded("POST", "/a", "posted"),
        recorded("GET", "/about", "about"),
    ]
}

async fn ask(har: &Har, method: &str, target: &str) -> (StatusCode, String) {
    ask_with(har, method, target, "x-nothing").await
}

async fn ask_with(har: &Har, method: &str, target: &str, field: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(target).header(field, "x");
    let request = request.body(Body::empty()).unwrap();
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
        (
            StatusCode::NOT_FOUND,
            &json!("GET /a?x=2 was recorded only with another query")
        )
    );
    assert_eq!(body["nearest"], json!(["GET /a?x=1&y=2", "POST /a", "GET /about"]));
    let (status, body) = ask(&har, "HEAD", "/about").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, ""));
}

#[tokio::test(start_paused = true)]
async fn json_bodies_are_compared_by_their_values() {
    let post = |body: &'static str| Recorded {
        request: ComparableRequest::new(
            "POST",
            "/p",
            "",
            "application/json",
            Bytes::from_static(body.as_bytes()),
        ),
        ..recorded("POST", "/p", body)
    };
    let parts = Some(crate::yaml::decode::Spanned::nowhere(vec![
        HarPart::Method,
        HarPart::Path,
        HarPart::Body,
    ]));
    let long = HarLong {
        parts,
        ..HarLong::default()
    };
    let har = har_of(
        long,
        vec![post(r#"{"a": 1, "b": [{"c": 2, "d": 3}]}"#), post("{broken")],
    );
    let ask = async |body: &'static str| {
        let request = Request::builder()
            .method("POST")
            .uri("/p")
            .body(Body::from(body))
            .unwrap();
        let Outcome::Answered(response) = har.answer(request).await else {
            panic!("passed on");
        };
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    assert_eq!(ask("{\"b\":[{\"d\":3,\"c\":2}],\n\"a\":1}").await.0, 200);
    assert_eq!(ask("{broken").await.0, 200);
    let (status, body) = ask(r#"{"a": 2}"#).await;
    assert!(
        status == 404 && body.contains("POST /p was recorded only with another body"),
        "{body}"
    );
}

#[test]
fn requests_to_several_hosts_are_noted() {
    let of = |host: &str| Recorded {
        host: host.to_owned(),
        ..recorded("GET", "/x", "")
    };
    let note = |all: Vec<Recorded>| notes::several_hosts("f", &har_of(HarLong::default(), all).series);
    let (message, help) = note(vec![of("b"), of("a"), of("b")]).unwrap();
    assert_eq!(
        message,
        "f: 1 request was recorded of several hosts, whose responses are given in turn"
    );
    assert_eq!(help, ["GET /x", "keep those of one with `host`: a, b"]);
    assert_eq!(note(vec![of("a"), of("a")]), None);
}

fn with_status(status: u16, body: &'static str) -> Recorded {
    Recorded {
        status: StatusCode::from_u16(status).unwrap(),
        incomplete: status == 200 && body.is_empty(),
        ..recorded("GET", "/x", body)
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_is_for_clients_that_have_a_copy() {
    let unmodified = StatusCode::NOT_MODIFIED;
    let of = |all: Vec<Recorded>| har_of(HarLong::default(), all);
    let has_both = || of(vec![with_status(304, ""), with_status(200, "full")]);
    assert_eq!(ask(&has_both(), "GET", "/x").await, (StatusCode::OK, "full".to_owned()));
    let conditional = ask_with(&has_both(), "GET", "/x", "if-none-match").await;
    assert_eq!(conditional, (unmodified, String::new()));
    let with_text = || of(vec![with_status(304, "cached")]);
    assert_eq!(
        ask(&with_text(), "GET", "/x").await,
        (StatusCode::OK, "cached".to_owned())
    );
    let conditional = ask_with(&with_text(), "GET", "/x", "if-modified-since").await;
    assert_eq!(conditional, (unmodified, String::new()));
    let without = of(vec![with_status(304, "")]);
    assert_eq!(ask(&without, "GET", "/x").await, (unmodified, String::new()));
}

#[tokio::test(start_paused = true)]
async fn a_response_whose_body_is_missing_is_served_only_for_want_of_others() {
    let har = har_of(HarLong::default(), vec![with_status(200, ""), with_status(200, "full")]);
    assert_eq!(ask(&har, "GET", "/x").await.1, "full");
    let [(message, help)] = <[notes::Note; 1]>::try_from(notes::incomplete("f", &har.series)).unwrap();
    let expected = "f: 1 response whose body was not recorded, left out for others to the same request";
    assert_eq!((message.as_str(), help), (expected, vec!["GET /x".to_owned()]));
    let har = har_of(HarLong::default(), vec![with_status(200, ""), with_status(200, "")]);
    assert_eq!(ask(&har, "GET", "/x").await, (StatusCode::OK, String::new()));
    let notes = notes::incomplete("f", &har.series);
    assert_eq!(
        notes[0].0,
        "f: 2 responses whose body was not recorded, served with an empty one"
    );
}

#[test]
fn bodies_beside_the_recording_are_no_way_out_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "hello").unwrap();
    assert_eq!(attached(Some(folder.path()), "a.txt"), Ok(b"hello".to_vec()));
    for name in ["../a.txt", "/etc/hostname", "x/../../a.txt"] {
        let error = attached(Some(folder.path()), name).unwrap_err();
        assert_eq!(error, format!("`{name}` is not beside the recording"));
    }
    assert!(
        attached(Some(folder.path()), "b.txt")
            .unwrap_err()
            .starts_with("`b.txt`: ")
    );
}
