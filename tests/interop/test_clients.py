"""Real clients against each fault: what they see is what the rule says, on HTTP/1.1, HTTP/2 and TLS."""

import asyncio
import socket
import ssl
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass

import aiohttp
import grpc
import h2.events
import httpx
import pytest
import requests
import wire
from certificates import Authority

DELAY_SECONDS = 0.2
HANG_TIMEOUT_SECONDS = 0.7

RULES = """
rules:
  - {name: delay, match: {path: /delay}, faults: [{delay: 200ms}]}
  - name: abort
    match: {path: /abort}
    faults: [{abort: {status: 503, headers: {x-why: squall}, retry_after: 5s, json: {error: overloaded}}}]
  - {name: plain, match: {path: /plain}, faults: [{abort: {status: 418, body: I am a teapot}}]}
  - {name: close, match: {path: /close}, faults: [{close: {}}]}
  - {name: reset, match: {path: /reset}, faults: [{reset: {}}]}
  - {name: hang, match: {path: /hang}, faults: [{hang: {}}]}
  - {name: both, match: {path: /both}, faults: [{delay: 200ms}, {abort: 500}]}
  - {name: quota, match: {path: /quota}, faults: [{quota: {requests: 3, per: 1m}}]}
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def server(squall, authority):
    certificate, key = authority.sign("server")
    return squall(f"""
seed: 1
listeners:
  web: {{address: 127.0.0.1:0, upstream: echo}}
  safe: {{address: 127.0.0.1:0, upstream: echo, tls: {{certificate: {certificate}, key: {key}}}}}
upstreams: {{echo: {{fake: echo}}}}
{RULES}""")


@dataclass
class Answer:
    status: int
    headers: list
    body: str
    seconds: float

    def header(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]


class NoAnswer(Exception):
    """The connection failed: closed or reset."""


class TooLate(Exception):
    """The client's own timeout."""


def with_requests(url, timeout, ca):
    try:
        answer = requests.get(url, timeout=timeout, verify=str(ca))
    except requests.exceptions.ReadTimeout as error:
        raise TooLate from error
    except requests.exceptions.ConnectionError as error:
        raise NoAnswer from error
    return answer.status_code, list(answer.raw.headers.items()), answer.text


def with_httpx(http1, http2):
    def get(url, timeout, ca):
        context = ssl.create_default_context(cafile=str(ca))
        try:
            with httpx.Client(http1=http1, http2=http2, verify=context, timeout=timeout) as client:
                answer = client.get(url)
        except httpx.ReadTimeout as error:
            raise TooLate from error
        except (httpx.RemoteProtocolError, httpx.ReadError) as error:
            raise NoAnswer from error
        assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        return answer.status_code, answer.headers.multi_items(), answer.text

    return get


def with_aiohttp(url, timeout, ca):
    async def get():
        context = ssl.create_default_context(cafile=str(ca))
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout)) as session:
            async with session.get(url, ssl=context) as answer:
                return answer.status, list(answer.headers.items()), await answer.text()

    try:
        return asyncio.run(get())
    except TimeoutError as error:
        raise TooLate from error
    except aiohttp.ClientError as error:
        raise NoAnswer from error


def with_curl(*options):
    def get(url, timeout, ca):
        command = ["curl", "-sS", "-i", "--max-time", str(timeout), "--cacert", str(ca), *options, url]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if result.returncode == 28:
            raise TooLate(result.stderr)
        if result.returncode != 0:
            raise NoAnswer(f"curl ended with {result.returncode}: {result.stderr}")
        head, _, body = result.stdout.replace("\r\n", "\n").partition("\n\n")
        first, *lines = head.split("\n")
        return int(first.split()[1]), [tuple(line.split(": ", 1)) for line in lines], body

    return get


# The client, and the listener that it speaks to.
CLIENTS = {
    "requests": (with_requests, "web"),
    "requests TLS": (with_requests, "safe"),
    "httpx h1": (with_httpx(True, False), "web"),
    "httpx h1 TLS": (with_httpx(True, False), "safe"),
    "httpx h2c": (with_httpx(False, True), "web"),
    "httpx h2 TLS": (with_httpx(True, True), "safe"),
    "aiohttp": (with_aiohttp, "web"),
    "aiohttp TLS": (with_aiohttp, "safe"),
    "curl h1": (with_curl("--http1.1"), "web"),
    "curl h2c": (with_curl("--http2-prior-knowledge"), "web"),
    "curl h2 TLS": (with_curl("--http2"), "safe"),
}


@pytest.fixture(params=CLIENTS)
def get(request, server, authority, tool):
    """A function from path to answer, for each client."""
    function, listener = CLIENTS[request.param]
    if request.param.startswith("curl"):
        tool("curl")

    def call(path, timeout=30):
        url = server.url(path, listener, "https" if listener == "safe" else "http")
        began = time.monotonic()
        status, headers, body = function(url, timeout, authority.file)
        return Answer(status, headers, body, time.monotonic() - began)

    return call


def test_untouched(get):
    answer = get("/free")
    assert answer.status == 200
    assert answer.header("squall-fault") == []


def test_delay(get):
    answer = get("/delay")
    assert answer.status == 200
    assert answer.seconds >= DELAY_SECONDS
    [fault] = answer.header("squall-fault")
    assert 'rule="delay"' in fault
    assert "fault=delay" in fault
    assert "delay=200.000ms" in fault
    [timing] = [value for value in answer.header("server-timing") if value.startswith("squall;")]
    assert DELAY_SECONDS <= float(timing.removeprefix("squall;dur=")) / 1000 <= answer.seconds


def test_abort(get):
    answer = get("/abort")
    assert answer.status == 503
    assert answer.header("x-why") == ["squall"]
    assert answer.header("retry-after") == ["5"]
    assert answer.header("content-type") == ["application/json"]
    assert answer.body.replace(" ", "") == '{"error":"overloaded"}'
    [fault] = answer.header("squall-fault")
    assert 'rule="abort"' in fault
    assert "fault=abort" in fault


def test_abort_with_a_text(get):
    answer = get("/plain")
    assert (answer.status, answer.body) == (418, "I am a teapot")


def test_delay_and_abort(get):
    answer = get("/both")
    assert answer.status == 500
    assert answer.seconds >= DELAY_SECONDS
    assert len(answer.header("squall-fault")) == 2


@pytest.mark.parametrize("path", ["/close", "/reset"])
def test_no_answer(get, path):
    with pytest.raises(NoAnswer):
        get(path)


def test_hang(get):
    began = time.monotonic()
    with pytest.raises(TooLate):
        get("/hang", timeout=HANG_TIMEOUT_SECONDS)
    assert time.monotonic() - began >= HANG_TIMEOUT_SECONDS * 0.9


def test_quota(get):
    assert [get("/quota").status for _ in range(3)] == [200] * 3
    answer = get("/quota")
    assert answer.status == 429
    assert 1 <= int(answer.header("retry-after")[0]) <= 60
    assert "q=3" in answer.header("ratelimit-policy")[0]
    assert "w=60" in answer.header("ratelimit-policy")[0]
    assert "r=0" in answer.header("ratelimit")[0]
    assert answer.header("x-ratelimit-limit") == ["3"]
    assert answer.header("x-ratelimit-remaining") == ["0"]
    assert answer.header("x-ratelimit-reset")


def test_close_is_a_clean_end(server):
    with closing(wire.connect(server.port())) as sock:
        sock.sendall(wire.request("/close"))
        assert wire.read_to_end(sock) == b""


@pytest.mark.parametrize("data", [wire.request("/reset"), wire.request("/reset", "POST", b"x" * 100_000)], ids=["get", "post"])
def test_reset_is_a_true_reset(server, data):
    """The first thing that the client reads is ECONNRESET: no byte, no FIN."""
    with closing(wire.connect(server.port())) as sock:
        sock.sendall(data)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_reset_is_a_true_reset_under_tls(server, authority):
    """No close_notify and no FIN: with TLS over memory the raw socket shows it (Python's own TLS calls it an early end)."""
    context = ssl.create_default_context(cafile=str(authority.file))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")

    with closing(wire.connect(server.port("safe"))) as sock:

        def run(action):
            while True:
                try:
                    result = action()
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    incoming.write(sock.recv(65536))
                else:
                    sock.sendall(outgoing.read())
                    return result

        run(tls.do_handshake)
        run(lambda: tls.write(wire.request("/reset")))
        with pytest.raises(ConnectionResetError):
            for _ in range(10):  # session tickets may come first
                assert sock.recv(65536) != b"", "a FIN came instead of a RST"


def test_reset_of_one_http2_stream(server):
    """The stream gets RST_STREAM; the connection and its other streams go on."""
    with closing(wire.H2Client(server.port())) as client:
        slow = client.request("/delay")
        reset = client.request("/reset")
        assert isinstance(client.wait_for(h2.events.StreamReset, reset), h2.events.StreamReset)
        assert client.status(slow) == 200
        assert client.status(client.request("/free")) == 200


def test_close_leaves_nothing_half_open(server):
    """After a close the client's next bytes meet a closed port, not a server that reads on."""
    with closing(wire.connect(server.port())) as sock:
        sock.sendall(wire.request("/close"))
        assert wire.read_to_end(sock) == b""
        with pytest.raises(OSError):
            for _ in range(500):  # squall may read on for a moment, lest its FIN be overtaken by a RST
                sock.sendall(wire.request("/free"))
                time.sleep(0.02)


def test_keep_alive_survives_an_abort(server):
    with closing(wire.connect(server.port())) as sock:
        sock.sendall(wire.request("/plain"))
        assert b" 418 " in sock.recv(65536)
        sock.sendall(wire.request("/plain"))
        assert b" 418 " in sock.recv(65536)


def test_hang_sends_nothing(server):
    with closing(wire.connect(server.port(), seconds=HANG_TIMEOUT_SECONDS)) as sock:
        sock.sendall(wire.request("/hang"))
        with pytest.raises(socket.timeout):
            sock.recv(1)


GRPC = """
seed: 1
listeners: {web: {address: 127.0.0.1:0, upstream: echo}}
upstreams: {echo: {fake: echo}}
rules:
  - name: cart is away
    match: {grpc: {service: shop.Cart, method: Add}}
    faults: [{abort: {grpc: UNAVAILABLE, message: the cart is away}}]
  - name: all of stock is slow and full
    match: {grpc: {service: shop.Stock}}
    faults: [{delay: 200ms}, {abort: {grpc: RESOURCE_EXHAUSTED}}]
"""


def call(server, method):
    with grpc.insecure_channel(f"127.0.0.1:{server.port()}") as channel:
        channel.unary_unary(method)(b"", timeout=30)


def test_grpc_abort(squall):
    server = squall(GRPC)
    with pytest.raises(grpc.RpcError) as raised:
        call(server, "/shop.Cart/Add")
    assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
    assert raised.value.details() == "the cart is away"
    metadata = [*(raised.value.initial_metadata() or ()), *(raised.value.trailing_metadata() or ())]
    assert any(key == "squall-fault" for key, _ in metadata)


def test_grpc_delay_and_abort(squall):
    server = squall(GRPC)
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as raised:
        call(server, "/shop.Stock/Count")
    assert time.monotonic() - began >= DELAY_SECONDS
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert server.metrics().sum("squall_faults_injected_total", fault="abort") == 1
