//! `drop`, `duplicate`, and what else counts in messages: server-sent events and lines of NDJSON.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::support::message::{Answer, Body, Ending, Request};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::{Pair, Protocol, each};

fn events(numbers: impl IntoIterator<Item = u32>) -> String {
    numbers
        .into_iter()
        .map(|number| format!("data: {number}\n\n"))
        .collect()
}

fn lines(numbers: impl IntoIterator<Item = u32>) -> String {
    numbers
        .into_iter()
        .map(|number| format!("{{\"n\":{number}}}\n"))
        .collect()
}

fn stream(body: &str) -> Answer {
    Answer::ok(Body::chunked(body)).field("content-type", "text/event-stream")
}

fn ndjson(body: &str) -> Answer {
    Answer::ok(Body::chunked(body)).field("content-type", "application/x-ndjson")
}

/// What becomes of a stream; the connection is good for another request.
async fn becomes(pair: Pair, name: &str, fault: &str, answer: Answer, wanted: String) -> Duration {
    let upstream = Upstream::answering(pair.up, answer).await;
    let squall = Squall::with_fault(&upstream, fault);
    let mut client = squall.client(pair.down).await;
    let began = Instant::now();
    let response = client.get("/fault").await;
    let took = began.elapsed();
    assert_eq!(
        (response.status, response.ending, response.text()),
        (200, Ending::Whole, wanted)
    );
    let label = format!("fault=\"{name}\"");
    squall.until("squall_faults_active", &[], 0.0).await;
    assert!(squall.metric("squall_faults_injected_total", &[&label]) >= 1.0);
    client.get("/next").await;
    squall.assert_nobody_gone();
    took
}

async fn dropped_events_vanish(pair: Pair) {
    becomes(
        pair,
        "drop",
        "{drop: {every: 3}}",
        stream(&events(1..=7)),
        events([1, 2, 4, 5, 7]),
    )
    .await;
}
each!(dropped_events_vanish);

async fn dropped_lines_vanish(pair: Pair) {
    becomes(
        pair,
        "drop",
        "{drop: {every: 2}}",
        ndjson(&lines(1..=5)),
        lines([1, 3, 5]),
    )
    .await;
}
each!(dropped_lines_vanish { h1_to_h1 h2_to_h2 });

async fn all_events_dropped_leave_an_empty_stream(pair: Pair) {
    becomes(pair, "drop", "{drop: 100%}", stream(&events(1..=7)), String::new()).await;
}
each!(all_events_dropped_leave_an_empty_stream { h1_to_h1 h2_to_h2 });

async fn duplicated_events_come_twice(pair: Pair) {
    let fault = "{duplicate: {every: 2}}";
    becomes(
        pair,
        "duplicate",
        fault,
        stream(&events(1..=4)),
        events([1, 2, 2, 3, 4, 4]),
    )
    .await;
}
each!(duplicated_events_come_twice);

/// The place lies beyond the length that the head gives, but not beyond what the client gets.
async fn truncation_of_a_resized_body(pair: Pair) {
    let body = events(1..=3);
    let answer = Answer::ok(Body::sized(&body)).field("content-type", "text/event-stream");
    let faults = format!(
        "{{duplicate: {{every: 1}}}}, {{truncate: {{after: {}, end: clean}}}}",
        body.len() + 9
    );
    becomes(pair, "truncate", &faults, answer, events([1, 1, 2, 2])).await;
}
each!(truncation_of_a_resized_body);

async fn truncation_after_events(pair: Pair) {
    let fault = "{truncate: {after: 3 events, end: clean}}";
    becomes(pair, "truncate", fault, stream(&events(1..=7)), events(1..=3)).await;
}
each!(truncation_after_events);

async fn stall_between_events(pair: Pair) {
    let fault = "{stall: {after: 3 events, limit: 120ms}}";
    let took = becomes(pair, "stall", fault, stream(&events(1..=7)), events(1..=7)).await;
    assert!(took >= Duration::from_millis(120));
}
each!(stall_between_events { h1_to_h1 h2_to_h2 });

async fn delay_of_each_event(pair: Pair) {
    let fault = "{delay: {fixed: 30ms, before: message}}";
    let took = becomes(pair, "delay", fault, stream(&events(1..=4)), events(1..=4)).await;
    assert!(took >= Duration::from_millis(120), "{took:?}");
}
each!(delay_of_each_event);

async fn dropped_lines_of_a_request_vanish(pair: Pair) {
    let mut upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_fault(&upstream, "{drop: {every: 2, direction: request}}");
    let request = Request::post("/fault", Body::sized(lines(1..=5))).field("content-type", "application/x-ndjson");
    squall.ask(pair.down, &request).await.assert(200, "ok");
    let seen = upstream.next().await;
    assert_eq!(String::from_utf8_lossy(&seen.body), lines([1, 3, 5]));
    assert_eq!(seen.ending, Ending::Whole);
}
each!(dropped_lines_of_a_request_vanish);

async fn body_without_messages_is_skipped(pair: Pair) {
    let upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("plain"))).await;
    let squall = Squall::with_fault(&upstream, "{drop: {every: 1}}");
    squall
        .ask(pair.down, &Request::get("/fault"))
        .await
        .assert(200, "plain");
    squall.skipped("drop", "no messages").await;
}
each!(body_without_messages_is_skipped { h1_to_h1 h2_to_h2 });

/// An event passes as soon as it is whole, with a fault that looks at each of them.
#[tokio::test]
async fn events_are_not_held_back() {
    let (go, wait) = tokio::sync::mpsc::unbounded_channel::<()>();
    let wait = Arc::new(tokio::sync::Mutex::new(wait));
    let upstream = Upstream::h1(move |_, mut wire| {
        let wait = Arc::clone(&wait);
        async move {
            wire.head().await;
            wire.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            for _ in 0..3 {
                wire.write("9\r\ndata: 1\n\n\r\n").await;
                wait.lock().await.recv().await;
            }
            wire.write("0\r\n\r\n").await;
        }
    })
    .await;
    let squall = Squall::with_fault(&upstream, "{drop: {every: 1000}}");
    let mut wire = squall.wire().await;
    wire.write(Request::get("/fault").wire()).await;
    wire.head().await;
    for _ in 0..3 {
        assert_eq!(wire.exactly(14).await, b"9\r\ndata: 1\n\n\r\n");
        go.send(()).unwrap();
    }
    assert_eq!(wire.exactly(5).await, b"0\r\n\r\n");
}

async fn duplicated_request_reaches_the_upstream_twice(pair: Pair) {
    let mut upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_fault(&upstream, "{duplicate: {}}");
    let mut client = squall.client(pair.down).await;
    let request = Request::post("/fault", Body::sized("amount=1")).field("x-kept", "1");
    client.ask(&request).await.assert(200, "ok");
    for _ in 0..2 {
        let seen = upstream.next().await;
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/fault"));
        assert_eq!(seen.body, b"amount=1");
        assert_eq!(seen.fields.get("x-kept"), Some("1"));
    }
    upstream.assert_no_more();
    squall.injected("duplicate").await;
    squall.counted(200).await;
    client.get("/next").await.assert(200, "ok");
    squall.assert_nobody_gone();
}
each!(duplicated_request_reaches_the_upstream_twice);

#[tokio::test]
async fn large_request_is_sent_once() {
    let mut upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_fault(&upstream, "{duplicate: {limit: 1KiB}}");
    let request = Request::post("/fault", Body::sized(vec![b'x'; 5000]));
    squall.ask(Protocol::H1, &request).await.assert(200, "ok");
    assert_eq!(upstream.next().await.body.len(), 5000);
    squall.skipped("duplicate", "body too large").await;
    upstream.assert_no_more();
}
