use proptest::prelude::*;

use super::*;
use crate::config::load_text;
use crate::config::snapshot::Inputs;
use crate::metrics::Metrics;
use crate::rule::state::Live;

const SHOP: &str = r#"
seed: 42
listeners:
  web: {address: "127.0.0.1:8080", upstream: shop, trusted_proxies: 127.0.0.1}
  other: {address: "127.0.0.1:8081", upstream: shop}
upstreams: {shop: {fake: echo}}
rules:
  - name: elsewhere
    listener: other
    faults: [{abort: 500}]
  - name: switched off
    enabled: false
    faults: [{abort: 500}]
  - name: carts only
    match: {method: [POST, PUT], path: "/api/*/carts/**", headers: {x-debug: present}, client: 10.0.0.0/8}
    faults: [{abort: 500}]
  - name: everything is late
    faults:
      - delay: {lognormal: {median: 120ms, p99: 2s}}
      - delay: {fixed: 50ms, before: response}
  - name: a tenth
    when: {percentage: 10, key: "header:x-user"}
    faults: [{abort: 503}]
  - name: would be reset
    shadow: true
    faults: [{reset: {code: CANCEL}}]
  - name: one of several
    match: {path: {prefix: /pay}}
    when: {key: path}
    choose:
      - {weight: 1, faults: [{hang: {limit: 5m}}]}
      - weight: 99
        faults:
          - rewrite: {status: 201, headers: {set: {x-a: b}, remove: etag}, request: {headers: {add: {x-c: d}}}}
          - quota: {requests: 2, per: 1m, fields: ietf}
          - concurrency: {limit: 2, queue: 5}
          - abort: {grpc: UNAVAILABLE}
  - name: twice
    when: {key: client, attempts: 2}
    faults:
      - abort: {status: 503, retry_after: 5s, json: {error: overloaded}, before: response}
      - delay: 1s
  - name: too late
    faults: [{delay: 1s}]
"#;

fn snapshot(yaml: &str) -> Snapshot {
    let metrics = Metrics::new().unwrap();
    let inputs = Inputs::new(&metrics, Instant::now());
    load_text("x.yaml", yaml, inputs).unwrap_or_else(|report| panic!("{report}"))
}

fn asked(method: &str, target: &str, headers: &[(&'static str, &str)]) -> Asked {
    Asked {
        method: method.parse().unwrap(),
        target: target.to_owned(),
        authority: None,
        headers: headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect(),
        body: Ok(Bytes::new()),
        client: Some([127, 0, 0, 1].into()),
        listener: None,
        ordinal: None,
        at: Some(Duration::ZERO),
    }
}

#[test]
fn text_of_many_rules() {
    let snapshot = snapshot(SHOP);
    let asked = asked(
        "GET",
        "/pay%20now?x=1",
        &[
            ("host", "shop.example.com"),
            ("x-forwarded-for", "10.9.8.7"),
            ("x-user", "ada"),
        ],
    );
    let explanation = explain(&snapshot, &snapshot.listeners[0], &asked, Instant::now());
    insta::assert_snapshot!(explanation.to_text(false));
}

#[test]
fn json_of_many_rules() {
    let snapshot = snapshot(SHOP);
    let mut asked = asked(
        "POST",
        "/pay",
        &[("x-user", "eve"), ("content-type", "application/grpc")],
    );
    asked.ordinal = Some(17);
    let mut explanation = explain(&snapshot, &snapshot.listeners[0], &asked, Instant::now());
    explanation.config_hash = "0123456789abcdef".into();
    insta::assert_snapshot!(format!("{:#}", explanation.to_json()));
}

/// One of each kind of what can happen to bytes.
const BODIES: &str = r#"
seed: 42
bounds: {delay: 30s}
listeners: {web: {address: "127.0.0.1:8080", upstream: shop}}
upstreams: {shop: {fake: echo}}
rules:
  - name: slow
    faults:
      - bandwidth: 64KiB/s
      - bandwidth: {response: 10Mbit/s, scope: rule}
      - bandwidth: {request: 1KiB/s, scope: connection}
      - bandwidth: {request: 2KiB/s, scope: listener}
      - dribble: {chunk: 64B, gap: 100ms}
      - dribble: {chunk: 64B, vary: 64B, gap: 0s}
      - dribble: {chunks: 10, over: 5s, direction: request}
      - delay: {fixed: 100ms, before: body}
      - delay: {uniform: [50ms, 150ms], before: message}
      - delay: {fixed: 100ms, before: end}
      - profile: 3g
  - name: changed
    faults:
      - rewrite: {body: new, request: {json: {a: 1}, headers: {set: {x-a: b}}}}
      - rewrite: {status: 201, replace: [{find: a, with: b}, {find: c, with: d}], json_patch: [{op: remove, path: /a}], limit: 2MiB}
      - duplicate: {limit: 1KiB}
  - name: stuck
    faults:
      - stall: {}
      - stall: {after: 3 events, limit: 10s}
      - stall: {after: 50%, limit: 10s, end: reset}
      - stall: {discard: true, direction: request}
  - name: cut
    faults:
      - truncate: 1KiB
      - truncate: {after: 1 message, code: CANCEL}
      - truncate: {after: 50%, grpc: UNAVAILABLE, close_code: 1011, reason: gone}
      - truncate: {after: 2KiB, end: clean, direction: request}
  - name: wrong
    faults:
      - corrupt: {bytes: 1%}
      - corrupt: {messages: 10%}
      - corrupt: {bytes: 1%, messages: 100%, direction: request}
      - corrupt: {malformed: content-length, difference: -5}
      - corrupt: {malformed: chunk}
      - drop: {every: 3}
      - duplicate: {messages: 10%}
      - duplicate: {}
"#;

#[test]
fn text_of_body_faults() {
    let snapshot = snapshot(BODIES);
    let asked = asked("POST", "/upload", &[]);
    let explanation = explain(&snapshot, &snapshot.listeners[0], &asked, Instant::now());
    insta::assert_snapshot!(explanation.to_text(false));
}

#[test]
fn json_of_body_faults() {
    let snapshot = snapshot(BODIES);
    let asked = asked("POST", "/upload", &[]);
    let json = explain(&snapshot, &snapshot.listeners[0], &asked, Instant::now()).to_json();
    let steps: Vec<&str> = json["plan"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    let upstream = steps.iter().position(|step| *step == "upstream").unwrap();
    let response = steps.iter().position(|step| *step == "response").unwrap();
    assert_eq!((upstream, response, steps.len()), (12, 14, 35));
    let hold = &json["plan"][response + 5];
    assert_eq!((&hold["fault"], &hold["wait_ms"]), (&"delay".into(), &100.0.into()));
    let profile = &json["rules"][0]["faults"][10];
    assert_eq!(
        (&profile["fault"], &profile["wait_ms"]),
        (&"profile".into(), &250.0.into())
    );
}

#[test]
fn text_where_nothing_happens() {
    let snapshot = snapshot(
        "seed: 1\nlisteners: {web: {address: 'unix:/run/x.sock', upstream: shop}}\nupstreams: {shop: {fake: echo}}\n",
    );
    let mut asked = asked("GET", "/", &[]);
    asked.client = None;
    let explanation = explain(&snapshot, &snapshot.listeners[0], &asked, Instant::now());
    insta::assert_snapshot!(explanation.to_text(false));
}

#[test]
fn escape_sequences_do_not_reach_the_terminal() {
    let snapshot = snapshot(SHOP);
    let asked = asked("GET", "/pay%1b[31m", &[]);
    let explanation = explain(&snapshot, &snapshot.listeners[0], &asked, Instant::now());
    assert!(!explanation.to_text(false).contains('\x1b'));
    assert!(!explanation.to_text(true).contains("\x1b[31m\x1b") && explanation.to_text(true).contains("\x1b[1m"));
}

#[test]
fn explaining_changes_nothing() {
    let snapshot = snapshot(SHOP);
    let asked = asked("GET", "/pay", &[]);
    let once = explain(&snapshot, &snapshot.listeners[0], &asked, Instant::now());
    for _ in 0..5 {
        assert_eq!(explain(&snapshot, &snapshot.listeners[0], &asked, Instant::now()), once);
    }
    assert!(
        snapshot
            .rules
            .iter()
            .all(|rule| rule.state.matched() == 0 && rule.state.hits() == 0)
    );
}

/// Rules of all kinds of `match`, `when` and faults.
fn rules() -> impl Strategy<Value = String> {
    let matching = prop::sample::select(vec![
        "",
        "match: {path: /a}",
        "match: {path: '/a/**'}",
        "match: {method: POST}",
        "match: {headers: {x-user: present}}",
        "match: {not: {path: /a}}",
        "match: {any: [{path: /b}, {query: {x: '1'}}]}",
        "match: {client: 10.0.0.0/8}",
        "listener: web",
        "listener: other",
        "enabled: false",
        "shadow: true",
    ]);
    let when = prop::sample::select(vec![
        "",
        "when: {percentage: 50}",
        "when: {percentage: 30, key: path}",
        "when: {key: 'header:x-user', attempts: 2}",
        "when: {every: 3}",
        "when: {schedule: {start: 10s, duration: 10s, repeat: 1m}}",
        "when: {limits: {active: 2}}",
        "when: {limits: {total: 3}}",
        "when: {limits: {share: 20%}}",
        "when: {limits: {expires: 30s}}",
        "when: {key: client, percentage: 80, limits: {total: 5}}",
        "when: {requested: true, percentage: 60}",
    ]);
    let faults = prop::sample::select(vec![
        "faults: [{delay: {uniform: [1ms, 9ms]}}]",
        "faults: [{delay: {uniform: [1ms, 9ms], correlation: 50%}}]",
        "faults: [{delay: {exponential: {mean: 5ms}, mode: floor}}, {delay: {wave: {shape: sine, period: 1m, max: 500ms}}}]",
        "faults: [{abort: 503}]",
        "faults: [{delay: 5ms}, {abort: {status: 503, grpc: UNAVAILABLE}}]",
        "faults: [{delay: {fixed: 1ms, before: response}}, {abort: {grpc: UNAVAILABLE}}, {close: {}}]",
        "faults: [{quota: {requests: 2, per: 20s, punish: 3s, key: client}}]",
        "faults: [{concurrency: {limit: 1, queue: 1}}, {rewrite: {status: 201}}]",
        "faults: [{bandwidth: {response: 1KiB/s}}, {truncate: 50%}, {corrupt: {bytes: 1%}}]",
        "faults: [{delay: {uniform: [1ms, 9ms], before: message}}, {profile: dsl}, {drop: 10%}]",
        "choose: [{weight: 2, faults: [{reset: {}}]}, {weight: 3, faults: [{hang: {}}, {delay: 1ms}]}, {weight: 5}]",
    ]);
    prop::collection::vec((matching, when, faults), 1..6).prop_map(|rules| {
        let mut yaml = String::from("seed: 5\nlisteners: {web: {address: '127.0.0.1:0', upstream: u}, other: {address: '127.0.0.1:0', upstream: u}}\nupstreams: {u: {fake: echo}}\nrules:\n");
        for (number, (matching, when, faults)) in rules.iter().enumerate() {
            // A correlated delay goes with the default key alone.
            let when = if faults.contains("correlation") && when.contains("key") { "" } else { when };
            yaml.push_str(&format!("  - name: rule {number}\n"));
            for part in [matching, &when, faults].into_iter().filter(|part| !part.is_empty()) {
                yaml.push_str(&format!("    {part}\n"));
            }
        }
        yaml
    })
}

fn requests() -> impl Strategy<Value = Vec<(Asked, u64)>> {
    let method = prop::sample::select(vec!["GET", "POST"]);
    let target = prop::sample::select(vec!["/a", "/a/b", "/b", "/c?x=1", "/%61"]);
    let user = prop::option::of(prop::sample::select(vec!["ada", "eve"]));
    let client = prop::sample::select(vec![[127, 0, 0, 1], [10, 0, 0, 1]]);
    let kind = prop::sample::select(vec![
        &[][..],
        &[("content-type", "application/grpc")],
        &[
            ("x-envoy-fault-delay-request", "3"),
            ("x-envoy-fault-delay-request-percentage", "40"),
        ],
        &[
            ("content-type", "application/grpc"),
            ("x-envoy-fault-abort-grpc-request", "4"),
        ],
        &[("x-envoy-fault-abort-request", "429")],
        &[
            ("x-envoy-fault-throughput-response", "64"),
            ("x-envoy-fault-throughput-response-percentage", "50"),
        ],
    ]);
    let request =
        (method, target, user, client, kind, 0_u64..7000).prop_map(|(method, target, user, client, kind, pause)| {
            let mut headers = kind.to_vec();
            headers.extend(user.map(|user| ("x-user", user)));
            let mut asked = asked(method, target, &headers);
            asked.client = Some(client.into());
            asked.at = None;
            (asked, pause)
        });
    prop::collection::vec(request, 1..30)
}

/// What a plan comes down to: rules, numbers and draws, and the actions in words.
fn shown(plan: Option<&Plan>) -> (Vec<String>, Vec<String>) {
    let Some(plan) = plan else { return Default::default() };
    let hits = plan
        .hits
        .iter()
        .map(|hit| format!("{} {} {}", hit.rule.name, hit.ordinal, hit.drawn));
    let actions = plan
        .actions
        .iter()
        .map(|action| format!("{} {} {:?}", action.hit, action.fault, action.effect));
    (hits.collect(), actions.collect())
}

fn explained(explanation: &Explanation) -> Vec<String> {
    let hit = |rule: &RuleExplained| match &rule.verdict {
        Verdict::Hit { draw, .. } => Some(format!("{} {} {}", rule.rule, draw.ordinal, draw.drawn_ppm)),
        _ => None,
    };
    explanation.rules.iter().filter_map(hit).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Explaining says beforehand what deciding then does, request after request, whatever is remembered by then.
    #[test]
    fn explaining_agrees_with_deciding(yaml in rules(), requests in requests()) {
        let metrics = Metrics::new().unwrap();
        let start = Instant::now();
        let inputs = Inputs::new(&metrics, start);
        // Rules that can never fire are errors, and not what this is about.
        let Ok(snapshot) = load_text("x.yaml", &yaml, inputs) else { return Ok(()) };
        let mut now = start;
        let mut under_faults: Vec<Arc<Rule>> = Vec::new();
        for (number, (asked, pause)) in requests.iter().enumerate() {
            now += Duration::from_millis(*pause);
            let listener = &snapshot.listeners[0];
            let explanation = explain(&snapshot, listener, asked, now);
            let content = Content::new(&asked.headers, asked.body.clone().unwrap(), usize::MAX);
            let head = Head::new(&asked.method, &asked.target, None, &asked.headers, asked.client).with_body(Some(&content));
            let peeked = listener.rules().decide(&head, &Peek { now, ordinal: None, since: None });
            let plan = listener.rules().decide(&head, &Live { now });
            prop_assert_eq!(shown(peeked.as_deref()), shown(plan.as_deref()), "{}", yaml);
            prop_assert_eq!(&explained(&explanation), &shown(plan.as_deref()).0, "{}", yaml);
            let empty = Plan::default();
            let steps = steps::of(plan.as_deref().unwrap_or(&empty), None, "u", listener.longest_wait());
            prop_assert_eq!(&explanation.plan, &steps, "{}", yaml);
            let ends = steps.iter().filter(|step| matches!(step, Step::End { .. } | Step::Response)).count();
            prop_assert_eq!(ends, 1, "{:?}", steps);
            under_faults.extend(plan.iter().flat_map(|plan| plan.hits.iter().map(|hit| Arc::clone(&hit.rule))));
            if number % 3 == 0 {
                under_faults.drain(..).for_each(|rule| rule.state.leave());
            }
        }
    }
}

/// Rules that are decided before there is a request.
const CONNECTIONS: &str = r#"
seed: 42
listeners:
  web: {address: "127.0.0.1:8080", upstream: shop, trusted_proxies: 127.0.0.1}
  safe: {address: "127.0.0.1:8443", upstream: shop, tls: {certificate: config/examples/localhost.pem, key: config/examples/localhost.key}}
  out: {address: "127.0.0.1:15001", upstream: anywhere}
upstreams: {shop: {fake: echo}, anywhere: {original_destination: true}}
rules:
  - name: late
    match: {client: 127.0.0.0/8}
    when: {percentage: 1}
    faults: [delay: {fixed: 1s, before: connection}, close: {before: connection}]
  - name: elsewhere
    match: {client: 10.0.0.0/8}
    faults: [reset: {before: connection}]
  - name: shop's certificate
    match: {host: shop.example.com}
    faults: [certificate: expired]
  - name: of requests
    faults: [delay: 1ms]
"#;

#[test]
fn text_of_rules_about_connections() {
    let snapshot = snapshot(CONNECTIONS);
    let headers = [("host", "Shop.example.com"), ("x-forwarded-for", "10.9.8.7")];
    let asked = asked("GET", "/", &headers);
    let texts: Vec<String> = snapshot
        .listeners
        .iter()
        .map(|listener| explain(&snapshot, listener, &asked, Instant::now()).to_text(false))
        .collect();
    insta::assert_snapshot!(texts.join("\n----\n\n"));
}
