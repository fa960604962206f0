"""A fault that can't be applied leaves a trace in each place where somebody looks for it."""

import json

import pytest
import requests
from squall import eventually

CONFIG = """
log: {format: json}
listeners:
  web: {address: 127.0.0.1:0, upstream: echo}
upstreams:
  echo: {fake: echo}
rules:
  - {name: cut, match: {path: /cut}, faults: [{truncate: 1MiB}]}
  - {name: stream, match: {path: /stream}, faults: [{drop: 10%}]}
  - {name: grpc, match: {path: /grpc}, faults: [{abort: {grpc: UNAVAILABLE}}]}
  - {name: patch, match: {path: /patch}, faults: [{rewrite: {json_patch: [{op: remove, path: /nothing}]}}]}
  - {name: both, match: {path: /both}, faults: [{delay: 1ms}, {stall: {after: 90KiB}}]}
"""
REASONS = [
    ("cut", "truncate", "body too short"),
    ("stream", "drop", "no messages"),
    ("grpc", "abort", "not a gRPC request"),
    ("patch", "rewrite", "patch failed"),
    ("both", "stall", "body too short"),
]


@pytest.mark.parametrize(("rule", "fault", "reason"), REASONS)
def test_the_reason_is_told_everywhere(squall, rule, fault, reason):
    server = squall(CONFIG)
    answers = [requests.get(server.url(f"/{rule}"), timeout=10) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    for answer in answers:
        assert f'rule="{rule}", fault={fault}, skipped="{reason}"' in answer.headers["Squall-Fault"]
    assert server.metrics().sum("squall_faults_skipped_total", rule=rule, fault=fault, reason=reason) == 3

    def lines():
        return [line for line in map(json.loads, server.lines) if line.get("path") == f"/{rule}"]

    eventually(lambda: [line.get("skipped") for line in lines()], [f"{fault}: {reason}"] * 3)
    warnings = [line for line in map(json.loads, server.lines) if line["level"] == "WARN" and line.get("rule") == rule]
    assert [(line["fault"], line["reason"]) for line in warnings] == [(fault, reason)], "it is told once"
    journal = requests.get(server.admin + "/api/v1/journal", timeout=10).json()["requests"]
    assert [entry["skipped"] for entry in journal] == [[{"rule": rule, "fault": fault, "reason": reason}]] * 3


def test_a_connection_that_ends_too_early_for_its_fault_is_logged(squall):
    behind = squall(CONFIG)
    server = squall(
        f"""
log: {{format: json}}
listeners: {{db: {{address: 127.0.0.1:0, protocol: tcp, upstream: db}}}}
upstreams: {{db: {{address: "127.0.0.1:{behind.port()}"}}}}
rules: [{{name: cut, faults: [{{truncate: 1MiB}}]}}]
"""
    )
    assert requests.get(server.url("/", "db"), headers={"connection": "close"}, timeout=10).ok
    line = server.wait_for_message("connection closed", 10)
    assert (line.get("faults"), line["skipped"]) == (None, "truncate: body too short")


def test_what_is_skipped_since_a_rule_was_switched_off_is_not(squall):
    server = squall(CONFIG)
    requests.put(server.admin + "/api/v1/armed", json={"armed": False}, timeout=10)
    assert "Squall-Fault" not in requests.get(server.url("/cut"), timeout=10).headers
