"""An upstream with bodies of all kinds: `bodies.py PORT h1|h2c`. It remembers the requests that it got."""

import asyncio
import gzip
import hashlib
import json
import random
import sys

import h2.config
import h2.connection
import h2.errors
import h2.events
from aiohttp import web

CATALOGUE = json.dumps({"items": [{"id": 1, "price": 10}, {"id": 2, "price": 20}], "note": "café"}).encode()
BIG = random.Random(3).randbytes(5_000_000)
TYPE = "content-type"

SEEN = []  # (method, path, headers, sha256 of the body, its length)


async def once(*pieces):
    for piece in pieces:
        yield piece


async def slowly(pieces, seconds):
    for piece in pieces:
        yield piece
        await asyncio.sleep(seconds)


async def events():
    number = 0
    while True:
        yield f"data: {number}\n\n".encode()
        number += 1
        await asyncio.sleep(0.05)


async def breaking():
    yield b"x" * 100
    raise ConnectionAbortedError


async def handle(method, path, headers, body):
    """Status, headers, pieces and trailers of an answer; without a content-length it has no stated length."""
    if path == "/seen":
        text = json.dumps(SEEN).encode()
        return 200, {TYPE: "application/json", "content-length": len(text)}, once(text), None
    SEEN.append((method, path, dict(headers), hashlib.sha256(body).hexdigest(), len(body)))
    number = len(SEEN)
    tagged = {TYPE: "application/json", "etag": '"natural"', "content-md5": "bmF0dXJhbA==", "x-kept": "yes"}
    length = {"content-length": len(CATALOGUE)}
    third = len(CATALOGUE) // 3
    thirds = (CATALOGUE[:third], CATALOGUE[third : 2 * third], CATALOGUE[2 * third :])
    packed = gzip.compress(CATALOGUE)
    answers = {
        "/json": lambda: (200, tagged | length, once(CATALOGUE), None),
        "/chunked": lambda: (200, tagged, slowly(thirds, 0.02), None),
        "/trailers": lambda: (200, tagged, once(CATALOGUE), {"x-sum": "12"}),
        "/gzip": lambda: (200, tagged | {"content-encoding": "gzip", "content-length": len(packed)}, once(packed), None),
        "/text": lambda: (200, {TYPE: "text/plain"}, once(b"$10 and $20, not 30\n"), None),
        "/empty": lambda: (200, {TYPE: "text/plain", "content-length": 0}, once(), None),
        "/big": lambda: (200, {TYPE: "text/plain", "content-length": len(BIG), "etag": '"big"'}, once(BIG), None),
        "/big-chunked": lambda: (200, {TYPE: "text/plain"}, once(*(BIG[i : i + 70_001] for i in range(0, len(BIG), 70_001))), None),
        "/events": lambda: (200, {TYPE: "text/event-stream; charset=utf-8"}, events(), None),
        "/slow": lambda: (200, {TYPE: "application/json"}, slowly((b'{"first":1,', b'"second":2,', b'"third":3}'), 6), None),
        "/broken": lambda: (200, {TYPE: "text/plain", "content-length": 1000}, breaking(), None),
        "/204": lambda: (204, {"x-kept": "yes"}, once(), None),
        "/304": lambda: (304, {"etag": '"natural"'}, once(), None),
        "/206": lambda: (206, tagged | {"content-range": "bytes 0-3/10", "content-length": 4}, once(b"0123"), None),
        "/503": lambda: (503, {TYPE: "text/plain", "content-length": 4}, once(b"busy"), None),
        "/forever": lambda: (200, {TYPE: "text/plain"}, slowly((b"." for _ in range(10_000)), 0.05), None),
    }
    if path in answers:
        return answers[path]()
    mirror = {"method": method, "path": path, "headers": dict(headers), "body": body.decode("latin-1"), "number": number}
    text = json.dumps(mirror).encode()
    return 200, {TYPE: "application/json", "content-length": len(text)}, once(text), None


async def http1(request):
    body = await request.read()
    headers = {name.lower(): value for name, value in request.headers.items()}
    status, fields, pieces, _ = await handle(request.method, request.raw_path, headers, body)
    response = web.StreamResponse(status=status, headers={name: str(value) for name, value in fields.items()})
    if "content-length" not in fields and status == 200:
        response.enable_chunked_encoding()
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    try:
        async for piece in pieces:
            await response.write(piece)
    except ConnectionAbortedError:
        request.transport.close()
    return response


class Http2(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.requests = {}
        self.room = asyncio.Event()
        self.tasks = set()
        self.flush()

    def connection_lost(self, error):
        for task in self.tasks:
            task.cancel()

    def flush(self):
        self.transport.write(self.h2.data_to_send())

    def data_received(self, data):
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self.requests[event.stream_id] = (dict(event.headers), bytearray())
            elif isinstance(event, h2.events.DataReceived):
                self.requests[event.stream_id][1].extend(event.data)
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                task = asyncio.ensure_future(self.answer(event.stream_id))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
            elif isinstance(event, h2.events.WindowUpdated):
                self.room.set()
        self.flush()

    async def answer(self, stream):
        headers, body = self.requests.pop(stream)
        method, path = headers.pop(":method"), headers.pop(":path")
        status, fields, pieces, trailers = await handle(method, path, headers, bytes(body))
        lines = [(":status", str(status))] + [(name, str(value)) for name, value in fields.items()]
        try:
            if method == "HEAD" or status in (204, 304):
                self.h2.send_headers(stream, lines, end_stream=True)
                return self.flush()
            self.h2.send_headers(stream, lines)
            async for piece in pieces:
                await self.send(stream, piece)
            if trailers:
                self.h2.send_headers(stream, list(trailers.items()), end_stream=True)
            else:
                self.h2.end_stream(stream)
        except ConnectionAbortedError:
            self.h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        except (h2.exceptions.StreamClosedError, h2.exceptions.ProtocolError):
            return None
        self.flush()

    async def send(self, stream, piece):
        while piece:
            window = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if window <= 0:
                self.room.clear()
                self.flush()
                await self.room.wait()
                continue
            self.h2.send_data(stream, piece[:window])
            piece = piece[window:]
            self.flush()
        await asyncio.sleep(0)


async def main(port, protocol):
    if protocol == "h2c":
        loop = asyncio.get_running_loop()
        await loop.create_server(Http2, "127.0.0.1", port)
    else:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", http1)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
