"""Prometheus: promtool on the files, the rules' tests and a real metrics page; metrics that exist; a live scrape."""

import re

import pytest
import requests
import yaml
from conftest import DEPLOY, clean, run
from live import TOKEN, eventually

PROMETHEUS = DEPLOY / "prometheus"
RULES = PROMETHEUS / "rules/squall.yml"


def test_configuration_and_rules(tool):
    result = run(tool("promtool"), "check", "config", "--lint-fatal", PROMETHEUS / "prometheus.yml")
    assert result.returncode == 0, result.stdout


def test_the_tests_of_the_rules(tool):
    result = run(tool("promtool"), "test", "rules", PROMETHEUS / "tests/squall.yml")
    assert result.returncode == 0 and "SUCCESS" in result.stdout, result.stdout


def test_every_rule_has_a_test():
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    tests = (PROMETHEUS / "tests/squall.yml").read_text()
    for rule in rules:
        if "alert" in rule:
            assert re.search(rf"alertname: {rule['alert']}\n\s+eval_time: \d+m\n\s+exp_alerts:\n", tests), rule["alert"]
        else:
            assert f"expr: {rule['record']}" in tests, rule["record"]


def test_the_page_is_lint_clean(tool, squall, page):
    assert "squall_faults_skipped_total{" in page
    clean(tool("promtool"), "check", "metrics", input=page)


def test_rules_and_dashboard_name_metrics_that_exist(page):
    there = set(re.findall(r"^# TYPE (\w+)", page, re.MULTILINE)) | {"process_max_fds"}
    for file in [RULES, DEPLOY / "grafana/dashboards/squall.json"]:
        for name in set(re.findall(r"\b((?:squall|process)_\w+)\b", file.read_text())):
            assert re.sub("_(bucket|count|sum)$", "", name) in there, f"{name} of {file.name}"


def test_the_token_is_asked_for(squall):
    assert requests.get(f"{squall.admin}/metrics", timeout=10).status_code == 401


def test_the_target_is_up_and_recorded(prometheus):
    prometheus.wait_until(lambda: prometheus.query("squall:faults_injected:ratio_rate5m"))
    [up] = prometheus.query('up{job="squall"}')
    assert up["value"][1] == "1"
    for record in ["requests:rate5m", "injected_delay_seconds:p99_5m", "timer_overshoot_seconds:p99_5m"]:
        assert prometheus.query(f"squall:{record}"), record


def test_no_rule_fails(prometheus):
    prometheus.wait_until(lambda: prometheus.query("squall:requests:rate5m"))
    groups = requests.get(f"{prometheus.url}/api/v1/rules", timeout=10).json()["data"]["groups"]
    assert len(groups) == 2
    for rule in [rule for group in groups for rule in group["rules"]]:
        assert rule["health"] == "ok", (rule["name"], rule.get("lastError"))


@pytest.fixture
def page(squall):
    """The metrics page, once the traffic has come by everything."""

    def read():
        answer = requests.get(f"{squall.admin}/metrics", headers={"authorization": f"Bearer {TOKEN}"}, timeout=10)
        assert answer.status_code == 200
        return answer.text

    eventually(read, lambda page: "squall_faults_skipped_total{" in page)
    return read()
