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
from squall import command

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
    assert reply.json()["error"] == "GET /search?a=2 was recorded only with another query"
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


def entry(target="/x", response=None, request=None, **other):
    """An entry as recorders write it, with what is odd about it."""
    content = {"size": 2, "mimeType": "text/plain", "text": "hi"}
    url = target if ":" in target else f"http://a.example{target}"
    return {
        "request": {"method": "GET", "url": url, "headers": [], "queryString": []} | (request or {}),
        "response": {"status": 200, "statusText": "", "headers": [], "content": content} | (response or {}),
        "timings": {"send": 0, "wait": 1, "receive": 0},
    } | other


def content(**what):
    return {"content": {"size": 2, "mimeType": "text/plain"} | what}


def check(fake, folder):
    """What `squall check` says of it."""
    (folder / "squall.yaml").write_text(configuration(fake))
    checked = command("check", folder / "squall.yaml")
    assert checked.returncode == 0, checked.stderr
    return checked.stdout + checked.stderr


# What recorders write: an entry, why it is left out, or how it is served.
ODD = {
    "negative status": (entry(response={"status": -2}), "no response came (a status below 100)"),
    "status 999": (entry(response={"status": 999}), "999 is not a valid response status"),
    "status text": (entry(response={"status": "200"}), "hi"),
    "header value list": (entry(response={"headers": [{"name": "x-a", "value": ["1", "2"]}]}), "hi"),
    "headers null": (entry(response={"headers": None}), "hi"),
    "text null": (entry(response=content(text=None, size=0)), ""),
    "content null": (entry(response={"content": None}), ""),
    "no response": (entry(response=None) | {"response": None}, "no response was recorded"),
    "timings null": (entry(timings=None, time=None), "hi"),
    "relative URL": (entry(request={"url": "/x"}), "hi"),
    "data URL": (entry("data:image/gif;base64,R0lGODlh"), "not an http URL"),
    "extension": (entry("chrome-extension://abc/x.js"), "not an http URL"),
    "blob": (entry("blob:http://a.example/1"), "not an http URL"),
    "about": (entry("about:blank"), "not an http URL"),
    "file": (entry("file:///x"), "not an http URL"),
    "websocket": (entry("wss://a.example/x", {"status": 101}), "a WebSocket"),
    "websocket by http": (entry(response={"status": 101}), "an upgraded connection, such as a WebSocket"),
    "tunnel": (entry("https://a.example:443", request={"method": "CONNECT"}), "a tunnel (CONNECT)"),
    "bad base64": (entry(response=content(text="truncated==", encoding="base64")), "its body is not valid base64"),
    "base64 without padding": (entry(response=content(text="aGk", encoding="base64")), "hi"),
    "lone surrogate": (entry(response=content(text="\ud83d cut")), "\ufffd cut"),
    "redirectURL": (entry(response={"status": 302, "redirectURL": "http://a.example/ok"}), "ok"),
    "304 with its text": (entry(response={"status": 304}), "hi"),
}


@pytest.mark.parametrize("kind", ODD)
def test_one_odd_entry_spoils_no_other(kind, tmp_path):
    odd, expected = ODD[kind]
    good = entry("/ok", response=content(text="ok"))
    (tmp_path / "odd.har").write_text(json.dumps({"log": {"version": "1.2", "entries": [good, odd]}}))
    said = check("har: odd.har", tmp_path)
    with Fake("har: odd.har", tmp_path) as running:
        assert requests.get(f"{running.url}/ok", timeout=10).text == "ok"
        reply = requests.get(f"{running.url}/x", timeout=10)
    if reply.status_code == 404:
        assert f"odd.har: 1 of 2 entries is not served: 1 × {expected}" in said and "/log/entries/1" in said
    else:
        assert (reply.status_code, reply.text) == (200, expected), said
        assert "is not served" not in said
        assert ("with status 304" in said) == kind.startswith("304")


def test_what_was_not_recorded_is_said(tmp_path):
    """A 200 without its text, and a 304 without one."""
    entries = [entry("/big", {"content": {"size": 500000, "mimeType": "text/html"}}), entry("/n", {"status": 304, "content": {}})]
    entries += [entry("/twice", content(size=9)), entry("/twice", content(text="whole"))]
    (tmp_path / "lacking.har").write_text(json.dumps({"log": {"entries": entries}}))
    said = check("har: lacking.har", tmp_path)
    for message, request in (
        ("1 response whose body was not recorded, served with an empty one", "GET /big"),
        ("1 response whose body was not recorded, left out for others to the same request", "GET /twice"),
        ("1 response with status 304 and without a body, which a client without a copy can't use", "GET /n"),
    ):
        assert message in said and request in said
    with Fake("har: lacking.har", tmp_path) as running:
        assert requests.get(f"{running.url}/big", timeout=10).content == b""
        assert requests.get(f"{running.url}/twice", timeout=10).text == "whole"
        assert requests.get(f"{running.url}/n", timeout=10).status_code == 304


def test_links_lead_to_the_fake_and_cookies_belong_to_it(tmp_path):
    login = {
        "status": 302,
        "headers": [
            {"name": "Location", "value": "https://a.example/ok?from=login"},
            {"name": "Link", "value": '<https://a.example/page/2>; rel="next", <https://other.example/>; rel="about"'},
            {"name": "Set-Cookie", "value": "id=7; Domain=.a.example; Path=/; Secure; HttpOnly; SameSite=None"},
        ],
    }
    entries = [entry("https://a.example/login", login), entry("https://a.example/ok?from=login", content(text="in"))]
    (tmp_path / "links.har").write_text(json.dumps({"log": {"entries": entries}}))
    with Fake("har: links.har", tmp_path) as running:
        session = requests.Session()
        reply = session.get(f"{running.url}/login", timeout=10)
        assert (reply.status_code, reply.text, reply.url) == (200, "in", f"{running.url}/ok?from=login")
        links = reply.history[0].links
        assert links["next"]["url"] == f"{running.url}/page/2" and links["about"]["url"] == "https://other.example/"
        assert session.cookies.get_dict() == {"id": "7"}
        assert reply.request.headers["cookie"] == "id=7"


def test_forms_match_by_their_fields(tmp_path):
    params = [{"name": "user", "value": "Ada L"}, {"name": "f", "fileName": "x.png", "contentType": "image/png"}]
    form = {"mimeType": "application/x-www-form-urlencoded", "text": None, "params": params[:1]}
    parts = {"mimeType": "multipart/form-data; boundary=----WebKit", "params": params}
    entries = [
        entry("/in", content(text=text), {"method": "POST", "postData": data}) for text, data in (("form", form), ("parts", parts))
    ]
    (tmp_path / "forms.har").write_text(json.dumps({"log": {"entries": entries}}))
    with Fake("har: {file: forms.har, match: [method, path, body]}", tmp_path) as running:
        url = f"{running.url}/in"
        assert requests.post(url, data={"user": "Ada L"}, timeout=10).text == "form"
        upload = {"f": ("x.png", b"\x89PNG", "image/png")}
        assert requests.post(url, data={"user": "Ada L"}, files=upload, timeout=10).text == "parts"
        assert requests.post(url, data={"user": "Bob"}, timeout=10).status_code == 404
