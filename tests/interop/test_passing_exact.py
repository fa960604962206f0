"""Unmatched HTTP/1 traffic byte for byte, interim responses, pipelining, upgrades, and trailers."""

import contextlib
import socket
import threading

import flow
import h2.events
import pytest
import wire
from scripted import Answer, Upstream

HEAD = b"GET %s HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.fixture
def upstreams():
    started = {protocol: Upstream(protocol) for protocol in ("h1", "h2c")}
    yield started
    for upstream in started.values():
        upstream.stop()


@pytest.fixture
def server(squall, upstreams):
    return squall(f"""
listeners:
  h1: {{address: 127.0.0.1:0, upstream: h1}}
  h2c: {{address: 127.0.0.1:0, upstream: h2c}}
upstreams:
  h1: {{url: 'http://127.0.0.1:{upstreams["h1"].port}'}}
  h2c: {{url: 'http://127.0.0.1:{upstreams["h2c"].port}', protocol: h2c}}
rules:
  - {{name: elsewhere, match: {{path: /elsewhere}}, faults: [{{abort: 500}}]}}
""")


def read(sock, count=None, until=None):
    """So many bytes, or what comes until these bytes have come."""
    received = b""
    while len(received) < count if count is not None else until not in received:
        data = sock.recv(65536)
        assert data, f"the connection ended after {received!r}"
        received += data
    return received


REQUESTS = {
    "usual": b"GET /a%2Fb?x=+%20%2B#f HTTP/1.1\r\nhOst: test:80\r\nX-UPPER: A\r\nx-lower:\t tab \r\nX-Empty: \r\nzz: \xff\xfe\r\n\r\n",
    "length": b"POST /a HTTP/1.1\r\nHost: test\r\ncontent-length: 5\r\nX-Last: 1\r\n\r\nhello",
    "no body": b"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nX-Last: 1\r\n\r\n",
    "chunked": b"PUT /a HTTP/1.1\r\nHost: test\r\ntransfer-encoding: Chunked\r\nX-Last: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "odd method": b"M-SEARCH * HTTP/1.1\r\nHost: test\r\nMAN: \"ssdp\"\r\n\r\n",
    "upgrade": b"GET /a HTTP/1.1\r\nA: 1\r\nConnection: keep-alive, Upgrade\r\nHost: test\r\nUpgrade: Odd/1\r\nB: 2\r\n\r\n",
}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_reach_an_http1_upstream_as_they_are(server, upstreams, name):
    with contextlib.closing(wire.connect(server.port("h1"))) as sock:
        sock.sendall(REQUESTS[name])
        read(sock, until=b"ok")
    seen = upstreams["h1"].seen[0]
    head, _, body = REQUESTS[name].partition(b"\r\n\r\n")
    head = head.replace(b":\t tab ", b": tab").replace(b"#f", b"")
    assert seen.head == head + b"\r\n\r\n"
    assert bytes(seen.body) == (b"hello" if body else b"")


def test_fields_of_the_connection_end_at_squall(server, upstreams):
    """RFC 9110, section 7.6.1; the others keep their order."""
    request = b"GET /a HTTP/1.1\r\nA: 1\r\nConnection: close, X-Hop\r\nB: 2\r\nX-Hop: 3\r\nHost: test\r\nTE: trailers\r\nC: 4\r\n\r\n"
    with contextlib.closing(wire.connect(server.port("h1"))) as sock:
        sock.sendall(request)
        assert b"\r\nConnection: close\r\n" in wire.read_to_end(sock)
    assert upstreams["h1"].seen[0].head == b"GET /a HTTP/1.1\r\nA: 1\r\nB: 2\r\nHost: test\r\nC: 4\r\n\r\n"


OLD = b"Date: Mon, 01 Jan 2001 00:00:00 GMT\r\n"
RESPONSES = {
    "usual": b"HTTP/1.1 200 All is Well\r\nX-UPPER: A\r\n" + OLD + b"x-lower: b\r\nContent-Length: 2\r\nX-Empty: \r\n\r\nhi",
    "no date": b"HTTP/1.1 299 \r\nServer: x\r\ncontent-length: 2\r\n\r\nhi",
    "odd date": b"HTTP/1.1 200 OK\r\ndAtE: now\r\nContent-Length: 2\r\n\r\nhi",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-encoding: chunked\r\nX-Last: 1\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "says keep-alive": b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
    "error": b"HTTP/1.1 503 Come Back\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nhi",
    "encoded": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi",
    "latin-1": b"HTTP/1.1 200 OK\r\nX-Name: \xe9\r\nContent-Length: 2\r\n\r\nhi",
}


@pytest.mark.parametrize("name", RESPONSES)
def test_responses_of_an_http1_upstream_pass_as_they_are(server, upstreams, name):
    upstreams["h1"].answers["/a"] = Answer(raw=RESPONSES[name])
    with contextlib.closing(wire.connect(server.port("h1"))) as sock:
        for _ in range(2):
            sock.sendall(HEAD % b"/a")
            assert read(sock, len(RESPONSES[name])) == RESPONSES[name]


def test_the_date_of_one_answer_is_not_that_of_the_next(server, upstreams):
    upstreams["h1"].answers["/a"] = Answer(raw=RESPONSES["usual"])
    with contextlib.closing(wire.connect(server.port("h1"))) as sock:
        sock.sendall(HEAD % b"/a" + HEAD % b"/elsewhere")
        received = read(sock, until=b"Squall-Fault")
    assert received.startswith(RESPONSES["usual"])
    assert received.count(OLD) == 1


def test_an_answer_that_ends_with_its_connection(server, upstreams):
    """It gets chunks on the way, so that the client's connection may stay."""
    upstreams["h1"].answers["/a"] = Answer(raw=b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\nto the end", then="close")
    with contextlib.closing(wire.connect(server.port("h1"))) as sock:
        sock.sendall(HEAD % b"/a")
        chunked = b"HTTP/1.1 200 OK\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nto the end\r\n0\r\n\r\n"
        assert read(sock, len(chunked)) == chunked


def test_http_1_0(server, upstreams):
    with contextlib.closing(wire.connect(server.port("h1"))) as sock:
        sock.sendall(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert b"\r\nConnection: keep-alive\r\n" in read(sock, until=b"ok")
        sock.sendall(b"GET /b HTTP/1.0\r\n\r\n")
        assert b"\r\nConnection: close\r\n" in wire.read_to_end(sock)
    port = upstreams["h1"].port
    assert upstreams["h1"].seen[0].head == b"GET /a HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port
    with contextlib.closing(wire.connect(server.port("h2c"))) as sock:
        sock.sendall(b"GET /a HTTP/1.0\r\n\r\n")
        assert wire.read_to_end(sock).endswith(b"\r\n\r\nok")


def test_pipelined_requests_are_answered_in_order(server, upstreams):
    paths = [b"/%d" % number for number in range(20)]
    for path in paths:
        upstreams["h1"].answers[path.decode()] = Answer(pieces=[path])
    with contextlib.closing(wire.connect(server.port("h1"))) as sock:
        sock.sendall(b"".join(HEAD % path for path in paths))
        received = read(sock, until=b"\r\n\r\n/19")
    assert [part.partition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 200 ")[1:]] == paths


def test_the_start_of_an_answer_does_not_wait_for_its_end(server, upstreams):
    """Also with a length, and with another request waiting behind it."""
    go = threading.Event()
    upstreams["h1"].answers["/a"] = Answer(headers=[("Content-Length", "4")], pieces=[b"ab", go, b"cd"])
    with contextlib.closing(wire.connect(server.port("h1"), 10)) as sock:
        sock.sendall(HEAD % b"/a" + HEAD % b"/b")
        read(sock, until=b"\r\n\r\nab")
        go.set()
        read(sock, until=b"\r\n\r\nok")


@pytest.mark.parametrize("up", ["h1", "h2c"])
def test_a_client_that_waits_for_leave_to_send(server, upstreams, up):
    upstreams["h1"].answers["/a"] = Answer(interim=[(100, [])])
    with contextlib.closing(wire.connect(server.port(up))) as sock:
        sock.sendall(b"POST /a HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert read(sock, until=b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"hello")
        assert read(sock, until=b"ok").startswith(b"HTTP/1.1 200 ")
    seen = upstreams[up].last("/a")
    assert (bytes(seen.body), seen.value("expect")) == (b"hello", "100-continue")


def test_a_client_that_is_refused_leave(server, upstreams):
    upstreams["h1"].answers["/a"] = Answer(417, pieces=[b"no"], early=True, then="close")
    with contextlib.closing(wire.connect(server.port("h1"))) as sock:
        sock.sendall(b"POST /a HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert read(sock, until=b"\r\n\r\nno").startswith(b"HTTP/1.1 417 ")


def test_early_hints_pass(server, upstreams):
    link = ("Link", "</a.css>; rel=preload")
    upstreams["h1"].answers["/a"] = Answer(interim=[(103, [link]), (103, [link])], headers=[("date", "then")])
    with contextlib.closing(wire.connect(server.port("h1"))) as sock:
        sock.sendall(HEAD % b"/a")
        hint = b"HTTP/1.1 103 Interim\r\nLink: </a.css>; rel=preload\r\n\r\n"
        final = b"HTTP/1.1 200 As Scripted\r\ndate: then\r\ncontent-length: 2\r\n\r\nok"
        assert read(sock, until=b"ok") == hint + hint + final


def test_any_upgrade_passes_but_to_http2(server, upstreams):
    switch = b"HTTP/1.1 101 Odd\r\nUpgrade: odd\r\nconnection: upgrade\r\n\r\nand bytes"
    upstreams["h1"].answers["/a"] = Answer(raw=switch)
    with contextlib.closing(wire.connect(server.port("h1"))) as sock:
        sock.sendall(b"GET /a HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: odd\r\n\r\n")
        assert read(sock, len(switch)) == switch
    with contextlib.closing(wire.connect(server.port("h1"))) as sock:
        fields = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
        sock.sendall(b"GET /b HTTP/1.1\r\nHost: test\r\n" + fields + b"\r\n")
        read(sock, until=b"ok")
    assert upstreams["h1"].last("/b").head == b"GET /b HTTP/1.1\r\nHost: test\r\n\r\n"


def test_an_upgrade_is_answered_at_once(squall):
    """The answer is there before the request is sent, which is only faster than what a busy machine does."""
    switch = b"HTTP/1.1 101 Odd\r\nConnection: upgrade\r\nUpgrade: odd\r\n\r\n"
    refuse = b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = squall(f"""
listeners: {{web: {{address: 127.0.0.1:0, upstream: u}}}}
upstreams: {{u: {{url: 'http://127.0.0.1:{listening.getsockname()[1]}', timeouts: {{idle: 0s}}}}}}
""")
        for number in range(30):
            with contextlib.closing(wire.connect(server.port())) as client:
                client.sendall(b"GET /a HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: odd\r\n\r\n")
                upstream, _ = listening.accept()
                with contextlib.closing(upstream):
                    answer = refuse if number % 3 == 2 else switch
                    upstream.sendall(answer)
                    assert read(client, len(answer)) == answer
                    if answer == switch:
                        for one, other in [(client, upstream), (upstream, client)] * 3:
                            one.sendall(b"words")
                            read(other, until=b"words")
                    else:
                        client.sendall(HEAD % b"/b")
                        again, _ = listening.accept()
                        with contextlib.closing(again):
                            again.sendall(answer)
                            assert read(client, len(answer)) == answer


def test_answers_while_the_request_is_still_sent(server, upstreams):
    """Over HTTP/2 on both sides the directions are independent: the answer may come first, or last."""
    upstreams["h2c"].answers["/a"] = Answer(early=True, pieces=[b"early"], length=False)
    client = flow.H2(server.port("h2c"))
    with contextlib.closing(client):
        stream = client.send("/a", "POST", body=b"half", end=False)
        assert client.receive(stream, until=lambda answer: answer.body == b"early").status == 200
    client = flow.H2(server.port("h2c"))
    with contextlib.closing(client):
        stream = client.send("/b", "POST", body=b"half", end=False)
        assert client.receive(stream, 0.3).status is None
        client.h2.end_stream(stream)
        assert client.receive(stream).end == "complete"
    assert upstreams["h2c"].last("/b").end == "complete"


@pytest.mark.parametrize("down", ["h1", "h2"])
def test_the_connection_to_the_upstream_stays_sound(server, upstreams, down):
    """An upload without a length, whose end comes by itself, is one request to the upstream and no more."""
    for number in range(5):
        with contextlib.closing(flow.connect(down, server.port("h1"))) as client:
            if down == "h1":
                got = client.exchange(f"/{number}", "POST", body=b"xyz", chunked=True)
            else:
                stream = client.send(f"/{number}", "POST", body=b"xyz", end=False)
                client.step(0.05)
                client.h2.end_stream(stream)
                client._flush()
                got = client.receive(stream)
        assert (got.status, bytes(got.body)) == (200, b"ok")
    assert [(seen.method, bytes(seen.body)) for seen in upstreams["h1"].seen] == [("POST", b"xyz")] * 5


def test_cookies_of_http2_are_one_field_to_an_http1_upstream(server, upstreams):
    cookies = [("cookie", "a=1"), ("x-between", "1"), ("cookie", "b=2")]
    for up, wanted in [("h1", [("cookie", "a=1; b=2"), ("x-between", "1")]), ("h2c", [cookies[0], cookies[2], cookies[1]])]:
        assert flow.fetch("h2", server.port(up), "/a", headers=[*cookies, ("te", "trailers")]).status == 200
        assert upstreams[up].last("/a").fields() == wanted


def test_trailers_of_responses_pass(server, upstreams):
    trailers = [("grpc-status", "0"), ("x-checksum", "abc"), ("x-bin", "/wA=")]
    upstreams["h2c"].answers["/a"] = Answer(headers=[("trailer", "x-checksum")], pieces=[b"a" * 100_000], trailers=trailers)
    upstreams["h2c"].answers["/b"] = Answer(pieces=[], trailers=trailers)
    for path, size in [("/a", 100_000), ("/b", 0)]:
        got = flow.fetch("h2", server.port("h2c"), path, headers=[("te", "trailers")])
        assert (len(got.body), got.trailers, got.end) == (size, trailers, "complete")
        assert upstreams["h2c"].last(path).value("te") == "trailers"
        got = flow.fetch("h1", server.port("h2c"), path)
        assert (len(got.body), got.trailers, got.end) == (size, trailers, "complete")


def test_trailers_of_http1_pass_both_ways(server, upstreams):
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n"
    upstreams["h1"].answers["/a"] = Answer(raw=chunked)
    request = b"POST /a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n"
    with contextlib.closing(wire.connect(server.port("h1"))) as sock:
        for _ in range(3):
            sock.sendall(request)
            assert read(sock, len(chunked)) == chunked
    assert [(bytes(seen.body), seen.trailers) for seen in upstreams["h1"].seen] == [(b"hi", [("x-sum", "1")])] * 3


@pytest.mark.parametrize("up", ["h1", "h2c"])
def test_trailers_of_requests_over_http2_pass(server, upstreams, up):
    with contextlib.closing(wire.H2Client(server.port(up))) as client:
        stream = client.request("/a", "POST", b"hi", end=False)
        client.h2.send_headers(stream, [("x-sum", "1")], end_stream=True)
        client.flush()
        client.wait_for(h2.events.StreamEnded, stream)
    seen = upstreams[up].last("/a")
    assert (bytes(seen.body), seen.trailers, seen.end) == (b"hi", [("x-sum", "1")], "complete")
