"""Grafana: the dashboard keeps its shape through Grafana's own types, and each panel shows data of a running squall."""

import json
import time

import pytest
import yaml
from conftest import DEPLOY, lacking

GRAFANA = DEPLOY / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards/squall.json").read_text())
VARIABLES = {"$job": ".*", "$instance": ".*", "$rule": ".*", "$__rate_interval": "15s", "$__range": "1m"}


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions():
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def concrete(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def test_it_keeps_its_shape_through_grafanas_types():
    try:
        from grafana_foundation_sdk.cog.encoder import JSONEncoder
        from grafana_foundation_sdk.cog.plugins import register_default_plugins
        from grafana_foundation_sdk.models.dashboard import Dashboard
    except ImportError:
        lacking("grafana-foundation-sdk")
    register_default_plugins()
    read = json.loads(json.dumps(Dashboard.from_json(DASHBOARD), cls=JSONEncoder))
    assert list(lost(DASHBOARD, read, "")) == []


def lost(ours, theirs, path):
    """Where something of ours is missing or different; defaults that the types add are fine."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            yield from lost(value, theirs[key], f"{path}/{key}") if key in theirs else [f"{path}/{key}"]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for at, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(one, other, f"{path}/{at}")
    elif ours != theirs:
        yield path


def test_panels_do_not_overlap_and_say_what_they_show():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["description"] and panel["fieldConfig"]["defaults"].get("unit", "table"), panel["title"]


def test_what_is_promised_is_shown():
    text = " ".join(expression for _, expression in expressions())
    for name in ["requests_total", "faults_injected_total", "injected_delay_seconds", "upstream_duration_seconds"]:
        assert f"squall_{name}" in text
    for name in ["timer_overshoot_seconds", "faults_active", "reloads_total", "faults_skipped_total"]:
        assert f"squall_{name}" in text


def test_every_panel_shows_data(prometheus):
    prometheus.wait_until(lambda: prometheus.query("rate(squall_requests_total[15s])"))
    waiting = list(expressions())
    assert len(waiting) > 20
    deadline = time.monotonic() + 30
    while waiting and time.monotonic() < deadline:
        waiting = [(title, expression) for title, expression in waiting if not numbers(prometheus, expression)]
        time.sleep(0.5)
    assert waiting == []


def test_variables_and_annotations_are_answered(prometheus):
    prometheus.wait_until(lambda: prometheus.query("rate(squall_requests_total[15s])"))
    queries = [one for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    assert [one["name"] for one in queries] == ["job", "instance", "rule"]
    for variable in queries:
        series, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
        assert all(label in one["metric"] for one in prometheus.query(concrete(series))), variable["name"]
    for annotation in DASHBOARD["annotations"]["list"]:
        prometheus.query(concrete(annotation["expr"]))


def numbers(prometheus, expression):
    """Series with a number: a quantile over nothing gives NaN."""
    return [one for one in prometheus.query(concrete(expression)) if one["value"][1] != "NaN"]


@pytest.mark.parametrize("kind", ["datasources", "dashboards"])
def test_provisioning(kind):
    [file] = (GRAFANA / "provisioning" / kind).glob("*.yml")
    content = yaml.safe_load(file.read_text())
    assert content["apiVersion"] == 1
    [entry] = content["datasources" if kind == "datasources" else "providers"]
    assert entry["type"] == ("prometheus" if kind == "datasources" else "file")
