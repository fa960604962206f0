//! Heads that no rule matches pass as they are: targets, fields, order, and on HTTP/1 the case of names.

use super::support::message::{Answer, Body, Ending, Request};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::{Pair, Protocol, each};

/// Fields that each side of a proxy may choose by itself.
const OWN: [&str; 3] = ["connection", "date", "keep-alive"];

/// A head without the fields that each side chooses.
fn stable(head: &str) -> String {
    let own = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default();
        !OWN.contains(&name.to_ascii_lowercase().as_str())
    };
    head.split("\r\n").filter(own).collect::<Vec<_>>().join("\r\n")
}

#[tokio::test]
async fn http1_request_heads_are_byte_exact() {
    let mut upstream = Upstream::answering(Protocol::H1, Answer::new(204)).await;
    let squall = Squall::before(&upstream);
    let head = "GET /a%20b/%7e?q=1&q=%2F;x HTTP/1.1\r\nHost: origin.test\r\nX-CamelCase: Value  with  blanks\r\n\
        x-lower: 1\r\nACCEPT: */*\r\nX-Empty:\r\nCookie: a=1; b=2\r\nUser-Agent: \"quoted\", (comment)\r\n\r\n";
    let mut wire = squall.wire().await;
    wire.write(head).await;
    assert_eq!(wire.response("GET").await.status, 204);
    let seen = stable(&upstream.next().await.raw);
    assert_eq!(seen.replace("X-Empty: \r\n", "X-Empty:\r\n"), head);
}

#[tokio::test]
async fn http1_response_heads_are_byte_exact() {
    let head = "HTTP/1.1 299 A Reason Of Its Own\r\nServer: Origin/1\r\nX-CamelCase: Value  with  blanks\r\nx-lower: 1\r\n\
        SET-COOKIE: a=1; Path=/\r\nETag: \"x\"\r\nContent-Length: 2\r\n\r\n";
    let upstream = Upstream::h1(move |_, mut wire| async move {
        while wire.reader().head().await.is_ok() {
            wire.write(format!("{head}ok")).await;
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let response = squall.ask(Protocol::H1, &Request::get("/")).await;
    assert_eq!(stable(&response.raw), head);
    assert_eq!(response.text(), "ok");
}

async fn targets_pass_as_they_are(pair: Pair) {
    let mut upstream = Upstream::answering(pair.up, Answer::new(204)).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    let long = format!("/{}", "a".repeat(4000));
    let targets = [
        "/",
        "/?",
        "/?a=b?c",
        "//double//slashes/",
        "/a/../b/./c",
        "/%41%2f%2F%zz",
        "/a;b=c,d:e@f!$&'()*+",
        "/?q=%C3%A4&[]=1",
        &long,
    ];
    for target in targets {
        assert_eq!(client.get(target).await.status, 204);
        assert_eq!(upstream.next().await.target, target);
    }
}
each!(targets_pass_as_they_are);

async fn methods_pass_as_they_are(pair: Pair) {
    let mut upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for method in ["GET", "DELETE", "OPTIONS", "PATCH", "PUT", "PROPFIND", "M-SEARCH"] {
        client.ask(&Request::new(method, "/")).await.assert(200, "ok");
        assert_eq!(upstream.next().await.method, method);
    }
}
each!(methods_pass_as_they_are);

async fn request_fields_keep_their_order(pair: Pair) {
    let mut upstream = Upstream::answering(pair.up, Answer::new(204)).await;
    let squall = Squall::before(&upstream);
    let request = Request::get("/")
        .field("x-z", "26")
        .field("x-a", "1")
        .field("x-list", "one")
        .field("x-list", "two, three")
        .field("x-m", "a \"quoted\" value");
    assert_eq!(squall.ask(pair.down, &request).await.status, 204);
    let seen = upstream.next().await;
    assert_eq!(seen.fields.custom(), request.fields.custom());
    assert_eq!(seen.fields.get("host"), Some("origin.test"));
}
each!(request_fields_keep_their_order);

async fn response_fields_keep_their_order(pair: Pair) {
    let answer = Answer::ok(Body::sized("ok"))
        .field("x-z", "26")
        .field("x-a", "1")
        .field("x-list", "one")
        .field("x-list", "two, three")
        .field("set-cookie", "a=1")
        .field("set-cookie", "b=2");
    let upstream = Upstream::answering(pair.up, answer.clone()).await;
    let response = Squall::before(&upstream).ask(pair.down, &Request::get("/")).await;
    assert_eq!(response.fields.custom(), answer.fields.custom());
    assert_eq!(
        response.fields.all("set-cookie").collect::<Vec<_>>(),
        ["a=1", "b=2"],
        "they cannot be joined (RFC 9110, section 5.3)"
    );
}
each!(response_fields_keep_their_order);

async fn date_of_the_upstream_passes(pair: Pair) {
    let date = "Tue, 15 Nov 1994 08:12:31 GMT";
    let upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("ok")).field("date", date)).await;
    let response = Squall::before(&upstream).ask(pair.down, &Request::get("/")).await;
    assert_eq!(response.fields.all("date").collect::<Vec<_>>(), [date]);
}
each!(date_of_the_upstream_passes {
    h1_to_h1
    h1_to_h2
    h2_to_h1
    h2_to_h2
});

async fn big_heads_pass(pair: Pair) {
    let mut answer = Answer::ok(Body::sized("ok"));
    let mut request = Request::get("/");
    for number in 0..50 {
        let (name, value) = (format!("x-field-{number}"), "v".repeat(200));
        answer = answer.field(&name, &value);
        request = request.field(&name, &value);
    }
    let mut upstream = Upstream::answering(pair.up, answer.clone()).await;
    let response = Squall::before(&upstream).ask(pair.down, &request).await;
    response.assert(200, "ok");
    assert_eq!(response.fields.custom(), answer.fields.custom());
    assert_eq!(upstream.next().await.fields.custom(), request.fields.custom());
}
each!(big_heads_pass);

async fn every_status_passes(pair: Pair) {
    let upstream = Upstream::choosing(pair.up, |target| Answer {
        status: target[1..].parse().unwrap(),
        ..Answer::ok(Body::sized("ok"))
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for status in [200, 201, 206, 226, 301, 307, 400, 404, 418, 429, 499, 500, 503, 599] {
        client.get(&format!("/{status}")).await.assert(status, "ok");
    }
}
each!(every_status_passes);

#[tokio::test]
async fn fields_of_the_connection_end_at_squall() {
    let mut upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let request = Request::get("/")
        .field("Connection", "x-private, keep-alive")
        .field("x-private", "1")
        .field("Keep-Alive", "timeout=5")
        .field("Proxy-Connection", "keep-alive")
        .field("x-public", "1");
    Squall::before(&upstream)
        .ask(Protocol::H1, &request)
        .await
        .assert(200, "ok");
    let seen = upstream.next().await.fields;
    assert_eq!(seen.custom(), [("x-public".into(), "1".into())]);
    assert_eq!(seen.get("keep-alive"), None);
}

#[tokio::test]
async fn fields_of_the_upstream_connection_end_at_squall() {
    let answer = Answer::ok(Body::sized("ok"))
        .field("Connection", "x-private")
        .field("x-private", "1")
        .field("x-public", "1");
    let upstream = Upstream::answering(Protocol::H1, answer).await;
    let response = Squall::before(&upstream).ask(Protocol::H1, &Request::get("/")).await;
    assert_eq!(response.fields.custom(), [("x-public".into(), "1".into())]);
}

#[tokio::test]
async fn cookies_of_http2_are_one_field_to_an_http1_upstream() {
    let mut upstream = Upstream::answering(Protocol::H1, Answer::new(204)).await;
    let request = Request::get("/").field("cookie", "a=1").field("cookie", "b=2");
    Squall::before(&upstream).ask(Protocol::H2, &request).await;
    let seen = upstream.next().await.fields;
    assert_eq!(seen.all("cookie").collect::<Vec<_>>(), ["a=1; b=2"]);
}

async fn nothing_is_injected_without_a_rule(pair: Pair) {
    let upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_fault(&upstream, "{abort: 503}");
    let response = squall.ask(pair.down, &Request::get("/other")).await;
    response.assert(200, "ok");
    assert_eq!(response.field("squall-fault"), None);
    assert_eq!(response.field("server-timing"), None);
    squall.counted(200).await;
    assert_eq!(squall.metric("squall_faults_injected_total", &[]), 0.0);
    squall.assert_nobody_gone();
}
each!(nothing_is_injected_without_a_rule);

async fn malformed_requests_get_400(first: &str) {
    let upstream = Upstream::answering(Protocol::H1, Answer::new(204)).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(format!("{first}\r\nHost: origin.test\r\n\r\n")).await;
    let response = wire.response("GET").await;
    assert_eq!(response.status, 400);
    assert_eq!(wire.end().await.1, Ending::Closed);
}

#[tokio::test]
async fn request_line_without_a_version_gets_400() {
    malformed_requests_get_400("GET /").await;
}

#[tokio::test]
async fn request_line_with_a_control_character_gets_400() {
    malformed_requests_get_400("GE\u{1}T / HTTP/1.1").await;
}

#[tokio::test]
async fn two_host_fields_get_400() {
    malformed_requests_get_400("GET / HTTP/1.1\r\nHost: other.test").await;
}

/// `Connection` may name any field, even those that tell where a body ends.
#[tokio::test]
async fn connection_names_no_framing() {
    let heads = [
        "Content-Length: 2\r\n\r\nok",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ];
    for rest in heads {
        let names = "Connection: content-length, transfer-encoding, x-hop\r\nX-Hop: 1\r\n";
        let upstream = Upstream::h1(move |_, mut wire| async move {
            while wire.reader().head().await.is_ok() {
                wire.write(format!("HTTP/1.1 200 OK\r\n{names}{rest}")).await;
            }
        })
        .await;
        let squall = Squall::before(&upstream);
        let mut client = squall.client(Protocol::H1).await;
        for _ in 0..2 {
            let response = client.get("/").await;
            response.assert(200, "ok");
            assert_eq!(response.fields.get("x-hop"), None);
        }
    }
}
