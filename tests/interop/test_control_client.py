"""The admin API as a plain client uses it: every operation of the OpenAPI document, with what it changes in real traffic. Each answer
is held against the document."""

import json
import threading
import time

import pytest
import requests
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from squall import eventually

CONFIG = """
seed: 7
listeners:
  web: {address: 127.0.0.1:0, upstream: echo}
upstreams: {echo: {fake: echo}}
rules:
  - {name: outage, match: {path: /pay}, faults: [{abort: 503}]}
"""

SCENARIO = "{scenario: blip, steps: ['disable outage for 300ms']}"


class Client:
    """A client that knows the document, and that notes which operations it has used."""

    def __init__(self, running):
        self.running = running
        self.document = requests.get(f"{running.admin}/api/v1/openapi.json", timeout=10).json()
        self.operations = {
            operation["operationId"]: (method, path, operation)
            for path, operations in self.document["paths"].items()
            for method, operation in operations.items()
            if method != "parameters"
        }
        self.used = {}
        self.index()

    def index(self):
        """Finds the parts of the document once: doing so for each answer would take most of the time."""
        self.registry = Registry().with_resource("urn:document", DRAFT202012.create_resource(self.document)).crawl()

    def call(self, name, status=200, path=None, accept="application/json", headers=None, **options):
        """Calls an operation. `path` has the values of the path's parameters."""
        method, place, operation = self.operations[name]
        for parameter, value in (path or {}).items():
            place = place.replace(f"{{{parameter}}}", requests.utils.quote(str(value), safe=""))
        response = requests.request(
            method, self.running.admin + place, timeout=30, headers={"accept": accept, **(headers or {})}, **options
        )
        assert response.status_code == status, response.text
        self.used.setdefault(name, set()).add(status)
        if not options.get("stream"):
            self.check(operation, response)
        return response

    def check(self, operation, response):
        described = self.resolved(operation["responses"][str(response.status_code)])
        for name, header in described.get("headers", {}).items():
            assert name in response.headers or not self.resolved(header).get("required"), name
        if "content" not in described:
            assert response.content == b""
            return
        kind = response.headers["content-type"].split(";")[0]
        schema = described["content"][kind]["schema"]
        if kind.endswith("json"):
            schema = json.loads(json.dumps(schema).replace('"#/', '"urn:document#/'))
            validator = Draft202012Validator(schema, registry=self.registry)
            errors = [f"{list(error.path)}: {error.message[:300]}" for error in validator.iter_errors(response.json())]
            assert errors == [], errors

    def resolved(self, part):
        while "$ref" in part:
            found = self.document
            for key in part["$ref"].removeprefix("#/").split("/"):
                found = found[key]
            part = found
        return part

    def pay(self, **options):
        """The status of a request that the rules are about."""
        return requests.get(self.running.url("/pay"), timeout=10, **options).status_code


@pytest.fixture
def client(squall):
    return Client(squall(CONFIG))


def pages(client):
    assert {one["path"] for one in client.call("index").json()["endpoints"]} == set(client.document["paths"])
    assert "/api/v1/rules" in client.call("index", accept="text/plain").text
    assert "<html" in client.call("dashboard", accept="text/html").text
    assert "fetch" in client.call("dashboardFile", path={"file": "api.js"}, accept="*/*").text
    client.call("dashboardFile", 404, path={"file": "none"})
    assert "squall_info" in client.call("metrics", accept="*/*").text
    assert client.call("health").text == "ok\n"
    assert client.call("ready").json() == {"ready": True}
    assert client.call("openapi").json() == client.document


def state(client):
    status = client.call("status").json()
    assert (status["layers"], status["armed"], status["seed"]) == ({"file": 1, "api": 0}, True, 7)
    assert client.call("upstreams").json()["upstreams"][0]["kind"] == "fake"
    assert client.call("authority", accept="*/*").text.startswith("-----BEGIN CERTIFICATE")
    assert client.call("reload").json()["result"] == "ok"
    assert client.pay() == 503
    stopped = client.call("arm", json={"armed": False, "reason": "lunch"}).json()
    assert (stopped["armed"], stopped["reason"]) == (False, "lunch")
    assert client.call("status").json()["stopped"]["reason"] == "lunch"
    assert client.pay() == 200
    assert client.call("armed").json()["armed"] is False
    client.call("arm", json={"armed": True})
    assert client.pay() == 503
    client.call("arm", 400, json={"armed": "no"})


def rules(client):
    before = client.call("rules")
    tag = before.headers["etag"]
    client.call("rules", 304, headers={"if-none-match": tag})
    slow = {"match": {"path": "/pay"}, "faults": [{"delay": "1ms"}], "ttl": "10m"}
    teapot = {"match": {"path": "/pay"}, "faults": [{"abort": 418}]}
    checked = client.call("putRule", path={"name": "slow"}, params={"dry_run": "1"}, json=slow)
    assert client.call("rules").headers["etag"] == tag, "a dry run changes nothing"
    assert checked.json()["name"] == "slow"
    made = client.call("putRule", 201, path={"name": "slow"}, json=slow, headers={"if-none-match": "*"})
    assert requests.get(client.running.admin + made.headers["location"], timeout=10).json()["layer"] == "api"
    client.call("putRule", 412, path={"name": "slow"}, json=slow, headers={"if-none-match": "*"})
    client.call("putRule", 201, path={"name": "tea pot/1"}, json=teapot)
    assert client.pay() == 418, "rules of the API come before the file's"
    wrong = client.call("putRule", 422, path={"name": "wrong"}, json={"faults": [{"abrot": 503}]}).json()
    assert wrong["errors"][0]["line"] == 1

    shown = client.call("rule", path={"name": "slow"})
    assert 0 < shown.json()["ttl_seconds"] <= 600
    client.call("rule", 304, path={"name": "slow"}, headers={"if-none-match": shown.headers["etag"]})
    half = client.call(
        "patchRule", path={"name": "slow"}, json={"when": {"percentage": "50%"}}, headers={"if-match": shown.headers["etag"]}
    )
    assert half.json()["percentage"] == 50
    stale = {"if-match": shown.headers["etag"]}
    assert client.call("patchRule", 412, path={"name": "slow"}, json={"when": None}, headers=stale).json()["revision"] > 0
    client.call("patchRule", path={"name": "tea pot/1"}, json={"enabled": False})
    assert client.pay() == 503
    client.call("patchRule", path={"name": "tea pot/1"}, json={"enabled": True})

    assert client.call("rule", path={"name": "tea pot/1"}).json()["hits"] == 1
    assert client.call("resetRule", path={"name": "tea pot/1"}).json()["hits"] == 0
    client.call("resetRule", 404, path={"name": "none"})
    client.call("reset")
    ordered = client.call("order", json={"rules": ["tea pot/1", "slow"]}).json()
    assert [rule["name"] for rule in ordered["rules"]] == ["tea pot/1", "slow"]
    client.call("order", 409, json={"rules": ["slow"]})

    exported = client.call("config").json()
    assert [rule["name"] for rule in exported["rules"]] == ["tea pot/1", "slow", "outage"]
    assert "tea pot/1" in client.call("config", params={"format": "yaml"}).text
    layer = client.call("layer")
    client.call("layer", 304, headers={"if-none-match": layer.headers["etag"]})
    client.call("removeRule", 204, path={"name": "tea pot/1"})
    client.call("removeRule", 404, path={"name": "tea pot/1"})
    client.call("removeRule", 409, path={"name": "outage"})
    again = client.call("putLayer", json=layer.json())
    assert [rule["name"] for rule in again.json()["rules"]] == ["tea pot/1", "slow"], "what was read can be sent back"
    client.call("putLayer", 412, json={"rules": []}, headers={"if-match": layer.headers["etag"]})
    client.call("clearLayer")
    assert client.call("layer").json()["rules"] == []
    assert client.pay() == 503


def spaces(client):
    opened = client.call("openSpace", 201, path={"id": "test-1"}, json={"ttl": "10m", "listeners": ["web"]}).json()
    client.call("openSpace", path={"id": "test-1"}, json={"ttl": "10m", "listeners": ["web"]})
    client.call("openSpace", 409, path={"id": "a b"}, json={})
    client.call("openSpace", 409, path={"id": "test-1"}, json={"listeners": ["none"]})
    client.call("putRule", 201, path={"name": "outage"}, params={"space": "test-1"}, json={"faults": [{"abort": 418}]})
    place = f"http://{opened['listeners']['web']}/pay"
    assert requests.get(place, timeout=10).status_code == 418
    assert (client.pay(), client.pay(headers={"squall-space": "test-1"})) == (503, 418)
    assert client.call("rules", params={"space": "test-1"}).json()["rules"][0]["space"] == "test-1"
    assert client.call("space", path={"id": "test-1"}).json()["rules"] == ["outage"]
    assert [space["id"] for space in client.call("spaces").json()["spaces"]] == ["test-1"]
    client.call("closeSpace", 204, path={"id": "test-1"})
    client.call("closeSpace", 404, path={"id": "test-1"})
    client.call("space", 404, path={"id": "test-1"})
    with pytest.raises(requests.ConnectionError):
        requests.get(place, timeout=10)
    assert client.pay(headers={"squall-space": "test-1"}) == 503


def guards(client):
    guard = {"errors": {"above": "5%"}}
    made = client.call("putGuard", 201, path={"name": "many errors"}, json=guard).json()
    assert (made["layer"], made["rule"], made["tripped"]) == ("api", None, None)
    client.call("putGuard", path={"name": "many errors"}, json=guard)
    client.call("putGuard", 422, path={"name": "many errors"}, json={"errors": "often"})
    assert [one["name"] for one in client.call("guards").json()["guards"]] == ["many errors"]
    client.call("resetGuard", path={"name": "many errors"})
    client.call("resetGuard", 404, path={"name": "none"})
    client.call("removeGuard", 204, path={"name": "many errors"})
    client.call("removeGuard", 404, path={"name": "many errors"})


def traffic(client):
    client.call("clearJournal", 204)
    assert client.pay() == 503
    verified = client.call("verify", json={"match": {"path": "/pay"}, "count": 1, "status": 503}).json()
    assert verified["verdict"] == "pass"
    assert client.call("verify", json={"count": 9, "wait": "0s"}).json()["verdict"] == "fail"
    assert client.call("verify", 422, data="{counts: 1}").json()["errors"]
    found = client.call("journal", params={"hit": "true", "status": ["503", "4xx"]}).json()["requests"]
    assert [request["rules"] for request in found] == [["outage"]]
    assert client.call("journalEntry", path={"id": found[0]["id"]}).json()["path"] == "/pay"
    client.call("journalEntry", 404, path={"id": 999999})
    client.call("journal", 400, params={"limit": "0"})
    explained = client.call("explain", params={"url": client.running.url("/pay")}).json()
    assert explained["rules"][0]["verdict"] == "hit"
    posted = client.call("explainPosted", json={"curl": f"curl {client.running.url('/other')}"}).json()
    assert posted["rules"][0]["verdict"] == "no_match"
    assert "abort" in client.call("explain", params={"url": "/pay"}, accept="text/plain").text
    client.call("explain", 400)
    assert client.call("stats").json()["totals"]["requests"] > 0


def events(client):
    stream = client.call("events", params={"kinds": "rule,request"}, stream=True)
    assert stream.headers["content-type"] == "text/event-stream"
    lines = stream.iter_lines(decode_unicode=True)
    assert next(lines) == "event: hello"
    client.call("putRule", 201, path={"name": "slow"}, json={"faults": [{"delay": "1ms"}]})
    client.call("removeRule", 204, path={"name": "slow"})
    told = []
    while told[-1:] != ["removed"]:
        line = next(lines)
        told += [json.loads(line[6:]).get("what")] if line.startswith("data: ") else []
    assert told == [None, "put", "removed"]
    stream.close()
    client.call("events", 400, params={"kinds": "none"})


def scenarios(client):
    followed = client.call("startScenario", data=SCENARIO, params={"file": "blip.yaml"}, stream=True)
    seen = threading.Event()

    def watch():
        eventually(client.pay, 200, seconds=5)
        seen.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    last = [json.loads(line) for line in followed.iter_lines() if line][-1]
    watcher.join()
    assert seen.is_set() and client.pay() == 503, "it was switched off meanwhile, and put back"
    assert last["state"] == "done"
    report = client.call("scenarioReport", path={"id": last["id"]}).json()
    assert (report["scenario"], report["verdict"], report["reverted"]) == ("blip", "passed", True)
    for form, start in [("junit", "<?xml"), ("html", "<!"), ("text", "")]:
        text = client.call("scenarioReport", path={"id": last["id"]}, params={"format": form}, accept="*/*").text
        assert text.lower().startswith(start)

    long = "{scenario: long, steps: ['disable outage for 60s']}"
    begun = client.call("startScenario", 202, data=long, params={"detach": "1"})
    number = begun.json()["id"]
    client.call("startScenario", 409, data=SCENARIO, params={"detach": "1"})
    client.call("scenarioReport", 409, path={"id": number})
    for order in ["pause", "resume", "abort"]:
        client.call("orderScenario", path={"id": number, "order": order})
    eventually(lambda: client.call("scenario", path={"id": number}).json()["state"], "done", pause=0.1)
    assert client.call("scenario", path={"id": number}).json()["verdict"] == "aborted"
    client.call("orderScenario", 409, path={"id": number, "order": "abort"})
    assert [play["scenario"] for play in client.call("scenarios").json()["scenarios"]] == ["blip", "long"]
    client.call("startScenario", 422, data="{scenario: none}")
    client.call("scenario", 404, path={"id": 99})
    assert client.pay() == 503


def test_every_operation_is_used(client):
    for part in (pages, state, rules, spaces, guards, traffic, events, scenarios):
        part(client)
    assert set(client.used) == set(client.operations)


def test_a_token_is_needed_where_the_document_says_so(squall):
    client = Client.__new__(Client)
    running = squall(f"admin: {{address: '127.0.0.1:0', token: secret-secret-secret}}\n{CONFIG}")
    place = f"{running.admin}/api/v1/openapi.json"
    assert requests.get(place, timeout=10).status_code == 401
    document = requests.get(place, headers={"authorization": "Bearer secret-secret-secret"}, timeout=10).json()
    client.document = document
    client.index()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "parameters":
                continue
            answer = requests.request(method, running.admin + path, headers={"accept": "application/json"}, timeout=10)
            is_open = operation.get("security") == []
            assert (answer.status_code == 401) != is_open, (method, path)
            client.check(operation, answer)


def test_changes_are_seen_at_once(client):
    """A change is in force when its answer arrives."""
    began = time.monotonic()
    for status in (418, 451, 410):
        client.call("putRule", 201 if status == 418 else 200, path={"name": "x"}, json={"faults": [{"abort": status}]})
        assert client.pay() == status
    assert time.monotonic() - began < 10
