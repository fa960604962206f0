//! Uploads and downloads move at the same time, and each is as fast as its reader.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::support::client::{H2Client, read_head};
use super::support::http2::{room, send_body, send_piece};
use super::support::message::{Body, Ending, Fields, Request};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::wire::parse;
use super::support::{Pair, Protocol, assert_same, each, pattern, within};

/// More than all buffers on the way together.
const LARGE: usize = 8 << 20;
/// The most that may be under way to somebody who does not read: socket buffers of four sockets, and squall's own.
const BOUND: usize = 24 << 20;
/// How long nothing must move for a writer to be blocked.
const STILL: Duration = Duration::from_millis(300);

async fn echo_moves_both_ways_at_once(pair: Pair) {
    let upstream = Upstream::echo(pair.up).await;
    let squall = Squall::before(&upstream);
    let body = pattern(LARGE);
    let response = squall.ask(pair.down, &Request::post("/", Body::sized(&body))).await;
    assert_eq!(response.ending, Ending::Whole);
    assert_same(&response.body, &body);
    squall.counted(200).await;
    squall.assert_nobody_gone();
}
each!(echo_moves_both_ways_at_once {
    h1_to_h1
    h1_to_h2
    h2_to_h1
    h2_to_h2
});

async fn chunked_echo_moves_both_ways_at_once(pair: Pair) {
    let upstream = Upstream::echo(pair.up).await;
    let squall = Squall::before(&upstream);
    let body = pattern(LARGE / 4);
    let response = squall.ask(pair.down, &Request::post("/", Body::chunked(&body))).await;
    assert_eq!(response.ending, Ending::Whole);
    assert_same(&response.body, &body);
    squall.assert_nobody_gone();
}
each!(chunked_echo_moves_both_ways_at_once {
    h1_to_h1
    h1_to_h2
    h2_to_h1
    h2_to_h2
});

/// The reader takes its time at first: all that comes back then has to wait, and nothing may be lost or stuck.
async fn echo_survives_a_slow_reader(pair: Pair) {
    let upstream = Upstream::echo(pair.up).await;
    let squall = Squall::before(&upstream);
    let body = pattern(LARGE);
    let request = Request::post("/", Body::sized(&body));
    let got = match pair.down {
        Protocol::H1 => {
            let mut wire = squall.wire().await;
            wire.write(request.head()).await;
            let (reader, writer) = wire.split();
            let read = async {
                let (_, fields) = parse(&reader.head().await.unwrap());
                tokio::time::sleep(STILL).await;
                reader.body(&fields, true).await.0
            };
            let (sent, got) = tokio::join!(within(writer.write_all(&body)), read);
            sent.unwrap();
            got
        }
        Protocol::H2 => {
            let client = H2Client::connect(squall.address).await;
            let (mut response, mut stream) = client.open(&request, false).await.unwrap();
            let none = Fields::default();
            let read = async {
                let mut body = read_head(&mut response).await.1.unwrap().into_body();
                tokio::time::sleep(STILL).await;
                super::support::http2::read_body(&mut body).await.0
            };
            let (_, got) = tokio::join!(send_body(&mut stream, body.clone().into(), &none), read);
            got
        }
    };
    assert_same(&got, &body);
}
each!(echo_survives_a_slow_reader {
    h1_to_h1
    h1_to_h2
    h2_to_h1
    h2_to_h2
});

/// Counts what an upstream gets rid of until nothing moves for a while.
async fn sent_to_a_client_that_does_not_read(pair: Pair) -> usize {
    let (report, mut sent) = tokio::sync::watch::channel(0);
    let upstream = match pair.up {
        Protocol::H1 => {
            Upstream::h1(move |_, mut wire| {
                let report = report.clone();
                async move {
                    wire.head().await;
                    wire.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
                        .await;
                    let piece = [b'x'; 0x4000];
                    let (_reader, writer) = wire.split();
                    while let Ok(length) = writer.write(&piece).await {
                        report.send_modify(|sent| *sent += length);
                    }
                }
            })
            .await
        }
        Protocol::H2 => {
            Upstream::h2(move |(_, mut respond)| {
                let report = report.clone();
                async move {
                    let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
                    while let Some(room) = room(&mut stream, 0x4000).await {
                        let piece = Bytes::from(vec![b'x'; room.min(0x4000)]);
                        report.send_modify(|sent| *sent += piece.len());
                        if stream.send_data(piece, false).is_err() {
                            break;
                        }
                    }
                }
            })
            .await
        }
    };
    let squall = Squall::before(&upstream);
    let mut client = squall.client(pair.down).await;
    let _request = match &mut client {
        super::support::client::Client::H1(wire) => {
            wire.write(Request::get("/").wire()).await;
            None
        }
        super::support::client::Client::H2(client) => Some(client.open(&Request::get("/"), true).await.unwrap()),
    };
    while let Ok(changed) = tokio::time::timeout(STILL, sent.changed()).await {
        changed.unwrap();
        assert!(*sent.borrow() < BOUND, "nothing stops the upstream");
    }
    *sent.borrow()
}

async fn client_that_does_not_read_stops_the_upstream(pair: Pair) {
    let sent = sent_to_a_client_that_does_not_read(pair).await;
    assert!(sent > 0);
}
each!(client_that_does_not_read_stops_the_upstream);

async fn upstream_that_does_not_read_stops_the_client(pair: Pair) {
    let upstream = match pair.up {
        Protocol::H1 => {
            Upstream::h1(|_, mut wire| async move {
                wire.head().await;
                std::future::pending().await
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
    };
    let squall = Squall::before(&upstream);
    let request = Request::post("/", Body::chunked(""));
    let mut sent = 0;
    match pair.down {
        Protocol::H1 => {
            let mut wire = squall.wire().await;
            wire.write(request.head()).await;
            let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
            let (_reader, writer) = wire.split();
            while let Ok(written) = tokio::time::timeout(STILL, writer.write_all(chunk.as_bytes())).await {
                written.unwrap();
                sent += chunk.len();
                assert!(sent < BOUND, "nothing stops the client");
            }
        }
        Protocol::H2 => {
            let client = H2Client::connect(squall.address).await;
            let (_response, mut stream) = client.open(&request, false).await.unwrap();
            while let Ok(Some(room)) = tokio::time::timeout(STILL, room(&mut stream, 0x4000)).await {
                send_piece(&mut stream, Bytes::from(vec![b'x'; room.min(0x4000)]), false).await;
                sent += room.min(0x4000);
                assert!(sent < BOUND, "nothing stops the client");
            }
        }
    }
    assert!(sent > 0);
}
each!(upstream_that_does_not_read_stops_the_client);

/// A blocked download must not stop the upload of the same request, nor the other way round.
#[tokio::test]
async fn blocked_download_does_not_stop_the_upload() {
    let (report, mut reported) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::h1(move |_, mut wire| {
        let report = report.clone();
        async move {
            wire.head().await;
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
                .await;
            let (reader, writer) = wire.split();
            let write = async { while writer.write(&[b'x'; 0x4000]).await.is_ok() {} };
            let read = async {
                let (body, _) = reader.take(1 << 20).await;
                let _ = report.send(body.len());
                std::future::pending().await
            };
            let ((), ()) = tokio::join!(write, read);
        }
    })
    .await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    let request = Request::post("/", Body::sized(pattern(1 << 20)));
    wire.write(request.head()).await;
    wire.head().await;
    // Long enough for every buffer on the way down to be full.
    tokio::time::sleep(STILL).await;
    wire.write(request.body.bytes()).await;
    assert_eq!(within(reported.recv()).await, Some(1 << 20));
}

/// One stream that nobody reads does not stop its siblings, on either side.
async fn blocked_stream_does_not_stop_its_siblings(up: Protocol) {
    let upstream = Upstream::choosing(up, |target| {
        super::support::message::Answer::ok(Body::sized(match target {
            "/large" => pattern(4 << 20),
            _ => pattern(10_000),
        }))
    })
    .await;
    let squall = Squall::before(&upstream);
    // A connection's window that is larger than a stream's: only the stream is full.
    let mut builder = h2::client::Builder::new();
    builder
        .initial_connection_window_size(1 << 20)
        .initial_window_size(65_535);
    let client = H2Client::connect_with(squall.address, &builder).await;
    let (mut blocked, _) = client.open(&Request::get("/large"), true).await.unwrap();
    let head = read_head(&mut blocked).await.1.unwrap();
    for _ in 0..5 {
        client.get("/small").await.assert(200, pattern(10_000));
    }
    let mut body = head.into_body();
    let (body, _, ending) = super::support::http2::read_body(&mut body).await;
    assert_eq!(ending, Ending::Whole);
    assert_same(&body, &pattern(4 << 20));
}
each!(blocked_stream_does_not_stop_its_siblings { h1 h2 });
