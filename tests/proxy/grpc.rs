//! gRPC calls: framed messages and a status in the trailers, over HTTP/2 on both sides.

use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;

use super::support::client::{H2Client, read, read_head};
use super::support::http2::{read_body, send_piece};
use super::support::message::{Answer, Body, Ending, Request, Response};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::{Protocol, within};

/// A message with its prefix, uncompressed.
fn message(text: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend((text.len() as u32).to_be_bytes());
    bytes.extend(text.bytes());
    bytes
}

fn messages(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| message(text)).collect()
}

/// The payloads of whole messages.
fn texts(mut body: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while !body.is_empty() {
        let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
        texts.push(String::from_utf8_lossy(&body[5..5 + length]).into_owned());
        body = &body[5 + length..];
    }
    texts
}

fn call(body: &[u8]) -> Request {
    Request::post("/fault.Shop/List", Body::chunked(body))
        .field("content-type", "application/grpc")
        .field("te", "trailers")
}

async fn shop() -> Upstream {
    let answer = Answer::ok(Body::chunked(messages(&["one", "two", "three"])))
        .field("content-type", "application/grpc")
        .trailer("grpc-status", "0")
        .trailer("grpc-message", "fine");
    Upstream::answering(Protocol::H2, answer).await
}

/// A call under a fault; the connection is good for another one, which no rule hits.
async fn called(fault: &str) -> (Response, Squall, Upstream) {
    let upstream = shop().await;
    let squall = Squall::with_fault(&upstream, fault);
    let response = squall.ask(Protocol::H2, &call(&message("ask"))).await;
    (response, squall, upstream)
}

#[tokio::test]
async fn calls_pass() {
    let mut upstream = shop().await;
    let squall = Squall::before(&upstream);
    let client = H2Client::connect(squall.address).await;
    for _ in 0..3 {
        let response = client.ask(&call(&messages(&["a", "b"]))).await;
        assert_eq!((response.status, response.ending), (200, Ending::Whole));
        assert_eq!(texts(&response.body), ["one", "two", "three"]);
        assert_eq!(response.trailers.get("grpc-status"), Some("0"));
        assert_eq!(response.trailers.get("grpc-message"), Some("fine"));
        let seen = upstream.next().await;
        assert_eq!(texts(&seen.body), ["a", "b"]);
        assert_eq!(seen.fields.get("te"), Some("trailers"), "gRPC servers ask for it");
    }
    squall.assert_nobody_gone();
}

#[tokio::test]
async fn trailers_only_answer_passes() {
    let answer = Answer::new(200)
        .field("content-type", "application/grpc")
        .field("grpc-status", "5");
    let upstream = Upstream::answering(Protocol::H2, answer).await;
    let squall = Squall::before(&upstream);
    let response = squall.ask(Protocol::H2, &call(&message("ask"))).await;
    response.assert(200, "");
    assert_eq!(response.field("grpc-status"), Some("5"));
    assert!(response.head_only, "RFC 9113, section 8.1");
}

/// Both sides speak by turns on one call, none of them having ended.
#[tokio::test]
async fn messages_pass_both_ways_by_turns() {
    let upstream = Upstream::echo(Protocol::H2).await;
    let squall = Squall::before(&upstream);
    let client = H2Client::connect(squall.address).await;
    let (mut response, mut stream) = client.open(&call(b""), false).await.unwrap();
    let mut body = read_head(&mut response).await.1.unwrap().into_body();
    for number in 0..10 {
        let sent = message(&format!("message {number}"));
        assert!(send_piece(&mut stream, sent.clone().into(), false).await);
        assert_eq!(within(body.data()).await.unwrap().unwrap(), sent);
    }
    stream.send_data(Bytes::new(), true).unwrap();
    assert_eq!(read_body(&mut body).await.2, Ending::Whole);
    squall.counted(200).await;
}

#[tokio::test]
async fn cancelled_call_is_cancelled_upstream() {
    let (report, mut reported) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::h2(move |(_request, mut respond)| {
        let report = report.clone();
        async move {
            let code = within(std::future::poll_fn(|context| respond.poll_reset(context))).await;
            let _ = report.send(code.ok());
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let client = H2Client::connect(squall.address).await;
    let (_response, mut stream) = client.open(&call(b""), true).await.unwrap();
    squall.until("squall_connections", &[], 1.0).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    stream.send_reset(Reason::CANCEL);
    assert_eq!(within(reported.recv()).await.unwrap(), Some(Reason::CANCEL));
    squall.clients_gone(1).await;
}

#[tokio::test]
async fn abort_is_a_trailers_only_answer() {
    let (response, squall, mut upstream) = called("{abort: {grpc: UNAVAILABLE, message: try again}}").await;
    response.assert(200, "");
    assert!(response.head_only);
    assert_eq!(response.field("grpc-status"), Some("14"));
    assert_eq!(response.field("grpc-message"), Some("try again"));
    assert_eq!(response.field("content-type"), Some("application/grpc"));
    squall.injected("abort").await;
    upstream.assert_no_more();
}

#[tokio::test]
async fn abort_before_the_response_is_a_trailers_only_answer() {
    let (response, squall, mut upstream) = called("{abort: {grpc: ABORTED, before: response}}").await;
    response.assert(200, "");
    assert!(response.head_only);
    assert_eq!(response.field("grpc-status"), Some("10"));
    squall.injected("abort").await;
    assert_eq!(upstream.next().await.target, "/fault.Shop/List");
}

#[tokio::test]
async fn abort_with_a_grpc_status_spares_other_requests() {
    let upstream = shop().await;
    let squall = Squall::with_fault(&upstream, "{abort: {grpc: UNAVAILABLE}}");
    let response = squall.ask(Protocol::H2, &Request::get("/fault")).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.field("grpc-status"), None);
    squall.skipped("abort", "not a gRPC request").await;
}

#[tokio::test]
async fn abort_with_both_gives_others_the_status() {
    let upstream = shop().await;
    let squall = Squall::with_fault(&upstream, "{abort: {grpc: UNAVAILABLE, status: 503}}");
    squall.ask(Protocol::H2, &Request::get("/fault")).await.assert(503, "");
    squall.injected("abort").await;
}

#[tokio::test]
async fn reset_has_the_code() {
    let (response, squall, _upstream) = called("{reset: {code: REFUSED_STREAM}}").await;
    response.assert_none(Ending::Stream(Reason::REFUSED_STREAM));
    squall.injected("reset").await;
}

#[tokio::test]
async fn truncation_after_messages_has_the_status() {
    let fault = "{truncate: {after: 2 messages, grpc: UNAVAILABLE, reason: try again}}";
    let (response, squall, _upstream) = called(fault).await;
    assert_eq!((response.status, response.ending), (200, Ending::Whole));
    assert_eq!(texts(&response.body), ["one", "two"]);
    assert_eq!(response.trailers.get("grpc-status"), Some("14"));
    assert_eq!(response.trailers.get("grpc-message"), Some("try again"));
    squall.injected("truncate").await;
    squall.assert_nobody_gone();
}

#[tokio::test]
async fn clean_truncation_without_a_status_has_no_trailers() {
    let (response, squall, _upstream) = called("{truncate: {after: 2 messages, end: clean}}").await;
    assert_eq!(response.ending, Ending::Whole);
    assert_eq!(texts(&response.body), ["one", "two"]);
    assert!(response.trailers.0.is_empty());
    squall.injected("truncate").await;
}

#[tokio::test]
async fn truncation_after_messages_resets() {
    let (response, squall, _upstream) = called("{truncate: {after: 2 messages, code: CANCEL}}").await;
    assert_eq!(response.ending, Ending::Stream(Reason::CANCEL));
    assert_eq!(texts(&response.body), ["one", "two"]);
    squall.injected("truncate").await;
}

#[tokio::test]
async fn dropped_messages_vanish_and_the_status_stays() {
    let (response, squall, _upstream) = called("{drop: {every: 2}}").await;
    assert_eq!(texts(&response.body), ["one", "three"]);
    assert_eq!(response.trailers.get("grpc-status"), Some("0"));
    squall.injected("drop").await;
}

#[tokio::test]
async fn duplicated_messages_come_twice() {
    let (response, squall, _upstream) = called("{duplicate: {every: 3}}").await;
    assert_eq!(texts(&response.body), ["one", "two", "three", "three"]);
    assert_eq!(response.trailers.get("grpc-status"), Some("0"));
    squall.injected("duplicate").await;
}

#[tokio::test]
async fn grpc_status_comes_with_its_fields() {
    let fault = "{abort: {grpc: UNAVAILABLE, message: later, headers: {grpc-retry-pushback-ms: 250}}}";
    let (response, squall, _upstream) = called(fault).await;
    assert_eq!(response.field("grpc-status"), Some("14"));
    assert_eq!(response.field("grpc-message"), Some("later"));
    assert_eq!(response.field("grpc-retry-pushback-ms"), Some("250"));
    squall.injected("abort").await;
}

#[tokio::test]
async fn duplicated_call_is_made_twice() {
    let (response, squall, mut upstream) = called("{duplicate: {}}").await;
    assert_eq!(texts(&response.body), ["one", "two", "three"]);
    for _ in 0..2 {
        assert_eq!(texts(&upstream.next().await.body), ["ask"]);
    }
    squall.injected("duplicate").await;
}

#[tokio::test]
async fn delayed_messages_keep_their_order() {
    let began = Instant::now();
    let (response, _squall, _upstream) = called("{delay: {fixed: 40ms, before: message}}").await;
    assert!(began.elapsed() >= Duration::from_millis(120));
    assert_eq!(texts(&response.body), ["one", "two", "three"]);
    assert_eq!(response.trailers.get("grpc-status"), Some("0"));
}

#[tokio::test]
async fn corrupted_messages_keep_their_prefix() {
    let (response, squall, _upstream) = called("{corrupt: {bytes: 100%}}").await;
    let got = texts(&response.body);
    assert_eq!(response.body.len(), messages(&["one", "two", "three"]).len());
    assert_eq!(got.len(), 3);
    assert_ne!(got, ["one", "two", "three"]);
    squall.injected("corrupt").await;
}

#[tokio::test]
async fn dropped_messages_of_the_request_vanish() {
    let mut upstream = shop().await;
    let squall = Squall::with_fault(&upstream, "{drop: {every: 2, direction: request}}");
    let request = call(&messages(&["a", "b", "c"]));
    assert_eq!(squall.ask(Protocol::H2, &request).await.ending, Ending::Whole);
    assert_eq!(texts(&upstream.next().await.body), ["a", "c"]);
}

#[tokio::test]
async fn bandwidth_keeps_the_status() {
    let began = Instant::now();
    let (response, _squall, _upstream) = called("{bandwidth: {response: 200B/s}}").await;
    assert!(began.elapsed() >= Duration::from_millis(50));
    assert_eq!(texts(&response.body), ["one", "two", "three"]);
    assert_eq!(response.trailers.get("grpc-status"), Some("0"));
}

#[tokio::test]
async fn rewrite_of_a_body_is_skipped() {
    let (response, squall, _upstream) = called("{rewrite: {replace: [{find: one, with: two}]}}").await;
    assert_eq!(texts(&response.body), ["one", "two", "three"]);
    assert_eq!(response.trailers.get("grpc-status"), Some("0"));
    squall.skipped("rewrite", "a stream").await;
}

#[tokio::test]
async fn stalled_call_can_be_cancelled() {
    let upstream = shop().await;
    let squall = Squall::with_fault(&upstream, "{stall: 1 message}");
    let client = H2Client::connect(squall.address).await;
    let (mut response, mut stream) = client.open(&call(b""), false).await.unwrap();
    stream.send_data(Bytes::new(), true).unwrap();
    let mut body = read_head(&mut response).await.1.unwrap().into_body();
    assert_eq!(within(body.data()).await.unwrap().unwrap(), message("one"));
    squall.until("squall_requests_held", &[], 1.0).await;
    stream.send_reset(Reason::CANCEL);
    squall.injected("stall").await;
    squall.clients_gone(1).await;
    let (sibling, _) = client.open(&Request::get("/next"), true).await.unwrap();
    assert_eq!(read(sibling).await.status, 200);
}
