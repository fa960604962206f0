//! Reloads and draining with requests under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::support::message::{Answer, Body, Ending, Request};
use super::support::squall::{Squall, configuration, fault_rule};
use super::support::upstream::Upstream;
use super::support::{Protocol, each, within};

/// An upstream that sends the first half of an answer, and the second when it is told to.
async fn in_two_halves() -> (Upstream, UnboundedReceiver<()>, UnboundedSender<()>) {
    let (report, seen) = unbounded_channel();
    let (go, wait) = unbounded_channel::<()>();
    let wait = Arc::new(tokio::sync::Mutex::new(wait));
    let upstream = Upstream::h1(move |_, mut wire| {
        let (report, wait) = (report.clone(), Arc::clone(&wait));
        async move {
            while wire.reader().head().await.is_ok() {
                wire.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").await;
                let _ = report.send(());
                wait.lock().await.recv().await;
                wire.write(" half").await;
            }
        }
    })
    .await;
    (upstream, seen, go)
}

async fn request_under_way_survives_a_reload(down: Protocol) {
    let (upstream, mut seen, go) = in_two_halves().await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(down).await;
    let request = Request::get("/fault");
    let reload = async {
        within(seen.recv()).await.unwrap();
        let rules = fault_rule("{abort: 503}");
        squall.reload(&configuration(&upstream, "{}", &rules)).await.unwrap();
        go.send(()).unwrap();
    };
    let (response, ()) = tokio::join!(client.ask(&request), reload);
    response.assert(200, "first half");
    // The same connection, the new configuration.
    client.ask(&request).await.assert(503, "");
    squall.injected("abort").await;
    squall.until("squall_reloads_total", &["result=\"ok\""], 1.0).await;
}
each!(request_under_way_survives_a_reload { h1 h2 });

async fn bad_reload_changes_nothing(down: Protocol) {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_fault(&upstream, "{abort: 503}");
    let mut client = squall.client(down).await;
    client.get("/fault").await.assert(503, "");
    assert!(squall.reload("listeners: {web: {adress: nonsense}}").await.is_err());
    client.get("/fault").await.assert(503, "");
    client.get("/next").await.assert(200, "ok");
    squall.until("squall_reloads_total", &["result=\"error\""], 1.0).await;
}
each!(bad_reload_changes_nothing { h1 h2 });

/// A delay that was drawn before the reload is waited for to its end.
#[tokio::test]
async fn held_request_keeps_its_configuration() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_fault(&upstream, "{delay: 200ms}");
    let mut client = squall.client(Protocol::H1).await;
    let began = std::time::Instant::now();
    let request = Request::get("/fault");
    let reload = async {
        squall.until("squall_requests_held", &[], 1.0).await;
        squall.reload(&configuration(&upstream, "{}", "[]")).await.unwrap();
    };
    let (response, ()) = tokio::join!(client.ask(&request), reload);
    response.assert(200, "ok");
    assert!(began.elapsed() >= Duration::from_millis(200));
    let again = client.ask(&request).await;
    again.assert(200, "ok");
    assert_eq!(again.field("squall-fault"), None);
}

async fn draining_waits_for_what_is_under_way(down: Protocol) {
    let (upstream, mut seen, go) = in_two_halves().await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(down).await;
    let request = Request::get("/");
    let server = Arc::clone(&squall.server);
    let (begin, begun) = tokio::sync::oneshot::channel::<()>();
    let drained = tokio::spawn(async move {
        begun.await.unwrap();
        server.drain(Duration::from_secs(8)).await
    });
    let drain = async {
        within(seen.recv()).await.unwrap();
        begin.send(()).unwrap();
        // Nothing new is accepted any more.
        while tokio::net::TcpStream::connect(squall.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(!drained.is_finished());
        go.send(()).unwrap();
    };
    let (response, ()) = tokio::join!(client.ask(&request), drain);
    response.assert(200, "first half");
    drop(client);
    assert!(within(drained).await.unwrap(), "not drained");
}
each!(draining_waits_for_what_is_under_way { h1 h2 });

#[tokio::test]
async fn draining_ends_idle_connections() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::before(&upstream);
    for down in [Protocol::H1, Protocol::H2] {
        let mut client = squall.client(down).await;
        client.get("/").await.assert(200, "ok");
        if down == Protocol::H2 {
            assert!(within(squall.server.drain(Duration::from_secs(8))).await);
            assert_eq!(client.end().await, Ending::Closed);
        }
    }
}

async fn draining_cuts_injected_waits_short(down: Protocol) {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_fault(&upstream, "{delay: 1h}");
    let mut client = squall.client(down).await;
    let request = Request::get("/fault");
    let drain = async {
        squall.until("squall_requests_held", &[], 1.0).await;
        assert!(within(squall.server.drain(Duration::from_secs(8))).await);
    };
    let (response, ()) = tokio::join!(client.ask(&request), drain);
    response.assert(200, "ok");
    squall.until("squall_waits_cut_total", &[], 1.0).await;
}
each!(draining_cuts_injected_waits_short { h1 h2 });

/// What does not end within the grace is broken off, visibly.
#[tokio::test]
async fn draining_ends_at_its_grace() {
    let (upstream, mut seen, _go) = in_two_halves().await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(Protocol::H1).await;
    let request = Request::get("/");
    let drain = async {
        within(seen.recv()).await.unwrap();
        within(squall.server.drain(Duration::from_millis(100))).await
    };
    let (response, drained) = tokio::join!(client.ask(&request), drain);
    assert!(!drained);
    assert_ne!(response.ending, Ending::Whole);
}

#[tokio::test]
async fn removed_listener_finishes_what_it_has_begun() {
    let (upstream, mut seen, go) = in_two_halves().await;
    let squall = Squall::before(&upstream);
    let mut client = squall.client(Protocol::H1).await;
    let request = Request::get("/");
    let reload = async {
        within(seen.recv()).await.unwrap();
        let renamed = configuration(&upstream, "{}", "[]").replace("{web:", "{other:");
        squall.reload(&renamed).await.unwrap();
        go.send(()).unwrap();
    };
    let (response, ()) = tokio::join!(client.ask(&request), reload);
    response.assert(200, "first half");
}
