"""Grafana: the dashboard keeps its shape through Grafana's own types, and each panel shows data of a running squall."""

import json
import time

import pytest
import yaml
from conftest import lacking, run
from dashboard import DASHBOARD, GRAFANA, concrete, expressions, numbers, panels


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


# The dashboard as a value of the type that Grafana's own frontend has for it; the words of an enumeration stand for its members,
# and an annotation has what Prometheus needs of one.
TYPED = """
import { Dashboard } from "@grafana/schema";
declare module "@grafana/schema" { interface AnnotationQuery<TQuery> { expr?: string } }
type Plain<T> = T extends string ? `${T}` : T extends number | boolean | null | undefined ? T
  : T extends (infer One)[] ? Plain<One>[] : { [Key in keyof T]: Plain<T[Key]> };
export const dashboard: Plain<Dashboard> = """
SCHEMA_PACKAGES = ["@grafana/schema@11.4.0", "typescript@5.7.3"]


@pytest.fixture
def typed(tool, npm_package, tmp_path):
    """A function that has the types of a dashboard checked, and returns what is wrong."""
    node = tool("node")
    for package in SCHEMA_PACKAGES:
        place = tmp_path / "node_modules" / package.rsplit("@", 1)[0]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(npm_package(package))

    def check(dashboard):
        (tmp_path / "dashboard.ts").write_text(TYPED + json.dumps(dashboard, indent=1))
        options = "--noEmit --strict --skipLibCheck --preserveSymlinks --moduleResolution node --target es2020".split()
        result = run(node, "node_modules/typescript/bin/tsc", *options, "dashboard.ts", cwd=tmp_path)
        return result.stdout

    return check


def test_it_has_the_type_that_grafana_gives_dashboards(typed):
    assert typed(DASHBOARD) == ""


def test_a_typing_error_would_be_seen(typed):
    panel = {**panels()[0], "transparent": "yes"}
    wrong = typed({**DASHBOARD, "panels": [panel]})
    assert "Type 'string' is not assignable to type 'boolean" in wrong


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


def test_faults_are_told_apart_by_listener_and_upstream(prometheus):
    where = {"web": "echo", "gone": "nobody"}
    prometheus.wait_until(lambda: prometheus.query('squall_faults_injected_total{listener="web",fault="delay"} > 0'))
    for name in ["injected", "shadowed", "skipped"]:
        found = prometheus.query(f"squall_faults_{name}_total > 0")
        assert found and all(one["metric"]["listener"] == "web" for one in found), name
        assert all(where[one["metric"]["listener"]] == one["metric"]["upstream"] for one in found), name


def test_variables_and_annotations_are_answered(prometheus):
    prometheus.wait_until(lambda: prometheus.query("rate(squall_requests_total[15s])"))
    queries = [one for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    values = {}
    for variable in queries:
        series, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
        values[variable["name"]] = {one["metric"][label] for one in prometheus.query(concrete(series))}
    assert list(values) == ["job", "instance", "listener", "upstream", "rule"]
    assert values["listener"] == {"web", "gone", "bytes"}
    assert values["upstream"] == {"echo", "nobody", "database"}
    for annotation in DASHBOARD["annotations"]["list"]:
        prometheus.query(concrete(annotation["expr"]))


@pytest.mark.parametrize("kind", ["datasources", "dashboards"])
def test_provisioning(kind):
    [file] = (GRAFANA / "provisioning" / kind).glob("*.yml")
    content = yaml.safe_load(file.read_text())
    assert content["apiVersion"] == 1
    [entry] = content["datasources" if kind == "datasources" else "providers"]
    assert entry["type"] == ("prometheus" if kind == "datasources" else "file")
