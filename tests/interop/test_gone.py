"""A client that leaves during a long wait is gone from the gauge of active faults within a second, and counted."""

from contextlib import closing

import h2.events
import pytest
import wire
from squall import NO_ANSWER, eventually

WITHIN_SECONDS = 1.0
CONFIG = """
seed: 1
listeners: {web: {address: 127.0.0.1:0, upstream: echo}}
upstreams: {echo: {fake: echo}}
rules:
  - name: long
    match: {path: /long}
    faults: [{delay: 60s}]
  - name: longer
    match: {path: /hang}
    faults: [{hang: {}}]
"""


@pytest.fixture
def server(squall):
    return squall(CONFIG)


def active(server):
    return server.metrics().sum("squall_faults_active")


def wait_until_active(server, count):
    eventually(lambda: active(server), count, seconds=20)


def check_gone(server, left=0, gone=1):
    eventually(lambda: active(server), left, seconds=WITHIN_SECONDS)
    eventually(lambda: server.metrics().sum("squall_clients_gone_total", listener="web"), gone)
    eventually(lambda: server.metrics().sum("squall_requests_total", status=NO_ANSWER), gone)


@pytest.mark.parametrize("leave", [lambda sock: sock.close(), wire.leave_with_reset], ids=["fin", "rst"])
@pytest.mark.parametrize(
    "request_bytes",
    [
        wire.request("/long"),
        wire.request("/hang"),
        wire.request("/long", "POST", b"x" * 50_000),
        wire.request("/long", "POST", b"x" * 1_000, length=5_000),
    ],
    ids=["get", "hang", "body", "unfinished body"],
)
def test_http1(server, request_bytes, leave):
    sock = wire.connect(server.port())
    sock.sendall(request_bytes)
    wait_until_active(server, 1)
    leave(sock)
    check_gone(server)


def test_http1_in_the_middle_of_a_large_body(server):
    """Only a reset shows: a FIN stays with the client, behind the bytes that do not fit into the kernel's buffers."""
    sock = wire.connect(server.port())
    sock.setblocking(False)
    sock.send(wire.request("/long", "POST", b"x" * 10_000_000))
    wait_until_active(server, 1)
    wire.leave_with_reset(sock)
    check_gone(server)


def test_http2_reset_of_a_stream(server):
    with closing(wire.H2Client(server.port())) as client:
        first, second = client.request("/long"), client.request("/long", "POST", b"x" * 10_000)
        wait_until_active(server, 2)
        client.reset(first)
        check_gone(server, left=1, gone=1)
        client.reset(second)
        check_gone(server, left=0, gone=2)
        assert client.status(client.request("/free")) == 200


@pytest.mark.parametrize("path", ["/long", "/hang"])
@pytest.mark.parametrize("leave", [lambda sock: sock.close(), wire.leave_with_reset], ids=["fin", "rst"])
def test_http2_dropped_connection(server, path, leave):
    client = wire.H2Client(server.port())
    for _ in range(3):
        client.request(path)
    client.request(path, "POST", b"x" * 1_000, end=False)
    wait_until_active(server, 4)
    leave(client.sock)
    check_gone(server, gone=4)


def test_many_clients_at_once(server):
    socks = [wire.connect(server.port()) for _ in range(100)]
    for sock in socks:
        sock.sendall(wire.request("/long"))
    wait_until_active(server, 100)
    for sock in socks:
        sock.close()
    check_gone(server, gone=100)


def test_clients_that_stay_are_not_counted_as_gone(server):
    """The opposite: the neighbours of one who left go on waiting, on both protocols."""
    with closing(wire.connect(server.port())) as stays, closing(wire.H2Client(server.port())) as client:
        stays.sendall(wire.request("/long"))
        client.request("/long")
        leaves = wire.connect(server.port())
        leaves.sendall(wire.request("/long"))
        wait_until_active(server, 3)
        leaves.close()
        check_gone(server, left=2, gone=1)
        assert client.wait_for(h2.events.ResponseReceived, client.request("/free"))
