"""The staging guide: its configuration is valid and does what the page says; its numbers are real queries."""

import re

import pytest
import requests
from conftest import DEPLOY
from live import Squall, command

GUIDE = (DEPLOY / "staging.md").read_text()
REQUESTS = 60


def guide_yaml():
    [text] = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    return text


def test_check_finds_nothing(tmp_path):
    file = tmp_path / "squall.yaml"
    file.write_text(guide_yaml())
    result = command("check", file)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("file", ["kubernetes/base/squall.yaml"])
def test_other_configurations_are_valid(file, monkeypatch):
    monkeypatch.setenv("SQUALL_TOKEN", "secret")
    result = command("check", DEPLOY / file)
    assert result.returncode == 0, result.stdout + result.stderr


def test_it_shapes_as_the_page_says(tmp_path):
    text = guide_yaml().replace("0.0.0.0:8080", "127.0.0.1:0").replace("0.0.0.0:9900", "127.0.0.1:0")
    text = re.sub(r"\{url: .*\}", "{fake: echo}", text)
    # All of the draws at once would take a thousand requests: the share is raised, its mechanism is the same.
    text = text.replace("weight: 1,", "weight: 99,")
    server = Squall(text, tmp_path)
    try:
        answers = [requests.get(server.url(f"/{number}"), timeout=30) for number in range(REQUESTS)]
        health = requests.get(server.url("/healthz"), timeout=30)
    finally:
        server.stop()
    waits = sorted(answer.elapsed.total_seconds() for answer in answers if answer.status_code == 200)
    refused = [answer for answer in answers if answer.status_code == 503]
    # 20% × 99/198 = 10% of 60; the seed is fixed, so this is what was drawn and not a matter of luck.
    assert 1 <= len(refused) <= 15
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
    assert 0.04 < waits[len(waits) // 2] < 1
    assert "squall-fault" not in health.headers


def test_its_queries_are_answered(prometheus):
    prometheus.wait_until(lambda: prometheus.query("rate(squall_requests_total[15s])"))
    table = [line for line in GUIDE.splitlines() if line.startswith("| `")]
    queries = [query for line in table for query in re.findall(r"`([^`]+)`", line.split(" | ")[0])]
    assert len(queries) >= 7
    for query in queries:
        assert prometheus.query(query), query
