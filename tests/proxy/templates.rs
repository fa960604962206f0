//! Templates of declared routes: one that never ends gets a 500, and holds up no other request.

use std::time::{Duration, Instant};

use super::support::message::Request;
use super::support::squall::Squall;
use super::support::{Protocol, within};

/// One after the other, with another reason each to go on for long.
const PATHS: [&str; 4] = ["/endless", "/large", "/doubling", "/asked?n=1000000000"];

const ROUTES: &str = "
listeners: {web: {address: \"127.0.0.1:0\", upstream: fake}}
upstreams:
  fake:
    fake:
      routes:
        - {path: /quick, body: \"quick {{ method }}\"}
        - path: /endless
          json:
            value: \"{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}{% endfor %}{% endfor %}{% endfor %}x\"
        - {path: /large, body: \"{{ 'x' * 1000000000 }}\"}
        - path: /doubling
          body: \"{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}\"
        - {path: /asked, body: \"{{ 'x' * (query.n | int) }}\"}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn endless_templates_hold_up_no_other_request() {
    let squall = Squall::start(ROUTES);
    let mut hostile = tokio::task::JoinSet::new();
    for path in PATHS.iter().cycle().take(8) {
        let mut client = squall.client(Protocol::H1).await;
        hostile.spawn(async move { client.ask(&Request::get(path)).await });
    }
    let mut client = squall.client(Protocol::H1).await;
    let mut slowest = Duration::ZERO;
    while !hostile.is_empty() {
        let started = Instant::now();
        client.get("/quick").await.assert(200, "quick GET");
        slowest = slowest.max(started.elapsed());
        while let Some(failed) = hostile.try_join_next() {
            let failed = failed.unwrap();
            assert_eq!(failed.status, 500);
            assert!(failed.text().contains("too much time or memory"), "{}", failed.text());
        }
    }
    // All of them together take several seconds without optimization.
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    within(squall.until("squall_requests_total", &["status=\"500\""], 8.0)).await;
}
