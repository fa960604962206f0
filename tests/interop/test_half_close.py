"""A client that closes its sending side behind its request gets the response (RFC 9112, section 9.6), whatever happens on the
way; one that closes both sides is gone. Python's `shutdown` is what `nc -N` does."""

import threading
import time
from contextlib import closing

import flow
import pytest
import wire
from scripted import Answer, Upstream
from squall import Squall, eventually

RULES = {
    "abort": "[{abort: {status: 503, body: busy}}]",
    "late": "[{delay: 300ms}]",
    "late-response": "[{delay: {fixed: 300ms, before: response}}]",
    "slow": "[{bandwidth: 100KiB/s}]",
    "dribble": "[{dribble: {chunk: 1KiB, gap: 5ms}}]",
    "twice": "[{duplicate: {}}]",
    "cut-status": "[{corrupt: {malformed: status-line}}]",
    "hang": "[{hang: {}}]",
    "stall": "[{stall: 1KiB}]",
    "refuse": "[{abort: 429}]",
}
BODY = b"b" * 40_000


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    upstream = Upstream()
    rules = "\n".join(f"  - {{name: {name}, match: {{headers: {{x-fault: {name}}}}}, faults: {faults}}}" for name, faults in RULES.items())
    squall = Squall(
        f"""
listeners: {{web: {{address: 127.0.0.1:0, upstream: only}}}}
upstreams: {{only: {{url: 'http://127.0.0.1:{upstream.port}'}}}}
rules:
{rules}
""",
        tmp_path_factory.mktemp("half"),
    )
    squall.upstream = upstream
    yield squall
    squall.kill()
    upstream.stop()


@pytest.fixture
def squall(bench):
    bench.upstream.answers.clear()
    bench.upstream.seen.clear()
    bench.upstream.otherwise = Answer(pieces=[BODY])
    bench.before = bench.metrics()
    return bench


def gone(squall):
    return squall.metrics().sum("squall_clients_gone_total") - squall.before.sum("squall_clients_gone_total")


def counted(squall, status):
    def labels(metrics):
        return metrics.sum("squall_requests_total", status=str(status))

    return labels(squall.metrics()) - labels(squall.before)


def half_closed(squall, sent):
    client = flow.H1(squall.port())
    client.link.write(sent)
    client.link.finish()
    return client


def asks(fault, body=b""):
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"POST /a HTTP/1.1\r\nHost: test\r\nx-fault: {fault}\r\n{length}\r\n".encode() + body


@pytest.mark.parametrize("size", [0, 10, 5_000, 100_000])
@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        ("none", 200, BODY),
        ("abort", 503, b"busy"),
        ("late", 200, BODY),
        ("late-response", 200, BODY),
        ("slow", 200, BODY),
        ("dribble", 200, BODY),
        ("twice", 200, BODY),
    ],
)
def test_it_gets_its_response(squall, fault, status, body, size):
    with closing(half_closed(squall, asks(fault, b"a" * size))) as client:
        answer = client.receive(seconds=10)
        assert (answer.status, answer.end, bytes(answer.body)) == (status, "complete", body)
        assert client.receive(seconds=10).end == "fin"
    eventually(lambda: counted(squall, status), 1)
    assert gone(squall) == 0


def test_a_slow_upstream(squall):
    """Its pauses don't matter, since the FIN comes before the head."""
    squall.upstream.otherwise = Answer(headers=[("Content-Length", "4")], pieces=[0.5, b"ab", 1.5, b"cd"])
    with closing(half_closed(squall, asks("late"))) as client:
        answer = client.receive(seconds=10)
        assert (answer.status, answer.end, bytes(answer.body)) == (200, "complete", b"abcd")


def test_the_first_byte_is_sent_once(squall):
    """Before interim responses, and before a status line that a fault breaks."""
    squall.upstream.otherwise = Answer(interim=[(103, [("a", "b")])], pieces=[0.2, b"ok"])
    with closing(half_closed(squall, asks("none"))) as client:
        answer = client.receive(seconds=10)
        assert (answer.interim, answer.status, bytes(answer.body)) == ([103], 200, b"ok")
    with closing(half_closed(squall, asks("cut-status"))) as client:
        assert client.receive(seconds=10).end.startswith("malformed: status line 'HTTP-1.1 OK'")
    # Whether that client counts as gone is seen only once its request is over, which the next test must not see.
    eventually(lambda: counted(squall, 200), 2)


def test_a_fin_in_the_response(squall):
    """The response goes on for as long as it moves."""
    go = threading.Event()
    squall.upstream.otherwise = Answer(headers=[("Content-Length", "6")], pieces=[b"ab", go, b"cd", 0.5, b"ef"])
    with closing(flow.H1(squall.port())) as client:
        client.link.write(asks("none"))
        answer = client.receive(until=lambda got: got.body == b"ab")
        client.link.finish()
        time.sleep(0.2)
        go.set()
        while answer.end is None:
            client.more(answer, 5)
        assert (answer.end, bytes(answer.body)) == ("complete", b"abcdef")
    assert gone(squall) == 0


@pytest.mark.parametrize("fault", ["none", "late", "hang", "stall"])
def test_one_that_closes_both_sides_is_gone(squall, fault):
    squall.upstream.otherwise = Answer(headers=[("Content-Length", "5000")], pieces=[b"a" * 2000, 20.0] if fault == "none" else [BODY[:5000]])
    sock = wire.connect(squall.port())
    sock.sendall(asks(fault))
    if fault in ("none", "stall"):
        sock.recv(100)
    sock.close()
    eventually(lambda: gone(squall), 1, 3)


@pytest.mark.parametrize("fault", ["none", "twice", "late", "refuse"])
@pytest.mark.parametrize("sent", [b"Content-Length: 10\r\n\r\nhell", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhell"], ids=["length", "chunks"])
def test_half_a_request_is_not_sent(squall, fault, sent):
    """RFC 9112, section 8. Neither is a copy of it, which has to be complete. A rule may respond without the body."""
    head = f"POST /a HTTP/1.1\r\nHost: test\r\nx-fault: {fault}\r\n".encode()
    with closing(half_closed(squall, head + sent)) as client:
        status = 429 if fault == "refuse" else 400
        assert client.receive(seconds=10).status == status
        assert client.receive(seconds=10).end == "fin"
    eventually(lambda: counted(squall, status), 1)
    assert gone(squall) == 0
    assert not [one for one in squall.upstream.seen if one.end == "complete"]
    assert fault != "twice" or not squall.upstream.seen


@pytest.mark.parametrize("size", [1, 1_000, 60_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_an_injected_answer_keeps_the_connection(squall, size, chunked):
    """The body of the request is small enough to be read to its end."""
    with closing(flow.H1(squall.port())) as client:
        for _ in range(3):
            answer = client.exchange("/a", "POST", [("x-fault", "refuse")], b"a" * size, chunked=chunked)
            assert (answer.status, answer.end, answer.header("connection")) == (429, "complete", None)
        assert client.exchange("/b").status == 200
