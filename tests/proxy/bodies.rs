//! Bodies pass byte for byte, framed as each side needs it, and end as they ended.

use std::sync::Arc;

use super::support::message::{Answer, Body, Ending, Request};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::{Pair, Protocol, assert_same, each, pattern};

/// Larger than any one buffer, window or chunk.
const LARGE: usize = 300_000;

async fn download(pair: Pair, body: Body) -> Squall {
    let upstream = Upstream::answering(pair.up, Answer::ok(body.clone())).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for _ in 0..2 {
        let response = client.get("/").await;
        response.assert(200, body.bytes());
        if let Body::Sized(bytes) = &body {
            assert_eq!(response.field("content-length"), Some(bytes.len().to_string().as_str()));
        } else {
            assert_eq!(response.field("content-length"), None);
        }
    }
    squall.until("squall_requests_total", &["status=\"200\""], 2.0).await;
    squall.assert_nobody_gone();
    squall
}

async fn downloads_with_a_length(pair: Pair) {
    download(pair, Body::sized(pattern(LARGE))).await;
}
each!(downloads_with_a_length);

async fn downloads_in_chunks(pair: Pair) {
    download(pair, Body::chunked(pattern(LARGE))).await;
}
each!(downloads_in_chunks);

async fn downloads_until_the_connection_closes(pair: Pair) {
    download(pair, Body::UntilClose(pattern(LARGE).into())).await;
}
each!(downloads_until_the_connection_closes { h1_to_h1 h2_to_h1 });

async fn upload(pair: Pair, body: Body) {
    let mut upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("thanks"))).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for _ in 0..2 {
        client
            .ask(&Request::post("/", body.clone()))
            .await
            .assert(200, "thanks");
        let seen = upstream.next().await;
        assert_same(&seen.body, &body.bytes());
        assert_eq!(seen.ending, Ending::Whole);
        let length = seen.fields.get("content-length").map(str::to_owned);
        match &body {
            Body::Sized(bytes) => assert_eq!(length, Some(bytes.len().to_string())),
            _ => assert_eq!(length, None),
        }
    }
    squall.assert_nobody_gone();
}

async fn uploads_with_a_length(pair: Pair) {
    upload(pair, Body::sized(pattern(LARGE))).await;
}
each!(uploads_with_a_length);

async fn uploads_without_a_length(pair: Pair) {
    upload(pair, Body::chunked(pattern(LARGE))).await;
}
each!(uploads_without_a_length);

async fn empty_uploads_keep_their_length(pair: Pair) {
    upload(pair, Body::sized("")).await;
}
each!(empty_uploads_keep_their_length);

async fn empty_bodies_end(pair: Pair) {
    let upstream = Upstream::answering(pair.up, Answer::ok(Body::sized(""))).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for _ in 0..2 {
        let response = client.get("/").await;
        response.assert(200, "");
        assert_eq!(response.field("content-length"), Some("0"));
    }
    squall.assert_nobody_gone();
}
each!(empty_bodies_end);

async fn bodies_of_unknown_length_may_be_empty(pair: Pair) {
    let upstream = Upstream::answering(pair.up, Answer::ok(Body::chunked(""))).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for _ in 0..2 {
        client.get("/").await.assert(200, "");
    }
    squall.assert_nobody_gone();
}
each!(bodies_of_unknown_length_may_be_empty);

async fn head_has_the_length_and_no_body(pair: Pair) {
    let mut upstream = Upstream::answering(pair.up, Answer::ok(Body::sized(pattern(1234)))).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for _ in 0..2 {
        let response = client.ask(&Request::new("HEAD", "/")).await;
        response.assert(200, "");
        assert_eq!(response.field("content-length"), Some("1234"));
        assert_eq!(upstream.next().await.method, "HEAD");
    }
    client.get("/").await.assert(200, pattern(1234));
    squall.assert_nobody_gone();
}
each!(head_has_the_length_and_no_body);

async fn bodiless_statuses_end_with_their_head(pair: Pair) {
    let upstream = Upstream::choosing(pair.up, |target| {
        Answer::new(target[1..].parse().unwrap()).field("x-kept", "1")
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for status in [204, 304] {
        let response = client.get(&format!("/{status}")).await;
        response.assert(status, "");
        assert_eq!(response.field("x-kept"), Some("1"));
        assert_eq!(response.field("transfer-encoding"), None);
        if status == 204 {
            assert_eq!(response.field("content-length"), None, "RFC 9110, section 8.6");
        }
    }
    squall.assert_nobody_gone();
}
each!(bodiless_statuses_end_with_their_head);

async fn not_modified_keeps_the_length_of_the_representation(pair: Pair) {
    let upstream = Upstream::answering(pair.up, Answer::new(304).field("content-length", "1234")).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for _ in 0..2 {
        client.get("/").await.assert(304, "");
    }
}
each!(not_modified_keeps_the_length_of_the_representation);

/// RFC 9113, section 8.1: a message without content ends with the frame of its head.
async fn answers_without_a_body_end_with_their_head(pair: Pair) {
    let upstream = Upstream::choosing(pair.up, |target| match target {
        "/204" => Answer::new(204),
        "/304" => Answer::new(304),
        _ => Answer::ok(Body::sized("ok")),
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for (method, target) in [("GET", "/204"), ("GET", "/304"), ("HEAD", "/")] {
        let response = client.ask(&Request::new(method, target)).await;
        assert!(response.ending == Ending::Whole, "{method} {target}");
        assert!(response.head_only, "{method} {target}");
    }
}
each!(answers_without_a_body_end_with_their_head { h2_to_h1 h2_to_h2 });

async fn broken_answer(pair: Pair, body: Body, ending: Ending) {
    let broken = Answer::ok(body.clone()).broken(40_000, ending);
    let upstream = Upstream::answering(pair.up, broken).await;
    let squall = Squall::before(&upstream);
    let response = squall.ask(pair.down, &Request::get("/")).await;
    assert_eq!(response.status, 200);
    assert_ne!(response.ending, Ending::Whole, "a part looks like the whole");
    assert_same(&response.body, &body.bytes()[..response.body.len()]);
    squall.until("squall_upstream_errors_total", &[], 1.0).await;
    squall.assert_nobody_gone();
}

async fn closing_in_a_body_of_known_length_is_no_clean_end(pair: Pair) {
    broken_answer(pair, Body::sized(pattern(80_000)), Ending::Closed).await;
}
each!(closing_in_a_body_of_known_length_is_no_clean_end { h1_to_h1 h2_to_h1 });

async fn closing_between_chunks_is_no_clean_end(pair: Pair) {
    broken_answer(pair, Body::chunked(pattern(80_000)), Ending::Closed).await;
}
each!(closing_between_chunks_is_no_clean_end { h1_to_h1 h2_to_h1 });

async fn resetting_in_a_body_is_no_clean_end(pair: Pair) {
    broken_answer(pair, Body::chunked(pattern(80_000)), Ending::Reset).await;
}
each!(resetting_in_a_body_is_no_clean_end);

async fn malformed_chunks_are_no_clean_end(pair: Pair) {
    let upstream = Upstream::h1(|_, mut wire| async move {
        while wire.reader().head().await.is_ok() {
            wire.try_write(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\nworld\r\n0\r\n\r\n",
            )
            .await;
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let response = squall.ask(pair.down, &Request::get("/")).await;
    assert_ne!(response.ending, Ending::Whole);
    squall.until("squall_upstream_errors_total", &[], 1.0).await;
    squall.assert_nobody_gone();
}
each!(malformed_chunks_are_no_clean_end { h1_to_h1 h2_to_h1 });

async fn chunks_without_a_size_are_no_clean_end(pair: Pair) {
    let upstream = Upstream::h1(|_, mut wire| async move {
        while wire.reader().head().await.is_ok() {
            wire.try_write(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n\r\n5\r\nworld\r\n0\r\n\r\n",
            )
            .await;
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let response = squall.ask(pair.down, &Request::get("/")).await;
    assert_ne!(response.ending, Ending::Whole, "{:?}", response.text());
}
each!(chunks_without_a_size_are_no_clean_end {
    h1_to_h1
    h2_to_h1
});

#[tokio::test]
async fn pieces_pass_as_soon_as_they_come() {
    let (go_on, wait) = tokio::sync::oneshot::channel::<()>();
    let wait = Arc::new(tokio::sync::Mutex::new(Some(wait)));
    let upstream = Upstream::h1(move |_, mut wire| {
        let wait = Arc::clone(&wait);
        async move {
            wire.head().await;
            wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
                .await;
            let wait = wait.lock().await.take().unwrap();
            wait.await.unwrap();
            wire.write("6\r\nsecond\r\n0\r\n\r\n").await;
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write("GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n").await;
    wire.head().await;
    assert_eq!(wire.exactly(10).await, b"5\r\nfirst\r\n");
    go_on.send(()).unwrap();
    assert_eq!(wire.exactly(16).await, b"6\r\nsecond\r\n0\r\n\r\n");
}

#[tokio::test]
async fn answers_without_a_length_become_chunked() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::UntilClose("all of it".into()))).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(Protocol::H1).await;
    for _ in 0..2 {
        let response = client.get("/").await;
        response.assert(200, "all of it");
        assert_eq!(response.field("transfer-encoding"), Some("chunked"));
    }
}
