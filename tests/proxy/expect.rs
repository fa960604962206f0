//! `Expect: 100-continue` (RFC 9110, section 10.1.1), with no rule in the way.

use super::support::Protocol;
use super::support::message::{Answer, Body, Ending, Request};
use super::support::squall::Squall;
use super::support::upstream::{Upstream, read_h1, seen_h1};
use super::support::wire::Wire;

const HEAD: &str = "POST / HTTP/1.1\r\nHost: origin.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

/// Gives leave, reads the body, and answers; on every request of a connection.
async fn gives_leave(_: usize, mut wire: Wire) {
    while let Ok(raw) = wire.reader().head().await {
        let mut seen = seen_h1(0, raw);
        if seen.fields.get("expect").is_some() {
            wire.write("HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        read_h1(&mut wire, &mut seen).await;
        let body = String::from_utf8(seen.body).unwrap();
        wire.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    }
}

#[tokio::test]
async fn leave_comes_before_the_body() {
    let upstream = Upstream::h1(gives_leave).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(HEAD).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 100 "));
    wire.write("hello").await;
    wire.response("POST").await.assert(200, "hello");
    squall.counted(200).await;
    squall.assert_nobody_gone();
}

#[tokio::test]
async fn leave_keeps_the_connection() {
    let upstream = Upstream::h1(gives_leave).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    for _ in 0..3 {
        wire.write(HEAD).await;
        assert!(wire.head().await.starts_with("HTTP/1.1 100 "));
        wire.write("hello").await;
        let response = wire.response("POST").await;
        response.assert(200, "hello");
        assert_ne!(response.field("connection"), Some("close"));
    }
}

#[tokio::test]
async fn refusal_arrives_without_the_body() {
    let upstream = Upstream::answering(
        Protocol::H1,
        Answer {
            status: 417,
            ..Answer::ok(Body::sized("no"))
        }
        .early(),
    )
    .await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(HEAD).await;
    let response = wire.response("POST").await;
    response.assert(417, "no");
    assert!(response.interim.is_empty());
    drop(wire);
    squall.counted(417).await;
}

#[tokio::test]
async fn client_that_leaves_after_a_refusal_is_not_gone() {
    let upstream = Upstream::answering(Protocol::H1, Answer::new(204).early()).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(HEAD).await;
    wire.response("POST").await.assert(204, "");
    drop(wire);
    squall.counted(204).await;
    squall.assert_nobody_gone();
}

/// The client sends its body after a refusal, or leaves. If it sends it, the connection is good for another request.
#[tokio::test]
async fn refusal_keeps_the_connection_of_a_client_that_sends_its_body() {
    let refusal = Answer {
        status: 417,
        ..Answer::ok(Body::sized("no"))
    };
    let upstream = Upstream::answering(Protocol::H1, refusal.early()).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    for _ in 0..2 {
        wire.write(HEAD).await;
        wire.response("POST").await.assert(417, "no");
        wire.write("hello").await;
    }
}

#[tokio::test]
async fn client_that_does_not_wait_for_leave_is_served() {
    let upstream = Upstream::h1(gives_leave).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(format!("{HEAD}hello")).await;
    wire.response("POST").await.assert(200, "hello");
    squall.counted(200).await;
}

/// An upstream without any interest in the expectation: the client waits for a while, and sends its body.
#[tokio::test]
async fn upstream_that_gives_no_leave_gets_the_body_all_the_same() {
    let mut upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(HEAD).await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    wire.write("hello").await;
    wire.response("POST").await.assert(200, "ok");
    assert_eq!(upstream.next().await.body, b"hello");
}

#[tokio::test]
async fn leave_reaches_a_client_of_an_http2_upstream() {
    let upstream = Upstream::answering(Protocol::H2, Answer::ok(Body::sized("ok")).interim(100, &[])).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(HEAD).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 100 "));
    wire.write("hello").await;
    wire.response("POST").await.assert(200, "ok");
}

#[tokio::test]
async fn http2_client_with_an_expectation_is_served() {
    let mut upstream = Upstream::h1(gives_leave).await;
    let squall = Squall::before(&upstream);
    let request = Request::post("/", Body::sized("hello")).field("expect", "100-continue");
    let response = squall.ask(Protocol::H2, &request).await;
    response.assert(200, "hello");
    upstream.assert_no_more();
}

#[tokio::test]
async fn client_that_leaves_instead_of_sending_its_body_is_gone() {
    let (ended, mut end) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::h1(move |_, mut wire| {
        let ended = ended.clone();
        async move {
            wire.head().await;
            wire.write("HTTP/1.1 100 Continue\r\n\r\n").await;
            let _ = ended.send(wire.end().await);
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(HEAD).await;
    wire.head().await;
    drop(wire);
    let (body, ending) = super::support::within(end.recv()).await.unwrap();
    assert_eq!(body, b"");
    assert_ne!(ending, Ending::Whole);
    squall.clients_gone(1).await;
}
