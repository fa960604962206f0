"""The dashboard's queries."""

import json

from conftest import DEPLOY

GRAFANA = DEPLOY / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards/squall.json").read_text())
VARIABLES = {f"${name}": ".*" for name in ["job", "instance", "listener", "upstream", "rule"]}
VARIABLES |= {"$__rate_interval": "15s", "$__range": "1m"}


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions():
    """Title and query of each panel."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def concrete(expression):
    """A query as Grafana sends it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def numbers(prometheus, expression):
    """Series with a number: a quantile over nothing gives NaN."""
    return [one for one in prometheus.query(concrete(expression)) if one["value"][1] != "NaN"]
