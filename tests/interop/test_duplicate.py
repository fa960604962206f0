"""`duplicate: {}`: the upstream gets the whole request twice, and the client the second answer."""

import concurrent.futures
import hashlib
import socket
import time

import grpc
import httpx
import pytest
import requests
import wire
from conftest import bodies_upstream, free_port
from squall import Squall, eventually

RULES = """
bounds: {delay: 5s}
rules:
  - {name: twice, match: {headers: {x-do: twice}}, faults: [duplicate: {}]}
  - {name: thrice, match: {headers: {x-do: thrice}}, faults: [duplicate: {}, duplicate: {}]}
  - {name: small, match: {headers: {x-do: small}}, faults: [duplicate: {limit: 10B}]}
  - name: changed
    match: {headers: {x-do: changed}}
    faults: [duplicate: {}, rewrite: {request: {replace: [{find: l+, with: L}], headers: {set: {x-mine: "1"}}}}]
  - {name: slowed, match: {headers: {x-do: slowed}}, faults: [duplicate: {}, bandwidth: {request: 100KiB/s}]}
"""


@pytest.fixture(scope="module", params=["h1", "h2c"])
def running(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    with bodies_upstream(folder, request.param) as (port, upstream):
        squall = Squall(
            f"listeners:\n  web: {{address: 127.0.0.1:0, upstream: real}}\n  fake: {{address: 127.0.0.1:0, upstream: fake}}\n"
            f"upstreams:\n  real: {{{upstream}, host: upstream}}\n  fake: {{fake: test-api}}\n{RULES}",
            folder,
        )
        squall.upstream, squall.upstream_port = request.param, port
        yield squall
        squall.kill()


@pytest.fixture
def squall(running):
    running.before = running.metrics()
    running.seen_before = len(seen(running))
    return running


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
def client(request, squall):
    old = request.param == "HTTP/1.1"
    with httpx.Client(base_url=squall.url(""), http1=old, http2=not old, timeout=30) as one:
        yield one


def seen(squall):
    """All requests that the upstream got: method, path, headers, digest and length of the body."""
    return httpx.get(squall.url("/seen"), timeout=10).json()


def news(squall):
    return seen(squall)[squall.seen_before :]


def counted(squall, name, **labels):
    return squall.metrics().sum(name, **labels) - squall.before.sum(name, **labels)


def injected(squall, rule):
    return counted(squall, "squall_faults_injected_total", rule=rule, fault="duplicate")


def skipped(squall, rule, reason):
    return counted(squall, "squall_faults_skipped_total", rule=rule, fault="duplicate", reason=reason)


@pytest.mark.parametrize("body", [b"", b"hello", b"x" * 1_000_000], ids=["empty", "short", "long"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_the_upstream_gets_it_twice(squall, client, body, chunked):
    for number in (1, 2):  # over the same connection
        content = iter([body[:3], body[3:]]) if chunked else body
        answer = client.post("/mirror?a=%20b", content=content, headers={"x-do": "twice", "x-other": "kept"})
        assert answer.status_code == 200, answer.text
        got = news(squall)
        assert len(got) == 2 * number
        first, second = got[-2:]
        for method, path, headers, digest, length in (first, second):
            assert (method, path, length) == ("POST", "/mirror?a=%20b", len(body))
            assert digest == hashlib.sha256(body).hexdigest()
            assert headers["x-other"] == "kept"
        # The client got the second one.
        assert answer.json()["number"] == squall.seen_before + 2 * number
        same = {name: value for name, value in first[2].items() if name not in ("content-length", "transfer-encoding")}
        assert same == {name: value for name, value in second[2].items() if name not in ("content-length", "transfer-encoding")}
        fields = [field for field in answer.headers.get_list("squall-fault") if "fault=duplicate" in field]
        assert len(fields) == 1
        assert injected(squall, "twice") == number


def test_get_and_without(squall, client):
    assert client.get("/json", headers={"x-do": "twice"}).status_code == 200
    assert client.head("/json", headers={"x-do": "twice"}).status_code == 200
    assert [method for method, *_ in news(squall)] == ["GET", "GET", "HEAD", "HEAD"]
    client.get("/json")
    assert len(news(squall)) == 5


def test_two_copies(squall, client):
    assert client.post("/mirror", content=b"a", headers={"x-do": "thrice"}).status_code == 200
    assert len(news(squall)) == 3


def test_copies_are_no_requests_of_their_own(squall, client):
    before = squall.metrics().sum("squall_requests_total")
    client.post("/mirror", content=b"a", headers={"x-do": "twice"})
    # One, and the one of `seen` in the fixture's reading comes before.
    eventually(lambda: squall.metrics().sum("squall_requests_total"), before + 1)


def test_with_a_rewritten_body(squall, client):
    answer = client.post("/mirror", content=b"hello", headers={"x-do": "changed"})
    assert answer.json()["body"] == "heLo"
    first, second = news(squall)
    assert first[3] == second[3] == hashlib.sha256(b"heLo").hexdigest()
    assert first[2]["x-mine"] == second[2]["x-mine"] == "1"
    assert first[2]["content-length"] == second[2]["content-length"] == "4"


def test_with_a_slow_request(squall, client):
    """Only what comes after the copy is slow: 100 KiB take 1 s, less the shaper's first piece."""
    body = b"y" * 102_400
    began = time.monotonic()
    answer = client.post("/mirror", content=body, headers={"x-do": "slowed"})
    assert answer.json()["body"] == body.decode()
    assert time.monotonic() - began > 0.7
    assert [length for *_, length in news(squall)] == [len(body)] * 2
    answer = client.post("/mirror", content=b"z", headers={"x-do": "twice"})
    assert answer.json()["body"] == "z"


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_large_bodies_go_once(squall, client, chunked):
    body = b"0123456789a" * 300_000
    for number in (1, 2):
        content = iter([body[:100_000], body[100_000:]]) if chunked else body
        answer = client.post("/mirror", content=content, headers={"x-do": "small"})
        assert answer.status_code == 200
        assert [digest for _, _, _, digest, _ in news(squall)] == [hashlib.sha256(body).hexdigest()] * number
        assert skipped(squall, "small", "body too large") == number
    assert client.post("/mirror", content=b"0123456789", headers={"x-do": "small"}).status_code == 200
    assert injected(squall, "small") == 1
    assert len(news(squall)) == 4


def test_a_failing_first_time_does_not_matter(squall, client):
    """The first answer breaks off; so does the second, which is the client's."""
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/broken", headers={"x-do": "twice"})
    assert len(news(squall)) == 2
    assert injected(squall, "twice") == 1
    assert client.get("/503", headers={"x-do": "twice"}).status_code == 503
    assert len(news(squall)) == 4


def test_an_endless_first_answer_is_cut(squall, client):
    began = time.monotonic()
    with client.stream("GET", "/events", headers={"x-do": "twice"}) as answer:
        assert next(answer.iter_lines()) == "data: 0"
        assert 4.5 < time.monotonic() - began < 15
    assert len(news(squall)) == 2


def test_an_upstream_that_is_not_there(tmp_path):
    squall = Squall(
        f"listeners: {{web: {{address: 127.0.0.1:0, upstream: real}}}}\n"
        f"upstreams: {{real: {{url: 'http://127.0.0.1:{free_port()}'}}}}\n{RULES}",
        tmp_path,
    )
    try:
        squall.before = squall.metrics()
        answer = requests.post(squall.url("/"), data="a", headers={"x-do": "twice"}, timeout=30)
        assert answer.status_code in (502, 503)
        assert injected(squall, "twice") == 0
        assert skipped(squall, "twice", "not sent") == 1
    finally:
        squall.kill()


def test_upgrades_go_once(squall):
    key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    with socket.create_connection(("127.0.0.1", squall.port()), timeout=30) as sock:
        sock.sendall(f"GET /mirror HTTP/1.1\r\nHost: test\r\nX-Do: twice\r\n{key}\r\n".encode())
        assert sock.recv(65536)
    assert skipped(squall, "twice", "upgraded") == 1
    assert injected(squall, "twice") == 0


def test_a_client_that_leaves_meanwhile(squall):
    """While the copy's endless answer is read, the client leaves; the request itself is never sent."""
    with socket.create_connection(("127.0.0.1", squall.port()), timeout=30) as sock:
        sock.sendall(b"GET /forever HTTP/1.1\r\nHost: test\r\nX-Do: twice\r\n\r\n")
        time.sleep(0.5)
        wire.leave_with_reset(sock)
    deadline = time.monotonic() + 4
    while counted(squall, "squall_clients_gone_total") < 1:
        assert time.monotonic() < deadline, "the client's leaving went unnoticed"
        time.sleep(0.05)
    assert len(news(squall)) == 1


def test_many_at_once(squall):
    def one(number):
        with httpx.Client(base_url=squall.url(""), timeout=60) as client:
            for turn in range(5):
                body = f"{number} {turn}"
                answer = client.post("/mirror", content=body.encode(), headers={"x-do": "twice"})
                assert answer.json()["body"] == body
        return True

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(16)))
    digests = sorted(digest for _, _, _, digest, _ in news(squall))
    wanted = [hashlib.sha256(f"{number} {turn}".encode()).hexdigest() for number in range(16) for turn in range(5)]
    assert digests == sorted(wanted * 2)
    assert injected(squall, "twice") == 80


def test_grpc(tmp_path):
    """A unary call is made twice."""
    calls = []

    def answer(request, context):
        calls.append((request, dict(context.invocation_metadata())))
        context.set_trailing_metadata((("x-number", str(len(calls))),))
        return request + str(len(calls)).encode()

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    handler = grpc.method_handlers_generic_handler("test.Test", {"Call": grpc.unary_unary_rpc_method_handler(answer)})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    squall = Squall(
        f"listeners: {{web: {{address: 127.0.0.1:0, upstream: real}}}}\n"
        f"upstreams: {{real: {{url: 'http://127.0.0.1:{port}', protocol: h2c}}}}\n{RULES}",
        tmp_path,
    )
    try:
        squall.before = squall.metrics()
        with grpc.insecure_channel(f"127.0.0.1:{squall.port()}") as channel:
            call = channel.unary_unary("/test.Test/Call")
            answer, ending = call.with_call(b"a", metadata=(("x-do", "twice"),), timeout=30)
            assert answer == b"a2"
            assert ("x-number", "2") in [(field.key, field.value) for field in ending.trailing_metadata()]
            assert call(b"b", timeout=30) == b"b3"
        assert [request for request, _ in calls] == [b"a", b"a", b"b"]
        assert injected(squall, "twice") == 1
    finally:
        squall.kill()
        server.stop(None)


def test_hop_by_hop_fields_stay_behind(squall):
    head = "GET /mirror HTTP/1.1\r\nHost: test\r\nX-Do: twice\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nX-End: 2\r\n\r\n"
    with socket.create_connection(("127.0.0.1", squall.port()), timeout=30) as sock:
        sock.sendall(head.encode())
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
    first, second = (headers for _, _, headers, *_ in news(squall))
    assert "x-hop" not in first
    assert first["x-end"] == "2"
    assert first == second


def test_fakes(squall):
    """A creation happens twice."""
    with httpx.Client(base_url=squall.url("/api/v1", listener="fake"), timeout=30) as client:
        title = f"twice over {squall.upstream}"

        def count():
            listed = client.get("/todo/list", params={"limit": 100}).text
            return listed.count(title)

        assert client.post("/todo/create/", json={"title": title}).status_code < 300
        assert count() == 1
        answer = client.post("/todo/create/", json={"title": title}, headers={"x-do": "twice"})
        assert answer.status_code < 300
        assert count() == 3
    assert injected(squall, "twice") == 1
