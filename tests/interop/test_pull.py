"""The pull that squall began with: 25,000 issues of a slow SonarQube, with requests and with aiohttp, through squall."""

import asyncio
import importlib.util
import json
import subprocess
import sys

import pytest
from squall import ROOT, binary

SCRIPT = ROOT / "config" / "examples" / "sonarqube_pull.py"
ISSUES = 25_000
PAGES = 50


@pytest.fixture(scope="module")
def pulling():
    """The script of the demonstration, as a module."""
    spec = importlib.util.spec_from_file_location("sonarqube_pull", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["sonarqube_pull"] = module
    spec.loader.exec_module(module)
    return module


FAST = """
listeners:
  web: {address: 127.0.0.1:0, upstream: sonarqube}
upstreams:
  sonarqube: {fake: sonarqube}
rules: []
"""


def ignore(pages):
    """Shows no progress."""


def test_both_clients_pull_the_same_issues_each_once(pulling, squall):
    url = squall(FAST).url("")
    one_by_one = pulling.pull_sync(url, 0, ignore)
    at_once = asyncio.run(pulling.pull_async(url, 0, ignore))
    for pull in (one_by_one, at_once):
        assert (pull.issues, len(pull.keys), len(pull.page_seconds)) == (ISSUES, ISSUES, PAGES)
    assert one_by_one.keys == at_once.keys
    assert one_by_one.rules == at_once.rules
    assert 320_000 < one_by_one.size / PAGES < 380_000


def test_the_demonstration_in_its_short_form(pulling, squall, tmp_path):
    """One page after the other takes as long as squall delays the pages by; all at once takes little more than the slowest."""
    undelayed = pulling.pull_sync(squall(FAST).url(""), 0, ignore).seconds
    figures = tmp_path / "figures.json"
    command = [sys.executable, SCRIPT, "--short", "--squall", binary(), "--json", figures]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert "| 0.4-0.8 s a page, 1 s processing |" in done.stdout
    [row] = json.loads(figures.read_text())
    one_by_one, at_once = row["requests"], row["aiohttp"]
    for pull in (one_by_one, at_once):
        assert (pull["issues"], pull["distinct"], len(pull["page_seconds"])) == (ISSUES, ISSUES, PAGES)
        # Each page was delayed, and by what the rule says: 0.4 to 0.8 s, 0.6 s in the mean.
        assert min(pull["page_seconds"]) >= 0.4
        assert 0.55 * PAGES < pull["delays"] < 0.65 * PAGES
    # The same seed, the same delays.
    assert at_once["delays"] == pytest.approx(one_by_one["delays"], rel=0.01)
    # Sync: 50 times the mean delay of a page, and the second of processing, within 10% beside what the pages take anyway.
    expected = one_by_one["delays"] + row["processing"]
    assert expected <= one_by_one["seconds"] < 1.1 * (expected + undelayed)
    # Async: the waits overlap, so that it takes little more than the longest of them. On a busy machine the best of three.
    assert at_once["seconds"] > max(at_once["page_seconds"]) + row["processing"] * 0.9
    best, row = at_once["seconds"], pulling.ROWS[0]
    for _ in range(2):
        if one_by_one["seconds"] < 8 * best:
            with pulling.Squall([binary()]) as one:
                again = asyncio.run(pulling.pull_async(one.url(row.listener), row.processing, ignore))
            best = min(best, again.seconds)
    assert one_by_one["seconds"] >= 8 * best
