//! Upstreams that fail: what the client gets is a gateway's answer, never a silence or a clean end.

use std::time::{Duration, Instant};

use super::support::message::{Answer, Body, Ending, Request};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::{Pair, Protocol, closed_port, each, pattern};

/// Asks, and expects a gateway's answer that is counted as the upstream's failure.
async fn fails(squall: &Squall, down: Protocol, status: u16) {
    let mut client = squall.client(down).await;
    let response = client.get("/").await;
    assert_eq!((response.status, response.ending), (status, Ending::Whole));
    assert_eq!(response.field("squall-fault"), None, "it is not injected");
    squall.counted(status).await;
    squall.until("squall_upstream_errors_total", &[], 1.0).await;
    squall.assert_nobody_gone();
}

async fn upstream_that_refuses_connections_is_502(pair: Pair) {
    let mut upstream = Upstream::answering(pair.up, Answer::new(204)).await;
    let (address, _bound) = closed_port();
    upstream.address = address;
    fails(&Squall::before(&upstream), pair.down, 502).await;
}
each!(upstream_that_refuses_connections_is_502);

async fn upstream_that_closes_without_an_answer_is_502(pair: Pair) {
    let mut upstream = Upstream::h1(|_, mut wire| async move {
        let _ = wire.reader().some().await;
    })
    .await;
    upstream.protocol = pair.up;
    fails(&Squall::before(&upstream), pair.down, 502).await;
}
each!(upstream_that_closes_without_an_answer_is_502);

async fn upstream_that_resets_without_an_answer_is_502(pair: Pair) {
    let mut upstream = Upstream::h1(|_, mut wire| async move {
        let _ = wire.reader().some().await;
        wire.reset();
    })
    .await;
    upstream.protocol = pair.up;
    fails(&Squall::before(&upstream), pair.down, 502).await;
}
each!(upstream_that_resets_without_an_answer_is_502);

async fn upstream_that_closes_in_its_head_is_502(pair: Pair) {
    let upstream = Upstream::h1(|_, mut wire| async move {
        if wire.reader().head().await.is_ok() {
            wire.write("HTTP/1.1 200 OK\r\nContent-Le").await;
        }
    })
    .await;
    fails(&Squall::before(&upstream), pair.down, 502).await;
}
each!(upstream_that_closes_in_its_head_is_502 { h1_to_h1 h2_to_h1 });

async fn upstream_that_speaks_nonsense_is_502(pair: Pair) {
    let mut upstream = Upstream::h1(|_, mut wire| async move {
        let _ = wire.reader().some().await;
        wire.try_write("220 mail.example ESMTP\r\n\r\n").await;
        wire.end().await;
    })
    .await;
    upstream.protocol = pair.up;
    fails(&Squall::before(&upstream), pair.down, 502).await;
}
each!(upstream_that_speaks_nonsense_is_502);

/// An upstream that takes everything and says nothing.
async fn silent(up: Protocol) -> Upstream {
    match up {
        Protocol::H1 => {
            Upstream::h1(|_, mut wire| async move {
                wire.end().await;
            })
            .await
        }
        Protocol::H2 => {
            Upstream::h2(|call| async move {
                let _keeps_it_open = call;
                std::future::pending().await
            })
            .await
        }
    }
}

async fn upstream_that_does_not_answer_in_time_is_504(pair: Pair) {
    let upstream = silent(pair.up).await;
    let squall = Squall::with_timeouts(&upstream, "{read: 150ms}");
    let began = Instant::now();
    fails(&squall, pair.down, 504).await;
    assert!(began.elapsed() >= Duration::from_millis(150));
}
each!(upstream_that_does_not_answer_in_time_is_504);

/// A listener whose queue is full takes no further connection, and says nothing about it.
async fn full(protocol: Protocol) -> (Upstream, Vec<tokio::net::TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) =
        tokio::time::timeout(Duration::from_millis(100), tokio::net::TcpStream::connect(address)).await
    {
        queued.push(stream.unwrap());
        assert!(queued.len() < 100, "the queue never fills up");
    }
    // Open until the test ends.
    std::mem::forget(listener);
    let mut upstream = Upstream::answering(protocol, Answer::new(204)).await;
    upstream.address = address;
    (upstream, queued)
}

async fn upstream_that_cannot_be_connected_to_in_time_is_504(pair: Pair) {
    let (upstream, _queued) = full(pair.up).await;
    let squall = Squall::with_timeouts(&upstream, "{connect: 150ms}");
    fails(&squall, pair.down, 504).await;
}
each!(upstream_that_cannot_be_connected_to_in_time_is_504);

/// The head has left: nothing but the end of the connection or of the stream can tell.
async fn upstream_that_stops_in_its_body_is_no_clean_end(pair: Pair) {
    let upstream = match pair.up {
        Protocol::H1 => {
            Upstream::h1(|_, mut wire| async move {
                wire.head().await;
                wire.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome").await;
                wire.end().await;
            })
            .await
        }
        Protocol::H2 => {
            Upstream::h2(|(_, mut respond)| async move {
                let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
                stream.send_data("some".into(), false).unwrap();
                std::future::pending().await
            })
            .await
        }
    };
    let squall = Squall::with_timeouts(&upstream, "{read: 150ms}");
    let response = squall.ask(pair.down, &Request::get("/")).await;
    assert_eq!((response.status, response.text().as_str()), (200, "some"));
    assert_ne!(response.ending, Ending::Whole);
    squall.until("squall_upstream_errors_total", &[], 1.0).await;
    squall.counted(200).await;
    squall.assert_nobody_gone();
}
each!(upstream_that_stops_in_its_body_is_no_clean_end);

/// Each piece starts the time anew.
async fn slow_but_steady_upstream_is_not_cut(pair: Pair) {
    let upstream = Upstream::h1(|_, mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n").await;
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            wire.write("x").await;
        }
    })
    .await;
    let squall = Squall::with_timeouts(&upstream, "{read: 500ms}");
    squall.ask(pair.down, &Request::get("/")).await.assert(200, "xxxxxxxx");
}
each!(slow_but_steady_upstream_is_not_cut { h1_to_h1 h2_to_h1 });

/// A stream of messages has a limit of its own, and by default none: events and watches are silent for minutes.
async fn silent_stream_is_cut_only_by_its_own_limit(pair: Pair) {
    const PIECES: [&str; 3] = ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"];
    const PAUSE: Duration = Duration::from_millis(400);
    let upstream = match pair.up {
        Protocol::H1 => {
            Upstream::h1(|_, mut wire| async move {
                wire.head().await;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; a=b\r\nConnection: close\r\n\r\n";
                wire.write(head).await;
                for piece in PIECES {
                    tokio::time::sleep(PAUSE).await;
                    wire.try_write(piece).await;
                }
            })
            .await
        }
        Protocol::H2 => {
            Upstream::h2(|(_, mut respond)| async move {
                let head = http::Response::builder().header("content-type", "text/event-stream");
                let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
                for piece in PIECES {
                    tokio::time::sleep(PAUSE).await;
                    let _cut = stream.send_data(piece.into(), false);
                }
                let _cut = stream.send_data("".into(), true);
            })
            .await
        }
    };
    let squall = Squall::with_timeouts(&upstream, "{read: 150ms}");
    squall
        .ask(pair.down, &Request::get("/"))
        .await
        .assert(200, PIECES.concat());
    let squall = Squall::with_timeouts(&upstream, "{stream: 150ms}");
    let response = squall.ask(pair.down, &Request::get("/")).await;
    assert_eq!((response.status, response.text().as_str()), (200, ""));
    assert_ne!(response.ending, Ending::Whole);
    squall.until("squall_upstream_errors_total", &[], 1.0).await;
    squall.assert_nobody_gone();
}
each!(silent_stream_is_cut_only_by_its_own_limit);

/// RST_STREAM before a head: there is still an answer to give.
async fn reset_stream_before_a_head_is_502(pair: Pair) {
    let upstream = Upstream::h2(|(_, mut respond)| async move { respond.send_reset(h2::Reason::INTERNAL_ERROR) }).await;
    fails(&Squall::before(&upstream), pair.down, 502).await;
}
each!(reset_stream_before_a_head_is_502 { h1_to_h2 h2_to_h2 });

/// RST_STREAM in the middle: the client's stream is reset, its connection goes on.
#[tokio::test]
async fn reset_stream_of_the_upstream_resets_the_stream_of_the_client() {
    let upstream = Upstream::choosing(Protocol::H2, |target| match target {
        "/broken" => {
            Answer::ok(Body::chunked(pattern(10_000))).broken(1000, Ending::Stream(h2::Reason::INTERNAL_ERROR))
        }
        _ => Answer::ok(Body::sized("ok")),
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(Protocol::H2).await;
    let response = client.get("/broken").await;
    assert_eq!((response.status, response.body.len()), (200, 1000));
    assert!(matches!(response.ending, Ending::Stream(_)), "{:?}", response.ending);
    client.get("/next").await.assert(200, "ok");
    squall.until("squall_upstream_errors_total", &[], 1.0).await;
    squall.assert_nobody_gone();
}

/// A failure of the upstream does not cost the client its connection.
async fn connection_survives_a_gateway_error(down: Protocol) {
    let upstream = Upstream::h1(|_, mut wire| async move {
        while let Ok(head) = wire.reader().head().await {
            if head.starts_with("GET /dies ") {
                return;
            }
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(down).await;
    assert_eq!(client.get("/dies").await.status, 502);
    client.get("/next").await.assert(200, "ok");
}
each!(connection_survives_a_gateway_error {
    h1
    h2
});

/// RFC 9110, section 9.3.2: the answer to HEAD has no content, whoever gives it.
async fn gateway_error_to_head_has_no_body(down: Protocol) {
    let upstream = Upstream::h1(|_, mut wire| async move {
        let _ = wire.reader().head().await;
    })
    .await;
    let squall = Squall::before(&upstream);
    let response = squall.ask(down, &Request::new("HEAD", "/")).await;
    response.assert(502, "");
    squall.counted(502).await;
}
each!(gateway_error_to_head_has_no_body {
    h1
    h2
});
