//! Clients that leave: the upstream learns of it, and squall counts it.

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::support::client::H2Client;
use super::support::http2::{ending, read_body, room};
use super::support::message::{Body, Ending, Request};
use super::support::squall::Squall;
use super::support::upstream::{Upstream, read_h1, seen_h1};
use super::support::{Pair, Protocol, each, within};

/// What an upstream goes through with a request.
#[derive(Debug, PartialEq)]
enum Event {
    /// The head has come.
    Begun,
    /// The request or the connection has ended.
    Ended(Ending),
}

/// An upstream that takes a request, never answers, and tells how it ended.
async fn silent(up: Protocol) -> (Upstream, UnboundedReceiver<Event>) {
    let (report, events) = unbounded_channel();
    let upstream = match up {
        Protocol::H1 => {
            Upstream::h1(move |_, mut wire| {
                let report = report.clone();
                async move {
                    let Ok(raw) = wire.reader().head().await else { return };
                    let _ = report.send(Event::Begun);
                    let mut seen = seen_h1(0, raw);
                    read_h1(&mut wire, &mut seen).await;
                    let ending = match seen.ending {
                        Ending::Whole => wire.end().await.1,
                        ending => ending,
                    };
                    let _ = report.send(Event::Ended(ending));
                }
            })
            .await
        }
        Protocol::H2 => {
            Upstream::h2(move |(request, mut respond)| {
                let report = report.clone();
                async move {
                    let _ = report.send(Event::Begun);
                    let (_, _, how) = read_body(&mut request.into_body()).await;
                    let how = match how {
                        Ending::Whole => {
                            match within(std::future::poll_fn(|context| respond.poll_reset(context))).await {
                                Ok(code) => Ending::Stream(code),
                                Err(error) => ending(&error),
                            }
                        }
                        how => how,
                    };
                    let _ = report.send(Event::Ended(how));
                }
            })
            .await
        }
    };
    (upstream, events)
}

/// Begins a request, leaves, and expects the upstream to learn of it.
async fn leave(pair: Pair, request: Request, sent: usize) {
    let (upstream, mut events) = silent(pair.up).await;
    let squall = Squall::before(&upstream);
    match pair.down {
        Protocol::H1 => {
            let mut wire = squall.wire().await;
            wire.write(request.head()).await;
            wire.write(&request.body.bytes()[..sent]).await;
            assert_eq!(within(events.recv()).await, Some(Event::Begun));
            drop(wire);
        }
        Protocol::H2 => {
            let client = H2Client::connect(squall.address).await;
            let ends = matches!(request.body, Body::None);
            let (_response, mut stream) = client.open(&request, ends).await.unwrap();
            if !ends {
                stream.send_data(request.body.bytes().slice(..sent), false).unwrap();
            }
            assert_eq!(within(events.recv()).await, Some(Event::Begun));
            client.leave();
        }
    }
    let Some(Event::Ended(ending)) = within(events.recv()).await else {
        panic!("the request did not end");
    };
    assert_ne!(ending, Ending::Whole, "a part looks like the whole");
    squall.clients_gone(1).await;
    squall.counted(0).await;
    squall.until("squall_connections", &[], 0.0).await;
    assert_eq!(squall.metric("squall_upstream_errors_total", &[]), 0.0);
}

async fn client_that_leaves_while_the_upstream_thinks_is_gone(pair: Pair) {
    leave(pair, Request::get("/"), 0).await;
}
each!(client_that_leaves_while_the_upstream_thinks_is_gone);

async fn client_that_leaves_in_its_upload_is_gone(pair: Pair) {
    leave(pair, Request::post("/", Body::sized("twelve bytes")), 6).await;
}
each!(client_that_leaves_in_its_upload_is_gone);

#[tokio::test]
async fn client_that_leaves_between_chunks_is_gone() {
    let (upstream, mut events) = silent(Protocol::H1).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write("POST / HTTP/1.1\r\nHost: origin.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await;
    assert_eq!(within(events.recv()).await, Some(Event::Begun));
    drop(wire);
    let Some(Event::Ended(ending)) = within(events.recv()).await else {
        panic!("the request did not end");
    };
    assert_ne!(ending, Ending::Whole);
    squall.clients_gone(1).await;
}

#[tokio::test]
async fn reset_of_the_client_reaches_the_upstream() {
    let (upstream, mut events) = silent(Protocol::H1).await;
    let squall = Squall::before(&upstream);
    let mut wire = squall.wire().await;
    wire.write(Request::get("/").wire()).await;
    assert_eq!(within(events.recv()).await, Some(Event::Begun));
    wire.reset();
    assert!(matches!(within(events.recv()).await, Some(Event::Ended(_))));
    squall.clients_gone(1).await;
}

/// RST_STREAM ends one request; its siblings and the connection go on.
async fn reset_of_a_stream_ends_its_request_only(up: Protocol) {
    let (upstream, mut events) = silent(up).await;
    let squall = Squall::before(&upstream);
    let client = H2Client::connect(squall.address).await;
    let (_stays, _) = client.open(&Request::get("/stays"), true).await.unwrap();
    assert_eq!(within(events.recv()).await, Some(Event::Begun));
    let (response, mut stream) = client.open(&Request::get("/leaves"), true).await.unwrap();
    assert_eq!(within(events.recv()).await, Some(Event::Begun));
    stream.send_reset(h2::Reason::CANCEL);
    drop(response);
    let Some(Event::Ended(ending)) = within(events.recv()).await else {
        panic!("the request did not end");
    };
    if up == Protocol::H2 {
        assert!(matches!(ending, Ending::Stream(_)), "{ending:?}");
    }
    squall.clients_gone(1).await;
    assert!(client.is_open());
    assert!(events.try_recv().is_err(), "the sibling ended");
}
each!(reset_of_a_stream_ends_its_request_only { h1 h2 });

/// An upstream that sends a body without end, until nobody takes it any more.
async fn endless(up: Protocol) -> (Upstream, UnboundedReceiver<Event>) {
    let (report, events) = unbounded_channel();
    let upstream = match up {
        Protocol::H1 => {
            Upstream::h1(move |_, mut wire| {
                let report = report.clone();
                async move {
                    if wire.reader().head().await.is_err() {
                        return;
                    }
                    let _ = report.send(Event::Begun);
                    wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                        .await;
                    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
                    while wire.try_write(&chunk).await {}
                    let _ = report.send(Event::Ended(Ending::Closed));
                }
            })
            .await
        }
        Protocol::H2 => {
            Upstream::h2(move |(_, mut respond)| {
                let report = report.clone();
                async move {
                    let _ = report.send(Event::Begun);
                    let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
                    while let Some(room) = room(&mut stream, 0x1000).await {
                        let piece = vec![b'x'; room.min(0x1000)];
                        if stream.send_data(piece.into(), false).is_err() {
                            break;
                        }
                    }
                    let _ = report.send(Event::Ended(Ending::Closed));
                }
            })
            .await
        }
    };
    (upstream, events)
}

async fn client_that_leaves_in_its_download_is_gone(pair: Pair) {
    let (upstream, mut events) = endless(pair.up).await;
    let squall = Squall::before(&upstream);
    match pair.down {
        Protocol::H1 => {
            let mut wire = squall.wire().await;
            wire.write(Request::get("/").wire()).await;
            wire.head().await;
            wire.exactly(100_000).await;
            drop(wire);
        }
        Protocol::H2 => {
            let client = H2Client::connect(squall.address).await;
            let (response, _) = client.open(&Request::get("/"), true).await.unwrap();
            let mut body = within(response).await.unwrap().into_body();
            within(body.data()).await.unwrap().unwrap();
            client.leave();
        }
    }
    assert_eq!(within(events.recv()).await, Some(Event::Begun));
    assert!(matches!(within(events.recv()).await, Some(Event::Ended(_))));
    squall.clients_gone(1).await;
    squall.counted(200).await;
    squall.until("squall_connections", &[], 0.0).await;
    assert_eq!(squall.metric("squall_upstream_errors_total", &[]), 0.0);
}
each!(client_that_leaves_in_its_download_is_gone);
