"""What each cell of the table of faults by protocol tries out: small checks that say on every protocol the same thing."""

import contextlib
import time
from dataclasses import dataclass, field

import echo_service
import grpc
import grpc_server
import pytest
import websocket_server
import websockets.exceptions
import websockets.sync.client
from squall import eventually
from stage import asking

EARLY_SECONDS = 0.03
NO_STREAM_SECONDS = 0.5
NORMAL, ABNORMAL = 1000, 1006
PATHS = {"HTTP/1.1": "/bytes/4000", "HTTP/2": "/bytes/4000", "SSE": "/events/10"}


@dataclass
class Trial:
    """One cell: what to ask, and where."""

    stage: object
    rule: str
    column: str
    protocol: str
    place: str

    @property
    def path(self):
        return PATHS[self.column]

    def ask(self, path=None, fault=True, headers=(), **options):
        path = path or self.path
        return self.stage.fetch(
            self.protocol, self.place, path, self.rule if fault else None, headers=headers, **options
        )

    def natural(self, path=None):
        answer = self.ask(path, fault=False)
        assert (answer.status, answer.end) == (200, "complete")
        return answer

    def port(self, name):
        return self.stage.port(name if self.place == "proxied" else "fake")

    def method(self, name):
        return f"/{grpc_server.SERVICE if self.place == 'proxied' else echo_service.SERVICE}/{name}"

    def call(self, headers=(), seconds=10, message=b"hello"):
        """A gRPC call: its code, the seconds that it took, and the metadata that came first."""
        message = message if self.place == "proxied" else echo_service.message(data=message)
        with grpc.insecure_channel(f"127.0.0.1:{self.port('grpc')}") as channel:
            began = time.monotonic()
            echo = channel.unary_unary(self.method("Echo"))
            call = echo.future(message, metadata=[*asking(self.rule), *headers], timeout=seconds)
            error = call.exception()
            return (error.code() if error else grpc.StatusCode.OK), time.monotonic() - began, dict(call.initial_metadata())

    def upgrade(self, headers=(), seconds=10):
        """A WebSocket's handshake: the response's status, the seconds that it took, and the response's headers."""
        port = self.port("websocket")
        began = time.monotonic()
        fields = dict([*asking(self.rule), *headers])
        options = {"additional_headers": fields, "proxy": None, "open_timeout": seconds, "close_timeout": 1}
        try:
            with websockets.sync.client.connect(f"ws://127.0.0.1:{port}/?do=echo", **options) as client:
                answer = client.response
        except websockets.exceptions.InvalidStatus as error:
            answer = error.response
        except TimeoutError:
            raise
        except (OSError, EOFError, websockets.exceptions.InvalidHandshake):
            return None, time.monotonic() - began, {}
        return answer.status_code, time.monotonic() - began, dict(answer.headers)

    def echo(self, message):
        """The seconds until a WebSocket gives a message back."""
        url = f"ws://127.0.0.1:{self.port('websocket')}/?do=echo"
        options = {"additional_headers": dict(asking(self.rule)), "proxy": None, "compression": None}
        with websockets.sync.client.connect(url, **options) as client:
            began = time.monotonic()
            client.send(message)
            assert client.recv(timeout=20) == message
            return time.monotonic() - began

    def stream(self, count=9, size=16, seconds=10):
        """What a stream of messages gives back, each of which is sent at once."""
        return (self.calls_back if self.protocol == "grpc" else self.talks_back)(count, size, seconds)

    def calls_back(self, count, size, seconds):
        came = Came([echo_service.message(data=grpc_server.payload(at, size)) for at in range(count)])
        with grpc.insecure_channel(f"127.0.0.1:{self.port('grpc')}") as channel:
            chat = channel.stream_stream(self.method("Chat"))
            call = chat(iter(came.sent), metadata=asking(self.rule), timeout=seconds)
            with contextlib.suppress(grpc.RpcError):
                call.initial_metadata()
                came.head_at = time.monotonic()
                for message in call:
                    came.take(message)
            came.end = call.code()
        return came

    def talks_back(self, count, size, seconds):
        came = Came([websocket_server.payload(at, size) for at in range(count)])
        options = {"additional_headers": dict(asking(self.rule)), "proxy": None, "compression": None, "close_timeout": 1}
        with websockets.sync.client.connect(f"ws://127.0.0.1:{self.port('websocket')}/", **options) as client:
            came.head_at = time.monotonic()
            try:
                for message in came.sent:
                    client.send(message)
                while len(came.messages) < count:
                    came.take(client.recv(timeout=min(seconds, 2)))
            except TimeoutError:
                return came
            except websockets.exceptions.ConnectionClosed as error:
                came.end = error.rcvd.code if error.rcvd else ABNORMAL
                return came
        came.end = NORMAL
        return came

    def seconds(self):
        """How long it takes until the head of an answer comes, whatever the protocol."""
        if self.protocol == "grpc":
            return self.call()[1]
        if self.protocol == "websocket":
            return self.upgrade()[1]
        answer = self.ask()
        assert (answer.status, answer.end, answer.body) == (200, "complete", self.natural().body)
        return answer.head_at - answer.sent_at

    def status(self, headers=()):
        """The status; on gRPC the code."""
        if self.protocol == "grpc":
            return self.call(headers)[0]
        if self.protocol == "websocket":
            return self.upgrade(headers)[0]
        return self.ask(headers=headers).status


@dataclass
class Came:
    """What came back of a stream of messages."""

    sent: list
    messages: list = field(default_factory=list)
    moments: list = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    head_at: float | None = None
    end: object = None  # gRPC's status, or WebSocket's close code; None for a WebSocket that stays open

    def take(self, message):
        self.moments.append(time.monotonic())
        self.messages.append(message)

    def is_natural(self):
        return self.messages == self.sent and self.end in (grpc.StatusCode.OK, NORMAL)


def late_stream(trial):
    came = trial.stream()
    assert came.is_natural()
    assert came.moments[0] - came.began >= 0.2 - EARLY_SECONDS
    assert came.moments[0] - came.head_at >= 0.1, "the head is not held"


def late_stream_messages(trial):
    came = trial.stream(5)
    assert came.is_natural()
    for number, moment in enumerate(came.moments, 1):
        assert moment - came.began >= number * 0.05 - EARLY_SECONDS


def slow_stream(trial):
    """At 8 KiB/s, one way or the other."""
    came = trial.stream(8, 512)
    assert came.is_natural()
    assert came.moments[-1] - came.began >= 8 * 512 / 8192 * 0.85


def stalled_stream(trial):
    came = trial.stream(20, seconds=NO_STREAM_SECONDS)
    assert 0 < len(came.messages) <= 100 // 18
    assert came.messages == came.sent[: len(came.messages)]
    assert came.end in (None, grpc.StatusCode.DEADLINE_EXCEEDED)
    eventually(trial.stage.held, 0)


def stream_is_cut(codes, close_code, most=6):
    """After 100 bytes, or fewer messages. A clean cut of a WebSocket is behind the frame that has the place."""

    def check(trial):
        came = trial.stream(20)
        assert came.messages == came.sent[: len(came.messages)]
        assert len(came.messages) <= most, came
        assert came.end in (codes if trial.protocol == "grpc" else [close_code]), came

    return check


def stream_by_number(times):
    """Of every third message as many come as this; of the others one."""

    def check(trial):
        came = trial.stream(7 if times else 9)
        expected = [message for at, message in enumerate(came.sent, 1) for _ in range(1 if at % 3 else times)]
        # A WebSocket's client stops reading once it has as many as it sent.
        assert came.messages == expected[: len(came.messages)]
        assert len(came.messages) == len(expected) or trial.protocol == "websocket" and len(came.messages) == 7

    return check


def changed_stream(least):
    """Messages of the same lengths, at least this many of 60 changed."""

    def check(trial):
        came = trial.stream(60, 200)
        assert [len(message) for message in came.messages] == [len(message) for message in came.sent]
        assert sum(one != other for one, other in zip(came.sent, came.messages, strict=True)) >= least

    return check


def late(trial):
    assert trial.seconds() >= 0.2 - EARLY_SECONDS


def late_body(trial):
    answer = trial.ask()
    assert (answer.end, answer.body) == ("complete", trial.natural().body)
    assert answer.pieces[0][0] - answer.head_at >= 0.2 - EARLY_SECONDS


def late_messages(trial):
    path = "/events/5" if trial.column == "SSE" else "/lines/5"
    answer = trial.ask(path)
    assert (answer.end, answer.body) == ("complete", trial.natural(path).body)
    assert answer.pieces[-1][0] - answer.sent_at >= 5 * 0.05 - EARLY_SECONDS


def fails(status, code=None):
    def check(trial):
        assert trial.status() == (code if trial.protocol == "grpc" else status)

    return check


def ends(http1, http2, code):
    """The connection, or the stream, ends before there is an answer."""

    def check(trial):
        if trial.protocol == "grpc":
            assert trial.status() == code
        elif trial.protocol == "websocket":
            assert trial.status() is None
        else:
            answer = trial.ask()
            assert (answer.status, answer.end) == (None, http1 if trial.protocol == "h1" else http2)

    return check


def goes_away(trial):
    """The answer is the natural one, and on HTTP/1 its head says that it is the last."""
    if trial.protocol == "grpc":
        assert trial.status() == grpc.StatusCode.OK
    else:
        answer = trial.ask()
        assert (answer.status, answer.end) == (200, "complete")
        assert answer.header("connection") == ("close" if trial.protocol == "h1" else None)


def silent(trial):
    """Nothing comes, for as long as anybody waits."""
    if trial.protocol == "grpc":
        assert trial.call(seconds=NO_STREAM_SECONDS)[0] == grpc.StatusCode.DEADLINE_EXCEEDED
    elif trial.protocol == "websocket":
        with pytest.raises(TimeoutError):
            trial.upgrade(seconds=NO_STREAM_SECONDS)
    else:
        answer = trial.ask(seconds=NO_STREAM_SECONDS)
        assert (answer.status, answer.end) == (None, None)
    eventually(trial.stage.held, 0)


def second_is_refused(trial):
    key = [("x-key", f"{trial.column} {trial.place} {trial.protocol}".lower())]
    natural = trial.status(key)
    assert natural not in (429, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert trial.status(key) == (grpc.StatusCode.RESOURCE_EXHAUSTED if trial.protocol == "grpc" else 429)


def second_at_once_is_refused(trial):
    with contextlib.closing(trial.stage.connect("h1", "fake")) as first:
        first.exchange("/bytes/1", headers=asking(trial.rule), seconds=0.1)
        eventually(trial.stage.held, 1)
        assert trial.status() == (grpc.StatusCode.UNAVAILABLE if trial.protocol == "grpc" else 503)
    eventually(trial.stage.held, 0)


def changed_head(trial):
    if trial.protocol == "grpc":
        assert trial.call()[2].get("x-new") == "yes"
    elif trial.protocol == "websocket":
        assert {name.lower(): value for name, value in trial.upgrade()[2].items()}.get("x-new") == "yes"
    else:
        answer = trial.ask()
        assert (answer.header("x-new"), answer.body) == ("yes", trial.natural().body)


def changed_body(trial):
    natural = trial.natural()
    answer = trial.ask()
    assert (answer.status, answer.end) == (200, "complete")
    assert answer.body == b"replaced"
    assert natural.body != answer.body


def edited_body(trial):
    path = "/json" if trial.place == "proxied" else "/anything"
    answer = trial.ask(path)
    assert (answer.status, answer.end) == (200, "complete")
    assert b'"' in trial.natural(path).body
    assert b'"' not in answer.body
    assert b"~" in answer.body


def changed_request(trial):
    answer = trial.ask("/count", method="POST", body=bytes(100))
    assert (answer.status, answer.end) == (200, "complete")
    assert b'"bytes":5,' in answer.body.replace(b" ", b"")


def asked_twice(trial):
    """What the upstream saw; a fake can't say, so there it is what squall counts."""
    before = trial.stage.injected(trial.rule)
    if trial.protocol == "grpc":
        tag = str(time.monotonic())
        assert trial.call(message=tag.encode())[0] == grpc.StatusCode.OK
        calls = [call for call in trial.stage.calls.calls if call.messages == [tag.encode()]]
        assert trial.place == "fake" or len(calls) == 2
    else:
        path = f"{trial.path}?tag={time.monotonic()}"
        assert trial.ask(path).body == trial.natural().body
        assert trial.place == "fake" or len(trial.stage.seen("proxied", path)) == 2
    assert trial.stage.injected(trial.rule) == before + 1


def messages_of(trial, body):
    return body.split(b"\n\n" if trial.column == "SSE" else b"\n")[:-1]


def message_path(trial, count=9):
    return f"/{'events' if trial.column == 'SSE' else 'lines'}/{count}"


def third_is_dropped(trial):
    natural = messages_of(trial, trial.natural(message_path(trial)).body)
    came = messages_of(trial, trial.ask(message_path(trial)).body)
    assert came == [message for number, message in enumerate(natural, 1) if number % 3]


def third_is_doubled(trial):
    natural = messages_of(trial, trial.natural(message_path(trial)).body)
    came = messages_of(trial, trial.ask(message_path(trial)).body)
    assert came == [message for number, message in enumerate(natural, 1) for _ in range(1 if number % 3 else 2)]


def slow(trial):
    """At 8 KiB/s, give or take the first piece."""
    path = "/events/200" if trial.column == "SSE" else "/bytes/4096"
    answer = trial.ask(path)
    assert (answer.end, answer.body) == ("complete", trial.natural(path).body)
    assert answer.pieces[-1][0] - answer.sent_at >= len(answer.body) / 8192 * 0.85


def slow_upload(trial):
    answer = trial.ask("/count", method="POST", body=bytes(4096))
    assert (answer.status, answer.end) == (200, "complete")
    assert answer.head_at - answer.sent_at >= 0.5 * 0.85


def trickles(trial):
    """64 bytes every 50 ms; through gRPC and WebSocket a message of 300 bytes takes four such gaps."""
    if trial.protocol == "grpc":
        code, seconds, _ = trial.call(message=bytes(300))
        assert code == grpc.StatusCode.OK
        assert seconds >= 0.2 - EARLY_SECONDS
        return
    if trial.protocol == "websocket":
        assert trial.echo(bytes(range(256)) + bytes(44)) >= 0.2 - EARLY_SECONDS
        return
    path = "/events/12" if trial.column == "SSE" else "/bytes/480"
    answer = trial.ask(path)
    assert (answer.end, answer.body) == ("complete", trial.natural(path).body)
    assert answer.pieces[-1][0] - answer.pieces[0][0] >= ((len(answer.body) - 1) // 64) * 0.05 - EARLY_SECONDS


def trickles_over(trial):
    answer = trial.ask()
    assert (answer.end, answer.body) == ("complete", trial.natural().body)
    assert answer.pieces[-1][0] - answer.pieces[0][0] >= 0.2 - EARLY_SECONDS


def stalls(trial):
    answer = trial.ask(seconds=NO_STREAM_SECONDS)
    assert (answer.status, answer.end, answer.body) == (200, None, trial.natural().body[:100])
    eventually(trial.stage.held, 0)


def is_cut(http1, http2):
    def check(trial):
        answer = trial.ask()
        assert (answer.status, answer.body) == (200, trial.natural().body[:100])
        assert answer.end == (http1 if trial.protocol == "h1" else http2)

    return check


def is_halved(trial):
    answer, natural = trial.ask(), trial.natural()
    assert (answer.end, answer.body) == ("complete", natural.body[: len(natural.body) // 2])


def is_cut_after_messages(trial):
    natural = messages_of(trial, trial.natural(message_path(trial)).body)
    answer = trial.ask(message_path(trial))
    assert (answer.end, messages_of(trial, answer.body)) == ("complete", natural[:3])


def has_other_bytes(trial):
    answer, natural = trial.ask(), trial.natural()
    assert (answer.end, len(answer.body)) == ("complete", len(natural.body))
    assert answer.body != natural.body


def has_other_messages(trial):
    natural = messages_of(trial, trial.natural(message_path(trial, 60)).body)
    answer = trial.ask(message_path(trial, 60))
    assert answer.end == "complete"
    assert sum(map(len, natural)) < len(answer.body)
    assert b"\n".join(natural) != answer.body


def is_malformed(what, path=None):
    def check(trial):
        answer = trial.ask(path or trial.path)
        assert answer.end.startswith(f"malformed: {what}")

    return check


def has_bad_json(trial):
    path = "/json" if trial.place == "proxied" else "/anything"
    natural, answer = trial.natural(path), trial.ask(path)
    assert answer.end == "complete"
    assert natural.body != answer.body


def claims_an_encoding(trial):
    if trial.protocol == "grpc":
        before = trial.stage.injected(trial.rule)
        assert trial.status() == grpc.StatusCode.OK  # a gRPC client looks for `grpc-encoding`, and this is none
        assert trial.stage.injected(trial.rule) == before + 1
        return
    answer = trial.ask("/json" if trial.place == "proxied" else "/anything")
    assert (answer.end, answer.header("content-encoding")) == ("complete", "gzip")
    assert not answer.body.startswith(b"\x1f\x8b\x08")


def has_a_wrong_length(trial):
    answer = trial.ask("/json" if trial.place == "proxied" else "/anything")
    assert int(answer.header("content-length")) == len(answer.body) + 1
    assert answer.end == "fin"


def skips(reason):
    """It passes as if there were no rule, and is counted with the reason."""

    def check(trial):
        before = trial.stage.skipped(trial.rule).get(reason, 0), trial.stage.injected(trial.rule)
        if trial.protocol == "grpc":
            assert trial.status() == grpc.StatusCode.OK
        elif trial.protocol == "websocket":
            assert trial.status() == 101
        else:
            answer = trial.ask()
            assert (answer.status, answer.end, answer.body) == (200, "complete", trial.natural().body)
            assert answer.injected() == []
        eventually(lambda: trial.stage.skipped(trial.rule).get(reason, 0), before[0] + 1)
        assert trial.stage.injected(trial.rule) == before[1]

    return check
