"""An upstream that does what a test's script says, and keeps exactly what arrived: over HTTP/1.1, h2c, or HTTP/2 over TLS.

`upstream.answers["/path"] = Answer(...)`; other paths get `upstream.otherwise`. It runs on a thread of its own.
"""

import asyncio
import contextlib
import ssl
import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

PIECE = 65536
KEEP = 4 << 20  # bytes of each request's body that are kept


@dataclass
class Answer:
    """A response. `pieces` are bytes, pauses in seconds, and events that are waited for."""

    status: int = 200
    headers: list = field(default_factory=list)
    pieces: list = field(default_factory=lambda: [b"ok"])
    trailers: list = field(default_factory=list)
    interim: list = field(default_factory=list)  # (status, headers), sent before the body is read
    length: bool = True  # False: chunked on HTTP/1
    early: bool = False  # answers without reading the body
    raw: bytes | None = None  # HTTP/1: these bytes instead of all that
    then: str = "keep"  # "close": the connection, after the answer; "reset": the HTTP/2 stream, instead of its end

    def fields(self):
        bodiless = self.status in (204, 304) or any(name.lower() == "content-length" for name, _ in self.headers)
        known = self.length and not self.trailers and all(isinstance(piece, bytes) for piece in self.pieces)
        if known and not bodiless:
            return [*self.headers, ("content-length", str(sum(map(len, self.pieces))))]
        return list(self.headers)


@dataclass
class Seen:
    """One request as it arrived."""

    head: bytes = b""  # HTTP/1
    headers: list = field(default_factory=list)  # HTTP/2, with the pseudo-fields
    body: bytearray = field(default_factory=bytearray)
    count: int = 0
    trailers: list = field(default_factory=list)
    end: str | None = None  # "complete", "broken"
    peer: tuple | None = None  # HTTP/1: the address of the connection's other end

    def take(self, data):
        self.count += len(data)
        self.body += data[: KEEP - len(self.body)]

    @property
    def target(self):
        if self.head:
            return self.head.split(b" ", 2)[1].decode("latin-1")
        return dict(self.headers)[":path"]

    @property
    def method(self):
        return self.head.split(b" ", 1)[0].decode() if self.head else dict(self.headers)[":method"]

    def fields(self):
        """Names in lower case and values, in their order, without what frames or addresses the request."""
        pairs = self.headers
        if self.head:
            lines = self.head.decode("latin-1").split("\r\n")[1:-2]
            pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        framing = {"host", "transfer-encoding", "content-length", "connection", "te"}
        return [(name, value) for name, value in pairs if name not in framing and not name.startswith(":")]

    def value(self, name):
        pairs = [line.partition(":") for line in self.head.decode("latin-1").split("\r\n")[1:-2]] if self.head else []
        values = [value.strip() for key, _, value in pairs if key.lower() == name]
        return (values or [value for key, value in self.headers if key == name] or [None])[0]


class Upstream:
    """`protocol` is "h1", "h2c" or "h2"; the last needs the files of a certificate and its key."""

    def __init__(self, protocol="h1", certificate=None):
        self.answers, self.seen = {}, []
        self.otherwise = Answer()
        self.tls = None
        if protocol == "h2":
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*certificate)
            self.tls.set_alpn_protocols(["h2"])
        self.serve = serve_http1 if protocol == "h1" else serve_http2
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        threading.Thread(target=self._run, args=(started,), daemon=True).start()
        assert started.wait(10)

    def _run(self, started):
        asyncio.set_event_loop(self.loop)
        listening = asyncio.start_server(self._connection, "127.0.0.1", 0, ssl=self.tls, limit=1 << 20)
        self.server = self.loop.run_until_complete(listening)
        self.port = self.server.sockets[0].getsockname()[1]
        started.set()
        self.loop.run_forever()

    async def _connection(self, reader, writer):
        writer.transport.set_write_buffer_limits(high=2 * PIECE)
        with contextlib.suppress(OSError, EOFError, h2.exceptions.ProtocolError, asyncio.CancelledError):
            await self.serve(self, reader, writer)
        writer.close()

    def begin(self, seen):
        self.seen.append(seen)
        return self.answers.get(urlsplit(seen.target).path, self.otherwise)

    def last(self, path):
        return [seen for seen in self.seen if urlsplit(seen.target).path == path][-1]

    def stop(self):
        async def leave():
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)
            self.loop.stop()

        asyncio.run_coroutine_threadsafe(leave(), self.loop)


async def content(pieces):
    """The bytes of an answer, when they are due."""
    for piece in pieces:
        if isinstance(piece, float):
            await asyncio.sleep(piece)
        elif isinstance(piece, threading.Event):
            while not piece.is_set():
                await asyncio.sleep(0.005)
        else:
            yield piece


def lines(first, fields):
    return "\r\n".join([first, *(f"{name}: {value}" for name, value in fields), "", ""]).encode("latin-1")


async def serve_http1(upstream, reader, writer):
    while True:
        seen = Seen(head=await reader.readuntil(b"\r\n\r\n"), peer=writer.get_extra_info("peername"))
        answer = upstream.begin(seen)
        for status, fields in answer.interim:
            writer.write(lines(f"HTTP/1.1 {status} Interim", fields))
        if not answer.early:
            await read_http1(reader, seen)
        if answer.raw is not None:
            writer.write(answer.raw)
        else:
            await answer_http1(writer, answer, seen.method)
        await writer.drain()
        if answer.then == "close":
            return
        if answer.early:
            await read_http1(reader, seen)


async def read_http1(reader, seen):
    seen.end = "broken"
    length = int(seen.value("content-length") or 0)
    while length:
        data = await reader.read(min(PIECE, length))
        if not data:
            raise EOFError
        seen.take(data)
        length -= len(data)
    if seen.value("transfer-encoding"):
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            seen.take((await reader.readexactly(size + 2))[:-2])
        while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
            name, _, value = line.decode().partition(":")
            seen.trailers.append((name, value.strip()))
    seen.end = "complete"


async def answer_http1(writer, answer, method):
    fields = answer.fields()
    names = {name.lower() for name, _ in fields}
    chunked = "content-length" not in names and answer.status not in (204, 304) and method != "HEAD"
    writer.write(lines(f"HTTP/1.1 {answer.status} As Scripted", [*fields, *([("Transfer-Encoding", "chunked")] * chunked)]))
    if method == "HEAD" or answer.status in (204, 304):
        return
    async for piece in content(answer.pieces):
        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if chunked else piece)
        await writer.drain()
    if chunked and answer.then != "close":
        writer.write(lines("0", answer.trailers))


async def serve_http2(upstream, reader, writer):
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8", normalize_inbound_headers=False))
    connection.local_settings = h2.settings.Settings(
        client=False, initial_values={h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 1 << 20}
    )
    connection.initiate_connection()
    connection.increment_flow_control_window(1 << 20)
    writer.write(connection.data_to_send())
    streams, tasks, room = {}, [], asyncio.Event()
    try:
        while data := await reader.read(PIECE):
            for event in connection.receive_data(data):
                stream = getattr(event, "stream_id", None)
                match event:
                    case h2.events.RequestReceived():
                        seen = Seen(headers=list(event.headers), end="broken")
                        streams[stream] = (seen, upstream.begin(seen))
                        for status, fields in streams[stream][1].interim:
                            connection.send_headers(stream, [(":status", str(status)), *fields])
                        if streams[stream][1].early:
                            tasks.append(asyncio.ensure_future(answer_http2(connection, writer, stream, *streams[stream], room)))
                    case h2.events.DataReceived():
                        streams[stream][0].take(event.data)
                        if event.flow_controlled_length:
                            connection.acknowledge_received_data(event.flow_controlled_length, stream)
                    case h2.events.TrailersReceived():
                        streams[stream][0].trailers = list(event.headers)
                    case h2.events.StreamEnded():
                        streams[stream][0].end = "complete"
                        if not streams[stream][1].early:
                            tasks.append(asyncio.ensure_future(answer_http2(connection, writer, stream, *streams[stream], room)))
                    case h2.events.StreamReset():
                        streams[stream][0].end = f"RST_STREAM {int(event.error_code)}"
                        room.set()
                    case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                        room.set()
            writer.write(connection.data_to_send())
            await writer.drain()
    finally:
        for task in tasks:
            task.cancel()


async def answer_http2(connection, writer, stream, seen, answer, room):
    with contextlib.suppress(h2.exceptions.ProtocolError, OSError):
        bare = seen.method == "HEAD" or answer.status in (204, 304) or (not answer.pieces and not answer.trailers)
        connection.send_headers(stream, [(":status", str(answer.status)), *answer.fields()], end_stream=bare)
        writer.write(connection.data_to_send())
        if bare:
            return
        async for piece in content(answer.pieces):
            while piece:
                size = min(connection.local_flow_control_window(stream), connection.max_outbound_frame_size, len(piece))
                if size == 0:
                    room.clear()
                    await room.wait()
                    continue
                connection.send_data(stream, piece[:size])
                piece = piece[size:]
                writer.write(connection.data_to_send())
                await writer.drain()
        if answer.then == "reset":
            connection.reset_stream(stream, error_code=2)
        elif answer.trailers:
            connection.send_headers(stream, answer.trailers, end_stream=True)
        else:
            connection.end_stream(stream)
        writer.write(connection.data_to_send())
