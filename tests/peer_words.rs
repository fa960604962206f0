//! What users write first who come from another tool: each word gets an error with squall's own line, and the line is right.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic")]

use std::fmt::Write as _;
use std::time::Instant;

use squall::config::load_text;
use squall::config::snapshot::Inputs;
use squall::metrics::Metrics;
use squall::yaml::report::Severity;

const TOP: &str = "listeners:\n  web: {address: 127.0.0.1:8080, upstream: shop}\nupstreams:\n  shop: {fake: echo}\n";

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    /// In a rule's list of faults.
    Faults,
    /// Among a rule's keys.
    Rule,
    /// Among the top-level keys.
    Top,
    /// Among the keys of a listener.
    Listener,
    /// Among the keys of an upstream.
    Upstream,
    /// In a route of a fake.
    Route,
}

use At::{Faults, Listener, Route, Rule, Top, Upstream};

/// The words, by tool.
const WORDS: &[(&str, &[(At, &str)])] = &[
    (
        "Toxiproxy",
        &[
            (Faults, "latency: {latency: 1000, jitter: 500}"),
            (Faults, "latency: 300ms"),
            (
                Faults,
                "{type: latency, attributes: {latency: 1000, jitter: 0}, toxicity: 0.5}",
            ),
            (
                Faults,
                "{type: slicer, attributes: {average_size: 64, size_variation: 32, delay: 10}}",
            ),
            (Faults, "bandwidth: {rate: 100}"),
            (Faults, "timeout: {timeout: 5000}"),
            (Faults, "timeout: {timeout: 0}"),
            (Faults, "reset_peer: {timeout: 0}"),
            (Faults, "reset_peer: {timeout: 500}"),
            (Faults, "limit_data: {bytes: 100}"),
            (Faults, "slow_close: {delay: 1000}"),
            (Faults, "slicer: {average_size: 64, size_variation: 32, delay: 10}"),
            (Faults, "down"),
            (Faults, "toxicity: 0.5"),
            (Faults, "delay: {fixed: 1s, jitter: 200ms}"),
            (Faults, "jitter: 20ms"),
            (Rule, "type: bandwidth\nattributes: {rate: 64}\ntoxicity: 0.25"),
            (Rule, "toxics: [latency]"),
            (
                Top,
                "proxies: [{name: redis, listen: \"127.0.0.1:26379\", upstream: \"127.0.0.1:6379\"}]",
            ),
            (Top, "toxics: []"),
            (Listener, "listen: 127.0.0.1:26379\nupstream: shop"),
            (Listener, "address: 127.0.0.1:1\nupstream: 127.0.0.1:6379"),
        ],
    ),
    (
        "Envoy",
        &[
            (Faults, "fixed_delay: 5s"),
            (
                Faults,
                "delay: {fixed_delay: 3s, percentage: {numerator: 10, denominator: HUNDRED}}",
            ),
            (Faults, "delay: {header_delay: {}}"),
            (
                Faults,
                "abort: {http_status: 503, percentage: {numerator: 5, denominator: TEN_THOUSAND}}",
            ),
            (Faults, "abort: {grpc_status: 14}"),
            (Faults, "max_active_faults: 5"),
            (Faults, "response_rate_limit: {fixed_limit: {limit_kbps: 64}}"),
            (Faults, "bandwidth: {fixed_limit: {limit_kbps: 64}}"),
            (Rule, "max_active_faults: 5\nfaults: [delay: 1s]"),
            (
                Rule,
                "match: {headers: [{name: x-user, exact_match: beta}, {name: x-debug, present_match: true}]}\nfaults: [delay: 1s]",
            ),
            (Rule, "match: {safe_regex: {regex: \"/api/.*\"}}\nfaults: [delay: 1s]"),
            (Top, "static_resources: {listeners: [], clusters: []}"),
            (Top, "clusters: []"),
            (Upstream, "connect_timeout: 0.25s\nurl: \"http://127.0.0.1:1\""),
            (Upstream, "lb_policy: ROUND_ROBIN\nurl: \"http://127.0.0.1:1\""),
            (
                Upstream,
                "outlier_detection: {consecutive_5xx: 3}\nurl: \"http://127.0.0.1:1\"",
            ),
        ],
    ),
    (
        "Istio",
        &[
            (Faults, "fixedDelay: 5s"),
            (Faults, "delay: {percentage: {value: 0.1}, fixedDelay: 5s}"),
            (Faults, "abort: {httpStatus: 500, percentage: {value: 10}}"),
            (Faults, "abort: {grpcStatus: UNAVAILABLE}"),
            (Rule, "fault: {delay: {fixedDelay: 5s}}"),
            (Rule, "match: {uri: {prefix: /api}}\nfaults: [delay: 1s]"),
            (
                Rule,
                "match: {headers: {end-user: {exact: jason}}, authority: {exact: shop}}\nfaults: [delay: 1s]",
            ),
            (Rule, "when: {percentage: {value: 0.1}}\nfaults: [delay: 1s]"),
            (Rule, "percentage: 10\nfaults: [delay: 1s]"),
            (Top, "spec: {http: []}"),
        ],
    ),
    (
        "WireMock",
        &[
            (Faults, "fixedDelayMilliseconds: 500"),
            (Faults, "delay: {fixedDelayMilliseconds: 500}"),
            (Faults, "delayDistribution: {type: lognormal, median: 80, sigma: 0.4}"),
            (Faults, "delayDistribution: {type: uniform, lower: 15, upper: 25}"),
            (Faults, "chunkedDribbleDelay: {numberOfChunks: 5, totalDuration: 1000}"),
            (Faults, "EMPTY_RESPONSE"),
            (Faults, "fault: MALFORMED_RESPONSE_CHUNK"),
            (Faults, "RANDOM_DATA_THEN_CLOSE"),
            (Faults, "fault: CONNECTION_RESET_BY_PEER"),
            (Rule, "fault: EMPTY_RESPONSE"),
            (Rule, "request: {method: POST, urlPath: /pay}\nfaults: [delay: 1s]"),
            (Rule, "match: {urlPathPattern: \"/api/.*\"}\nfaults: [delay: 1s]"),
            (Rule, "match: {queryParameters: {q: {equalTo: x}}}\nfaults: [delay: 1s]"),
            (
                Rule,
                "match: {headers: {accept: {matches: \"json\"}}}\nfaults: [delay: 1s]",
            ),
            (Top, "mappings: []"),
            (Route, "urlPath: /a\njsonBody: {a: 1}"),
            (Route, "path: /a\nbodyFileName: page.html"),
            (Route, "path: /a\nresponse: {status: 200}"),
            (Route, "path: /a\nbody: x\nfixedDelayMilliseconds: 100"),
            (Route, "path: /a\nbody: x\nstatusCode: 201"),
        ],
    ),
    (
        "MockServer",
        &[
            (Faults, "dropConnection: true"),
            (Faults, "httpResponse: {statusCode: 500}"),
            (Faults, "delay: {timeUnit: SECONDS, value: 1}"),
            (Faults, "times: {remainingTimes: 2, unlimited: false}"),
            (
                Rule,
                "httpRequest: {method: GET, path: /a}\nhttpResponse: {statusCode: 500}\ntimes: {remainingTimes: 1}",
            ),
            (Rule, "timeToLive: 60\nfaults: [delay: 1s]"),
            (
                Rule,
                "match: {queryStringParameters: [{name: q, values: [x]}]}\nfaults: [delay: 1s]",
            ),
            (Top, "expectations: []"),
        ],
    ),
    (
        "Dev Proxy",
        &[
            (Faults, "rate: 50"),
            (Faults, "minMs: 200"),
            (Faults, "delay: {minMs: 200, maxMs: 10000}"),
            (Top, "errorsFile: errors.json"),
            (Top, "urlsToWatch: [\"https://api.example/*\"]"),
            (Top, "plugins: []"),
            (Rule, "rate: 50\nfaults: [abort: 503]"),
        ],
    ),
    (
        "Chaos Mesh, Pumba, tc",
        &[
            (Faults, "loss: 10%"),
            (Faults, "delay: {latency: 10ms, correlation: \"100\", jitter: 5ms}"),
            (Faults, "delay: {time: 100, jitter: 10, distribution: normal}"),
            (Faults, "delay: {mean: 100ms, stddev: 10ms}"),
            (Faults, "delay: {normal: {mean: 100ms, stddev: 10ms}}"),
            (Faults, "netem: {delay: 100ms}"),
            (Faults, "corrupt: {percentage: 1}"),
            (Faults, "duplicate: {percent: 1}"),
            (Faults, "partition: {}"),
        ],
    ),
    (
        "anyone",
        &[
            (Faults, "probability: 0.5"),
            (Faults, "error: 500"),
            (Faults, "status: 404"),
            (Faults, "sleep: 2s"),
            (Faults, "hang: 5s"),
            (Faults, "close: true"),
            (Faults, "delay: [100ms, 200ms]"),
            (Faults, "delay: 100ms-200ms"),
            (Faults, "delay: 100"),
            (Faults, "delay: {min: 50ms, max: 1s}"),
            (Faults, "delay: {fixed: 1s, percentage: 10}"),
            (Faults, "delay: {fixed: 1s, path: /api}"),
            (Faults, "abort: {status: 503, path: /api, every: 3}"),
            (Faults, "abort: [500, 502]"),
            (Faults, "abort: 5xx"),
            (Faults, "abort: {code: 503, content_type: text/plain}"),
            (Faults, "truncate: {bytes: 100}"),
            (Faults, "quota: {limit: 10, window: 60}"),
            (Faults, "concurrency: {max: 8}"),
            (Faults, "rate_limit: {requests: 10}"),
            (Rule, "delay: 1s"),
            (Rule, "faults: {delay: 1s, abort: 503}"),
            (Rule, "when: 10\nfaults: [delay: 1s]"),
            (Rule, "when: 0.1\nfaults: [delay: 1s]"),
            (Rule, "when: {probability: 0.1}\nfaults: [delay: 1s]"),
            (Rule, "when: {times: 3}\nfaults: [delay: 1s]"),
            (Rule, "match: /api\nfaults: [delay: 1s]"),
            (Rule, "path: /api\nfaults: [delay: 1s]"),
            (Rule, "match: {path: \"^/api/.*$\"}\nfaults: [delay: 1s]"),
            (Rule, "match: {path: {startsWith: /api}}\nfaults: [delay: 1s]"),
            (Rule, "match: {path: \"http://shop/api\"}\nfaults: [delay: 1s]"),
            (Rule, "match: {host: \"http://a.b:80/\"}\nfaults: [delay: 1s]"),
            (Rule, "disabled: true\nfaults: [delay: 1s]"),
            (Rule, "description: slow\nfaults: [delay: 1s]"),
            (Top, "routes: []"),
            (Top, "port: 8080"),
            (Top, "target: http://localhost:3000"),
            (Top, "faults: [delay: 1s]"),
            (Top, "log_level: debug"),
            (Listener, "port: 8080\nupstream: shop"),
            (Listener, "address: 127.0.0.1:1\ntarget: shop"),
            (Listener, "address: 127.0.0.1:1\nupstream: shop\nprotocol: https"),
            (Listener, "address: 127.0.0.1:1\nupstream: shop\nrules: []"),
            (Upstream, "host: localhost\nport: 3000"),
            (Upstream, "urls: [\"http://a\", \"http://b\"]"),
            (Upstream, "url: \"http://127.0.0.1:1\"\nread_timeout: 5"),
            (Upstream, "url: \"https://127.0.0.1:1\"\ninsecure: true"),
            (Upstream, "fake: {name: echo, jitter: 10%}"),
            (Upstream, "fake: {name: llm, tokns_per_second: 10}"),
            (Upstream, "fake: {path: /a, json: {}}"),
            (Route, "path: /users/:id\njson: {}"),
            (Route, "path: /v/*\njson: {}"),
            (Route, "path: /a\ntext: hi"),
        ],
    ),
];

fn indented(text: &str, by: usize) -> String {
    let space = " ".repeat(by);
    text.lines().map(|line| format!("{space}{line}\n")).collect()
}

fn configuration(at: At, text: &str) -> String {
    match at {
        Faults => format!("{TOP}rules:\n  - name: r\n    faults:\n      - {text}\n"),
        Rule => format!("{TOP}rules:\n  - name: r\n{}", indented(text, 4)),
        Top => format!("{TOP}{text}\n"),
        Listener => format!(
            "listeners:\n  web:\n{}upstreams:\n  shop: {{fake: echo}}\n",
            indented(text, 4)
        ),
        Upstream => format!(
            "listeners:\n  web: {{address: 127.0.0.1:8080, upstream: shop}}\nupstreams:\n  shop:\n{}",
            indented(text, 4)
        ),
        Route => configuration(Upstream, &format!("fake:\n  routes:\n    -\n{}", indented(text, 6))),
    }
}

/// Each message with its help; none for a valid configuration.
fn messages(yaml: &str) -> Vec<(Severity, String, Vec<String>)> {
    let metrics = Metrics::new().unwrap();
    let report = match load_text("squall.yaml", yaml, Inputs::new(&metrics, Instant::now())) {
        Ok(snapshot) => snapshot.warnings.diagnostics().to_vec(),
        Err(report) => report.into_diagnostics(),
    };
    report
        .into_iter()
        .map(|one| (one.severity, one.message, one.help))
        .collect()
}

#[test]
fn each_word_of_another_tool_gets_the_line_to_write() {
    let mut told = String::new();
    let mut words = 0;
    for (tool, cases) in WORDS {
        writeln!(told, "# {tool}\n").unwrap();
        for (at, text) in *cases {
            words += 1;
            let messages = messages(&configuration(*at, text));
            assert!(!messages.is_empty(), "{text} is accepted");
            writeln!(told, "{}", text.replace('\n', "\n  ")).unwrap();
            for (_, message, help) in &messages {
                writeln!(told, "  {message}").unwrap();
                for help in help {
                    writeln!(told, "    = {help}").unwrap();
                }
            }
            let says = |(_, message, help): &(Severity, String, Vec<String>)| {
                message.contains(": use `") || help.iter().any(|help| help.contains('`') || help.contains("valid"))
            };
            assert!(
                messages.iter().any(says),
                "{text}: nothing says what to write: {messages:?}"
            );
            for help in messages.iter().flat_map(|(_, _, help)| help) {
                check_line(help);
            }
        }
        told.push('\n');
    }
    assert!(words >= 120, "{words}");
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("peer_words", told);
    });
}

/// The lines that an error tells users to write are valid where they belong.
fn check_line(help: &str) {
    let lines = help
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|line| line.contains(": ") && !line.contains('…'));
    for line in lines {
        let key = line.split(':').next().unwrap();
        let yaml = match key {
            "when" | "match" => configuration(Rule, &format!("{line}\nfaults: [delay: 1s]")),
            "faults" | "choose" => configuration(Rule, line),
            "rules" => format!("{TOP}{}\n", line.replace("listener: NAME", "listener: web")),
            "listeners" => format!("{line}\nupstreams: {{shop: {{fake: echo}}}}\n"),
            "upstreams" => format!("listeners: {{web: {{address: 127.0.0.1:1, upstream: shop}}}}\n{line}\n"),
            "delay" | "abort" | "close" | "reset" | "hang" | "quota" | "concurrency" | "bandwidth" | "dribble"
            | "stall" | "truncate" | "corrupt" | "drop" | "duplicate" | "rewrite" => configuration(Faults, line),
            _ => continue,
        };
        let errors: Vec<_> = messages(&yaml)
            .into_iter()
            .filter(|one| one.0 == Severity::Error)
            .collect();
        assert!(errors.is_empty(), "`{line}` is not valid itself: {errors:?}\n{yaml}");
    }
}
