//! The tables "coming from other tools" of the reference: each row loads, and `squall explain` says of it what it is to do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// What `squall explain` says of a row, by the beginning of the row's first cell.
const SAID: &[(&str, &str)] = &[
    ("a proxy:", "redis"),
    ("`latency` of 1000 with `jitter` 500", "uniform(500ms to 1.5s)"),
    ("`latency` of 1000 with `jitter` 2000", "3s"),
    ("`bandwidth`", "100kB/s"),
    ("`timeout`", "5s"),
    ("`reset_peer`", "reset"),
    ("`limit_data`", "after 1kB"),
    ("`slow_close`", "before the end of the response"),
    ("`slicer`", "64"),
    ("`toxicity`", "percentage 50%"),
    ("`stream: upstream`", "request"),
    ("`enabled: false`", "redis"),
    ("`delay: {fixed_delay", "percentage 10%"),
    ("`abort: {http_status", "percentage 0.01%"),
    ("`abort: {grpc_status", "UNAVAILABLE"),
    ("`response_rate_limit", "64KiB/s"),
    ("`delay: {header_delay", "requested"),
    ("`abort: {header_abort", "requested"),
    ("`max_active_faults", "5s"),
    ("`headers: [", "5s"),
    ("`downstream_nodes", "5s"),
    ("`upstream_cluster", "5s"),
    ("`fault: {delay", "percentage 0.1%"),
    ("`fault: {abort", "percentage 10%"),
    ("`match: [{uri", "5s"),
    ("`match: [{headers", "5s"),
    ("`headers: {request", "x-user"),
    ("`timeout: 10s", "shop"),
    ("`fixedDelayMilliseconds", "500ms"),
    (
        "`delayDistribution: {type: lognormal",
        "lognormal(median 80ms, sigma 0.4)",
    ),
    ("`delayDistribution: {type: uniform", "uniform(15ms to 25ms)"),
    ("`chunkedDribbleDelay", "5 "),
    ("`fault: EMPTY_RESPONSE`", "close"),
    ("`fault: MALFORMED_RESPONSE_CHUNK`", "chunk"),
    ("`fault: RANDOM_DATA_THEN_CLOSE`", "status"),
    ("`fault: CONNECTION_RESET_BY_PEER`", "reset"),
    ("`urlPathPattern", "500ms"),
    ("a mapping:", "web"),
    ("`Scenario.STARTED`", "key         client"),
    ("`httpResponse: {statusCode", "10s"),
    ("`httpError", "close"),
    ("`times: {remainingTimes", "503"),
    ("`latencyPlugin", "uniform(200ms to 10s)"),
    ("`genericRandomErrorPlugin", "percentage 50%"),
    ("`rateLimiting", "120"),
    ("`urlsToWatch", "watched"),
];

/// The lines of a row: the text in backticks of its second cell, of which a `;` separates several ways.
fn ways(cell: &str) -> Vec<Vec<String>> {
    let lines = |way: &str| {
        let quoted = way.split('`').skip(1).step_by(2);
        quoted.map(str::to_owned).collect::<Vec<_>>()
    };
    cell.split("; ").map(lines).collect()
}

/// The configuration that lines make: parts of a rule, or top-level keys.
fn configuration(lines: &[String]) -> String {
    let (top, rule): (Vec<_>, Vec<_>) = lines
        .iter()
        .partition(|line| line.starts_with("listeners:") || line.starts_with("upstreams:"));
    let mut yaml = if top.is_empty() {
        "listeners: {web: {address: 127.0.0.1:8080, upstream: shop}}\nupstreams: {shop: 127.0.0.1:8000}\n".to_owned()
    } else {
        top.iter().map(|line| format!("{line}\n")).collect()
    };
    if !rule.is_empty() {
        yaml += "rules:\n  - name: r\n";
        yaml.extend(rule.iter().map(|line| format!("    {line}\n")));
    }
    yaml
}

/// Runs squall with a configuration on standard input.
fn squall(arguments: &[&str], yaml: &str) -> (bool, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_squall"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(yaml.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn each_row_loads_and_does_what_it_says() {
    let reference = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/README.md")).unwrap();
    let (_, section) = reference.split_once("\n## Coming from other tools\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let mut left: BTreeMap<&str, &str> = SAID.iter().copied().collect();
    let rows = section
        .lines()
        .filter(|line| line.starts_with("| ") && !line.ends_with("| squall |"));
    for row in rows {
        let (theirs, ours) = row.trim_matches('|').split_once(" | ").unwrap();
        let theirs = theirs.trim();
        let known = left
            .keys()
            .copied()
            .filter(|begin| theirs.starts_with(begin))
            .max_by_key(|begin| begin.len());
        let begin = known.unwrap_or_else(|| panic!("no expectation for the row of {theirs}"));
        let said = left.remove(begin).unwrap();
        for lines in ways(ours) {
            let yaml = configuration(&lines);
            let (good, report) = squall(&["check", "-"], &yaml);
            assert!(good, "{yaml}\n{report}");
            let arguments: Vec<&str> = if yaml.contains("protocol: tcp") {
                vec!["explain", "-c", "/dev/stdin", "--listener", "redis"]
            } else {
                vec![
                    "explain",
                    "-c",
                    "/dev/stdin",
                    "-H",
                    "x-user: beta",
                    "-H",
                    "end-user: jason",
                    "-H",
                    "x-envoy-downstream-service-node: node-7",
                    "--client",
                    "10.0.0.5",
                    "-H",
                    if yaml.contains("grpc:") {
                        "content-type: application/grpc"
                    } else {
                        "accept: */*"
                    },
                    "http://127.0.0.1:8080/api/x",
                ]
            };
            let (good, explained) = squall(&arguments, &yaml);
            assert!(good && explained.contains(said), "{yaml}\n{explained}\nlacks: {said}");
        }
    }
    assert!(left.is_empty(), "rows are missing: {left:?}");
}
