"""What is tried with each framework behind squall, untouched and under faults."""

import hashlib
import itertools
import json
import random
import threading
from contextlib import closing
from dataclasses import dataclass

import pytest
import websockets.sync.client
from apps import common
from stage import asking
from websockets.exceptions import ConnectionClosedError

EARLY_SECONDS = 0.03  # how much too early a busy reader may think that something came, having noticed the one before late
DELAY_SECONDS = 0.15
EVENTS, GAP_SECONDS = 4, 0.25
BODY = random.Random(1).randbytes(300_000)
MESSAGES = 400


@dataclass
class Trial:
    """One framework, and the rule that its requests ask for, if any."""

    stage: object
    framework: object
    rule: str | None = None

    @property
    def place(self):
        return self.framework.place

    def connect(self):
        return closing(self.stage.connect("h1", self.place))

    def connect_http2(self):
        """HTTP/2 on both sides."""
        return closing(self.stage.connect("h2", f"{self.place}-h2"))

    def headers(self):
        return asking(self.rule)

    def dial(self):
        url = f"ws://127.0.0.1:{self.stage.port(self.place)}/echo"
        options = {"additional_headers": dict(self.headers()), "proxy": None, "max_size": None}
        return websockets.sync.client.connect(url, **options)

    def injected(self):
        return self.stage.injected(self.rule)


def whole(answer):
    """The body of a response that came to its proper end."""
    assert (answer.status, answer.end) == (200, "complete")
    return bytes(answer.body)


def said(answer):
    return json.loads(whole(answer))


def about(trial, connection, protocol="1.1", headers=()):
    """The upstream connection that a request of /json went over."""
    answer = said(connection.exchange("/json", headers=headers))
    assert (answer["framework"], answer["protocol"]) == (trial.framework.name, protocol)
    return answer["peer"]


def natural(answer):
    """A response that no rule has touched."""
    assert answer.header("squall-fault") is None
    return answer


# Keep-alive.


def keeps_alive(trial):
    with trial.connect() as connection:
        peers = [about(trial, connection) for _ in range(5)]
        check_peers(trial, peers)
        failed = natural(connection.exchange("/error"))
        assert (failed.status, failed.end) == (500, "complete")
        assert natural(connection.exchange("/nowhere")).status == 404
        about(trial, connection)


def check_peers(trial, peers):
    """All over one upstream connection; or all over different ones, where the server closes each."""
    assert len(set(peers)) == (len(peers) if trial.framework.closes else 1), peers


def keeps_alive_when_late(trial):
    before = trial.injected()
    with trial.connect() as connection:
        peers = []
        for _ in range(4):
            answer = connection.exchange("/json", headers=trial.headers())
            assert answer.head_at - answer.sent_at >= DELAY_SECONDS - EARLY_SECONDS
            assert "delay=150" in answer.header("squall-fault")
            peers.append(said(answer)["peer"])
    check_peers(trial, peers)
    assert trial.injected() == before + 4


def keeps_alive_around_a_refusal(trial):
    """A refused request leaves both connections as they are."""
    with trial.connect() as connection:
        peers = []
        for _ in range(2):
            peers.append(about(trial, connection))
            refused = connection.exchange("/json", headers=trial.headers())
            assert (refused.status, refused.end, refused.header("retry-after")) == (503, "complete", "1")
        peers.append(about(trial, connection))
    check_peers(trial, peers)


# Server-sent events.


def events_of(answer):
    """Each event, and when its last byte came."""
    events, total = [], 0
    ends = [(end, when) for end, (when, _) in zip(itertools.accumulate(n for _, n in answer.pieces), answer.pieces, strict=True)]
    for part in bytes(answer.body).split(b"\n\n")[:-1]:
        total += len(part) + 2
        when = next(when for end, when in ends if end >= total)
        assert part.startswith(b"data: "), part
        events.append((json.loads(part.removeprefix(b"data: ")), when))
    assert [event["number"] for event, _ in events] == [*range(len(events))]
    return events


def check_one_by_one(events):
    """None waits for others: each is there before the one after the next is even made."""
    assert len(events) == EVENTS
    for (_, came), (later, _) in zip(events, events[2:], strict=False):
        assert came < later["sent"]


def path_of_events(count=EVENTS):
    return f"/events?count={count}&gap={GAP_SECONDS}"


def events_come_one_by_one(trial):
    with trial.connect() as connection:
        answer = natural(connection.exchange(path_of_events()))
    assert (answer.status, answer.end) == (200, "complete")
    assert answer.header("content-type").startswith("text/event-stream")
    check_one_by_one(events_of(answer))


def events_come_late(trial):
    before = trial.injected()
    with trial.connect() as connection:
        answer = connection.exchange(path_of_events(), headers=trial.headers())
    assert (answer.status, answer.end) == (200, "complete")
    events = events_of(answer)
    check_one_by_one(events)
    assert all(came - event["sent"] >= DELAY_SECONDS - EARLY_SECONDS for event, came in events)
    assert trial.injected() == before + 1


def events_end_after_three(trial):
    """The fourth never comes: the connection ends instead, long before the last is made."""
    with trial.connect() as connection:
        answer = connection.exchange(path_of_events(40), headers=trial.headers())
    assert (answer.status, answer.end) == (200, "fin")
    assert len(events_of(answer)) == 3


# Chunked bodies.


def digest(body):
    return {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def upload(trial, connection, body=BODY, **how):
    answer = connection.exchange("/upload", "POST", trial.headers(), body, **how)
    return said(answer), answer.head_at - answer.sent_at


def bodies_are_exact(trial):
    with trial.connect() as connection:
        for body in (BODY, b"", b"x"):
            assert upload(trial, connection, body, chunked=True)[0] == digest(body)
        assert upload(trial, connection)[0] == digest(BODY)
        answer = natural(connection.exchange("/download"))
        assert answer.header("content-length") is None
        assert whole(answer) == common.DOWNLOAD


def upload_is_slow(trial):
    body = BODY[: 64 * 1024]
    with trial.connect() as connection:
        answer, seconds = upload(trial, connection, body, chunked=True)
    assert answer == digest(body)
    assert seconds >= 0.5 * 0.85


def upload_is_cut(trial):
    """To the server it looks like a whole, short body."""
    with trial.connect() as connection:
        assert upload(trial, connection, chunked=True)[0] == digest(BODY[:1000])


def download_is_cut(trial):
    with trial.connect() as connection:
        answer = connection.exchange("/download", headers=trial.headers())
    assert (answer.status, answer.end) == (200, "reset")
    assert answer.body == common.DOWNLOAD[:100_000]


# WebSocket.


def some_messages():
    draw = random.Random(2)
    for number in range(MESSAGES):
        size = draw.choice([0, 1, 125, 126, draw.randrange(2000)])
        yield "ä" * size if number % 2 else draw.randbytes(size)
    yield draw.randbytes(100_000)
    yield "ö" * 30_000


def messages_come_back(trial):
    wanted = list(some_messages())
    with trial.dial() as socket:
        sender = threading.Thread(target=lambda: [socket.send(message) for message in wanted])
        sender.start()
        assert [socket.recv(timeout=30) for _ in wanted] == wanted
        sender.join(30)
    assert socket.close_code == 1000


def every_third_is_lost(trial):
    sent = [f"text {number}" if number % 2 else b"binary %d" % number for number in range(1, 10)]
    with trial.dial() as socket:
        for message in sent:
            socket.send(message)
        left = [message for number, message in enumerate(sent, 1) if number % 3]
        assert [socket.recv(timeout=30) for _ in left] == left
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.1)


def closed_with_a_code(trial):
    with trial.dial() as socket:
        for number in range(5):
            socket.send(f"text {number}")
            assert socket.recv(timeout=30) == f"text {number}"
        with pytest.raises(ConnectionClosedError):
            socket.send("one more")
            socket.recv(timeout=30)
    assert (socket.close_code, socket.close_reason) == (1011, "enough")


# HTTP/2 on both sides.


def http2_passes(trial):
    with trial.connect_http2() as connection:
        peers = [about(trial, connection, "2") for _ in range(5)]
        assert len(set(peers)) == 1, peers
        assert natural(connection.exchange("/error")).status == 500
        assert upload(trial, connection)[0] == digest(BODY)
        assert whole(connection.exchange("/download")) == common.DOWNLOAD
        streams = [connection.send(path_of_events()) for _ in range(3)]
        for answer in [connection.receive(stream) for stream in streams]:
            assert (answer.status, answer.end) == (200, "complete")
            check_one_by_one(events_of(natural(answer)))


def http2_is_late(trial):
    """Several streams at once may have opened several connections; requests one by one open none."""
    before = trial.injected()
    with trial.connect_http2() as connection:
        peers = []
        for _ in range(6):
            answer = connection.exchange("/json", headers=trial.headers())
            assert answer.head_at - answer.sent_at >= DELAY_SECONDS - EARLY_SECONDS
            peers.append(said(answer)["peer"])
    assert len(set(peers)) <= 3, peers
    assert trial.injected() == before + 6


def http2_stream_is_reset(trial):
    """REFUSED_STREAM is error 7 (RFC 9113, section 7); the connection and its other streams go on."""
    with trial.connect_http2() as connection:
        other = connection.send(path_of_events())
        answer = connection.exchange("/json", headers=trial.headers())
        assert (answer.status, answer.end) == (None, "RST_STREAM 7")
        about(trial, connection, "2")
        check_one_by_one(events_of(connection.receive(other)))


def http2_stream_is_reset_later(trial):
    """One stream of events is cut with CANCEL, which is 8; its neighbour, through the same server, is not."""
    with trial.connect_http2() as connection:
        cut = connection.send(path_of_events(40), headers=trial.headers())
        other = connection.send(path_of_events())
        answer = connection.receive(cut)
        assert (answer.status, answer.end, len(events_of(answer))) == (200, "RST_STREAM 8", 2)
        check_one_by_one(events_of(connection.receive(other)))
        about(trial, connection, "2")
