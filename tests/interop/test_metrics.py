"""The metrics page: promtool's rules, the promised names, and labels that never come from traffic."""

import subprocess

import pytest
import requests
from squall import eventually

CONFIG = """
seed: 12345
listeners: {web: {address: 127.0.0.1:0, upstream: echo}}
upstreams: {echo: {fake: echo}}
rules:
  - name: 'slow "quoted" \\ one'
    match: {path: /slow}
    faults: [{delay: 8ms}]
  - name: broken
    match: {path: /broken}
    faults: [{abort: 503}]
  - name: limited
    match: {path: /limited}
    when: {limits: {total: 3}}
    faults: [{abort: 503}]
"""

PROMISED = {
    "squall_requests_total",
    "squall_faults_injected_total",
    "squall_rules_matched_total",
    "squall_injected_delay_seconds_bucket",
    "squall_upstream_duration_seconds_bucket",
    "squall_request_duration_seconds_bucket",
    "squall_timer_overshoot_seconds_bucket",
    "squall_faults_active",
    "squall_clients_gone_total",
    "squall_reloads_total",
    "squall_info",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_start_time_seconds",
}


@pytest.fixture
def server(squall):
    server = squall(CONFIG)
    for path in ["/slow", "/broken", "/free", "/limited"]:
        for _ in range(5):
            requests.get(server.url(path), timeout=30)
    server.admin_call("/api/v1/reload", "POST")
    return server


def test_promtool_finds_nothing(server, tool):
    text = server.metrics().text
    result = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_the_promised_names_are_there(server):
    metrics = server.metrics()
    assert PROMISED - metrics.names() == set()
    [(info, value)] = metrics.series("squall_info")
    assert value == 1
    assert info["seed"] == "12345"
    assert info["config_hash"]
    assert info["version"]


def test_the_figures_are_right(server):
    metrics = server.metrics()
    slow = metrics.series("squall_faults_injected_total", fault="delay")
    [(labels, count)] = [(labels, count) for labels, count in slow if labels["rule"].startswith("slow")]
    assert labels["rule"] == r"slow \"quoted\" \\ one"
    assert count == 5
    assert metrics.sum("squall_injected_delay_seconds_count", rule=labels["rule"]) == 5
    assert 5 * 0.008 <= metrics.sum("squall_injected_delay_seconds_sum", rule=labels["rule"]) < 5
    assert metrics.sum("squall_rules_matched_total", rule="broken") == 5
    assert metrics.sum("squall_faults_injected_total", rule="broken", fault="abort") == 5
    assert metrics.sum("squall_faults_injected_total", rule="limited", fault="abort") == 3
    assert metrics.sum("squall_requests_total", listener="web", status="503") == 8
    assert metrics.sum("squall_requests_total", listener="web", upstream="echo", status="200") == 12
    assert metrics.sum("squall_request_duration_seconds_count", listener="web") == 20
    assert metrics.sum("squall_upstream_duration_seconds_count", upstream="echo") == 12
    assert metrics.sum("squall_timer_overshoot_seconds_count") == 5
    assert metrics.sum("squall_faults_active") == 0
    assert metrics.sum("squall_reloads_total", result="ok") >= 1


def test_traffic_makes_no_series(server):
    before = len(server.metrics().samples)
    for number in range(50):
        requests.get(
            server.url(f"/path-{number}"), headers={"Host": f"host-{number}", "x-number": str(number)}, timeout=30
        )
    assert len(server.metrics().samples) == before


SITES = """
listeners:
  web:
    address: 127.0.0.1:0
    upstream: rest
    routes: [{match: {path: /users/**}, upstream: users}]
  other: {address: 127.0.0.1:0, upstream: rest}
upstreams: {rest: {fake: echo}, users: {fake: echo}}
rules:
  - {name: everywhere, match: {headers: {hit: yes}}, faults: [{abort: 503}]}
  - {name: users, upstream: users, faults: [{delay: 1ms}]}
  - {name: arriving, listener: [web, other], faults: [{delay: {fixed: 1ms, before: connection}}]}
"""


def test_faults_are_counted_by_listener_and_upstream(squall):
    server = squall(SITES)

    def injected(rule):
        series = server.metrics().series("squall_faults_injected_total", rule=rule)
        return {(labels["listener"], labels.get("upstream", "")): value for labels, value in series}

    # Wherever a rule may hit there is a series before it does: Prometheus sees no increase in one that begins with 1.
    assert injected("everywhere") == {("web", "users"): 0, ("web", "rest"): 0, ("other", "rest"): 0}
    assert injected("users") == {("web", "users"): 0}
    assert injected("arriving") == {("web", ""): 0, ("other", "rest"): 0}
    for url in [server.url("/users/1"), server.url("/"), server.url("/"), server.url("/", listener="other")]:
        assert requests.get(url, headers={"hit": "yes"}, timeout=30).status_code == 503
    expected = {("web", "users"): 1, ("web", "rest"): 2, ("other", "rest"): 1}
    eventually(lambda: injected("everywhere"), expected)
    eventually(lambda: injected("arriving"), {("web", ""): 3, ("other", "rest"): 1})
    # The delay comes later than the answer of the rule before it.
    assert server.metrics().sum("squall_faults_injected_total", rule="users") == 0
    requests.get(server.url("/users/1"), timeout=30)
    eventually(lambda: injected("users"), {("web", "users"): 1})


def test_health(server):
    assert server.admin_call("/healthz")[0] == 200
    assert server.admin_call("/readyz")[0] == 200
    status, _ = server.admin_call("/api/v1/config")
    assert status == 200
    assert server.admin_call("/nowhere")[0] == 404
