"""`match: {body: …}`: what rules read ahead, and that the upstream gets it as it came."""

import gzip
import json
import socket
import threading
import time

import httpx
import pytest
import requests
from squall import command
from wire import H2Client, connect

CONFIG = """
seed: 7
listeners: {web: {address: 127.0.0.1:0, upstream: up}}
upstreams: {up: {url: "http://127.0.0.1:PORT"}}
rules:
  - name: cards
    match: {method: POST, path: /pay, body: {json: {type: card}}}
    faults: [abort: 521]
  - name: items
    match: {path: /items, body: {json_path: {"$.items[*].id": 7, "$.items[?@.price > 100].id": present}}}
    faults: [abort: 522]
  - name: forms
    match: {path: /form, body: {form: {name: {prefix: A}}}}
    faults: [abort: 523]
  - name: texts
    match: {path: /text, body: {contains: needle, limit: 64B}}
    faults: [abort: 524]
  - name: operations
    match: {path: /graphql, body: {graphql: {operation: Get*, type: query}}}
    faults: [abort: 525]
  - name: models
    match: {path: /v1/chat/completions, body: {model: gpt-4*}}
    faults: [abort: 526]
  - name: not that
    match: {path: /not, not: {body: {json: {ok: true}}}}
    faults: [abort: 527]
  - name: twice
    match: {path: /twice, body: {json: {n: 1}}}
    when: {attempts: 2, key: path}
    faults: [abort: 528]
  - name: slow upload
    match: {path: /slow, body: {contains: x}}
    faults: [bandwidth: {request: 2KiB/s}]
"""


class Recorder:
    """An HTTP/1.1 server that keeps the bytes of each request, and answers with 200."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.requests = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        data = b""
        while True:
            while not (end := self.end(data)):
                if not (more := sock.recv(65536)):
                    return
                data += more
            self.requests.append(data[:end])
            data = data[end:]
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    @staticmethod
    def end(data):
        """Where the first request ends; 0 if it is not complete."""
        head, found, _ = data.partition(b"\r\n\r\n")
        if not found:
            return 0
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        start = len(head) + 4
        if fields.get(b"transfer-encoding") == b"chunked":
            last = data.find(b"0\r\n", start - 2)
            end = data.find(b"\r\n\r\n", last)
            return end + 4 if last >= 0 and end >= 0 else 0
        length = int(fields.get(b"content-length", 0))
        return start + length if len(data) >= start + length else 0


@pytest.fixture
def setup(squall):
    recorder = Recorder()
    yield squall(CONFIG.replace("PORT", str(recorder.port))), recorder
    recorder.listener.close()


def test_each_kind_of_condition(setup):
    squall, recorder = setup
    post = lambda path, **options: requests.post(squall.url(path), timeout=30, **options).status_code
    items = {"items": [{"id": 6, "price": 120}, {"id": 7, "price": 1}]}
    document = "query GetUser { user } mutation SetUser { user }"
    part = {"name": (None, "Ada"), "file": ("n.txt", b"x")}
    for status, path, options in [
        (521, "/pay", {"json": {"type": "card", "amount": 1}}),
        (200, "/pay", {"json": {"type": "cash"}}),
        (200, "/pay", {"data": "{type: card}"}),
        (200, "/pay", {}),
        (521, "/pay", {"data": b'{"type": "card"}'}),
        (521, "/pay", {"data": gzip.compress(b'{"type": "card"}'), "headers": {"Content-Encoding": "gzip"}}),
        (200, "/pay", {"data": b'{"type": "card"}', "headers": {"Content-Encoding": "gzip"}}),
        (522, "/items", {"json": items}),
        (200, "/items", {"json": {"items": items["items"][1:]}}),
        (523, "/form", {"data": {"name": "Ada", "x": "y"}}),
        (523, "/form", {"files": part}),
        (200, "/form", {"data": {"name": "Bob"}}),
        (524, "/text", {"data": b"a needle"}),
        (200, "/text", {"data": b"a needle" + b" " * 64}),
        (525, "/graphql", {"json": {"query": "query GetUser { user }"}}),
        (525, "/graphql", {"json": {"query": document, "operationName": "GetUser"}}),
        (200, "/graphql", {"json": {"query": document, "operationName": "SetUser"}}),
        (200, "/graphql", {"json": {"query": document}}),
        (525, "/graphql", {"json": [{"query": "mutation { x }"}, {"query": "query GetAll { x }"}]}),
        (526, "/v1/chat/completions", {"json": {"model": "gpt-4o", "messages": []}}),
        (200, "/v1/chat/completions", {"json": {"model": "claude-sonnet", "messages": []}}),
        (200, "/not", {"json": {"ok": True}}),
        (527, "/not", {"json": {"ok": False}}),
        (527, "/not", {"data": "no json"}),
    ]:
        assert post(path, **options) == status, (path, options)
    assert [post("/twice", json={"n": n}) for n in (1, 2, 1, 1)] == [528, 200, 528, 200]
    assert requests.get(squall.url("/pay"), timeout=30).status_code == 200


def exchange(port, *pieces, pause=0.05):
    with connect(port) as sock:
        for piece in pieces:
            sock.sendall(piece)
            time.sleep(pause)
        return sock.recv(65536)


def test_the_body_reaches_the_upstream_as_it_came(setup):
    squall, recorder = setup
    head = b"POST /pay HTTP/1.1\r\nHost: a\r\n"
    body = b'{"type": "cash"}'
    sized = [head + b"Content-Length: 16\r\n\r\n", body[:5], body[5:]]
    chunked = [
        head + b"Transfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n",
        b"5\r\n" + body[:5] + b"\r\n",
        b"b\r\n" + body[5:] + b"\r\n0\r\nx-sum: 1\r\n\r\n",
    ]
    for pieces in (sized, chunked):
        recorder.requests.clear()
        assert exchange(squall.port(), *pieces).startswith(b"HTTP/1.1 200 ")
        (seen,) = recorder.requests
        received, _, rest = seen.partition(b"\r\n\r\n")
        if pieces is sized:
            assert rest == body
        else:
            assert b"transfer-encoding: chunked" in received.lower()
            data, _, trailers = rest.rpartition(b"0\r\n")
            assert trailers == b"x-sum: 1\r\n\r\n"
            assert b"".join(data.split(b"\r\n")[1::2]) == body
    large = json.dumps({"type": "cash", "x": "y" * (3 << 20)}).encode()
    recorder.requests.clear()
    assert requests.post(squall.url("/pay"), data=large, timeout=60).status_code == 200
    assert recorder.requests[0].endswith(large)
    recorder.requests.clear()
    assert requests.post(squall.url("/pay"), data=iter([large[: 1 << 20], large[1 << 20 :]]), timeout=60).status_code == 200
    assert large[-1000:] in recorder.requests[0]


def test_a_client_that_waits_for_100_gets_it(setup):
    squall, recorder = setup
    head = b"POST /pay HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 16\r\n\r\n"
    for body, status in ((b'{"type": "cash"}', b"200"), (b'{"type": "card"}', b"521")):
        with connect(squall.port()) as sock:
            sock.sendall(head)
            assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(body)
            assert sock.recv(65536).split()[1] == status
    (seen,) = recorder.requests
    assert b"expect" not in seen.lower() and seen.endswith(b'{"type": "cash"}')
    # Where no rule needs the body, the upstream is asked.
    with connect(squall.port()) as sock:
        sock.sendall(head.replace(b"/pay", b"/other"))
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            sock.recv(65536)


def test_over_http2(setup):
    squall, recorder = setup
    client = H2Client(squall.port())
    for body, status in ((b'{"type": "card"}', 521), (b'{"type": "cash"}', 200)):
        stream = client.request("/pay", "POST", body)
        assert client.status(stream) == status
    assert b'{"type": "cash"}' in recorder.requests[-1]


def test_faults_on_request_bodies_act_on_what_was_read_ahead(setup):
    squall, _ = setup
    started = time.monotonic()
    assert requests.post(squall.url("/slow"), data=b"x" * 4096, timeout=60).status_code == 200
    assert time.monotonic() - started > 1.2


def test_a_client_that_leaves_or_sends_nonsense(setup):
    squall, recorder = setup
    head = b"POST /pay HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert exchange(squall.port(), head, b"zz\r\n").startswith(b"HTTP/1.1 400 ")
    with connect(squall.port()) as sock:
        sock.sendall(head + b"5\r\n{")
    assert requests.post(squall.url("/pay"), json={"type": "card"}, timeout=30).status_code == 521
    assert recorder.requests == []


def test_near_misses_and_explain_say_why(setup, tmp_path):
    squall, _ = setup
    api = f"{squall.admin}/api/v1"
    for data in (b"{type: card}", b'{"type": "cash"}', b'{"type": "card"}' + b" " * (1 << 20)):
        requests.post(squall.url("/pay"), data=data, timeout=30)
    time.sleep(0.2)
    entries = requests.get(f"{api}/journal", timeout=30).json()["requests"]
    near = [requests.get(f"{api}/journal/{entry['id']}", timeout=30).json()["near_misses"][0] for entry in entries]
    condition = 'body json `{"type":"card"}`: the body '
    assert [miss["rule"] for miss in near] == ["cards"] * 3
    assert near[0]["failed"] == [condition + "is not valid JSON: key must be a string at line 1 column 2"]
    assert near[1]["failed"] == [condition + "differs"]
    assert near[2]["failed"] == [condition + "is longer than the limit of 1MiB"]
    question = {"url": "/pay", "body": '{"type": "card"}'}
    explained = requests.post(f"{api}/explain", json=question, timeout=30).json()
    assert explained["rules"][0]["verdict"] == "hit"
    file = tmp_path / "squall.yaml"
    file.write_text(CONFIG.replace("PORT", "1"))
    for arguments, part in (
        (["-d", '{"type": "card"}', "/pay"], "responds with 521"),
        (["--", "curl", "-d", '{"type": "cash"}', "http://127.0.0.1/pay"], "the body differs"),
        (["--", "curl", "--json", "@file", "http://127.0.0.1/pay"], "the body is partly in a file"),
    ):
        told = command("explain", "-c", file, *arguments)
        assert part in told.stdout, told.stdout + told.stderr
    refused = requests.post(f"{api}/verify", json={"match": {"body": "x"}}, headers={"Accept": "application/json"}, timeout=30)
    assert refused.status_code == 422 and "keeps no bodies" in refused.text


def test_a_slow_body_is_passed_on_after_a_while(setup):
    squall, recorder = setup
    with connect(squall.port()) as sock:
        sock.sendall(b"POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 16\r\n\r\n" + b'{"type"')
        time.sleep(11)
        sock.sendall(b': "card"}')
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert recorder.requests[0].endswith(b'{"type": "card"}')


def test_same_seed_same_faults_whatever_the_framing(squall):
    config = """
seed: 5
listeners: {web: {address: 127.0.0.1:0, upstream: up}}
upstreams: {up: {fake: echo}}
rules:
  - name: half
    match: {body: {json: {a: 1}}}
    when: {percentage: 50}
    faults: [abort: 503]
"""

    def run(chunked):
        with httpx.Client(base_url=squall(config).url("")) as client:
            body = b'{"a": 1}'
            return [client.post("/", content=iter([body]) if chunked else body).status_code for _ in range(30)]

    first = run(False)
    assert first == run(True) and set(first) == {200, 503}
