//! `rewrite`: heads and bodies are changed, lengths fit, and what can't be edited passes as it is.

use super::support::message::{Answer, Body, Ending, Request, Response};
use super::support::squall::{Squall, configuration, fault_rule};
use super::support::upstream::Upstream;
use super::support::{Pair, Protocol, each, pattern};

const JSON: &str = r#"{"id":1,"price":20}"#;

fn json() -> Answer {
    Answer::ok(Body::sized(JSON))
        .field("content-type", "application/json")
        .field("x-old", "1")
        .field("etag", "\"tag\"")
}

/// The rewritten response; the connection is good for another, natural one.
async fn rewritten(pair: Pair, answer: Answer, fault: &str) -> Response {
    let upstream = Upstream::answering(pair.up, answer.clone()).await;
    let squall = Squall::with_fault(&upstream, fault);
    let mut client = squall.client(pair.down).await;
    let response = client.get("/fault").await;
    assert_eq!(response.ending, Ending::Whole);
    squall.counted(response.status).await;
    squall.injected("rewrite").await;
    client.get("/next").await.assert(answer.status, answer.body.bytes());
    squall.assert_nobody_gone();
    response
}

async fn heads(pair: Pair) {
    let fault = "{rewrite: {status: 203, headers: {set: {x-new: \"2\"}, add: {x-more: \"3\"}, remove: x-old}}}";
    let response = rewritten(pair, json(), fault).await;
    response.assert(203, JSON);
    assert_eq!(response.field("x-new"), Some("2"));
    assert_eq!(response.field("x-more"), Some("3"));
    assert_eq!(response.field("x-old"), None);
}
each!(heads);

async fn whole_new_body(pair: Pair) {
    let response = rewritten(pair, json(), "{rewrite: {body: something else}}").await;
    response.assert(200, "something else");
    assert_eq!(response.field("content-length"), Some("14"));
    assert_eq!(response.field("etag"), None);
}
each!(whole_new_body);

async fn whole_new_body_in_place_of_a_large_one(pair: Pair) {
    let answer = Answer::ok(Body::sized(pattern(300_000)));
    rewritten(pair, answer, "{rewrite: {json: {a: 1}}}")
        .await
        .assert(200, r#"{"a":1}"#);
}
each!(whole_new_body_in_place_of_a_large_one);

async fn replaced_parts(pair: Pair) {
    let fault = r#"{rewrite: {replace: [{find: '"price":(\d+)', with: '"price":-$1'}]}}"#;
    let response = rewritten(pair, json(), fault).await;
    response.assert(200, r#"{"id":1,"price":-20}"#);
    assert_eq!(response.field("content-length"), Some("20"));
}
each!(replaced_parts);

async fn replaced_parts_of_a_chunked_body(pair: Pair) {
    let answer = Answer::ok(Body::chunked("one two three"));
    let fault = "{rewrite: {replace: [{find: two, with: \"2\"}]}}";
    rewritten(pair, answer, fault).await.assert(200, "one 2 three");
}
each!(replaced_parts_of_a_chunked_body);

async fn patched_json(pair: Pair) {
    let fault = "{rewrite: {json_patch: [{op: remove, path: /id}]}}";
    let response = rewritten(pair, json(), fault).await;
    let value: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(value, serde_json::json!({"price": 20}));
}
each!(patched_json);

async fn numbers_that_a_patch_does_not_name(pair: Pair) {
    let kept = r#""a":18446744073709551617,"b":19.990,"c":1E3,"d":-0,"e":1e400,"f":"\ud800""#;
    let answer = Answer::ok(Body::sized(format!("{{\"id\":1,{kept}}}"))).field("content-type", "application/json");
    let fault = "{rewrite: {json_patch: [{op: remove, path: /id}]}}";
    rewritten(pair, answer, fault).await.assert(200, format!("{{{kept}}}"));
}
each!(numbers_that_a_patch_does_not_name);

/// HTTP/1 has trailers only after chunks, and the new body has a length.
async fn trailers_are_not_announced_where_none_follow(pair: Pair) {
    let answer = Answer::ok(Body::chunked("one two"))
        .field("trailer", "x-sum")
        .trailer("x-sum", "42");
    let fault = "{rewrite: {replace: [{find: two, with: \"2\"}]}}";
    let response = rewritten(pair, answer, fault).await;
    response.assert(200, "one 2");
    let announced = (pair.down == Protocol::H2).then_some("x-sum");
    assert_eq!(response.field("trailer"), announced);
}
each!(trailers_are_not_announced_where_none_follow);

async fn new_body_of_an_answer_to_head(pair: Pair) {
    let upstream = Upstream::answering(pair.up, json()).await;
    let squall = Squall::with_fault(&upstream, "{rewrite: {body: something else}}");
    let mut client = squall.client(pair.down).await;
    let response = client.ask(&Request::new("HEAD", "/fault")).await;
    response.assert(200, "");
    assert_eq!(response.field("content-length"), Some("14"));
    client.get("/next").await.assert(200, JSON);
}
each!(new_body_of_an_answer_to_head);

async fn passes(pair: Pair, answer: Answer, fault: &str, reason: &str) {
    let upstream = Upstream::answering(pair.up, answer.clone()).await;
    let squall = Squall::with_fault(&upstream, fault);
    let mut client = squall.client(pair.down).await;
    client.get("/fault").await.assert(answer.status, answer.body.bytes());
    squall.skipped("rewrite", reason).await;
    client.get("/next").await.assert(answer.status, answer.body.bytes());
}

async fn body_that_is_too_large_passes(pair: Pair) {
    let answer = Answer::ok(Body::sized(pattern(50_000)));
    let fault = "{rewrite: {replace: [{find: x, with: y}], limit: 1KiB}}";
    passes(pair, answer, fault, "body too large").await;
}
each!(body_that_is_too_large_passes);

async fn encoded_body_passes(pair: Pair) {
    let answer = Answer::ok(Body::sized("not really gzip")).field("content-encoding", "gzip");
    passes(pair, answer, "{rewrite: {replace: [{find: x, with: y}]}}", "encoded").await;
}
each!(encoded_body_passes { h1_to_h1 h2_to_h2 });

async fn answer_without_a_body_passes(pair: Pair) {
    passes(pair, Answer::new(204), "{rewrite: {body: x}}", "no body").await;
}
each!(answer_without_a_body_passes);

async fn body_that_breaks_off_is_no_clean_end(pair: Pair) {
    let answer = Answer::ok(Body::sized(pattern(50_000))).broken(20_000, Ending::Closed);
    let upstream = Upstream::answering(pair.up, answer).await;
    let squall = Squall::with_fault(&upstream, "{rewrite: {replace: [{find: x, with: y}]}}");
    let response = squall.ask(pair.down, &Request::get("/fault")).await;
    assert!(response.status == 502 || response.ending != Ending::Whole);
    squall.skipped("rewrite", "body broke off").await;
}
each!(body_that_breaks_off_is_no_clean_end { h1_to_h1 h2_to_h1 });

async fn rewritten_request(pair: Pair, fault: &str, body: Body, wanted: &str) {
    let mut upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_fault(&upstream, fault);
    let mut client = squall.client(pair.down).await;
    let request = Request::post("/fault", body)
        .field("content-type", "application/json")
        .field("x-old", "1");
    client.ask(&request).await.assert(200, "ok");
    let seen = upstream.next().await;
    assert_eq!((seen.body.as_slice(), seen.ending), (wanted.as_bytes(), Ending::Whole));
    squall.injected("rewrite").await;
    client.get("/next").await.assert(200, "ok");
    squall.assert_nobody_gone();
}

async fn new_body_of_the_request(pair: Pair) {
    let fault = "{rewrite: {request: {body: something else}}}";
    rewritten_request(pair, fault, Body::sized(JSON), "something else").await;
}
each!(new_body_of_the_request);

async fn replaced_parts_of_the_request(pair: Pair) {
    let fault = "{rewrite: {request: {replace: [{find: '20', with: '2000'}]}}}";
    rewritten_request(pair, fault, Body::chunked(JSON), r#"{"id":1,"price":2000}"#).await;
}
each!(replaced_parts_of_the_request);

async fn fields_of_the_request(pair: Pair) {
    let mut upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("ok"))).await;
    let fault = "{rewrite: {request: {headers: {set: {x-new: \"2\"}, remove: x-old}}}}";
    let squall = Squall::with_fault(&upstream, fault);
    let request = Request::get("/fault").field("x-old", "1").field("x-kept", "3");
    squall.ask(pair.down, &request).await.assert(200, "ok");
    let seen = upstream.next().await.fields;
    assert_eq!((seen.get("x-new"), seen.get("x-old")), (Some("2"), None));
    assert_eq!(seen.get("x-kept"), Some("3"));
    squall.injected("rewrite").await;
}
each!(fields_of_the_request);

/// The upload waits for leave, the fault for the upload: squall has to give leave by itself.
#[tokio::test]
async fn rewrite_of_an_expected_request_gives_leave() {
    let mut upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_fault(&upstream, "{rewrite: {request: {replace: [{find: ell, with: E}]}}}");
    let mut wire = squall.wire().await;
    wire.write("POST /fault HTTP/1.1\r\nHost: origin.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    assert!(wire.head().await.starts_with("HTTP/1.1 100 "));
    wire.write("hello").await;
    wire.response("POST").await.assert(200, "ok");
    assert_eq!(upstream.next().await.body, b"hEo");
}

/// A configuration that lets whole bodies take 1 MiB in all.
fn tight(upstream: &Upstream, fault: &str) -> Squall {
    let more = "bounds: {bodies: 1MiB}\n";
    Squall::start(&format!("{}{more}", configuration(upstream, "{}", &fault_rule(fault))))
}

async fn response_beyond_the_bound_on_all_bodies_passes(pair: Pair) {
    let answer = Answer::ok(Body::chunked(pattern(3 << 20)));
    let upstream = Upstream::answering(pair.up, answer.clone()).await;
    let squall = tight(&upstream, "{rewrite: {replace: [{find: x, with: y}], limit: 4MiB}}");
    let mut client = squall.client(pair.down).await;
    client.get("/fault").await.assert(200, answer.body.bytes());
    squall.skipped("rewrite", "too many bodies held").await;
    squall.until("squall_bodies_bytes", &[], 0.0).await;
    client.get("/next").await.assert(200, answer.body.bytes());
    squall.assert_nobody_gone();
}
each!(response_beyond_the_bound_on_all_bodies_passes);

async fn request_beyond_the_bound_on_all_bodies_passes(pair: Pair) {
    let mut upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("ok"))).await;
    let faults = "{rewrite: {request: {replace: [{find: x, with: y}]}, limit: 4MiB}}, {duplicate: {limit: 4MiB}}";
    let squall = tight(&upstream, faults);
    let request = Request::post("/fault", Body::sized(pattern(3 << 20)));
    squall.ask(pair.down, &request).await.assert(200, "ok");
    assert_eq!(upstream.next().await.body, pattern(3 << 20));
    upstream.assert_no_more();
    squall.skipped("rewrite", "too many bodies held").await;
    squall.skipped("duplicate", "too many bodies held").await;
    squall.until("squall_bodies_bytes", &[], 0.0).await;
}
each!(request_beyond_the_bound_on_all_bodies_passes);

/// A body that takes long to arrive counts, with the copy that is made of it in the end.
#[tokio::test]
async fn bodies_of_all_requests_count_together() {
    let mut upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = tight(&upstream, "{rewrite: {request: {replace: [{find: l+, with: L}]}}}");
    let mut slow = squall.wire().await;
    slow.write("POST /fault HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 500001\r\n\r\n")
        .await;
    slow.write(vec![b'l'; 500_000]).await;
    squall.until("squall_bodies_bytes", &[], 1_000_002.0).await;
    let request = Request::post("/fault", Body::sized(vec![b'l'; 400_000]));
    squall.ask(Protocol::H1, &request).await.assert(200, "ok");
    assert_eq!(upstream.next().await.body, vec![b'l'; 400_000]);
    squall.skipped("rewrite", "too many bodies held").await;

    slow.write("l").await;
    slow.response("POST").await.assert(200, "ok");
    assert_eq!(upstream.next().await.body, b"L");
    squall.until("squall_bodies_bytes", &[], 0.0).await;
}

/// A fake has nothing to pass the body on to, so the client is told to try again.
#[tokio::test]
async fn uploads_to_fakes_count_too() {
    let squall = Squall::start(
        "listeners: {web: {address: \"127.0.0.1:0\", upstream: echo}}\nupstreams: {echo: {fake: echo}}\n\
         bounds: {bodies: 1MiB}\n",
    );
    for _ in 0..2 {
        let request = Request::post("/", Body::sized(vec![b'x'; 2 << 20]));
        let response = squall.ask(Protocol::H1, &request).await;
        assert_eq!(response.status, 503, "{}", response.text());
        assert!(response.text().contains("bounds.bodies"), "{}", response.text());
        let request = Request::post("/", Body::sized(vec![b'x'; 1 << 19]));
        assert_eq!(squall.ask(Protocol::H1, &request).await.status, 200);
        squall.until("squall_bodies_bytes", &[], 0.0).await;
    }
}
