use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, Method};
use proptest::prelude::*;

use crate::config::load_text;
use crate::config::snapshot::{Inputs, Snapshot};
use crate::content::Content;
use crate::draw::head::Head;
use crate::fault::effect::{Effect, Ending};
use crate::metrics::Metrics;
use crate::rule::plan::Plan;
use crate::rule::state::{Live, Peek};
use crate::shape::{Act, Rate, Scope};

const TOP: &str =
    "seed: 42\nlisteners:\n  web: {address: 127.0.0.1:8080, upstream: e}\nupstreams:\n  e: {fake: echo}\nrules:\n";

fn load(rules: &str) -> Snapshot {
    let metrics = Metrics::new().unwrap();
    let inputs = Inputs::new(&metrics, Instant::now());
    load_text("test.yaml", &format!("{TOP}{rules}"), inputs)
        .map_err(|report| report.render(false))
        .unwrap()
}

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let parse = |(name, value): &(&str, &str)| (HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    fields.iter().map(parse).collect()
}

fn decide(snapshot: &Snapshot, fields: &[(&str, &str)]) -> Option<Box<Plan>> {
    decide_at(snapshot, fields, Instant::now())
}

fn decide_at(snapshot: &Snapshot, fields: &[(&str, &str)], now: Instant) -> Option<Box<Plan>> {
    let headers = headers(fields);
    let head = Head::new(
        &Method::GET,
        "/pay?x=1",
        Some("shop.example.com"),
        &headers,
        "10.0.0.1".parse().ok(),
    );
    snapshot.listeners[0].rules().decide(&head, &Live { now })
}

/// The effects of a plan in short.
fn effects(plan: Option<&Plan>) -> Vec<String> {
    let short = |effect: &Effect| match effect {
        Effect::Wait { time, .. } => format!("wait {time:?}"),
        Effect::End { ending, .. } => match ending {
            Ending::Answer(answer, status) => format!("answer {}", status.unwrap_or(answer.status).as_u16()),
            Ending::Grpc(answer) => format!("grpc {}", answer.status.code),
            Ending::Close => "close".into(),
            Ending::Reset(code) => format!("reset {code}"),
            Ending::Hang(_) => "hang".into(),
        },
        Effect::Queue { .. } => "queue".into(),
        Effect::Certificate(certificate) => certificate.describe().into(),
        Effect::Fields(_) => "fields".into(),
        Effect::GoAway => "goaway".into(),
        Effect::Rewrite(_) => "rewrite".into(),
        Effect::Shape(parts) => format!("{parts:?}"),
        Effect::Duplicate { .. } => "duplicate".into(),
        Effect::Skip(reason) => format!("skip {reason}"),
    };
    plan.map(|plan| plan.actions.iter().map(|action| short(&action.effect)).collect())
        .unwrap_or_default()
}

fn check(rules: &str, fields: &[(&str, &str)], expect: &[&str]) {
    let snapshot = load(rules);
    assert_eq!(effects(decide(&snapshot, fields).as_deref()), expect, "{rules}");
}

/// Which of the first `n` requests are hit, from 1.
fn hit(rules: &str, n: u32, fields: &[(&str, &str)]) -> Vec<u32> {
    let snapshot = load(rules);
    let now = Instant::now();
    (1..=n)
        .filter(|_| decide_at(&snapshot, fields, now).is_some())
        .collect()
}

#[test]
fn delays_add_up_and_the_first_ending_ends_the_list() {
    check(
        "  - {name: a, match: {path: /pay}, faults: [delay: 1s]}\n  - {name: b, match: {path: /pay}, faults: [{delay: 2s}, {abort: 500}]}\n  - {name: c, match: {path: /pay}, faults: [reset: {}]}\n",
        &[],
        &["wait 1s", "wait 2s", "answer 500"],
    );
}

#[test]
fn a_shadow_rule_ends_nothing_for_the_others() {
    check(
        "  - {name: a, shadow: true, faults: [abort: 500]}\n  - {name: b, faults: [delay: 1s]}\n",
        &[],
        &["answer 500", "wait 1s"],
    );
}

/// The request is for `shop.example.com`.
#[test]
fn hosts_match_with_their_ports() {
    for (host, hits) in [
        ("shop.example.com:443", true),
        ("\"*.example.com:80\"", true),
        ("{exact: shop.example.com:80}", true),
        ("{suffix: example.com:80}", true),
        ("shop.example.com:8080", false),
        ("other.example.com:80", false),
    ] {
        let rules = format!("  - {{name: a, match: {{host: {host}}}, faults: [abort: 500]}}\n");
        check(&rules, &[], if hits { &["answer 500"] } else { &[] });
    }
}

#[test]
fn a_disabled_rule_is_never_drawn() {
    check("  - {name: a, enabled: false, faults: [abort: 500]}\n", &[], &[]);
}

#[test]
fn grpc_answers_go_to_grpc_calls() {
    let rules = "  - {name: a, faults: [abort: {grpc: UNAVAILABLE}]}\n";
    check(
        rules,
        &[("content-type", "application/grpc+proto")],
        &["grpc UNAVAILABLE"],
    );
    check(rules, &[], &["skip not a gRPC request"]);
    check(
        "  - {name: a, faults: [abort: {grpc: UNAVAILABLE, status: 503}]}\n",
        &[],
        &["answer 503"],
    );
}

#[test]
fn requested_faults_stay_within_the_rule() {
    let rules = "  - {name: a, when: {requested: true}, faults: [{delay: 2s}, {abort: 503}]}\n";
    check(rules, &[], &[]);
    check(rules, &[("x-envoy-fault-delay-request", "100")], &["wait 100ms"]);
    check(rules, &[("x-envoy-fault-delay-request", "5000")], &["wait 2s"]);
    check(rules, &[("x-envoy-fault-abort-request", "418")], &["answer 418"]);
    check(rules, &[("x-envoy-fault-abort-request", "99")], &[]);
    check(
        rules,
        &[
            ("x-envoy-fault-delay-request", "100"),
            ("x-envoy-fault-delay-request-percentage", "0"),
            ("x-envoy-fault-abort-request", "500"),
        ],
        &["answer 500"],
    );
}

#[test]
fn only_those_who_ask_count_as_matched() {
    let rules = "  - {name: a, when: {requested: true, every: 2}, faults: [{abort: 503}]}\n";
    let (snapshot, now) = (load(rules), Instant::now());
    for (field, matched) in [
        ("accept", 0),
        ("x-envoy-fault-delay-request", 0),
        ("x-envoy-fault-abort-request", 1),
    ] {
        decide_at(&snapshot, &[(field, "500")], now);
        assert_eq!(snapshot.rules[0].state.matched(), matched, "{field}");
    }
    assert_eq!(hit(rules, 4, &[("x-envoy-fault-abort-request", "500")]), [2, 4]);
}

#[test]
fn every_attempts_total_and_share_count() {
    assert_eq!(
        hit("  - {name: a, when: {every: 3}, faults: [delay: 1s]}\n", 10, &[]),
        [3, 6, 9]
    );
    let attempts = "  - {name: a, when: {key: header:k, attempts: 2}, faults: [delay: 1s]}\n";
    assert_eq!(hit(attempts, 5, &[("k", "1")]), [1, 2]);
    assert_eq!(
        hit(attempts, 3, &[]),
        [1, 2, 3],
        "a request without the key is one of its own"
    );
    assert_eq!(
        hit(
            "  - {name: a, when: {limits: {total: 2}}, faults: [delay: 1s]}\n",
            5,
            &[]
        ),
        [1, 2]
    );
    assert_eq!(
        hit(
            "  - {name: a, when: {limits: {share: 25%}}, faults: [delay: 1s]}\n",
            9,
            &[]
        ),
        [4, 8]
    );
}

#[test]
fn schedules_and_expiry_follow_the_clock() {
    let snapshot = load(
        "  - {name: a, when: {schedule: {start: 30s, duration: 10s}, limits: {expires: 1m}}, faults: [delay: 1s]}\n",
    );
    let loaded = Instant::now();
    let at = |seconds| decide_at(&snapshot, &[], loaded + Duration::from_secs(seconds)).is_some();
    assert_eq!(
        [0, 29, 31, 39, 41, 70].map(at),
        [false, false, true, true, false, false]
    );
}

#[test]
fn places_are_given_back_by_the_carrier_only() {
    let snapshot = load("  - {name: a, when: {limits: {active: 1}}, faults: [delay: 1s]}\n");
    let first = decide(&snapshot, &[]).unwrap();
    assert!(decide(&snapshot, &[]).is_none());
    first.hits[0].rule.state.leave();
    assert!(decide(&snapshot, &[]).is_some());
}

#[test]
fn outcomes_are_drawn_by_weight() {
    let snapshot = load(
        "  - {name: a, choose: [{weight: 5, faults: [abort: 500]}, {weight: 1, faults: [reset: {}]}, {weight: 94}]}\n",
    );
    let mut counts = [0u32; 3];
    for _ in 0..20_000 {
        match effects(decide(&snapshot, &[]).as_deref()).first().map(String::as_str) {
            Some("answer 500") => counts[0] += 1,
            Some("reset 2") => counts[1] += 1,
            _ => counts[2] += 1,
        }
    }
    // 99.9 % intervals of the binomial distribution for 5, 1 and 94 % of 20,000.
    assert!((899..=1103).contains(&counts[0]), "{counts:?}");
    assert!((155..=248).contains(&counts[1]), "{counts:?}");
}

#[test]
fn a_quota_tells_and_refuses() {
    let snapshot = load("  - {name: a, faults: [quota: {requests: 2, per: 1m}]}\n");
    let seen: Vec<_> = (0..3)
        .flat_map(|_| effects(decide(&snapshot, &[]).as_deref()))
        .collect();
    assert_eq!(seen, ["fields", "fields", "answer 429"]);
}

#[test]
fn other_rules_change_no_draw() {
    let rule = "  - {name: a, when: {percentage: 30}, faults: [delay: {uniform: [1ms, 9s]}]}\n";
    let other = "  - {name: first, when: {percentage: 50}, faults: [abort: 500]}\n";
    let alone = load(rule);
    let beside = load(&format!("{other}{rule}"));
    let mut compared = 0;
    for _ in 0..1000 {
        let own = |plan: Option<Box<Plan>>| -> Option<Vec<String>> {
            let plan = plan?;
            let at = plan.hits.iter().position(|hit| &*hit.rule.name == "a")?;
            Some(effects(Some(&plan)).split_off(plan.actions.iter().position(|action| action.hit == at)?))
        };
        let (lone, together) = (own(decide(&alone, &[])), decide(&beside, &[]));
        // Where the other rule ends the request, this one's number is still counted.
        if together.as_ref().is_none_or(|plan| &*plan.hits[0].rule.name == "a") {
            assert_eq!(lone, own(together));
            compared += 1;
        }
    }
    assert!(compared > 300, "{compared}");
}

#[test]
fn body_faults_become_parts() {
    let rules = "  - name: a\n    faults:\n      - truncate: 3 events\n      - {delay: {fixed: 1s, before: body, direction: request}}\n      - {drop: {every: 3}}\n      - {duplicate: {}}\n      - {duplicate: {every: 2}}\n";
    check(
        rules,
        &[],
        &[
            "[Part { direction: Response, act: Truncate(Truncation { after: Messages(3), end: Close }) }]",
            "[Part { direction: Request, act: Delay(1s) }]",
            "[Part { direction: Response, act: Drop(Every(3)) }]",
            "duplicate",
            "[Part { direction: Response, act: Duplicate(Every(2)) }]",
        ],
    );
}

#[test]
fn a_profile_is_one_fault_with_two_effects() {
    let snapshot = load("  - {name: a, faults: [{delay: 1s}, {profile: 3g}]}\n");
    let plan = decide(&snapshot, &[]).unwrap();
    let faults: Vec<usize> = plan.actions.iter().map(|action| action.fault).collect();
    assert_eq!(faults, [0, 1, 1]);
    assert_eq!(
        effects(Some(&plan))[1..],
        [
            "wait 250ms",
            "[Part { direction: Response, act: Bandwidth(Rate { rate: 93750, scope: Request }) }, Part { direction: Request, act: Bandwidth(Rate { rate: 31250, scope: Request }) }]",
        ]
    );
}

#[test]
fn every_request_has_its_own_seeds_and_replays_them() {
    let rules = "  - {name: a, faults: [{corrupt: {bytes: 1%, messages: 10%}}, {drop: 10%}, {delay: {uniform: [1ms, 9ms], before: message}}]}\n";
    let seeds = |snapshot: &Snapshot| -> Vec<Vec<String>> {
        (0..5).map(|_| effects(decide(snapshot, &[]).as_deref())).collect()
    };
    let first = seeds(&load(rules));
    assert_eq!(first, seeds(&load(rules)));
    for (at, request) in first.iter().enumerate() {
        for other in &first[at + 1..] {
            assert!(
                request.iter().zip(other).all(|(one, another)| one != another),
                "{request:?}"
            );
        }
    }
}

#[test]
fn requests_of_a_rule_share_its_bucket_also_over_a_reload() {
    let rules = "  - {name: a, faults: [bandwidth: {response: 1KiB/s, scope: rule}]}\n";
    let bucket = |snapshot: &Snapshot| {
        let plan = decide(snapshot, &[]).unwrap();
        let Effect::Shape(parts) = &plan.actions[0].effect else {
            panic!()
        };
        match &parts[0].act {
            Act::Bandwidth(Rate {
                scope: Scope::Rule(bucket),
                ..
            }) => Arc::clone(bucket),
            other => panic!("{other:?}"),
        }
    };
    let metrics = Metrics::new().unwrap();
    let load = |rules: &str, previous: Option<&Snapshot>| {
        let mut inputs = Inputs::new(&metrics, Instant::now());
        inputs.previous = previous;
        load_text("test.yaml", &format!("{TOP}{rules}"), inputs)
            .map_err(|report| report.render(false))
            .unwrap()
    };
    let first = load(rules, None);
    let second = load(&format!("{rules}  - {{name: b, faults: [delay: 1s]}}\n"), Some(&first));
    let third = load(&rules.replace("1KiB", "2KiB"), Some(&second));
    assert!(Arc::ptr_eq(&bucket(&first), &bucket(&first)));
    assert!(Arc::ptr_eq(&bucket(&first), &bucket(&second)));
    assert!(!Arc::ptr_eq(&bucket(&first), &bucket(&third)), "the rule has changed");
}

#[test]
fn a_requested_rate_is_never_slower_than_the_rules() {
    let rules = "  - {name: a, when: {requested: true}, faults: [{bandwidth: {response: 10KiB/s, request: 1KiB/s}}, {delay: {fixed: 2s, before: body}}]}\n";
    let pace = |rate: u64| {
        format!("[Part {{ direction: Response, act: Bandwidth(Rate {{ rate: {rate}, scope: Request }}) }}]")
    };
    let asked = |rate: &'static str| [("x-envoy-fault-throughput-response", rate)];
    check(rules, &[], &[]);
    check(rules, &asked("64"), &[&pace(65536)]);
    check(rules, &asked("1"), &[&pace(10240)]);
    for nonsense in ["0", "-5", "fast", ""] {
        check(rules, &asked(nonsense), &[]);
    }
    check(
        rules,
        &[
            ("x-envoy-fault-throughput-response", "64"),
            ("x-envoy-fault-throughput-response-percentage", "0"),
            ("x-envoy-fault-delay-request", "100"),
        ],
        &["[Part { direction: Response, act: Delay(100ms) }]"],
    );
}

proptest! {
    /// Looking changes nothing, and sees what deciding then does.
    #[test]
    fn peeking_agrees_with_deciding(keys in proptest::collection::vec("[ab]{1,2}", 1..30)) {
        let snapshot = load("  - {name: a, when: {percentage: 60, key: header:k, attempts: 2}, faults: [delay: {exponential: {mean: 1s}}]}\n");
        let now = Instant::now();
        for key in keys {
            let fields = headers(&[("k", &key)]);
            let head = Head::new(&Method::GET, "/", None, &fields, None);
            let rules = snapshot.listeners[0].rules();
            let peek = Peek { now, ordinal: None, since: None };
            let peeked = effects(rules.decide(&head, &peek).as_deref());
            prop_assert_eq!(&peeked, &effects(rules.decide(&head, &peek).as_deref()));
            prop_assert_eq!(&peeked, &effects(rules.decide(&head, &Live { now }).as_deref()));
        }
    }
}

#[test]
fn a_spared_preflight_meets_only_rules_that_name_it() {
    let snapshot = load(
        "  - {name: all, faults: [{delay: 1ms}]}
  - {name: method, match: {method: [GET, OPTIONS]}, faults: [{delay: 2ms}]}
  - {name: field, match: {headers: {access-control-request-method: PUT}}, faults: [{delay: 3ms}]}
  - {name: no field, match: {headers: {access-control-request-headers: absent}}, faults: [{delay: 4ms}]}
  - {name: not, match: {not: {method: GET}}, faults: [{delay: 5ms}]}
  - {name: either, match: {any: [{method: OPTIONS}, {path: /x}]}, faults: [{delay: 6ms}]}
  - {name: other, match: {any: [{method: OPTIONS, path: /x}, {path: /pay}]}, faults: [{delay: 7ms}]}
",
    );
    let fields = headers(&[
        ("origin", "https://a.example"),
        ("access-control-request-method", "PUT"),
    ]);
    let hit = |spared: bool| {
        let head = Head::new(&Method::OPTIONS, "/pay", None, &fields, None).sparing(spared);
        let matching = snapshot.listeners[0].rules().matching(&head);
        matching.map(|rule| rule.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(hit(true), ["method", "field", "either"]);
    assert_eq!(
        hit(false),
        ["all", "method", "field", "no field", "not", "either", "other"]
    );
}

/// The limit up to which a body is wanted for a request without one, and the rules that want it.
fn wanted(snapshot: &Snapshot, path: &str) -> Option<(usize, Vec<String>)> {
    let headers = HeaderMap::new();
    let head = Head::new(&Method::POST, path, None, &headers, None);
    let wanted = snapshot.listeners[0].rules().body_wanted(&head)?;
    Some((
        wanted.limit,
        wanted.rules.iter().map(|rule| rule.name.to_string()).collect(),
    ))
}

#[test]
fn bodies_are_wanted_only_where_a_rule_depends_on_them() {
    let snapshot = load(
        "  - {name: a, match: {path: /a, body: {json: {x: 1}, limit: 10B}}, faults: [abort: 500]}\n  \
         - {name: b, match: {path: /a/**, body: {contains: x}}, faults: [abort: 500]}\n  \
         - {name: c, match: {any: [{path: /c}, {body: x}]}, faults: [abort: 500]}\n  \
         - {name: d, match: {path: /d, not: {body: x}}, enabled: false, faults: [abort: 500]}\n  \
         - {name: e, space: s, match: {body: x}, faults: [abort: 500]}\n",
    );
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(wanted(&snapshot, "/a"), Some((1 << 20, names(&["a", "b", "c"]))));
    assert_eq!(wanted(&snapshot, "/c"), None, "the other branch holds");
    assert_eq!(wanted(&snapshot, "/d"), Some((1 << 20, names(&["c"]))));
    assert_eq!(wanted(&load("  - {name: a, faults: [abort: 500]}\n"), "/a"), None);
}

#[test]
fn bodies_decide_like_heads() {
    let snapshot = load(
        "  - {name: a, match: {body: {json: {x: 1}}}, faults: [abort: 501]}\n  \
         - {name: b, match: {not: {body: {json: {x: 2}}}}, faults: [abort: 502]}\n",
    );
    let decide = |content: Option<&Content>| {
        let headers = HeaderMap::new();
        let head = Head::new(&Method::POST, "/", None, &headers, None).with_body(content);
        effects(
            snapshot.listeners[0]
                .rules()
                .decide(&head, &Live { now: Instant::now() })
                .as_deref(),
        )
    };
    let content = |text: &'static str| Content::new(&HeaderMap::new(), text.into(), 100);
    assert_eq!(decide(Some(&content(r#"{"x": 1}"#))), ["answer 501"]);
    assert_eq!(decide(Some(&content(r#"{"x": 2}"#))), [""; 0]);
    assert_eq!(decide(Some(&content("x"))), ["answer 502"]);
    assert_eq!(decide(Some(&Content::unknown("is gone"))), ["answer 502"]);
    assert_eq!(decide(None), [""; 0], "not known of either");
}
