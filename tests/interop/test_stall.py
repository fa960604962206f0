"""A body that stops: what came before is exact, the connection stays open, and whatever ends it ends all of it."""

import time
from contextlib import closing

import pytest
import wire
from squall import eventually
from stage import PLACES, PROTOCOLS, Stage

FAULTS = {
    "forever": "[{stall: {after: 1000B}}]",
    "short": "[{stall: 1KiB}]",
    "head": "[{stall: {}}]",
    "share": "[{stall: {after: 25%}}]",
    "events": "[{stall: {after: 3 events}}]",
    "resume": "[{stall: {after: 1000B, limit: 500ms}}]",
    "close": "[{stall: {after: 1000B, limit: 500ms, end: close}}]",
    "reset": "[{stall: {after: 1000B, limit: 500ms, end: reset}}]",
    "up": "[{stall: {after: 1000B, direction: request}}]",
    "up-resume": "[{stall: {after: 1000B, limit: 500ms, direction: request}}]",
}
QUIET_SECONDS = 0.3
LIMIT_SECONDS = 0.5
LATE_SECONDS = 3.0
EARLY_SECONDS = 0.02


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("stall"), FAULTS) as stage:
        yield stage


def is_quiet(connection, answer, count):
    """So many bytes come, then nothing does for a while, and the connection stays open."""
    began = time.monotonic()
    while time.monotonic() - began < QUIET_SECONDS:
        assert (answer.end, len(answer.body)) in ((None, count), (None, len(answer.body)))
        connection.more(answer, 0.1)
    return answer.end is None and len(answer.body) == count


@pytest.mark.parametrize("place", [*PLACES, "h2c"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("fault", "count", "tls"),
    [("forever", 1000, False), ("forever", 1000, True), ("short", 1024, False), ("head", 0, False), ("share", 2500, True)],
)
def test_the_prefix_comes_and_nothing_after_it(stage, protocol, place, fault, count, tls):
    path = "/bytes/10000"
    natural = stage.fetch(protocol, place, path)
    before = stage.injected(fault)
    with closing(stage.connect(protocol, place, tls)) as connection:
        wanted = lambda answer: answer.status and len(answer.body) >= count
        answer = connection.exchange(path, headers=[("x-fault", fault)], until=wanted)
        assert is_quiet(connection, answer, count)
        assert (answer.status, answer.body) == (200, natural.body[:count])
        assert "fault=stall" in answer.header("squall-fault")
        assert answer.header("content-length") == "10000"
        assert stage.injected(fault) == before + 1
        assert stage.held() == 1
    eventually(stage.held, 0)
    stage.wait_until_idle()


@pytest.mark.parametrize("leave", [lambda sock: sock.close(), wire.leave_with_reset], ids=["fin", "rst"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_disconnect_frees_everything(stage, protocol, place, leave):
    stage.wait_until_idle()
    gone = stage.squall.metrics().sum("squall_clients_gone_total")
    connection = stage.connect(protocol, place)
    connection.exchange("/bytes/10000", headers=[("x-fault", "forever")], until=lambda got: len(got.body) == 1000)
    eventually(stage.held, 1)
    leave(connection.link.sock)
    eventually(stage.busy, (0, 0, 0), seconds=2)
    assert stage.squall.metrics().sum("squall_clients_gone_total") == gone + 1


@pytest.mark.parametrize("place", PLACES)
def test_a_stream_that_is_reset_frees_it_alone(stage, place):
    with closing(stage.connect("h2", place)) as connection:
        path = "/bytes/10000"
        first, second = (connection.send(path, headers=[("x-fault", "forever")]) for _ in range(2))
        for stream in (first, second):
            connection.receive(stream, until=lambda answer: len(answer.body) == 1000)
        eventually(stage.held, 2)
        connection.reset(first)
        eventually(stage.held, 1, seconds=2)
        assert connection.exchange(path).end == "complete"
        assert connection.streams[second].end is None


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("fault", "end"),
    [("resume", "complete"), ("close", "fin"), ("reset", {"h1": "reset", "h2": "RST_STREAM 2"})],
    ids=["resume", "close", "reset"],
)
def test_a_limit_ends_it(stage, protocol, place, fault, end):
    path = "/bytes/10000"
    natural = stage.fetch(protocol, place, path)
    with closing(stage.connect(protocol, place)) as connection:
        answer = connection.exchange(path, headers=[("x-fault", fault)])
        ended = time.monotonic()
    count = 10_000 if fault == "resume" else 1000
    assert (answer.end, answer.body) == (end[protocol] if isinstance(end, dict) else end, natural.body[:count])
    last_before = max(when for when, arrived in arrived_by(answer) if arrived <= 1000)
    after = min((when for when, arrived in arrived_by(answer) if arrived > 1000), default=ended)
    assert LIMIT_SECONDS - EARLY_SECONDS <= after - last_before <= LIMIT_SECONDS + LATE_SECONDS


def arrived_by(answer):
    """(when, bytes up to then)"""
    total = 0
    for when, count in answer.pieces:
        total += count
        yield when, total


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_after_events(stage, protocol, place):
    path = "/events/10"
    natural = stage.fetch(protocol, place, path)
    assert natural.end == "complete"
    prefix = b"".join(bytes(event) + b"\n\n" for event in natural.body.split(b"\n\n")[:3])
    with closing(stage.connect(protocol, place)) as connection:
        answer = connection.exchange(path, headers=[("x-fault", "events")], until=lambda got: len(got.body) >= len(prefix))
        assert is_quiet(connection, answer, len(prefix))
        assert answer.body == prefix


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests(stage, protocol):
    path = f"/count?tag=up-{protocol}"
    with closing(stage.connect(protocol, "proxied")) as connection:
        options = {"method": "POST", "headers": [("x-fault", "up")], "body": bytes(5000)}
        answer = connection.exchange(path, seconds=1.0, **options)
        assert answer.status is None
        [seen] = stage.seen("proxied", path)
        assert (seen.count, seen.end) == (1000, None)
        assert stage.held() == 1
    eventually(stage.held, 0)
    eventually(lambda: seen.end, lambda end: end in ("fin", "reset"))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests_resume(stage, protocol, place):
    path = f"/count?tag=up-resume-{protocol}"
    began = time.monotonic()
    answer = stage.fetch(protocol, place, path, "up-resume", method="POST", body=bytes(5000))
    assert (answer.status, answer.end) == (200, "complete")
    assert answer.head_at - began >= LIMIT_SECONDS - EARLY_SECONDS
    if place == "proxied":
        [seen] = stage.seen(place, path)
        assert (seen.count, seen.end) == (5000, "complete")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_stop_ends_it(tmp_path, protocol):
    """Nobody waits for the longest wait when squall is told to end."""
    with Stage(tmp_path, FAULTS, more="shutdown: {grace: 2s}") as stage:
        connection = stage.connect(protocol, "proxied")
        path = "/bytes/10000"
        connection.exchange(path, headers=[("x-fault", "forever")], until=lambda got: len(got.body) == 1000)
        began = time.monotonic()
        assert stage.squall.stop() == 0
        assert time.monotonic() - began < 6
        connection.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_wait_is_bounded(tmp_path, protocol):
    """Without a limit of its own it ends with the longest wait that there may be, as a close."""
    with Stage(tmp_path, {"forever": FAULTS["forever"]}, more="bounds: {delay: 1s}") as stage:
        answer = stage.fetch(protocol, "proxied", "/bytes/10000", "forever", seconds=10)
        assert (answer.end, len(answer.body)) == ("fin", 1000)
        eventually(stage.held, 0)
