"""Bodies that end early: the prefix is exact, and each end is what real clients take it for, by name of their exceptions."""

import asyncio
import itertools
import subprocess
import time
from contextlib import closing

import aiohttp
import httpx
import pytest
import requests
import urllib3
from squall import eventually
from stage import PLACES, PROTOCOLS, Stage, asking

LENGTH = 4000
AFTERS = {"bytes": ("1000B", 1000), "share": ("50%", LENGTH // 2), "events": ("3 events", None), "nothing": ("0B", 0)}
ENDS = ["clean", "close", "reset"]
FAULTS = {
    **{f"{end}-{name}": f"[{{truncate: {{after: {after}, end: {end}}}}}]" for end in ENDS for name, (after, _) in AFTERS.items()},
    **{f"up-{end}": f"[{{truncate: {{after: 1000B, end: {end}, direction: request}}}}]" for end in ENDS},
    "short-form": "[{truncate: 1000B}]",
    "cancel": "[{truncate: {after: 1000B, end: reset, code: CANCEL}}]",
    "before-head": "[{reset: {}}]",
    "later-head": "[{delay: 50ms}, {reset: {}}]",
    "response-head": "[{reset: {before: response}}]",
}
# The paths that each position is tried on; a share needs a length.
BODIES = {
    "bytes": {"length": f"/bytes/{LENGTH}", "chunked": f"/bytes/{LENGTH}?chunked=true"},
    "nothing": {"length": f"/bytes/{LENGTH}", "chunked": f"/bytes/{LENGTH}?chunked=true"},
    "share": {"length": f"/bytes/{LENGTH}"},
    "events": {"chunked": "/events/10"},
}
CASES = [(after, framing) for after, framings in BODIES.items() for framing in framings]
# How a body ends for somebody who reads the connection's bytes.
SEEN = {
    ("h1", "clean"): "complete",
    ("h1", "close"): "fin",
    ("h1", "reset"): "reset",
    ("h2", "clean"): "complete",
    ("h2", "close"): "fin",
    ("h2", "reset"): "RST_STREAM 2",
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("truncate"), FAULTS) as stage:
        yield stage


def natural_prefix(stage, place, after, path):
    """The bytes before the cut, taken from the natural answer."""
    natural = stage.fetch("h1", place, path)
    assert natural.end == "complete"
    body = bytes(natural.body)
    if after == "events":
        return b"".join(event + b"\n\n" for event in body.split(b"\n\n")[:3])
    return body[: AFTERS[after][1]]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("place", [*PLACES, "h2c"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("after", "framing"), CASES)
def test_the_prefix_is_exact(stage, protocol, place, end, after, framing, tls):
    path, fault = BODIES[after][framing], f"{end}-{after}"
    prefix = natural_prefix(stage, place, after, path)
    before = stage.injected(fault)
    with closing(stage.connect(protocol, place, tls)) as connection:
        answer = connection.exchange(path, headers=asking(fault))
        ends = connection.link.ends
    assert answer.status == 200
    assert bytes(answer.body) == prefix
    assert answer.end == SEEN[protocol, end]
    assert "fault=truncate" in answer.header("squall-fault")
    if end == "reset" and protocol == "h1":
        assert ends == ["reset"], "neither FIN nor close_notify comes before it"
    if end == "close":
        assert ends == ["fin"]
    if framing == "length":
        assert answer.header("content-length") == str(len(prefix) if end == "clean" else LENGTH)
    eventually(lambda: stage.injected(fault), before + 1)  # a head that promises no bytes is seen before the end is


def test_the_short_form_closes(stage):
    answer = stage.fetch("h1", "proxied", f"/bytes/{LENGTH}", "short-form")
    assert (answer.end, len(answer.body)) == ("fin", 1000)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_large_bodies_are_cut_too(stage, protocol, place):
    """Where the upstream has much more to say than is read from it; the connection is good for more."""
    with closing(stage.connect(protocol, place)) as connection:
        for _ in range(3):
            answer = connection.exchange("/bytes/50000000", headers=asking("clean-share"))
            assert (answer.end, len(answer.body)) == ("complete", 25_000_000)
            answer = connection.exchange("/bytes/50000000", headers=asking("clean-bytes"))
            assert (answer.end, len(answer.body)) == ("complete", 1000)
        assert connection.exchange(f"/bytes/{LENGTH}").end == "complete"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_clean_end_keeps_the_connection(stage, place, framing):
    with closing(stage.connect("h1", place)) as connection:
        for _ in range(3):
            answer = connection.exchange(BODIES["bytes"][framing], headers=asking("clean-bytes"))
            assert (answer.status, answer.end, len(answer.body)) == (200, "complete", 1000)
            answer = connection.exchange(BODIES["bytes"][framing])
            assert (answer.status, answer.end, len(answer.body)) == (200, "complete", LENGTH)
            assert answer.header("squall-fault") is None


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("fault", "code"), [("reset-bytes", 2), ("cancel", 8)])
def test_other_streams_go_on(stage, place, fault, code):
    """The reset stream ends with the stated code, and the streams of the same connection do not notice."""
    slow = "/events/10?every=50ms"
    with closing(stage.connect("h2", place)) as connection:
        before, = [connection.send(slow)]
        connection.receive(before, until=lambda answer: answer.pieces)
        cut = connection.send(f"/bytes/{LENGTH}", headers=asking(fault))
        assert connection.receive(cut).end == f"RST_STREAM {code}"
        after = connection.send(f"/bytes/{LENGTH}")
        assert connection.receive(after).end == "complete"
        assert connection.receive(before).end == "complete"
        assert len(connection.streams[cut].body) == 1000
        assert connection.goaway is None


@pytest.mark.parametrize("place", PLACES)
def test_a_close_takes_the_whole_http2_connection(stage, place):
    with closing(stage.connect("h2", place)) as connection:
        sibling = connection.send("/events/1000?every=50ms")
        connection.receive(sibling, until=lambda answer: answer.pieces)
        assert connection.exchange(f"/bytes/{LENGTH}", headers=asking("close-bytes")).end == "fin"
        assert connection.receive(sibling, seconds=5).end == "fin"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_short_bodies_pass(stage, protocol, place):
    counted = stage.skipped("close-bytes").get("body too short", 0), stage.injected("close-bytes")
    answer = stage.fetch(protocol, place, "/bytes/500", "close-bytes")
    assert (answer.end, len(answer.body), answer.header("content-length")) == ("complete", 500, "500")
    assert answer.injected() == []
    assert (stage.skipped("close-bytes")["body too short"], stage.injected("close-bytes")) == (counted[0] + 1, counted[1])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_share_needs_a_length(stage, protocol):
    counted = stage.skipped("reset-share").get("length unknown", 0)
    answer = stage.fetch(protocol, "proxied", f"/bytes/{LENGTH}?chunked=true", "reset-share")
    assert (answer.end, len(answer.body)) == ("complete", LENGTH)
    assert stage.skipped("reset-share")["length unknown"] == counted + 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_events_need_a_stream_of_events(stage, protocol):
    counted = stage.skipped("reset-events").get("no messages", 0)
    answer = stage.fetch(protocol, "proxied", f"/bytes/{LENGTH}", "reset-events")
    assert (answer.end, len(answer.body)) == ("complete", LENGTH)
    assert stage.skipped("reset-events")["no messages"] == counted + 1


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_head_requests_have_nothing_to_cut(stage, protocol, place):
    with closing(stage.connect(protocol, place)) as connection:
        answer = connection.exchange(f"/bytes/{LENGTH}", "HEAD", headers=asking("close-bytes"))
        assert (answer.status, answer.end, answer.body) == (200, "complete", b"")
        assert connection.exchange(f"/bytes/{LENGTH}").end == "complete"


# What the upstream sees of a request that is cut, by its protocol. An HTTP/2 connection to the upstream carries other
# requests, too: only the stream ends there.
UPSTREAM = {
    ("proxied", "clean"): "complete",
    ("proxied", "close"): "fin",
    ("proxied", "reset"): "fin",
    ("h2c", "clean"): "complete",
    ("h2c", "close"): "RST_STREAM 8",
    ("h2c", "reset"): "RST_STREAM 8",
}
TAGS = itertools.count()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(("place", "end"), UPSTREAM)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests_as_the_upstream_sees_them(stage, protocol, place, end, chunked):
    path = f"/count?tag={next(TAGS)}"
    options = {"chunked": True} if chunked and protocol == "h1" else {}
    with closing(stage.connect(protocol, place)) as connection:
        answer = connection.exchange(path, "POST", asking(f"up-{end}"), bytes(LENGTH), seconds=5, **options)
        [seen] = stage.seen(place, path)
        eventually(lambda: seen.end, lambda end: end is not None)
        assert (seen.count, seen.end) == (1000, UPSTREAM[place, end])
    if end == "clean":
        assert (answer.status, answer.end) == (200, "complete")
        assert seen.header("content-length") in (None, "1000")
        assert b'"bytes": 1000' in answer.body
    else:
        assert (answer.status, answer.end) == (None, SEEN[protocol, end])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests_as_a_fake_sees_them(stage, protocol):
    answer = stage.fetch(protocol, "fake", "/count", "up-clean", method="POST", body=bytes(LENGTH))
    assert (answer.status, answer.end) == (200, "complete")
    assert b'"bytes":1000,' in answer.body


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", ["before-head", "later-head", "response-head"])
def test_a_reset_before_the_head_is_a_true_one(stage, place, fault, tls):
    """ECONNRESET, with neither FIN nor close_notify before it."""
    with closing(stage.connect("h1", place, tls)) as connection:
        answer = connection.exchange(f"/bytes/{LENGTH}", headers=asking(fault))
        assert (answer.status, answer.end) == (None, "reset")
        assert connection.link.ends == ["reset"]


# Each client: a function from URL and headers to the bytes that came, and what it raised.


def with_urllib3(url, headers):
    with urllib3.PoolManager() as pool:
        response = pool.request("GET", url, headers=headers, preload_content=False, retries=False)
        return gather(response.stream(1))


def with_requests(url, headers):
    with requests.get(url, headers=headers, stream=True, timeout=30) as response:
        return gather(response.iter_content(1))


def with_httpx(http2):
    def get(url, headers):
        with httpx.Client(http1=not http2, http2=http2, timeout=30) as client:
            with client.stream("GET", url, headers=headers) as response:
                assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
                return gather(response.iter_raw())

    return get


def with_aiohttp(url, headers):
    async def get():
        body, raised = b"", None
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
            try:
                async for piece in response.content.iter_any():
                    body += piece
            except Exception as error:
                raised = error
        return body, raised

    return asyncio.run(get())


def with_curl(*options):
    def get(url, headers):
        fields = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
        command = ["curl", "-sS", "-N", "--max-time", "30", *options, *fields, url]
        result = subprocess.run(command, capture_output=True, timeout=60, check=False)
        return result.stdout, result.returncode or None

    return get


def gather(pieces):
    body, raised = b"", None
    try:
        for piece in pieces:
            body += piece
    except Exception as error:
        raised = error
    return body, raised


CLIENTS = {
    "urllib3": with_urllib3,
    "requests": with_requests,
    "aiohttp": with_aiohttp,
    "httpx h1": with_httpx(False),
    "httpx h2": with_httpx(True),
    "curl h1": with_curl("--http1.1"),
    "curl h2": with_curl("--http2-prior-knowledge"),
}
# What each of them raises in the middle of a body, or its exit code. A clean end is none to any of them.
RAISES = {
    ("urllib3", "close"): urllib3.exceptions.ProtocolError,
    ("urllib3", "reset"): urllib3.exceptions.ProtocolError,
    ("requests", "close"): requests.exceptions.ChunkedEncodingError,
    ("requests", "reset"): requests.exceptions.ChunkedEncodingError,
    ("aiohttp", "close"): aiohttp.ClientPayloadError,
    ("aiohttp", "reset"): aiohttp.ClientPayloadError,
    ("httpx h1", "close"): httpx.RemoteProtocolError,
    ("httpx h1", "reset"): httpx.ReadError,
    ("httpx h2", "close"): httpx.RemoteProtocolError,
    ("httpx h2", "reset"): httpx.RemoteProtocolError,
    ("curl h1", "close"): 18,
    ("curl h1", "reset"): 56,
    ("curl h2", "close"): 18,
    ("curl h2", "reset"): 92,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("after", "framing"), [case for case in CASES if case[0] != "nothing"])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("client", CLIENTS)
def test_clients(stage, tool, client, end, after, framing, place):
    if client.startswith("curl"):
        tool("curl")
    path, fault = BODIES[after][framing], f"{end}-{after}"
    prefix = natural_prefix(stage, place, after, path)
    body, raised = CLIENTS[client](stage.url(place, path), {"x-fault": fault})
    print(repr(raised))
    if end == "clean":
        assert raised is None
    elif client.startswith("curl"):
        assert raised == RAISES[client, end]
    else:
        assert type(raised) is RAISES[client, end]
    if (client, end) == ("curl h2", "reset"):
        assert prefix.startswith(body), "curl throws away what it reads together with the reset"
    else:
        assert body == prefix


def test_nothing_is_left_behind(stage):
    eventually(stage.busy, (0, 0, 0))
