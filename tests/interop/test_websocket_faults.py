"""Faults on WebSocket, seen by websockets on both sides: messages late, lost, twice, changed, cut, and what passes."""

import asyncio
import random
import socket
import struct
import time
from contextlib import closing

import pytest
import websockets.sync.client
from squall import eventually
from websocket_server import BINARY, CLOSE, PING, PONG, RawClient, Server, digest, frame, mixed, payload
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidMessage, InvalidStatus

WAIT_SECONDS = 30
MESSAGES = 10_000
LEAVING_CLIENTS = 1_000
RULE = "the rule"
ABNORMAL = 1006


@pytest.fixture
def upstream():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def start(squall, upstream):
    """A function that starts squall with these faults before the server."""

    def start(*faults, seed=1, match="path: /"):
        return squall(f"""
seed: {seed}
listeners: {{web: {{address: 127.0.0.1:0, upstream: chat}}}}
upstreams: {{chat: {{url: 'http://127.0.0.1:{upstream.port}'}}}}
rules: [{{name: {RULE}, match: {{{match}}}, faults: [{", ".join(faults)}]}}]
""")

    return start


def run(work, seconds=WAIT_SECONDS):
    """Runs a coroutine to its end, bounded in time."""
    return asyncio.run(asyncio.wait_for(work, seconds))


def dial(server, do, compression="deflate", **options):
    options = {"ping_interval": None, "close_timeout": 20, "proxy": None, "max_size": None, **options}
    return connect(f"ws://127.0.0.1:{server.port()}/?do={do}", compression=compression, **options)


async def receive(client, count=None):
    """Up to so many messages with the moments they came, and the end if it came first."""
    messages, moments = [], []
    try:
        while count is None or len(messages) < count:
            messages.append(await client.recv())
            moments.append(time.monotonic())
    except ConnectionClosed as error:
        return messages, moments, error
    return messages, moments, None


def received(server, do, count=None, compression="deflate"):
    """What a client gets that says nothing."""

    async def work():
        async with dial(server, do, compression) as client:
            return await receive(client, count)

    return run(work())


def send(server, upstream, messages, do="sink"):
    """What of a client's messages reaches the server. Leaves properly, so that all have arrived."""

    async def work():
        async with dial(server, do) as client:
            for message in messages:
                await client.send(message)

    run(work())
    session = upstream.sessions[-1]
    assert session.ended.wait(WAIT_SECONDS)
    return session.messages


def expected(count, size=16):
    return [payload(at, size) for at in range(count)]


def end_of(error):
    """Code and reason of the close frame that came; 1006 where none came (RFC 6455, section 7.1.5)."""
    return (error.rcvd.code, error.rcvd.reason) if error.rcvd else (ABNORMAL, "")


def check_injected(server, fault, count=1):
    eventually(lambda: server.metrics().sum("squall_faults_injected_total", rule=RULE, fault=fault), count)
    assert server.metrics().sum("squall_faults_skipped_total") == 0


def check_nothing_left(server, upstream):
    for session in upstream.sessions:
        assert session.ended.wait(WAIT_SECONDS)
    eventually(lambda: server.metrics().sum("squall_faults_active"), 0)
    eventually(lambda: server.metrics().sum("squall_requests_held"), 0)
    eventually(lambda: server.metrics().sum("squall_connections", listener="web"), 0)


def differences(one, other):
    return sum(a != b for a, b in zip(one, other, strict=True))


# What passes.


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize(
    ("match", "faults"),
    [
        ("path: /elsewhere", ["abort: 500"]),
        ("path: /", ["bandwidth: 10GiB/s"]),
        ("path: /", [f"truncate: {{after: 1000000 messages, direction: {way}}}" for way in ("request", "response")]),
    ],
    ids=["unmatched", "paced", "looked at"],
)
def test_ten_thousand_messages_each_way_pass(start, upstream, match, faults, compression):
    server = start(*faults, match=match)

    async def work():
        async with dial(server, f"both&n={MESSAGES}", compression) as client:

            async def send_all():
                for message in mixed(MESSAGES):
                    await client.send(message)

            (messages, _, error), _ = await asyncio.gather(receive(client, MESSAGES), send_all())
            assert error is None
            return messages, bool(client.protocol.extensions)

    messages, compressed = run(work())
    assert digest(messages) == digest(mixed(MESSAGES))
    assert upstream.sessions[-1].ended.wait(WAIT_SECONDS)
    assert digest(upstream.sessions[-1].messages) == digest(mixed(MESSAGES))
    assert end_of(upstream.sessions[-1].closed)[0] == 1000
    assert compressed == (compression == "deflate" and (compressed or "truncate" not in faults[0]))
    check_nothing_left(server, upstream)


def test_the_blocking_client(start):
    server = start("bandwidth: 10GiB/s", "delay: {fixed: 1ms, before: message}")
    with websockets.sync.client.connect(f"ws://127.0.0.1:{server.port()}/?do=echo", proxy=None, max_size=None) as client:
        for message in mixed(300):
            client.send(message)
            assert client.recv(WAIT_SECONDS) == message


def test_the_server_s_close_comes_after_its_last_message(start):
    server = start("delay: {fixed: 100ms, before: message}")
    began = time.monotonic()
    messages, _, error = received(server, "bye&n=4&code=4321")
    assert messages == expected(4)
    assert end_of(error) == (4321, "that is all")
    assert time.monotonic() - began >= 0.4


def test_fragments_and_control_frames(start, upstream):
    """A message in many frames is one message, and pings between them are answered."""
    server = start("delay: {fixed: 200ms, before: message}", "delay: {fixed: 200ms, before: message, direction: request}")

    async def work():
        async with dial(server, "echo", None) as client:

            async def fragments():
                for at in range(10):
                    await (await client.ping())
                    yield f"fragment {at} "

            began = time.monotonic()
            await client.send(fragments())
            answer = await client.recv()
            took = time.monotonic() - began
            await (await client.ping(b"late"))
            return answer, took

    answer, took = run(work())
    assert answer == "".join(f"fragment {at} " for at in range(10))
    assert 2 * 0.2 <= took
    assert upstream.sessions[-1].messages == [answer]


def test_fragmented_messages_are_counted_as_one(start, upstream):
    server = start("drop: {every: 2, direction: request}", "drop: {every: 3}")

    async def work():
        async with dial(server, "echo") as client:
            for at in range(6):
                await client.send([f"{at}-", "a" * 200, "", "-z"])
            messages, _, _ = await receive(client, 2)
            await (await client.ping())
            return messages

    assert run(work()) == [f"{at}-{'a' * 200}-z" for at in (0, 2)]
    assert upstream.sessions[-1].messages == [f"{at}-{'a' * 200}-z" for at in (0, 2, 4)]


@pytest.mark.parametrize(
    "fault", ["delay: {fixed: 1ms, before: message, direction: request}", "drop: {every: 4, direction: request}"]
)
def test_masked_frames_split_anywhere(start, upstream, fault):
    """Heads, masks and payloads in pieces of a few bytes, pings and fragments between, of all forms of the length."""
    server = start(fault)
    sizes = [0, 1, 3, 125, 126, 127, 300, 2, 5, 0, 66_000, 9]
    sent = [payload(at, size)[:size] for at, size in enumerate(sizes)]
    kept = [message for at, message in enumerate(sent, 1) if "drop" not in fault or at % 4]
    with closing(RawClient(server.port(), "/?do=echo")) as client:
        for at, message in enumerate(sent):
            mask = random.Random(at).randbytes(4)
            half = len(message) // 2
            if len(message) > 60_000:
                client.sock.sendall(frame(BINARY, message, mask))
            elif at % 2:
                client.send_in_pieces(frame(BINARY, message, mask), at)
            else:
                parts = [frame(BINARY, message[:half], mask, False), frame(PING, b"hi"), frame(0, message[half:], mask)]
                client.send_in_pieces(b"".join(parts), at)
        frames = [client.read_frame() for _ in range(len(kept) + 5)]
        client.sock.sendall(frame(CLOSE, b"\x03\xe8"))
        frames.append(client.read_frame())
    assert upstream.sessions[-1].messages == kept
    assert [data for first, data in frames if first == 0x80 | BINARY] == kept
    assert [data for first, data in frames if first == 0x80 | PONG] == [b"hi"] * 5
    assert frames[-1] == (0x80 | CLOSE, b"\x03\xe8")


# The handshake.


def test_a_late_handshake(start, upstream):
    server = start("delay: 300ms")
    began = time.monotonic()
    messages, moments, _ = received(server, "count&n=3", 3)
    assert messages == expected(3)
    assert moments[0] - began >= 0.3
    check_injected(server, "delay")


def test_an_aborted_handshake(start, upstream):
    server = start("abort: {status: 503, retry_after: 1s}")
    with pytest.raises(InvalidStatus) as refused:
        received(server, "echo")
    assert refused.value.response.status_code == 503
    assert refused.value.response.headers["Retry-After"] == "1"
    assert "fault=abort" in refused.value.response.headers["Squall-Fault"]
    assert upstream.sessions == []
    check_injected(server, "abort")


@pytest.mark.parametrize("fault", ["reset", "close"])
def test_a_handshake_without_an_answer(start, upstream, fault):
    server = start(f"{fault}: {{}}")
    with pytest.raises((InvalidMessage, ConnectionResetError)):
        received(server, "echo")
    assert upstream.sessions == []
    check_injected(server, fault)


def test_a_fault_is_announced(start):
    server = start("truncate: {after: 3 messages, end: clean}", "bandwidth: 1MiB/s")

    async def work():
        async with dial(server, "count&n=2") as client:
            return client.response.headers.get_all("Squall-Fault")

    announced = run(work())
    assert [f"fault={fault}" in " ".join(announced) for fault in ("truncate", "bandwidth")] == [True, True]


# Late messages.


def check_spacing(began, moments, seconds):
    """Each message waits for itself after the one before, so the k-th is never earlier than k waits."""
    for at, moment in enumerate(moments, 1):
        assert moment - began >= at * seconds, f"message {at} of {[moment - began for moment in moments]}"


def test_answers_are_late(start):
    server = start("delay: {fixed: 100ms, before: message}")
    began = time.monotonic()
    messages, moments, error = received(server, "count&n=6", 6)
    assert (messages, error) == (expected(6), None)
    check_spacing(began, moments, 0.1)
    check_injected(server, "delay")


def test_requests_are_late(start, upstream):
    server = start("delay: {uniform: [80ms, 120ms], before: message, direction: request}")
    began = time.monotonic()
    assert send(server, upstream, expected(6)) == expected(6)
    check_spacing(began, [moment for moment, _ in upstream.sessions[-1].received], 0.08)
    check_injected(server, "delay")


async def echo_five(server):
    async with dial(server, "echo") as client:
        for message in expected(5):
            await client.send(message)
        return await receive(client, 5)


def test_late_answers_do_not_hold_requests_back(start, upstream):
    server = start("delay: {fixed: 700ms, before: message}")
    messages, moments, _ = run(echo_five(server))
    assert messages == expected(5)
    assert len(upstream.sessions[-1].received) == 5
    assert upstream.sessions[-1].received[-1][0] < moments[1]


def test_late_requests_do_not_hold_answers_back(start, upstream):
    server = start("delay: {fixed: 700ms, before: message, direction: request}")
    messages, moments, _ = run(echo_five(server))
    assert messages == expected(5)
    arrived = [moment for moment, _ in upstream.sessions[-1].received]
    assert all(answer < arrival for answer, arrival in zip(moments, arrived[1:], strict=False))


def test_a_delay_before_the_first_byte_follows_the_handshake(start):
    server = start("delay: {fixed: 700ms, before: body}")

    async def work():
        began = time.monotonic()
        async with dial(server, "count&n=5") as client:
            shaken = time.monotonic()
            return began, shaken, *await receive(client, 5)

    began, shaken, messages, moments, _ = run(work())
    assert messages == expected(5)
    assert moments[0] - began >= 0.7
    assert moments[0] - shaken >= 0.2
    check_injected(server, "delay")


# Messages lost, twice, changed.

BY_NUMBER = [
    ("drop", [0, 1, 3, 4, 6, 7, 9]),
    ("duplicate", [0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9]),
]


@pytest.mark.parametrize(("fault", "numbers"), BY_NUMBER)
def test_every_third_answer(start, fault, numbers):
    server = start(f"{fault}: {{every: 3}}")
    messages, _, error = received(server, "bye&n=10&code=1000")
    assert messages == [expected(10)[at] for at in numbers]
    assert end_of(error) == (1000, "that is all")
    check_injected(server, fault)


@pytest.mark.parametrize(("fault", "numbers"), BY_NUMBER)
def test_every_third_request(start, upstream, fault, numbers):
    server = start(f"{fault}: {{every: 3, direction: request}}")
    assert send(server, upstream, expected(10)) == [expected(10)[at] for at in numbers]
    assert end_of(upstream.sessions[-1].closed)[0] == 1000
    check_injected(server, fault)


@pytest.mark.parametrize("direction", ["request", "response"])
@pytest.mark.parametrize(("fault", "low", "high"), [("drop", 720, 880), ("duplicate", 1_120, 1_280)])
def test_a_share_of_messages_is_drawn_by_the_seed(start, upstream, fault, low, high, direction):
    def numbers(seed):
        server = start(f"{fault}: {{messages: 20%, direction: {direction}}}", seed=seed)
        if direction == "request":
            got = send(server, upstream, expected(1_000))
        else:
            got = received(server, "bye&n=1000&code=1000")[0]
        assert got == sorted(got)
        assert set(got) <= set(expected(1_000))
        return got

    first = numbers(1)
    assert low < len(first) < high
    assert numbers(1) == first
    assert numbers(2) != first


@pytest.mark.parametrize("direction", ["request", "response"])
@pytest.mark.parametrize(
    ("how", "touched", "bytes_each"),
    [
        ("messages: 50%", (60, 140), (1, 1)),
        ("bytes: 10%", (200, 200), (20, 35)),
        ("bytes: 10%, messages: 50%", (60, 140), (20, 35)),
    ],
    ids=["messages", "bytes", "both"],
)
def test_messages_are_changed(start, upstream, direction, how, touched, bytes_each):
    """Their number and lengths are not, and the connection lives on."""
    server = start(f"corrupt: {{{how}, direction: {direction}}}")
    sent = expected(200, 260)
    got = send(server, upstream, sent) if direction == "request" else received(server, "bye&n=200&size=260&code=1000")[0]
    changed = [count for count in map(differences, sent, got) if count]
    assert touched[0] <= len(changed) <= touched[1]
    assert bytes_each[0] <= sum(changed) / len(changed) <= bytes_each[1]
    check_injected(server, "corrupt")


def test_changed_text_is_still_text(start, upstream):
    """ASCII stays ASCII: anything else could be no UTF-8, and would end the connection (RFC 6455, section 8.1)."""
    sent = [f"{at}: The quick brown fox jumps over the lazy dog." for at in range(200)]
    got = send(start("corrupt: {bytes: 20%, direction: request}"), upstream, sent)
    assert [(type(message), len(message), message.isascii()) for message in got] == [
        (str, len(message), True) for message in sent
    ]
    assert sum(map(differences, sent, got)) > 200


@pytest.mark.parametrize(
    "fault",
    [
        "drop: {every: 3}",
        "duplicate: {every: 3}",
        "corrupt: {messages: 10%}",
        "drop: {every: 3, direction: request}",
        "corrupt: {bytes: 1%, direction: request}",
    ],
)
def test_the_offer_to_compress_is_taken_back(start, upstream, fault):
    """A message can't be taken out of a compressed stream: the ones after it refer to it (RFC 7692, section 7.2.3.2)."""
    server = start(fault)

    async def work():
        async with dial(server, "echo") as client:
            assert "Sec-WebSocket-Extensions" in client.request.headers
            assert "Sec-WebSocket-Extensions" not in client.response.headers
            return client.protocol.extensions

    assert run(work()) == []
    assert upstream.sessions[-1].extensions == []


def test_slow_bytes_stay_compressed(start, upstream):
    server = start("bandwidth: 1MiB/s", "delay: {fixed: 1ms, before: body}")

    async def work():
        async with dial(server, "echo") as client:
            await client.send("x" * 100_000)
            assert await client.recv() == "x" * 100_000
            return [extension.name for extension in client.protocol.extensions]

    assert run(work()) == ["permessage-deflate"] == upstream.sessions[-1].extensions


# Cut streams.


@pytest.mark.parametrize(
    ("details", "end"),
    [
        ("end: clean", (1001, "")),
        ('end: clean, close_code: 1011, reason: "out of größer"', (1011, "out of größer")),
        ("end: clean, close_code: 4999", (4999, "")),
        ("end: close", (ABNORMAL, "")),
        ("end: reset", (ABNORMAL, "")),
    ],
)
def test_answers_are_cut(start, upstream, details, end):
    server = start(f"truncate: {{after: 3 messages, {details}}}")
    messages, _, error = received(server, "count&n=10")
    if "reset" in details:  # what a client hasn't read yet when the RST comes may be lost
        assert messages == expected(len(messages))
        assert len(messages) <= 3
    else:
        assert messages == expected(3)
    assert end_of(error) == end
    check_injected(server, "truncate")
    check_nothing_left(server, upstream)


def test_a_cut_is_a_fin_or_a_rst(start):
    with closing(RawClient(start("truncate: {after: 3 messages, end: close}").port(), "/?do=count&n=10")) as client:
        assert [client.read_frame()[1] for _ in range(3)] == expected(3)
        with pytest.raises(EOFError, match=r"left over: b''"):
            client.read_frame()
    reset = start("truncate: {after: 3 messages, end: reset}", "delay: {fixed: 100ms, before: message}")
    with closing(RawClient(reset.port(), "/?do=count&n=10")) as client:
        with pytest.raises(ConnectionResetError):
            while True:
                client.read_frame()


def test_a_clean_cut_is_a_close_frame_and_a_fin(start):
    server = start('truncate: {after: 2 messages, end: clean, close_code: 1013, reason: "busy"}')
    with closing(RawClient(server.port(), "/?do=count&n=10")) as client:
        assert [client.read_frame()[1] for _ in range(2)] == expected(2)
        assert client.read_frame() == (0x80 | CLOSE, b"\x03\xf5busy")
        client.sock.sendall(frame(CLOSE, b"\x03\xf5"))
        with pytest.raises(EOFError, match=r"left over: b''"):
            client.read_frame()


def test_a_cut_in_the_middle_of_a_message(start):
    """Bytes count the heads of frames too: two bytes before each of these messages."""
    with closing(RawClient(start("truncate: 50B").port(), "/?do=count&n=10")) as client:
        assert [client.read_frame()[1] for _ in range(2)] == expected(2)
        with pytest.raises(EOFError) as end:
            client.read_frame()
    assert str(end.value).endswith(repr(expected(3)[2][:12]))


def test_a_cut_is_seen_by_a_client_that_is_sending(start, upstream):
    """What the client has under way must not turn the close frame into a reset."""
    server = start("truncate: {after: 3 messages, end: clean, close_code: 1011}")

    async def work():
        async with dial(server, "echo") as client:

            async def flood():
                while True:
                    await client.send(b"x" * 1_000)
                    await asyncio.sleep(0)  # sending alone need never give way to receiving

            sending = asyncio.create_task(flood())
            messages, _, error = await receive(client)
            with pytest.raises(ConnectionClosed):
                await sending
            return messages, error

    messages, error = run(work())
    assert messages == [b"x" * 1_000] * 3
    assert end_of(error)[0] == 1011
    check_nothing_left(server, upstream)


@pytest.mark.parametrize(
    ("details", "end"),
    [
        ("end: clean, close_code: 1011, reason: why", (1011, "why")),
        ("end: close", (ABNORMAL, "")),
        ("end: reset", (ABNORMAL, "")),
    ],
)
def test_requests_are_cut(start, upstream, details, end):
    server = start(f"truncate: {{after: 3 messages, {details}, direction: request}}")

    async def work():
        async with dial(server, "sink") as client:
            for message in expected(10):
                await client.send(message)
            return await receive(client)

    with_end = run(work())[2]
    assert isinstance(with_end, ConnectionClosed)
    session = upstream.sessions[-1]
    assert session.ended.wait(WAIT_SECONDS)
    assert session.messages == expected(len(session.messages))
    assert len(session.messages) == 3 or ("reset" in details and len(session.messages) < 3)
    assert end_of(session.closed) == end
    check_injected(server, "truncate")
    check_nothing_left(server, upstream)


# Slow and stalled streams.


def test_bandwidth(start, upstream):
    server = start("bandwidth: {response: 50KiB/s}")
    began = time.monotonic()
    messages, _, _ = received(server, "count&n=20&size=5000", 20, compression=None)
    assert messages == expected(20, 5_000)
    assert 0.9 * 20 * 5_004 / 51_200 <= time.monotonic() - began < 15
    check_injected(server, "bandwidth")

    server = start("bandwidth: {request: 50KiB/s}")
    began = time.monotonic()
    assert send(server, upstream, [random.Random(at).randbytes(5_000) for at in range(20)])
    assert 0.9 * 20 * 5_004 / 51_200 <= upstream.sessions[-1].received[-1][0] - began < 15


async def stalled(server, do, seconds):
    """What came before the stall, and whether the connection was still open after some time of silence."""
    async with dial(server, do, close_timeout=0.2) as client:
        messages, _, _ = await receive(client, 2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.recv(), seconds)
        return messages, client.state.name


def test_a_stall(start, upstream):
    server = start("stall: {after: 2 messages}")
    assert run(stalled(server, "count&n=10", 0.7)) == (expected(2), "OPEN")
    check_injected(server, "stall")
    check_nothing_left(server, upstream)


def test_a_stall_leaves_the_other_direction_alone(start, upstream):
    server = start("stall: {after: 2 messages}")

    async def work():
        async with dial(server, "echo", close_timeout=0.2) as client:
            for message in expected(500):
                await client.send(message)
            messages, _, _ = await receive(client, 2)
            assert messages == expected(2)
            await asyncio.to_thread(eventually, lambda: len(upstream.sessions[-1].received), 500)

    run(work())
    check_nothing_left(server, upstream)


def test_a_stall_that_ends(start):
    began = time.monotonic()
    messages, moments, _ = received(start("stall: {after: 2 messages, limit: 500ms}"), "count&n=6", 6)
    assert messages == expected(6)
    assert moments[2] - began >= 0.5
    for end in ("close", "reset"):
        began = time.monotonic()
        messages, _, error = received(start(f"stall: {{after: 2 messages, limit: 500ms, end: {end}}}"), "count&n=6")
        assert messages == expected(2)
        assert isinstance(error, ConnectionClosedError)
        assert end_of(error)[0] == ABNORMAL
        assert time.monotonic() - began >= 0.5


def test_requests_stall(start, upstream):
    server = start("stall: {after: 2 messages, limit: 700ms, direction: request}")
    began = time.monotonic()
    assert send(server, upstream, expected(4)) == expected(4)
    assert upstream.sessions[-1].received[2][0] - began >= 0.7


# What can't be applied.


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("truncate: 50%", "length unknown"),
        ("dribble: {chunks: 10, over: 1s}", "length unknown"),
        ("corrupt: {malformed: json}", "not JSON"),
    ],
)
def test_inapplicable_faults_are_counted_and_do_no_harm(start, fault, reason):
    server = start(fault)
    messages, _, error = received(server, "bye&n=10&code=1000")
    assert messages == expected(10)
    assert end_of(error)[0] == 1000
    eventually(lambda: server.metrics().sum("squall_faults_skipped_total", rule=RULE), 1)
    [(labels, _)] = [one for one in server.metrics().series("squall_faults_skipped_total", rule=RULE) if one[1]]
    assert labels["reason"] == reason
    assert server.metrics().sum("squall_faults_injected_total") == 0


# Who leaves.

LEAVING = """
seed: 1
listeners: {web: {address: 127.0.0.1:0, upstream: chat}}
upstreams: {chat: {url: 'http://127.0.0.1:%d'}}
rules:
  - {name: shake, match: {path: /shake}, faults: [delay: 60s]}
  - {name: first, match: {path: /first}, faults: [delay: {fixed: 60s, before: body}]}
  - {name: late, match: {path: /late}, faults: [delay: {fixed: 5s, before: message}]}
  - {name: sent late, match: {path: /sent-late}, faults: [delay: {fixed: 5s, before: message, direction: request}]}
  - {name: stall, match: {path: /stall}, faults: [stall: {after: 2 messages}]}
  - {name: slow, match: {path: /slow}, faults: [bandwidth: 1KiB/s]}
  - {name: dribble, match: {path: /dribble}, faults: [dribble: {chunk: 5B, gap: 100ms}]}
  - {name: lossy, match: {path: /lossy}, faults: [drop: 50%%, duplicate: {messages: 20%%}, corrupt: {messages: 10%%}]}
  - {name: cut, match: {path: /cut}, faults: [truncate: {after: 50 messages, end: clean}]}
"""
PATHS = ["/free", "/shake", "/first", "/late", "/sent-late", "/stall", "/slow", "/dribble", "/lossy", "/cut"]


async def leave(port, number):
    """Comes, may talk a little, and leaves without a word at a moment of its own."""
    draw = random.Random(number)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    do = draw.choice(["do=count&n=200&size=1000", "do=echo", "do=sink"])
    head = (
        f"GET {PATHS[number % len(PATHS)]}?{do} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    )
    writer.write(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode())
    if not head.startswith("GET /shake") and draw.random() < 0.9:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"".join(frame(BINARY, draw.randbytes(draw.randint(0, 500))) for _ in range(draw.randint(0, 20))))
    reading = asyncio.create_task(swallow(reader))
    await asyncio.sleep(draw.random() * 0.5)
    if draw.random() < 0.5:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    reading.cancel()
    writer.transport.abort()


async def swallow(reader):
    try:
        while await reader.read(65_536):
            pass
    except OSError:
        pass


def test_a_thousand_leave_and_nothing_stays(squall, upstream):
    server = squall(LEAVING % upstream.port)
    run(leave(server.port(), 0))
    open_before = server.metrics().sum("process_open_fds")

    async def all_leave():
        together = asyncio.Semaphore(100)

        async def one(number):
            async with together:
                await leave(server.port(), number)

        await asyncio.gather(*(one(number) for number in range(LEAVING_CLIENTS)))

    run(all_leave(), 100)
    check_nothing_left(server, upstream)
    eventually(lambda: server.metrics().sum("process_open_fds"), lambda count: count <= open_before + 5, seconds=20)
    assert received(server, "echo", 0) == ([], [], None)
