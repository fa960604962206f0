//! Figures of the last second and the last ten, for the dashboard: `/api/v1/stats`, and the event `stats` each second.
//!
//! The server aggregates, so that a watcher costs the same however many requests there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::Shared;
use super::problem::json_answer;
use crate::histogram::Histogram;
use crate::rule::decide::Rule;
use crate::server::Server;
use crate::traffic::{MOST_SECONDS, Numbers};

/// The most rules that are listed, so that thousands of them make no event of many megabytes.
const MOST_RULES: usize = 200;
/// Bounds of a distribution in ms, five to a decade.
const BOUNDS_MS: [f64; 31] = [
    0.1, 0.16, 0.25, 0.4, 0.63, 1.0, 1.6, 2.5, 4.0, 6.3, 10.0, 16.0, 25.0, 40.0, 63.0, 100.0, 160.0, 250.0, 400.0,
    630.0, 1e3, 1.6e3, 2.5e3, 4e3, 6.3e3, 1e4, 1.6e4, 2.5e4, 4e4, 6.3e4, 1e5,
];
/// How long after the end of a second its figures are told: requests that ended in it are counted by then.
const MARGIN: Duration = Duration::from_millis(5);

pub(super) async fn stats(State(context): Shared) -> Response {
    json_answer(&figures(&context.server))
}

/// Tells figures each second while somebody listens to events.
#[derive(Debug, Default)]
pub(super) struct Ticker(Arc<AtomicBool>);

impl Ticker {
    /// Starts telling, unless it is being done. Call it once there is a listener.
    pub(super) fn start(&self, server: &Arc<Server>) {
        // AcqRel, so that a task that stops and a listener that comes see each other: one of the two goes on.
        if !self.0.swap(true, Ordering::AcqRel) {
            tokio::spawn(tick(Arc::clone(server), Arc::clone(&self.0)));
        }
    }
}

async fn tick(server: Arc<Server>, running: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(server.traffic().until_next(Instant::now()) + MARGIN).await;
        if !server.events().are_heard() {
            running.store(false, Ordering::Release);
            if !server.events().are_heard() || running.swap(true, Ordering::AcqRel) {
                return;
            }
        }
        server.events().tell("stats", || figures(&server));
    }
}

/// All figures. Requests, errors and quantiles are those of the last complete second, distributions those of the last ten.
fn figures(server: &Server) -> Value {
    let now = Instant::now();
    let traffic = server.traffic();
    let (second, ten) = (traffic.seconds(now, 1), traffic.seconds(now, MOST_SECONDS));
    let snapshot = server.snapshot();
    let (rules, left_out) = rules(&snapshot.rules);
    let mut figures = json!({
        "time": unix_seconds(),
        "armed": server.is_armed(),
        "revision": snapshot.revision,
        "held": server.metrics().held.get(),
        "connections": server.connections(),
        "natural_ms": quantiles(&second.natural),
        "injected_ms": quantiles(&second.injected),
        "total_ms": quantiles(&second.total),
        "distribution": {
            "bounds_ms": BOUNDS_MS,
            "natural": spread(&ten.natural),
            "injected": spread(&ten.injected),
            "total": spread(&ten.total),
        },
        "rules": rules,
        "rules_left_out": left_out,
        "totals": numbers(traffic.totals()),
    });
    if let (Some(figures), Value::Object(numbers)) = (figures.as_object_mut(), numbers(second.numbers)) {
        figures.extend(numbers);
    }
    figures
}

fn numbers(of: Numbers) -> Value {
    json!({
        "requests": of.requests,
        "errors_natural": of.errors_natural,
        "errors_injected": of.errors_injected,
        "faults": of.faults,
    })
}

/// The counters of rules that have matched something: if there are too many, of those that have matched most. Also the number of
/// rules that are left out for that.
fn rules(all: &[Arc<Rule>]) -> (Vec<Value>, usize) {
    let mut matched: Vec<&Arc<Rule>> = all.iter().filter(|rule| rule.state.matched() > 0).collect();
    let left_out = matched.len().saturating_sub(MOST_RULES);
    if left_out > 0 {
        matched.sort_by_cached_key(|rule| std::cmp::Reverse(rule.state.matched()));
        matched.truncate(MOST_RULES);
    }
    let counters = |rule: &Arc<Rule>| {
        let state = &rule.state;
        json!({
            "name": &*rule.name,
            "space": rule.space,
            "matched": state.matched(),
            "hits": state.hits(),
            "active": state.active(),
        })
    };
    (matched.into_iter().map(counters).collect(), left_out)
}

fn quantiles(times: &Histogram) -> Value {
    let quantile = |share: f64| times.quantile(share).map(millis);
    json!({"p50": quantile(0.5), "p90": quantile(0.9), "p99": quantile(0.99)})
}

/// The number of times up to each bound, and beyond the last.
fn spread(times: &Histogram) -> Vec<u64> {
    let bounds: Vec<Duration> = BOUNDS_MS.map(|ms| Duration::from_secs_f64(ms / 1e3)).to_vec();
    times.spread(&bounds)
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Seconds since 1970, to the millisecond.
fn unix_seconds() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs_f64() * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::admin::tests::admin;
    use crate::traffic::{Seen, Wrong};

    fn seen(natural_ms: u64, injected_ms: u64) -> Seen {
        Seen {
            natural: Some(Duration::from_millis(natural_ms)),
            injected: Duration::from_millis(injected_ms),
            total: Duration::from_millis(natural_ms + injected_ms),
            error: None,
            faults: usize::from(injected_ms > 0),
        }
    }

    #[tokio::test]
    async fn figures_are_of_the_last_seconds() {
        let admin = admin("rules: [{name: a, faults: [{delay: 1ms}]}, {name: b, faults: [{delay: 1ms}]}]\n");
        let Some(earlier) = Instant::now().checked_sub(Duration::from_millis(1)) else {
            return;
        };
        let traffic = admin.server.traffic();
        for _ in 0..10 {
            traffic.record(earlier, &seen(20, 0));
        }
        traffic.record(
            earlier,
            &Seen {
                error: Some(Wrong::Injected),
                ..seen(20, 300)
            },
        );
        tokio::time::sleep(traffic.until_next(Instant::now()) + MARGIN).await;
        let (_, stats) = admin.json(Method::GET, "/api/v1/stats").await;
        assert_eq!(
            (&stats["requests"], &stats["errors_injected"], &stats["faults"]),
            (&11.into(), &1.into(), &1.into())
        );
        assert_eq!(stats["totals"]["requests"], 11);
        let median = stats["natural_ms"]["p50"].as_f64().unwrap();
        assert!((19.5..20.5).contains(&median), "{median}");
        let distribution = &stats["distribution"];
        let sum = |name: &str| -> u64 {
            let counts = distribution[name].as_array().unwrap();
            assert_eq!(counts.len(), BOUNDS_MS.len() + 1);
            counts.iter().map(|count| count.as_u64().unwrap()).sum()
        };
        assert_eq!((sum("natural"), sum("injected"), sum("total")), (11, 1, 11));
        assert_eq!(stats["rules"], json!([]), "none has matched");
    }

    #[test]
    fn nothing_has_no_quantiles() {
        let none = json!({"p50": null, "p90": null, "p99": null});
        assert_eq!(quantiles(&Histogram::default()), none);
    }

    #[tokio::test]
    async fn figures_are_told_while_somebody_listens() {
        let admin = admin("");
        let ticker = Ticker::default();
        let mut listener = admin.server.events().listen();
        ticker.start(&admin.server);
        ticker.start(&admin.server);
        for _ in 0..2 {
            assert_eq!(listener.recv().await.unwrap().kind, "stats");
        }
        assert!(listener.try_recv().is_err(), "once a second");
        drop(listener);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert!(!ticker.0.load(Ordering::SeqCst), "nobody listens any more");
        let mut again = admin.server.events().listen();
        ticker.start(&admin.server);
        assert_eq!(again.recv().await.unwrap().kind, "stats");
    }
}
