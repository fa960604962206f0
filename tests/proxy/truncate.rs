//! `truncate`: exactly the stated prefix, and then the end that was asked for, in both directions.

use super::support::message::{Answer, Body, Ending, Request, Response, Seen};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::{Pair, Protocol, assert_same, each, pattern};

const LENGTH: usize = 50_000;
const CUT: usize = 20_000;

/// The response is cut at [`CUT`], and this is how it ends.
async fn cut(pair: Pair, options: &str, body: Body, ending: Ending) -> Response {
    let upstream = Upstream::answering(pair.up, Answer::ok(body)).await;
    let squall = Squall::with_fault(&upstream, &format!("{{truncate: {{{options}}}}}"));
    let response = squall.ask(pair.down, &Request::get("/fault")).await;
    assert_eq!((response.status, response.ending), (200, ending));
    assert_same(&response.body, &pattern(CUT));
    assert!(response.field("squall-fault").unwrap().contains("fault=truncate"));
    squall.injected("truncate").await;
    squall.counted(200).await;
    squall.assert_nobody_gone();
    assert_eq!(squall.metric("squall_upstream_errors_total", &[]), 0.0);
    response
}

fn reset(down: Protocol, reason: h2::Reason) -> Ending {
    match down {
        Protocol::H1 => Ending::Reset,
        Protocol::H2 => Ending::Stream(reason),
    }
}

async fn close_in_a_sized_response(pair: Pair) {
    let body = Body::sized(pattern(LENGTH));
    let response = cut(pair, "after: 20000B", body, Ending::Closed).await;
    assert_eq!(response.field("content-length"), Some("50000"));
}
each!(close_in_a_sized_response);

async fn close_in_a_chunked_response(pair: Pair) {
    cut(pair, "after: 20000B", Body::chunked(pattern(LENGTH)), Ending::Closed).await;
}
each!(close_in_a_chunked_response);

async fn close_after_a_share(pair: Pair) {
    cut(pair, "after: 40%", Body::sized(pattern(LENGTH)), Ending::Closed).await;
}
each!(close_after_a_share { h1_to_h1 h2_to_h2 });

async fn clean_end_of_a_sized_response(pair: Pair) {
    let body = Body::sized(pattern(LENGTH));
    let response = cut(pair, "after: 20000B, end: clean", body, Ending::Whole).await;
    assert_eq!(response.field("content-length"), Some("20000"));
}
each!(clean_end_of_a_sized_response);

async fn clean_end_of_a_chunked_response(pair: Pair) {
    let body = Body::chunked(pattern(LENGTH));
    cut(pair, "after: 20000B, end: clean", body, Ending::Whole).await;
}
each!(clean_end_of_a_chunked_response);

async fn reset_in_a_sized_response(pair: Pair) {
    let ending = reset(pair.down, h2::Reason::INTERNAL_ERROR);
    cut(pair, "after: 20000B, end: reset", Body::sized(pattern(LENGTH)), ending).await;
}
each!(reset_in_a_sized_response);

async fn reset_in_a_chunked_response(pair: Pair) {
    let ending = reset(pair.down, h2::Reason::CANCEL);
    cut(
        pair,
        "after: 20000B, code: CANCEL",
        Body::chunked(pattern(LENGTH)),
        ending,
    )
    .await;
}
each!(reset_in_a_chunked_response);

/// A clean end costs nobody a connection.
async fn clean_end_keeps_the_connection(pair: Pair) {
    let upstream = Upstream::answering(pair.up, Answer::ok(Body::sized(pattern(LENGTH)))).await;
    let squall = Squall::with_fault(&upstream, "{truncate: {after: 20000B, end: clean}}");
    let mut client = squall.client(pair.down).await;
    for _ in 0..2 {
        client.get("/fault").await.assert(200, pattern(CUT));
        client.get("/next").await.assert(200, pattern(LENGTH));
    }
}
each!(clean_end_keeps_the_connection);

#[tokio::test]
async fn reset_of_a_stream_leaves_its_siblings() {
    let upstream = Upstream::answering(Protocol::H2, Answer::ok(Body::sized(pattern(LENGTH)))).await;
    let squall = Squall::with_fault(&upstream, "{truncate: {after: 20000B, end: reset}}");
    let client = super::support::client::H2Client::connect(squall.address).await;
    for _ in 0..2 {
        let response = client.get("/fault").await;
        assert_eq!(response.ending, Ending::Stream(h2::Reason::INTERNAL_ERROR));
        client.get("/next").await.assert(200, pattern(LENGTH));
    }
}

async fn short_response_is_skipped(pair: Pair) {
    let upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("short"))).await;
    let squall = Squall::with_fault(&upstream, "{truncate: 20000B}");
    let mut client = squall.client(pair.down).await;
    client.get("/fault").await.assert(200, "short");
    squall.skipped("truncate", "body too short").await;
    client.get("/next").await.assert(200, "short");
}
each!(short_response_is_skipped);

async fn share_of_an_unknown_length_is_skipped(pair: Pair) {
    let upstream = Upstream::answering(pair.up, Answer::ok(Body::chunked(pattern(LENGTH)))).await;
    let squall = Squall::with_fault(&upstream, "{truncate: 50%}");
    squall
        .ask(pair.down, &Request::get("/fault"))
        .await
        .assert(200, pattern(LENGTH));
    squall.skipped("truncate", "length unknown").await;
}
each!(share_of_an_unknown_length_is_skipped { h1_to_h1 h2_to_h2 });

async fn response_without_a_body_is_skipped(pair: Pair) {
    let upstream = Upstream::answering(pair.up, Answer::new(204)).await;
    let squall = Squall::with_fault(&upstream, "{truncate: 1B}");
    let mut client = squall.client(pair.down).await;
    client.get("/fault").await.assert(204, "");
    squall.skipped("truncate", "no body").await;
    client.get("/next").await.assert(204, "");
}
each!(response_without_a_body_is_skipped);

/// The request is cut at [`CUT`]: what the upstream saw.
async fn cut_request(pair: Pair, options: &str, body: Body) -> (Seen, Response, Squall) {
    let mut upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("ok"))).await;
    let fault = format!("{{truncate: {{{options}, direction: request}}}}");
    let squall = Squall::with_fault(&upstream, &fault);
    let response = squall.ask(pair.down, &Request::post("/fault", body)).await;
    let seen = upstream.next().await;
    assert_same(&seen.body, &pattern(CUT));
    squall.injected("truncate").await;
    (seen, response, squall)
}

/// The upstream sees a request that breaks off; the client's connection or stream ends as was asked for.
async fn break_in_a_request(pair: Pair, options: &str, body: Body, ending: Ending) {
    let (seen, response, squall) = cut_request(pair, options, body).await;
    assert_ne!(seen.ending, Ending::Whole);
    response.assert_none(ending);
    squall.counted(0).await;
    squall.assert_nobody_gone();
    assert_eq!(squall.metric("squall_upstream_errors_total", &[]), 0.0);
}

async fn close_in_a_request(pair: Pair) {
    let body = Body::sized(pattern(LENGTH));
    break_in_a_request(pair, "after: 20000B", body, Ending::Closed).await;
}
each!(close_in_a_request);

async fn close_in_a_chunked_request(pair: Pair) {
    let body = Body::chunked(pattern(LENGTH));
    break_in_a_request(pair, "after: 20000B", body, Ending::Closed).await;
}
each!(close_in_a_chunked_request);

async fn reset_in_a_request(pair: Pair) {
    let ending = reset(pair.down, h2::Reason::INTERNAL_ERROR);
    let body = Body::sized(pattern(LENGTH));
    break_in_a_request(pair, "after: 20000B, end: reset", body, ending).await;
}
each!(reset_in_a_request);

async fn clean_end_of_a_request(pair: Pair) {
    let options = "after: 20000B, end: clean";
    let (seen, response, squall) = cut_request(pair, options, Body::sized(pattern(LENGTH))).await;
    assert_eq!(seen.ending, Ending::Whole);
    assert_eq!(seen.fields.get("content-length"), Some("20000"));
    response.assert(200, "ok");
    squall.counted(200).await;
    squall.assert_nobody_gone();
}
each!(clean_end_of_a_request);

async fn clean_end_of_a_chunked_request(pair: Pair) {
    let options = "after: 20000B, end: clean";
    let (seen, response, _squall) = cut_request(pair, options, Body::chunked(pattern(LENGTH))).await;
    assert_eq!(seen.ending, Ending::Whole);
    response.assert(200, "ok");
}
each!(clean_end_of_a_chunked_request);
