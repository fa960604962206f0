//! `choose`, `shadow` and `when`: which requests are hit, and that the others pass untouched.

use super::support::message::{Answer, Body, Request};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::{Protocol, each};

async fn origin() -> Upstream {
    Upstream::answering(Protocol::H1, Answer::ok(Body::sized("natural"))).await
}

async fn one_of_several_outcomes_is_chosen(down: Protocol) {
    let upstream = origin().await;
    let rules = "[{name: r, choose: [{weight: 1, faults: [{abort: 500}]}, {weight: 1, faults: [{abort: 501}]}, \
        {weight: 1}]}]";
    let squall = Squall::with_rules(&upstream, rules);
    let mut client = squall.client(down).await;
    let mut counts = [0u32; 3];
    for _ in 0..60 {
        match client.get("/").await.status {
            500 => counts[0] += 1,
            501 => counts[1] += 1,
            200 => counts[2] += 1,
            other => panic!("{other}"),
        }
    }
    assert!(counts.iter().all(|count| *count > 5), "{counts:?}");
    let injected = f64::from(counts[0] + counts[1]);
    squall
        .until(
            "squall_faults_injected_total",
            &["rule=\"r\"", "fault=\"abort\""],
            injected,
        )
        .await;
    squall.until("squall_rules_matched_total", &["rule=\"r\""], 60.0).await;
}
each!(one_of_several_outcomes_is_chosen { h1 h2 });

/// The same seed, the same outcomes, over either protocol.
#[tokio::test]
async fn outcomes_do_not_depend_on_the_protocol() {
    let mut outcomes = Vec::new();
    for down in [Protocol::H1, Protocol::H2] {
        let upstream = origin().await;
        let rules = "[{name: r, when: {percentage: 50}, faults: [{abort: 503}]}]";
        let squall = Squall::with_rules(&upstream, rules);
        let mut client = squall.client(down).await;
        let mut statuses = Vec::new();
        for _ in 0..30 {
            statuses.push(client.get("/").await.status);
        }
        outcomes.push(statuses);
    }
    assert_eq!(outcomes[0], outcomes[1]);
    assert!(outcomes[0].contains(&200) && outcomes[0].contains(&503));
}

async fn shadow_decides_and_injects_nothing(down: Protocol, fault: &str, name: &str) {
    let upstream = origin().await;
    let squall = Squall::with_rules(&upstream, &format!("[{{name: r, shadow: true, faults: [{fault}]}}]"));
    let response = squall.ask(down, &Request::get("/")).await;
    response.assert(200, "natural");
    assert_eq!(response.field("squall-fault"), None);
    squall.counted(200).await;
    let label = format!("fault=\"{name}\"");
    squall
        .until("squall_faults_shadowed_total", &["rule=\"r\"", &label], 1.0)
        .await;
    assert_eq!(squall.metric("squall_faults_injected_total", &[]), 0.0);
    squall.assert_nobody_gone();
}

async fn shadow_of_an_abort(down: Protocol) {
    shadow_decides_and_injects_nothing(down, "{abort: 503}", "abort").await;
}
each!(shadow_of_an_abort { h1 h2 });

async fn shadow_of_a_reset(down: Protocol) {
    shadow_decides_and_injects_nothing(down, "{reset: {}}", "reset").await;
}
each!(shadow_of_a_reset { h1 h2 });

async fn shadow_of_a_delay(down: Protocol) {
    shadow_decides_and_injects_nothing(down, "{delay: 1m}", "delay").await;
}
each!(shadow_of_a_delay { h1 h2 });

async fn shadow_of_a_truncation(down: Protocol) {
    shadow_decides_and_injects_nothing(down, "{truncate: 2B}", "truncate").await;
}
each!(shadow_of_a_truncation { h1 h2 });

#[tokio::test]
async fn shadow_does_not_end_the_list() {
    let upstream = origin().await;
    let rules = "[{name: s, shadow: true, faults: [{abort: 500}]}, {name: r, faults: [{abort: 503}]}]";
    let squall = Squall::with_rules(&upstream, rules);
    squall.ask(Protocol::H1, &Request::get("/")).await.assert(503, "");
    squall.until("squall_faults_shadowed_total", &["rule=\"s\""], 1.0).await;
    squall.injected("abort").await;
}

async fn first_attempts_fail(down: Protocol) {
    let upstream = origin().await;
    let rules = "[{name: r, when: {attempts: 2, key: header:x-key}, faults: [{abort: 503}]}]";
    let squall = Squall::with_rules(&upstream, rules);
    let mut client = squall.client(down).await;
    for key in ["a", "b"] {
        for status in [503, 503, 200, 200] {
            let request = Request::get("/").field("x-key", key);
            assert_eq!(client.ask(&request).await.status, status);
        }
    }
}
each!(first_attempts_fail { h1 h2 });
