"""Every client of clients.py in front of squall and a real server: what works, and what it reports of each fault."""

import hashlib
import json
import random
import time

import pytest
from apps import common
from certificates import Authority
from clients import CLIENTS, Failed, Wrk
from stage import Stage
from systems import FRAMEWORKS, Servers

UPSTREAM = next(one for one in FRAMEWORKS if one.name == "aiohttp")
FAULTS = {
    "late": "[{delay: 1200ms}]",
    "refused": "[{abort: {status: 503, retry_after: 1s}}]",
    "refused-once": "when: {attempts: 1, key: 'query:key'}, faults: [{abort: {status: 503, retry_after: 1s}}]",
    "reset": "[{reset: {}}]",
    "cut": "[{truncate: 50000B}]",
    "dropped": "[{drop: {every: 3}}]",
}
# A fault in each connection, that counts them.
COUNTING = """
  - {{name: {0}, listener: {0}, faults: [{{delay: {{fixed: 1ms, before: connection}}}}]}}
  - {{name: {0}-tls, listener: {0}-tls, faults: [{{delay: {{fixed: 1ms, before: connection}}}}]}}"""
BODY = random.Random(5).randbytes(150_000)
TIMEOUT_SECONDS = 0.4
EVENTS, GAP_SECONDS = 4, 0.25


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    servers = Servers(tmp_path_factory.mktemp("upstream"), Authority(tmp_path_factory.mktemp("authority")), [UPSTREAM])
    try:
        rules = COUNTING.format(UPSTREAM.place)
        others = {f"{place}{tls}": upstream for place, upstream in servers.upstreams.items() for tls in ("", "-tls")}
        with Stage(tmp_path_factory.mktemp("stage"), FAULTS, rules=rules, others=others) as stage:
            yield stage
    finally:
        servers.stop()


@pytest.fixture(params=CLIENTS, ids=lambda client: client.name)
def client(request, tool, stage, monkeypatch):
    if request.param.program:
        tool(request.param.program)
    for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(stage.authority.file))
    return request.param


def clients_that_can(work):
    able = [one for one in CLIENTS if one.can(work)]
    return pytest.mark.parametrize("client", able, indirect=True, ids=[one.name for one in able])


@pytest.fixture
def url(client, stage):
    return lambda path: stage.url(UPSTREAM.place, path, client.tls)


def test_plain(client, url):
    if isinstance(client.tool, Wrk):
        good, bad = client.tool.get(url("/json"))
        assert good > 10
        assert bad == 0
        return
    answer = client.tool.get(url("/json"))
    assert (answer.status, json.loads(answer.body)["framework"]) == (200, "aiohttp")
    assert client.tool.get(url("/download")).body == common.DOWNLOAD
    assert client.tool.get(url("/error")).status == 500


def test_keep_alive(client, url, stage):
    """More requests than connections."""
    name = f"{UPSTREAM.place}-tls" if client.tls else UPSTREAM.place
    before = stage.injected(name)
    if isinstance(client.tool, Wrk):
        assert client.tool.get(url("/json"))[0] > 10
    else:
        assert len(client.tool.many(url("/json"))) == 5
    assert 1 <= stage.injected(name) - before <= client.connections


@clients_that_can("stream")
def test_events_are_read_as_they_come(client, url):
    body, came = b"", []
    for piece in client.tool.stream(url(f"/events?count={EVENTS}&gap={GAP_SECONDS}")):
        body += piece
        came += [time.monotonic()] * (body.count(b"\n\n") - len(came))
    events = [json.loads(part.removeprefix(b"data: ")) for part in body.split(b"\n\n")[:-1]]
    assert [event["number"] for event in events] == [*range(EVENTS)]
    assert all(when < later["sent"] for when, later in zip(came, events[2:], strict=False))


@clients_that_can("upload")
def test_chunked_upload(client, url):
    assert client.tool.upload(url("/upload"), BODY) == {"bytes": len(BODY), "sha256": hashlib.sha256(BODY).hexdigest()}


@clients_that_can("talk")
def test_websocket(client, url):
    sent = ["text", b"binary", "ä" * 1000, bytes(1000), "", b""]
    assert client.tool.talk(url("/echo"), sent, len(sent)) == sent
    assert client.tool.talk(url("/echo"), sent, 4, "dropped") == ["text", b"binary", bytes(1000), ""]


def test_a_refusal(client, url):
    answer = client.tool.get(url("/json"), "refused")
    if isinstance(client.tool, Wrk):
        good, bad = answer
        assert good == 0
        assert bad > 10
    else:
        assert (answer.status, answer.retry_after) == (503, "1")


@clients_that_can("patient")
def test_it_waits_as_long_as_it_was_told(client, stage):
    """urllib3's Retry and curl's --retry obey Retry-After; the other clients leave that to their users."""
    before, began = stage.injected("refused-once"), time.monotonic()
    key = client.name.replace(" ", "")
    assert client.tool.patient(stage.url(UPSTREAM.place, f"/json?key={key}"), "refused-once") == 200
    assert time.monotonic() - began >= 1 - 0.03
    assert stage.injected("refused-once") == before + 1


def report(client, *words, **options):
    with pytest.raises(Failed) as failed:
        client.tool.get(*words, **options)
    return str(failed.value)


def test_a_reset(client, url):
    assert report(client, url("/json"), "reset") == client.reset


def test_a_body_that_is_cut(client, url):
    assert report(client, url("/download"), "cut") == client.cut


def test_a_delay_beyond_its_timeout(client, url):
    """The same delay within the timeout is no more than a delay."""
    if isinstance(client.tool, Wrk):
        assert report(client, url("/json"), "late", timeout=1, seconds=2) == client.late
        return
    began = time.monotonic()
    assert report(client, url("/json"), "late", timeout=TIMEOUT_SECONDS) == client.late
    assert time.monotonic() - began >= TIMEOUT_SECONDS * 0.9
    began = time.monotonic()
    assert client.tool.get(url("/json"), "late").status == 200
    assert time.monotonic() - began >= 1.2 - 0.03


def test_the_table_marks_patient_clients():
    assert all(one.can("patient") == bool(one.retries) for one in CLIENTS)
