//! `quota` and `concurrency`: the requests that are too many are refused, and queues move on.

use std::sync::Arc;
use std::time::Duration;

use super::support::client::Client;
use super::support::message::{Answer, Body, Ending, Request};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::{Protocol, each, within};

async fn quota_refuses_what_is_too_much(down: Protocol) {
    let mut upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_fault(&upstream, "{quota: {requests: 2, per: 1m}}");
    let mut client = squall.client(down).await;
    for left in ["1", "0"] {
        let response = client.get("/fault").await;
        response.assert(200, "ok");
        assert_eq!(response.field("x-ratelimit-remaining"), Some(left));
        assert_eq!(upstream.next().await.target, "/fault");
    }
    let refused = client.get("/fault").await;
    assert_eq!((refused.status, refused.ending), (429, Ending::Whole));
    assert!(refused.field("retry-after").is_some());
    assert!(refused.field("ratelimit-policy").unwrap().contains("q=2;w=60"));
    assert!(refused.field("squall-fault").unwrap().contains("fault=quota"));
    client.get("/next").await.assert(200, "ok");
    squall
        .until("squall_faults_injected_total", &["fault=\"quota\""], 1.0)
        .await;
    squall.until("squall_requests_total", &["status=\"429\""], 1.0).await;
    squall.assert_nobody_gone();
    assert_eq!(upstream.next().await.target, "/next");
    upstream.assert_no_more();
}
each!(quota_refuses_what_is_too_much { h1 h2 });

/// An upstream that answers when it is told to.
async fn patient() -> (
    Upstream,
    tokio::sync::mpsc::UnboundedReceiver<String>,
    tokio::sync::mpsc::UnboundedSender<()>,
) {
    let (report, seen) = tokio::sync::mpsc::unbounded_channel();
    let (go, wait) = tokio::sync::mpsc::unbounded_channel::<()>();
    let wait = Arc::new(tokio::sync::Mutex::new(wait));
    let upstream = Upstream::h1(move |_, mut wire| {
        let (report, wait) = (report.clone(), Arc::clone(&wait));
        async move {
            while let Ok(head) = wire.reader().head().await {
                let _ = report.send(head);
                wait.lock().await.recv().await;
                wire.try_write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    (upstream, seen, go)
}

async fn full_server_refuses(down: Protocol) {
    let (upstream, mut seen, go) = patient().await;
    let fault = "{concurrency: {limit: 1, status: 529, retry_after: 3s}}";
    let squall = Squall::with_fault(&upstream, fault);
    let (mut one, mut two) = (squall.client(down).await, squall.client(down).await);
    let get = Request::get("/fault");
    let first = one.ask(&get);
    let second = async {
        within(seen.recv()).await.unwrap();
        let refused = two.get("/fault").await;
        assert_eq!((refused.status, refused.ending), (529, Ending::Whole));
        assert_eq!(refused.field("retry-after"), Some("3"));
        go.send(()).unwrap();
    };
    let (first, ()) = tokio::join!(first, second);
    first.assert(200, "ok");
    squall.injected("concurrency").await;
    go.send(()).unwrap();
    two.get("/fault").await.assert(200, "ok");
}
each!(full_server_refuses { h1 h2 });

async fn queue_moves_on(down: Protocol) {
    let (upstream, mut seen, go) = patient().await;
    let squall = Squall::with_fault(&upstream, "{concurrency: {limit: 1, queue: 1}}");
    let (mut one, mut two) = (squall.client(down).await, squall.client(down).await);
    let get = Request::get("/fault");
    let release = async {
        within(seen.recv()).await.unwrap();
        squall.until("squall_requests_held", &[], 1.0).await;
        assert!(seen.try_recv().is_err(), "two are with the upstream");
        go.send(()).unwrap();
        within(seen.recv()).await.unwrap();
        go.send(()).unwrap();
    };
    let (first, second, ()) = tokio::join!(one.ask(&get), two.ask(&get), release);
    first.assert(200, "ok");
    second.assert(200, "ok");
    squall.until("squall_requests_total", &["status=\"200\""], 2.0).await;
    squall.until("squall_requests_held", &[], 0.0).await;
}
each!(queue_moves_on { h1 h2 });

/// A client that leaves the queue makes room in it, and one that leaves its place makes room at the upstream.
async fn leaving_makes_room(down: Protocol) {
    let (upstream, mut seen, go) = patient().await;
    let squall = Squall::with_fault(&upstream, "{concurrency: {limit: 1, queue: 1}}");
    let mut leave = Vec::new();
    for held in [0.0, 1.0] {
        let mut client = squall.client(down).await;
        let opened = match &mut client {
            Client::H1(wire) => {
                wire.write(Request::get("/fault").wire()).await;
                None
            }
            Client::H2(client) => Some(client.open(&Request::get("/fault"), true).await.unwrap()),
        };
        if leave.is_empty() {
            within(seen.recv()).await.unwrap();
        }
        squall.until("squall_requests_held", &[], held).await;
        leave.push((client, opened));
    }
    for (client, opened) in leave {
        drop(opened);
        match client {
            Client::H1(wire) => drop(wire),
            Client::H2(client) => client.leave(),
        }
    }
    squall.clients_gone(2).await;
    squall.until("squall_requests_held", &[], 0.0).await;
    squall.until("squall_faults_active", &[], 0.0).await;
    // The one that waited may have reached the upstream before its own end was seen.
    for _ in 0..3 {
        go.send(()).unwrap();
    }
    squall.ask(down, &Request::get("/fault")).await.assert(200, "ok");
}
each!(leaving_makes_room { h1 h2 });

#[tokio::test]
async fn wait_in_a_queue_ends_at_its_timeout() {
    let (upstream, mut seen, go) = patient().await;
    let squall = Squall::with_fault(&upstream, "{concurrency: {limit: 1, queue: 1, timeout: 100ms}}");
    let (mut one, mut two) = (squall.wire().await, squall.wire().await);
    one.write(Request::get("/fault").wire()).await;
    within(seen.recv()).await.unwrap();
    let began = std::time::Instant::now();
    let refused = two.ask(&Request::get("/fault")).await;
    assert_eq!(refused.status, 503);
    assert!(began.elapsed() >= Duration::from_millis(100));
    go.send(()).unwrap();
    one.response("GET").await.assert(200, "ok");
}

#[tokio::test]
async fn connections_that_find_no_place_are_closed() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let rule = "[{name: r, faults: [{concurrency: {limit: 1, before: connection}}]}]";
    let squall = Squall::with_rules(&upstream, rule);
    let mut one = squall.wire().await;
    one.ask(&Request::get("/")).await.assert(200, "ok");
    assert_eq!(squall.wire().await.end().await, (Vec::new(), Ending::Closed));
    drop(one);
    squall.until("squall_connections", &[], 0.0).await;
    squall.ask(Protocol::H1, &Request::get("/")).await.assert(200, "ok");
}

/// The limits of all rules together, and that a reload which leaves them alone goes on counting.
#[tokio::test]
async fn limits_of_all_rules_bound_their_sum_across_reloads() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let rules = |last: u16| {
        format!(
            "[{{name: a, match: {{path: /fault-a}}, faults: [{{abort: 503}}]}}, \
              {{name: b, match: {{path: /fault-b}}, faults: [{{abort: {last}}}]}}]\n\
             limits: {{total: 3}}"
        )
    };
    let squall = Squall::with_rules(&upstream, &rules(500));
    let mut client = squall.client(Protocol::H1).await;
    let mut status = async |path: &str| client.get(path).await.status;
    assert_eq!((status("/fault-a").await, status("/fault-b").await), (503, 500));
    squall
        .reload(&super::support::squall::configuration(&upstream, "{}", &rules(501)))
        .await
        .unwrap();
    assert_eq!((status("/fault-b").await, status("/fault-a").await), (501, 200));
    squall.until("squall_faults_active", &[], 0.0).await;
}

#[tokio::test]
async fn a_rate_lets_so_many_be_hit_at_once_and_then_evenly_spread() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_rules(
        &upstream,
        "[{name: r, when: {limits: {rate: 5/h}}, faults: [{abort: 503}]}]",
    );
    let mut client = squall.client(Protocol::H1).await;
    let mut hit = 0;
    for _ in 0..20 {
        hit += u32::from(client.get("/").await.status == 503);
    }
    assert_eq!(hit, 5);
}
