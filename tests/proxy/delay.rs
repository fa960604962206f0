//! `delay`: waits at the stated place, never shorter than asked, and frees everything when the client leaves.

use std::time::{Duration, Instant};

use super::support::client::Client;
use super::support::message::{Answer, Body, Ending, Request};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::{Pair, Protocol, each, pattern};

const DELAY: Duration = Duration::from_millis(120);

/// Asks through a delay: a natural answer, late and revealed, and an upstream that was asked once.
async fn delayed(pair: Pair, fault: &str, request: Request) {
    let answer = Answer::ok(Body::sized(pattern(5000)));
    let mut upstream = Upstream::answering(pair.up, answer).await;
    let squall = Squall::with_fault(&upstream, fault);
    let mut client = squall.client(pair.down).await;
    let began = Instant::now();
    let response = client.ask(&request).await;
    let took = began.elapsed();
    response.assert(200, pattern(5000));
    assert!(took >= DELAY, "{took:?}");
    assert!(response.field("squall-fault").unwrap().contains("fault=delay"));
    squall.counted(200).await;
    squall.injected("delay").await;
    assert_eq!(
        squall.metric("squall_injected_delay_seconds_count", &["rule=\"r\""]),
        1.0
    );
    let seen = upstream.next().await;
    assert_eq!(seen.body, &request.body.bytes()[..]);
    client.get("/next").await.assert(200, pattern(5000));
    squall.assert_nobody_gone();
}

async fn delay_of_a_request(pair: Pair) {
    delayed(pair, "{delay: 120ms}", Request::get("/fault")).await;
}
each!(delay_of_a_request);

async fn delay_of_an_upload(pair: Pair) {
    let request = Request::post("/fault", Body::sized(pattern(200_000)));
    delayed(pair, "{delay: 120ms}", request).await;
}
each!(delay_of_an_upload);

async fn delay_before_the_response(pair: Pair) {
    delayed(
        pair,
        "{delay: {fixed: 120ms, before: response}}",
        Request::get("/fault"),
    )
    .await;
}
each!(delay_before_the_response);

async fn delay_before_the_response_of_an_upload(pair: Pair) {
    let request = Request::post("/fault", Body::sized(pattern(200_000)));
    delayed(pair, "{delay: {fixed: 120ms, before: response}}", request).await;
}
each!(delay_before_the_response_of_an_upload);

async fn delay_before_the_body(pair: Pair) {
    delayed(pair, "{delay: {fixed: 120ms, before: body}}", Request::get("/fault")).await;
}
each!(delay_before_the_body);

async fn delay_before_the_body_of_the_request(pair: Pair) {
    let fault = "{delay: {fixed: 120ms, before: body, direction: request}}";
    delayed(pair, fault, Request::post("/fault", Body::sized("a body"))).await;
}
each!(delay_before_the_body_of_the_request);

async fn delays_add_up(pair: Pair) {
    delayed_by_two(pair).await;
}
each!(delays_add_up { h1_to_h1 h2_to_h2 });

async fn delayed_by_two(pair: Pair) {
    let upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("ok"))).await;
    let rules = "[{name: a, faults: [{delay: 60ms}]}, {name: b, faults: [{delay: {fixed: 60ms, before: response}}]}]";
    let squall = Squall::with_rules(&upstream, rules);
    let began = Instant::now();
    squall.ask(pair.down, &Request::get("/")).await.assert(200, "ok");
    assert!(began.elapsed() >= DELAY);
    squall.until("squall_faults_injected_total", &["rule=\"a\""], 1.0).await;
    squall.until("squall_faults_injected_total", &["rule=\"b\""], 1.0).await;
}

/// The head is there at once: only the body waits.
#[tokio::test]
async fn head_leaves_before_a_delayed_body() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("late"))).await;
    let squall = Squall::with_fault(&upstream, "{delay: {fixed: 5s, before: body}}");
    let mut wire = squall.wire().await;
    wire.write(Request::get("/fault").wire()).await;
    let began = Instant::now();
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    assert!(began.elapsed() < Duration::from_secs(4));
    drop(wire);
    squall.clients_gone(1).await;
    squall.until("squall_faults_active", &[], 0.0).await;
}

/// Waits until the upstream was asked or not, and leaves.
async fn leave_while_delayed(pair: Pair, fault: &str) -> (Squall, Upstream) {
    let upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_fault(&upstream, fault);
    match squall.client(pair.down).await {
        Client::H1(mut wire) => {
            wire.write(Request::get("/fault").wire()).await;
            squall.until("squall_requests_held", &[], 1.0).await;
            drop(wire);
        }
        Client::H2(client) => {
            let _opened = client.open(&Request::get("/fault"), true).await.unwrap();
            squall.until("squall_requests_held", &[], 1.0).await;
            client.leave();
        }
    }
    squall.injected("delay").await;
    squall.clients_gone(1).await;
    squall.counted(0).await;
    squall.until("squall_connections", &[], 0.0).await;
    (squall, upstream)
}

async fn client_disconnect_while_delayed_asks_no_upstream(pair: Pair) {
    let (_squall, mut upstream) = leave_while_delayed(pair, "{delay: 1m}").await;
    upstream.assert_no_more();
}
each!(client_disconnect_while_delayed_asks_no_upstream { h1_to_h1 h2_to_h1 });

async fn client_disconnect_while_its_response_is_delayed_frees_everything(pair: Pair) {
    let fault = "{delay: {fixed: 1m, before: response}}";
    let (_squall, mut upstream) = leave_while_delayed(pair, fault).await;
    assert_eq!(upstream.next().await.target, "/fault");
}
each!(client_disconnect_while_its_response_is_delayed_frees_everything);

async fn siblings_of_a_delayed_stream_go_on(up: Protocol) {
    let upstream = Upstream::answering(up, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_fault(&upstream, "{delay: 300ms}");
    let client = super::support::client::H2Client::connect(squall.address).await;
    let (fault, next) = (Request::get("/fault"), Request::get("/next"));
    let began = Instant::now();
    let delayed = async {
        client.ask(&fault).await.assert(200, "ok");
        began.elapsed()
    };
    let quick = async {
        client.ask(&next).await.assert(200, "ok");
        began.elapsed()
    };
    let (delayed, quick) = tokio::join!(delayed, quick);
    assert!(delayed >= Duration::from_millis(300));
    assert!(quick < delayed);
}
each!(siblings_of_a_delayed_stream_go_on { h1 h2 });

/// `floor` fills natural time up, `add` comes on top of it.
async fn slow_origin() -> Upstream {
    Upstream::h1(|_, mut wire| async move {
        while wire.reader().head().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await
}

async fn time_of(fault: &str) -> Duration {
    let upstream = slow_origin().await;
    let squall = Squall::with_fault(&upstream, fault);
    let began = Instant::now();
    squall
        .ask(Protocol::H1, &Request::get("/fault"))
        .await
        .assert(200, "ok");
    began.elapsed()
}

#[tokio::test]
async fn floor_raises_natural_time() {
    let took = time_of("{delay: {fixed: 200ms, mode: floor}}").await;
    assert!(took >= Duration::from_millis(200), "{took:?}");
}

#[tokio::test]
async fn total_raises_the_whole_time() {
    let took = time_of("{delay: {fixed: 200ms, mode: total}}").await;
    assert!(took >= Duration::from_millis(200), "{took:?}");
}

#[tokio::test]
async fn add_comes_on_top_of_natural_time() {
    let took = time_of("{delay: 200ms}").await;
    assert!(took >= Duration::from_millis(300), "{took:?}");
}

#[tokio::test]
async fn delay_before_the_connection_holds_all_of_it() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_rules(
        &upstream,
        "[{name: r, faults: [{delay: {fixed: 120ms, before: connection}}]}]",
    );
    for down in [Protocol::H1, Protocol::H2] {
        let began = Instant::now();
        squall.ask(down, &Request::get("/")).await.assert(200, "ok");
        assert!(began.elapsed() >= DELAY);
    }
    squall.until("squall_faults_injected_total", &["rule=\"r\""], 2.0).await;
}

/// An expectation is answered when the upstream does so, after the delay.
#[tokio::test]
async fn delayed_expectation_gets_its_leave() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok")).interim(100, &[])).await;
    let squall = Squall::with_fault(&upstream, "{delay: 120ms}");
    let mut wire = squall.wire().await;
    let began = Instant::now();
    wire.write("POST /fault HTTP/1.1\r\nHost: origin.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    assert!(wire.head().await.starts_with("HTTP/1.1 100 "));
    assert!(began.elapsed() >= DELAY);
    wire.write("hello").await;
    wire.response("POST").await.assert(200, "ok");
}

#[tokio::test]
async fn delayed_upgrade_is_made() {
    let upstream = Upstream::h1(|_, mut wire| async move {
        wire.head().await;
        wire.write(super::support::websocket::ACCEPTED).await;
        let piece = wire.exactly(4).await;
        wire.write(piece).await;
    })
    .await;
    let squall = Squall::with_fault(&upstream, "{delay: 120ms}, {delay: {fixed: 1ms, before: response}}");
    let mut wire = squall.wire().await;
    let began = Instant::now();
    wire.write(super::support::websocket::HANDSHAKE).await;
    assert_eq!(wire.response("GET").await.status, 101);
    assert!(began.elapsed() >= DELAY);
    wire.write("ping").await;
    assert_eq!(wire.end().await, (b"ping".to_vec(), Ending::Closed));
}
