"""Toxiproxy's HTTP API as `squall toxiproxy` serves it: every endpoint, default, message and quirk that its clients can see, and
thousands of invalid requests. What toxics do to bytes is measured elsewhere.
"""

import contextlib
import json
import os
import random
import re
import signal
import socket
import socketserver
import subprocess
import threading
import time

import pytest
import requests
from squall import binary, command, eventually

START_SECONDS = 60
TEXT = "text/plain; charset=utf-8"
CASES = int(os.environ.get("SQUALL_API_CASES", "3000"))


class Server:
    """A running `squall toxiproxy` on a free port."""

    def __init__(self, directory, *args, env=None):
        self.log = directory / "toxiproxy.log"
        with self.log.open("w") as log:
            argv = [binary(), "toxiproxy", "-host=127.0.0.1", "-port", "0", *args]
            self.process = subprocess.Popen(argv, stderr=log, env={**os.environ, **(env or {})})
        try:
            eventually(lambda: self.address() or self.process.poll() is not None, lambda found: found, START_SECONDS)
            assert self.address(), self.log.read_text()
        except BaseException:
            self.stop()
            raise
        self.session = requests.Session()
        # Clients that set a User-Agent of their own are programs, too.
        self.session.headers["User-Agent"] = "toxiproxy-test"

    def address(self):
        found = re.search(r'"Toxiproxy API listening","address":"([^"]+)"', self.log.read_text())
        return found and found.group(1)

    def call(self, method, path, body=None, **options):
        """Sends a request. A body that is no bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        url = f"http://{self.address()}{path}"
        return self.session.request(method, url, data=data, timeout=10, allow_redirects=False, **options)

    def ok(self, method, path, body=None, status=200):
        """The JSON of a response that must have this status."""
        response = self.call(method, path, body)
        assert response.status_code == status, response.text
        assert response.headers["X-Toxiproxy-Request-Id"]
        if status == 204:
            assert response.content == b""
            return None
        assert response.headers["Content-Type"] == "application/json"
        return response.json()

    def refused(self, method, path, body=None):
        """The status and the message of an error, whose form is checked."""
        response = self.call(method, path, body)
        return response.status_code, error_of(response)

    def clear(self):
        """Deletes all proxies that have a path."""
        for name in self.ok("GET", "/proxies"):
            self.call("DELETE", f"/proxies/{requests.utils.quote(name, safe='')}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(15)
        assert "panicked" not in self.log.read_text()
        return code


def error_of(response):
    assert response.headers["Content-Type"] == TEXT, response.headers
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.text.endswith("}\n"), response.text
    error = response.json()
    assert list(error) == ["error", "status"] and error["status"] == response.status_code, error
    assert error["error"]
    return error["error"]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("toxiproxy"), "-proxy-metrics")
    yield server
    assert server.process.poll() is None, server.log.read_text()
    assert server.stop() == 0


@pytest.fixture
def api(running):
    """The API without proxies."""
    yield running
    running.clear()


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)


@pytest.fixture(scope="module")
def upstream():
    """The address of a server that sends back what it gets."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def proxy(api, upstream, name="echo", **more):
    return api.ok("POST", "/proxies", {"name": name, "listen": "127.0.0.1:0", "upstream": upstream, **more}, 201)


def connect(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host.strip("[]"), int(port)), timeout=10)


def echoes(connection, data=b"hello"):
    connection.sendall(data)
    return connection.recv(len(data)) == data


def is_closed(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def refuses(address):
    """Whether the upstream is down: the RST may come while the client is still connecting."""
    try:
        with connect(address) as connection:
            return is_closed(connection)
    except ConnectionResetError:
        return True


def is_open(address):
    with contextlib.suppress(OSError), connect(address):
        return True
    return False


# Proxies


def test_a_proxy_has_five_keys_in_order(api, upstream):
    created = api.call("POST", "/proxies", {"name": "echo", "listen": "localhost:0", "upstream": upstream})
    assert created.status_code == 201
    shown = created.json()
    port = shown["listen"].removeprefix("127.0.0.1:")
    assert port.isdecimal() and port != "0"
    assert list(shown) == ["name", "listen", "upstream", "enabled", "toxics"]
    assert shown == {"name": "echo", "listen": f"127.0.0.1:{port}", "upstream": upstream, "enabled": True, "toxics": []}
    assert api.ok("GET", "/proxies/echo") == shown
    assert api.ok("GET", "/proxies") == {"echo": shown}
    with connect(shown["listen"]) as connection:
        assert echoes(connection)
        api.ok("DELETE", "/proxies/echo", status=204)
        assert is_closed(connection)
    assert not is_open(shown["listen"])
    assert api.refused("GET", "/proxies/echo") == (404, "proxy not found")
    assert api.refused("DELETE", "/proxies/echo") == (404, "proxy not found")


def test_keys_have_any_case_and_unknown_ones_are_ignored(api, upstream):
    body = {"NAME": "a", "Listen": "127.0.0.1:0", "UpStream": upstream, "ENABLED": False, "Logger": {}, "x": [1]}
    assert api.ok("POST", "/proxies", body, 201)["enabled"] is False
    twice = b'{"name":"b","upstream":"u:1","enabled":true,"Name":"c","enabled":false} trailing'
    assert api.ok("POST", "/proxies", twice, 201)["name"] == "c"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "bad request body: EOF"),
        (b'{"name":', 400, "bad request body: unexpected EOF"),
        (b"{}", 400, "missing required field: name"),
        (b"null", 400, "missing required field: name"),
        ({"name": "", "upstream": "u:1"}, 400, "missing required field: name"),
        ({"name": "a"}, 400, "missing required field: upstream"),
        ({"name": "a", "upstream": ""}, 400, "missing required field: upstream"),
        (
            {"name": 1},
            400,
            "bad request body: json: cannot unmarshal number into Go struct field Proxy.name of type string",
        ),
        ([], 400, "bad request body: json: cannot unmarshal array into Go value of type toxiproxy.Proxy"),
        (
            {"name": "a", "upstream": "u:1", "listen": "local373"},
            500,
            "listen tcp: address local373: missing port in address",
        ),
        ({"name": "a", "upstream": "u:1", "listen": "127.0.0.1:70000"}, 500, "listen tcp: address 70000: invalid port"),
        (
            {"name": "a", "upstream": "u:1", "toxics": [{"type": "noop"}, {"type": "x"}]},
            400,
            "invalid toxic type at toxic 2",
        ),
    ],
)
def test_a_proxy_is_refused(api, body, status, message):
    assert api.refused("POST", "/proxies", body) == (status, message)
    assert api.ok("GET", "/proxies") == {}


def test_names_and_addresses_are_unique(api, upstream):
    shown = proxy(api, upstream)
    body = {"name": "echo", "listen": "127.0.0.1:0", "upstream": upstream}
    assert api.refused("POST", "/proxies", body) == (409, "proxy already exists")
    body = {"name": "other", "listen": shown["listen"], "upstream": upstream}
    message = f"listen tcp {shown['listen']}: bind: address already in use"
    assert api.refused("POST", "/proxies", body) == (500, message)
    body = {"name": "other", "listen": "192.0.2.1:0", "upstream": upstream}
    assert api.refused("POST", "/proxies", body) == (500, "listen tcp 192.0.2.1:0: bind: cannot assign requested address")


@pytest.mark.parametrize("listen", ["", ":0", "0.0.0.0:0", "[::]:0"])
def test_every_address_is_shown_as_one(api, upstream, listen):
    shown = api.ok("POST", "/proxies", {"name": "a", "listen": listen, "upstream": upstream}, 201)
    assert re.fullmatch(r"(\[::\]|0\.0\.0\.0):[1-9]\d*", shown["listen"])
    with connect("127.0.0.1:" + shown["listen"].rsplit(":", 1)[1]) as connection:
        assert echoes(connection)


def test_disabling_cuts_connections_and_keeps_toxics(api, upstream):
    shown = proxy(api, upstream)
    api.ok("POST", "/proxies/echo/toxics", {"type": "noop"})
    connection = connect(shown["listen"])
    assert echoes(connection)
    disabled = api.ok("POST", "/proxies/echo", {"enabled": False})
    assert disabled["enabled"] is False and len(disabled["toxics"]) == 1
    assert is_closed(connection) and not is_open(shown["listen"])
    enabled = api.ok("PATCH", "/proxies/echo", {"enabled": True})
    assert enabled == {**disabled, "enabled": True}
    with connect(shown["listen"]) as connection:
        assert echoes(connection)


def test_another_upstream_cuts_connections_and_keeps_toxics(api, upstream):
    shown = proxy(api, "127.0.0.1:1")
    api.ok("POST", "/proxies/echo/toxics", {"type": "noop"})
    assert refuses(shown["listen"])
    changed = api.ok("PATCH", "/proxies/echo", {"upstream": upstream, "name": "ignored"})
    assert changed["upstream"] == upstream and changed["listen"] == shown["listen"] and len(changed["toxics"]) == 1
    with connect(shown["listen"]) as connection:
        assert echoes(connection)
        moved = api.ok("PATCH", "/proxies/echo", {"listen": "localhost:0"})
        assert is_closed(connection)
    assert moved["listen"] != shown["listen"] and moved["enabled"]
    with connect(moved["listen"]) as connection:
        assert echoes(connection)
        assert api.ok("PATCH", "/proxies/echo", {}) == moved
        assert api.ok("PATCH", "/proxies/echo", {"listen": moved["listen"].replace("127.0.0.1", "localhost")}) == moved
        assert echoes(connection)


def test_updates_are_refused(api, upstream):
    assert api.refused("PATCH", "/proxies/echo", b"") == (404, "proxy not found")
    shown = proxy(api, upstream)
    assert api.refused("PATCH", "/proxies/echo", b"") == (400, "bad request body: EOF")
    status, message = api.refused("POST", "/proxies/echo", {"enabled": "no"})
    assert (status, message[:42]) == (400, "bad request body: json: cannot unmarshal s")
    assert api.refused("PATCH", "/proxies/echo", {"listen": "x"}) == (500, "address x: missing port in address")
    assert api.ok("GET", "/proxies/echo") == shown


@pytest.mark.parametrize("name", ["a b", "ä", "a%b", "a?b", "a#b", '"', "a\nb", "x" * 300])
def test_names_are_decoded(api, upstream, name):
    proxy(api, upstream, name)
    path = f"/proxies/{requests.utils.quote(name, safe='')}"
    assert api.ok("GET", path)["name"] == name
    toxic = {"name": name, "type": "bandwidth", "attributes": {"rate": 5}}
    api.ok("POST", f"{path}/toxics", toxic)
    assert api.ok("GET", f"{path}/toxics/{requests.utils.quote(name, safe='')}")["name"] == name


def test_a_name_with_a_slash_has_no_path(tmp_path, upstream):
    own = Server(tmp_path)
    proxy(own, upstream, "a/b")
    for path in ("/proxies/a/b", "/proxies/a%2Fb"):
        response = own.call("GET", path)
        assert (response.status_code, response.text) == (404, "404 page not found\n")
    assert list(own.ok("GET", "/proxies")) == ["a/b"]
    assert own.stop() == 0


# Populating


def test_populating_leaves_alone_what_is_there(api, upstream):
    body = [{"name": "a", "listen": "localhost:0", "upstream": upstream}]
    first = api.ok("POST", "/populate", body, 201)["proxies"]
    api.ok("POST", "/proxies/a/toxics", {"type": "noop"})
    body[0]["listen"] = first[0]["listen"].replace("127.0.0.1", "localhost")
    with connect(first[0]["listen"]) as connection:
        assert echoes(connection)
        again = api.ok("POST", "/populate", [*body, {"name": "b", "upstream": upstream, "enabled": False}], 201)["proxies"]
        assert echoes(connection)
        assert [len(proxy["toxics"]) for proxy in again] == [1, 0]
        assert [proxy["enabled"] for proxy in again] == [True, False]
        body[0]["upstream"] = "127.0.0.1:1"
        replaced = api.ok("POST", "/populate", body, 201)["proxies"]
        assert replaced[0]["toxics"] == [] and replaced[0]["listen"] == first[0]["listen"]
        assert is_closed(connection)
    assert set(api.ok("GET", "/proxies")) == {"a", "b"}


def test_populating_every_address_again_changes_nothing(api, upstream):
    body = [{"name": "a", "listen": ":0", "upstream": upstream}]
    port = api.ok("POST", "/populate", body, 201)["proxies"][0]["listen"].rsplit(":", 1)[1]
    body[0]["listen"] = f":{port}"
    with connect(f"127.0.0.1:{port}") as connection:
        assert echoes(connection)
        api.ok("POST", "/populate", body, 201)
        assert echoes(connection)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "bad request body: EOF"),
        (b"[{", 400, "bad request body: unexpected EOF"),
        (
            {"name": "a"},
            400,
            "bad request body: json: cannot unmarshal object into Go value of type []toxiproxy.Proxy",
        ),
        ([{"name": "a", "upstream": "u:1"}, {"upstream": "u:1"}], 400, "missing required field: name at proxy 2"),
        ([{"name": "a"}], 400, "missing required field: upstream at proxy 1"),
    ],
)
def test_populating_is_refused_before_anything_is_created(api, body, status, message):
    response = api.call("POST", "/populate", body)
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == {"error": message, "status": status, "proxies": []}
    assert response.status_code == status
    assert api.ok("GET", "/proxies") == {}


def test_populating_tells_how_far_it_came(api, upstream):
    body = [{"name": name, "listen": listen, "upstream": upstream} for name, listen in [("a", ":0"), ("b", "x"), ("c", ":0")]]
    response = api.call("POST", "/populate", body)
    answer = response.json()
    assert response.status_code == 500 and list(answer) == ["error", "status", "proxies"]
    assert answer["error"] == "listen tcp: address x: missing port in address"
    assert [proxy["name"] for proxy in answer["proxies"]] == ["a"]
    assert list(api.ok("GET", "/proxies")) == ["a"]


def test_proxies_come_with_toxics(api, upstream):
    toxics = [{"type": "limit_data", "attributes": {"bytes": 3}}, {"type": "noop", "stream": "upstream", "name": "n"}]
    shown = proxy(api, upstream, toxics=toxics)
    assert [toxic["name"] for toxic in shown["toxics"]] == ["n", "limit_data_downstream"]
    with connect(shown["listen"]) as connection:
        connection.sendall(b"hello")
        assert connection.recv(10) == b"hel"
        assert is_closed(connection)
    same = [{"type": "noop"}, {"type": "noop"}]
    body = {"name": "b", "listen": "127.0.0.1:0", "upstream": upstream, "toxics": same}
    assert api.refused("POST", "/proxies", body) == (409, "toxic already exists at toxic 2")
    assert api.call("POST", "/populate", [body]).json()["error"] == "toxic already exists at toxic 2 of proxy 1"
    assert list(api.ok("GET", "/proxies")) == ["echo"]


# Toxics


def test_a_toxic_has_defaults(api, upstream):
    proxy(api, upstream)
    created = api.call("POST", "/proxies/echo/toxics", {"type": "latency"})
    assert created.status_code == 200
    shown = created.json()
    assert list(shown) == ["attributes", "name", "type", "stream", "toxicity"]
    attributes = {"latency": 0, "jitter": 0}
    toxic = {"name": "latency_downstream", "type": "latency", "stream": "downstream", "toxicity": 1}
    assert shown == {"attributes": attributes, **toxic}
    assert '"toxicity":1}' in created.text
    assert api.ok("GET", "/proxies/echo/toxics/latency_downstream") == shown
    assert api.ok("GET", "/proxies/echo/toxics") == [shown] == api.ok("GET", "/proxies/echo")["toxics"]
    api.ok("DELETE", "/proxies/echo/toxics/latency_downstream", status=204)
    for method, body in [("GET", None), ("DELETE", None), ("PATCH", {})]:
        assert api.refused(method, "/proxies/echo/toxics/latency_downstream", body) == (404, "toxic not found")
        assert api.refused(method, "/proxies/x/toxics/latency_downstream", body) == (404, "proxy not found")


def test_toxics_are_listed_by_chain_in_order_of_creation(api, upstream):
    proxy(api, upstream)
    for index, stream in enumerate(["downstream", "UPSTREAM", "Downstream", "upstream"]):
        toxic = api.ok("POST", "/proxies/echo/toxics", {"name": str(index), "type": "noop", "stream": stream})
        assert toxic["stream"] == stream
    assert [toxic["name"] for toxic in api.ok("GET", "/proxies/echo/toxics")] == ["1", "3", "0", "2"]


def test_updates_merge_attributes(api, upstream):
    proxy(api, upstream)
    path = "/proxies/echo/toxics"
    api.ok("POST", path, {"type": "latency", "attributes": {"latency": 5, "jitter": 2}, "toxicity": 0.25})
    path += "/latency_downstream"
    changed = api.ok("PATCH", path, {"attributes": {"Latency": 9}, "name": "x", "type": "noop", "stream": "upstream"})
    attributes = {"latency": 9, "jitter": 2}
    toxic = {"name": "latency_downstream", "type": "latency", "stream": "downstream", "toxicity": 0.25}
    assert changed == {"attributes": attributes, **toxic}
    assert api.ok("POST", path, {"toxicity": 0.75}) == {**changed, "toxicity": 0.75}
    assert api.ok("PATCH", path, {"attributes": None, "toxicity": None}) == {**changed, "toxicity": 0.75}
    for body in [{"attributes": {"latency": 1, "jitter": "x"}}, {"attributes": {"latency": 1}, "toxicity": []}]:
        status, _ = api.refused("PATCH", path, body)
        assert status == 400
    assert api.ok("GET", path) == {**changed, "toxicity": 0.75}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "bad request body: EOF"),
        ({"type": "x", "stream": "x"}, "stream was invalid, can be either upstream or downstream"),
        ({"type": "x"}, "invalid toxic type"),
        ({}, "invalid toxic type"),
        ({"type": "Latency"}, "invalid toxic type"),
        ({"type": "abort", "attributes": {"status": 503}}, "invalid toxic type"),
        (
            {"type": "latency", "attributes": {"latency": 1.5}},
            "bad request body: json: cannot unmarshal number 1.5 into Go struct field LatencyToxic.attributes.latency of "
            "type int64",
        ),
        (
            {"type": "latency", "attributes": {"latency": "5"}},
            "bad request body: json: cannot unmarshal string into Go struct field LatencyToxic.attributes.latency of "
            "type int64",
        ),
        (
            {"type": "latency", "attributes": 5},
            "bad request body: json: cannot unmarshal number into Go struct field ToxicWrapper.attributes of "
            "type toxics.NoopToxic",
        ),
        ({"type": "bandwidth", "attributes": {"rate": -1}}, "bad request body: a rate can't be negative"),
        (
            {"type": "slicer"},
            "bad request body: the average size of a slice must be at least 1 byte: set `average_size`",
        ),
        (
            {"type": "slicer", "attributes": {"average_size": 5, "size_variation": 5}},
            "bad request body: the size variation must be less than the average size",
        ),
    ],
)
def test_a_toxic_is_refused(api, upstream, body, message):
    assert api.refused("POST", "/proxies/echo/toxics", body) == (404, "proxy not found")
    proxy(api, upstream)
    assert api.refused("POST", "/proxies/echo/toxics", body) == (400, message)
    assert api.ok("GET", "/proxies/echo/toxics") == []


def test_names_of_toxics_are_unique_over_both_streams(api, upstream):
    proxy(api, upstream)
    api.ok("POST", "/proxies/echo/toxics", {"type": "noop", "name": "t"})
    body = {"type": "bandwidth", "name": "t", "stream": "upstream", "attributes": {"rate": "x"}}
    assert api.refused("POST", "/proxies/echo/toxics", body) == (409, "toxic already exists")


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("latency", {"latency": 100, "jitter": 10}),
        ("bandwidth", {"rate": 1000}),
        ("bandwidth", {"rate": 0}),
        ("slow_close", {"delay": 10}),
        ("timeout", {"timeout": 0}),
        ("timeout", {"timeout": 100}),
        ("reset_peer", {"timeout": 0}),
        ("reset_peer", {"timeout": 100}),
        ("slicer", {"average_size": 64, "size_variation": 32, "delay": 10}),
        ("slicer", {"average_size": 64, "size_variation": 0, "delay": 0}),
        ("limit_data", {"bytes": 0}),
        ("noop", {}),
    ],
)
@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_every_toxic_is_accepted(api, upstream, kind, attributes, stream):
    proxy(api, upstream)
    for toxicity in (1, 0.5, 0, -1, 7):
        body = {"type": kind, "stream": stream, "attributes": attributes, "toxicity": toxicity, "name": str(toxicity)}
        assert api.ok("POST", "/proxies/echo/toxics", body) == body
    if attributes:
        huge = dict.fromkeys(attributes, (1 << 63) - 1) | {"size_variation": 0}
        api.ok("PATCH", "/proxies/echo/toxics/1", {"attributes": huge})


def test_a_reset_enables_all_and_removes_toxics(api, upstream):
    proxy(api, upstream, "a")
    proxy(api, upstream, "b", enabled=False, toxics=[{"type": "noop"}])
    api.ok("POST", "/proxies/a/toxics", {"type": "timeout"})
    api.ok("POST", "/reset", status=204)
    for shown in api.ok("GET", "/proxies").values():
        assert shown["enabled"] and shown["toxics"] == []
        with connect(shown["listen"]) as connection:
            assert echoes(connection)


def test_faults_of_squall_are_toxics(api, upstream):
    shown = proxy(api, upstream)
    path = "/proxies/echo/toxics"
    delay = {"uniform": ["200ms", "300ms"]}
    toxic = api.ok("POST", path, {"type": "delay", "attributes": delay})
    assert toxic["name"] == "delay_downstream" and toxic["attributes"] == delay
    with connect(shown["listen"]) as connection:
        began = time.monotonic()
        assert echoes(connection)
        assert time.monotonic() - began >= 0.2
        api.ok("PATCH", f"{path}/delay_downstream", {"attributes": {"uniform": None, "fixed": "1ms"}})
        assert echoes(connection)
    status, message = api.refused("POST", path, {"type": "delay", "name": "x", "attributes": {"unifrom": ["1ms", "2ms"]}})
    assert status == 400 and message.startswith("bad request body: ") and "uniform" in message
    status, message = api.refused("POST", path, {"type": "delay", "name": "x", "attributes": {"samples": "/etc/passwd"}})
    assert status == 400 and "no files can be read here" in message
    api.ok("POST", "/reset", status=204)
    api.ok("POST", path, {"type": "close"})
    with connect(shown["listen"]) as connection:
        assert is_closed(connection)


def test_a_client_that_never_reads_does_not_hold_up_the_api(api, upstream):
    shown = proxy(api, upstream)
    api.ok("POST", "/proxies/echo/toxics", {"type": "latency", "attributes": {"latency": 10}})
    with connect(shown["listen"]) as connection:
        connection.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while True:
                connection.sendall(bytes(1 << 20))
        began = time.monotonic()
        api.ok("DELETE", "/proxies/echo/toxics/latency_downstream", status=204)
        api.ok("PATCH", "/proxies/echo", {"enabled": False})
        assert time.monotonic() - began < 1


# HTTP


def test_the_version(api):
    response = api.call("GET", "/version")
    assert response.headers["Content-Type"] == "application/json;charset=utf-8"
    assert response.text == '{"version": "2.12.0"}\n'


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/", 404, "404 page not found\n"),
        ("GET", "/proxies/", 404, "404 page not found\n"),
        ("GET", "/proxies/a/b", 404, "404 page not found\n"),
        ("HEAD", "/proxies", 405, ""),
        ("PUT", "/proxies", 405, ""),
        ("DELETE", "/proxies", 405, ""),
        ("GET", "/populate", 405, ""),
        ("GET", "/reset", 405, ""),
        ("POST", "/version", 405, ""),
        ("PUT", "/proxies/a", 405, ""),
        ("DELETE", "/proxies/a/toxics", 405, ""),
        ("PUT", "/proxies/a/toxics/t", 405, ""),
    ],
)
def test_other_paths_and_methods(api, method, path, status, text):
    response = api.call(method, path)
    assert (response.status_code, response.text) == (status, text)
    if text:
        assert response.headers["Content-Type"] == TEXT


def raw(api, target):
    """The response to a path that clients would change."""
    with connect(api.address()) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return connection.makefile("rb").read().decode()


def test_paths_are_cleaned(api):
    answer = raw(api, "//proxies/x/..?a=b")
    assert answer.startswith("HTTP/1.1 301 ") and "\r\nlocation: /proxies?a=b\r\n" in answer
    answer = raw(api, "/proxies/a%2")
    assert answer.startswith("HTTP/1.1 400 ") and answer.endswith("\r\n\r\n400 Bad Request\n")


def test_bodies_that_nobody_asked_for_keep_the_connection(api):
    """Sent after the head, as many clients do, so that the response may come first."""
    with connect(api.address()) as connection:
        for path in (b"/version", b"/nothing", b"/reset", b"/proxies"):
            connection.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n" % path)
            time.sleep(0.02)
            connection.sendall(b"[1,2]")
            assert connection.recv(65536).startswith(b"HTTP/1.1 ")


def test_browsers_are_refused(api):
    response = api.call("GET", "/proxies", headers={"User-Agent": "Mozilla/5.0 (X11)"})
    assert (response.status_code, response.text) == (403, "User agent not allowed\n")
    response = api.call("POST", "/reset", headers={"Origin": "http://evil.example"})
    assert response.status_code == 403
    # Clients use any name for this machine.
    api_host = {"Host": "toxiproxy:8474"}
    assert api.call("POST", "/reset", headers=api_host).status_code == 204


@pytest.mark.parametrize("path", ["/proxies", "/populate"])
def test_bodies_are_bounded_and_may_be_cut(api, path):
    response = api.call("POST", path, b'{"name":"' + b"x" * (2 << 20) + b'"}')
    assert response.status_code == 413
    assert response.json()["error"] == "bad request body: http: request body too large"
    with connect(api.address()) as connection:
        connection.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n[{" % path.encode())
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ") and b"bad request body: unexpected EOF" in answer


def test_the_metrics_are_live(api, upstream, tmp_path):
    shown = proxy(api, upstream)
    labels = f'listener="{shown["listen"]}",proxy="echo",upstream="{upstream}"'
    with connect(shown["listen"]) as connection:
        assert echoes(connection, b"x" * 1000)
        # While the connection is open.
        for name in ("received", "sent"):
            for direction in ("upstream", "downstream"):
                line = f'toxiproxy_proxy_{name}_bytes_total{{direction="{direction}",{labels}}} 1000\n'
                eventually(lambda: api.call("GET", "/metrics").text, lambda page, line=line: line in page)
    without = Server(tmp_path, "-runtime-metrics=false")
    assert without.call("GET", "/metrics").status_code == 404
    assert without.stop() == 0


# The command line


def test_the_version_of_the_command():
    for flag in ("-version", "--version"):
        assert command("toxiproxy", flag).stdout.startswith("toxiproxy-server version 2.12.0")
    assert command("toxiproxy", "-host").returncode == 2


def test_a_configuration_file(upstream, tmp_path):
    file = tmp_path / "toxiproxy.json"
    listed = [
        {"name": "a", "listen": "localhost:0", "upstream": upstream, "toxics": [{"type": "noop"}]},
        {"name": "b", "listen": "localhost:0", "upstream": upstream, "enabled": False},
    ]
    file.write_text(json.dumps(listed))
    server = Server(tmp_path, "-runtime-metrics", "--config", str(file), "-seed", "-5", env={"LOG_LEVEL": "debug"})
    shown = server.ok("GET", "/proxies")
    assert [proxy["enabled"] for proxy in shown.values()] == [True, False] and len(shown["a"]["toxics"]) == 1
    assert "process_resident_memory_bytes" in server.call("GET", "/metrics").text
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (None, 64, "can't read {file}: there is no such file"),
        ("[{]", 64, "{file}: key must be a string at line 1 column 3"),
        ('[{"name": "a"}]', 64, "{file}: missing required field: upstream at proxy 1"),
        ('[{"name": "a", "upstream": "b", "toxics": [{}]}]', 64, "{file}: invalid toxic type at toxic 1 of proxy 1"),
        ('[{"name": "a", "upstream": "b", "listen": "192.0.2.1:0"}]', 69, "{file}: listen tcp 192.0.2.1:0: bind: cannot"),
    ],
)
def test_a_configuration_file_that_is_wrong(tmp_path, text, code, message):
    file = tmp_path / "toxiproxy.json"
    if text is not None:
        file.write_text(text)
    ended = command("toxiproxy", "-port", "0", "-config", file)
    assert ended.returncode == code
    assert message.format(file=file) in ended.stderr


def test_the_api_beside_listeners(squall, upstream):
    """`toxiproxy:` of squall's own configuration. A reload leaves the proxies alone."""
    config = f"""
toxiproxy: {{address: 127.0.0.1:0}}
listeners: {{web: {{address: 127.0.0.1:0, protocol: tcp, upstream: echo}}}}
upstreams: {{echo: {{address: "{upstream}"}}}}
"""
    running = squall(config)
    line = next(json.loads(line) for line in running.lines if "Toxiproxy API listening" in line)
    url = f"http://{line['address']}"
    body = {"name": "a", "listen": "127.0.0.1:0", "upstream": upstream, "toxics": [{"type": "close"}]}
    shown = requests.post(f"{url}/proxies", json=body, timeout=10).json()
    with connect(shown["listen"]) as connection:
        assert is_closed(connection)
    series = {"rule": "a/close_downstream", "fault": "close"}
    eventually(lambda: running.metrics().sum("squall_faults_injected_total", **series), 1)
    running.file.write_text(running.file.read_text() + "rules: []\n")
    running.signal(signal.SIGHUP)
    running.wait_for_message("reloaded", 10)
    assert requests.get(f"{url}/proxies", timeout=10).json() == {"a": shown}
    assert running.metrics().sum("squall_faults_injected_total", **series) == 1
    requests.delete(f"{url}/proxies/a", timeout=10)
    assert running.metrics().sum("squall_faults_injected_total", **series) == 0
    assert running.stop() == 0


# Invalid input


class Generator:
    """Requests that are wrong in some way, most of them, drawn from a seed."""

    NAMES = ["a", "b", "a b", "a/b", "", ".", "..", "ä", "%", "a%2Fb", "x" * 300, "\x00", "\u2028", "\U0001f600", "proxies"]
    TYPES = ["latency", "bandwidth", "slow_close", "timeout", "reset_peer", "slicer", "limit_data", "noop", "delay", "close"]
    TYPES += ["reset", "hang", "concurrency", "dribble", "stall", "truncate", "corrupt", "profile", "abort", "x", "", "Latency"]
    KEYS = ["latency", "jitter", "rate", "delay", "timeout", "average_size", "size_variation", "bytes", "after", "limit", "chunk"]
    KEYS += ["gap", "fixed", "uniform", "before", "direction", "LATENCY", "x", "max", "samples", "mode", "queue", "${HOME}"]
    NUMBERS = [0, 1, -1, 5, 100, 1.5, -0.0, 1e3, 1e300, 2**31, 2**53, 2**63 - 1, -(2**63), 2**63, 2**64, 10**40, -(10**40)]
    WORDS = ["", "1", "5ms", "1KiB", "0", "-1ms", "10%", "upstream", "downstream", "UPSTREAM", "request", "message", "true", "3g"]
    LISTENS = ["127.0.0.1:0", "localhost:0", "", ":0", "127.0.0.1", "127.0.0.1:99999", "[::1", "a:b:c", "256.1.1.1:0", "127.0.0.1:-1"]
    METHODS = ["GET", "POST", "POST", "POST", "PATCH", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE"]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def value(self, depth=0):
        pick = self.random.randrange(8 if depth < 3 else 5)
        if pick < 2:
            return self.random.choice(self.NUMBERS)
        if pick == 2:
            return self.random.choice(self.WORDS)
        if pick < 5:
            return self.random.choice([None, True, False, "x" * self.random.randrange(200)])
        if pick == 5:
            return [self.value(depth + 1) for _ in range(self.random.randrange(3))]
        return {self.random.choice(self.KEYS): self.value(depth + 1) for _ in range(self.random.randrange(4))}

    def mostly(self, right):
        return right if self.random.random() < 0.8 else self.value()

    def toxic(self):
        attributes = {self.random.choice(self.KEYS): self.value() for _ in range(self.random.randrange(4))}
        toxic = {"type": self.mostly(self.random.choice(self.TYPES)), "attributes": self.mostly(attributes)}
        if self.random.random() < 0.5:
            toxic["name"] = self.mostly(self.random.choice(self.NAMES))
        if self.random.random() < 0.5:
            toxic["stream"] = self.mostly(self.random.choice(["upstream", "downstream"]))
        if self.random.random() < 0.3:
            toxic["toxicity"] = self.mostly(self.random.choice([0, 0.5, 1, -1, 1e30, 1e39]))
        return toxic

    def proxy(self):
        proxy = {"name": self.mostly(self.random.choice(self.NAMES)), "upstream": self.mostly("127.0.0.1:1")}
        proxy["listen"] = self.mostly(self.random.choice(self.LISTENS))
        if self.random.random() < 0.3:
            proxy["enabled"] = self.mostly(False)
        if self.random.random() < 0.3:
            proxy["toxics"] = self.mostly([self.toxic() for _ in range(self.random.randrange(3))])
        return proxy

    def path(self):
        name = lambda: self.random.choice(["a", "a", "a", requests.utils.quote(self.random.choice(self.NAMES), safe="/%")])  # noqa: E731
        forms = ["/proxies", "/populate", "/proxies/{}", "/proxies/{}/toxics", "/proxies/{}/toxics", "/proxies/{}/toxics/{}"]
        forms += ["/reset", "/version", "/metrics", "/proxies/{}/{}", "/{}", "//{}/../{}"]
        return self.random.choice(forms).format(name(), name())

    def body(self):
        value = self.random.choice([self.toxic, self.toxic, self.proxy, lambda: [self.proxy()], self.value])()
        text = json.dumps(value).encode()
        how = self.random.randrange(12)
        if how == 0:
            return text[: self.random.randrange(len(text) + 1)]
        if how == 1:
            return text + self.random.randbytes(5)
        if how == 2:
            place = self.random.randrange(len(text) + 1)
            return text[:place] + self.random.randbytes(2) + text[place:]
        if how == 3 and self.random.random() < 0.1:
            return b"[" * self.random.choice([10, 200, 100_000])
        return text

    def request(self):
        return self.random.choice(self.METHODS), self.path(), self.body()


def check_form(method, response):
    """Whether a response has a form that Toxiproxy's have."""
    status, kind = response.status_code, response.headers.get("Content-Type")
    assert status in {200, 201, 204, 301, 400, 403, 404, 405, 409, 500}, (status, response.text)
    if kind == "application/json":
        answer = response.json()
        populated = isinstance(answer, dict) and "proxies" in answer and "error" in answer
        assert status in (200, 201) or populated, response.text
    elif status in (204, 301, 405) or method == "HEAD":
        assert response.content == b""
    elif kind == TEXT and response.text.startswith("{"):
        error_of(response)
    else:
        assert status == 200 or response.text in ("404 page not found\n", "400 Bad Request\n"), response.text


def test_invalid_requests(tmp_path):
    seed = int(os.environ.get("SQUALL_API_SEED", random.randrange(1 << 32)))
    own = Server(tmp_path, "-proxy-metrics")
    generator, slowest = Generator(seed), 0
    for case in range(CASES):
        if case % 50 == 0:
            # A fresh start, so that ports and toxics don't pile up.
            own.clear()
            own.call("POST", "/proxies", {"name": "a", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1"})
        method, path, body = generator.request()
        began = time.monotonic()
        try:
            check_form(method, own.call(method, path, body))
        except Exception as error:
            error.add_note(f"seed {seed}, case {case}: {method} {path!r} {body!r}")
            raise
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 5, f"seed {seed}"
    assert isinstance(own.ok("GET", "/proxies"), dict)
    assert own.stop() == 0
