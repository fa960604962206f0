"""`squall ctl`: every subcommand against a running squall, over TCP with a token and over a unix socket."""

import json
import os
import subprocess

import pytest
import requests
import yaml
from squall import binary, command, eventually

TOKEN = "a-token-for-the-tests"
CONFIG = """
seed: 7
listeners:
  web: {address: 127.0.0.1:0, upstream: echo}
upstreams: {echo: {fake: echo}}
rules:
  - {name: outage, match: {path: /pay}, faults: [{abort: 503}]}
"""
TEAPOT = "name: tea pot\nmatch: {path: /pay}\nwhen: {percentage: 100%}\nfaults: [{abort: 418}]\n"


class Ctl:
    """squall ctl with the arguments that reach one squall."""

    def __init__(self, running, *reach):
        self.running = running
        self.reach = reach

    def __call__(self, *args, code=0, **options):
        done = command("ctl", *self.reach, *args, **options)
        assert done.returncode == code, (args, done.stdout, done.stderr)
        return done.stdout if code == 0 else done.stdout + done.stderr

    def json(self, *args):
        return json.loads(self("--json", *args))

    def pay(self, **headers):
        return requests.get(self.running.url("/pay"), headers=headers, timeout=10).status_code


@pytest.fixture(params=["tcp", "unix"])
def ctl(request, squall, tmp_path):
    if request.param == "tcp":
        running = squall(f"admin: {{address: '127.0.0.1:0', token: {TOKEN}}}\n{CONFIG}")
        return Ctl(running, "--admin", running.admin, "--token", TOKEN)
    place = f"unix:{tmp_path}/admin.sock"
    return Ctl(squall(f"admin: {{address: '{place}'}}\n{CONFIG}"), "--admin", place)


def test_rules(ctl):
    table = ctl("rules").splitlines()
    assert table[0].split() == ["NAME", "LAYER", "SPACE", "STATE", "SHARE", "FAULTS", "MATCHED", "HITS", "LEFT"]
    assert table[1].split() == ["outage", "file", "on", "100%", "abort", "0", "0"]
    assert "\x1b" not in "".join(table), "colours are for terminals"

    assert ctl("put", "-", input=TEAPOT) == "tea pot: added\n"
    assert ctl.pay() == 418
    assert ctl("put", "--ttl", "10m", "-", input=TEAPOT) == "tea pot: replaced\n"
    assert 0 < ctl.json("rule", "tea pot")["ttl_seconds"] <= 600
    shown = yaml.safe_load(ctl("rule", "tea pot"))
    assert shown["faults"][0]["abort"]["status"] == 418
    assert ctl("patch", "tea pot", "{when: {percentage: 0%}}") == "tea pot: changed\n"
    assert ctl.pay() == 503
    two = "- {name: a, faults: [{delay: 1ms}]}\n- {name: b, faults: [{delay: 1ms}]}\n"
    assert ctl("put", "--dry-run", "-", input=two) == "a: ok\nb: ok\n"
    assert ctl("put", "-", input=two) == "a: added\nb: added\n"
    assert ctl("order", "b", "a", "tea pot") == "b\na\ntea pot\n"
    assert [rule["name"] for rule in ctl.json("rules")["rules"]] == ["b", "a", "tea pot", "outage"]

    assert ctl("off", "outage") == "outage: off\n"
    assert ctl.pay() == 200
    assert ctl("on", "outage") == "outage: on\n"
    assert ctl.pay() == 503
    assert ctl("reset", "outage") == "outage: reset\n"
    assert ctl.json("rule", "outage")["hits"] == 0
    assert ctl("reset") == "all rules: reset\n"
    for name in ["a", "b", "tea pot"]:
        assert ctl("remove", name) == f"{name}: removed\n"
    assert ctl.json("rules")["rules"][0]["name"] == "outage"


WHENS = {
    "{every: 3}": "1 in 3",
    "{every: 3, percentage: 50%}": "50% of 1 in 3",
    "{attempts: 2, key: client}": "100%, first 2 per key",
    "{percentage: 20%, requested: true}": "20%, if requested",
    "{schedule: {start: 1m}}": "100%, on schedule",
    "{limits: {share: 5%, active: 3}}": "100%, at most 5%, at most 3 at once",
    "{limits: {expires: 10m}}": "100%, for 10m",
}


def test_the_share_is_what_is_hit(ctl):
    for when, share in WHENS.items():
        ctl("patch", "outage", "{when: null}")
        ctl("patch", "outage", f"{{when: {when}}}")
        assert ctl.json("rule", "outage")["share"] == share
        assert f"  {share}  " in ctl("rules"), when
    ctl("patch", "outage", "{when: {every: 3, limits: null}}")
    ctl("patch", "outage", "{when: {limits: {total: 1, expires: null}}}")
    assert "limits.total is reached" not in ctl("rules")
    assert [ctl.pay() for _ in range(6)].count(503) == 1
    row = ctl("rules").splitlines()[1]
    assert "on, limits.total is reached" in row and "1 in 3, at most 1 in all" in row


def test_refusals_have_their_reasons(ctl, tmp_path):
    assert "did you mean `outage`?" in ctl("rule", "outag", code=1)
    assert "configuration file" in ctl("remove", "outage", code=1)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("name: x\nfaults:\n  - abrot: 503\n")
    assert "request body:3:5" in ctl("put", wrong, code=1), "the place in the file"
    good_and_bad = "- {name: a, faults: [{delay: 1ms}]}\n- {name: b, faults: [{delay: 1s, x: 1}]}\n"
    ctl("put", "-", input=good_and_bad, code=1)
    assert len(ctl.json("rules")["rules"]) == 1, "all of them or none"
    assert "can't read" in ctl("put", tmp_path / "none.yaml", code=2)
    for usage in [("patch", "outage", "1"), ("order",), ("frobnicate",), ("explain", "-H", "x", "/")]:
        ctl(*usage, code=2)
    refused = json.loads(ctl("--json", "rule", "none", code=1).split("\n}\n")[0] + "}")
    assert refused["status"] == 404


def test_the_stop_switch(ctl):
    assert ctl.pay() == 503
    assert "nothing is injected" in ctl("stop", "the shop is down")
    assert ctl.pay() == 200
    assert "(the shop is down): nothing is injected" in ctl("status")
    assert ctl("start").startswith("armed")
    assert ctl.pay() == 503
    status = ctl("status")
    assert "1 of the file, 0 of the API" in status and f"127.0.0.1:{ctl.running.port()}" in status
    assert ctl.json("status")["armed"] is True


def test_spaces(ctl):
    assert ctl("space", "list") == "no spaces\n"
    opened = ctl("space", "open", "test-1", "--ttl", "10m", "--listener", "web")
    assert opened.startswith("test-1: open: web 127.0.0.1:")
    assert ctl("--space", "test-1", "put", "-", input=TEAPOT) == "tea pot: added\n"
    place = opened.split()[-1]
    assert requests.get(f"http://{place}/pay", timeout=10).status_code == 418
    assert (ctl.pay(), ctl.pay(**{"squall-space": "test-1"})) == (503, 418)
    assert [rule["name"] for rule in ctl.json("--space", "test-1", "rules")["rules"]] == ["tea pot"]
    assert ctl("--space", "test-1", "verify", "{count: 2}").startswith("pass")
    assert "418" in ctl("--space", "test-1", "explain", "/pay")
    assert "418" in ctl("--space", "test-1", "explain", "--", "curl", "http://h/pay")
    assert "503" in ctl("explain", "/pay")
    assert ctl("--space", "test-1", "reset") == "all rules of the space test-1: reset\n"
    assert [rule["matched"] for rule in ctl.json("rules")["rules"]] == [0, 3], "those of others stay as they are"
    assert ctl("space", "list").splitlines()[1].split()[:2] == ["test-1", "1"]
    assert ctl("space", "close", "test-1") == "test-1: closed\n"
    ctl("space", "close", "test-1", code=1)


def test_guards(ctl):
    assert ctl("guard", "list") == "no guards\n"
    assert ctl("guard", "put", "many errors", "{errors: {above: 5%, at_least: 1}}") == "many errors: added\n"
    assert ctl("guard", "list").splitlines()[1].split()[:5] == ["many", "errors", "api", "everything", "errors"]
    assert ctl.json("guard", "list")["guards"][0]["tripped"] is None
    assert ctl("guard", "reset", "many errors") == "many errors: reset\n"
    assert ctl("guard", "remove", "many errors") == "many errors: removed\n"
    ctl("guard", "remove", "many errors", code=1)
    ctl("guard", "put", "x", "{errors: {over: 1s}}", code=1)


def test_traffic(ctl):
    assert ctl.pay() == 503
    assert "hit" in ctl("explain", ctl.running.url("/pay"))
    assert "does not match" in ctl("explain", "-X", "POST", "-H", "a: b", ctl.running.url("/other"))
    assert ctl.json("explain", "--", "curl", "-d", "a b", ctl.running.url("/pay"))["request"]["method"] == "POST"
    listed = ctl("journal", "--hit", "--path", "/pay").splitlines()
    assert listed[1].split()[2:6] == ["web", "GET", "/pay", "503"]
    assert json.loads(ctl("journal", listed[1].split()[0]))["rules"] == ["outage"]
    assert ctl("verify", "{match: {path: /pay}, count: 1}") == "pass: 1 request matches\n"
    assert "fail" in ctl("verify", "{match: {path: /pay}, count: 9, wait: 0s}", code=1)
    assert "almost" in ctl("verify", "-", input="match: {path: /pay, method: POST}\nwait: 0s\n", code=1)
    ctl("verify", "{counts: 1}", code=1)
    assert ctl("journal", "--clear") == "the journal is empty\n"
    assert ctl("journal") == "no requests\n"
    assert ctl("upstreams").splitlines()[1].split() == ["echo", "fake", "web"]
    assert yaml.safe_load(ctl("export"))["rules"][0]["name"] == "outage"
    assert ctl.json("export")["seed"] == 7
    assert ctl("reload").startswith("reloaded: ")


def test_a_journal_that_is_off_is_inconclusive(squall):
    running = squall(f"journal: off\n{CONFIG}")
    ctl = Ctl(running, "--admin", running.admin)
    assert ctl("verify", "{count: {max: 1}, wait: 0s}", code=3).startswith("inconclusive")
    assert ctl("journal").startswith("the journal is off")


def test_events(ctl):
    argv = [binary(), "ctl", *ctl.reach, "events", "--kinds", "rule,armed"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("hello version=")
        ctl("off", "outage")
        lines = [process.stdout.readline() for _ in range(2)]
        assert any(line.startswith("rule rule=outage") and "switch=off" in line for line in lines), lines
        ctl("stop", "two words")
        assert process.stdout.readline() == 'armed armed=false reason="two words"\n'
        ctl.running.kill()
        assert process.wait(10) == 70
    assert "--kinds" in command("ctl", "events", "--help").stdout


def test_squall_that_can_not_be_reached(tmp_path):
    for place in [f"unix:{tmp_path}/none.sock", "127.0.0.1:1"]:
        done = command("ctl", "--admin", place, "status")
        assert (done.returncode, done.stdout) == (70, "")
        assert f"can't reach the admin API at {place}" in done.stderr
        assert "is squall running" in done.stderr


def test_tokens_and_places_come_from_the_environment_too(squall):
    running = squall(f"admin: {{address: '127.0.0.1:0', token: {TOKEN}}}\n{CONFIG}")
    reach = {**os.environ, "SQUALL_ADMIN": running.admin, "SQUALL_TOKEN": TOKEN}
    assert command("ctl", "rules", env=reach).returncode == 0
    refused = command("ctl", "rules", "--token", "wrong", env=reach)
    assert (refused.returncode, "SQUALL_TOKEN" in refused.stderr) == (1, True)
    after = command("ctl", "rules", "--token", TOKEN, "--admin", running.admin)
    assert after.returncode == 0, "options may come after the command"


def test_the_reader_may_leave(squall):
    running = squall(CONFIG)
    argv = [binary(), "ctl", "--admin", running.admin, "events", "--kinds", "rule"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.stdout.close()
        for state in ["off", "on"] * 4:
            command("ctl", "--admin", running.admin, state, "outage")
        eventually(process.poll, lambda code: code is not None)
        assert process.returncode == 0
