"""Real upstreams: bytes pass untouched, over TLS and HTTP/2 too, and a natural failure never looks injected."""

import hashlib
import random
import sys
import time
from concurrent import futures
from pathlib import Path

import grpc
import httpx
import pytest
import requests
from certificates import Authority
from conftest import free_port
from squall import eventually

BODY = random.Random(1).randbytes(5_000_000)
APPS = Path(__file__).parent / "apps"

# A rule that matches nothing here, and one that only adds a wait.
RULES = """
rules:
  - {name: elsewhere, match: {path: /elsewhere}, faults: [{abort: 500}]}
  - {name: slow, match: {headers: {x-slow: present}}, faults: [{delay: 50ms}]}
"""


def config(upstream, listener="{address: 127.0.0.1:0, upstream: real}"):
    return f"seed: 1\nlisteners: {{web: {listener}}}\nupstreams: {{real: {upstream}}}\n{RULES}"


@pytest.fixture(params=[{}, {"x-slow": "yes"}], ids=["untouched", "delayed"])
def session(request):
    """A client whose requests meet no rule, and one whose requests wait: what passes must be the same."""
    with requests.Session() as session:
        session.headers.update(request.param)
        yield session


@pytest.fixture
def mirror(squall, app):
    return squall(config(f"{{url: 'http://127.0.0.1:{app('mirror')}'}}"))


def pieces():
    for start in range(0, len(BODY), 70_001):
        yield BODY[start : start + 70_001]


@pytest.mark.parametrize("body", [BODY, pieces, b"", b"x"], ids=["length", "chunked", "empty", "one byte"])
def test_bodies_pass_both_ways(mirror, session, body):
    sent = BODY if callable(body) else body
    for _ in range(2):  # the second time over the same connection
        answer = session.post(mirror.url("/"), data=body() if callable(body) else body, timeout=60)
        assert answer.status_code == 200
        assert hashlib.sha256(answer.content).digest() == hashlib.sha256(sent).digest()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_methods_pass(mirror, session, method):
    answer = session.request(method, mirror.url("/"), timeout=30)
    assert (answer.status_code, answer.headers["x-method"]) == (200, method)


@pytest.mark.parametrize("target", ["/a%2Fb/c%20d?x=%20&y&y=2", "/elsewher%65/more", "//double//slash", "/%E2%82%AC?%zz"])
def test_the_path_passes_as_it_was_sent(mirror, target):
    with httpx.Client() as client:
        request = client.build_request("GET", mirror.url("/"))
        request.url = request.url.copy_with(raw_path=target.encode())
        answer = client.send(request)
    assert answer.headers["x-target"] == target
    assert "squall-fault" not in answer.headers


def test_a_decoded_path_matches(mirror):
    assert requests.get(mirror.url("/elsewher%65"), timeout=30).status_code == 500


def test_repeated_headers_pass(mirror, session):
    with httpx.Client(headers={"x-many": "0"}) as client:
        answer = client.get(mirror.url("/"), headers=[("x-many", "one"), ("x-many", "two")])
    assert answer.headers["x-seen"].replace(", ", "|").endswith("one|two")
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]


def test_http2_clients_reach_an_http1_upstream(mirror):
    with httpx.Client(http1=False, http2=True, timeout=60) as client:
        answer = client.post(mirror.url("/"), content=BODY)
    assert answer.http_version == "HTTP/2"
    assert answer.content == BODY


def test_a_natural_failure_does_not_look_injected(squall):
    server = squall(config(f"{{url: 'http://127.0.0.1:{free_port()}'}}"))
    answer = requests.get(server.url(), timeout=30)
    assert answer.status_code == 502
    assert "squall-fault" not in answer.headers
    # Counted once the answer has left.
    eventually(lambda: server.metrics().sum("squall_requests_total", status="502"), 1)
    assert server.metrics().sum("squall_faults_injected_total") == 0


def test_a_unix_socket(squall, app, tmp_path):
    path = tmp_path / "squall.sock"
    squall(config(f"{{url: 'http://127.0.0.1:{app('mirror')}'}}", f"{{address: 'unix:{path}', upstream: real}}"))
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.post("http://localhost/", content=b"hello").content == b"hello"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=["tls", "mutual tls"])
def https(request, serve, authority):
    """A server with a certificate of our own authority, that may ask for one of the client too; its port."""
    certificate, key = authority.sign("upstream")
    options = ["--ssl-certfile", certificate, "--ssl-keyfile", key]
    if request.param == "mutual tls":
        options += ["--ssl-ca-certs", authority.file, "--ssl-cert-reqs", "2"]
    argv = [sys.executable, "-m", "uvicorn", "mirror:app", "--app-dir", APPS, "--port", "{port}", "--log-level", "error"]
    return serve(*argv, *options)


def status_behind_tls(squall, port, tls):
    server = squall(config(f"{{url: 'https://localhost:{port}', tls: {{{tls}}}}}"))
    answer = requests.post(server.url("/"), data=b"hello", timeout=30)
    assert answer.status_code != 200 or answer.content == b"hello"
    return answer.status_code


def test_tls_upstream(squall, https, authority):
    certificate, key = authority.sign("client")
    ours = f"certificate: {certificate}, key: {key}"
    assert status_behind_tls(squall, https, f"ca: {authority.file}, {ours}") == 200
    assert status_behind_tls(squall, https, f"verify: false, {ours}") == 200
    assert status_behind_tls(squall, https, ours) == 502
    assert status_behind_tls(squall, https, f"ca: {authority.file}, sni: other.test, {ours}") == 502


def test_tls_upstream_asks_for_a_certificate(squall, https, authority, request):
    wanted = 502 if "mutual" in request.node.callspec.id else 200
    assert status_behind_tls(squall, https, f"ca: {authority.file}") == wanted


@pytest.fixture
def grpc_port():
    """A real gRPC server: shop.Cart/Add gives back what it gets, shop.Cart/Fail fails by itself, Count counts up."""

    def fail(_, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "no such cart")

    def count(request, _):
        yield from (bytes([number]) for number in range(request[0]))

    server = grpc.server(futures.ThreadPoolExecutor(4))
    methods = {
        "Add": grpc.unary_unary_rpc_method_handler(lambda request, _: request),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Count": grpc.unary_stream_rpc_method_handler(count),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Cart", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


def test_grpc_upstream(squall, grpc_port):
    server = squall(f"""
seed: 1
listeners: {{web: {{address: 127.0.0.1:0, upstream: cart}}}}
upstreams: {{cart: {{url: 'http://127.0.0.1:{grpc_port}', protocol: h2c}}}}
rules:
  - name: twice unavailable
    match: {{grpc: {{service: shop.Cart, method: Add}}, headers: {{x-key: present}}}}
    when: {{attempts: 2, key: "header:x-key"}}
    faults: [{{delay: 50ms}}, {{abort: {{grpc: UNAVAILABLE}}}}]
""")
    with grpc.insecure_channel(f"127.0.0.1:{server.port()}") as channel:
        add = channel.unary_unary("/shop.Cart/Add")
        assert add(BODY[:1_000_000], timeout=30) == BODY[:1_000_000]
        assert [message[0] for message in channel.unary_stream("/shop.Cart/Count")(b"\x32", timeout=30)] == [*range(50)]
        with pytest.raises(grpc.RpcError) as natural:
            channel.unary_unary("/shop.Cart/Fail")(b"", timeout=30)
        assert (natural.value.code(), natural.value.details()) == (grpc.StatusCode.NOT_FOUND, "no such cart")

        codes = []
        began = time.monotonic()
        for _ in range(3):
            try:
                add(b"x", timeout=30, metadata=[("x-key", "one")])
                codes.append(grpc.StatusCode.OK)
            except grpc.RpcError as error:
                codes.append(error.code())
        assert codes == [grpc.StatusCode.UNAVAILABLE] * 2 + [grpc.StatusCode.OK]
        assert time.monotonic() - began >= 0.1
