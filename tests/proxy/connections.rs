//! Connections: kept, pipelined, half-closed, reused to the upstream, and asked again where the upstream's was dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::support::message::{Answer, Body, Ending, Request};
use super::support::squall::Squall;
use super::support::upstream::{Upstream, read_h1, seen_h1, serve_h2};
use super::support::{Pair, Protocol, each, pattern, within};

async fn many_requests_use_one_connection(pair: Pair) {
    let mut upstream = Upstream::answering(pair.up, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    for number in 0..20 {
        client.get(&format!("/{number}")).await.assert(200, "ok");
        let seen = upstream.next().await;
        assert_eq!((seen.target, seen.connection), (format!("/{number}"), 0));
    }
    squall.until("squall_requests_total", &["status=\"200\""], 20.0).await;
    squall.until("squall_connections", &[], 1.0).await;
    squall.assert_nobody_gone();
}
each!(many_requests_use_one_connection);

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::choosing(Protocol::H1, |target| Answer::ok(Body::sized(target))).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    let all: Vec<u8> = (0..10)
        .flat_map(|number| Request::get(&format!("/{number}")).wire())
        .collect();
    wire.write(all).await;
    for number in 0..10 {
        wire.response("GET").await.assert(200, format!("/{number}"));
    }
    squall.until("squall_requests_total", &["status=\"200\""], 10.0).await;
}

#[tokio::test]
async fn pipelined_uploads_are_answered_in_order() {
    let upstream = Upstream::echo(Protocol::H1).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    let body = |number: usize| format!("body {number}").repeat(100);
    let all: Vec<u8> = (0..5)
        .flat_map(|number| Request::post("/", Body::sized(body(number))).wire())
        .collect();
    wire.write(all).await;
    for number in 0..5 {
        wire.response("POST").await.assert(200, body(number));
    }
}

#[tokio::test]
async fn client_asks_for_the_end_of_the_connection() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    let response = wire.ask(&Request::get("/").field("Connection", "close")).await;
    response.assert(200, "ok");
    assert_eq!(wire.end().await, (Vec::new(), Ending::Closed));
    squall.assert_nobody_gone();
}

/// `Connection: close` of the upstream is about its own connection.
#[tokio::test]
async fn upstream_that_closes_does_not_cost_the_client_its_connection() {
    let upstream = Upstream::h1(|_, mut wire| async move {
        if wire.reader().head().await.is_ok() {
            wire.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(Protocol::H1).await;
    for _ in 0..3 {
        client.get("/").await.assert(200, "ok");
    }
}

/// RFC 9112, section 9.6: a client may close its side after its last request, and read the answer.
async fn client_that_half_closes_gets_its_answer(up: Protocol) {
    let upstream = Upstream::answering(up, Answer::ok(Body::sized(pattern(50_000)))).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(Request::get("/").wire()).await;
    wire.finish().await;
    wire.response("GET").await.assert(200, pattern(50_000));
    assert_eq!(wire.end().await, (Vec::new(), Ending::Closed));
    squall.counted(200).await;
    squall.assert_nobody_gone();
}
each!(client_that_half_closes_gets_its_answer { h1 h2 });

#[tokio::test]
async fn client_that_half_closes_after_its_body_gets_its_answer() {
    let mut upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(Request::post("/", Body::sized(pattern(50_000))).wire())
        .await;
    wire.finish().await;
    wire.response("POST").await.assert(200, "ok");
    assert_eq!(upstream.next().await.body.len(), 50_000);
}

/// An upstream that closes its sending side behind an answer, and reads on, has answered.
#[tokio::test]
async fn upstream_that_half_closes_has_answered() {
    let upstream = Upstream::h1(|_, mut wire| async move {
        if wire.reader().head().await.is_ok() {
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            wire.finish().await;
            wire.end().await;
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(Protocol::H1).await;
    for _ in 0..3 {
        client.get("/").await.assert(200, "ok");
    }
}

#[tokio::test]
async fn http10_client_gets_no_chunks() {
    for body in [Body::chunked(pattern(50_000)), Body::UntilClose(pattern(50_000).into())] {
        let upstream = Upstream::answering(Protocol::H1, Answer::ok(body)).await;
        let squall = Squall::before(&upstream);
        let mut wire = squall.wire().await;
        wire.write("GET / HTTP/1.0\r\nHost: origin.test\r\n\r\n").await;
        let response = wire.response("GET").await;
        response.assert(200, pattern(50_000));
        assert_eq!(response.field("transfer-encoding"), None);
        assert_eq!(wire.end().await.1, Ending::Closed);
    }
}

#[tokio::test]
async fn http10_client_of_an_http2_upstream_gets_no_chunks() {
    let upstream = Upstream::answering(Protocol::H2, Answer::ok(Body::chunked("all of it"))).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write("GET / HTTP/1.0\r\nHost: origin.test\r\n\r\n").await;
    let response = wire.response("GET").await;
    response.assert(200, "all of it");
    assert_eq!(response.field("transfer-encoding"), None);
}

#[tokio::test]
async fn http10_connection_ends_unless_it_is_to_be_kept() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write("GET / HTTP/1.0\r\nHost: origin.test\r\n\r\n").await;
    wire.response("GET").await.assert(200, "ok");
    assert_eq!(wire.end().await, (Vec::new(), Ending::Closed));
}

#[tokio::test]
async fn http10_connection_can_be_kept() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    for _ in 0..2 {
        wire.write("GET / HTTP/1.0\r\nHost: origin.test\r\nConnection: keep-alive\r\n\r\n")
            .await;
        let response = wire.response("GET").await;
        response.assert(200, "ok");
        let kept = response.field("connection").unwrap_or_default();
        assert!(kept.eq_ignore_ascii_case("keep-alive"), "{kept}");
    }
}

#[tokio::test]
async fn http10_upstream_is_understood() {
    let upstream = Upstream::h1(|_, mut wire| async move {
        if wire.reader().head().await.is_ok() {
            wire.write("HTTP/1.0 200 OK\r\nX-Kept: 1\r\n\r\nall of it").await;
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    for down in [Protocol::H1, Protocol::H2] {
        squall.ask(down, &Request::get("/")).await.assert(200, "all of it");
    }
}

/// RFC 9112, section 2.3: a proxy sends its own version.
#[tokio::test]
async fn http10_upstream_is_answered_for_in_http11() {
    let upstream = Upstream::h1(|_, mut wire| async move {
        if wire.reader().head().await.is_ok() {
            wire.write("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let response = Squall::before(&upstream).ask(Protocol::H1, &Request::get("/")).await;
    assert!(response.raw.starts_with("HTTP/1.1 200 "), "{}", response.raw);
}

/// What a flaky upstream has gone through.
#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// An upstream whose first connection serves one request, and closes when the second one comes: before it reads it, or
/// after the whole of its body.
async fn flaky(read_body: bool) -> (Upstream, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let shared = Arc::clone(&counts);
    let upstream = Upstream::h1(move |number, mut wire| {
        let counts = Arc::clone(&shared);
        async move {
            counts.connections.fetch_add(1, Ordering::SeqCst);
            while let Ok(raw) = wire.reader().head().await {
                let mut seen = seen_h1(number, raw);
                let second = counts.requests.fetch_add(1, Ordering::SeqCst) == 1;
                if second && !read_body {
                    return;
                }
                read_h1(&mut wire, &mut seen).await;
                if second {
                    return;
                }
                wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    (upstream, counts)
}

async fn get_on_a_dead_connection_is_sent_again(down: Protocol) {
    let (upstream, counts) = flaky(false).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(down).await;
    client.get("/").await.assert(200, "ok");
    client.get("/").await.assert(200, "ok");
    assert_eq!(counts.connections.load(Ordering::SeqCst), 2);
    assert_eq!(counts.requests.load(Ordering::SeqCst), 3);
    squall.until("squall_requests_total", &[], 2.0).await;
}
each!(get_on_a_dead_connection_is_sent_again { h1 h2 });

/// A request that has been read may have been carried out: only an idempotent one may be sent again.
async fn post_that_was_read_is_not_sent_again(down: Protocol) {
    let (upstream, counts) = flaky(true).await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(down).await;
    let post = Request::post("/", Body::sized("once"));
    client.ask(&post).await.assert(200, "ok");
    assert_eq!(client.ask(&post).await.status, 502);
    assert_eq!(counts.requests.load(Ordering::SeqCst), 2);
    squall.until("squall_upstream_errors_total", &[], 1.0).await;
    squall.assert_nobody_gone();
}
each!(post_that_was_read_is_not_sent_again { h1 h2 });

#[tokio::test]
async fn fresh_connection_that_dies_is_not_tried_again() {
    let counts = Arc::new(AtomicUsize::new(0));
    let shared = Arc::clone(&counts);
    let upstream = Upstream::h1(move |_, mut wire| {
        let counts = Arc::clone(&shared);
        async move {
            let _ = wire.reader().head().await;
            counts.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let response = squall.ask(Protocol::H1, &Request::post("/", Body::sized("x"))).await;
    assert_eq!(response.status, 502);
    assert_eq!(counts.load(Ordering::SeqCst), 1);
}

/// The upstream has closed the idle connection: a new one is made, and nobody notices.
async fn closed_idle_connection_is_replaced(down: Protocol) {
    let (closed, mut close) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::h1(move |_, mut wire| {
        let closed = closed.clone();
        async move {
            if let Ok(raw) = wire.reader().head().await {
                read_h1(&mut wire, &mut seen_h1(0, raw)).await;
                wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                drop(wire);
                let _ = closed.send(());
            }
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(down).await;
    for _ in 0..3 {
        let post = Request::post("/", Body::sized("once"));
        client.ask(&post).await.assert(200, "ok");
        within(close.recv()).await.unwrap();
        // The FIN needs a moment to be noticed.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    squall.assert_nobody_gone();
}
each!(closed_idle_connection_is_replaced { h1 h2 });

/// A connection whose answer was not read to its end is not used for the next request.
#[tokio::test]
async fn connection_in_the_middle_of_an_answer_is_not_reused() {
    let mut upstream = Upstream::choosing(Protocol::H1, |target| match target {
        "/large" => Answer::ok(Body::sized(pattern(16 << 20))),
        _ => Answer::ok(Body::sized("ok")),
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(Request::get("/large").wire()).await;
    wire.head().await;
    drop(wire);
    squall.clients_gone(1).await;
    squall.ask(Protocol::H1, &Request::get("/next")).await.assert(200, "ok");
    assert_eq!(upstream.next().await.connection, 0);
    assert_eq!(upstream.next().await.connection, 1);
}

async fn refused_stream_is_sent_again(down: Protocol) {
    let calls = Arc::new(AtomicUsize::new(0));
    let shared = Arc::clone(&calls);
    let upstream = Upstream::h2(move |(_, mut respond)| {
        let calls = Arc::clone(&shared);
        async move {
            if calls.fetch_add(1, Ordering::SeqCst) == 0 {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
                return;
            }
            let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
            stream.send_data("ok".into(), true).unwrap();
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    squall.ask(down, &Request::get("/")).await.assert(200, "ok");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}
each!(refused_stream_is_sent_again {
    h1
    h2
});

/// An upstream that is told to stop finishes what it has begun; the next request gets a new connection.
async fn goaway_of_the_upstream_moves_to_a_new_connection(down: Protocol) {
    let connections = Arc::new(AtomicUsize::new(0));
    let shared = Arc::clone(&connections);
    let upstream = Upstream::raw_h2(move |_, stream| {
        let connections = Arc::clone(&shared);
        async move {
            connections.fetch_add(1, Ordering::SeqCst);
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let mut served = false;
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
                stream.send_data("ok".into(), true).unwrap();
                if !served {
                    connection.graceful_shutdown();
                    served = true;
                }
            }
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(down).await;
    for _ in 0..3 {
        client.get("/").await.assert(200, "ok");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(connections.load(Ordering::SeqCst) >= 2);
    squall.until("squall_requests_total", &["status=\"200\""], 3.0).await;
}
each!(goaway_of_the_upstream_moves_to_a_new_connection { h1 h2 });

#[tokio::test]
async fn streams_of_one_connection_are_independent() {
    let (first, wait) = tokio::sync::watch::channel(false);
    let upstream = Upstream::raw_h2(move |_, stream| {
        let wait = wait.clone();
        serve_h2(stream, move |(request, mut respond)| {
            let mut wait = wait.clone();
            async move {
                if request.uri().path() == "/slow" {
                    let _ = wait.wait_for(|go| *go).await;
                }
                let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
                stream.send_data("ok".into(), true).unwrap();
            }
        })
    })
    .await;
    let squall = Squall::before(&upstream);
    let client = super::support::client::H2Client::connect(squall.address).await;
    let slow = Request::get("/slow");
    let slow = client.ask(&slow);
    let quick = async {
        for _ in 0..5 {
            client.get("/quick").await.assert(200, "ok");
        }
        first.send(true).unwrap();
    };
    let (slow, ()) = tokio::join!(slow, quick);
    slow.assert(200, "ok");
}
