//! An upstream may answer before it has read the request's body, and read on or not (RFC 9112, section 9.3).

use super::support::message::{Answer, Body, Ending, Request};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::{Pair, Protocol, assert_same, each, pattern};

/// More than what fits into the buffers of the sockets on the way.
const LARGE: usize = 8 << 20;

async fn answer_while_the_request_is_still_sent(pair: Pair) {
    let answer = Answer::ok(Body::sized("early")).early();
    let mut upstream = Upstream::answering(pair.up, answer).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    let request = Request::post("/", Body::sized(pattern(100_000)));
    for _ in 0..2 {
        client.ask(&request).await.assert(200, "early");
        let seen = upstream.next().await;
        if seen.ending == Ending::Whole {
            assert_same(&seen.body, &request.body.bytes());
        }
    }
    squall.assert_nobody_gone();
}
each!(answer_while_the_request_is_still_sent);

/// The client has not sent its body yet, and gets the whole answer.
async fn answer_before_the_body_comes(pair: Pair) {
    let upstream = Upstream::answering(pair.up, Answer::ok(Body::sized(pattern(100_000))).early()).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    let request = Request::post("/", Body::sized(pattern(1000)));
    wire.write(request.head()).await;
    wire.response("POST").await.assert(200, pattern(100_000));
    // The connection ends or takes the rest; either way it can't be taken for a new request.
    if wire.try_write(request.body.bytes()).await && wire.try_write(Request::get("/").wire()).await {
        let next = wire.response("GET").await;
        assert!(next.status == 200 || next.status == 0, "{}", next.status);
    }
}
each!(answer_before_the_body_comes { h1_to_h1 h1_to_h2 });

/// An upstream that refuses a large upload and closes: the client reads the refusal.
async fn refusal_of_a_large_upload_arrives(pair: Pair) {
    let upstream = Upstream::h1(|_, mut wire| async move {
        if wire.reader().head().await.is_ok() {
            wire.try_write("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
                .await;
            wire.finish().await;
            // Read on, as servers do (RFC 9112, section 9.6), so that no RST overtakes the answer.
            wire.end().await;
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let request = Request::post("/", Body::sized(pattern(LARGE)));
    squall.ask(pair.down, &request).await.assert(413, "big");
    squall.counted(413).await;
    squall.assert_nobody_gone();
}
each!(refusal_of_a_large_upload_arrives { h1_to_h1 h2_to_h1 });

/// After END_STREAM, RST_STREAM with NO_ERROR says that the rest of the request is not wanted (RFC 9113, section 8.1).
async fn refusal_by_a_stream_that_ends_without_error_arrives(pair: Pair) {
    let upstream = Upstream::h2(|(request, mut respond)| async move {
        let head = http::Response::builder()
            .status(413)
            .header("content-length", 3)
            .body(())
            .unwrap();
        let mut stream = respond.send_response(head, false).unwrap();
        stream.send_data("big".into(), true).unwrap();
        // The answer is complete: the crate resets the stream so when nobody reads the request any more.
        drop(request);
    })
    .await;
    let squall = Squall::before(&upstream);
    let request = Request::post("/", Body::sized(pattern(LARGE)));
    squall.ask(pair.down, &request).await.assert(413, "big");
    squall.assert_nobody_gone();
}
each!(refusal_by_a_stream_that_ends_without_error_arrives { h1_to_h2 h2_to_h2 });

/// Both are under way at once: an answer that begins early goes on while the request's body is still coming.
#[tokio::test]
async fn answers_and_uploads_interleave() {
    let upstream = Upstream::h1(|_, mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        for _ in 0..5 {
            assert_eq!(wire.exactly(4).await, b"ping");
            wire.write("4\r\npong\r\n").await;
        }
        wire.write("0\r\n\r\n").await;
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write("POST / HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 20\r\n\r\n")
        .await;
    wire.head().await;
    for _ in 0..5 {
        wire.write("ping").await;
        assert_eq!(wire.exactly(9).await, b"4\r\npong\r\n");
    }
    assert_eq!(wire.exactly(5).await, b"0\r\n\r\n");
}

/// The upstream answered without reading the body and keeps its connection open; the next request is not confused by it.
#[tokio::test]
async fn unread_rest_of_a_body_is_no_request() {
    let mut upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("early")).early()).await;
    let squall = Squall::before(&upstream);
    let smuggled = Request::get("/smuggled").wire();
    for down in [Protocol::H1, Protocol::H2] {
        let mut client = squall.client(down).await;
        client
            .ask(&Request::post("/", Body::sized(&smuggled)))
            .await
            .assert(200, "early");
        assert_eq!(upstream.next().await.target, "/");
        squall.ask(down, &Request::get("/next")).await.assert(200, "early");
        assert_eq!(upstream.next().await.target, "/next");
    }
}
