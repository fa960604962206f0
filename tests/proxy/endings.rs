//! `close`, `reset` and `hang`: a request ends without an answer, exactly so and counted once.

use std::time::{Duration, Instant};

use super::support::client::{Client, H2Client, read};
use super::support::message::{Answer, Body, Ending, Request};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::{Pair, Protocol, each, pattern};

const LIMIT: Duration = Duration::from_millis(150);

async fn origin(protocol: Protocol) -> Upstream {
    Upstream::answering(protocol, Answer::ok(Body::sized("natural"))).await
}

/// Asks for `/fault`, gets no answer but this end, and the fault is counted once; whether the upstream was asked.
async fn ends(pair: Pair, name: &str, fault: &str, request: Request, ending: Ending) -> bool {
    let mut upstream = origin(pair.up).await;
    let squall = Squall::with_fault(&upstream, fault);
    squall.ask(pair.down, &request).await.assert_none(ending);
    squall.counted(0).await;
    squall.injected(name).await;
    squall.assert_nobody_gone();
    assert_eq!(squall.metric("squall_upstream_errors_total", &[]), 0.0);
    squall.until("squall_connections", &[], 0.0).await;
    let before_request = !fault.contains("response");
    if before_request {
        upstream.assert_no_more();
    } else {
        assert_eq!(upstream.next().await.target, "/fault");
    }
    before_request
}

fn stream(down: Protocol, reason: h2::Reason) -> Ending {
    match down {
        Protocol::H1 => Ending::Reset,
        Protocol::H2 => Ending::Stream(reason),
    }
}

async fn close_ends_the_connection(pair: Pair) {
    ends(pair, "close", "{close: {}}", Request::get("/fault"), Ending::Closed).await;
}
each!(close_ends_the_connection);

async fn close_of_an_upload_ends_the_connection(pair: Pair) {
    let request = Request::post("/fault", Body::sized("a small body"));
    ends(pair, "close", "{close: {}}", request, Ending::Closed).await;
}
each!(close_of_an_upload_ends_the_connection { h1_to_h1 h2_to_h1 });

async fn close_before_the_response_loses_it(pair: Pair) {
    let fault = "{close: {before: response}}";
    ends(pair, "close", fault, Request::get("/fault"), Ending::Closed).await;
}
each!(close_before_the_response_loses_it);

async fn reset_is_an_rst(pair: Pair) {
    let ending = stream(pair.down, h2::Reason::INTERNAL_ERROR);
    ends(pair, "reset", "{reset: {}}", Request::get("/fault"), ending).await;
}
each!(reset_is_an_rst);

async fn reset_has_the_code(pair: Pair) {
    let ending = stream(pair.down, h2::Reason::REFUSED_STREAM);
    ends(
        pair,
        "reset",
        "{reset: {code: REFUSED_STREAM}}",
        Request::get("/fault"),
        ending,
    )
    .await;
}
each!(reset_has_the_code { h1_to_h1 h2_to_h1 });

async fn reset_before_the_response_loses_it(pair: Pair) {
    let ending = stream(pair.down, h2::Reason::CANCEL);
    let fault = "{reset: {code: CANCEL, before: response}}";
    ends(pair, "reset", fault, Request::get("/fault"), ending).await;
}
each!(reset_before_the_response_loses_it);

async fn reset_of_an_upload(pair: Pair) {
    let ending = stream(pair.down, h2::Reason::INTERNAL_ERROR);
    let request = Request::post("/fault", Body::sized(pattern(1000)));
    ends(pair, "reset", "{reset: {}}", request, ending).await;
}
each!(reset_of_an_upload { h1_to_h1 h2_to_h1 });

async fn hang_ends_at_its_limit(pair: Pair) {
    let began = Instant::now();
    let fault = "{hang: {limit: 150ms}}";
    ends(pair, "hang", fault, Request::get("/fault"), Ending::Closed).await;
    assert!(began.elapsed() >= LIMIT);
}
each!(hang_ends_at_its_limit);

#[tokio::test]
async fn reset_of_a_stream_leaves_its_siblings() {
    let upstream = origin(Protocol::H1).await;
    let squall = Squall::with_fault(&upstream, "{reset: {code: ENHANCE_YOUR_CALM}}");
    let client = H2Client::connect(squall.address).await;
    for _ in 0..3 {
        let reset = client.get("/fault").await;
        reset.assert_none(Ending::Stream(h2::Reason::ENHANCE_YOUR_CALM));
        client.get("/next").await.assert(200, "natural");
    }
    assert!(client.is_open());
}

#[tokio::test]
async fn close_ends_all_streams_of_a_connection() {
    let upstream = Upstream::h2(|call| async move {
        let _keeps_it_open = call;
        std::future::pending().await
    })
    .await;
    let squall = Squall::with_fault(&upstream, "{close: {}}");
    let mut client = H2Client::connect(squall.address).await;
    let (sibling, _) = client.open(&Request::get("/other"), true).await.unwrap();
    client.get("/fault").await.assert_none(Ending::Closed);
    read(sibling).await.assert_none(Ending::Closed);
    assert_eq!(client.end().await, Ending::Closed);
    squall.injected("close").await;
}

/// A hanging stream does not hold up the others.
#[tokio::test]
async fn siblings_of_a_hanging_stream_go_on() {
    let upstream = origin(Protocol::H1).await;
    let squall = Squall::with_fault(&upstream, "{hang: {}}");
    let client = H2Client::connect(squall.address).await;
    let (_hangs, _) = client.open(&Request::get("/fault"), true).await.unwrap();
    squall.until("squall_requests_held", &[], 1.0).await;
    for _ in 0..3 {
        client.get("/next").await.assert(200, "natural");
    }
    squall.until("squall_faults_active", &["rule=\"r\""], 1.0).await;
    client.leave();
    squall.clients_gone(1).await;
    squall.injected("hang").await;
}

async fn client_disconnect_while_held_frees_everything(down: Protocol) {
    let upstream = origin(Protocol::H1).await;
    let squall = Squall::with_fault(&upstream, "{hang: {}}");
    match squall.client(down).await {
        Client::H1(mut wire) => {
            wire.write(Request::get("/fault").wire()).await;
            squall.until("squall_requests_held", &[], 1.0).await;
            drop(wire);
        }
        Client::H2(client) => {
            let (_response, mut stream) = client.open(&Request::get("/fault"), true).await.unwrap();
            squall.until("squall_requests_held", &[], 1.0).await;
            stream.send_reset(h2::Reason::CANCEL);
            squall.until("squall_requests_held", &[], 0.0).await;
            client.leave();
        }
    }
    squall.injected("hang").await;
    squall.clients_gone(1).await;
    squall.counted(0).await;
    squall.until("squall_connections", &[], 0.0).await;
}
each!(client_disconnect_while_held_frees_everything { h1 h2 });

/// A client whose body is partly unread is seen leaving all the same.
#[tokio::test]
async fn client_disconnect_with_an_unread_body_frees_everything() {
    let upstream = origin(Protocol::H1).await;
    let squall = Squall::with_fault(&upstream, "{hang: {}}");
    let mut wire = squall.wire().await;
    let request = Request::post("/fault", Body::sized(pattern(100_000)));
    wire.write(request.head()).await;
    wire.write(&request.body.bytes()[..50_000]).await;
    squall.until("squall_requests_held", &[], 1.0).await;
    drop(wire);
    squall.clients_gone(1).await;
    squall.injected("hang").await;
}

async fn goaway_answers_and_ends_the_connection(pair: Pair) {
    let upstream = origin(pair.up).await;
    let squall = Squall::with_fault(&upstream, "{goaway: {}}");
    let mut client = squall.client(pair.down).await;
    client.get("/next").await.assert(200, "natural");
    let last = client.get("/fault").await;
    last.assert(200, "natural");
    let close = (pair.down == Protocol::H1).then_some("close");
    assert_eq!(last.field("connection"), close, "RFC 9112, section 9.6");
    assert_eq!(client.end().await, Ending::Closed);
    squall.injected("goaway").await;
    squall.assert_nobody_gone();
    squall.until("squall_connections", &[], 0.0).await;
}
each!(goaway_answers_and_ends_the_connection);

/// An answer of squall's own is the last one too.
async fn goaway_goes_with_an_abort(down: Protocol) {
    let upstream = origin(Protocol::H1).await;
    let squall = Squall::with_fault(&upstream, "{goaway: {}}, {abort: 503}");
    let mut client = squall.client(down).await;
    assert_eq!(client.get("/fault").await.status, 503);
    assert_eq!(client.end().await, Ending::Closed);
    squall.injected("goaway").await;
    squall.injected("abort").await;
}
each!(goaway_goes_with_an_abort { h1 h2 });

/// RFC 9113, section 6.8: streams that were opened before GOAWAY go on.
#[tokio::test]
async fn goaway_leaves_the_siblings_of_a_stream() {
    let upstream = origin(Protocol::H1).await;
    let rules = "[{name: slow, match: {path: /slow}, faults: [delay: 300ms]}, {name: r, match: {path: /fault}, faults: [goaway: {}]}]";
    let squall = Squall::with_rules(&upstream, rules);
    let mut client = H2Client::connect(squall.address).await;
    let (slow, _) = client.open(&Request::get("/slow"), true).await.unwrap();
    client.get("/fault").await.assert(200, "natural");
    read(slow).await.assert(200, "natural");
    assert_eq!(client.end().await, Ending::Closed);
    squall.injected("goaway").await;
}

async fn connection_fault(fault: &str) -> (Squall, Upstream) {
    let upstream = origin(Protocol::H1).await;
    let squall = Squall::with_rules(&upstream, &format!("[{{name: r, faults: [{fault}]}}]"));
    (squall, upstream)
}

#[tokio::test]
async fn close_before_the_connection_is_a_fin() {
    let (squall, _upstream) = connection_fault("{close: {before: connection}}").await;
    assert_eq!(squall.wire().await.end().await, (Vec::new(), Ending::Closed));
    squall.injected("close").await;
    assert_eq!(squall.metric("squall_requests_total", &[]), 0.0);
}

#[tokio::test]
async fn reset_before_the_connection_is_an_rst() {
    let (squall, _upstream) = connection_fault("{reset: {before: connection}}").await;
    assert_eq!(squall.wire().await.end().await, (Vec::new(), Ending::Reset));
    squall.injected("reset").await;
}

#[tokio::test]
async fn hang_before_the_connection_ends_at_its_limit() {
    let (squall, mut upstream) = connection_fault("{hang: {before: connection, limit: 150ms}}").await;
    let began = Instant::now();
    let mut wire = squall.wire().await;
    wire.write(Request::get("/").wire()).await;
    assert_eq!(wire.end().await.0, b"");
    assert!(began.elapsed() >= LIMIT);
    squall.injected("hang").await;
    upstream.assert_no_more();
}

#[tokio::test]
async fn first_fault_that_ends_the_request_ends_the_list() {
    let upstream = origin(Protocol::H1).await;
    let squall = Squall::with_fault(&upstream, "{delay: 20ms}, {abort: 418}, {reset: {}}, {abort: 500}");
    let response = squall.ask(Protocol::H1, &Request::get("/fault")).await;
    response.assert(418, "");
    squall.injected("delay").await;
    squall.injected("abort").await;
    assert_eq!(squall.metric("squall_faults_injected_total", &[]), 2.0);
}
