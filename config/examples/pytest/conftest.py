"""squall for pytest: one process for all tests of a worker, and a space of its own for each test. A space has a port of its own, sees
only its own faults, and takes them along when it is closed, so that tests may run in any order and in parallel (pytest-xdist)."""

import http.server
import json
import subprocess
import threading
import time
import uuid

import pytest
import requests

CONFIG = """
admin: {{address: 127.0.0.1:0}}
listeners: {{shop: {{address: 127.0.0.1:0, upstream: shop}}}}
upstreams: {{shop: {{url: "{url}"}}}}
"""


@pytest.fixture(scope="session")
def shop():
    """The service that the client under test speaks to: here one that answers `ok`."""

    class Shop(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        do_POST = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="session")
def squall(shop, tmp_path_factory):
    """A running squall in front of the shop: the address of its admin API."""
    folder = tmp_path_factory.mktemp("squall")
    (folder / "squall.yaml").write_text(CONFIG.format(url=shop))
    ready = folder / "ready.json"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(["squall", "run", folder / "squall.yaml", "--ready-file", ready], stderr=log)
    while not ready.exists():
        assert process.poll() is None, (folder / "log").read_text()
        time.sleep(0.01)
    yield "http://" + json.loads(ready.read_text())["admin"]
    process.terminate()
    process.wait(timeout=30)


class Faults:
    """The faults of one test."""

    def __init__(self, admin):
        self.api, self.space = f"{admin}/api/v1", uuid.uuid4().hex
        # Should the test die, the space closes by itself.
        opened = self.call("PUT", f"/spaces/{self.space}", {"listeners": ["shop"], "ttl": "10m"})
        self.url = f"http://{opened['listeners']['shop']}"

    def call(self, method, path, body=None):
        response = requests.request(method, self.api + path, json=body, timeout=70)
        assert response.ok, response.text
        return response.json() if response.content else None

    def add(self, name, faults, **rule):
        """Adds or replaces a rule; `faults`, `match` and `when` as in squall.yaml."""
        self.call("PUT", f"/rules/{name}?space={self.space}", {"faults": faults, **rule})

    def remove(self, name):
        self.call("DELETE", f"/rules/{name}?space={self.space}")

    def verify(self, **expected):
        """Asserts what squall has seen: `count`, `match`, `gaps`, `order`…"""
        answer = self.call("POST", f"/verify?space={self.space}", expected)
        assert answer["verdict"] == "pass", answer["reason"]


@pytest.fixture
def faults(squall):
    faults = Faults(squall)
    yield faults
    faults.call("DELETE", f"/spaces/{faults.space}")
