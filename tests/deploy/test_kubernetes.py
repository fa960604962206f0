"""Kubernetes: each overlay and the chart give objects that the API server takes, restricted, and the same."""

import jsonschema
import pytest
import yaml
from conftest import DEPLOY, documents, run

KUBERNETES = DEPLOY / "kubernetes"
CHART = KUBERNETES / "chart"
VERSION = "1.32"
MONITOR = "PodMonitor"

# The part of the Prometheus operator's definition that is used here: kubernetes-validate knows Kubernetes' own kinds.
ENDPOINT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["port"],
    "properties": {
        "port": {"type": "string"},
        "path": {"type": "string"},
        "interval": {"type": "string", "pattern": r"^(\d+(ms|s|m|h))+$"},
        "authorization": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "type": {"type": "string"},
                "credentials": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["key"],
                    "properties": {"name": {"type": "string"}, "key": {"type": "string"}},
                },
            },
        },
    },
}
POD_MONITOR = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": MONITOR},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["selector", "podMetricsEndpoints"],
            "properties": {
                "selector": {"type": "object", "required": ["matchLabels"]},
                "podMetricsEndpoints": {"type": "array", "minItems": 1, "items": ENDPOINT},
            },
        },
    },
}


@pytest.fixture
def overlay(tool):
    def build(name):
        result = run(tool("kubectl"), "kustomize", KUBERNETES / "overlays" / name)
        assert result.returncode == 0, result.stdout
        return documents(result.stdout)

    return build


@pytest.fixture
def chart(helm):
    def build(*settings):
        arguments = [part for setting in settings for part in ("--set", setting)]
        result = run(helm, "template", "app", CHART, *arguments)
        assert result.returncode == 0, result.stdout
        return documents(result.stdout)

    return build


@pytest.fixture
def validate(tool, tmp_path):
    def check(objects):
        file = tmp_path / "objects.yaml"
        file.write_text(yaml.safe_dump_all([one for kind, one in objects.items() if kind != MONITOR]))
        result = run(tool("kubernetes-validate"), "--strict", "-k", VERSION, file)
        # A kind that it does not know only gives a warning.
        assert result.returncode == 0 and "WARN" not in result.stdout, result.stdout
        if MONITOR in objects:
            jsonschema.validate(objects[MONITOR], POD_MONITOR)

    return check


def pod(objects):
    return objects["Deployment"]["spec"]["template"]["spec"]


def sidecar(objects):
    spec = pod(objects)
    [found] = [one for one in spec["containers"] + spec.get("initContainers", []) if one["name"] == "squall"]
    return found


@pytest.mark.parametrize("name", ["native-sidecar", "plain-sidecar", "monitored"])
def test_overlays(overlay, validate, name):
    objects = overlay(name)
    validate(objects)
    consistent(objects)
    assert (MONITOR in objects) == (name == "monitored")


@pytest.mark.parametrize("settings", [(), ("squall.sidecar=plain",), ("podMonitor.enabled=true",)])
def test_the_chart(chart, validate, settings):
    objects = chart(*settings)
    validate(objects)
    consistent(objects)


def test_lint(helm):
    result = run(helm, "lint", "--strict", CHART)
    assert result.returncode == 0, result.stdout


def test_the_chart_refuses_unknown_values(helm):
    for setting in ["squall.sidecar=both", "squall.imgae=x", "replica=2"]:
        assert run(helm, "template", "app", CHART, "--set", setting).returncode != 0, setting


@pytest.mark.parametrize("kind", ["native", "plain"])
def test_chart_and_overlays_are_the_same(overlay, chart, kind):
    ours, theirs = overlay(f"{kind}-sidecar"), chart(f"squall.sidecar={kind}")
    assert ours.keys() == theirs.keys()
    # Helm's objects carry the release's name, so that two of them fit into a namespace.
    renamed = yaml.safe_load(yaml.safe_dump(pod(theirs)).replace("app-squall", "squall"))
    for spec in (renamed, pod(ours)):
        spec["containers"].sort(key=lambda container: container["name"])
    assert renamed == pod(ours)
    assert theirs["NetworkPolicy"]["spec"] == ours["NetworkPolicy"]["spec"]
    assert theirs["ConfigMap"]["data"]["squall.yaml"].rstrip() == ours["ConfigMap"]["data"]["squall.yaml"].rstrip()
    assert theirs["Secret"]["data"] == ours["Secret"]["data"]


def test_how_each_sidecar_starts(overlay):
    native, plain = overlay("native-sidecar"), overlay("plain-sidecar")
    assert [one["name"] for one in pod(native)["initContainers"]] == ["squall"]
    assert sidecar(native)["restartPolicy"] == "Always"
    assert sidecar(native)["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert {one["name"] for one in pod(plain)["containers"]} == {"app", "squall"}
    assert "restartPolicy" not in sidecar(plain)


def test_a_typing_error_would_be_seen(overlay, validate):
    objects = overlay("native-sidecar")
    sidecar(objects)["readynessProbe"] = sidecar(objects).pop("readinessProbe")
    with pytest.raises(AssertionError):
        validate(objects)


def consistent(objects):
    """What no schema knows: names that must meet, and the restricted security standard."""
    spec, squall = pod(objects), sidecar(objects)
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert objects["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    [volume] = spec["volumes"]
    assert volume["configMap"]["name"] == objects["ConfigMap"]["metadata"]["name"]
    [mount] = squall["volumeMounts"]
    # A file mounted by subPath would never change.
    assert (mount["name"], mount["mountPath"]) == (volume["name"], "/etc/squall") and "subPath" not in mount
    [token] = squall["env"]
    assert token["valueFrom"]["secretKeyRef"]["name"] == objects["Secret"]["metadata"]["name"]
    if MONITOR in objects:
        monitor = objects[MONITOR]["spec"]
        assert monitor["selector"]["matchLabels"].items() <= labels.items()
        [endpoint] = monitor["podMetricsEndpoints"]
        assert endpoint["port"] in {port["name"] for port in squall["ports"]}
        assert endpoint["authorization"]["credentials"]["name"] == objects["Secret"]["metadata"]["name"]
    restricted(spec)


def restricted(spec):
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    for container in spec["containers"] + spec.get("initContainers", []):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
