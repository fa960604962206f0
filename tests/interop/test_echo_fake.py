"""The echo fake's gRPC services and WebSockets, with real clients: over h2c and TLS, alone, and with faults in the middle."""

import queue
import ssl
import time
from contextlib import closing

import grpc
import pytest
import websockets.exceptions
import websockets.sync.client
from browser import Browser
from certificates import Authority
from echo_service import SERVICE, Reflected
from fakes import Fake
from google.protobuf import descriptor_pb2
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from squall import Squall
from websocket_server import BINARY, CLOSE, PING, PONG, TEXT, RawClient, frame

CONFIG = """
listeners:
  web: {address: 127.0.0.1:0, upstream: echo}
  tls: {address: 127.0.0.1:0, upstream: echo, tls: {certificate: CERTIFICATE, key: KEY}}
upstreams:
  echo: {fake: echo}
rules:
  - {name: away, match: {headers: {x-fault: away}}, faults: [{abort: {grpc: UNAVAILABLE, message: try again}}]}
  - {name: cut, match: {headers: {x-fault: cut}}, faults: [{truncate: {after: 3 messages, grpc: ABORTED, close_code: 1013}}]}
  - {name: late, match: {headers: {x-fault: late}}, faults: [{delay: {fixed: 50ms, before: message}}]}
  - {name: stalled, match: {headers: {x-fault: stalled}}, faults: [{stall: {after: 2 messages}}]}
  - {name: lossy, match: {headers: {x-fault: lossy}}, faults: [{drop: {every: 2, direction: request}}]}
"""
SECONDS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("echo")
    authority = Authority(folder)
    certificate, key = authority.sign("server")
    one = Squall(CONFIG.replace("CERTIFICATE", str(certificate)).replace("KEY", str(key)), folder)
    one.authority = authority.file
    yield one
    one.kill()


@pytest.fixture(params=["web", "tls"])
def channel(request, server):
    address = f"localhost:{server.port(request.param)}"
    if request.param == "web":
        channel = grpc.insecure_channel(address)
    else:
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(server.authority.read_bytes()))
    with channel:
        yield channel


@pytest.fixture
def echo(channel):
    """The service as reflection describes it, and its methods."""
    reflected = Reflected(channel)
    reflected.methods = {name: reflected.method(channel, name) for name in ["Echo", "Repeat", "Collect", "Chat"]}
    reflected.message = reflected.type("EchoMessage")
    return reflected


def failure(call):
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code(), error.value.details()


def test_a_unary_call(echo):
    sent = echo.message(text="größer", data=b"\xff\0")
    metadata = [("echo-head-a", "1"), ("echo-trailer-b-bin", b"\0\xff"), ("x-other", "2")]
    answer, call = echo.methods["Echo"].with_call(sent, metadata=metadata, timeout=SECONDS)
    assert answer == sent
    head, trailers = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert head["echo-head-a"] == "1" and "x-other" not in head
    assert trailers["echo-trailer-b-bin"] == b"\0\xff"
    assert (call.code(), call.details()) == (StatusCode.OK, "")


def test_calls_with_streams(echo):
    repeated = list(echo.methods["Repeat"](echo.message(text="x", count=5), timeout=SECONDS))
    assert [(one.text, one.number) for one in repeated] == [("x", number) for number in range(1, 6)]
    summary = echo.methods["Collect"](iter([echo.message(text="x" * size) for size in range(100)]), timeout=SECONDS)
    assert summary.messages == 100
    many = [echo.message(data=bytes([at % 256]) * at * 13) for at in range(500)]
    assert list(echo.methods["Chat"](iter(many), timeout=SECONDS)) == many


def test_a_conversation_goes_to_and_fro(echo):
    said = queue.SimpleQueue()
    answers = echo.methods["Chat"](iter(said.get, None), timeout=SECONDS)
    for number in range(20):
        said.put(echo.message(number=number))
        assert next(answers).number == number
    said.put(None)
    assert list(answers) == [] and answers.code() == StatusCode.OK


def test_statuses(echo, channel):
    wanted = echo.message(status=5, status_message="no such cart: 100% größer")
    for call in [lambda: echo.methods["Echo"](wanted, timeout=SECONDS), lambda: list(echo.methods["Repeat"](wanted, timeout=SECONDS))]:
        assert failure(call) == (StatusCode.NOT_FOUND, wanted.status_message)
    assert failure(lambda: echo.methods["Echo"](echo.message(status=17), timeout=SECONDS))[0] == StatusCode.INVALID_ARGUMENT
    code, details = failure(lambda: channel.unary_unary("/shop.Cart/Add")(b"", timeout=SECONDS))
    assert code == StatusCode.UNIMPLEMENTED and SERVICE in details
    assert failure(lambda: channel.unary_unary(f"/{SERVICE}/Echo")(b"\xff", timeout=SECONDS))[0] == StatusCode.INTERNAL
    large = echo.message(data=bytes(5_000_000))
    assert failure(lambda: echo.methods["Echo"](large, timeout=SECONDS))[0] == StatusCode.RESOURCE_EXHAUSTED


def test_compressed_messages_are_read(echo):
    sent = [echo.message(text="a" * 10_000), echo.message(text="b")]
    assert list(echo.methods["Chat"](iter(sent), timeout=SECONDS, compression=grpc.Compression.Gzip)) == sent
    code, details = failure(lambda: echo.methods["Echo"](sent[0], timeout=SECONDS, compression=grpc.Compression.Deflate))
    assert code == StatusCode.UNIMPLEMENTED and "gzip" in details


def test_a_deadline(echo):
    slow = echo.methods["Repeat"](echo.message(count=3, every_ms=60_000), timeout=0.5)
    assert next(slow).number == 1
    assert failure(lambda: next(slow))[0] == StatusCode.DEADLINE_EXCEEDED


def test_a_cancelled_call_leaves_nothing(server, echo):
    calls = [echo.methods["Repeat"](echo.message(count=1_000_000), timeout=SECONDS) for _ in range(5)]
    assert [next(call).number for call in calls] == [1] * 5
    for call in calls:
        call.cancel()
    assert echo.methods["Echo"](echo.message(text="still here"), timeout=SECONDS).text == "still here"


def test_health(channel):
    health = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    for service in ["", SERVICE, "grpc.health.v1.Health"]:
        request = health_pb2.HealthCheckRequest(service=service)
        assert health.Check(request, timeout=SECONDS).status == serving
        watched = health.Watch(request, timeout=SECONDS)
        assert next(watched).status == serving
        watched.cancel()
    unknown = health_pb2.HealthCheckRequest(service="shop.Cart")
    assert failure(lambda: health.Check(unknown, timeout=SECONDS))[0] == StatusCode.NOT_FOUND
    assert next(health.Watch(unknown, timeout=SECONDS)).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection(channel, version):
    info = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    asking = [{"list_services": ""}, {"file_by_filename": "squall/echo/v1/echo.proto"}, {"file_containing_symbol": "shop.Cart"}]
    asking.append({"all_extension_numbers_of_type": f"{SERVICE}Message"})
    questions = [reflection_pb2.ServerReflectionRequest(host="h", **asked) for asked in asking]
    services, file, unknown, extensions = info(iter(questions), timeout=SECONDS)
    names = [service.name for service in services.list_services_response.service]
    assert names == [SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]
    assert (services.valid_host, services.original_request) == ("h", questions[0])
    descriptor = descriptor_pb2.FileDescriptorProto.FromString(file.file_descriptor_response.file_descriptor_proto[0])
    assert descriptor.package == "squall.echo.v1"
    assert unknown.error_response.error_code == StatusCode.NOT_FOUND.value[0]
    assert list(extensions.all_extension_numbers_response.extension_number) == []


def test_descriptors_are_those_of_the_real_files(channel):
    """What reflection says of the standard services is what their own packages say."""
    database = Reflected(channel).database

    def fields(file):
        shown = lambda field: (field.name, field.number, field.type, field.label, field.type_name)  # noqa: E731
        return {message.name: [shown(field) for field in message.field] for message in file.message_type}

    for module in [health_pb2, reflection_pb2]:
        real = descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
        ours = fields(database.FindFileContainingSymbol(f"{real.package}.{real.service[0].name}"))
        assert ours and ours == {name: of for name, of in fields(real).items() if name in ours}


def test_faults_on_calls(echo):
    asking = lambda fault: [("x-fault", fault)]  # noqa: E731
    call = lambda: echo.methods["Echo"](echo.message(), metadata=asking("away"), timeout=SECONDS)  # noqa: E731
    assert failure(call) == (StatusCode.UNAVAILABLE, "try again")
    cut = echo.methods["Repeat"](echo.message(count=10), metadata=asking("cut"), timeout=SECONDS)
    assert [next(cut).number for _ in range(3)] == [1, 2, 3]
    assert failure(lambda: next(cut))[0] == StatusCode.ABORTED
    began = time.monotonic()
    assert len(list(echo.methods["Repeat"](echo.message(count=6), metadata=asking("late"), timeout=SECONDS))) == 6
    assert time.monotonic() - began >= 6 * 0.05
    stalled = echo.methods["Chat"](iter([echo.message()] * 5), metadata=asking("stalled"), timeout=1)
    assert [next(stalled), next(stalled)] == [echo.message()] * 2
    assert failure(lambda: next(stalled))[0] == StatusCode.DEADLINE_EXCEEDED
    sent = [echo.message(text="x")] * 10
    assert echo.methods["Collect"](iter(sent), metadata=asking("lossy"), timeout=SECONDS).messages == 5


# WebSocket.


def dial(server, listener="web", fault=None, **options):
    fields = {"x-fault": fault} if fault else {}
    if listener == "tls":
        options["ssl"] = ssl.create_default_context(cafile=server.authority)
    url = f"{'wss' if listener == 'tls' else 'ws'}://localhost:{server.port(listener)}/any/path?x=1"
    return websockets.sync.client.connect(url, additional_headers=fields, proxy=None, max_size=None, **options)


@pytest.mark.parametrize("listener", ["web", "tls"])
def test_messages_come_back(server, listener):
    with dial(server, listener, subprotocols=["chat", "other"]) as client:
        assert (client.subprotocol, client.protocol.extensions) == ("chat", [])
        for message in ["hi", "größer", "", b"\0\xff", b"", bytes(range(256)) * 300, "x" * 200_000, bytes(5_000_000)]:
            client.send(message)
            assert client.recv(timeout=SECONDS) == message
        client.send(["in ", "three ", "pieces"])
        assert client.recv(timeout=SECONDS) == "in three pieces"
        assert client.ping(b"are you there").wait(SECONDS)
        for number in range(1_000):
            client.send(str(number))
        assert [client.recv(timeout=SECONDS) for _ in range(1_000)] == list(map(str, range(1_000)))
        client.close(4321, "enough")
    assert (client.close_code, client.close_reason) == (4321, "enough")


def test_too_long_a_message(server):
    with dial(server) as client:
        with pytest.raises(websockets.exceptions.ConnectionClosed) as end:
            client.send(bytes(17 * 1024 * 1024))
            client.recv(timeout=SECONDS)
        assert end.value.rcvd.code == 1009


def test_frames_by_hand(server):
    with closing(RawClient(server.port(), "/")) as client:
        client.sock.sendall(frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(0, b"b"))
        assert client.read_frame() == (0x80 | PONG, b"p")
        assert client.read_frame() == (0x80 | TEXT, b"ab")
        client.sock.sendall(frame(PONG, b"unasked") + frame(BINARY, b"x") + frame(CLOSE, b"\x03\xe8bye"))
        assert client.read_frame() == (0x80 | BINARY, b"x")
        assert client.read_frame() == (0x80 | CLOSE, b"\x03\xe8bye")
        with pytest.raises(EOFError, match=r"left over: b''"):
            client.read_frame()


@pytest.mark.parametrize(
    ("bytes_", "code"),
    [(b"\x81\x01x", 1002), (frame(0x40 | TEXT, b"x"), 1002), (frame(3), 1002), (frame(TEXT, b"\xff"), 1007), (frame(0, b"x"), 1002)],
    ids=["unmasked", "compressed", "reserved", "not UTF-8", "nothing to continue"],
)
def test_what_breaks_the_protocol(server, bytes_, code):
    with closing(RawClient(server.port(), "/")) as client:
        client.sock.sendall(bytes_)
        first, payload = client.read_frame()
        assert (first, int.from_bytes(payload[:2], "big")) == (0x80 | CLOSE, code)
        with pytest.raises(EOFError):
            client.read_frame()


def test_faults_on_messages(server):
    with dial(server, fault="cut") as client:
        for _ in range(10):
            client.send("x")
        came = []
        with pytest.raises(websockets.exceptions.ConnectionClosed) as end:
            while True:
                came.append(client.recv(timeout=SECONDS))
        assert (came, end.value.rcvd.code) == (["x"] * 3, 1013)
    with dial(server, fault="late") as client:
        began = time.monotonic()
        for _ in range(6):
            client.send("x")
        assert [client.recv(timeout=SECONDS) for _ in range(6)] == ["x"] * 6
        assert time.monotonic() - began >= 6 * 0.05
    with dial(server, fault="stalled", close_timeout=0.2) as client:
        for _ in range(5):
            client.send("x")
        assert [client.recv(timeout=SECONDS) for _ in range(2)] == ["x"] * 2
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.5)
    with dial(server, fault="lossy") as client:
        for number in range(6):
            client.send(str(number))
        assert [client.recv(timeout=SECONDS) for _ in range(3)] == ["0", "2", "4"]


def test_alone(tmp_path):
    """`squall fake echo` speaks HTTP/1.1, and so WebSocket."""
    with Fake("name: echo", tmp_path / "fake") as fake, websockets.sync.client.connect(fake.url.replace("http", "ws"), proxy=None) as client:
        for message in ["hi", bytes(1_000_000)]:
            client.send(message)
            assert client.recv(timeout=SECONDS) == message
        client.close(1001)
    assert client.close_code == 1001


def test_in_a_browser(server, tmp_path):
    """Browsers insist on a protocol of those that they offer, and offer compression."""
    script = """new Promise((done) => {
      const socket = new WebSocket("ws://localhost:PORT/", ["chat", "other"]);
      const came = [];
      socket.onopen = () => { socket.send("größer"); socket.send(new Uint8Array([0, 255])); };
      socket.onmessage = async ({data}) => {
        came.push(typeof data === "string" ? data : [...new Uint8Array(await data.arrayBuffer())]);
        if (came.length === 2) socket.close(4000, "enough");
      };
      socket.onclose = ({code, reason, wasClean}) => done([socket.protocol, came, code, reason, wasClean]);
    })"""
    with (tmp_path / "log").open("w") as log, closing(Browser(log)) as browser:
        browser.open(url=server.url("/"))
        told = browser.run(script=script.replace("PORT", str(server.port())))
    assert told == ["chat", ["größer", [0, 255]], 4000, "enough", True]
