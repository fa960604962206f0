"""Every framework of systems.py as a real upstream behind squall: each feature that it has, untouched and under faults."""

import pytest
from certificates import Authority
from framework_trials import Trial
from stage import Stage
from systems import FAULTS, FEATURES, FRAMEWORKS, Servers

CELLS = [
    pytest.param(one, check, rule, id=f"{one.place} {feature.name} {rule or 'untouched'}")
    for one in FRAMEWORKS
    for feature in FEATURES
    for rule, check in [(None, feature.untouched), *feature.faulted.items()]
    if feature.name not in one.lacks
]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("authority"))
    servers = Servers(tmp_path_factory.mktemp("frameworks"), authority)
    try:
        with Stage(tmp_path_factory.mktemp("stage"), FAULTS, others=servers.upstreams) as stage:
            yield stage
    finally:
        servers.stop()


@pytest.mark.parametrize(("framework", "check", "rule"), CELLS)
def test_cell(stage, framework, check, rule):
    check(Trial(stage, framework, rule))
