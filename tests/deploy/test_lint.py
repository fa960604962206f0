"""Linters over the files of deploy/ and over the shell scripts of the project."""

import pytest
from conftest import DEPLOY, ROOT, clean

# Flow maps on one line are the style of this project; lines are as long as the code's.
YAMLLINT = """
extends: default
rules:
  braces: {max-spaces-inside: 0}
  comments: {min-spaces-from-content: 1}
  document-start: disable
  line-length: {max: 140}
  truthy: {check-keys: false}
"""


def scripts():
    """Every file of tests/ and deploy/ that bash or sh runs."""
    found = []
    for file in [*(ROOT / "tests").glob("*"), *(ROOT / "tests").glob("*/*"), *DEPLOY.rglob("*")]:
        if file.is_file() and not file.suffix == ".py" and ".venv" not in file.parts:
            with file.open("rb") as opened:
                first = opened.readline()
            if first.startswith(b"#!") and (b"bash" in first or first.rstrip().endswith(b"/sh")):
                found.append(file)
    return found


def test_yaml(tool):
    files = [file for kind in ("*.yml", "*.yaml") for file in DEPLOY.rglob(kind) if "templates" not in file.parts]
    assert len(files) >= 10
    clean(tool("yamllint"), "--strict", "-d", YAMLLINT, *files)


def test_shell(tool):
    found = scripts()
    assert ROOT / "tests/run" in found
    clean(tool("shellcheck"), *found)


def test_dockerfiles(tool):
    hadolint = tool("hadolint")
    files = [*DEPLOY.rglob("Dockerfile*"), *DEPLOY.rglob("*.Dockerfile")]
    if not files:
        pytest.skip("deploy/ has no Dockerfile")
    clean(hadolint, "--failure-threshold", "info", *files)
