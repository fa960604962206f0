"""The example for pytest as it stands, and the ready file that it waits for."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import requests
from squall import ROOT, binary, command, eventually

EXAMPLE = ROOT / "config/examples/pytest"
CONFIG = """
admin: {address: 127.0.0.1:0}
listeners: {web: {address: 127.0.0.1:0, upstream: echo}, other: {address: 127.0.0.1:0, upstream: echo}}
upstreams: {echo: {fake: echo}}
"""


def pytest_in(folder):
    path = os.pathsep.join([str(Path(binary()).resolve().parent), os.environ["PATH"]])
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_example_passes():
    done = pytest_in(EXAMPLE)
    assert done.returncode == 0 and "4 passed" in done.stdout, done.stdout + done.stderr


def test_a_configuration_that_is_wrong_is_told(tmp_path):
    for file in EXAMPLE.glob("*.py"):
        (tmp_path / file.name).write_text(file.read_text().replace('url: "{url}"', "urll: 1"))
    done = pytest_in(tmp_path)
    assert done.returncode == 1 and "unknown key `urll`" in done.stdout, done.stdout


def test_the_ready_file_is_there_while_squall_is_ready(tmp_path):
    (tmp_path / "squall.yaml").write_text(CONFIG)
    ready = tmp_path / "ready.json"
    ready.write_text("of an earlier run")
    process = subprocess.Popen([binary(), "run", tmp_path / "squall.yaml", "--ready-file", ready], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: ready.exists() and ready.read_text().startswith("{"), True)
        there = json.loads(ready.read_text())
        assert requests.get(f"http://{there['admin']}/readyz", timeout=10).status_code == 200
        assert sorted(there["listeners"]) == ["other", "web"]
        for address in there["listeners"].values():
            assert requests.get(f"http://{address}/", timeout=10).status_code == 200
        assert [path.name for path in tmp_path.iterdir() if "ready" in path.name] == ["ready.json"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
    assert not ready.exists()


def test_a_ready_file_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "squall.yaml").write_text(CONFIG)
    told = command("run", tmp_path / "squall.yaml", "--ready-file", tmp_path / "no/ready.json")
    assert told.returncode == 70 and "can't write the ready file" in told.stderr
