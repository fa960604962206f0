"""The control API: rules that come and go while requests are served, layers and reloads, revisions, times to live, and spaces in which
tests that run at once don't see each other's faults."""

import asyncio
import json
import multiprocessing
import os
import re
import threading
import time

import pytest
import requests
from squall import eventually

CONFIG = """
seed: 7
listeners: {web: {address: 127.0.0.1:0, upstream: echo}}
upstreams: {echo: {fake: echo}}
rules:
  - name: late
    match: {path: /late}
    faults: [{delay: 20ms}]
  - name: down
    enabled: false
    match: {path: /down}
    faults: [{abort: 503}]
"""

# The figures of the issue with SQUALL_EXACT=1; as much as fits into a few seconds otherwise.
EXACT = os.environ.get("SQUALL_EXACT") == "1"
CHANGES, CHANGES_PER_SECOND = (10_000, 500) if EXACT else (600, 200)
PROCESSES, REQUESTS_EACH = (50, 1_000) if EXACT else (8, 100)


class Api:
    """The control API of a squall."""

    def __init__(self, squall):
        self.squall = squall
        self.session = requests.Session()
        self.session.headers["Accept"] = "application/json"

    def call(self, method, path, body=None, **options):
        data = json.dumps(body) if body is not None and not isinstance(body, (str, bytes)) else body
        return self.session.request(method, f"{self.squall.admin}/api/v1{path}", data=data, timeout=10, **options)

    def ok(self, method, path, body=None, status=200, **options):
        response = self.call(method, path, body, **options)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    def rules(self):
        return {(rule["space"], rule["name"]): rule for rule in self.ok("GET", "/rules")["rules"]}


@pytest.fixture
def api(squall):
    return Api(squall(CONFIG))


def status(api, path, **headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(api.squall.url(path), headers=fields, timeout=10).status_code


def rule(path, code):
    return {"match": {"path": path}, "faults": [{"abort": code}]}


def test_a_rule_comes_changes_and_goes(api):
    made = api.call("PUT", "/rules/teapot%20%2F1", rule("/tea", 418))
    assert made.status_code == 201
    assert made.headers["Location"] == "/api/v1/rules/teapot%20%2F1"
    assert status(api, "/tea") == 418
    changed = api.ok("PATCH", "/rules/teapot%20%2F1", {"faults": [{"abort": 429}]})
    assert (changed["layer"], changed["shadows"], changed["matched"]) == ("api", False, 1), "its counters go on"
    assert status(api, "/tea") == 429
    assert api.ok("PATCH", "/rules/teapot%20%2F1", {"enabled": False})["enabled"] is False
    assert status(api, "/tea") == 200
    assert api.ok("PATCH", "/rules/teapot%20%2F1", {"enabled": None})["switch"] == "configured"
    assert status(api, "/tea") == 429
    assert api.ok("POST", "/rules/teapot%20%2F1/reset")["matched"] == 0
    api.ok("DELETE", "/rules/teapot%20%2F1", status=204)
    assert status(api, "/tea") == 200
    assert api.call("DELETE", "/rules/teapot%20%2F1").status_code == 404


def test_rules_of_the_file_are_shadowed_and_come_back(api):
    shadow = api.ok("PATCH", "/rules/late", {"faults": [{"abort": 502}]})
    assert (shadow["layer"], shadow["shadows"]) == ("api", True)
    assert status(api, "/late") == 502
    refused = api.call("DELETE", "/rules/down")
    assert refused.status_code == 409
    assert "enabled" in refused.json()["detail"]
    api.ok("DELETE", "/rules/late", status=204)
    assert status(api, "/late") == 200
    assert api.ok("PATCH", "/rules/down", {"enabled": True})["layer"] == "file"
    assert status(api, "/down") == 503


def test_mistakes_are_told_as_in_a_file_and_change_nothing(api):
    before = api.ok("GET", "/rules")
    bad = '{"match": {"pathh": "/x"},\n "faults": [{"dellay": "1s"}], "ttl": "0s"}'
    for method, path in [("PUT", "/rules/x"), ("PUT", "/rules/x?dry_run=1")]:
        problem = api.call(method, path, bad)
        assert problem.status_code == 422
        assert problem.headers["Content-Type"] == "application/problem+json"
        places = [(one["line"], one["column"], one["message"]) for one in problem.json()["errors"]]
        assert places == [
            (1, 12, "unknown key `pathh`"),
            (2, 14, "unknown fault `dellay`"),
            (2, 39, "`ttl` must be longer than 0s"),
        ]
    for path, body, code in [
        ("/rules/x", b"\xff\xfe", 400),
        ("/rules/x", '{"faults": [{"abort": 503}], "name": "y"}', 422),
        ("/rules/x", '{"faults": [{"abort": {"status": 200, "file": "/etc/passwd"}}]}', 422),
        ("/rules/x", '{"faults": [{"abort": 503}], "listener": "wep"}', 422),
        ("/rules/x?space=a%20b", '{"faults": [{"abort": 503}]}', 422),
        ("/rules/x?spaces=a", "{}", 400),
        ("/rules/x", "x" * 100_000, 413),
        ("/order", '{"rules": ["late"]}', 409),
        ("/layers/api", '{"rules": [{"name": "a", "faults": [{"abort": 1}]}, {"nam": 1}]}', 422),
    ]:
        assert api.call("PUT", path, body).status_code == code, (path, body)
    assert api.ok("GET", "/rules") == before


def test_a_dry_run_tells_and_changes_nothing(api):
    before = api.ok("GET", "/rules")
    tried = api.ok("PUT", "/rules/x?dry_run=1", rule("/x", 500))
    assert tried["match"] == "path `/x`"
    layer = api.ok("PUT", "/layers/api?dry_run=1", {"rules": [{"name": "a", **rule("/x", 500)}]})
    assert [one["name"] for one in layer["rules"]] == ["a"]
    assert api.ok("GET", "/rules") == before


def test_stale_writes_are_refused(api):
    tag = api.call("PUT", "/rules/a", rule("/a", 500)).headers["ETag"]
    shown = api.call("GET", "/rules/a")
    assert shown.headers["ETag"] == tag
    assert api.call("GET", "/rules/a", headers={"If-None-Match": tag}).status_code == 304
    assert api.call("PUT", "/rules/b", rule("/b", 500)).status_code == 201, "another rule's change is not ours"
    newer = api.call("PATCH", "/rules/a", {"shadow": True}, headers={"If-Match": tag})
    assert newer.status_code == 200
    for method, path, body, field in [
        ("PUT", "/rules/a", rule("/a", 501), {"If-Match": tag}),
        ("PATCH", "/rules/a", {"enabled": False}, {"If-Match": f'"x", {tag}'}),
        ("DELETE", "/rules/a", None, {"If-Match": tag}),
        ("DELETE", "/rules/a", None, {"If-Match": "W/" + newer.headers["ETag"]}),
        ("PUT", "/rules/a", rule("/a", 501), {"If-None-Match": "*"}),
        ("PUT", "/rules/c", rule("/c", 501), {"If-Match": "*"}),
        ("DELETE", "/layers/api", None, {"If-Match": tag}),
    ]:
        refused = api.call(method, path, body, headers=field)
        assert refused.status_code == 412, (method, path, refused.text)
    assert api.call("PUT", "/rules/a", rule("/a", 501), headers={"If-Match": "17"}).status_code == 400
    assert api.call("DELETE", "/rules/a", headers={"If-Match": newer.headers["ETag"]}).status_code == 204


def test_the_layer_is_replaced_ordered_and_shown_as_a_whole(api):
    first, second = ({"name": name, **rule("/x", code)} for name, code in [("one", 501), ("two", 502)])
    layer = api.ok("PUT", "/layers/api", {"rules": [first, {**second, "ttl": "1h"}]})
    assert [one["name"] for one in layer["rules"]] == ["one", "two"]
    assert status(api, "/x") == 501
    api.ok("PUT", "/order", {"rules": ["two", "one"]})
    assert status(api, "/x") == 502
    # What is shown can be sent again, and what is exported can be loaded.
    again = api.ok("GET", "/layers/api")
    again.pop("revision")
    assert api.ok("PUT", "/layers/api", again)["rules"][0]["name"] == "two"
    exported = api.call("GET", "/config?format=yaml", headers={"Accept": "*/*"}).text
    assert re.findall(r"^- name: (\w+)", exported, re.MULTILINE) == ["two", "one", "late", "down"]
    api.ok("DELETE", "/layers/api")
    assert status(api, "/x") == 200


def test_a_reload_replaces_the_layer_of_the_file_only(api):
    api.ok("PUT", "/rules/mine", {**rule("/mine", 500), "listener": "web"}, status=201)
    api.ok("PUT", "/rules/brief", {**rule("/brief", 500), "ttl": "2s"}, status=201)
    began = time.monotonic()
    api.ok("PATCH", "/rules/late", {"faults": [{"abort": 502}]})
    api.ok("PATCH", "/rules/down", {"enabled": True})
    api.squall.save(CONFIG.replace("20ms", "30ms").replace("/down", "/downer").replace("seed: 7", "seed: 8"))
    eventually(lambda: api.ok("GET", "/status")["seed"], 8)
    assert [status(api, path) for path in ("/mine", "/late", "/downer", "/down")] == [500, 502, 503, 200]
    api.ok("DELETE", "/rules/late", status=204)
    assert api.rules()[None, "late"]["spec"]["faults"] == [{"delay": {"fixed": "30ms"}}], "the new file's rule is below"
    # A rule that no longer fits is kept out of force, and says why.
    api.squall.save(CONFIG.replace("web:", "shop:").replace("seed: 7", "seed: 9"))
    eventually(lambda: api.ok("GET", "/status")["seed"], 9)
    mine = api.ok("GET", "/rules/mine")
    assert mine["enabled"] is False and "no listener `web`" in mine["problem"]
    api.squall.save(CONFIG.replace("seed: 7", "seed: 10"))
    eventually(lambda: api.ok("GET", "/status")["seed"], 10)
    assert api.ok("GET", "/rules/mine")["problem"] is None
    # The time to live goes on through all of it.
    eventually(lambda: (None, "brief") in api.rules(), False)
    assert 1.9 < time.monotonic() - began < 4


def test_a_file_that_the_configuration_names_can_be_named_by_the_api_too(squall, tmp_path):
    (tmp_path / "page.txt").write_text("hello")
    (tmp_path / "other.txt").write_text("secret")
    page, other = tmp_path / "page.txt", tmp_path / "other.txt"
    api = Api(squall(CONFIG + f"  - {{name: page, match: {{path: /page}}, faults: [{{abort: {{status: 200, file: '{page}'}}}}]}}\n"))
    api.ok("PATCH", "/rules/page", {"match": {"path": "/pages"}})
    assert requests.get(api.squall.url("/pages"), timeout=10).text == "hello"
    refused = api.call("PATCH", "/rules/page", {"faults": [{"abort": {"status": 200, "file": str(other)}}]})
    assert refused.status_code == 422 and "secret" not in refused.text


def test_what_a_rule_holds_is_let_go_when_it_is_removed(api):
    api.ok("PUT", "/rules/hold", {"match": {"path": "/hold"}, "faults": [{"delay": "60s"}]}, status=201)
    answers = []
    waiting = [threading.Thread(target=lambda: answers.append(status(api, "/hold"))) for _ in range(20)]
    for thread in waiting:
        thread.start()
    eventually(lambda: api.rules()[None, "hold"]["active"], 20)
    api.ok("DELETE", "/rules/hold", status=204)
    began = time.monotonic()
    for thread in waiting:
        thread.join(10)
    assert answers == [200] * 20
    assert time.monotonic() - began < 2


def test_a_space_has_its_own_rules_listener_and_journal(api):
    space = api.ok("PUT", "/spaces/t1", {"ttl": "1h", "listeners": ["web"]}, status=201)
    api.ok("PUT", "/rules/late?space=t1", rule("/late", 429), status=201)
    own = f"http://{space['listeners']['web']}/late"
    assert status(api, "/late") == 200
    assert status(api, "/late", squall_space="t1") == 429
    assert status(api, "/late", squall_space="t2") == 200
    assert status(api, "/late", baggage="user=1, squall-space=t1;x=y") == 429
    assert requests.get(own, timeout=10).status_code == 429
    seen = api.ok("GET", "/journal?space=t1")["requests"]
    assert [one["status"] for one in seen] == [429, 429, 429]
    assert api.ok("GET", "/spaces/t1")["rules"] == ["late"]
    assert api.ok("PUT", "/spaces/t1", {"listeners": ["web"]})["listeners"] == space["listeners"], "it stays where it is"
    assert api.call("PUT", "/spaces/t2", {"listeners": ["wep"]}).json()["detail"].endswith("did you mean `web`?")
    assert api.call("PUT", "/spaces/t2", {"listeners": {"web": f"127.0.0.1:{api.squall.port()}"}}).status_code == 409
    api.ok("DELETE", "/spaces/t1", status=204)
    assert status(api, "/late", squall_space="t1") == 200
    with pytest.raises(requests.ConnectionError):
        requests.get(own, timeout=10)
    assert [space for space, _ in api.rules()] == [None, None]
    assert api.ok("GET", "/spaces")["spaces"] == []
    assert [one["status"] for one in api.ok("GET", "/journal?space=t1")["requests"]] == [200], "only what came after it"


def test_a_space_is_reset_and_verified_alone(api):
    twice = {"match": {"path": "/pay"}, "when": {"limits": {"total": 2}}, "faults": [{"abort": 503}]}
    three = lambda space: [status(api, "/pay", squall_space=space) for _ in range(3)]  # noqa: E731
    for space in ["a", "b"]:
        api.ok("PUT", f"/rules/twice?space={space}", twice, status=201)
        assert three(space) == [503, 503, 200]
    reset = api.ok("POST", "/reset?space=a")
    assert len(reset["rules"]) == 2
    assert (three("a"), three("b")) == ([503, 503, 200], [200, 200, 200])
    asked = {"match": {"path": "/pay"}, "count": 6}
    for space, own in [("a", {}), ("a", {"space": "a"}), ("b", {})]:
        assert api.ok("POST", f"/verify?space={space}", asked | own)["verdict"] == "pass"
    assert api.ok("POST", "/verify", asked)["verdict"] == "fail", "twelve in all"
    assert "another `space`" in api.call("POST", "/verify?space=a", asked | {"space": "b"}).json()["detail"]
    api.ok("POST", "/reset?space=")
    assert three("a") == [200, 200, 200], "an empty name stands for the rules that concern everybody"


def test_every_endpoint_refuses_a_parameter_that_it_lacks(api):
    """Whoever mistypes `space` would act on everybody's rules."""
    document = api.ok("GET", "/openapi.json")
    asked = 0
    for path, operations in document["paths"].items():
        for method in operations.keys() - {"parameters"}:
            url = re.sub(r"{\w+}", "1", path.replace("{order}", "pause"))
            response = requests.request(method, f"{api.squall.admin}{url}?spcae=1", timeout=10)
            if path in ["/healthz", "/readyz"]:
                assert response.status_code == 200, "probes may ask as they like"
            else:
                assert response.status_code == 400 and "unknown parameter `spcae`" in response.text, (method, path)
            asked += 1
    assert asked > 30
    assert "did you mean `space`?" in api.call("POST", "/reset?spcae=1").json()["detail"]


def test_a_space_of_a_test_that_died_vanishes(api):
    api.ok("PUT", "/spaces/t1", {"ttl": "500ms"}, status=201)
    api.ok("PUT", "/rules/x?space=t1", rule("/x", 500), status=201)
    assert status(api, "/x", squall_space="t1") == 500
    eventually(lambda: api.ok("GET", "/spaces")["spaces"], [], 5)
    assert status(api, "/x", squall_space="t1") == 200


def in_a_space(admin, url, name, code, results):
    """One test process: its own rule on the route that all use, with its own status."""
    session = requests.Session()
    session.put(f"{admin}/api/v1/spaces/{name}", data='{"ttl": "5m"}', timeout=30).raise_for_status()
    body = json.dumps(rule("/shared", code))
    session.put(f"{admin}/api/v1/rules/shared?space={name}", data=body, timeout=30).raise_for_status()
    seen = set()
    for _ in range(REQUESTS_EACH):
        seen.add(session.get(url, headers={"Squall-Space": name}, timeout=30).status_code)
    session.delete(f"{admin}/api/v1/spaces/{name}", timeout=30).raise_for_status()
    results.put((code, seen))


def test_tests_that_run_at_once_do_not_see_each_other(api):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    tests = []
    for number in range(PROCESSES):
        args = (api.squall.admin, api.squall.url("/shared"), f"test-{number}", 500 + number, results)
        tests.append(context.Process(target=in_a_space, args=args))
    for test in tests:
        test.start()
    seen = dict(results.get(timeout=250) for _ in tests)
    for test in tests:
        test.join(30)
    assert seen == {500 + number: {500 + number} for number in range(PROCESSES)}
    assert api.ok("GET", "/status")["layers"]["api"] == 0
    assert api.ok("GET", "/spaces")["spaces"] == []
    assert status(api, "/shared") == 200
    metrics = api.squall.metrics()
    assert metrics.series("squall_faults_injected_total", rule="shared") == []


async def load(port, stop, statuses, path):
    """Requests on one connection, one after the other, until told to stop."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not stop.is_set():
        writer.write(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(re.search(r"content-length: (\d+)", head, re.IGNORECASE)[1])
        await reader.readexactly(length)
        code = int(head.split(" ", 2)[1])
        statuses[code] = statuses.get(code, 0) + 1
    writer.close()


def memory(squall):
    with open(f"/proc/{squall.process.pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read())[1]) / 1024


def test_hundreds_of_changes_a_second_lose_no_request(api):
    """A rule takes turns: absent, 418, 429, switched off. Requests see these and nothing else, and every stale write is refused."""
    statuses, stop, stale = {}, threading.Event(), []

    def traffic():
        async def all_of_it():
            await asyncio.gather(*(load(api.squall.port(), stop, statuses, "/turns") for _ in range(8)))

        asyncio.run(all_of_it())

    def change(number):
        turn = number % 4
        if turn == 3:
            return api.call("DELETE", "/rules/turns")
        if turn == 2:
            return api.call("PATCH", "/rules/turns", {"enabled": False})
        tag = made.headers["ETag"] if turn == 1 else None
        answer = api.call("PUT", "/rules/turns", rule("/turns", (418, 429)[turn]), headers={"If-Match": tag} if tag else {})
        if tag:
            stale.append(api.call("PUT", "/rules/turns", rule("/turns", 500), headers={"If-Match": tag}).status_code)
        return answer

    thread = threading.Thread(target=traffic)
    thread.start()
    made, began, sizes = None, time.monotonic(), []
    for number in range(CHANGES):
        made = change(number)
        assert made.status_code in (200, 201, 204), made.text
        if number % (CHANGES // 4) == CHANGES // 8:
            sizes.append(memory(api.squall))
        time.sleep(max(0, began + number / CHANGES_PER_SECOND - time.monotonic()))
    rate = CHANGES / (time.monotonic() - began)
    stop.set()
    thread.join(30)
    assert set(statuses) <= {200, 418, 429}, statuses
    assert min(statuses.get(code, 0) for code in (200, 418, 429)) > 10, statuses
    assert set(stale) == {412}
    print(f"{rate:.0f} changes a second, {statuses} requests, memory {sizes} MB")
    assert sizes[-1] < sizes[0] * 1.5 + 10, sizes
    if EXACT:
        assert rate > 450
