//! The stop switch and the switches of rules: what is held goes on at once, as if there were no faults.

use std::sync::Arc;
use std::time::{Duration, Instant};

use squall::rule::switch::Switch;

use super::support::message::{Answer, Body, Ending, Request, Response};
use super::support::squall::{Squall, configuration, fault_rule};
use super::support::upstream::Upstream;
use super::support::{Pair, Protocol, each, pattern, within};

/// How a test stops the faults.
#[derive(Debug, Clone, Copy)]
enum Stop {
    All,
    Rule,
}

impl Stop {
    fn now(self, squall: &Squall) {
        match self {
            Stop::All => assert!(squall.server.arm(false, Some("a test"))),
            Stop::Rule => assert!(squall.server.switch(&id("r"), Switch::Off)),
        }
    }
}

/// Asks `/fault`, stops once the fault has taken hold, and checks that all goes on naturally and quickly.
async fn lets_go(pair: Pair, fault: &str, body: Body, stop: Stop) {
    let mut upstream = Upstream::answering(pair.up, Answer::ok(body.clone())).await;
    let squall = Squall::with_fault(&upstream, fault);
    let mut client = squall.client(pair.down).await;
    let request = Request::post("/fault", Body::sized(pattern(20_000)));
    let stopping = async {
        // Those that are held show in a metric; the others have at least begun by then.
        let deadline = Instant::now() + Duration::from_millis(300);
        while squall.metric("squall_requests_held", &[]) < 1.0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.now(&squall);
        Instant::now()
    };
    let (response, stopped) = within(async { tokio::join!(client.ask(&request), stopping) }).await;
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
    response.assert(200, body.bytes());
    assert_eq!(upstream.next().await.body, pattern(20_000));
    // The connection goes on, and so does squall.
    assert_eq!(client.get("/fault").await.field("squall-fault"), None);
    squall.until("squall_faults_active", &[], 0.0).await;
    squall.until("squall_requests_held", &[], 0.0).await;
    squall.assert_nobody_gone();
}

async fn a_delayed_request_goes_on(pair: Pair) {
    lets_go(pair, "{delay: 1h}", Body::sized("ok"), Stop::All).await;
}
each!(a_delayed_request_goes_on);

async fn a_delayed_response_goes_on(pair: Pair) {
    let fault = "{delay: {fixed: 1h, before: response}}";
    lets_go(pair, fault, Body::sized("ok"), Stop::Rule).await;
}
each!(a_delayed_response_goes_on);

async fn a_hanging_request_gets_its_natural_response(pair: Pair) {
    lets_go(pair, "{hang: {}}", Body::sized("ok"), Stop::All).await;
}
each!(a_hanging_request_gets_its_natural_response);

async fn a_request_that_hangs_because_of_a_rule_goes_on_without_it(pair: Pair) {
    lets_go(pair, "{hang: {}}", Body::sized("ok"), Stop::Rule).await;
}
each!(a_request_that_hangs_because_of_a_rule_goes_on_without_it);

async fn a_stalled_response_flows_on(pair: Pair) {
    let fault = "{stall: {after: 5000B, end: reset}}";
    lets_go(pair, fault, Body::sized(pattern(30_000)), Stop::All).await;
}
each!(a_stalled_response_flows_on);

async fn a_stalled_request_flows_on(pair: Pair) {
    let fault = "{stall: {after: 5000B, direction: request, end: reset}}";
    lets_go(pair, fault, Body::sized("ok"), Stop::Rule).await;
}
each!(a_stalled_request_flows_on);

async fn a_throttled_exchange_flows_freely(pair: Pair) {
    let fault = "{bandwidth: {request: 10KB/s, response: 1KB/s}}";
    lets_go(pair, fault, Body::chunked(pattern(60_000)), Stop::All).await;
}
each!(a_throttled_exchange_flows_freely);

async fn an_abort_after_a_delay_does_not_happen(down: Protocol) {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_fault(&upstream, "{delay: {fixed: 1h, before: response}}, {abort: 503}");
    let mut client = squall.client(down).await;
    let stopping = async {
        squall.until("squall_requests_held", &[], 1.0).await;
        squall.server.arm(false, None);
    };
    let request = Request::get("/fault");
    let (response, ()) = within(async { tokio::join!(client.ask(&request), stopping) }).await;
    response.assert(200, "ok");
    assert_eq!(squall.metric("squall_faults_injected_total", &["fault=\"abort\""]), 0.0);
}
each!(an_abort_after_a_delay_does_not_happen { h1 h2 });

async fn queued_requests_go_on_without_a_slot(down: Protocol) {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let faults = "{concurrency: {limit: 1, queue: 10}}, {delay: 1h}";
    let squall = Squall::with_fault(&upstream, faults);
    let asking: Vec<_> = (0..5)
        .map(|_| {
            let address = squall.address;
            tokio::spawn(async move {
                let mut client = super::support::client::Client::connect(down, address).await;
                client.get("/fault").await
            })
        })
        .collect();
    squall.until("squall_requests_held", &[], 5.0).await;
    squall.server.arm(false, None);
    for asked in asking {
        within(asked).await.unwrap().assert(200, "ok");
    }
    squall.until("squall_faults_active", &[], 0.0).await;
    squall.server.arm(true, None);
    assert_eq!(squall.metric("squall_armed", &[]), 1.0);
}
each!(queued_requests_go_on_without_a_slot { h1 h2 });

/// The length up to the cut was announced, so the cut stays; anything else would break the framing.
async fn an_announced_length_is_kept(down: Protocol) {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized(pattern(30_000)))).await;
    let faults = "{stall: {after: 100B, limit: 1h}}, {truncate: {after: 20000B, end: clean}}";
    let squall = Squall::with_fault(&upstream, faults);
    let mut client = squall.client(down).await;
    let stopping = async {
        squall.until("squall_requests_held", &[], 1.0).await;
        squall.server.arm(false, None);
    };
    let request = Request::get("/fault");
    let (response, ()) = within(async { tokio::join!(client.ask(&request), stopping) }).await;
    response.assert(200, &pattern(30_000)[..20_000]);
    client.get("/fault").await.assert(200, pattern(30_000));
}
each!(an_announced_length_is_kept { h1 h2 });

async fn a_cut_that_was_not_reached_does_not_happen(down: Protocol) {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::chunked(pattern(30_000)))).await;
    let faults = "{stall: {after: 100B, end: reset}}, {truncate: {after: 20000B, end: reset}}";
    let squall = Squall::with_fault(&upstream, faults);
    let mut client = squall.client(down).await;
    let stopping = async {
        squall.until("squall_requests_held", &[], 1.0).await;
        squall.server.switch(&id("r"), Switch::Off);
    };
    let request = Request::get("/fault");
    let (response, ()) = within(async { tokio::join!(client.ask(&request), stopping) }).await;
    response.assert(200, pattern(30_000));
}
each!(a_cut_that_was_not_reached_does_not_happen { h1 h2 });

#[tokio::test]
async fn switches_survive_reloads_also_of_changed_rules() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_fault(&upstream, "{abort: 503}");
    let get = Request::get("/fault");
    let ask = || squall.ask(Protocol::H1, &get);
    ask().await.assert(503, "");
    assert!(!squall.server.switch(&id("none"), Switch::Off));
    assert!(squall.server.switch(&id("r"), Switch::Off));
    let changed = configuration(&upstream, "{}", &fault_rule("{abort: 500}"));
    squall.reload(&changed).await.unwrap();
    ask().await.assert(200, "ok");
    assert!(squall.server.switch(&id("r"), Switch::Configured));
    ask().await.assert(500, "");
    squall.server.arm(false, Some("maintenance"));
    squall
        .reload(&configuration(&upstream, "{}", &fault_rule("{abort: 501}")))
        .await
        .unwrap();
    ask().await.assert(200, "ok");
    assert_eq!(squall.metric("squall_armed", &[]), 0.0);
    let stopped = squall.server.stopped().unwrap();
    assert_eq!(stopped.reason.as_deref(), Some("maintenance"));
    squall.server.arm(true, None);
    ask().await.assert(501, "");
}

#[tokio::test]
async fn a_rule_that_is_configured_off_can_be_switched_on() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_rules(&upstream, "[{name: r, enabled: false, faults: [{abort: 503}]}]");
    squall.ask(Protocol::H1, &Request::get("/")).await.assert(200, "ok");
    squall.server.switch(&id("r"), Switch::On);
    squall.ask(Protocol::H1, &Request::get("/")).await.assert(503, "");
}

#[tokio::test]
async fn a_connection_that_hangs_before_its_first_byte_goes_on() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Squall::with_rules(&upstream, "[{name: r, faults: [{hang: {before: connection}}]}]");
    let get = Request::get("/");
    let stopping = async {
        squall.until("squall_requests_held", &[], 1.0).await;
        squall.server.arm(false, None);
    };
    let (response, ()) = within(async { tokio::join!(squall.ask(Protocol::H1, &get), stopping) }).await;
    response.assert(200, "ok");
}

#[tokio::test]
async fn requests_after_the_switch_see_nothing() {
    let upstream = Upstream::answering(Protocol::H1, Answer::ok(Body::sized("ok"))).await;
    let squall = Arc::new(Squall::with_fault(&upstream, "{abort: 503}"));
    assert_eq!(squall.ask(Protocol::H1, &Request::get("/fault")).await.status, 503);
    squall.server.arm(false, None);
    let clients: Vec<_> = (0..10)
        .map(|_| {
            let squall = Arc::clone(&squall);
            tokio::spawn(async move {
                let mut client = squall.client(Protocol::H1).await;
                for _ in 0..50 {
                    let response: Response = client.get("/fault").await;
                    response.assert(200, "ok");
                    assert_eq!((response.ending, response.field("squall-fault")), (Ending::Whole, None));
                }
            })
        })
        .collect();
    for client in clients {
        within(client).await.unwrap();
    }
    assert_eq!(squall.metric("squall_faults_injected_total", &[]), 1.0);
    assert_eq!(
        squall.metric("squall_rules_matched_total", &[]),
        1.0,
        "it is not asked either"
    );
}

/// The id of a rule for everybody.
fn id(name: &str) -> squall::rule::id::RuleId {
    squall::rule::id::RuleId::new(None, name)
}
