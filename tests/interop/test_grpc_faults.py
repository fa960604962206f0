"""Faults on gRPC, seen by grpcio on both sides: statuses, messages late, lost, twice, changed, cut, and what passes."""

import struct
import time
from contextlib import closing

import grpc
import h2.events
import pytest
from grpc import StatusCode
from grpc_server import SERVICE, WAIT_SECONDS, RawCall, Server, count_of, payload
from squall import eventually

MESSAGES = 1_000
DELAY_SECONDS = 0.1
RULE = "the rule"
INTERNAL_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 0x2, 0x7, 0x8, 0xB


@pytest.fixture
def upstream():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def start(squall, upstream):
    """A function that starts squall with these faults before the gRPC server; it and a channel to it."""
    channels = []

    def start(*faults, seed=1, match=f"grpc: {{service: {SERVICE}}}"):
        server = squall(f"""
seed: {seed}
listeners: {{web: {{address: 127.0.0.1:0, upstream: feed}}}}
upstreams: {{feed: {{url: 'http://127.0.0.1:{upstream.port}', protocol: h2c}}}}
rules: [{{name: {RULE}, match: {{{match}}}, faults: [{", ".join(faults)}]}}]
""")
        channels.append(grpc.insecure_channel(f"127.0.0.1:{server.port()}"))
        return server, channels[-1]

    yield start
    for channel in channels:
        channel.close()


def unary(channel, message=b"hello", method="Echo", **options):
    return channel.unary_unary(f"/{SERVICE}/{method}")(message, timeout=WAIT_SECONDS, **options)


def collect(channel, messages):
    """What the server says of a client's stream: how many messages, and their bytes in all."""
    answer = channel.stream_unary(f"/{SERVICE}/Collect")(iter(messages), timeout=WAIT_SECONDS)
    return struct.unpack(">II", answer)


def counting(channel, number, size=16, gap=0.0, timeout=WAIT_SECONDS, method="Count"):
    """A server's stream."""
    return channel.unary_stream(f"/{SERVICE}/{method}")(count_of(number, size, gap), timeout=timeout)


def chat(channel, messages):
    return channel.stream_stream(f"/{SERVICE}/Chat")(messages, timeout=WAIT_SECONDS)


def expected(number, size=16):
    return [payload(at, size) for at in range(number)]


def read(stream):
    """The messages of a stream with the moments they came, and the status at its end."""
    messages, moments = [], []
    try:
        for message in stream:
            moments.append(time.monotonic())
            messages.append(message)
    except grpc.RpcError as error:
        assert error is stream
    return messages, moments, stream.code()


def check_injected(server, fault, count=1):
    eventually(lambda: server.metrics().sum("squall_faults_injected_total", rule=RULE, fault=fault), count)
    assert server.metrics().sum("squall_faults_skipped_total") == 0


def check_nothing_left(server):
    eventually(lambda: server.metrics().sum("squall_faults_active"), 0)
    eventually(lambda: server.metrics().sum("squall_requests_held"), 0)


def differences(one, other):
    return sum(a != b for a, b in zip(one, other, strict=True))


# What passes.

# A rule that doesn't match, and plans that look at every byte or message and change none.
HARMLESS = pytest.mark.parametrize(
    ("match", "fault"),
    [
        ("grpc: {service: shop.Other}", "abort: 500"),
        (f"grpc: {{service: {SERVICE}}}", "bandwidth: 10GiB/s"),
        (f"grpc: {{service: {SERVICE}}}", "truncate: {after: 1000000 messages}"),
        (f"grpc: {{service: {SERVICE}}}", "truncate: {after: 1000000 messages, direction: request}"),
    ],
    ids=["unmatched", "paced", "answers looked at", "requests looked at"],
)


@HARMLESS
def test_metadata_and_errors_pass(start, upstream, match, fault):
    _, channel = start(fault, match=match)
    sent = [("x-one", "1"), ("x-one", "2"), ("x-raw-bin", b"\x00\x01\xff")]
    answer, call = channel.unary_unary(f"/{SERVICE}/Echo").with_call(b"hello", timeout=WAIT_SECONDS, metadata=sent)
    assert answer == b"hello"
    assert {("x-first", "before"), ("x-first-bin", b"\x00\xff\x80")} <= set(call.initial_metadata())
    assert {("x-last", "after"), ("x-last-bin", b"\xfe\x00")} <= set(call.trailing_metadata())
    came = dict(upstream.calls[-1].metadata)
    assert came["x-raw-bin"] == b"\x00\x01\xff"
    assert [value for name, value in upstream.calls[-1].metadata if name == "x-one"] in (["1", "2"], ["1, 2"])

    with pytest.raises(grpc.RpcError) as failed:
        unary(channel, method="Fail")
    assert (failed.value.code(), failed.value.details()) == (StatusCode.NOT_FOUND, "no such cart: 100% größer")
    assert ("x-why-bin", b"\x01\x02") in failed.value.trailing_metadata()

    late = counting(channel, 0, method="FailLate")
    assert read(late)[0] == expected(3)
    assert (late.code(), late.details()) == (StatusCode.RESOURCE_EXHAUSTED, "three are enough")


@HARMLESS
def test_a_thousand_messages_pass(start, upstream, match, fault):
    _, channel = start(fault, match=match)
    messages = [payload(at, at * 7 % 3_000) for at in range(MESSAGES)]
    assert collect(channel, messages) == (MESSAGES, sum(map(len, messages)))
    assert upstream.calls[-1].messages == messages
    counted = counting(channel, MESSAGES, 500)
    assert read(counted)[0] == expected(MESSAGES, 500)
    assert ("x-last", "after") in counted.trailing_metadata()
    answers, _, code = read(chat(channel, iter(messages)))
    assert (answers, code) == (messages, StatusCode.OK)
    large = bytes(range(256)) * 12_000
    assert unary(channel, large) == large
    assert unary(channel, b"") == b""
    assert unary(channel, large, compression=grpc.Compression.Gzip) == large


def test_bidirectional_streams_go_back_and_forth(start):
    """Each message waits for the answer to the one before: nothing may be kept back."""
    _, channel = start("bandwidth: 10GiB/s", "truncate: {after: 1000000 messages}")

    answers = []

    def talk():
        for at in range(50):
            eventually(lambda wanted=at: len(answers) >= wanted, True, pause=0.001)
            yield payload(at, 20)

    stream = chat(channel, talk())
    for answer in stream:
        answers.append(answer)
    assert answers == expected(50, 20)


# Statuses.


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.PERMISSION_DENIED, StatusCode.DEADLINE_EXCEEDED])
def test_an_abort_is_a_status(start, upstream, code):
    server, channel = start(f'abort: {{grpc: {code.name}, message: "later, 100% größer"}}')
    with pytest.raises(grpc.RpcError) as failed:
        unary(channel)
    assert (failed.value.code(), failed.value.details()) == (code, "later, 100% größer")
    stream = counting(channel, 3)
    assert read(stream)[::2] == ([], code)
    assert read(chat(channel, iter([b"one"])))[::2] == ([], code)
    assert upstream.calls == []
    check_injected(server, "abort", 3)


def test_an_abort_has_trailers_only(start):
    """One HEADERS frame that ends the stream: grpcio would hide the difference."""
    server, _ = start("abort: {grpc: UNAVAILABLE}")
    call = RawCall(server.port(), "Count", count_of(3))
    with closing(call.client):
        head = call.wait_for(h2.events.ResponseReceived)
        call.wait_for(h2.events.StreamEnded)
        fields = dict(head.headers)
        assert (fields[":status"], fields["grpc-status"]) == ("200", "14")
        assert fields["content-type"].startswith("application/grpc")
        assert call.seen(h2.events.DataReceived) == call.seen(h2.events.TrailersReceived) == []


def test_methods_are_told_apart(start):
    server, channel = start("abort: {grpc: UNAVAILABLE}", match=f"grpc: {{service: {SERVICE}, method: Echo}}")
    with pytest.raises(grpc.RpcError):
        unary(channel)
    assert read(counting(channel, 3))[::2] == (expected(3), StatusCode.OK)
    check_injected(server, "abort", 1)


# Late messages.


def check_spacing(began, moments, seconds=DELAY_SECONDS):
    """Each message waits for itself after the one before, so the k-th is never earlier than k waits."""
    for at, moment in enumerate(moments, 1):
        assert moment - began >= at * seconds, f"message {at} of {[moment - began for moment in moments]}"


def test_messages_of_a_server_s_stream_are_late(start):
    server, channel = start("delay: {fixed: 100ms, before: message}")
    began = time.monotonic()
    messages, moments, code = read(counting(channel, 6))
    assert (messages, code) == (expected(6), StatusCode.OK)
    check_spacing(began, moments)
    assert max(after - before for before, after in zip(moments, moments[1:], strict=False)) < 5
    check_injected(server, "delay")


def test_messages_of_a_client_s_stream_are_late(start, upstream):
    _, channel = start("delay: {fixed: 100ms, before: message, direction: request}")
    began = time.monotonic()
    assert collect(channel, expected(6)) == (6, 96)
    check_spacing(began, [moment for moment, _ in upstream.calls[-1].received])


def test_a_unary_answer_is_late(start):
    _, channel = start("delay: {fixed: 300ms, before: message}")
    began = time.monotonic()
    assert unary(channel) == b"hello"
    assert time.monotonic() - began >= 0.3


def test_waits_are_drawn_for_each_message(start):
    _, channel = start("delay: {uniform: [20ms, 150ms], before: message}")
    began = time.monotonic()
    _, moments, code = read(counting(channel, 10))
    assert code == StatusCode.OK
    check_spacing(began, moments, 0.02)


def test_late_answers_do_not_hold_requests_back(start, upstream):
    _, channel = start("delay: {fixed: 1s, before: message}")
    answers, moments, code = read(chat(channel, iter(expected(4))))
    assert (answers, code) == (expected(4), StatusCode.OK)
    assert len(upstream.calls[-1].received) == 4
    assert upstream.calls[-1].received[-1][0] < moments[1]


def test_late_requests_do_not_hold_answers_back(start, upstream):
    _, channel = start("delay: {fixed: 1s, before: message, direction: request}")
    answers, moments, code = read(chat(channel, iter(expected(4))))
    assert (answers, code) == (expected(4), StatusCode.OK)
    arrived = [moment for moment, _ in upstream.calls[-1].received]
    assert all(answer < arrival for answer, arrival in zip(moments, arrived[1:], strict=False))


def test_a_delay_before_the_body_follows_the_metadata(start):
    server, channel = start("delay: {fixed: 1s, before: body}")
    began = time.monotonic()
    stream = counting(channel, 5)
    first = dict(stream.initial_metadata())
    head = time.monotonic()
    messages, moments, code = read(stream)
    assert first["x-first"] == "before"
    assert "fault=delay" in first["squall-fault"]
    assert (messages, code) == (expected(5), StatusCode.OK)
    assert moments[0] - began >= 1
    assert moments[0] - head >= 0.3
    check_injected(server, "delay")


def test_two_streams_wait_side_by_side(start):
    _, channel = start("delay: {fixed: 300ms, before: message}")
    began = time.monotonic()
    streams = [counting(channel, 4) for _ in range(10)]
    assert [read(stream)[0] for stream in streams] == [expected(4)] * 10
    assert 4 * 0.3 <= time.monotonic() - began < 10 * 4 * 0.3


# Cut streams.


def test_a_clean_cut_with_a_status(start, upstream):
    server, channel = start("truncate: {after: 3 messages, end: clean, grpc: UNAVAILABLE}")
    for stream in [counting(channel, 10), counting(channel, 10_000, 100, gap=0.01), chat(channel, iter(expected(10)))]:
        messages, _, code = read(stream)
        assert (len(messages), code) == (3, StatusCode.UNAVAILABLE)
        assert [message[:4] for message in messages] == [message[:4] for message in expected(3)]
    assert [call.over.wait(WAIT_SECONDS) for call in upstream.calls] == [True] * 3
    assert upstream.calls[1].sent < 10_000
    check_injected(server, "truncate", 3)
    check_nothing_left(server)


@pytest.mark.parametrize("after", ["{messages: 2}", "{events: 2}", "2 events"])
def test_ways_to_say_after_two_messages(start, after):
    _, channel = start(f"truncate: {{after: {after}, end: clean, grpc: ABORTED}}")
    assert read(counting(channel, 10))[::2] == (expected(2), StatusCode.ABORTED)


def test_a_stream_that_ends_before_the_cut_is_whole(start):
    _, channel = start("truncate: {after: 3 messages, end: clean, grpc: UNAVAILABLE}")
    assert read(counting(channel, 2))[::2] == (expected(2), StatusCode.OK)


def test_a_clean_cut_without_a_status(start):
    """The stream ends with no trailers: UNKNOWN in grpcio, which may drop messages that it hasn't read."""
    server, channel = start("truncate: {after: 3 messages, end: clean}")
    messages, _, code = read(counting(channel, 10))
    assert (messages, code) == (expected(len(messages)), StatusCode.UNKNOWN)
    assert len(messages) <= 3
    call = RawCall(server.port(), "Count", count_of(10))
    with closing(call.client):
        call.wait_for(h2.events.StreamEnded)
        assert call.messages() == (expected(3), b"")
        assert call.seen(h2.events.TrailersReceived) == []
    check_injected(server, "truncate", 2)


def test_a_cut_in_the_middle_of_a_message(start):
    """Bytes count the five bytes before each message too: two messages of 16, and 8 bytes of the third."""
    server, channel = start("truncate: {after: 50B, end: clean, grpc: DATA_LOSS}")
    messages, _, code = read(counting(channel, 10))
    assert (messages, code) == (expected(2), StatusCode.DATA_LOSS)
    call = RawCall(server.port(), "Count", count_of(10))
    with closing(call.client):
        trailers = dict(call.wait_for(h2.events.TrailersReceived).headers)
        assert trailers["grpc-status"] == "15"
        messages, rest = call.messages()
        assert messages == expected(2)
        assert len(rest) == 8


def test_the_connection_is_closed_in_the_middle(start, upstream):
    server, channel = start(
        "truncate: {after: 3 messages, end: close}", match=f"grpc: {{service: {SERVICE}, method: Count}}"
    )
    messages, _, code = read(counting(channel, 10, gap=0.05))
    assert (messages, code) == (expected(len(messages)), StatusCode.UNAVAILABLE)
    assert len(messages) <= 3
    call = RawCall(server.port(), "Count", count_of(10))
    with closing(call.client):
        with pytest.raises(ConnectionError):
            call.wait_for(h2.events.StreamEnded)
        assert call.messages() == (expected(3), b"")
    assert unary(channel, wait_for_ready=True) == b"hello"
    assert [call.over.wait(WAIT_SECONDS) for call in upstream.calls] == [True] * 3
    check_injected(server, "truncate", 2)
    check_nothing_left(server)


@pytest.mark.parametrize(
    ("code", "number", "status"),
    [
        ("", INTERNAL_ERROR, StatusCode.INTERNAL),
        (", code: CANCEL", CANCEL, StatusCode.CANCELLED),
        (", code: REFUSED_STREAM", REFUSED_STREAM, StatusCode.UNAVAILABLE),
        (", code: ENHANCE_YOUR_CALM", ENHANCE_YOUR_CALM, StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["INTERNAL_ERROR", "CANCEL", "REFUSED_STREAM", "ENHANCE_YOUR_CALM"],
)
def test_the_stream_is_reset_in_the_middle(start, upstream, code, number, status):
    """The status is the one that gRPC over HTTP/2 gives to the error code; the rest of the connection goes on."""
    reset = f"truncate: {{after: 3 messages, end: reset{code}}}"
    server, channel = start(reset, match=f"grpc: {{service: {SERVICE}, method: Count}}")
    with closing(grpc.insecure_channel(f"127.0.0.1:{server.port()}")) as neighbour:
        assert unary(neighbour) == b"hello"
    messages, _, seen = read(counting(channel, 10))
    assert (messages, seen) == (expected(len(messages)), status)
    assert len(messages) <= 3
    assert unary(channel) == b"hello"
    call = RawCall(server.port(), "Count", count_of(10))
    with closing(call.client):
        assert call.wait_for(h2.events.StreamReset).error_code == number
        assert call.messages() == (expected(3), b"")
        assert call.seen(h2.events.StreamEnded) == call.seen(h2.events.TrailersReceived) == []
    assert [call.over.wait(WAIT_SECONDS) for call in upstream.calls] == [True] * 4
    check_injected(server, "truncate", 2)


def test_a_client_s_stream_is_cut(start, upstream):
    """The server takes what came for the whole, and answers."""
    server, channel = start("truncate: {after: 2 messages, end: clean, direction: request}")
    assert collect(channel, expected(5)) == (2, 32)
    assert upstream.calls[-1].messages == expected(2)
    check_injected(server, "truncate")


def test_a_client_s_stream_is_reset(start, upstream):
    _, channel = start("truncate: {after: 2 messages, end: reset, direction: request}")
    with pytest.raises(grpc.RpcError):
        collect(channel, expected(5))
    eventually(lambda: [call.over.is_set() for call in upstream.calls], lambda over: all(over))
    assert all(len(call.received) <= 2 for call in upstream.calls)


# Messages lost, twice, changed.


def test_messages_are_lost_and_come_twice(start, upstream):
    server, channel = start("drop: {every: 3}", "duplicate: {every: 5}")
    sent = expected(15)
    kept = [message for at, message in enumerate(sent, 1) if at % 3]
    got = read(counting(channel, 15))[0]
    assert [message for at, message in enumerate(got) if message not in got[:at]] == kept
    assert len(got) > len(kept)
    check_injected(server, "drop")
    check_injected(server, "duplicate")


def test_every_third_message_is_lost(start, upstream):
    _, channel = start("drop: {every: 3}")
    assert read(counting(channel, 10))[::2] == ([expected(10)[at] for at in (0, 1, 3, 4, 6, 7, 9)], StatusCode.OK)
    _, channel = start("drop: {every: 3, direction: request}")
    assert collect(channel, expected(10)) == (7, 7 * 16)
    assert upstream.calls[-1].messages == [expected(10)[at] for at in (0, 1, 3, 4, 6, 7, 9)]


def test_every_third_message_comes_twice(start, upstream):
    twice = [expected(7)[at] for at in (0, 1, 2, 2, 3, 4, 5, 5, 6)]
    _, channel = start("duplicate: {every: 3}")
    assert read(counting(channel, 7))[::2] == (twice, StatusCode.OK)
    _, channel = start("duplicate: {every: 3, direction: request}")
    collect(channel, expected(7))
    assert upstream.calls[-1].messages == twice


def test_the_only_message_is_lost(start, upstream):
    """grpcio takes an OK without an answer for None, and a server does not take a request without a message."""
    _, channel = start("drop: {every: 1}")
    assert unary(channel) is None
    assert len(upstream.calls) == 1
    _, channel = start("drop: {every: 1, direction: request}")
    with pytest.raises(grpc.RpcError) as failed:
        unary(channel)
    assert failed.value.code() == StatusCode.UNIMPLEMENTED
    assert len(upstream.calls) == 1


@pytest.mark.parametrize(("fault", "low", "high"), [("drop", 720, 880), ("duplicate", 1_120, 1_280)])
def test_a_share_of_messages_is_drawn_by_the_seed(start, fault, low, high):
    def numbers(seed):
        _, channel = start(f"{fault}: {{messages: 20%}}", seed=seed)
        got, _, code = read(counting(channel, MESSAGES))
        assert code == StatusCode.OK
        assert got == sorted(got)
        return got

    first = numbers(1)
    assert low < len(first) < high
    assert numbers(1) == first
    assert numbers(2) != first


def test_one_byte_of_each_drawn_message_is_changed(start, upstream):
    def check(sent, got):
        assert {differences(one, other) for one, other in zip(sent, got, strict=True)} == {0, 1}
        assert 60 < sum(map(differences, sent, got)) < 140

    server, channel = start("corrupt: {messages: 50%}")
    got, _, code = read(counting(channel, 200, 50))
    assert code == StatusCode.OK
    check(expected(200, 50), got)
    check_injected(server, "corrupt")
    _, channel = start("corrupt: {messages: 50%, direction: request}")
    collect(channel, expected(200, 50))
    check(expected(200, 50), upstream.calls[-1].messages)


def test_a_share_of_bytes_is_changed(start):
    """Only payloads: were it the lengths before them, nothing could be read any more."""
    _, channel = start("corrupt: {bytes: 10%}")
    got, _, code = read(counting(channel, 200, 500))
    assert code == StatusCode.OK
    assert 8_000 < sum(map(differences, expected(200, 500), got)) < 12_000
    _, channel = start("corrupt: {bytes: 10%, messages: 30%}")
    got, _, code = read(counting(channel, 200, 500))
    assert code == StatusCode.OK
    touched = [count for count in map(differences, expected(200, 500), got) if count]
    assert 30 < len(touched) < 90
    assert 0.07 < sum(touched) / (500 * len(touched)) < 0.13


# Slow and stalled streams.


def test_bandwidth_of_a_server_s_stream(start):
    server, channel = start("bandwidth: {response: 50KiB/s}")
    began = time.monotonic()
    messages, _, code = read(counting(channel, 20, 5_000))
    took = time.monotonic() - began
    assert (messages, code) == (expected(20, 5_000), StatusCode.OK)
    assert 0.9 * 20 * 5_005 / 51_200 <= took < 15
    check_injected(server, "bandwidth")


def test_bandwidth_of_a_client_s_stream(start, upstream):
    _, channel = start("bandwidth: {request: 50KiB/s}")
    began = time.monotonic()
    assert collect(channel, expected(20, 5_000)) == (20, 100_000)
    assert 0.9 * 20 * 5_005 / 51_200 <= time.monotonic() - began < 15
    assert read(counting(channel, 1_000, 5_000, timeout=10))[2] == StatusCode.OK


def test_a_stall_until_the_client_s_deadline(start, upstream):
    server, channel = start("stall: {after: 2 messages}")
    stream = counting(channel, 10, timeout=1)
    messages, _, code = read(stream)
    assert (messages, code) == (expected(2), StatusCode.DEADLINE_EXCEEDED)
    assert upstream.calls[-1].over.wait(WAIT_SECONDS)
    check_injected(server, "stall")
    check_nothing_left(server)


def test_a_stall_without_a_limit_is_left_by_cancel(start, upstream):
    server, channel = start("stall: {}")
    stream = counting(channel, 1_000_000, 1_000)
    assert dict(stream.initial_metadata())["x-first"] == "before"
    eventually(lambda: server.metrics().sum("squall_faults_active"), 1)
    stream.cancel()
    assert upstream.calls[-1].over.wait(WAIT_SECONDS)
    assert upstream.calls[-1].sent < 100_000
    check_nothing_left(server)


def test_a_stall_that_ends(start):
    _, channel = start("stall: {after: 2 messages, limit: 500ms}")
    began = time.monotonic()
    messages, moments, code = read(counting(channel, 6))
    assert (messages, code) == (expected(6), StatusCode.OK)
    assert moments[2] - began >= 0.5
    _, channel = start("stall: {after: 2 messages, limit: 500ms, end: reset}")
    began = time.monotonic()
    messages, _, code = read(counting(channel, 6))
    assert (messages, code) == (expected(2), StatusCode.INTERNAL)
    assert time.monotonic() - began >= 0.5
    _, channel = start("stall: {after: 2 messages, limit: 500ms, end: close}")
    messages, _, code = read(counting(channel, 6))
    assert (messages, code) == (expected(2), StatusCode.UNAVAILABLE)


# What can't be applied.


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("corrupt: {malformed: chunk}", "not HTTP/1"),
        ("corrupt: {malformed: status-line}", "not HTTP/1"),
        ("corrupt: {malformed: header}", "not HTTP/1"),
        ("corrupt: {malformed: content-length}", "not HTTP/1"),
        ("corrupt: {malformed: json}", "not JSON"),
        ("truncate: 50%", "length unknown"),
        ("dribble: {chunks: 10, over: 1s}", "length unknown"),
    ],
)
def test_inapplicable_faults_are_counted_and_do_no_harm(start, fault, reason):
    server, channel = start(fault)
    assert read(counting(channel, 10))[::2] == (expected(10), StatusCode.OK)
    eventually(lambda: server.metrics().sum("squall_faults_skipped_total", rule=RULE), 1)
    [(labels, _)] = [one for one in server.metrics().series("squall_faults_skipped_total", rule=RULE) if one[1]]
    assert labels["reason"].startswith(reason)
    assert server.metrics().sum("squall_faults_injected_total") == 0
