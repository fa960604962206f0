"""Server-sent events and lines of NDJSON: recognised wherever the network cuts them, and delayed, dropped, repeated, cut."""

import itertools
import json
import time
from contextlib import closing

import pytest
from origin import event, line
from squall import eventually
from stage import PLACES, PROTOCOLS, Stage, asking

FAULTS = {
    "apart": "[{delay: {uniform: [100ms, 150ms], before: message}}]",
    "apart-events": "[{delay: {fixed: 100ms, before: event}}]",
    "body": "[{delay: {fixed: 300ms, before: body}}]",
    "drop": "when: {key: 'header:x-key'}, faults: [{drop: 30%}]",
    "third": "[{drop: {every: 3}}]",
    "twice": "[{duplicate: {every: 3}}]",
    "twice-half": "[{duplicate: {messages: 50%}}]",
    "cut": "[{truncate: {after: 3 events, end: clean}}]",
    "cut-lines": "[{truncate: {after: 3 messages, end: clean}}]",
    "up-drop": "[{drop: {every: 3, direction: request}}]",
    "up-twice": "[{duplicate: {every: 3, direction: request}}]",
    "up-apart": "[{delay: {fixed: 100ms, before: message, direction: request}}]",
    "up-body": "[{delay: {fixed: 300ms, before: body, direction: request}}]",
    "up-cut": "[{truncate: {after: 3 messages, end: clean, direction: request}}]",
    "combined": "[{drop: {every: 2}}, {delay: {fixed: 50ms, before: message}}, {truncate: {after: 3 messages, end: clean}}]",
}
# A reader on a busy machine may see a message late, and then the next one early.
EARLY_SECONDS = 0.03
KINDS = ["events", "lines"]
NDJSON = [("content-type", "application/x-ndjson")]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("messages"), FAULTS) as stage:
        yield stage


def split(kind, body):
    """The messages of a body."""
    end = b"\n\n" if kind == "events" else b"\n"
    assert not body or body.endswith(end)
    return [bytes(message) + end for message in body.split(end)[:-1]]


def natural(stage, place, kind, count):
    answer = stage.fetch("h1", place, f"/{kind}/{count}")
    messages = split(kind, answer.body)
    assert (answer.end, len(messages)) == ("complete", count)
    return messages


def times_of(answer, messages):
    """When each message was complete."""
    ends = list(itertools.accumulate(len(message) for message in messages))
    times, total, arrived = [], 0, iter(answer.pieces)
    for end in ends:
        while total < end:
            when, count = next(arrived)
            total += count
        times.append(when)
    return times


CUTS = {"whole": "", "7 bytes at a time": "?piece=7", "byte by byte": "?piece=1"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [*PLACES, "h2c"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_messages_come_apart(stage, protocol, place, kind):
    messages = natural(stage, place, kind, 8)
    before = stage.injected("apart")
    answer = stage.fetch(protocol, place, f"/{kind}/8", "apart")
    assert (answer.status, answer.end, answer.body) == (200, "complete", b"".join(messages))
    assert "fault=delay" in answer.header("squall-fault")
    times = times_of(answer, messages)
    # From the start: a client that notices one message late sees the next one soon after it.
    for number, when in enumerate(times, 1):
        assert when - answer.sent_at >= number * 0.1 - EARLY_SECONDS
    assert times[-1] - times[0] <= 7 * 0.15 + 3
    assert stage.injected("apart") == before + 1


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_message_waits_once_wherever_it_is_cut(stage, protocol, cut):
    """Its pieces do not wait each for itself."""
    messages = natural(stage, "proxied", "events", 5)
    answer = stage.fetch(protocol, "proxied", f"/events/5{CUTS[cut]}", "apart-events")
    assert answer.body == b"".join(messages)
    assert 5 * 0.1 - EARLY_SECONDS <= answer.pieces[-1][0] - answer.sent_at <= 5 * 0.1 + 3


def test_a_slow_stream_is_not_collected(stage):
    """Events reach the client as they are made, not at the end."""
    with closing(stage.connect("h1", "proxied")) as connection:
        path = "/events/20?piece=37&every=100ms"
        answer = connection.exchange(path, headers=asking("third"), until=lambda got: len(got.body) >= 60)
        assert answer.end is None
        assert time.monotonic() - answer.sent_at < 1.5


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_head_comes_before_a_late_body(stage, protocol, place):
    answer = stage.fetch(protocol, place, "/bytes/5000", "body")
    assert (answer.status, answer.end, len(answer.body)) == (200, "complete", 5000)
    assert answer.pieces[0][0] - answer.head_at >= 0.3 - EARLY_SECONDS
    assert answer.head_at - answer.sent_at < 0.3 or answer.pieces[0][0] - answer.sent_at > 0.6


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_late_body_of_a_request(stage, protocol):
    path = f"/count?tag=late-{protocol}"
    began = time.monotonic()
    answer = stage.fetch(protocol, "proxied", path, "up-body", method="POST", body=bytes(5000))
    assert answer.status == 200
    [seen] = stage.seen("proxied", path)
    assert seen.count == 5000
    assert seen.arrivals[0][0] - began >= 0.3 - EARLY_SECONDS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_third_vanishes(stage, protocol, place, kind):
    messages = natural(stage, place, kind, 10)
    answer = stage.fetch(protocol, place, f"/{kind}/10", "third")
    assert answer.end == "complete"
    assert split(kind, answer.body) == [message for number, message in enumerate(messages, 1) if number % 3]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_third_comes_twice(stage, protocol, place, kind):
    messages = natural(stage, place, kind, 10)
    answer = stage.fetch(protocol, place, f"/{kind}/10", "twice")
    assert answer.end == "complete"
    wanted = [[message] * (1 if number % 3 else 2) for number, message in enumerate(messages, 1)]
    assert split(kind, answer.body) == [message for pair in wanted for message in pair]


@pytest.mark.parametrize("kind", KINDS)
def test_a_share_vanishes(stage, kind):
    """About 30 % of them, whole ones, in order; the same ones for the same key, over every protocol and division."""
    messages = natural(stage, "proxied", kind, 500)
    headers = [*asking("drop"), ("x-key", "a")]
    left = [
        split(kind, stage.fetch(protocol, "proxied", f"/{kind}/500{cut}", headers=headers).body)
        for protocol in PROTOCOLS
        for cut in ["", "?piece=11"]
    ]
    assert all(one == left[0] for one in left)
    assert 295 < len(left[0]) < 405
    assert [message for message in messages if message in set(left[0])] == left[0]
    headers = [*asking("drop"), ("x-key", "b")]
    assert split(kind, stage.fetch("h1", "proxied", f"/{kind}/500", headers=headers).body) != left[0]


def test_a_share_comes_twice(stage):
    messages = natural(stage, "proxied", "lines", 400)
    came = split("lines", stage.fetch("h1", "proxied", "/lines/400", "twice-half").body)
    assert [message for message, _ in itertools.groupby(came)] == messages
    assert 530 < len(came) < 670


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_end_after_three(stage, protocol, kind, cut):
    messages = natural(stage, "proxied", kind, 10)
    fault = "cut" if kind == "events" else "cut-lines"
    answer = stage.fetch(protocol, "proxied", f"/{kind}/10{CUTS[cut]}", fault)
    assert (answer.end, answer.body) == ("complete", b"".join(messages[:3]))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_endless_stream_ends_after_three(stage, protocol):
    """The cut does not wait for the upstream's next word."""
    began = time.monotonic()
    answer = stage.fetch(protocol, "proxied", "/events/4?piece=55&every=10000ms", "body", seconds=1)
    assert answer.end is None
    piece = len(b"".join(event(number) for number in range(3)))
    answer = stage.fetch(protocol, "proxied", f"/events/9?piece={piece}&every=20000ms", "cut")
    assert (answer.end, len(answer.body)) == ("complete", piece)
    assert time.monotonic() - began < 10


# Streams as they are allowed to be (HTML Living Standard, section 9.2.5), with their first three events.
ODD = {
    "crlf": [b"data: 1\r\n\r\n", b"data: 2\r\n\r\n", b"data: 3\r\n\r\n", b"data: 4\r\n\r\n"],
    "cr": [b"data: 1\r\r", b"data: 2\r\r", b"data: 3\r\r", b"data: 4\r\r"],
    "mixed": [b"data: 1\r\n\n", b"data: 2\n\r\n", b"data: 3\n\n", b"data: 4\n\n"],
    "many lines": [b"data: 1\ndata: more\nid: 1\n\n", b"event: x\ndata:2\n\n", b"data\n\n", b"data: 4\n\n"],
    "utf-8": ["data: ü€😀\n\n".encode(), b"data: 2\n\n", b"data: 3\n\n", b"data: 4\n\n"],
}


@pytest.mark.parametrize("piece", [1, 3, 16384])
@pytest.mark.parametrize("name", ODD)
def test_odd_line_ends(stage, name, piece):
    path = f"/odd-{name.replace(' ', '-')}"
    stage.origins["proxied"].texts[path] = ("text/event-stream; charset=utf-8", b"".join(ODD[name]))
    answer = stage.fetch("h1", "proxied", f"{path}?piece={piece}", "third")
    assert answer.body == b"".join(ODD[name][:2] + ODD[name][3:])
    answer = stage.fetch("h1", "proxied", f"{path}?piece={piece}", "cut")
    assert answer.body.rstrip(b"\n") == b"".join(ODD[name][:3]).rstrip(b"\n")


def test_an_incomplete_last_message_passes(stage):
    """A last line without an end is a message too; a last event without one is none, and comes as it is."""
    stage.origins["proxied"].texts["/no-end"] = ("application/x-ndjson", b"1\n2\n3\n4")
    assert stage.fetch("h1", "proxied", "/no-end", "third").body == b"1\n2\n4"
    stage.origins["proxied"].texts["/half"] = ("text/event-stream", b"data: 1\n\ndata: 2")
    assert stage.fetch("h1", "proxied", "/half", "third").body == b"data: 1\n\ndata: 2"


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/ndjson", "application/jsonl"])
def test_content_types_of_lines(stage, kind):
    stage.origins["proxied"].texts["/typed"] = (f"{kind}; charset=utf-8", b"1\n2\n3\n4\n")
    assert stage.fetch("h1", "proxied", "/typed", "third").body == b"1\n2\n4\n"


@pytest.mark.parametrize("fault", ["apart", "drop", "third", "twice"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bodies_without_messages_pass(stage, protocol, fault):
    counted = stage.skipped(fault).get("no messages", 0)
    answer = stage.fetch(protocol, "proxied", "/bytes/5000", fault)
    assert (answer.status, answer.end, len(answer.body)) == (200, "complete", 5000)
    assert answer.injected() == []
    assert stage.skipped(fault)["no messages"] == counted + 1


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [("up-drop", [0, 1, 3, 4, 6, 7]), ("up-twice", [0, 1, 2, 2, 3, 4, 5, 5, 6, 7]), ("up-cut", [0, 1, 2])],
)
@pytest.mark.parametrize("place", ["proxied", "h2c"])
def test_requests(stage, place, fault, wanted):
    path = f"/count?tag={fault}"
    body = b"".join(line(number) for number in range(8))
    with closing(stage.connect("h1", place)) as connection:
        answer = connection.exchange(path, "POST", [*asking(fault), *NDJSON], body, chunked=True)
    assert answer.status == 200
    [seen] = stage.seen(place, path)
    assert (seen.end, seen.body) == ("complete", b"".join(line(number) for number in wanted))


def test_requests_apart(stage):
    body = b"".join(line(number) for number in range(5))
    with closing(stage.connect("h1", "proxied")) as connection:
        answer = connection.exchange("/count?tag=up-apart", "POST", [*asking("up-apart"), *NDJSON], body, chunked=True)
    assert answer.status == 200
    [seen] = stage.seen("proxied", "/count?tag=up-apart")
    assert seen.body == body
    assert seen.arrivals[-1][0] - seen.arrivals[0][0] >= 0.4 - EARLY_SECONDS


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_faults_combine(stage, protocol, place):
    """Of those that are not dropped, three, and 50 ms between them."""
    messages = natural(stage, place, "lines", 20)
    answer = stage.fetch(protocol, place, "/lines/20", "combined")
    assert answer.end == "complete"
    came = split("lines", answer.body)
    assert came == [message for message in messages if message in came]
    assert all(json.loads(message) for message in came)
    assert len(came) in (2, 3), "counted before or after the drops"
    times = times_of(answer, came)
    for number, when in enumerate(times, 1):
        assert when - answer.sent_at >= number * 0.05 - EARLY_SECONDS


def test_nothing_is_left_behind(stage):
    eventually(stage.busy, (0, 0, 0))
