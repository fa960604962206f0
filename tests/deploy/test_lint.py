"""Linters over the files of deploy/, the shell scripts of the project, and the workflows of its CI."""

import pytest
from conftest import DEPLOY, ROOT, clean, run

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


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_yaml(tool):
    files = [file for kind in ("*.yml", "*.yaml") for file in DEPLOY.rglob(kind) if "templates" not in file.parts]
    assert len(files) >= 10
    clean(tool("yamllint"), "--strict", "-d", YAMLLINT, *files, *WORKFLOWS)


def test_workflows(tool):
    assert WORKFLOWS
    clean(tool("check-jsonschema"), "--quiet", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)


COMPOSE_FILES = sorted(DEPLOY.glob("compose/*/docker-compose.yml"))


def compose_schema(tool, *files):
    """Validates against the Compose Specification's schema."""
    return run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", *files)


def test_compose_files(tool):
    assert len(COMPOSE_FILES) >= 3
    result = compose_schema(tool, *COMPOSE_FILES)
    assert result.returncode == 0, result.stdout


def test_a_typing_error_in_a_compose_file_would_be_seen(tool, tmp_path):
    file = tmp_path / "docker-compose.yml"
    file.write_text(COMPOSE_FILES[0].read_text().replace("read_only:", "readonly:"))
    assert compose_schema(tool, file).returncode != 0


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
