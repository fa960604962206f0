"""The tables of systems in tests/README.md are those that the tests try."""

import re
from pathlib import Path

import systems
from systems import FAULTS, FEATURES, FRAMEWORKS, JOBS, JOBS_COLUMNS


def test_the_readme_has_the_tables():
    assert systems.in_readme() == systems.tables().strip(), "run: python tests/interop/systems.py --write"


def test_every_fault_is_tried():
    assert {rule for feature in FEATURES for rule in feature.faulted} == set(FAULTS)


def test_missing_features_are_known():
    names = {feature.name for feature in FEATURES}
    for one in FRAMEWORKS:
        assert set(one.lacks) <= names
        assert (systems.HTTP2 in one.lacks) != one.http2


def test_the_named_tests_exist():
    folder = Path(__file__).parent
    wired = [cell[1:] for one in systems.WIRED for cell in one.cells if cell]
    for file, groups in [("test_celery.py", [names for one in JOBS for names in one.tests]), ("test_tcp_systems.py", wired)]:
        text = (folder / file).read_text()
        for name in (name for names in groups for name in names):
            assert re.search(rf"^def {name}\(", text, re.MULTILINE), name
    assert all(len(one.tests) == len(JOBS_COLUMNS) for one in JOBS)
    assert all(len(one.cells) == len(systems.WIRED_COLUMNS) for one in systems.WIRED)
