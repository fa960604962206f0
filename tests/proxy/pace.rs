//! `bandwidth`, `dribble`, `stall` and `profile`: bytes come late, in pieces or not at all, and none is lost.

use std::time::{Duration, Instant};

use super::support::client::Client;
use super::support::message::{Answer, Body, Ending, Request, Response, Seen};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::{Pair, Protocol, assert_same, each, pattern};

/// What both sides got, how long it took, and the squall.
struct Outcome {
    response: Response,
    seen: Seen,
    took: Duration,
    squall: Squall,
}

async fn exchange(pair: Pair, fault: &str, request: Body, response: Body) -> Outcome {
    let mut upstream = Upstream::answering(pair.up, Answer::ok(response)).await;
    let squall = Squall::with_fault(&upstream, fault);
    let mut client = squall.client(pair.down).await;
    let began = Instant::now();
    let response = client.ask(&Request::post("/fault", request)).await;
    let took = began.elapsed();
    let seen = upstream.next().await;
    client.get("/next").await;
    Outcome {
        response,
        seen,
        took,
        squall,
    }
}

/// A fault that only takes time: all bytes arrive, at the earliest after `least`, and both connections stay.
async fn takes(pair: Pair, name: &str, fault: &str, least: u64, request: Body, response: Body) {
    let outcome = exchange(pair, fault, request.clone(), response.clone()).await;
    outcome.response.assert(200, response.bytes());
    assert_same(&outcome.seen.body, &request.bytes());
    let least = Duration::from_millis(least);
    assert!(outcome.took >= least, "{:?}", outcome.took);
    outcome.squall.injected(name).await;
    outcome.squall.assert_nobody_gone();
    outcome
        .squall
        .until("squall_requests_total", &["status=\"200\""], 2.0)
        .await;
}

async fn bandwidth_of_the_response(pair: Pair) {
    let fault = "{bandwidth: {response: 100KB/s}}";
    takes(pair, "bandwidth", fault, 150, Body::None, Body::sized(pattern(20_000))).await;
}
each!(bandwidth_of_the_response);

async fn bandwidth_of_a_chunked_response(pair: Pair) {
    let fault = "{bandwidth: {response: 100KB/s}}";
    takes(
        pair,
        "bandwidth",
        fault,
        150,
        Body::None,
        Body::chunked(pattern(20_000)),
    )
    .await;
}
each!(bandwidth_of_a_chunked_response);

async fn bandwidth_of_the_request(pair: Pair) {
    let fault = "{bandwidth: {request: 100KB/s}}";
    takes(
        pair,
        "bandwidth",
        fault,
        150,
        Body::sized(pattern(20_000)),
        Body::sized("ok"),
    )
    .await;
}
each!(bandwidth_of_the_request);

async fn bandwidth_of_a_chunked_request(pair: Pair) {
    let fault = "{bandwidth: {request: 100KB/s}}";
    takes(
        pair,
        "bandwidth",
        fault,
        150,
        Body::chunked(pattern(20_000)),
        Body::sized("ok"),
    )
    .await;
}
each!(bandwidth_of_a_chunked_request);

async fn dribble_of_the_response(pair: Pair) {
    let fault = "{dribble: {chunk: 1000B, gap: 20ms}}";
    takes(pair, "dribble", fault, 140, Body::None, Body::sized(pattern(8000))).await;
}
each!(dribble_of_the_response);

async fn dribble_of_the_request(pair: Pair) {
    let fault = "{dribble: {chunk: 1000B, gap: 20ms, direction: request}}";
    takes(
        pair,
        "dribble",
        fault,
        140,
        Body::sized(pattern(8000)),
        Body::sized("ok"),
    )
    .await;
}
each!(dribble_of_the_request);

async fn dribble_over_a_time(pair: Pair) {
    let fault = "{dribble: {chunks: 5, over: 150ms}}";
    takes(pair, "dribble", fault, 150, Body::None, Body::sized(pattern(5000))).await;
}
each!(dribble_over_a_time { h1_to_h1 h2_to_h2 });

#[tokio::test]
async fn each_piece_of_a_dribble_is_a_chunk() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::chunked("abcdefgh"))).await;
    let squall = Squall::with_fault(&upstream, "{dribble: {chunk: 3B, gap: 10ms}}");
    let mut wire = squall.wire().await;
    wire.write(Request::get("/fault").wire()).await;
    wire.head().await;
    let chunks = b"3\r\nabc\r\n3\r\ndef\r\n2\r\ngh\r\n0\r\n\r\n";
    assert_eq!(wire.exactly(chunks.len()).await, chunks);
}

#[tokio::test]
async fn dribble_over_a_time_needs_a_length() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::chunked("abcdefgh"))).await;
    let squall = Squall::with_fault(&upstream, "{dribble: {chunks: 2, over: 5s}}");
    squall
        .ask(Protocol::H1, &Request::get("/fault"))
        .await
        .assert(200, "abcdefgh");
    squall.skipped("dribble", "length unknown").await;
}

async fn stall_resumes_after_its_limit(pair: Pair) {
    let fault = "{stall: {after: 1000B, limit: 150ms}}";
    takes(pair, "stall", fault, 150, Body::None, Body::sized(pattern(5000))).await;
}
each!(stall_resumes_after_its_limit);

async fn stall_of_the_request_resumes_after_its_limit(pair: Pair) {
    let fault = "{stall: {after: 1000B, limit: 150ms, direction: request}}";
    takes(pair, "stall", fault, 150, Body::sized(pattern(5000)), Body::sized("ok")).await;
}
each!(stall_of_the_request_resumes_after_its_limit);

/// What comes before the place, and the end behind it.
async fn stall_ends(pair: Pair, fault: &str, ending: Ending) {
    let upstream = Upstream::answering(pair.up, Answer::ok(Body::sized(pattern(5000)))).await;
    let squall = Squall::with_fault(&upstream, fault);
    let response = squall.ask(pair.down, &Request::get("/fault")).await;
    assert_eq!((response.status, response.ending), (200, ending));
    assert_same(&response.body, &pattern(1000));
    squall.injected("stall").await;
    squall.counted(200).await;
    squall.assert_nobody_gone();
}

async fn stall_that_closes(pair: Pair) {
    let fault = "{stall: {after: 1000B, limit: 100ms, end: close}}";
    stall_ends(pair, fault, Ending::Closed).await;
}
each!(stall_that_closes);

async fn stall_that_resets(pair: Pair) {
    let ending = match pair.down {
        Protocol::H1 => Ending::Reset,
        Protocol::H2 => Ending::Stream(h2::Reason::INTERNAL_ERROR),
    };
    let fault = "{stall: {after: 1000B, limit: 100ms, end: reset}}";
    stall_ends(pair, fault, ending).await;
}
each!(stall_that_resets);

async fn client_disconnect_while_stalled_frees_everything(pair: Pair) {
    let upstream = Upstream::answering(pair.up, Answer::ok(Body::sized(pattern(5000)))).await;
    let squall = Squall::with_fault(&upstream, "{stall: 1000B}");
    match squall.client(pair.down).await {
        Client::H1(mut wire) => {
            wire.write(Request::get("/fault").wire()).await;
            wire.head().await;
            assert_same(&wire.exactly(1000).await, &pattern(1000));
            squall.until("squall_requests_held", &[], 1.0).await;
            drop(wire);
        }
        Client::H2(client) => {
            let (response, _) = client.open(&Request::get("/fault"), true).await.unwrap();
            let _body = super::support::within(response).await.unwrap().into_body();
            squall.until("squall_requests_held", &[], 1.0).await;
            client.leave();
        }
    }
    squall.injected("stall").await;
    squall.clients_gone(1).await;
    squall.until("squall_connections", &[], 0.0).await;
}
each!(client_disconnect_while_stalled_frees_everything);

#[tokio::test]
async fn siblings_of_a_stalled_stream_go_on() {
    let upstream = Upstream::answering(Protocol::H2, Answer::ok(Body::sized(pattern(5000)))).await;
    let squall = Squall::with_fault(&upstream, "{stall: 1000B}");
    let client = super::support::client::H2Client::connect(squall.address).await;
    let (_stalled, _) = client.open(&Request::get("/fault"), true).await.unwrap();
    squall.until("squall_requests_held", &[], 1.0).await;
    client.get("/next").await.assert(200, pattern(5000));
}

async fn stall_of_a_short_body_is_skipped(pair: Pair) {
    let upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("short"))).await;
    let squall = Squall::with_fault(&upstream, "{stall: 1000B}");
    squall
        .ask(pair.down, &Request::get("/fault"))
        .await
        .assert(200, "short");
    squall.skipped("stall", "body too short").await;
}
each!(stall_of_a_short_body_is_skipped { h1_to_h1 h2_to_h2 });

/// What is held back is bounded, so that the upstream has to wait for a slow client's rate.
#[tokio::test]
async fn shaped_body_is_not_kept() {
    use tokio::io::AsyncWriteExt;
    let (report, sent) = tokio::sync::watch::channel(0);
    let upstream = Upstream::h1(move |_, mut wire| {
        let report = report.clone();
        async move {
            wire.head().await;
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").await;
            while let Ok(length) = wire.split().1.write(&[b'x'; 0x4000]).await {
                report.send_modify(|sent| *sent += length);
            }
        }
    })
    .await;
    let squall = Squall::with_fault(&upstream, "{bandwidth: 10KB/s}");
    let mut wire = squall.wire().await;
    wire.write(Request::get("/fault").wire()).await;
    wire.head().await;
    wire.exactly(5000).await;
    assert!(*sent.borrow() < 24 << 20, "{}", *sent.borrow());
}

async fn profile_is_slow(pair: Pair) {
    takes(
        pair,
        "profile",
        "{profile: dsl}",
        5,
        Body::sized("a body"),
        Body::sized("ok"),
    )
    .await;
}
each!(profile_is_slow { h1_to_h1 h2_to_h2 });
