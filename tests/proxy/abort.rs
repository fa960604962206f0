//! `abort`: squall answers by itself, and the connection goes on.

use super::support::message::{Answer, Body, Ending, Request, Response};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::{Pair, Protocol, each, pattern};

async fn origin(protocol: Protocol) -> Upstream {
    Upstream::answering(protocol, Answer::ok(Body::sized("natural"))).await
}

/// Asks for `/fault` and then for another path over the same connection; the fault is counted once.
async fn aborted(down: Protocol, fault: &str, request: Request) -> Response {
    let mut upstream = origin(Protocol::H1).await;
    let squall = Squall::with_fault(&upstream, fault);
    let mut client = squall.client(down).await;
    let response = client.ask(&request).await;
    let status = response.status;
    assert_eq!(response.ending, Ending::Whole);
    let revealed = response.field("squall-fault").unwrap();
    assert!(revealed.starts_with("rule=\"r\", fault=abort"), "{revealed}");
    squall.counted(status).await;
    squall.injected("abort").await;
    upstream.assert_no_more();
    client.get("/next").await.assert(200, "natural");
    squall.assert_nobody_gone();
    response
}

async fn status_alone_is_an_answer(down: Protocol) {
    let response = aborted(down, "{abort: 503}", Request::get("/fault")).await;
    response.assert(503, "");
    assert_eq!(response.field("content-length"), Some("0"));
}
each!(status_alone_is_an_answer { h1 h2 });

async fn text_of_an_abort_is_its_body(down: Protocol) {
    let fault = "{abort: {status: 418, body: short and stout, headers: {x-kind: teapot}}}";
    let response = aborted(down, fault, Request::get("/fault")).await;
    response.assert(418, "short and stout");
    assert_eq!(response.field("content-length"), Some("15"));
    assert_eq!(response.field("x-kind"), Some("teapot"));
    assert!(response.field("content-type").unwrap().starts_with("text/plain"));
}
each!(text_of_an_abort_is_its_body { h1 h2 });

async fn json_of_an_abort_is_its_body(down: Protocol) {
    let fault = "{abort: {status: 503, retry_after: 1500ms, json: {error: overloaded}}}";
    let response = aborted(down, fault, Request::get("/fault")).await;
    response.assert(503, r#"{"error":"overloaded"}"#);
    assert_eq!(response.field("content-type"), Some("application/json"));
    assert_eq!(response.field("retry-after"), Some("2"));
}
each!(json_of_an_abort_is_its_body { h1 h2 });

async fn abort_of_head_has_the_length_and_no_body(down: Protocol) {
    let fault = "{abort: {status: 503, body: twelve bytes}}";
    let response = aborted(down, fault, Request::new("HEAD", "/fault")).await;
    response.assert(503, "");
    assert_eq!(response.field("content-length"), Some("12"));
}
each!(abort_of_head_has_the_length_and_no_body { h1 h2 });

async fn bodiless_statuses_have_no_body(down: Protocol, status: u16) {
    let response = aborted(down, &format!("{{abort: {status}}}"), Request::get("/fault")).await;
    response.assert(status, "");
    if status != 205 {
        assert_eq!(response.field("content-length"), None);
    }
    assert_eq!(response.field("transfer-encoding"), None);
}

async fn abort_with_204(down: Protocol) {
    bodiless_statuses_have_no_body(down, 204).await;
}
each!(abort_with_204 { h1 h2 });

async fn abort_with_205(down: Protocol) {
    bodiless_statuses_have_no_body(down, 205).await;
}
each!(abort_with_205 { h1 h2 });

async fn abort_with_304(down: Protocol) {
    bodiless_statuses_have_no_body(down, 304).await;
}
each!(abort_with_304 { h1 h2 });

/// The upload has not been read yet: over HTTP/2 its stream ends, and the connection goes on.
async fn abort_of_a_large_upload_arrives(down: Protocol) {
    let mut upstream = origin(Protocol::H1).await;
    let squall = Squall::with_fault(&upstream, "{abort: {status: 413, body: big}}");
    let request = Request::post("/fault", Body::sized(pattern(4 << 20)));
    squall.ask(down, &request).await.assert(413, "big");
    squall.counted(413).await;
    squall.injected("abort").await;
    squall.assert_nobody_gone();
    upstream.assert_no_more();
}
each!(abort_of_a_large_upload_arrives { h1 h2 });

/// A small body that came with its head is no reason to end the connection.
async fn abort_of_a_small_upload_keeps_the_connection(down: Protocol) {
    let request = Request::post("/fault", Body::sized("a small body"));
    aborted(down, "{abort: 503}", request).await.assert(503, "");
}
each!(abort_of_a_small_upload_keeps_the_connection {
    h1
    h2
});

#[tokio::test]
async fn abort_answers_an_expectation_without_100() {
    let upstream = origin(Protocol::H1).await;
    let squall = Squall::with_fault(&upstream, "{abort: 503}");
    let mut wire = squall.wire().await;
    wire.write("POST /fault HTTP/1.1\r\nHost: origin.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    let response = wire.response("POST").await;
    response.assert(503, "");
    assert!(response.interim.is_empty());
    squall.injected("abort").await;
}

#[tokio::test]
async fn abort_over_http10_ends_the_connection() {
    let upstream = origin(Protocol::H1).await;
    let squall = Squall::with_fault(&upstream, "{abort: {status: 503, body: no}}");
    let mut wire = squall.wire().await;
    wire.write("GET /fault HTTP/1.0\r\nHost: origin.test\r\n\r\n").await;
    wire.response("GET").await.assert(503, "no");
    assert_eq!(wire.end().await, (Vec::new(), Ending::Closed));
    squall.injected("abort").await;
}

#[tokio::test]
async fn pipelined_requests_are_aborted_each_by_itself() {
    let upstream = origin(Protocol::H1).await;
    let squall = Squall::with_fault(&upstream, "{abort: {status: 503, body: no}}");
    let mut wire = squall.wire().await;
    let all = ["/fault", "/next", "/fault/2", "/next"].map(|target| Request::get(target).wire());
    wire.write(all.concat()).await;
    for (status, body) in [(503, "no"), (200, "natural"), (503, "no"), (200, "natural")] {
        wire.response("GET").await.assert(status, body);
    }
    squall
        .until("squall_faults_injected_total", &["rule=\"r\"", "fault=\"abort\""], 2.0)
        .await;
}

/// The upstream has done its work, and its answer is replaced.
async fn abort_before_the_response_replaces_it(pair: Pair) {
    let mut upstream = origin(pair.up).await;
    let squall = Squall::with_fault(&upstream, "{abort: {status: 502, body: replaced, before: response}}");
    let response = squall.ask(pair.down, &Request::get("/fault")).await;
    response.assert(502, "replaced");
    assert!(response.field("squall-fault").is_some());
    assert_eq!(upstream.next().await.target, "/fault");
    squall.counted(502).await;
    squall.injected("abort").await;
    squall.assert_nobody_gone();
    assert_eq!(squall.metric("squall_upstream_errors_total", &[]), 0.0);
}
each!(abort_before_the_response_replaces_it);

/// Without a body the head is all, and ends the stream.
async fn bodiless_abort_before_the_response_ends(pair: Pair, method: &str, status: u16) {
    let upstream = origin(pair.up).await;
    let squall = Squall::with_fault(&upstream, &format!("{{abort: {{status: {status}, before: response}}}}"));
    let response = squall.ask(pair.down, &Request::new(method, "/fault")).await;
    response.assert(status, "");
    squall.counted(status).await;
    squall.injected("abort").await;
    squall.assert_nobody_gone();
}

async fn empty_abort_before_the_response_ends(pair: Pair) {
    bodiless_abort_before_the_response_ends(pair, "GET", 502).await;
}
each!(empty_abort_before_the_response_ends {
    h1_to_h1
    h1_to_h2
    h2_to_h1
    h2_to_h2
});

async fn abort_with_204_before_the_response_ends(pair: Pair) {
    bodiless_abort_before_the_response_ends(pair, "GET", 204).await;
}
each!(abort_with_204_before_the_response_ends {
    h1_to_h1
    h1_to_h2
    h2_to_h1
    h2_to_h2
});

async fn abort_of_head_before_the_response_ends(pair: Pair) {
    bodiless_abort_before_the_response_ends(pair, "HEAD", 502).await;
}
each!(abort_of_head_before_the_response_ends {
    h1_to_h1
    h1_to_h2
    h2_to_h1
    h2_to_h2
});

async fn abort_before_the_response_keeps_the_connection(down: Protocol) {
    let upstream = origin(Protocol::H1).await;
    let squall = Squall::with_fault(&upstream, "{abort: {status: 502, body: x, before: response}}");
    let mut client = squall.client(down).await;
    client.get("/fault").await.assert(502, "x");
    client.get("/next").await.assert(200, "natural");
    client.get("/fault").await.assert(502, "x");
}
each!(abort_before_the_response_keeps_the_connection {
    h1
    h2
});

async fn siblings_of_an_aborted_stream_go_on(up: Protocol) {
    let upstream = origin(up).await;
    let squall = Squall::with_fault(&upstream, "{abort: 503}");
    let client = super::support::client::H2Client::connect(squall.address).await;
    let (fault, next) = (Request::get("/fault"), Request::get("/next"));
    let (one, two, three, four) = tokio::join!(
        client.ask(&fault),
        client.ask(&next),
        client.ask(&fault),
        client.ask(&next)
    );
    one.assert(503, "");
    two.assert(200, "natural");
    three.assert(503, "");
    four.assert(200, "natural");
}
each!(siblings_of_an_aborted_stream_go_on { h1 h2 });
