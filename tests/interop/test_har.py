"""`har:` of a declared fake: what was recorded from a real server is served back, with its timings."""

import base64
import gzip
import http.server
import json
import threading
import time

import pytest
import requests
from fakes import Fake, configuration

PICTURE = bytes(range(256)) * 8


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked = 0

    def do_GET(self):
        kind, body = "application/json", json.dumps({"path": self.path}).encode()
        if self.path == "/job":
            Origin.asked += 1
            body = json.dumps({"state": "done" if Origin.asked > 2 else "pending"}).encode()
        elif self.path == "/picture":
            kind, body = "image/png", PICTURE
        elif self.path == "/slow":
            time.sleep(0.4)
        body, coding = (gzip.compress(body), "gzip") if self.path.startswith("/search") else (body, None)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Origin", "real")
        if coding:
            self.send_header("Content-Encoding", coding)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)[::-1]
        self.send_response(201)
        self.send_header("Location", "/made/1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def record(exchanges):
    """Exchanges with a real server, as a browser records them."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    entries = []
    for method, target, body in exchanges:
        url = f"http://127.0.0.1:{server.server_port}{target}"
        began = time.monotonic()
        reply = requests.request(method, url, data=body, timeout=10)
        wait = (time.monotonic() - began) * 1000
        content = {"size": len(reply.content), "mimeType": reply.headers.get("content-type", "x-unknown")}
        try:
            content["text"] = reply.content.decode()
        except UnicodeDecodeError:
            content |= {"text": base64.b64encode(reply.content).decode(), "encoding": "base64"}
        headers = [{"name": name, "value": value} for name, value in reply.headers.items()]
        request = {"method": method, "url": url, "headers": [], "queryString": []}
        if body:
            request["postData"] = {"mimeType": "text/plain", "text": body}
        response = {"status": reply.status_code, "statusText": reply.reason, "headers": headers, "content": content}
        timings = {"blocked": -1, "send": 0, "wait": wait, "receive": 300 if target == "/picture" else 0}
        entries.append({"request": request, "response": response, "timings": timings})
    server.shutdown()
    return json.dumps({"log": {"version": "1.2", "creator": {"name": "test", "version": "1"}, "entries": entries}})


@pytest.fixture(scope="module")
def recording():
    exchanges = [("GET", target, None) for target in ("/job", "/job", "/job", "/search?a=1&b=%20x", "/picture", "/slow")]
    return record([*exchanges, ("POST", "/made", "abc"), ("POST", "/made", "xyz")])


@pytest.fixture(scope="module")
def fake(recording, tmp_path_factory):
    folder = tmp_path_factory.mktemp("har")
    (folder / "recorded.har").write_text(recording)
    with Fake("har: recorded.har", folder) as running:
        yield running


def test_answers_are_as_recorded(fake):
    reply = requests.get(f"{fake.url}/search?b=+x&a=1", timeout=10)
    assert (reply.status_code, reply.headers["x-origin"], reply.headers["content-type"]) == (200, "real", "application/json")
    assert reply.json() == {"path": "/search?a=1&b=%20x"}
    assert "content-encoding" not in reply.headers and reply.headers["content-length"] == str(len(reply.content))
    made = requests.post(f"{fake.url}/made", data="anything", timeout=10)
    assert (made.status_code, made.headers["location"], made.text) == (201, "/made/1", "cba")
    head = requests.head(f"{fake.url}/picture", timeout=10)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(PICTURE)), b"")


def test_the_same_request_again_gets_the_next_answer(fake):
    states = [requests.get(f"{fake.url}/job", timeout=10).json()["state"] for _ in range(5)]
    assert states == ["pending", "pending", "done", "done", "done"]


def test_heads_and_bodies_take_their_time(fake):
    began = time.monotonic()
    assert requests.get(f"{fake.url}/slow", timeout=10).status_code == 200
    assert 0.4 <= time.monotonic() - began < 3
    began = time.monotonic()
    reply = requests.get(f"{fake.url}/picture", timeout=10, stream=True)
    head = time.monotonic() - began
    assert reply.content == PICTURE
    assert time.monotonic() - began >= 0.3 and head < 0.25


def test_unrecorded_requests_name_the_nearest_recording(fake):
    reply = requests.get(f"{fake.url}/search?a=2", timeout=10)
    assert reply.status_code == 404
    assert reply.json()["error"] == "GET /search?a=2 was not recorded"
    assert reply.json()["nearest"][0] == "GET /search?a=1&b= x"
    for odd in ("/%ff%00?%zz=&&=", "/" + "a" * 3000, "//", "/?" + "&" * 50):
        assert requests.get(fake.url + odd, timeout=10).status_code == 404


def test_options_behind_a_listener(squall, recording, tmp_path):
    (tmp_path / "r.har").write_text(recording)
    options = "timing: false, repeat: cycle, match: [method, path, body]"
    running = squall(configuration(f"har: {{file: {tmp_path}/r.har, {options}}}"))
    states = [requests.get(running.url("/job"), timeout=10).json()["state"] for _ in range(4)]
    assert states == ["pending", "pending", "done", "pending"]
    assert requests.post(running.url("/made"), data="xyz", timeout=10).text == "zyx"
    assert requests.post(running.url("/made"), data="other", timeout=10).status_code == 404
    assert requests.get(running.url("/search?any=thing"), timeout=10).json() == {"path": "/search?a=1&b=%20x"}
    began = time.monotonic()
    for _ in range(5):
        assert requests.get(running.url("/slow"), timeout=10).status_code == 200
    assert time.monotonic() - began < 2
