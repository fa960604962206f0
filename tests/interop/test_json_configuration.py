"""A configuration may be JSON, with comments in `.json` and `.jsonc`."""

import json

import pytest
import requests
from squall import command

PLAIN = {
    "$schema": "squall.schema.json",
    "admin": {"address": "127.0.0.1:0"},
    "log": {"format": "json", "access": False},
    "listeners": {"web": {"address": "127.0.0.1:0", "upstream": "echo"}},
    "upstreams": {"echo": {"fake": "echo"}},
    "rules": [{"name": "caf\u00e9 \U0001f600 // no comment", "match": {"path": "/down"}, "faults": [{"abort": 503}]}],
}
COMMENTED = json.dumps(PLAIN, indent="\t").replace('\t"rules"', '\t// a comment\n\t/* and\n\tanother */ "rules"').replace("\n}", ",\n}")


@pytest.mark.parametrize("name", ["squall.json", "squall.jsonc"])
@pytest.mark.parametrize("text", [json.dumps(PLAIN), json.dumps(PLAIN, indent=2, ensure_ascii=False), COMMENTED])
def test_json_is_checked_and_run(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    checked = command("check", file)
    assert checked.returncode == 0, checked.stderr
    shown = command("explain", "-c", file, "/down")
    assert "503" in shown.stdout, shown.stdout + shown.stderr


def test_mistakes_have_places(tmp_path):
    file = tmp_path / "bad.jsonc"
    file.write_text(COMMENTED.replace('"abort"', '"abrot"'))
    checked = command("check", file)
    line = next(number for number, line in enumerate(file.read_text().splitlines(), 1) if "abrot" in line)
    assert checked.returncode == 64 and f"bad.jsonc:{line}:" in checked.stderr and "abort" in checked.stderr


def test_warnings_fail_where_that_is_asked_for(tmp_path):
    file = tmp_path / "doubtful.json"
    file.write_text(json.dumps(PLAIN).replace('"/down"', '"/down/:id"'))
    for arguments in [["check", file], ["check", "-c", file]]:
        checked = command(*arguments)
        assert checked.returncode == 0 and "warning" in checked.stderr, checked.stderr
        assert command(*arguments, "--strict").returncode == 64
    file.write_text(json.dumps(PLAIN))
    assert command("check", "--strict", file).returncode == 0


def test_json_is_included_and_served(squall, tmp_path):
    part = {key: PLAIN[key] for key in ("listeners", "upstreams", "rules")}
    (tmp_path / "part.jsonc").write_text("// a comment\n" + json.dumps(part))
    running = squall(f"include: {tmp_path}/part.jsonc")
    assert requests.get(running.url("/down"), timeout=10).status_code == 503
    assert requests.get(running.url("/"), timeout=10).status_code == 200
