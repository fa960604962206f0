"""Bytes that change, and messages that lie about themselves: how much, where, and what real clients make of it."""

import asyncio
import json
import subprocess
from contextlib import closing
from functools import cache

import aiohttp
import httpx
import pytest
import requests
import urllib3
from origin import pattern
from squall import eventually
from stage import PLACES, PROTOCOLS, Stage, asking

LENGTH = 100_000
AIOHTTP_SECONDS = 2
MALFORMED = ["chunk", "status-line", "header", "json", "encoding", "content-length"]
FAULTS = {
    "bytes": "when: {key: 'header:x-key'}, faults: [{corrupt: {bytes: 1%}}]",
    "all": "[{corrupt: {bytes: 100%}}]",
    "messages": "[{corrupt: {messages: 50%}}]",
    "both": "[{corrupt: {messages: 50%, bytes: 20%}}]",
    "up": "[{corrupt: {bytes: 1%, direction: request}}]",
    "up-json": "[{corrupt: {malformed: json, direction: request}}]",
    "shorter": "[{corrupt: {malformed: content-length, difference: -1}}]",
    **{name: f"[{{corrupt: {{malformed: {name}}}}}]" for name in MALFORMED},
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("corrupt"), FAULTS) as stage:
        yield stage


def changed(before, after):
    """The positions at which two byte strings of the same length differ."""
    assert len(before) == len(after)
    return [at for at, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]


def keyed(fault, key):
    return [*asking(fault), ("x-key", key)]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("place", [*PLACES, "h2c"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_share_of_the_bytes(stage, protocol, place, tls):
    """Binomial: 1 % of 100,000 is 1,000, give or take five times its deviation of 31.5."""
    path = f"/bytes/{LENGTH}"
    before = stage.injected("bytes")
    natural = stage.fetch("h1", place, path).body
    with closing(stage.connect(protocol, place, tls)) as connection:
        answer = connection.exchange(path, headers=asking("bytes"))
    assert (answer.status, answer.end) == (200, "complete")
    assert answer.header("content-length") == str(LENGTH)
    assert "fault=corrupt" in answer.header("squall-fault")
    places = changed(natural, answer.body)
    assert abs(len(places) - LENGTH / 100) < 160
    assert max(late - early for early, late in zip([0, *places], [*places, LENGTH], strict=True)) < 3000, "spread evenly"
    assert stage.injected("bytes") == before + 1


def test_every_byte(stage):
    answer = stage.fetch("h1", "proxied", f"/bytes/{LENGTH}", "all")
    assert len(changed(pattern(LENGTH), answer.body)) == LENGTH


def test_the_same_seed_corrupts_the_same(stage, tmp_path):
    """In another process too, over another protocol, and however the body was divided; another key corrupts otherwise."""
    paths = [f"/bytes/{LENGTH}", f"/bytes/{LENGTH}?chunked=true&piece=701", f"/bytes/{LENGTH}?piece=16000"]
    with Stage(tmp_path, FAULTS) as other:
        bodies = [
            one.fetch(protocol, place, path, headers=keyed("bytes", "a")).body
            for one in (stage, other)
            for protocol in PROTOCOLS
            for place in ["proxied", "h2c"]
            for path in paths
        ]
    assert len(bodies) == 24
    assert all(body == bodies[0] for body in bodies)
    assert stage.fetch("h1", "proxied", paths[0], headers=keyed("bytes", "b")).body != bodies[0]


def test_another_seed_corrupts_otherwise(stage, tmp_path):
    with Stage(tmp_path, FAULTS, seed=8) as other:
        one, two = (it.fetch("h1", "proxied", f"/bytes/{LENGTH}", headers=keyed("bytes", "a")).body for it in (stage, other))
    assert one != two


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_messages(stage, protocol, place):
    """One byte of each drawn message, about half of them."""
    natural = stage.fetch(protocol, place, "/lines/400").body
    answer = stage.fetch(protocol, place, "/lines/400", "messages")
    places = changed(natural, answer.body)
    ends = [at for at, byte in enumerate(natural) if byte == 0x0A]
    number_of = lambda at: sum(end < at for end in ends)
    hit = [number_of(at) for at in places]
    assert len(hit) == len(set(hit)), "one byte in each"
    assert 130 < len(hit) < 270
    assert answer.end == "complete"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_share_of_the_bytes_of_some_messages(stage, protocol):
    natural = stage.fetch(protocol, "proxied", "/lines/400").body
    answer = stage.fetch(protocol, "proxied", "/lines/400", "both")
    ends = [at for at, byte in enumerate(natural) if byte == 0x0A]
    hit = {sum(end < at for end in ends) for at in changed(natural, answer.body)}
    assert 130 < len(hit) < 270
    assert abs(len(changed(natural, answer.body)) / len(natural) - 0.1) < 0.03


@pytest.mark.parametrize("place", ["proxied", "h2c"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests(stage, protocol, place):
    body = pattern(LENGTH, 11)
    path = f"/count?tag=corrupt-{protocol}"
    assert stage.fetch(protocol, place, path, "up", method="POST", body=body).status == 200
    [seen] = stage.seen(place, path)
    assert (seen.end, seen.count) == ("complete", LENGTH)
    assert abs(len(changed(body, seen.body)) - LENGTH / 100) < 160


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests_with_bad_json(stage, protocol):
    path = f"/count?tag=bad-json-{protocol}"
    body = json.dumps({"name": "x" * 100}).encode()
    headers = [("content-type", "application/json")]
    answer = stage.fetch(protocol, "proxied", path, "up-json", headers=headers, method="POST", body=body)
    assert answer.status == 200
    [seen] = stage.seen("proxied", path)
    assert seen.end == "complete"
    with pytest.raises(ValueError):
        json.loads(seen.body)


# What lies about itself, on the wire. The second is a path on which the lie is possible.
NATURAL = {
    "chunk": "/bytes/4000?chunked=true",
    "status-line": "/json",
    "header": "/json",
    "json": "/json",
    "encoding": "/gzip",
    "content-length": "/json",
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("place", [*PLACES, "h2c"])
@pytest.mark.parametrize("name", ["chunk", "status-line", "header"])
def test_malformed_http(stage, name, place, tls):
    before = stage.injected(name)
    with closing(stage.connect("h1", place, tls)) as connection:
        answer = connection.exchange(NATURAL[name] if place != "fake" else "/bytes/4000?chunked=true", headers=asking(name))
    wanted = {"chunk": "chunk size", "status-line": "status line", "header": "header"}[name]
    assert answer.end.startswith(f"malformed: {wanted}"), answer
    assert stage.injected(name) == before + 1
    if name == "chunk":
        assert answer.status == 200
        assert "fault=corrupt" in answer.header("squall-fault")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_malformed_json(stage, protocol, place):
    path = "/json" if place == "proxied" else "/anything"
    natural = stage.fetch(protocol, place, path)
    json.loads(natural.body)
    answer = stage.fetch(protocol, place, path, "json")
    assert (answer.status, answer.end) == (200, "complete")
    with pytest.raises(ValueError):
        json.loads(answer.body)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("path", ["/gzip", "/json"])
def test_malformed_encoding(stage, protocol, path):
    answer = stage.fetch(protocol, "proxied", path, "encoding")
    assert (answer.status, answer.end) == (200, "complete")
    assert answer.header("content-encoding") == "gzip"
    with pytest.raises(OSError):
        __import__("gzip").decompress(answer.body)


def test_malformed_lengths(stage):
    natural = stage.fetch("h1", "proxied", "/json")
    answer = stage.fetch("h1", "proxied", "/json", "content-length")
    assert int(answer.header("content-length")) == len(natural.body) + 1
    assert (answer.end, answer.body) == ("fin", natural.body)
    with closing(stage.connect("h1", "proxied")) as connection:
        answer = connection.exchange("/json", headers=asking("shorter"))
        assert int(answer.header("content-length")) == len(natural.body) - 1
        assert (answer.end, answer.body) == ("complete", natural.body[:-1])
        while not connection.link.over:
            connection.step(1.0)
        assert connection.rest[:1] == natural.body[-1:], "the byte too many comes, and nothing can follow it"
        assert len(connection.rest) == 1


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["chunk", "status-line", "header", "content-length"])
def test_http1_only_malformations(stage, name, place):
    """On HTTP/2 the answer passes, and the reason is counted."""
    counted = stage.skipped(name).copy(), stage.injected(name)
    answer = stage.fetch("h2", place, "/bytes/4000", name)
    assert (answer.status, answer.end, len(answer.body)) == (200, "complete", 4000)
    assert answer.injected() == []
    new = {reason: count - counted[0].get(reason, 0) for reason, count in stage.skipped(name).items()}
    assert {reason: count for reason, count in new.items() if count} in ({"not HTTP/1.1": 1}, {"not HTTP/1": 1})
    assert stage.injected(name) == counted[1]


def test_json_needs_json(stage):
    counted = stage.skipped("json").get("not JSON", 0)
    answer = stage.fetch("h1", "proxied", "/bytes/4000", "json")
    assert (answer.end, answer.body) == ("complete", pattern(4000))
    assert stage.skipped("json")["not JSON"] == counted + 1


# What real clients make of it: a function that reads a URL to its end and says what it raised, or nothing.


def with_urllib3(url, headers):
    with urllib3.PoolManager() as pool:
        json.loads(pool.request("GET", url, headers=headers, retries=False).data)


def with_requests(url, headers):
    requests.get(url, headers=headers, timeout=30).json()


def with_httpx(url, headers):
    httpx.get(url, headers=headers, timeout=30).json()


def with_aiohttp(url, headers):
    async def get():
        timeout = aiohttp.ClientTimeout(total=AIOHTTP_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, headers=headers) as response:
            await response.json()

    asyncio.run(get())


class Curl(Exception):
    """curl ended with an exit code."""


def with_curl(url, headers):
    fields = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    command = ["curl", "-sS", "--http1.1", "--compressed", "--max-time", "30", *fields, url]
    result = subprocess.run(command, capture_output=True, timeout=60, check=False)
    if result.returncode:
        raise Curl(result.returncode)
    json.loads(result.stdout)


CLIENTS = {
    "urllib3": with_urllib3,
    "requests": with_requests,
    "httpx": with_httpx,
    "aiohttp": with_aiohttp,
    "curl": with_curl,
}
UNREADABLE = json.JSONDecodeError
# What each raises; for curl a number is its exit code.
RAISES = {
    "chunk": {
        "urllib3": urllib3.exceptions.ProtocolError,
        "requests": requests.exceptions.ChunkedEncodingError,
        "httpx": httpx.RemoteProtocolError,
        # aiohttp 3.14 notices it where it comes together with the head, and otherwise waits for its own timeout.
        "aiohttp": (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, TimeoutError),
        "curl": 56,
    },
    "status-line": {
        "urllib3": urllib3.exceptions.ProtocolError,
        "requests": requests.exceptions.ConnectionError,
        "httpx": httpx.RemoteProtocolError,
        "aiohttp": aiohttp.ClientResponseError,
        "curl": 1,
    },
    "header": {
        "urllib3": None,
        "requests": None,
        "httpx": httpx.RemoteProtocolError,
        "aiohttp": aiohttp.ClientResponseError,
        "curl": 8,
    },
    "json": {
        "urllib3": UNREADABLE,
        "requests": requests.exceptions.JSONDecodeError,
        "httpx": UNREADABLE,
        "aiohttp": UNREADABLE,
        "curl": UNREADABLE,
    },
    "encoding": {
        "urllib3": urllib3.exceptions.DecodeError,
        "requests": requests.exceptions.ContentDecodingError,
        "httpx": httpx.DecodingError,
        "aiohttp": aiohttp.ClientPayloadError,
        "curl": 61,
    },
    "content-length": {
        "urllib3": urllib3.exceptions.ProtocolError,
        "requests": requests.exceptions.ChunkedEncodingError,
        "httpx": httpx.RemoteProtocolError,
        "aiohttp": aiohttp.ClientPayloadError,
        "curl": 18,
    },
}
# The echo fake encodes nothing, and its JSON has a length.
ON_FAKES = {"chunk": "/bytes/4000?chunked=true", "encoding": "/x", "json": "/x", "status-line": "/x", "header": "/x"}


@cache
def naturally_readable(client, url):
    """That the same client reads the same path where nothing is wrong with it."""
    CLIENTS[client](url, {})
    return True


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", MALFORMED)
def test_clients(stage, tool, client, name, place):
    if client == "curl":
        tool("curl")
    path = {**NATURAL, "chunk": "/lines/1"}[name] if place == "proxied" else {**ON_FAKES, "chunk": "/lines/1"}.get(name, "/x")
    url = stage.url(place, path)
    if name != "chunk":
        assert naturally_readable(client, url)
    wanted = RAISES[name][client]
    try:
        CLIENTS[client](url, {"x-fault": name})
        raised = None
    except Exception as error:
        raised = error
    print(repr(raised))
    if isinstance(wanted, int):
        assert isinstance(raised, Curl)
        assert raised.args == (wanted,)
    else:
        assert raised is None if wanted is None else isinstance(raised, wanted)


def test_nothing_is_left_behind(stage):
    eventually(stage.busy, (0, 0, 0))
