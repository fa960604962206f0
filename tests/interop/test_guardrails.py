"""What keeps injection from running away: the stop switch, limits, and guards, each of which stops within a second."""

import http.client
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlparse

import pytest
import requests
from squall import eventually

# What 50 clients send after the stop switch. The claim is about 10,000, which take a debug build a while.
REQUESTS = int(os.environ.get("SQUALL_GUARD_REQUESTS", "2000"))
CLIENTS = 50

# A condition has come true when its last sample is in; a second later nothing is injected.
AT_MOST_SECONDS = 1.0


class Origin:
    """An upstream, a health check and a Prometheus, which do as they are told."""

    def __init__(self):
        self.status = 200
        self.seconds = 0
        self.result = {"resultType": "vector", "result": []}
        self.queries = []
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                asked = urlparse(self.path)
                status, body = origin.status, b"ok"
                if asked.path.endswith("/api/v1/query"):
                    origin.queries.append(parse_qs(asked.query)["query"][0])
                    body = json.dumps({"status": "success", "data": origin.result}).encode()
                time.sleep(origin.seconds)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def origin():
    with closing(Origin()) as origin:
        yield origin


def config(origin, more="", rule=""):
    return f"""
seed: 5
listeners: {{web: {{address: 127.0.0.1:0, upstream: origin}}}}
upstreams: {{origin: {{url: {origin.url}}}}}
rules:
  - name: r
    match: {{path: /fault}}
    faults: [{{abort: 418}}]
{rule}
{more}"""


def admin(server, method, path, **body):
    answer = requests.request(
        method, server.admin + path, json=body or None, headers={"Accept": "application/json"}, timeout=10
    )
    return answer.status_code, answer.json() if answer.content else None


def hit(server):
    return requests.get(server.url("/fault"), timeout=30).status_code == 418


@contextmanager
def stops(server, guard, rule=None, everything=True):
    """What happens within makes the guard's condition true; a second later nothing is injected, and all say why."""
    assert hit(server)
    yield
    came_true = time.monotonic()
    while hit(server):
        assert time.monotonic() - came_true < AT_MOST_SECONDS, server.log()
        time.sleep(0.01)
    _, shown = admin(server, "GET", "/api/v1/guards")
    tripped = {one["name"]: one["tripped"] for one in shown["guards"]}[guard]
    assert tripped["reason"], shown
    metrics = server.metrics()
    assert metrics.sum("squall_guard_trips_total", guard=guard) == 1
    assert metrics.sum("squall_guard_tripped", guard=guard) == 1
    line = {}
    while line.get("guard") != guard:
        line = server.wait_for_message(f"a guard has stopped injection: {tripped['reason']}", 10)
    assert line["level"] == "WARN"
    _, status = admin(server, "GET", "/api/v1/status")
    if rule:
        _, rules = admin(server, "GET", "/api/v1/rules")
        shown = rules["rules"][0]
        assert (shown["switch"], shown["enabled"], shown["tripped"]["guard"]) == ("tripped", False, guard)
        assert status["armed"]
    elif everything:
        assert not status["armed"] and guard in status["stopped"]["reason"]
    # It stays so.
    time.sleep(0.5)
    assert not hit(server)


def test_requests_after_the_stop_switch_see_nothing(squall, origin):
    server = squall(
        """
listeners: {web: {address: 127.0.0.1:0, upstream: echo}}
upstreams: {echo: {fake: echo}}
rules:
  - {name: held, match: {path: /held}, faults: [{hang: {}}]}
  - {name: slow, match: {path: /slow}, faults: [{bandwidth: {response: 10B/s}}]}
  - {name: r, match: {path: /fault}, faults: [{abort: 418}]}
"""
    )
    assert hit(server)
    with ThreadPoolExecutor(20) as pool:
        held = [pool.submit(requests.get, server.url(path), timeout=60) for path in ["/held", "/slow"] * 10]
        eventually(lambda: server.metrics().sum("squall_requests_held"), lambda held: held >= 10)
        began = time.monotonic()
        code, shown = admin(server, "PUT", "/api/v1/armed", armed=False, reason="enough")
        assert (code, shown["armed"], shown["reason"]) == (200, False, "enough")
        answers = [one.result() for one in held]
        assert time.monotonic() - began < 5
    assert all(answer.status_code == 200 for answer in answers)

    def client(_):
        faults = 0
        with closing(http.client.HTTPConnection("127.0.0.1", server.port(), timeout=30)) as connection:
            for number in range(REQUESTS // CLIENTS):
                connection.request("GET", ["/held", "/slow", "/fault"][number % 3])
                answer = connection.getresponse()
                answer.read()
                faults += answer.status != 200 or answer.headers.get("Squall-Fault") is not None
        return faults

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert sum(pool.map(client, range(CLIENTS))) == 0
    assert admin(server, "PUT", "/api/v1/armed", armed=True)[1]["armed"]
    assert hit(server)


def test_natural_errors_stop_everything_and_arming_begins_anew(squall, origin):
    more = "stop_when: [{errors: {above: 20%, over: 10s, at_least: 10}}]"
    server = squall(config(origin, more))
    for _ in range(30):
        assert hit(server), "injected errors don't count"
    with stops(server, "errors"):
        origin.status = 503
        for _ in range(10):
            assert requests.get(server.url("/"), timeout=10).status_code == 503
    server.file.write_text(server.file.read_text() + "\n# changed\n")
    assert requests.post(server.admin + "/api/v1/reload", timeout=30).ok
    assert not hit(server), "a reload does not arm it"
    admin(server, "PUT", "/api/v1/armed", armed=True)
    time.sleep(0.5)
    assert hit(server), "old samples don't count again"
    assert server.metrics().sum("squall_guard_tripped", guard="errors") == 0


def test_natural_slowness_stops_the_rule(squall, origin):
    rule = "    stop_when: [{name: too slow, p90: {above: 200ms, over: 10s, at_least: 5}}]"
    server = squall(config(origin, rule=rule))
    for _ in range(5):
        requests.get(server.url("/"), timeout=10)
    with stops(server, "too slow", rule="r"):
        origin.seconds = 0.3
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(lambda _: requests.get(server.url("/"), timeout=10), range(5)))
        origin.seconds = 0
    code, shown = admin(server, "POST", f"/api/v1/guards/{quote('too slow')}/reset")
    assert (code, shown["tripped"]) == (200, None)
    assert hit(server), "what it stopped goes on"


def test_a_failing_health_check_stops_everything(squall, origin):
    more = f"stop_when: [{{health: {{url: '{origin.url}/up?x=1', every: 100ms, failures: 3}}}}]"
    server = squall(config(origin, more))
    with stops(server, "health"):
        origin.status = 503
        # The condition: three failures in a row, 100 ms apart.
        time.sleep(0.3)
    origin.status = 200
    assert admin(server, "POST", "/api/v1/guards/health/reset")[0] == 200
    assert hit(server)


def test_a_query_of_prometheus_that_comes_true_stops_the_rule(squall, origin):
    query = "sum(rate(errors[1m])) > 5 and on() vector(1)"
    rule = f"    stop_when: [{{prometheus: {{url: {origin.url}/prom/, query: '{query}', every: 100ms}}}}]"
    server = squall(config(origin, rule=rule))
    eventually(lambda: len(origin.queries), lambda asked: asked > 2)
    assert set(origin.queries) == {query}
    with stops(server, "prometheus of r", rule="r"):
        origin.result = {"resultType": "vector", "result": [{"metric": {}, "value": [1, "7"]}]}
        time.sleep(0.1)


def test_a_prometheus_that_is_gone_stops_unless_that_is_ignored(squall, origin):
    gone = Origin()
    gone.close()
    guard = f"url: {gone.url}, query: up, every: 100ms, failures: 2"
    more = f"stop_when: [{{name: ignored, prometheus: {{{guard}, on_error: ignore}}}}]"
    server = squall(config(origin, more))
    time.sleep(0.7)
    _, shown = admin(server, "GET", "/api/v1/guards")
    assert "refused" in shown["guards"][0]["error"], shown
    assert hit(server)
    code, added = admin(server, "PUT", "/api/v1/guards/blind", prometheus=dict(url=gone.url, query="up", every="100ms"))
    assert (code, added["layer"]) == (201, "api")
    eventually(lambda: hit(server), False)
    assert "blind" in admin(server, "GET", "/api/v1/status")[1]["stopped"]["reason"]


def test_guards_of_the_api(squall, origin):
    server = squall(config(origin, "stop_when: [{name: of the file, errors: {above: 5%}}]"))
    wrong, problem = admin(server, "PUT", "/api/v1/guards/x", errors={"abov": "5%"})
    assert wrong == 422 and "abov" in json.dumps(problem), problem
    assert admin(server, "PUT", "/api/v1/guards/x", name="y", errors={"above": "5%"})[0] == 422
    assert admin(server, "PUT", "/api/v1/guards/of%20the%20file", errors={"above": "5%"})[0] == 409
    assert admin(server, "DELETE", "/api/v1/guards/of%20the%20file")[0] == 409
    assert admin(server, "DELETE", "/api/v1/guards/none")[0] == 404
    assert admin(server, "POST", "/api/v1/guards/none/reset")[0] == 404
    assert admin(server, "PUT", "/api/v1/guards/x", errors={"above": "5%"})[0] == 201
    assert admin(server, "PUT", "/api/v1/guards/x", errors={"above": "50%", "at_least": 1})[0] == 200
    assert requests.post(server.admin + "/api/v1/reload", timeout=30).ok
    names = [(one["name"], one["layer"]) for one in admin(server, "GET", "/api/v1/guards")[1]["guards"]]
    assert names == [("of the file", "file"), ("x", "api")]
    with stops(server, "x"):
        origin.status = 500
        requests.get(server.url("/"), timeout=10)
    assert admin(server, "DELETE", "/api/v1/guards/x")[0] == 204
    assert not hit(server), "what it stopped stays stopped"
    assert server.metrics().series("squall_guard_tripped", guard="x") == []


def test_expiry_survives_a_reload(squall, origin):
    rule = "    when: {limits: {expires: 2s}}"
    server = squall(config(origin, rule=rule))
    began = time.monotonic()
    assert hit(server)
    while time.monotonic() - began < 1.5:
        assert requests.post(server.admin + "/api/v1/reload", timeout=30).ok
        time.sleep(0.2)
    eventually(lambda: hit(server), False, seconds=5)
    assert time.monotonic() - began < 4
    assert admin(server, "GET", "/api/v1/rules")[1]["rules"][0]["spent"] == "limits.expires has passed"


def test_toxics_stop_with_the_stop_switch(squall, origin):
    server = squall(config(origin, "toxiproxy: {address: 127.0.0.1:0}"))
    told = next(line for line in map(json.loads, server.lines) if line.get("message") == "Toxiproxy API listening")
    api = f"http://{told['address']}/proxies"
    proxy = requests.post(api, json={"name": "p", "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{origin.port}"}, timeout=10)
    toxic = {"name": "slow", "type": "latency", "attributes": {"latency": 60_000}}
    assert requests.post(f"{api}/p/toxics", json=toxic, timeout=10).ok
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(requests.get, f"http://{proxy.json()['listen']}/", timeout=30)
        eventually(lambda: server.metrics().sum("squall_faults_active") >= 1, True)
        began = time.monotonic()
        admin(server, "PUT", "/api/v1/armed", armed=False)
        assert asked.result().status_code == 200
        assert time.monotonic() - began < 5


def test_a_rule_of_the_api_brings_its_guards_and_takes_them_along(squall, origin):
    server = squall(config(origin, rule="    stop_when: [{errors: {above: 5%}}]"))

    def guards():
        shown = admin(server, "GET", "/api/v1/guards")[1]["guards"]
        return [(one["name"], one["space"], one["layer"], one["samples"]) for one in shown]

    assert guards() == [("errors of r", None, "file", 0)]
    fault = [{"abort": 418}]
    stop = [{"errors": {"above": "50%", "at_least": 2}}]
    code, problem = admin(server, "PUT", "/api/v1/rules/mine", faults=fault, stop_when=[{"errors": {"abov": 1}}])
    assert code == 422 and "abov" in json.dumps(problem), problem
    assert admin(server, "PUT", "/api/v1/rules/r?space=s", faults=fault, stop_when=stop)[0] == 201
    assert admin(server, "PUT", "/api/v1/rules/r", match={"path": "/fault"}, faults=fault, stop_when=stop)[0] == 201
    assert guards() == [("errors of r in s", "s", "api", 0), ("errors of r", None, "api", 0)]
    assert admin(server, "DELETE", "/api/v1/guards/errors%20of%20r")[0] == 409
    with stops(server, "errors of r", everything=False):
        origin.status = 500
        for _ in range(2):
            requests.get(server.url("/"), timeout=10)
    _, shown = admin(server, "GET", "/api/v1/rules")
    assert {rule["switch"] for rule in shown["rules"]} == {"tripped"}, "each rule has its own guard"
    assert admin(server, "DELETE", "/api/v1/rules/r")[0] == 204
    assert admin(server, "DELETE", "/api/v1/rules/r?space=s")[0] == 204
    assert [one[0] for one in guards()] == ["errors of r"]
