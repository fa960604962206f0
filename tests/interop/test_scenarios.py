"""Scenarios against a real squall: what clients feel follows the timeline, and everything is put back, however it ends."""

import http.client
import json
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from squall import binary, command, eventually

CONFIG = """
seed: 5
listeners: {web: {address: 127.0.0.1:0, upstream: echo}}
upstreams: {echo: {fake: echo}}
rules:
  - name: slow db
    match: {path: /slow}
    faults: [{delay: 1ms}]
  - name: outage
    enabled: false
    match: {path: /shop}
    faults: [{abort: 503}]
"""


class Traffic:
    """Sends a request every so often, each in a thread of its own, and notes when it began, its status and its time."""

    def __init__(self, server, path, every=0.05):
        self.seen = []
        self._stop = threading.Event()
        self._server, self._path, self._every = server, path, every
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        threads = []
        while not self._stop.wait(self._every):
            threads.append(threading.Thread(target=self._send))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _send(self):
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port(), timeout=30)
        connection.connect()
        wall, began = time.time(), time.monotonic()
        connection.request("GET", self._path)
        response = connection.getresponse()
        response.read()
        self.seen.append((wall, response.status, time.monotonic() - began))
        connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def status(server, path="/shop"):
    connection = http.client.HTTPConnection("127.0.0.1", server.port(), timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def written(tmp_path, text):
    file = tmp_path / "scenario.yaml"
    file.write_text(text)
    return file


def call(server, method, path, body=None):
    """Status and JSON of a call to the admin API."""
    headers = {"Accept": "application/json"}
    request = urllib.request.Request(server.admin + path, method=method, data=body and body.encode(), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            code, text = response.status, response.read()
    except urllib.error.HTTPError as error:
        code, text = error.code, error.read()
    return code, json.loads(text)


def started(server, file, *args):
    """The command, which plays a scenario meanwhile."""
    argv = [binary(), "scenario", "run", file, "--admin", server.admin, *args]
    return subprocess.Popen([str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def is_as_before(server):
    _, rules = call(server, "GET", "/api/v1/rules")
    return all(rule["layer"] == "file" and rule["enabled"] == (rule["name"] == "slow db") for rule in rules["rules"])


def test_a_client_measures_the_ramp_within_five_percent(squall, tmp_path):
    server = squall(CONFIG)
    file = written(
        tmp_path,
        """
scenario: slow
seed: 5
steady: {p99: < 100ms}
before: 500ms
steps:
  - ramp delay of "slow db" from 200ms to 1s over 4s
expect: {p99: < 2s, errors: < 1%, recovered within: 5s}
""",
    )
    with Traffic(server, "/slow", every=0.03) as traffic:
        done = command("scenario", "run", file, "--admin", server.admin, "--json", tmp_path / "report.json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["verdict"] == "passed" and report["reverted"] is True and report["seed"] == 5
    began = report["started"] + report["seconds"]["before"]
    errors = []
    for wall, _, took in traffic.seen:
        at = wall - began
        if 0.05 < at < 3.95:
            wanted = 0.2 + 0.8 * at / 4
            errors.append(took / wanted - 1)
    assert len(errors) > 80
    errors.sort()
    # Some may be late on a machine that is busy with something else; none may be early.
    assert -0.05 < errors[0] and errors[len(errors) // 2] < 0.03 and errors[len(errors) * 4 // 5] < 0.05, errors
    assert [step["text"] for step in report["injected"]] == ['ramp delay of "slow db" from 200ms to 1s over 4s']
    assert [one["held"] for one in report["expectations"]] == [True, True, True]
    assert is_as_before(server)


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.links = [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]


def test_an_expectation_that_fails_is_named_in_every_report(squall, tmp_path):
    server = squall(CONFIG)
    file = written(
        tmp_path,
        """
scenario: bad <day> & night
steps:
  - enable outage for 1s
  - put: {name: extra, match: {path: /shop}, faults: [{delay: 30ms}]}
    for: 500ms
expect: {errors: < 1%, p50: < 5s}
""",
    )
    names = {kind: tmp_path / f"report.{kind}" for kind in ("json", "junit", "html")}
    with Traffic(server, "/shop"):
        outputs = [word for kind, name in names.items() for word in (f"--{kind}", name)]
        done = command("scenario", "run", file, "--admin", server.admin, *outputs)
    assert done.returncode == 1, done.stderr
    assert "did not hold: errors < 1% (during)" in done.stdout
    report = json.loads(names["json"].read_text())
    assert report["verdict"] == "failed"
    assert {one["name"]: one["held"] for one in report["expectations"]} == {"errors": False, "p50": True}
    assert report["windows"]["during"]["errors_injected"] > 5 and report["windows"]["during"]["errors_natural"] == 0
    suite = ElementTree.fromstring(names["junit"].read_text())
    cases = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    assert cases["errors < 1% (during)"] == ["failure"] and cases["p50 < 5s (during)"] == []
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "0")
    page = Tags()
    page.feed(names["html"].read_text())
    assert "svg" in page.open and "script" not in page.open and not page.links
    assert "<day>" not in names["html"].read_text()
    assert is_as_before(server)


LONG = "scenario: long\nsteps: [enable outage for 60s]\n"


def test_a_killed_command_puts_everything_back_at_once(squall, tmp_path):
    server = squall(CONFIG)
    process = started(server, written(tmp_path, LONG))
    eventually(lambda: status(server), 503)
    process.kill()
    took = eventually(lambda: status(server), 200, seconds=5)
    assert took < 2
    eventually(lambda: call(server, "GET", "/api/v1/scenarios/1")[1]["state"], "done")
    _, play = call(server, "GET", "/api/v1/scenarios/1")
    assert (play["verdict"], play["reason"]) == ("aborted", "its client has disconnected")
    assert is_as_before(server)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_aborts_and_reports(squall, tmp_path, number):
    server = squall(CONFIG)
    process = started(server, written(tmp_path, LONG), "--junit", tmp_path / "report.xml")
    eventually(lambda: status(server), 503)
    process.send_signal(number)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 1 and "aborted" in out
    assert status(server) == 200 and is_as_before(server)
    suite = ElementTree.fromstring((tmp_path / "report.xml").read_text())
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")


def test_the_stop_switch_fails_it(squall, tmp_path):
    server = squall(CONFIG)
    process = started(server, written(tmp_path, LONG))
    eventually(lambda: status(server), 503)
    assert call(server, "PUT", "/api/v1/armed", '{"armed": false, "reason": "pager"}')[0] == 200
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 1 and "halted: the stop switch was used: pager" in out
    assert is_as_before(server)
    again = command("scenario", "run", written(tmp_path, LONG), "--admin", server.admin)
    assert again.returncode == 1 and "squall injects nothing now" in again.stdout


def test_the_api_starts_pauses_and_aborts(squall):
    server = squall(CONFIG)
    code, play = call(server, "POST", "/api/v1/scenarios?detach=1", LONG)
    assert code == 202 and play["scenario"] == "long"
    at = f"/api/v1/scenarios/{play['id']}"
    eventually(lambda: status(server), 503)
    code, busy = call(server, "POST", "/api/v1/scenarios?detach=1", LONG)
    assert code == 409 and busy["id"] == play["id"] and busy["scenario"] == "long"
    assert call(server, "GET", f"{at}/report")[0] == 409
    assert call(server, "POST", f"{at}/pause")[0] == 200
    eventually(lambda: call(server, "GET", at)[1]["state"], "paused")
    paused = call(server, "GET", at)[1]["at_seconds"]
    time.sleep(0.5)
    assert call(server, "GET", at)[1]["at_seconds"] == paused
    assert status(server) == 503
    assert call(server, "POST", f"{at}/resume")[0] == 200
    eventually(lambda: call(server, "GET", at)[1]["state"], "running")
    assert call(server, "POST", f"{at}/dance")[0] == 404
    assert call(server, "POST", f"{at}/abort")[0] == 200
    eventually(lambda: status(server), 200, seconds=2)
    eventually(lambda: call(server, "GET", at)[1]["verdict"], "aborted")
    assert call(server, "POST", f"{at}/abort")[0] == 409
    assert call(server, "GET", f"{at}/report")[1]["injected"][0]["text"] == "enable outage"
    for kind, mark in [("junit", "<testsuites"), ("html", "<svg"), ("text", "long: aborted")]:
        assert mark in server.admin_call(f"{at}/report?format={kind}")[1]
    assert call(server, "GET", f"{at}/report?format=pdf")[0] == 400
    assert call(server, "GET", "/api/v1/scenarios/99")[0] == 404
    assert [one["id"] for one in call(server, "GET", "/api/v1/scenarios")[1]["scenarios"]] == [play["id"]]
    assert is_as_before(server)


def test_a_reload_may_come_in_between_unless_it_takes_the_rule_away(squall, tmp_path):
    server = squall(CONFIG)
    process = started(server, written(tmp_path, LONG))
    eventually(lambda: status(server), 503)
    server.save(CONFIG.replace("/slow", "/slower"))
    assert server.admin_call("/api/v1/reload", "POST")[0] == 200
    time.sleep(0.3)
    assert status(server) == 503 and process.poll() is None
    server.save(CONFIG.replace("outage", "other"))
    assert server.admin_call("/api/v1/reload", "POST")[0] == 200
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 1 and "the rule `outage` is gone" in out
    assert is_as_before(server)


def test_the_same_scenario_seed_and_traffic_give_the_same_faults(squall, tmp_path):
    server = squall(CONFIG)
    file = written(tmp_path, "scenario: same\nsteps: [enable outage, hold percentage of outage at 50% for 1500ms]\n")

    def faults():
        process = started(server, file)
        eventually(lambda: call(server, "GET", "/api/v1/rules")[1]["rules"][1]["percentage"], 50.0)
        seen = [status(server) for _ in range(40)]
        process.communicate(timeout=10)
        return seen

    first, second = faults(), faults()
    assert first == second and set(first) == {200, 503}


def test_what_does_not_fit_is_reported_before_anything_begins(squall, tmp_path):
    server = squall(CONFIG)
    file = written(tmp_path, "scenario: x\nseed: 6\nsteps:\n  - enable outge for 1s\n  - put: {name: p, listener: wbe, faults: []}\n")
    done = command("scenario", "run", file, "--admin", server.admin)
    assert done.returncode == 64
    assert "squall refuses this rule" in done.stderr and "wbe" in done.stderr
    assert "did you mean `outage`?" in done.stderr and f"{file}:4:5" in done.stderr and "--seed 6" in done.stderr
    assert command("scenario", "check", file).returncode == 0
    bad = command("scenario", "run", written(tmp_path, "scenario: x\nsteps: [enabel a]\n"), "--admin", server.admin)
    assert bad.returncode == 64 and "did you mean `enable`?" in bad.stderr
    assert command("scenario", "run").returncode == 2
    gone = command("scenario", "run", written(tmp_path, LONG), "--admin", "127.0.0.1:1")
    assert gone.returncode == 70 and "can't reach the admin API" in gone.stderr
