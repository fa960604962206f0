use super::*;
use crate::config::load_text;
use crate::config::snapshot::{Inputs, Snapshot};
use crate::metrics::Metrics;
use crate::yaml::report::Report;

fn load(more: &str, previous: Option<&Snapshot>, now: Instant) -> Result<Snapshot, Report> {
    let text = format!(
        "listeners: {{web: {{address: '127.0.0.1:1', upstream: e}}, db: {{address: '127.0.0.1:2', upstream: s, protocol: tcp}}}}\n\
         upstreams: {{e: {{fake: echo}}, s: {{address: '127.0.0.1:3'}}}}\n{more}"
    );
    let metrics = Metrics::new().unwrap();
    let inputs = Inputs {
        previous,
        ..Inputs::new(&metrics, now)
    };
    load_text("squall.yaml", &text, inputs)
}

fn guards(more: &str) -> Vec<Arc<Guard>> {
    load(more, None, Instant::now())
        .unwrap_or_else(|report| panic!("{}", report.render(false)))
        .guards
}

#[test]
fn names_tell_the_kind_and_the_rule_or_are_given() {
    let all = guards(
        "stop_when: [{errors: {above: 5%}}, {errors: {above: 9%, over: 1m}}, {name: mine, p99: {above: 2s}}]\n\
         rules: [{name: r, faults: [{abort: 503}], stop_when: [{p50: {above: 1s}}, {health: {url: 'http://127.0.0.1:9/up'}}]}]",
    );
    let names: Vec<_> = all
        .iter()
        .map(|guard| (&*guard.name, guard.kind, guard.rule.as_ref().map(|rule| &*rule.name)))
        .collect();
    assert_eq!(
        names,
        [
            ("errors", "errors", None),
            ("errors 2", "errors", None),
            ("mine", "p99", None),
            ("p50 of r", "p50", Some("r")),
            ("health of r", "health", Some("r")),
        ]
    );
}

#[test]
fn shares_come_true_once_there_are_enough_samples() {
    let all = guards("stop_when: [{errors: {above: 10%, at_least: 10}}, {p90: {above: 1s, at_least: 10}}]");
    let natural = crate::guards::natural::Natural::default();
    natural.watch(all.iter().filter_map(|guard| guard.traffic()).map(Arc::clone).collect());
    let answer = |error, seconds| natural.answered("web", || error, Some(Duration::from_secs(seconds)));
    let reasons = || {
        all.iter()
            .map(|guard| guard.comes_true(Instant::now()))
            .collect::<Vec<_>>()
    };
    for _ in 0..9 {
        answer(true, 5);
    }
    assert_eq!(reasons(), [None, None], "too few");
    for _ in 0..81 {
        answer(false, 1);
    }
    assert_eq!(reasons(), [None, None], "9 of 90 are not more than a tenth");
    answer(true, 2);
    assert_eq!(
        reasons(),
        [
            Some("10 of 91 requests in the last 30s failed by themselves, more than 10%".to_owned()),
            Some("the natural p90 is above 1s: 10 of 91 requests in the last 30s took longer".to_owned()),
        ]
    );
    let shown = all[0].to_json(Instant::now());
    assert_eq!(
        (&shown["samples"], &shown["limit"], &shown["tripped"]),
        (&91.into(), &0.1.into(), &Value::Null)
    );
    all[0].trip(&"so".into(), Instant::now());
    assert_eq!(all[0].comes_true(Instant::now()), None, "once");
    assert!(all[0].reset() && !all[0].reset());
    assert_eq!(all[0].comes_true(Instant::now()), None, "old samples are forgotten");
}

#[test]
fn probes_come_true_after_failures_in_a_row() {
    let all = guards("stop_when: [{health: {url: 'http://127.0.0.1:9/', failures: 2}}]");
    let (guard, failed) = (&all[0], || Found::Failed("the health check responds with 503".into()));
    let now = Instant::now();
    guard.found(failed(), 0);
    guard.found(Found::Well, 0);
    guard.found(failed(), 0);
    assert_eq!(guard.comes_true(now), None);
    guard.found(failed(), 0);
    assert_eq!(
        guard.comes_true(now).unwrap(),
        "2 failures in a row: the health check responds with 503"
    );
    assert_eq!(guard.to_json(now)["value"], 2);
    guard.reset();
    guard.found(failed(), 0);
    assert_eq!(guard.to_json(now)["value"], Value::Null, "it began before the reset");
}

#[test]
fn a_reload_keeps_what_an_unchanged_guard_has_seen() {
    let now = Instant::now();
    let load = |more: &str, previous: Option<&Snapshot>| load(more, previous, now).unwrap();
    let first = load("stop_when: [{errors: {above: 5%}}, {p99: {above: 1s}}]", None);
    first.guards[0].trip(&"so".into(), now);
    let next = load("stop_when: [{errors: {above: 5%}}, {p99: {above: 2s}}]", Some(&first));
    assert!(Arc::ptr_eq(&first.guards[0], &next.guards[0]) && next.guards[0].tripped().is_some());
    assert!(!Arc::ptr_eq(&first.guards[1], &next.guards[1]));
    assert!(Arc::ptr_eq(&first.natural, &next.natural) && Arc::ptr_eq(&first.overall, &next.overall));
}

#[test]
fn mistakes_are_named() {
    let check = |more: &str, message: &str| {
        let report = load(more, None, Instant::now()).unwrap_err().render(false);
        assert!(report.contains(message), "{more}: {report}");
    };
    check("stop_when: []", "the list is empty");
    check(
        "stop_when: [{name: x}]",
        "the condition is missing: give one of errors, p50",
    );
    check(
        "stop_when: [{errors: {above: 5%}, p99: {above: 1s}}]",
        "more than one condition",
    );
    check("stop_when: [{errors: {above: 100%}}]", "can't be above 100%");
    check(
        "stop_when: [{errors: {above: 5%, over: 2h}}]",
        "`over` must be from 1s to 1h",
    );
    check("stop_when: [{errors: {}}]", "missing key `above`");
    check("stop_when: [{health: {url: shop}}]", "`shop` is not a valid URL");
    check("stop_when: [{health: {url: 'ftp://shop/'}}]", "is not a valid URL");
    check(
        "stop_when: [{health: {url: 'http://shop/', every: 1ms}}]",
        "at least 100ms",
    );
    check(
        "stop_when: [{prometheus: {url: 'http://p:9090', query: ' '}}]",
        "the query is empty",
    );
    check(
        "stop_when: [{name: a, p50: {above: 1s}}, {name: a, p50: {above: 2s}}]",
        "two conditions have the name `a`",
    );
    let rule =
        |stop: &str| format!("rules: [{{name: r, listener: db, faults: [{{close: {{}}}}], stop_when: [{stop}]}}]");
    check(
        &rule("{p99: {above: 1s}}"),
        "`p99` needs responses, but the rule's listeners are for tcp",
    );
}
