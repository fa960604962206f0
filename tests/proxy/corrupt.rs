//! `corrupt`: changed bytes, never their number, or a message that lies about itself.

use super::support::message::{Answer, Body, Ending, Request};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::{Pair, Protocol, assert_same, each, pattern};

async fn all_bytes_of_the_response(pair: Pair) {
    let sent = pattern(50_000);
    let upstream = Upstream::answering(pair.up, Answer::ok(Body::sized(&sent))).await;
    let squall = Squall::with_fault(&upstream, "{corrupt: {bytes: 100%}}");
    let mut client = squall.client(pair.down).await;
    let response = client.get("/fault").await;
    assert_eq!((response.status, response.ending), (200, Ending::Whole));
    assert_eq!(response.body.len(), sent.len());
    assert!(response.body.iter().zip(&sent).all(|(got, sent)| got != sent));
    squall.injected("corrupt").await;
    client.get("/next").await.assert(200, sent);
    squall.assert_nobody_gone();
}
each!(all_bytes_of_the_response);

async fn all_bytes_of_the_request(pair: Pair) {
    let sent = pattern(50_000);
    let mut upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_fault(&upstream, "{corrupt: {bytes: 100%, direction: request}}");
    let request = Request::post("/fault", Body::sized(&sent));
    squall.ask(pair.down, &request).await.assert(200, "ok");
    let seen = upstream.next().await;
    assert_eq!((seen.body.len(), seen.ending), (sent.len(), Ending::Whole));
    assert!(seen.body.iter().zip(&sent).all(|(got, sent)| got != sent));
    squall.injected("corrupt").await;
}
each!(all_bytes_of_the_request);

/// The same seed and the same place: the same change, however the body was cut into pieces.
#[tokio::test]
async fn changes_do_not_depend_on_the_protocol() {
    let mut bodies = Vec::new();
    for (down, up) in [(Protocol::H1, Protocol::H1), (Protocol::H2, Protocol::H2)] {
        let upstream = Upstream::answering(up, Answer::ok(Body::chunked(pattern(50_000)))).await;
        let squall = Squall::with_fault(&upstream, "{corrupt: {bytes: 1%}}");
        bodies.push(squall.ask(down, &Request::get("/fault")).await.body);
    }
    assert_same(&bodies[0], &bodies[1]);
    assert_ne!(bodies[0], pattern(50_000));
}

const JSON: &str = r#"{"name": "Ada", "list": [1, 2, 3]}"#;

async fn malformed_json_is_no_json(pair: Pair) {
    let answer = Answer::ok(Body::sized(JSON)).field("content-type", "application/json");
    let upstream = Upstream::answering(pair.up, answer).await;
    let squall = Squall::with_fault(&upstream, "{corrupt: {malformed: json}}");
    let response = squall.ask(pair.down, &Request::get("/fault")).await;
    assert_eq!((response.status, response.ending), (200, Ending::Whole));
    assert!(serde_json::from_slice::<serde_json::Value>(&response.body).is_err());
    squall.injected("corrupt").await;
}
each!(malformed_json_is_no_json);

async fn malformed_json_of_the_request_is_no_json(pair: Pair) {
    let mut upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_fault(&upstream, "{corrupt: {malformed: json, direction: request}}");
    let request = Request::post("/fault", Body::sized(JSON)).field("content-type", "application/json");
    squall.ask(pair.down, &request).await.assert(200, "ok");
    let seen = upstream.next().await;
    assert_eq!(seen.ending, Ending::Whole);
    assert!(serde_json::from_slice::<serde_json::Value>(&seen.body).is_err());
    squall.injected("corrupt").await;
}
each!(malformed_json_of_the_request_is_no_json);

async fn malformed_encoding_lies_about_the_body(pair: Pair) {
    let upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("plain text"))).await;
    let squall = Squall::with_fault(&upstream, "{corrupt: {malformed: encoding}}");
    let response = squall.ask(pair.down, &Request::get("/fault")).await;
    assert_eq!((response.status, response.ending), (200, Ending::Whole));
    assert_eq!(response.field("content-encoding"), Some("gzip"));
    assert!(!response.body.starts_with(&[0x1f, 0x8b]), "that is gzip");
    squall.injected("corrupt").await;
}
each!(malformed_encoding_lies_about_the_body { h1_to_h1 h2_to_h2 });

/// All bytes that a client of HTTP/1.1 gets for a fault, up to the end of the connection.
async fn raw(up: Protocol, fault: &str, body: Body) -> (String, Ending, Squall) {
    let upstream = Upstream::answering(up, Answer::ok(body)).await;
    let squall = Squall::with_fault(&upstream, fault);
    let mut wire = squall.wire().await;
    wire.write(Request::get("/fault").field("Connection", "close").wire())
        .await;
    let (bytes, ending) = wire.end().await;
    (String::from_utf8_lossy(&bytes).into_owned(), ending, squall)
}

async fn malformed_chunk_has_no_size(up: Protocol) {
    let fault = "{corrupt: {malformed: chunk}}";
    let (bytes, _, squall) = raw(up, fault, Body::chunked("in a chunk")).await;
    let (head, mut rest) = bytes.split_once("\r\n\r\n").unwrap();
    assert!(
        head.to_ascii_lowercase().contains("transfer-encoding: chunked"),
        "{head}"
    );
    loop {
        let (line, chunk) = rest.split_once("\r\n").expect("a line");
        match usize::from_str_radix(line, 16) {
            Ok(0) => panic!("nothing is malformed: {bytes:?}"),
            Ok(size) => rest = &chunk[size + 2..],
            Err(_) => break,
        }
    }
    squall.injected("corrupt").await;
    squall.assert_nobody_gone();
}
each!(malformed_chunk_has_no_size { h1 h2 });

async fn malformed_status_line_is_none(up: Protocol) {
    let fault = "{corrupt: {malformed: status-line}}";
    let (bytes, _, squall) = raw(up, fault, Body::sized("ok")).await;
    let first = bytes.split("\r\n").next().unwrap();
    let mut words = first.splitn(3, ' ');
    let version = words.next().is_some_and(|version| version == "HTTP/1.1");
    let status = words
        .next()
        .is_some_and(|status| status.parse::<u16>().is_ok_and(|status| status < 600));
    assert!(!(version && status), "{first:?}");
    squall.injected("corrupt").await;
}
each!(malformed_status_line_is_none { h1 h2 });

async fn malformed_header_is_none(up: Protocol) {
    let fault = "{corrupt: {malformed: header}}";
    let (bytes, _, squall) = raw(up, fault, Body::sized("ok")).await;
    let head = bytes.split("\r\n\r\n").next().unwrap();
    let name = |line: &str| {
        line.split_once(':')
            .is_some_and(|(name, _)| http::HeaderName::from_bytes(name.as_bytes()).is_ok())
    };
    assert!(!head.split("\r\n").skip(1).all(name), "{head:?}");
    squall.injected("corrupt").await;
}
each!(malformed_header_is_none { h1 h2 });

async fn malformed_length_is_too_large(up: Protocol) {
    let fault = "{corrupt: {malformed: content-length, difference: 5}}";
    let upstream = Upstream::answering(up, Answer::ok(Body::sized("ten bytes!"))).await;
    let squall = Squall::with_fault(&upstream, fault);
    let response = squall.ask(Protocol::H1, &Request::get("/fault")).await;
    assert_eq!(response.field("content-length"), Some("15"));
    assert_eq!(
        (response.text().as_str(), response.ending),
        ("ten bytes!", Ending::Closed)
    );
    squall.injected("corrupt").await;
}
each!(malformed_length_is_too_large { h1 h2 });

async fn framing_of_http2_cannot_be_malformed(up: Protocol) {
    for kind in ["chunk", "status-line", "header", "content-length"] {
        let upstream = Upstream::answering(up, Answer::ok(Body::sized("ok"))).await;
        let squall = Squall::with_fault(&upstream, &format!("{{corrupt: {{malformed: {kind}}}}}"));
        squall
            .ask(Protocol::H2, &Request::get("/fault"))
            .await
            .assert(200, "ok");
        squall.skipped("corrupt", "not HTTP/1").await;
    }
}
each!(framing_of_http2_cannot_be_malformed { h1 h2 });
