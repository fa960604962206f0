"""gRPC and WebSockets that no rule meets: real clients and real servers on both sides of squall."""

import asyncio
import hashlib
import random
import threading
import time
from concurrent import futures

import grpc
import pytest
import websockets
import wire
from squall import eventually
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

RULES = "rules: [{name: elsewhere, match: {path: /elsewhere}, faults: [{abort: 500}]}]"


class Calls:
    """A gRPC server: what it was asked, and what became of each call."""

    def __init__(self):
        self.metadata, self.cancelled, self.deadlines = [], threading.Event(), []
        methods = {
            "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "FailLate": grpc.unary_stream_rpc_method_handler(self.fail_late),
            "Sum": grpc.stream_unary_rpc_method_handler(self.sum),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            "Hang": grpc.unary_unary_rpc_method_handler(self.hang),
        }
        self.server = grpc.server(futures.ThreadPoolExecutor(16))
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("passing.Test", methods),))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def echo(self, message, context):
        self.metadata.append([(key, value) for key, value in context.invocation_metadata() if key != "user-agent"])
        context.send_initial_metadata([("x-first", "1"), ("x-first-bin", b"\x00\xff")])
        context.set_trailing_metadata([("x-last", "2"), ("x-last", "3"), ("x-last-bin", bytes(range(256)))])
        return message

    def fail(self, _, context):
        context.set_trailing_metadata([("x-why", "because")])
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not yet: 100 % ä")

    def count(self, message, _):
        yield from (b"%d" % number for number in range(int(message)))

    def fail_late(self, message, context):
        yield from self.count(message, context)
        context.abort(grpc.StatusCode.DATA_LOSS, "half of it")

    def sum(self, messages, _):
        digest = hashlib.sha256()
        count = 0
        for message in messages:
            digest.update(message)
            count += 1
        return b"%d %s" % (count, digest.hexdigest().encode())

    def chat(self, messages, _):
        yield from messages

    def hang(self, _, context):
        self.deadlines.append(context.time_remaining())
        context.add_callback(self.cancelled.set)
        self.cancelled.wait(20)
        return b""


@pytest.fixture
def calls():
    calls = Calls()
    yield calls
    calls.server.stop(None)


@pytest.fixture
def channel(squall, calls):
    server = squall(f"""
listeners: {{web: {{address: 127.0.0.1:0, upstream: real}}}}
upstreams: {{real: {{url: 'http://127.0.0.1:{calls.port}', protocol: h2c}}}}
{RULES}
""")
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.port()}", options) as channel:
        yield channel


SENT = [("x-one", "1"), ("x-one", "2"), ("x-bin", bytes(range(256))), ("authorization", "Bearer x")]


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_a_unary_call(channel, calls, size):
    message = random.Random(size).randbytes(size)
    answer, call = channel.unary_unary("/passing.Test/Echo").with_call(message, timeout=30, metadata=SENT)
    assert answer == message
    assert (call.code(), call.details()) == (grpc.StatusCode.OK, "")
    assert calls.metadata == [SENT]
    first = [pair for pair in call.initial_metadata() if pair[0] != "date"]  # every HTTP/2 response gets one
    assert first == [("x-first", "1"), ("x-first-bin", b"\x00\xff")]
    assert list(call.trailing_metadata()) == [("x-last", "2"), ("x-last", "3"), ("x-last-bin", bytes(range(256)))]


def test_errors(channel):
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/passing.Test/Fail")(b"", timeout=30)
    assert (error.value.code(), error.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not yet: 100 % ä")
    assert ("x-why", "because") in error.value.trailing_metadata()
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/passing.Test/Nothing")(b"", timeout=30)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_streams_of_answers(channel):
    count = channel.unary_stream("/passing.Test/Count")
    assert [int(message) for message in count(b"5000", timeout=30)] == [*range(5000)]
    assert list(count(b"0", timeout=30)) == []
    late = channel.unary_stream("/passing.Test/FailLate")(b"10", timeout=30)
    received = []
    with pytest.raises(grpc.RpcError) as error:
        received.extend(late)
    assert (len(received), error.value.code(), error.value.details()) == (10, grpc.StatusCode.DATA_LOSS, "half of it")


def test_streams_of_messages(channel):
    messages = [random.Random(number).randbytes(number * 10) for number in range(1000)]
    answer = channel.stream_unary("/passing.Test/Sum")(iter(messages), timeout=30)
    assert answer == b"1000 " + hashlib.sha256(b"".join(messages)).hexdigest().encode()
    assert channel.stream_unary("/passing.Test/Sum")(iter([]), timeout=30).startswith(b"0 ")


def test_both_ways_at_once(channel):
    """Each message is sent only when the answer to the one before has come."""
    turn = threading.Semaphore(1)

    def ask():
        for number in range(500):
            assert turn.acquire(timeout=20)
            yield b"%d" % number

    received = []
    for answer in channel.stream_stream("/passing.Test/Chat")(ask(), timeout=60):
        received.append(int(answer))
        turn.release()
    assert received == [*range(500)]


def test_a_deadline_is_told_and_kept(channel, calls):
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/passing.Test/Hang")(b"", timeout=1.5)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began >= 1.4
    assert 0 < calls.deadlines[0] <= 1.5
    assert calls.cancelled.wait(10)


def test_a_cancelled_call_is_cancelled_upstream(channel, calls):
    call = channel.unary_unary("/passing.Test/Hang").future(b"")
    eventually(lambda: len(calls.deadlines), 1)
    call.cancel()
    assert calls.cancelled.wait(10)


class Sockets:
    """A WebSocket server: echoes, and closes as it is asked to."""

    def __init__(self, **options):
        self.closes, self.requests = [], []
        self.server = serve(self.talk, "127.0.0.1", 0, max_size=None, ping_interval=None, **options)
        self.port = self.server.socket.getsockname()[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def talk(self, socket):
        self.requests.append(socket.request)
        try:
            for message in socket:
                if message == "close":
                    socket.close(4321, "as asked: ä")
                elif message == "drop":
                    wire.leave_with_reset(socket.socket)
                else:
                    socket.send(message)
        except ConnectionClosed:
            pass
        finally:
            self.closes.append((socket.protocol.close_code, socket.protocol.close_reason))

    def stop(self):
        self.server.shutdown()


@pytest.fixture(params=[None, "deflate"], ids=["plain", "compressed"])
def sockets(request):
    sockets = Sockets(compression=request.param, subprotocols=["chat.v2"])
    sockets.compression = request.param
    yield sockets
    sockets.stop()


@pytest.fixture
def dial(squall, sockets):
    server = squall(f"""
listeners: {{web: {{address: 127.0.0.1:0, upstream: real}}}}
upstreams: {{real: {{url: 'http://127.0.0.1:{sockets.port}'}}}}
{RULES}
""")
    options = {"subprotocols": ["chat.v1", "chat.v2"], "compression": sockets.compression, "max_size": None, "ping_interval": None}
    return lambda: websockets.connect(f"ws://127.0.0.1:{server.port()}/chat?a=%2F", **options)


def messages():
    draw = random.Random(1)
    for number in range(10_000):
        size = draw.choice([0, 1, 125, 126, draw.randrange(2000)])
        yield "ä" * size if number % 2 else draw.randbytes(size)
    yield draw.randbytes(1 << 20)
    yield "x" * 70_000


def test_ten_thousand_messages_each_way(dial, sockets):
    wanted = list(messages())

    async def talk():
        async with dial() as socket:
            assert socket.subprotocol == "chat.v2"
            assert bool(socket.protocol.extensions) == (sockets.compression is not None)

            async def send():
                for message in wanted:
                    await socket.send(message)

            sending = asyncio.create_task(send())
            received = [await socket.recv() for _ in wanted]
            await sending
            assert received == wanted

    asyncio.run(talk())
    assert sockets.requests[0].path == "/chat?a=%2F"


def test_fragments_pings_and_closes(dial, sockets):
    async def talk():
        async with dial() as socket:
            await socket.send(["in ", "three ", "parts"])
            assert await socket.recv() == "in three parts"
            await asyncio.wait_for(await socket.ping(b"payload"), 10)
            await socket.close(3456, "enough: ö")
        assert (socket.close_code, socket.close_reason) == (3456, "enough: ö")
        async with dial() as socket:
            await socket.send("close")
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert (socket.close_code, socket.close_reason) == (4321, "as asked: ä")
        async with dial() as socket:
            await socket.send("drop")
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(socket.recv(), 10)
            assert socket.close_code == 1006

    asyncio.run(talk())
    assert sockets.closes[0] == (3456, "enough: ö")


def test_a_client_that_drops_its_connection_is_gone_upstream(dial, sockets):
    async def talk():
        async with dial() as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello"
            socket.transport.abort()

    asyncio.run(talk())
    eventually(lambda: [code for code, _ in sockets.closes], [1006])


def test_a_refused_handshake(squall, sockets):
    server = squall(f"""
listeners: {{web: {{address: 127.0.0.1:0, upstream: real}}}}
upstreams: {{real: {{url: 'http://127.0.0.1:{sockets.port}'}}}}
{RULES}
""")

    async def talk():
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            await websockets.connect(f"ws://127.0.0.1:{server.port()}/elsewhere")
        assert refused.value.response.status_code == 500

    asyncio.run(talk())
    assert sockets.requests == []
