"""Bodies are rewritten: whole new ones, replaced texts and JSON patches, of responses and of requests."""

import concurrent.futures
import hashlib
import json
import random
import socket
import time

import h2.events
import httpx
import pytest
import requests
import wire
from conftest import bodies_upstream
from squall import Squall

CATALOGUE = {"items": [{"id": 1, "price": 10}, {"id": 2, "price": 20}], "note": "café"}
NATURAL = json.dumps(CATALOGUE).encode()
BIG = random.Random(3).randbytes(5_000_000)

RULES = {
    "text": "rewrite: {body: new text}",
    "json": "rewrite: {json: {ok: [1, null]}}",
    "typed": 'rewrite: {body: "a,b", headers: {set: {content-type: text/csv, etag: \'"mine"\'}}}',
    "file": "rewrite: {file: new.json}",
    "prices": "rewrite: {replace: [{find: '\"price\": *(\\d+)', with: '\"price\":-$1'}]}",
    "several": "rewrite: {replace: [{find: '\\$(\\d)', with: '$1$$'}, {find: '(?i)AND', with: or}, {find: '30', with: '$${0}0'}]}",
    "patch": "rewrite: {json_patch: [{op: test, path: /items/0/id, value: 1}, {op: add, path: /items/-, value: {id: 3}},"
    " {op: replace, path: /items/1/price, value: null}, {op: remove, path: /note}, {op: copy, from: /items/0, path: /first}]}",
    "missing": "rewrite: {json_patch: [{op: remove, path: /items}, {op: replace, path: /nowhere, value: 1}]}",
    "both": "rewrite: {replace: [{find: '10', with: '11'}], json_patch: [{op: remove, path: /note}]}",
    "nothing": "rewrite: {replace: [{find: zebra, with: horse}]}",
    "status": "rewrite: {status: 418, body: short and stout, headers: {add: {x-more: '1'}}}",
    "tiny": "rewrite: {replace: [{find: '.', with: x}], limit: 10B}",
    "wide": "rewrite: {replace: [{find: '(?s-u).$', with: '!'}], limit: 8MiB}",
    "ask-text": "rewrite: {request: {body: asked}}",
    "ask-json": "rewrite: {request: {json: [1, 2]}}",
    "ask-replace": "rewrite: {request: {replace: [{find: l+, with: L}]}}",
    "ask-patch": "rewrite: {request: {json_patch: [{op: add, path: /b, value: 2}]}}",
    "ask-head": "rewrite: {request: {body: asked, headers: {set: {content-type: text/x-mine}}}, json: {answered: true}}",
    # Together with faults that shape bytes.
    "paced": "rewrite: {file: long.txt}, bandwidth: 64KiB/s",
    "half": "rewrite: {replace: [{find: x, with: yy}]}, truncate: {after: 50%, end: clean}",
    "broken": "rewrite: {file: long.txt}, truncate: 50%",
    "lying": "rewrite: {body: new text}, corrupt: {malformed: content-length}",
    "untouched-half": "rewrite: {json_patch: [{op: remove, path: /nowhere}]}, truncate: {after: 50%, end: clean}",
    "ask-paced": "rewrite: {request: {file: long.txt}}, bandwidth: {request: 64KiB/s}",
    "ask-both": "rewrite: {request: {replace: [{find: x, with: yy}]}}, truncate: {after: 50%, end: clean, direction: request}",
}
LONG = bytes(range(32, 127)) * 1024  # 95 KiB


def rules(names=RULES):
    lines = [f"  - {{name: {name}, match: {{headers: {{x-do: {name}}}}}, faults: [{RULES[name]}]}}" for name in names]
    two = "  - {name: second, match: {headers: {x-two: present}}, faults: [rewrite: {replace: [{find: text, with: words}]}]}"
    slow = "  - {name: later, match: {headers: {x-late: present}}, faults: [delay: {fixed: 50ms, before: response}]}"
    return "\n".join(["rules:", *lines, two, slow, ""])


def start(folder, upstream):
    # Relative paths start at the configuration's folder.
    (folder / "new.json").write_text('{"from": "file"}')
    (folder / "long.txt").write_bytes(LONG)
    return Squall(
        f"listeners: {{web: {{address: 127.0.0.1:0, upstream: real}}}}\nupstreams: {{real: {upstream}}}\n{rules()}", folder
    )


@pytest.fixture(scope="module", params=["h1", "h2c"])
def running(request, tmp_path_factory):
    """One squall in front of one upstream, for all tests here."""
    folder = tmp_path_factory.mktemp(request.param)
    with bodies_upstream(folder, request.param) as (port, upstream):
        squall = start(folder, f"{{{upstream}}}")
        squall.upstream, squall.upstream_port = request.param, port
        yield squall
        squall.kill()


@pytest.fixture
def proxied(running):
    running.before = running.metrics()
    return running


@pytest.fixture
def fake(tmp_path):
    squall = start(tmp_path, "{fake: echo}")
    squall.before = squall.metrics()
    yield squall
    squall.kill()


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
def client(request):
    """A function that makes a client for a squall; over HTTP/2 with prior knowledge."""
    clients = []

    def make(squall):
        old = request.param == "HTTP/1.1"
        one = httpx.Client(base_url=squall.url(""), http1=old, http2=not old, timeout=30)
        one.headers["accept-encoding"] = "identity"
        clients.append(one)
        return one

    yield make
    for one in clients:
        one.close()


def counted(squall, name, **labels):
    """How much a counter has risen since the test began."""
    return squall.metrics().sum(name, **labels) - squall.before.sum(name, **labels)


def skipped(squall, rule, reason):
    return counted(squall, "squall_faults_skipped_total", rule=rule, fault="rewrite", reason=reason)


def injected(squall, rule):
    return counted(squall, "squall_faults_injected_total", rule=rule, fault="rewrite")


def exact(answer):
    """The length is stated, and it is the right one."""
    assert answer.headers["content-length"] == str(len(answer.content)), answer.headers
    assert "transfer-encoding" not in answer.headers
    return answer


def fault_of(answer):
    return [field for field in answer.headers.get_list("squall-fault") if "fault=rewrite" in field and "skipped=" not in field]


# Whole new bodies


@pytest.mark.parametrize("path", ["/json", "/chunked", "/gzip", "/text", "/big", "/big-chunked", "/empty", "/events", "/forever"])
def test_a_whole_new_body_replaces_any(proxied, client, path):
    client = client(proxied)
    began = time.monotonic()
    for _ in range(2):  # over the same connection
        answer = exact(client.get(path, headers={"x-do": "json"}))
        assert answer.json() == {"ok": [1, None]}
        assert answer.headers["content-type"] == "application/json"
        assert "content-encoding" not in answer.headers
        assert len(fault_of(answer)) == 1
    limit = 30 if path == "/forever" else 8
    assert time.monotonic() - began < limit
    assert injected(proxied, "json") == 2


def test_fields_that_speak_of_the_old_bytes_go(proxied, client):
    client = client(proxied)
    answer = exact(client.get("/json", headers={"x-do": "text"}))
    assert answer.text == "new text"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-kept"] == "yes"
    assert "etag" not in answer.headers
    assert "content-md5" not in answer.headers
    # What the user sets stays.
    answer = exact(client.get("/json", headers={"x-do": "typed"}))
    assert (answer.text, answer.headers["content-type"], answer.headers["etag"]) == ("a,b", "text/csv", '"mine"')


def test_a_file_and_a_status(proxied, client):
    client = client(proxied)
    answer = exact(client.get("/json", headers={"x-do": "file"}))
    assert answer.json() == {"from": "file"}
    assert answer.headers["content-type"] == "application/json"
    answer = exact(client.get("/204", headers={"x-do": "status"}))
    assert (answer.status_code, answer.text, answer.headers["x-more"]) == (418, "short and stout", "1")
    assert len(fault_of(answer)) == 1
    assert injected(proxied, "status") == 1


def test_head_gets_the_fields_of_the_new_body(proxied, client):
    client = client(proxied)
    answer = client.head("/json", headers={"x-do": "text"})
    assert answer.headers["content-length"] == str(len("new text"))
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.content == b""
    assert client.get("/json", headers={"x-do": "text"}).text == "new text"
    natural = client.head("/json")
    answer = client.head("/json", headers={"x-do": "prices"})
    assert answer.headers.get("content-length") == natural.headers.get("content-length")
    assert answer.headers["etag"] == '"natural"'
    assert skipped(proxied, "prices", "no body") == 1


# Edits


@pytest.mark.parametrize("path", ["/json", "/chunked"])
def test_replacing_and_patching(proxied, client, path):
    client = client(proxied)
    answer = exact(client.get(path, headers={"x-do": "prices"}))
    assert [item["price"] for item in answer.json()["items"]] == [-10, -20]
    assert answer.headers["content-type"] == "application/json"
    assert "etag" not in answer.headers
    answer = exact(client.get(path, headers={"x-do": "patch"}))
    first, second, third = answer.json()["items"]
    assert (first, second, third) == ({"id": 1, "price": 10}, {"id": 2, "price": None}, {"id": 3})
    assert "note" not in answer.json()
    assert answer.json()["first"] == {"id": 1, "price": 10}
    answer = exact(client.get(path, headers={"x-do": "both"}))
    assert answer.json() == {"items": [{"id": 1, "price": 11}, {"id": 2, "price": 20}]}
    assert [injected(proxied, rule) for rule in ("prices", "patch", "both")] == [1, 1, 1]


def test_several_replacements_in_order(proxied, client):
    answer = exact(client(proxied).get("/text", headers={"x-do": "several"}))
    assert answer.text == "1$0 or 2$0, not 300\n"


def test_two_rules_one_after_the_other(proxied, client):
    answer = exact(client(proxied).get("/gzip", headers={"x-do": "text", "x-two": "1"}))
    assert answer.text == "new words"
    assert len(fault_of(answer)) == 2


def test_with_a_delay(proxied, client):
    began = time.monotonic()
    answer = exact(client(proxied).get("/json", headers={"x-do": "prices", "x-late": "1"}))
    assert answer.json()["items"][0]["price"] == -10
    assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize(
    ("rule", "path", "reason"),
    [
        ("prices", "/gzip", "encoded"),
        ("patch", "/text", "not JSON"),
        ("missing", "/json", "patch failed"),
        ("missing", "/chunked", "patch failed"),
        ("nothing", "/json", "no match"),
        ("nothing", "/chunked", "no match"),
        ("nothing", "/204", "no body"),
        ("nothing", "/304", "no body"),
        ("nothing", "/empty", "no body"),
        ("text", "/206", "partial content"),
        ("tiny", "/json", "body too large"),
        ("tiny", "/chunked", "body too large"),
        ("prices", "/big", "body too large"),
        ("prices", "/big-chunked", "body too large"),
    ],
)
def test_bodies_that_cannot_be_edited_pass_untouched(proxied, client, rule, path, reason):
    client = client(proxied)
    natural = client.get(path)
    for number in (1, 2):
        answer = client.get(path, headers={"x-do": rule})
        assert answer.status_code == natural.status_code
        assert hashlib.sha256(answer.content).digest() == hashlib.sha256(natural.content).digest()
        kept = ["etag", "content-length", "transfer-encoding", "content-type", "content-encoding", "content-md5"]
        assert [answer.headers.get(name) for name in kept] == [natural.headers.get(name) for name in kept]
        assert fault_of(answer) == []
        assert skipped(proxied, rule, reason) == number
    assert injected(proxied, rule) == 0


def test_a_larger_limit(proxied, client):
    answer = exact(client(proxied).get("/big-chunked", headers={"x-do": "wide"}))
    assert answer.content == BIG[:-1] + b"!"


def test_events_are_not_held(proxied, client):
    with client(proxied).stream("GET", "/events", headers={"x-do": "prices"}) as answer:
        began = time.monotonic()
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(3)] == ["data: 0", "", "data: 1"]
        assert time.monotonic() - began < 5
    assert skipped(proxied, "prices", "a stream") == 1


def test_a_slow_body_is_let_go(proxied, client):
    """Its first part is held for 10 s, and not until its end at 12 s and more."""
    began = time.monotonic()
    with client(proxied).stream("GET", "/slow", headers={"x-do": "patch"}) as answer:
        pieces = answer.iter_bytes()
        first = next(pieces)
        assert 9.5 < time.monotonic() - began < 15
        assert json.loads(first + b"".join(pieces)) == {"first": 1, "second": 2, "third": 3}
    assert skipped(proxied, "patch", "body too slow") == 1


def test_a_broken_body_stays_broken(proxied, client):
    client = client(proxied)
    received = b""
    with pytest.raises(httpx.RemoteProtocolError):
        with client.stream("GET", "/broken", headers={"x-do": "nothing"}) as answer:
            assert answer.status_code == 200
            for piece in answer.iter_bytes():
                received += piece
    assert received == b"x" * 100 or received == b""
    assert skipped(proxied, "nothing", "body broke off") == 1


def test_trailers_stay(running):
    if running.upstream == "h1":
        pytest.skip("the upstream has none")
    for rule, wanted in [("text", b"new text"), ("nothing", NATURAL)]:
        one = wire.H2Client(running.port())
        stream = one.h2.get_next_available_stream_id()
        pseudo = [(":method", "GET"), (":path", "/trailers"), (":scheme", "http"), (":authority", "test"), ("x-do", rule)]
        one.h2.send_headers(stream, pseudo, end_stream=True)
        one.flush()
        trailers = one.wait_for(h2.events.TrailersReceived, stream)
        assert ("x-sum", "12") in trailers.headers
        body = b"".join(event.data for event in one.events if isinstance(event, h2.events.DataReceived))
        assert body == wanted
        one.close()


# Together with faults that shape bytes


def names_of(answer):
    return [field.split("fault=")[1].split(",")[0] for field in answer.headers.get_list("squall-fault") if "skipped=" not in field]


def test_a_new_body_is_paced(proxied, client):
    client = client(proxied)
    for _ in range(2):  # over the same connection
        began = time.monotonic()
        answer = exact(client.get("/json", headers={"x-do": "paced"}))
        assert answer.content == LONG
        assert 1.2 < time.monotonic() - began < 10  # 95 KiB at 64 KiB/s
        assert sorted(names_of(answer)) == ["bandwidth", "rewrite"]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_half_of_a_new_body(proxied, client, chunked):
    client = client(proxied)
    path = "/chunked" if chunked else "/json"
    answer = exact(client.get(path, headers={"x-do": "untouched-half"})) if not chunked else None
    if answer is not None:  # the rewrite was skipped, the cut was not
        assert answer.content == NATURAL[: len(NATURAL) // 2]
        assert names_of(answer) == ["truncate"]
        assert skipped(proxied, "untouched-half", "patch failed") == 1
    # The mirror says what it got, with an x in "x-do".
    natural = client.post("/mirror", content=b"xx", headers={"x-do": "none"})
    answer = exact(client.post("/mirror", content=b"xx", headers={"x-do": "half"}))
    assert abs(len(answer.content) - len(natural.content) // 2) < 20
    assert b"yyyy" not in natural.content
    assert names_of(answer) == ["rewrite", "truncate"]
    assert client.get("/json").json() == CATALOGUE


def test_a_new_body_breaks_off(proxied, client):
    client = client(proxied)
    received = b""
    with pytest.raises(httpx.RemoteProtocolError):
        with client.stream("GET", "/chunked", headers={"x-do": "broken"}) as answer:
            for piece in answer.iter_bytes():
                received += piece
    assert received == LONG[: len(received)]
    assert len(received) <= len(LONG) // 2
    assert answer.headers["content-length"] == str(len(LONG))
    assert client.get("/json").json() == CATALOGUE


def test_a_new_body_with_a_wrong_length(proxied):
    with socket.create_connection(("127.0.0.1", proxied.port()), timeout=30) as sock:
        sock.sendall(b"GET /json HTTP/1.1\r\nhost: test\r\nx-do: lying\r\n\r\n")
        received = wire.read_to_end(sock)
    head, _, body = received.partition(b"\r\n\r\n")
    assert body == b"new text"
    length = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    assert len(length) == 1
    assert int(length[0]) != 8


def test_a_new_request_body_is_paced(proxied, client):
    client = client(proxied)
    for body in (b"", b"old", b"o" * 3_000_000):
        began = time.monotonic()
        answer = client.post("/mirror", content=body, headers={"x-do": "ask-paced"})
        assert answer.json()["body"].encode() == LONG
        assert 1.2 < time.monotonic() - began < 10
        assert sorted(names_of(answer)) == ["bandwidth", "rewrite"]


def test_half_of_a_new_request_body(proxied, client):
    answer = client(proxied).post("/mirror", content=b"axa", headers={"x-do": "ask-both"})
    assert mirrored(answer)["body"] == "ay"
    assert mirrored(answer)["headers"]["content-length"] == "2"


# Requests


def mirrored(answer):
    seen = answer.json()
    seen["headers"] = {name.lower(): value for name, value in seen["headers"].items()}
    return seen


@pytest.mark.parametrize(
    ("rule", "body", "wanted"),
    [
        ("ask-text", b"old", "asked"),
        ("ask-text", b"", "asked"),
        ("ask-text", b"x" * 3_000_000, "asked"),
        ("ask-json", b"old", "[1,2]"),
        ("ask-replace", b"hello world", "heLo worLd"),
        ("ask-replace", b"l" * 200_000, "L"),
        ("ask-patch", b'{"a": 1}', '{"a":1,"b":2}'),
    ],
)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_request_bodies(proxied, client, rule, body, wanted, chunked):
    client = client(proxied)
    for number in (1, 2):  # over the same connection
        content = iter([body[:5], body[5:]]) if chunked else body
        answer = client.post("/mirror", content=content, headers={"x-do": rule, "content-type": "text/x-old"})
        assert answer.status_code == 200, answer.text
        seen = mirrored(answer)
        assert seen["body"] == wanted
        assert seen["headers"]["content-length"] == str(len(wanted))
        assert "transfer-encoding" not in seen["headers"]
        assert len(fault_of(answer)) == 1
        assert injected(proxied, rule) == number


def test_a_get_request_gets_a_body(proxied, client):
    answer = client(proxied).get("/mirror", headers={"x-do": "ask-head"})
    assert answer.json() == {"answered": True}
    seen = requests.get(f"http://127.0.0.1:{proxied.upstream_port}/seen", timeout=10).json()[-1] if proxied.upstream == "h1" else None
    if seen:
        method, _, headers, digest, length = seen
        assert (method, length, digest) == ("GET", 5, hashlib.sha256(b"asked").hexdigest())
        assert headers["content-type"] == "text/x-mine"
    assert injected(proxied, "ask-head") == 1


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_large_request_bodies_pass_untouched(proxied, client, chunked):
    client = client(proxied)
    for number in (1, 2):
        content = iter([BIG[i : i + 100_003] for i in range(0, len(BIG), 100_003)]) if chunked else BIG
        answer = client.post("/mirror", content=content, headers={"x-do": "ask-replace"})
        assert hashlib.sha256(mirrored(answer)["body"].encode("latin-1")).digest() == hashlib.sha256(BIG).digest()
        assert skipped(proxied, "ask-replace", "body too large") == number
    assert injected(proxied, "ask-replace") == 0


def test_request_bodies_that_cannot_be_edited(proxied, client):
    client = client(proxied)
    # An encoding that the upstream does not undo by itself.
    answer = client.post("/mirror", content=b"hello", headers={"x-do": "ask-replace", "content-encoding": "identity, aes128gcm"})
    assert mirrored(answer)["body"] == "hello"
    answer = client.post("/mirror", content=b"{", headers={"x-do": "ask-patch"})
    assert mirrored(answer)["body"] == "{"
    assert client.get("/mirror", headers={"x-do": "ask-patch"}).json()["body"] == ""
    assert skipped(proxied, "ask-replace", "encoded") == 1
    assert skipped(proxied, "ask-patch", "not JSON") == 1
    assert skipped(proxied, "ask-patch", "no body") == 1


def test_100_continue(proxied):
    with socket.create_connection(("127.0.0.1", proxied.port()), timeout=30) as sock:
        head = "POST /mirror HTTP/1.1\r\nhost: test\r\nx-do: ask-replace\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
        sock.sendall(head.encode())
        assert sock.recv(65536).startswith(b"HTTP/1.1 100")
        sock.sendall(b"hello")
        received = b""
        while b'"body": "heLo"' not in received:
            piece = sock.recv(65536)
            assert piece, received
            received += piece
        assert b"HTTP/1.1 200" in received


def test_a_client_that_leaves_while_it_sends(proxied):
    with socket.create_connection(("127.0.0.1", proxied.port()), timeout=30) as sock:
        sock.sendall(b"POST /mirror HTTP/1.1\r\nhost: test\r\nx-do: ask-replace\r\ncontent-length: 50\r\n\r\nhalf")
        time.sleep(0.2)
        wire.leave_with_reset(sock)
    deadline = time.monotonic() + 10
    while counted(proxied, "squall_clients_gone_total") < 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert injected(proxied, "ask-replace") == 0


def test_many_at_once(proxied):
    def one(number):
        with httpx.Client(base_url=proxied.url(""), timeout=60) as client:
            for turn in range(5):
                answer = client.post("/mirror", content=f"{number}l{turn}".encode(), headers={"x-do": "ask-replace"})
                assert mirrored(answer)["body"] == f"{number}L{turn}"
                answer = exact(client.get("/chunked", headers={"x-do": "prices"}))
                assert answer.json()["items"][1]["price"] == -20
        return True

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert all(pool.map(one, range(20)))
    assert injected(proxied, "prices") == 100


# Fakes


def test_fakes(fake, client):
    client = client(fake)
    answer = exact(client.post("/a", content=b"hello", headers={"x-do": "ask-replace"}))
    assert answer.json()["body"] == "heLo"
    answer = exact(client.post("/a", content=iter([b"hel", b"lo"]), headers={"x-do": "ask-replace"}))
    assert answer.json()["body"] == "heLo"
    answer = exact(client.get("/a", headers={"x-do": "text"}))
    assert (answer.text, answer.headers["content-type"]) == ("new text", "text/plain; charset=utf-8")
    assert client.head("/a", headers={"x-do": "text"}).headers["content-length"] == "8"
    big = b"y" * 3_000_000
    answer = client.post("/a", content=big, headers={"x-do": "ask-replace"})
    assert answer.json()["body_bytes"] == len(big)
    assert skipped(fake, "ask-replace", "body too large") == 1
    answer = client.post("/a", content=big, headers={"x-do": "ask-text"})
    assert answer.json()["body"] == "asked"
    answer = client.post("/a", content=big, headers={"x-do": "prices"})
    assert answer.json()["body_bytes"] == len(big)
    assert skipped(fake, "prices", "body too large") == 1
    answer = exact(client.get("/a", headers={"x-do": "status"}))
    assert (answer.status_code, answer.text) == (418, "short and stout")


def test_fakes_with_shaped_bodies(fake, client):
    client = client(fake)
    began = time.monotonic()
    answer = exact(client.get("/a", headers={"x-do": "paced"}))
    assert answer.content == LONG
    assert time.monotonic() - began > 1.2
    assert sorted(names_of(answer)) == ["bandwidth", "rewrite"]
    began = time.monotonic()
    answer = client.post("/a", content=b"old", headers={"x-do": "ask-paced"})
    assert answer.json()["body"].encode() == LONG
    assert time.monotonic() - began > 1.2
    answer = client.post("/a", content=b"axa", headers={"x-do": "ask-both"})
    assert answer.json()["body"] == "ay"


def test_shadow_rules_change_nothing(squall):
    config = "listeners: {web: {address: 127.0.0.1:0, upstream: e}}\nupstreams: {e: {fake: echo}}\nrules:\n"
    config += "  - {name: r, shadow: true, faults: [rewrite: {body: x, request: {body: y}}, duplicate: {}]}\n"
    running = squall(config)
    answer = requests.post(running.url("/"), data="hello", timeout=10)
    assert answer.json()["body"] == "hello"
    metrics = running.metrics()
    assert metrics.sum("squall_faults_injected_total", rule="r") == 0
    assert metrics.sum("squall_faults_shadowed_total", rule="r") == 2
