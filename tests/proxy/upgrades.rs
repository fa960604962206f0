//! Upgrades to other protocols and tunnels: whatever comes behind the 101 passes in both directions.

use std::time::Duration;

use super::support::message::{Answer, Body, Ending, Request};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::wire::Wire;
use super::support::{Protocol, assert_same, pattern, within};

const ASK: &str =
    "GET /chat HTTP/1.1\r\nHost: origin.test\r\nConnection: Upgrade\r\nUpgrade: parrot/1\r\nX-Kept: 1\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: parrot/1\r\nX-Kept: 2\r\n\r\n";

/// Switches, and sends back what comes until the client has finished.
async fn parrot(_: usize, mut wire: Wire) {
    use tokio::io::AsyncWriteExt;
    wire.head().await;
    wire.write(SWITCH).await;
    let (reader, writer) = wire.split();
    loop {
        let piece = reader.some().await;
        if piece.is_empty() || within(writer.write_all(&piece)).await.is_err() {
            break;
        }
    }
}

/// Asks, and reads the 101.
async fn upgraded(squall: &Squall) -> Wire {
    let mut wire = squall.wire().await;
    wire.write(ASK).await;
    let response = wire.response("GET").await;
    assert_eq!(response.status, 101);
    assert_eq!(response.field("upgrade"), Some("parrot/1"));
    assert_eq!(response.field("x-kept"), Some("2"));
    assert!(response.field("connection").unwrap().eq_ignore_ascii_case("upgrade"));
    wire
}

#[tokio::test]
async fn bytes_pass_both_ways_after_101() {
    let upstream = Upstream::h1(parrot).await;
    let squall = Squall::before(&upstream);
    let mut wire = upgraded(&squall).await;
    for number in 0..10 {
        let message = format!("\0message {number}\r\n\r\n");
        wire.write(&message).await;
        assert_eq!(wire.exactly(message.len()).await, message.as_bytes());
    }
    wire.finish().await;
    squall.counted(101).await;
}

/// WebSockets are silent for as long as nobody has something to say; a limit is for both directions together, as HAProxy's
/// `timeout tunnel` is.
#[tokio::test]
async fn silent_tunnel_is_cut_only_by_the_limit_of_streams() {
    let pause = Duration::from_millis(400);
    let upstream = Upstream::h1(parrot).await;
    let squall = Squall::with_timeouts(&upstream, "{read: 150ms, write: 150ms}");
    let mut wire = upgraded(&squall).await;
    tokio::time::sleep(pause).await;
    wire.write("still here").await;
    assert_eq!(wire.exactly(10).await, b"still here");

    // Reads, but says nothing.
    let upstream = Upstream::h1(|_, mut wire| async move {
        wire.head().await;
        wire.write(SWITCH).await;
        wire.end().await;
    })
    .await;
    let squall = Squall::with_timeouts(&upstream, "{stream: 400ms}");
    let mut wire = upgraded(&squall).await;
    for _ in 0..6 {
        tokio::time::sleep(pause / 4).await;
        wire.write("talks").await;
    }
    squall.assert_nobody_gone();
    assert_eq!(squall.metric("squall_upstream_errors_total", &[]), 0.0);
    let (bytes, ending) = wire.end().await;
    assert!(bytes.is_empty() && ending != Ending::Whole, "{ending:?}");
    squall.until("squall_upstream_errors_total", &[], 1.0).await;
    squall.assert_nobody_gone();
}

#[tokio::test]
async fn request_of_an_upgrade_reaches_the_upstream() {
    let (report, mut reported) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::h1(move |_, mut wire| {
        let report = report.clone();
        async move {
            let _ = report.send(wire.head().await);
            wire.write(SWITCH).await;
            wire.end().await;
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let _wire = upgraded(&squall).await;
    let head = within(reported.recv()).await.unwrap().to_ascii_lowercase();
    for line in ["upgrade: parrot/1", "connection: upgrade", "x-kept: 1"] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
}

#[tokio::test]
async fn large_amounts_pass_an_upgraded_connection() {
    use tokio::io::AsyncWriteExt;
    let upstream = Upstream::h1(parrot).await;
    let squall = Squall::before(&upstream);
    let mut wire = upgraded(&squall).await;
    let sent = pattern(4 << 20);
    let (reader, writer) = wire.split();
    let (written, (got, _)) = tokio::join!(within(writer.write_all(&sent)), reader.take(sent.len()));
    written.unwrap();
    assert_same(&got, &sent);
}

#[tokio::test]
async fn bytes_right_behind_the_101_pass() {
    let upstream = Upstream::h1(|_, mut wire| async move {
        wire.head().await;
        wire.write(format!("{SWITCH}hello")).await;
        wire.end().await;
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut wire = upgraded(&squall).await;
    assert_eq!(wire.exactly(5).await, b"hello");
}

/// Some protocols let the client speak first, without waiting for the 101 to arrive.
#[tokio::test]
async fn bytes_right_behind_the_request_of_an_upgrade_pass() {
    let upstream = Upstream::h1(parrot).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(format!("{ASK}hello")).await;
    assert_eq!(wire.response("GET").await.status, 101);
    assert_eq!(wire.exactly(5).await, b"hello");
}

#[tokio::test]
async fn end_of_the_upstream_ends_an_upgraded_connection() {
    let upstream = Upstream::h1(|_, mut wire| async move {
        wire.head().await;
        wire.write(SWITCH).await;
        wire.write("bye").await;
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut wire = upgraded(&squall).await;
    assert_eq!(wire.end().await, (b"bye".to_vec(), Ending::Closed));
    squall.counted(101).await;
    squall.assert_nobody_gone();
}

#[tokio::test]
async fn end_of_the_client_ends_an_upgraded_connection() {
    let (ended, mut end) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::h1(move |_, mut wire| {
        let ended = ended.clone();
        async move {
            wire.head().await;
            wire.write(SWITCH).await;
            let _ = ended.send(wire.end().await.0);
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut wire = upgraded(&squall).await;
    wire.write("bye").await;
    drop(wire);
    assert_eq!(within(end.recv()).await.unwrap(), b"bye");
    squall.until("squall_connections", &[], 0.0).await;
}

#[tokio::test]
async fn half_close_of_the_client_leaves_the_other_direction_open() {
    let upstream = Upstream::h1(|_, mut wire| async move {
        wire.head().await;
        wire.write(SWITCH).await;
        let (asked, _) = wire.end().await;
        assert_eq!(asked, b"question");
        wire.try_write("answer after the end").await;
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut wire = upgraded(&squall).await;
    wire.write("question").await;
    wire.finish().await;
    assert_eq!(wire.end().await, (b"answer after the end".to_vec(), Ending::Closed));
}

#[tokio::test]
async fn half_close_of_the_upstream_leaves_the_other_direction_open() {
    let (ended, mut end) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::h1(move |_, mut wire| {
        let ended = ended.clone();
        async move {
            wire.head().await;
            wire.write(SWITCH).await;
            wire.finish().await;
            let _ = ended.send(wire.end().await.0);
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut wire = upgraded(&squall).await;
    assert_eq!(wire.end().await.1, Ending::Closed);
    wire.write("still here").await;
    wire.finish().await;
    assert_eq!(within(end.recv()).await.unwrap(), b"still here");
}

#[tokio::test]
async fn refused_upgrade_is_an_ordinary_answer() {
    let refusal = Answer {
        status: 403,
        ..Answer::ok(Body::sized("no"))
    };
    let upstream = Upstream::answering(Protocol::H1, refusal).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(ASK).await;
    wire.response("GET").await.assert(403, "no");
    squall.counted(403).await;
    squall.assert_nobody_gone();
}

#[tokio::test]
async fn refused_upgrade_keeps_the_connection() {
    let upstream = Upstream::choosing(Protocol::H1, |target| Answer {
        status: if target == "/chat" { 403 } else { 200 },
        ..Answer::ok(Body::sized("x"))
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(ASK).await;
    wire.response("GET").await.assert(403, "x");
    wire.ask(&Request::get("/next")).await.assert(200, "x");
}

/// An upstream that does not know the protocol ignores the field (RFC 9110, section 7.8).
#[tokio::test]
async fn ignored_upgrade_is_an_ordinary_answer() {
    let mut upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    for _ in 0..2 {
        wire.write(ASK).await;
        wire.response("GET").await.assert(200, "ok");
        assert_eq!(upstream.next().await.target, "/chat");
    }
}

/// HTTP/2 has no upgrades (RFC 9113, section 8.6): the request goes on without asking for one, or is refused.
#[tokio::test]
async fn upgrade_to_an_http2_upstream_is_answered() {
    let upstream = Upstream::answering(Protocol::H2, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(ASK).await;
    let response = wire.response("GET").await;
    assert!(response.status == 200 || response.status >= 400, "{}", response.status);
    assert_eq!(response.ending, Ending::Whole);
}

#[tokio::test]
async fn upgrade_to_a_dead_upstream_is_502() {
    let upstream = Upstream::h1(|_, wire| async move { drop(wire) }).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(ASK).await;
    assert_eq!(wire.response("GET").await.status, 502);
    squall.counted(502).await;
}

/// A reverse proxy is no forward proxy: a CONNECT opens no connection to wherever the client likes.
#[tokio::test]
async fn connect_is_no_way_out() {
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = elsewhere.local_addr().unwrap();
    let refusal = Answer {
        status: 405,
        ..Answer::ok(Body::sized("no"))
    };
    let upstream = Upstream::answering(Protocol::H1, refusal).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"))
        .await;
    let response = wire.response("CONNECT").await;
    assert!(response.status >= 400, "{}", response.status);
    drop(wire);
    let nobody = tokio::time::timeout(std::time::Duration::from_millis(100), elsewhere.accept()).await;
    assert!(nobody.is_err(), "squall connected to the target");
}

#[tokio::test]
async fn connect_over_http2_is_no_way_out() {
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = elsewhere.local_addr().unwrap().to_string();
    let upstream = Upstream::answering(Protocol::H1, Answer::new(405)).await;
    let squall = Squall::before(&upstream);
    let response = squall.ask(Protocol::H2, &Request::new("CONNECT", &target)).await;
    assert!(response.status >= 400 || response.status == 0, "{}", response.status);
    let nobody = tokio::time::timeout(std::time::Duration::from_millis(100), elsewhere.accept()).await;
    assert!(nobody.is_err(), "squall connected to the target");
}

async fn h2c_upgrade_opens_no_tunnel(upgrade: &str) {
    let (report, mut reported) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::h1(move |_, mut wire| {
        let report = report.clone();
        async move {
            let _ = report.send(wire.head().await);
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            wire.end().await;
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(format!(
        "GET / HTTP/1.1\r\nHost: origin.test\r\nConnection: Upgrade, HTTP2-Settings\r\n{upgrade}\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    ))
    .await;
    let response = wire.response("GET").await;
    if response.status == 200 {
        let head = within(reported.recv()).await.unwrap().to_ascii_lowercase();
        assert!(!head.contains("h2c"), "{head}");
    } else {
        assert_eq!(response.status, 400);
    }
}

#[tokio::test]
async fn upgrade_to_h2c_opens_no_tunnel() {
    h2c_upgrade_opens_no_tunnel("Upgrade: h2c").await;
}

#[tokio::test]
async fn upgrade_to_h2c_in_a_list_opens_no_tunnel() {
    h2c_upgrade_opens_no_tunnel("Upgrade: ,h2c").await;
}

#[tokio::test]
async fn upgrade_to_h2c_on_a_second_line_opens_no_tunnel() {
    h2c_upgrade_opens_no_tunnel("Upgrade: foo\r\nUpgrade: h2c").await;
}
