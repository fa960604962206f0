"""What wrk counts, what the application counts and what squall's metrics say must agree."""

import re
import subprocess
import urllib.request
from pathlib import Path

import pytest
from squall import NO_ANSWER, eventually

PATH = "/api/v1/todo/list/count"
CONNECTIONS = 5
QUIET_END = Path(__file__).parent / "quiet_end.lua"

RULES = """
rules:
  - name: slow
    faults: [{delay: 8ms}]
  - name: broken
    when: {percentage: 10}
    faults: [{abort: 503}]
"""


def config(upstream):
    return f"""
seed: 2019
listeners: {{web: {{address: 127.0.0.1:0, upstream: todo}}}}
upstreams: {{todo: {upstream}}}
{RULES}"""


@pytest.fixture(params=["fastapi", "test-api"])
def system(request, app, squall):
    """squall in front of each upstream, and a function that reads the application's own count, if it keeps one."""
    if request.param == "test-api":
        return squall(config("{fake: test-api}")), None
    port = app("todo")

    def count():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_count", timeout=10) as answer:
            return int(re.search(rb"\d+", answer.read()).group())

    return squall(config(f"{{url: 'http://127.0.0.1:{port}'}}")), count


def run_wrk(wrk, server, *options):
    command = [wrk, "-t2", f"-c{CONNECTIONS}", "-d5s", *options, "--timeout", "2s", server.url(PATH)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def settled(server):
    """The metrics once nothing is under way any more."""
    eventually(lambda: server.metrics().sum("squall_faults_active"), 0)
    readings = []

    def unchanged():
        readings.append(server.metrics().sum("squall_requests_total"))
        return readings[-3:].count(readings[-1]) == 3

    eventually(unchanged, True, pause=0.2)
    return server.metrics()


def check_shares(metrics, seen):
    """Delays hit all, aborts a tenth: within ten standard deviations, for the exact shares are tested elsewhere."""
    broken = metrics.sum("squall_faults_injected_total", rule="broken", fault="abort")
    assert abs(broken - 0.1 * seen) < 10 * (0.09 * seen) ** 0.5
    assert metrics.sum("squall_injected_delay_seconds_count", rule="slow") == seen
    assert metrics.sum("squall_request_duration_seconds_count", listener="web") == seen


def test_counts_agree_exactly(tool, system):
    server, application_count = system
    output = run_wrk(tool("wrk"), server, "-s", QUIET_END)
    wrk = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", output)}
    metrics = settled(server)

    assert (wrk["connect"], wrk["read"], wrk["write"], wrk["timeout"]) == (0, 0, 0, 0)
    assert wrk["complete"] > 100
    seen = metrics.sum("squall_requests_total", listener="web")
    assert seen == wrk["complete"]
    aborted = metrics.sum("squall_requests_total", listener="web", status="503")
    assert aborted == wrk["bad_status"]
    assert aborted == metrics.sum("squall_faults_injected_total", rule="broken", fault="abort")
    passed = metrics.sum("squall_requests_total", listener="web", upstream="todo", status="200")
    assert seen == passed + aborted
    assert metrics.sum("squall_upstream_duration_seconds_count", upstream="todo") == passed
    if application_count:
        assert application_count() == passed
    assert metrics.sum("squall_faults_injected_total", rule="slow", fault="delay") == seen
    assert metrics.sum("squall_clients_gone_total") == 0
    check_shares(metrics, seen)


def test_the_article_s_command(tool, system):
    """wrk cuts the requests in flight when its time is up and does not count them; it has at most one a connection.
    Each is either one whose client squall saw leave, or one that was answered at the very moment."""
    server, application_count = system
    output = run_wrk(tool("wrk"), server)
    complete = int(re.search(r"(\d+) requests in", output).group(1))
    bad_status = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    bad_status = int(bad_status.group(1)) if bad_status else 0
    metrics = settled(server)

    assert "Socket errors" not in output
    seen = metrics.sum("squall_requests_total", listener="web")
    gone = metrics.sum("squall_clients_gone_total", listener="web")
    unanswered = metrics.sum("squall_requests_total", listener="web", status=NO_ANSWER)
    aborted = metrics.sum("squall_requests_total", listener="web", status="503")
    passed = metrics.sum("squall_requests_total", listener="web", status="200")
    assert seen == passed + aborted + unanswered
    assert unanswered <= gone <= seen - complete <= CONNECTIONS
    assert 0 <= aborted - bad_status <= seen - complete - unanswered
    if application_count:
        assert passed <= application_count() <= passed + unanswered
