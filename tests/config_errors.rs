//! What users read when their configuration is wrong: one snapshot for each mistake.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use std::time::Instant;

use squall::config::load_text;
use squall::config::snapshot::Inputs;
use squall::metrics::Metrics;

/// A configuration that is right but for what `rules` and `more` say.
fn with(more: &str, rules: &str) -> String {
    let top = "listeners:\n  web: {address: 127.0.0.1:8080, upstream: todo}\nupstreams:\n  todo: {fake: test-api}\n";
    format!("{top}{more}rules:\n{rules}")
}

fn rule(body: &str) -> String {
    with("", &format!("  - name: r\n{}", indent(body)))
}

fn fault(fault: &str) -> String {
    rule(&format!("faults:\n  - {fault}\n"))
}

fn when(when: &str) -> String {
    rule(&format!("when: {when}\nfaults: [delay: 1s]\n"))
}

fn matching(condition: &str) -> String {
    rule(&format!("match: {condition}\nfaults: [delay: 1s]\n"))
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

fn report(yaml: &str) -> String {
    let metrics = Metrics::new().unwrap();
    let inputs = Inputs::new(&metrics, Instant::now());
    match load_text("squall.yaml", yaml, inputs) {
        Ok(snapshot) if snapshot.warnings.is_empty() => "no error".to_owned(),
        Ok(snapshot) => snapshot.warnings.render(false),
        Err(report) => report.render(false),
    }
}

#[test]
fn every_mistake_is_explained() {
    let cases: Vec<(&str, String)> = vec![
        // The file
        ("yaml_syntax", "listeners: [\n".into()),
        ("yaml_tab", "listeners:\n\tweb: {}\n".into()),
        ("duplicate_key", "seed: 1\nseed: 2\nlisteners: {}\n".into()),
        ("two_documents", "seed: 1\n---\nseed: 2\n".into()),
        ("empty", String::new()),
        ("not_a_map", "- a\n- b\n".into()),
        ("unset_variable", with("admin: {token: \"${SQUALL_TEST_NOT_SET}\"}\n", "")),
        // Top level
        ("unknown_top_key", with("upstream: {}\n", "  []\n")),
        ("bad_seed", with("seed: many\n", "  []\n")),
        ("bad_log_level", with("log: {level: loud}\n", "  []\n")),
        ("bad_threads", with("threads: 0\n", "  []\n")),
        ("too_many_threads", with("threads: 30000\n", "  []\n")),
        ("admin_on_a_listener", with("admin: {address: 127.0.0.1:8080}\n", "  []\n")),
        ("admin_needs_token", with("admin: {address: 0.0.0.0:9900}\n", "  []\n")),
        ("no_listeners", "upstreams: {a: {fake: echo}}\n".into()),
        // Listeners and upstreams
        ("tcp_not_yet", "listeners:\n  db: {address: 127.0.0.1:1, protocol: tcp, upstream: db}\nupstreams:\n  db: {address: 127.0.0.1:2}\n".into()),
        ("bad_address", "listeners:\n  web: {address: localhost, upstream: a}\nupstreams:\n  a: {fake: echo}\n".into()),
        ("missing_address", "listeners:\n  web: {upstream: a}\nupstreams:\n  a: {fake: echo}\n".into()),
        ("unknown_upstream", "listeners:\n  web: {address: 127.0.0.1:1, upstream: shpo}\nupstreams:\n  shop: {fake: echo}\n".into()),
        ("same_address", "listeners:\n  a: {address: 127.0.0.1:1, upstream: e}\n  b: {address: 127.0.0.1:1, upstream: e}\nupstreams:\n  e: {fake: echo}\n".into()),
        ("certificate_unreadable", "listeners:\n  web: {address: 127.0.0.1:1, upstream: e, tls: {certificate: no.pem, key: no.key}}\nupstreams:\n  e: {fake: echo}\n".into()),
        ("http_with_tcp_upstream", "listeners:\n  web: {address: 127.0.0.1:1, upstream: db}\nupstreams:\n  db: {address: 127.0.0.1:2}\n".into()),
        ("upstream_without_target", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {timeouts: {read: 1s}}\n".into()),
        ("upstream_two_targets", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {fake: echo, url: \"http://a\"}\n".into()),
        ("upstream_bad_url", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {url: ftp://a}\n".into()),
        ("upstream_url_with_path", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {url: \"http://a/v1\"}\n".into()),
        ("h2c_over_tls", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {url: \"https://a\", protocol: h2c}\n".into()),
        ("unknown_fake", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {fake: test-ap}\n".into()),
        ("unknown_upstream_key", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {fake: echo, timeout: 1s}\n".into()),
        ("unused_upstream", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {fake: echo}\n  b: {fake: echo}\n".into()),
        // Rules
        ("rule_without_name", with("", "  - faults: [delay: 1s]\n")),
        ("rule_without_faults", rule("match: {path: /a}\n")),
        ("rule_empty_faults", rule("faults: []\n")),
        ("rule_unknown_key", rule("mach: {path: /a}\nfaults: [delay: 1s]\n")),
        ("rule_faults_and_choose", rule("faults: [delay: 1s]\nchoose: [{weight: 1, faults: [delay: 1s]}]\n")),
        ("rule_duplicate_name", with("", "  - {name: a, faults: [delay: 1s]}\n  - {name: a, faults: [delay: 2s]}\n")),
        ("rule_unknown_listener", rule("listener: wbe\nfaults: [delay: 1s]\n")),
        ("rule_shadowed", with("", "  - {name: all, faults: [abort: 500]}\n  - {name: never, faults: [delay: 2s]}\n")),
        ("rule_unreachable_fault", fault("abort: 500\n  - delay: 1s")),
        ("choose_no_weight", rule("choose: [{weight: 0, faults: [delay: 1s]}]\n")),
        ("choose_nothing", rule("choose: [{weight: 1}]\n")),
        // Match
        ("method_lower_case", matching("{method: get}")),
        ("path_without_slash", matching("{path: api/*}")),
        ("bad_glob", matching("{path: \"/a/[\"}")),
        ("bad_regex", matching("{path: {regex: \"(\"}}")),
        ("two_patterns", matching("{path: {exact: /a, prefix: /b}}")),
        ("unknown_pattern", matching("{path: {regexp: /a}}")),
        ("bad_network", matching("{client: 10.0.0.0/33}")),
        ("bad_header_name", matching("{headers: {\"x y\": present}}")),
        ("empty_any", matching("{any: []}")),
        ("match_nothing", matching("{not: {}}")),
        ("path_encoded", matching("{path: \"/a%20b\"}")),
        ("unknown_condition", matching("{paths: /a}")),
        // When
        ("percentage_too_large", when("{percentage: 101}")),
        ("percentage_negative", when("{percentage: -1}")),
        ("percentage_word", when("{percentage: half}")),
        ("unknown_key_kind", when("{key: headers:x}")),
        ("key_without_name", when("{key: \"header:\"}")),
        ("attempts_without_key", when("{attempts: 2}")),
        ("attempts_zero", when("{attempts: 0, key: client}")),
        ("every_zero", when("{every: 0}")),
        ("schedule_never_open", when("{schedule: {duration: 0s}}")),
        ("schedule_overlap", when("{schedule: {duration: 1m, repeat: 10s}}")),
        ("schedule_after_expiry", when("{schedule: {start: 2m}, limits: {expires: 1m}}")),
        ("limit_zero", when("{limits: {total: 0}}")),
        ("requested_reset", rule("when: {requested: true}\nfaults: [reset: {}]\n")),
        // Faults
        ("unknown_fault", fault("dellay: 1s")),
        ("two_faults_in_one", fault("{delay: 1s, abort: 500}")),
        ("fault_not_yet", fault("bandwidth: 64KiB/s")),
        ("delay_without_unit", fault("delay: 200")),
        ("delay_bad_unit", fault("delay: 200 parsecs")),
        ("delay_negative", fault("delay: -1s")),
        ("delay_uniform_reversed", fault("delay: {uniform: [2s, 1s]}")),
        ("delay_jitter_negative", fault("delay: {normal: {mean: 100ms, deviation: 200ms}}")),
        ("delay_two_distributions", fault("delay: {fixed: 1s, uniform: [1s, 2s]}")),
        ("delay_percentiles_fall", fault("delay: {percentiles: {p50: 2s, p99: 1s}}")),
        ("delay_samples_missing", fault("delay: {samples: no-such-file.csv}")),
        ("delay_before_body", fault("delay: {fixed: 1s, before: body}")),
        ("delay_correlation_with_key", rule("when: {key: client}\nfaults: [delay: {exponential: {mean: 1s}, correlation: 50%}]\n")),
        ("delay_too_long", fault("delay: 2h")),
        ("abort_bad_status", fault("abort: 99")),
        ("abort_two_bodies", fault("abort: {status: 500, body: a, json: {}}")),
        ("abort_file_missing", fault("abort: {status: 500, file: no-such-file.html}")),
        ("abort_bad_grpc", fault("abort: {grpc: UNAVAILBLE}")),
        ("abort_framing_header", fault("abort: {status: 500, headers: {content-length: 5}}")),
        ("abort_unknown_key", fault("abort: {statsu: 500}")),
        ("reset_bad_code", fault("reset: {code: OOPS}")),
        ("quota_by_ordinal", fault("quota: {requests: 1, per: 1s, key: ordinal}")),
        ("quota_missing_per", fault("quota: {requests: 1}")),
        ("concurrency_zero", fault("concurrency: {limit: 0}")),
        ("rewrite_nothing", fault("rewrite: {}")),
        ("profile_unknown", fault("profile: 6g")),
        // Several at once
        ("all_at_once", with("", "  - name: a\n    match: {method: get, paths: /x}\n    faults: [dellay: 1s]\n  - name: b\n    when: {percentage: 101}\n    faults: [abort: 99]\n")),
    ];
    let mut errors = 0;
    for (name, yaml) in &cases {
        let report = report(yaml);
        assert_ne!(report, "no error", "{name} is accepted:\n{yaml}");
        errors += usize::from(report.contains("error: "));
        insta::with_settings!({description => yaml, omit_expression => true, prepend_module_to_snapshot => false}, {
            insta::assert_snapshot!(*name, report);
        });
    }
    assert!(errors >= 80, "only {errors} of the cases are errors");
}
