"""An upstream of our own, over HTTP/1.1 or h2c, that remembers what arrived, when, and how each request ended.

| path | answer |
|---|---|
| `/bytes/N` | N bytes of `PATTERN`; `?chunked=true`: without a length; `?piece=P&every=50ms`: in pieces of P bytes, so far apart |
| `/events/N`, `/lines/N` | N server-sent events, or lines of NDJSON, as `event(i)` and `line(i)`; also with piece and every |
| `/json`, `/gzip` | a JSON document; the same, gzipped |
| `/count` | reads the whole body first, then says how long it was |
| `/early` | answers without reading |
| any other | what a test has put into `origin.texts`: content type and bytes, sent without a length |

The paths are those of the echo fake, as far as it has them. It runs on a thread of its own. Requests are found again by their
whole target: `origin.seen("/count?tag=a")`.
"""

import asyncio
import contextlib
import gzip
import hashlib
import json
import random
import re
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import h2.config
import h2.connection
import h2.events
import h2.exceptions

PATTERN = random.Random(7).randbytes(1 << 16)
PIECE = 16384
KEEP = 1 << 20  # bytes of each request's body that are kept
DOCUMENT = {"users": [{"id": number, "name": f"user {number}"} for number in range(50)]}
KINDS = {"bytes": "application/octet-stream", "events": "text/event-stream", "lines": "application/x-ndjson"}


def pattern(count, start=0):
    """The bytes of a `/bytes` body from `start` on."""
    first = start % len(PATTERN)
    times = (first + count) // len(PATTERN) + 1
    return (PATTERN * times)[first : first + count]


def event(number):
    return f"id: {number}\nevent: tick\ndata: message {number}, {'x' * (number % 7)}\n\n".encode()


def line(number):
    return json.dumps({"message": number, "pad": "x" * (number % 7)}).encode() + b"\n"


@dataclass
class Exchange:
    """One request as the upstream saw it."""

    method: str
    target: str
    headers: list
    protocol: str
    body: bytearray = field(default_factory=bytearray)  # its first KEEP bytes
    count: int = 0
    arrivals: list = field(default_factory=list)  # (when, how many bytes)
    end: str | None = None  # "complete", "fin", "reset", "RST_STREAM 8"; None: still open
    answered: bool = False
    sent: int = 0  # bytes of the answer's body that have been handed to the kernel, or wait in a small buffer

    @property
    def path(self):
        return urlsplit(self.target).path

    def option(self, name, default=None):
        values = parse_qs(urlsplit(self.target).query, keep_blank_values=True).get(name)
        return values[0] if values else default

    def header(self, name):
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    def took(self, data):
        self.arrivals.append((time.monotonic(), len(data)))
        self.count += len(data)
        self.body += data[: KEEP - len(self.body)]


class Origin:
    """The running upstream. `protocol` is "h1" or "h2"."""

    def __init__(self, protocol="h1"):
        self.exchanges = []
        self.texts = {}
        self.connections = 0
        self.writers = set()
        self.loop = asyncio.new_event_loop()
        self.handler = {"h1": serve_http1, "h2": serve_http2}[protocol]
        started = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self.thread.start()
        assert started.wait(10)

    def _run(self, started):
        asyncio.set_event_loop(self.loop)
        self.server = self.loop.run_until_complete(
            asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=1024, limit=PIECE)
        )
        self.port = self.server.sockets[0].getsockname()[1]
        started.set()
        self.loop.run_forever()

    async def _connection(self, reader, writer):
        self.connections += 1
        self.writers.add(writer)
        writer.transport.set_write_buffer_limits(high=2 * PIECE)
        try:
            await self.handler(self, reader, writer)
        except (OSError, asyncio.IncompleteReadError, h2.exceptions.ProtocolError):
            pass
        finally:
            self.connections -= 1
            self.writers.discard(writer)
            writer.close()

    def hang_up(self):
        """Closes all connections from this side, so that nobody keeps one for later."""

        def close():
            for writer in self.writers:
                writer.close()

        self.loop.call_soon_threadsafe(close)

    def seen(self, target):
        """The requests for this path and query, in the order in which they came."""
        return [exchange for exchange in self.exchanges if exchange.target == target]

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


def natural(origin, exchange):
    """What it answers: status, headers, the pieces of the body, the pause between them."""
    if text := origin.texts.get(exchange.path):
        return 200, [("content-type", text[0])], split(text[1], int(exchange.option("piece", PIECE))), 0
    kind, _, rest = exchange.path.lstrip("/").partition("/")
    gap = float(exchange.option("every", "0ms").removesuffix("ms")) / 1000
    piece = int(exchange.option("piece", PIECE))
    if kind in KINDS and rest.isdigit():
        count = int(rest)
        headers = [("content-type", KINDS[kind])]
        if kind != "bytes":
            text = b"".join((event if kind == "events" else line)(number) for number in range(count))
            return 200, headers, split(text, piece), gap
        if exchange.option("chunked") is None:
            headers.append(("content-length", str(count)))
        return 200, headers, bytes_of(count, piece), gap
    if kind == "gzip":
        packed = gzip.compress(json.dumps(DOCUMENT).encode(), mtime=0)
        headers = [("content-type", "application/json"), ("content-encoding", "gzip")]
        return 200, [*headers, ("content-length", str(len(packed)))], split(packed, piece), gap
    document = DOCUMENT if kind == "json" else {"bytes": exchange.count, "sha256": sha256(exchange.body)}
    text = json.dumps(document).encode()
    headers = [("content-type", "application/json"), ("content-length", str(len(text)))]
    return 200, headers, split(text, piece), gap


def bytes_of(count, piece):
    sent = 0
    while sent < count:
        size = min(piece, count - sent)
        yield pattern(size, sent)
        sent += size


def split(text, piece):
    return (text[start : start + piece] for start in range(0, len(text), piece))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def early(exchange):
    return exchange.path.startswith("/early")


async def serve_http1(origin, reader, writer):
    while head := await read_head(reader):
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        exchange = Exchange(method, target, headers, "HTTP/1.1")
        origin.exchanges.append(exchange)
        if (exchange.header("expect") or "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        reading = asyncio.ensure_future(read_http1_body(exchange, reader))
        if not early(exchange):
            await reading
        if exchange.end not in (None, "complete"):
            return
        await answer_http1(origin, exchange, writer)
        await reading


async def read_head(reader):
    head = b""
    with contextlib.suppress(asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
    return head.decode("latin-1").removesuffix("\r\n\r\n")


async def read_http1_body(exchange, reader):
    async def take(left):
        while left:
            data = await reader.read(min(left, 65536))
            if not data:
                raise asyncio.IncompleteReadError(b"", left)
            exchange.took(data)
            left -= len(data)

    try:
        if (exchange.header("transfer-encoding") or "").lower() == "chunked":
            while size := int(re.split(rb"[;\r]", await reader.readuntil(b"\r\n"))[0], 16):
                await take(size)
                await reader.readexactly(2)
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
        else:
            await take(int(exchange.header("content-length") or 0))
        exchange.end = "complete"
    except asyncio.IncompleteReadError:
        exchange.end = "fin"
    except OSError:
        exchange.end = "reset"
    except ValueError as error:
        exchange.end = f"malformed: {error}"


async def answer_http1(origin, exchange, writer):
    status, headers, pieces, gap = natural(origin, exchange)
    chunked = "content-length" not in dict(headers)
    framing = [("transfer-encoding", "chunked")] if chunked else []
    lines = [f"HTTP/1.1 {status} Natural", *(f"{name}: {value}" for name, value in [*headers, *framing])]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    for piece in () if exchange.method == "HEAD" else pieces:
        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if chunked else piece)
        await writer.drain()
        exchange.sent += len(piece)
        if gap:
            await asyncio.sleep(gap)
    if chunked and exchange.method != "HEAD":
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    exchange.answered = True


async def serve_http2(origin, reader, writer):
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    server = Http2(origin, connection, writer)
    try:
        while data := await reader.read(65536):
            for received in connection.receive_data(data):
                server.take(received)
            server.flush()
        server.over("fin")
    except OSError:
        server.over("reset")


class Http2:
    """One connection: a task for each stream, that waits for its flow-control window."""

    def __init__(self, origin, connection, writer):
        self.origin, self.h2, self.writer = origin, connection, writer
        self.streams = {}
        self.tasks = {}
        self.room = asyncio.Event()
        self.flush()

    def flush(self):
        self.writer.write(self.h2.data_to_send())

    def take(self, received):
        stream = getattr(received, "stream_id", None)
        exchange = self.streams.get(stream)
        match received:
            case h2.events.RequestReceived():
                headers = dict(received.headers)
                plain = [(name, value) for name, value in received.headers if not name.startswith(":")]
                exchange = Exchange(headers[":method"], headers[":path"], plain, "HTTP/2")
                self.streams[stream] = exchange
                self.origin.exchanges.append(exchange)
                if early(exchange):
                    self._answer(stream)
            case h2.events.DataReceived():
                exchange.took(received.data)
                with contextlib.suppress(h2.exceptions.ProtocolError):
                    self.h2.acknowledge_received_data(received.flow_controlled_length, stream)
            case h2.events.StreamEnded():
                exchange.end = "complete"
                self._answer(stream)
            case h2.events.StreamReset():
                exchange.end = exchange.end or f"RST_STREAM {int(received.error_code)}"
                if task := self.tasks.get(stream):
                    task.cancel()
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                self.room.set()

    def _answer(self, stream):
        if stream not in self.tasks:
            self.tasks[stream] = asyncio.ensure_future(self._send(stream))

    async def _send(self, stream):
        exchange = self.streams[stream]
        status, headers, pieces, gap = natural(self.origin, exchange)
        with contextlib.suppress(h2.exceptions.ProtocolError, OSError):
            self.h2.send_headers(stream, [(":status", str(status)), *headers])
            self.flush()
            for piece in () if exchange.method == "HEAD" else pieces:
                await self._send_piece(stream, piece)
                exchange.sent += len(piece)
                if gap:
                    await asyncio.sleep(gap)
            self.h2.end_stream(stream)
            self.flush()
            exchange.answered = True

    async def _send_piece(self, stream, piece):
        while piece:
            size = min(len(piece), self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if size <= 0:
                self.room.clear()
                await self.room.wait()
                continue
            self.h2.send_data(stream, piece[:size])
            self.flush()
            await self.writer.drain()
            piece = piece[size:]

    def over(self, how):
        for stream, exchange in self.streams.items():
            exchange.end = exchange.end or how
            if task := self.tasks.get(stream):
                task.cancel()
