"""Bodies far larger than any buffer, readers that do not read, and uploads that nobody takes: memory stays flat.

The upstream is a second squall with the echo fake. SQUALL_LARGE=4GiB asks for more than the usual size.
"""

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import flow
import httpx
import pytest
import wire

GIB = 1 << 30
SIZE = {"": GIB // 4, "1GiB": GIB, "4GiB": 4 * GIB}[os.environ.get("SQUALL_LARGE", "")]
SECONDS = 30 + SIZE / (10 << 20)
ECHOED = SIZE // 4  # it passes through two squalls, both ways
GROWTH = 48 << 20  # what a process may grow by, whatever passes; a build without optimization needs most of it
PIECE = 1 << 20

BACK = """
listeners: {web: {address: 127.0.0.1:0, upstream: echo}}
upstreams: {echo: {fake: echo}}
rules: [{name: nobody reads, match: {path: /held}, faults: [{hang: {limit: 60s}}]}]
"""


@pytest.fixture
def back(squall):
    return squall(BACK)


@pytest.fixture
def front(squall, back):
    return squall(f"""
listeners:
  h1: {{address: 127.0.0.1:0, upstream: h1}}
  h2: {{address: 127.0.0.1:0, upstream: h2}}
upstreams:
  h1: {{url: 'http://127.0.0.1:{back.port()}'}}
  h2: {{url: 'http://127.0.0.1:{back.port()}', protocol: h2c}}
rules: [{{name: elsewhere, match: {{path: /elsewhere}}, faults: [{{abort: 500}}]}}]
""")


def resident(server, line="VmRSS"):
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(words.split()[1]) << 10 for words in status if words.startswith(line))


@contextlib.contextmanager
def flat(*servers):
    """Checks that none of these processes ever grows by more than GROWTH meanwhile."""
    before = [resident(server) for server in servers]
    for server in servers:
        with open(f"/proc/{server.process.pid}/clear_refs", "w") as clear:
            clear.write("5")  # forget the peak
    yield
    for server, size in zip(servers, before, strict=True):
        assert resident(server, "VmHWM") - size < GROWTH


def curl(tool, down, *args, **options):
    version = "--http2-prior-knowledge" if down == "h2" else "--http1.1"
    argv = [tool("curl"), "-sS", "--max-time", str(int(SECONDS)), version, *args]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, **options)


def expected_checksum(size):
    """That of what /bytes answers with."""
    period = bytes((31 * i + 7) % 251 for i in range(251))
    block = period * (PIECE // 251)
    checksum = 0
    for start in range(0, size, len(block)):
        checksum = zlib.crc32(memoryview(block)[: size - start], checksum)
    return checksum


WAYS = [("h1", "h1"), ("h1", "h2"), ("h2", "h1"), ("h2", "h2")]


@pytest.mark.timeout(4 * SECONDS)
@pytest.mark.parametrize(("down", "up"), WAYS, ids=lambda protocol: protocol)
def test_downloads(front, back, tool, down, up):
    with flat(front, back):
        client = curl(tool, down, front.url(f"/bytes/{SIZE}", up))
        checksum = received = 0
        while piece := client.stdout.read(PIECE):
            checksum, received = zlib.crc32(piece, checksum), received + len(piece)
        assert client.wait(10) == 0
    assert (received, checksum) == (SIZE, expected_checksum(SIZE))


@pytest.fixture(scope="module")
def upload(tmp_path_factory):
    """A file with holes, and its checksum."""
    path = tmp_path_factory.mktemp("upload") / "large"
    with path.open("wb") as file:
        for start in range(0, SIZE, SIZE // 64):
            file.seek(start)
            file.write(os.urandom(10_000))
        file.truncate(SIZE)
    checksum = 1
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            checksum = zlib.adler32(piece, checksum)
    return path, checksum


@pytest.mark.timeout(4 * SECONDS)
@pytest.mark.parametrize(("down", "up", "chunked"), [("h1", "h1", False), ("h2", "h2", False), ("h2", "h1", True)])
def test_uploads(front, back, tool, upload, down, up, chunked):
    path, checksum = upload
    with flat(front, back), path.open("rb") as file:
        options = {"stdin": file} if chunked else {}
        client = curl(tool, down, "-H", "Expect:", "-T", "-" if chunked else path, front.url("/count", up), **options)
        answer = client.stdout.read()
        assert client.wait(10) == 0
    assert answer == b'{"bytes":%d,"adler32":%d}' % (SIZE, checksum)


@pytest.mark.parametrize(("down", "up"), WAYS, ids=lambda protocol: protocol)
def test_a_client_that_does_not_read(front, back, down, up):
    with flat(front, back):
        if down == "h1":
            client = flow.H1(front.port(up))
        else:
            client = flow.H2(front.port(up), window=(1 << 31) - (1 << 20))
        with contextlib.closing(client):
            client.send("/bytes/1GiB?chunked=true")
            client.link.read(0)
            time.sleep(1.5)
            # It reads on, and all is there.
            got = flow.Received()
            deadline = time.monotonic() + 20
            while len(got.body) < 30_000_000 and time.monotonic() < deadline:
                if down == "h1":
                    got.body += client.link.read(1)
                else:
                    client.step(1)
                    got = next(iter(client.streams.values()))
            assert len(got.body) >= 30_000_000


@pytest.mark.parametrize(("down", "up"), WAYS, ids=lambda protocol: protocol)
def test_an_upload_that_the_upstream_does_not_take(front, back, down, up):
    with flat(front, back), contextlib.closing(flow.connect(down, front.port(up))) as client:
        if down == "h1":
            client.link.write(b"POST /held HTTP/1.1\r\nHost: test\r\nContent-Length: 1073741824\r\n\r\n")
            sock, taken = client.link.sock, 0
            client.link.read(0)
            sock.settimeout(1.5)
            with contextlib.suppress(TimeoutError):
                while taken < 100_000_000:
                    taken += sock.send(bytes(PIECE))
            assert taken < 100_000_000  # most of it in the kernel
        else:
            stream = client.send("/held", "POST", body=bytes(60_000_000), end=False)
            wait = time.monotonic() + 1.5
            while time.monotonic() < wait:
                client.step(0.01)
            assert len(client.uploads[stream][0]) > 20_000_000  # most of the rest is in the kernel


class SlowEcho:
    """An HTTP/1.1 server that sends each chunk back as it comes, and takes a pause now and then."""

    PAUSE_SECONDS = 0.005

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0, limit=PIECE))
        self.port = self.server.sockets[0].getsockname()[1]
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    async def serve(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        since = size = 1
        while size:
            line = await reader.readline()
            size = int(line, 16)
            writer.write(line + await reader.readexactly(size + 2))
            await writer.drain()
            since += size
            if since > PIECE:
                since = 0
                await asyncio.sleep(self.PAUSE_SECONDS)
        writer.close()

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)


@pytest.mark.timeout(8 * SECONDS)
@pytest.mark.parametrize(("down", "up"), WAYS, ids=lambda protocol: protocol)
def test_an_echo_with_both_ends_slow(squall, tool, down, up):
    """Both directions move at the same time, and nothing piles up in between."""
    echo = SlowEcho()
    back = squall(f"""
listeners: {{web: {{address: 127.0.0.1:0, upstream: echo}}}}
upstreams: {{echo: {{url: 'http://127.0.0.1:{echo.port}'}}}}
""")
    front = squall(f"""
listeners: {{web: {{address: 127.0.0.1:0, upstream: back}}}}
upstreams: {{back: {{url: 'http://127.0.0.1:{back.port()}', protocol: {"h2c" if up == "h2" else "http1"}}}}}
""")
    block = random.Random(1).randbytes(PIECE)
    size = ECHOED // PIECE * PIECE
    with flat(front, back), contextlib.closing(echo.server):
        options = ["-H", "Expect:", "--limit-rate", "60M", "-T", "-"]
        client = curl(tool, down, *options, front.url("/echo"), stdin=subprocess.PIPE)

        def send():
            for _ in range(size // PIECE):
                client.stdin.write(block)
            client.stdin.close()

        sending = threading.Thread(target=send)
        sending.start()
        received = 0
        while piece := client.stdout.read(PIECE):
            assert piece == (block + block)[received % PIECE :][: len(piece)]
            received += len(piece)
        sending.join()
        assert (client.wait(10), received) == (0, size)
    echo.stop()


def test_unread_uploads_do_not_block_others(back):
    """On one HTTP/2 connection; each held upload fills its own window, and none the connection's."""
    with contextlib.closing(flow.H2(back.port())) as client:
        for _ in range(20):
            client.send("/held", "POST", body=bytes(1_000_000))
        left = lambda: sum(len(body) for body, _ in client.uploads.values())  # noqa: E731
        began = left() + 1
        while left() < began:
            began = left()
            for _ in range(10):
                client.step(0.02)
        assert left() > 10_000_000
        stream = client.send("/count", "POST", body=bytes(1_000_000))
        wait = time.monotonic() + 20
        while client.streams[stream].end is None and time.monotonic() < wait:
            client.step(0.02)
        got = client.streams[stream]
        assert (got.status, got.end) == (200, "complete")


def test_windows_are_given_back_for_bodies_that_are_not_read(squall, back):
    """Requests that are answered or reset without a look at their bodies, and many that are read, on one connection."""
    server = squall("""
listeners: {web: {address: 127.0.0.1:0, upstream: echo}}
upstreams: {echo: {fake: echo}}
rules:
  - {name: refused, match: {path: /refused}, faults: [{abort: 503}]}
  - {name: reset, match: {path: /reset}, faults: [{reset: {}}]}
""")
    with contextlib.closing(flow.H2(server.port())) as client:
        for _ in range(30):
            streams = {path: client.send(path, "POST", body=bytes(1_000_000)) for path in ("/refused", "/count", "/reset")}
            got = {path: client.receive(stream, 20) for path, stream in streams.items()}
            assert (got["/refused"].status, got["/count"].status) == (503, 200)
            assert got["/count"].body.startswith(b'{"bytes":1000000,')
            assert got["/reset"].end.startswith("RST_STREAM")


def test_a_library_with_many_uploads_on_one_connection(front):
    with httpx.Client(http1=False, http2=True, timeout=60) as client, ThreadPoolExecutor(1) as pool:
        for up in ("h1", "h2"):
            answers = pool.map(lambda _, up=up: client.post(front.url("/count", up), content=bytes(1_000_000)), range(20))
            assert [answer.json()["bytes"] for answer in answers] == [1_000_000] * 20


def test_a_fake_that_makes_a_leaving_client_wait(back):
    """Whoever leaves between two events is noticed at once, not at the next event."""
    for leave in (wire.leave_with_reset, socket.socket.close):
        sock = wire.connect(back.port())
        sock.sendall(wire.request("/events/3?every=1h"))
        came = b""
        while b"id: 0\n" not in came:
            assert (piece := sock.recv(65536)), came
            came += piece
        gone = back.metrics().sum("squall_clients_gone_total")
        leave(sock)
        deadline = time.monotonic() + 5
        while back.metrics().sum("squall_clients_gone_total") == gone:
            assert time.monotonic() < deadline
            time.sleep(0.05)
