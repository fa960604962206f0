"""The OpenAPI document of the admin API: a validator accepts it, and what squall answers to schemathesis' requests fits it.

SQUALL_API_CASES is the number of requests; without it there are some hundred."""

import contextlib
import itertools
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

HERE = Path(__file__).parent
CASES = int(os.environ.get("SQUALL_API_CASES", "0"))

CONFIG = """
seed: 1
listeners:
  web: {address: 127.0.0.1:0, upstream: echo}
upstreams: {echo: {fake: echo}}
rules:
  - {name: slow, match: {path: /pay}, faults: [{delay: 2ms}]}
  - {name: drawn, listener: web, choose: [{weight: 1, faults: [{abort: 503}]}, {weight: 2}]}
"""

SETTINGS = """
hooks = "{hooks}"
[checks]
# A rule that fits the schema may still make no sense, and may be refused for that.
positive_data_acceptance.expected-statuses = ["2xx", "3xx", "400", "404", "409", "412", "422"]
# That a revision is not the one that the caller has is told before what is wrong with the change.
negative_data_rejection.expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "412", "415", "422", "428", "429", "5xx"]
# What was made may have been removed meanwhile: the hooks let requests be about the same few things.
ensure_resource_availability.enabled = false
use_after_free.enabled = false

# Read as the file is, where `true` can be a text and a key without a value an empty map.
[[operations]]
include-operation-id = ["putRule", "putLayer", "putGuard", "startScenario", "verify"]
checks.negative_data_rejection.enabled = false
"""


@pytest.fixture
def running(squall):
    return squall(CONFIG)


def document(running):
    return requests.get(f"{running.admin}/api/v1/openapi.json", timeout=10).json()


def test_the_document_is_valid(running):
    errors = [error.message for error in OpenAPIV31SpecValidator(document(running)).iter_errors()]
    assert errors == []


def test_the_document_can_be_read_as_yaml_too(running):
    assert yaml.safe_load(yaml.safe_dump(document(running))) == document(running)


@contextlib.contextmanager
def traffic(running):
    """Requests in and out of spaces meanwhile, so that there is something to show."""
    stop = threading.Event()

    def send():
        with requests.Session() as session:
            for number in itertools.count():
                if stop.wait(0.02):
                    return
                headers = {"squall-space": "made"} if number % 2 else {"idempotency-key": str(number // 8)}
                with contextlib.suppress(requests.RequestException):
                    session.post(running.url(f"/pay?token={number}"), headers=headers, timeout=10)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        stop.set()
        sender.join()


def schemathesis(running, folder, *options, seconds):
    """Runs schemathesis, and returns the number of its requests."""
    settings = folder / "schemathesis.toml"
    settings.write_text(SETTINGS.replace("{hooks}", str(HERE / "control_document_hooks.py")))
    program = Path(sys.executable).with_name("schemathesis")
    done = subprocess.run(
        [program, "--config-file", settings, "run", f"{running.admin}/api/v1/openapi.json", "--no-color",
         "--continue-on-failure", "--generation-database", "none", "--request-timeout", "20", *options],
        cwd=folder, capture_output=True, text=True, timeout=seconds, check=False, env={**os.environ, "PYTHONPATH": str(HERE)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]
    print(done.stdout[done.stdout.find("SUMMARY") :])
    return int(re.search(r"(\d+) generated", done.stdout).group(1))


def test_answers_fit_the_document(running, tmp_path):
    before = document(running)
    with traffic(running):
        if CASES:
            many(running, tmp_path)
        else:
            options = ("--header", "Accept: application/json", "--phases", "fuzzing", "--max-examples", "4", "--seed", "1")
            assert schemathesis(running, tmp_path, *options, seconds=200) > 100
    assert running.process.poll() is None
    assert document(running) == before
    assert requests.get(f"{running.admin}/healthz", timeout=10).text == "ok\n"
    assert not any("panicked" in line for line in running.lines)


def many(running, folder):
    """All boundaries of all schemas, for callers of JSON and of text, then random requests and chains of them until there are enough."""
    sent = 0
    for seed in itertools.count():
        accept = ("Accept: application/json", "Accept: */*")[seed % 2]
        phases = "coverage" if seed < 2 else "fuzzing,stateful"
        options = ("--header", accept, "--phases", phases, "--max-examples", "300", "--workers", "2", "--seed", str(seed))
        sent += schemathesis(running, folder, *options, seconds=7200)
        print(f"{sent} requests")
        if seed > 2 and sent >= CASES:
            return
