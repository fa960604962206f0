"""Clients of the soak: they ask for faults, leave at random moments, and know as much as can be known of each request's fate.

A client that leaves cannot always know whether squall has seen its request: a RST throws away what squall has not read yet,
and HTTP/2 drops the streams of a connection that ends before they were looked at. Such a request is UNSURE.
"""

import asyncio
import contextlib
import itertools
import socket
import time
from dataclasses import dataclass, field
from enum import Enum

import flow
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import wire

PATIENCE_SECONDS = 30.0
CERTAIN_SECONDS = 0.05  # from the answer to a PING that followed a request until squall has surely taken the request
STEP_SECONDS = 0.02
RECEIVE = 65536


class Fate(Enum):
    """How a request ended, as its client saw it."""

    COMPLETE = "answered to the end"
    BROKEN = "answered, and broken off by squall or the upstream"
    PARTED = "answered, and left by the client before the end"
    ENDED = "ended without an answer, as its fault says"
    LEFT = "left by the client before an answer, and seen by squall"
    FELLED = "ended with its HTTP/2 connection, by another stream's fault"
    UNSURE = "perhaps never seen by squall"
    UNSENT = "left by the client before its head was complete"
    LOST = "ended without an answer, for no reason that the client knows"
    STUCK = f"no end within {PATIENCE_SECONDS:.0f} s"


@dataclass
class Plan:
    """One request, and when its client leaves: `leaves` is None, "unsent", "early" (`after` seconds) or "reading"."""

    fault: str | None = None
    path: str = "/"
    method: str = "GET"
    body: bytes = b""
    gap: float = 0.0  # between the pieces of the body
    leaves: str | None = None
    after: float = 0.0
    resets: bool = False  # leaves with RST, else with FIN; over HTTP/2: the stream alone, else with its connection
    ends: bool = False  # the fault ends the request without an answer
    closes: bool = False  # the fault ends the connection, HTTP/2 or not
    upgrade: bool = False
    number: int = field(default_factory=itertools.count(1).__next__)

    def fields(self):
        fault = [("x-fault", self.fault)] if self.fault else []
        return [("x-request-id", str(self.number)), *fault]


@dataclass
class Outcome:
    """What became of a plan."""

    fate: Fate
    status: int | None
    seconds: float
    size: int
    end: str | None
    uploaded: bool  # the whole body of the request


def outcome(fate, answer, uploaded):
    return Outcome(fate, answer.status, time.monotonic() - answer.sent_at, len(answer.body), answer.end, uploaded)


def end_socket(sock, reset):
    if reset:
        wire.leave_with_reset(sock)
    else:
        sock.close()


async def open_socket(port):
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


async def receive(sock):
    """Bytes, or "fin" or "reset"."""
    try:
        return await asyncio.get_running_loop().sock_recv(sock, RECEIVE) or "fin"
    except ConnectionError:
        return "reset"


# HTTP/1.1


async def visit_http1(port, plans, note, pause=0.0):
    """One connection, and one request after the other for as long as it lives."""
    sock = await open_socket(port)
    try:
        for number, plan in enumerate(plans):
            if not await Http1(sock, plan, note, first=number == 0).run():
                return
            await asyncio.sleep(pause)
    finally:
        sock.close()


class Http1:
    """One request over HTTP/1.1."""

    def __init__(self, sock, plan, note, first):
        self.sock, self.plan, self.note, self.first = sock, plan, note, first
        self.answer = flow.Received()
        self.parser = flow.Parser(self.answer, plan.method)
        self.loop = asyncio.get_running_loop()

    async def run(self):
        """Whether the connection can be used again."""
        self.answer.sent_at = time.monotonic()
        if self.plan.leaves == "unsent":
            return await self._leave_unsent()
        uploading = asyncio.create_task(self._upload())
        patience = self.plan.after if self.plan.leaves == "early" else PATIENCE_SECONDS
        try:
            async with asyncio.timeout(patience):
                await self._read(uploading)
        except TimeoutError:
            pass
        finally:
            sent = uploading.done()
            uploading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await uploading
        fate = self._fate()
        self.note(self.plan, outcome(fate, self.answer, sent))
        if self.plan.leaves and (fate != Fate.COMPLETE or self.plan.upgrade):
            end_socket(self.sock, self.plan.resets)
        closing = "close" in (self.answer.header("connection") or "").lower()
        return fate == Fate.COMPLETE and sent and not closing and self.answer.status != 101

    def _head(self):
        plan = self.plan
        lines = [f"{plan.method} {plan.path} HTTP/1.1", "Host: test", *(f"{name}: {value}" for name, value in plan.fields())]
        if plan.upgrade:
            lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
            lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        if plan.body:
            lines.append(f"Content-Length: {len(plan.body)}")
        return "\r\n".join([*lines, "", ""]).encode()

    async def _leave_unsent(self):
        head = self._head()
        with contextlib.suppress(ConnectionError):
            await self.loop.sock_sendall(self.sock, head[: 1 + self.plan.number % (len(head) - 1)])
            await asyncio.sleep(self.plan.after)
        end_socket(self.sock, self.plan.resets)
        self.note(self.plan, outcome(Fate.UNSENT, self.answer, False))
        return False

    async def _upload(self):
        with contextlib.suppress(ConnectionError):
            await self.loop.sock_sendall(self.sock, self._head())
            for start in range(0, len(self.plan.body), 16384):
                await self.loop.sock_sendall(self.sock, self.plan.body[start : start + 16384])
                await asyncio.sleep(self.plan.gap)

    async def _read(self, uploading):
        while self.answer.end is None:
            data = await receive(self.sock)
            if isinstance(data, str):
                self.parser.connection_ended(data)
            else:
                self.parser.feed(data)
            if self.plan.leaves == "reading" and self.answer.body:
                return
        if self.answer.status == 101:
            await self._talk()
        elif self.answer.end == "complete" and not self.plan.gap:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(uploading), 0.1)

    async def _talk(self):
        """Sends a WebSocket message (masked with zeros) and waits for its echo, a few times."""
        message = b"\x82\xfe" + (1000).to_bytes(2, "big") + bytes(4) + bytes(1000)
        with contextlib.suppress(ConnectionError):
            for _ in range(5):
                await self.loop.sock_sendall(self.sock, message)
                echoed = 0
                while echoed < len(message):
                    data = await receive(self.sock)
                    if isinstance(data, str):
                        return
                    echoed += len(data)
                await asyncio.sleep(0.02)

    def _fate(self):
        answer, plan = self.answer, self.plan
        if answer.end == "complete":
            return Fate.COMPLETE
        if answer.status is not None:
            return Fate.BROKEN if answer.end else Fate.PARTED if plan.leaves else Fate.STUCK
        if answer.end is None:
            if not plan.leaves:
                return Fate.STUCK
            return Fate.LEFT if self.first and not plan.resets else Fate.UNSURE
        if plan.ends:
            return Fate.ENDED
        # A kept connection may be closed by the server while a request is on its way.
        return Fate.LOST if self.first else Fate.UNSURE


# HTTP/2


async def visit_http2(port, plans, note, leaves_after=None, resets=False):
    """One connection with all requests at once; it is left as a whole after so many seconds, if at all."""
    sock = await open_socket(port)
    visit = Http2(sock, plans, note)
    try:
        if len(plans) == 1 and plans[0].leaves == "unsent":
            await visit.leave_unsent()
        else:
            await visit.run(leaves_after, resets)
    finally:
        sock.close()


class Stream:
    """One request over HTTP/2."""

    def __init__(self, plan):
        self.plan = plan
        self.answer = flow.Received(sent_at=time.monotonic())
        self.left_to_send = memoryview(plan.body)
        self.settled = False


class Http2:
    """One connection in clear text with prior knowledge."""

    def __init__(self, sock, plans, note):
        self.sock, self.plans, self.note = sock, plans, note
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.out = bytearray()
        self.streams = {}
        self.seen_at = None  # when squall had answered the PING behind the requests
        self.loop = asyncio.get_running_loop()
        self.began = time.monotonic()

    async def leave_unsent(self):
        """Leaves with a HEADERS frame that is not complete."""
        self.h2.initiate_connection()
        preface = self.h2.data_to_send()
        self._ask(self.plans[0])
        head = self.h2.data_to_send()
        with contextlib.suppress(ConnectionError):
            await self.loop.sock_sendall(self.sock, preface + head[: 1 + self.plans[0].number % (len(head) - 1)])
            await asyncio.sleep(self.plans[0].after)
        end_socket(self.sock, self.plans[0].resets)
        self.note(self.plans[0], outcome(Fate.UNSENT, flow.Received(sent_at=self.began), False))

    async def run(self, leaves_after, resets):
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 20)
        for plan in self.plans:
            self._ask(plan)
        self.h2.ping(b"requests")
        while not all(stream.settled for stream in self.streams.values()):
            if leaves_after is not None and self._passed(leaves_after):
                self._leave(resets)
            elif self._passed(PATIENCE_SECONDS):
                self._settle_all(Fate.STUCK)
            else:
                await self._step()

    def _passed(self, seconds):
        return time.monotonic() - self.began > seconds

    def _ask(self, plan):
        stream = self.h2.get_next_available_stream_id()
        pseudo = [(":method", plan.method), (":path", plan.path), (":scheme", "http"), (":authority", "test")]
        self.h2.send_headers(stream, [*pseudo, *plan.fields()], end_stream=not plan.body)
        self.streams[stream] = Stream(plan)

    async def _step(self):
        """Sends what can be sent, reads for a moment, and resets the streams whose time has come."""
        self._upload()
        self._flush()
        data = b""
        with contextlib.suppress(TimeoutError):
            data = await asyncio.wait_for(receive(self.sock), STEP_SECONDS)
        if isinstance(data, str):
            self._connection_ended(data)
        else:
            for event in self.h2.receive_data(data):
                self._take(event)
        for number, stream in self.streams.items():
            self._maybe_reset(number, stream)

    def _flush(self):
        """Gives the kernel what it takes now."""
        self.out += self.h2.data_to_send()
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while self.out:
                del self.out[: self.sock.send(self.out)]

    def _upload(self):
        for number, stream in self.streams.items():
            if stream.left_to_send and not stream.settled:
                with contextlib.suppress(h2.exceptions.ProtocolError):
                    self._send_piece(number, stream)

    def _send_piece(self, number, stream):
        room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size, len(stream.left_to_send))
        if room > 0:
            last = room == len(stream.left_to_send)
            self.h2.send_data(number, bytes(stream.left_to_send[:room]), end_stream=last)
            stream.left_to_send = stream.left_to_send[room:]

    def _take(self, event):
        stream = self.streams.get(getattr(event, "stream_id", None))
        match event:
            case h2.events.PingAckReceived():
                self.seen_at = time.monotonic()
            case h2.events.ResponseReceived() if stream:
                stream.answer.status = int(dict(event.headers)[":status"])
            case h2.events.DataReceived() if stream:
                stream.answer.body += event.data
                with contextlib.suppress(h2.exceptions.ProtocolError):
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded() if stream:
                self._settle(stream, Fate.COMPLETE, "complete")
            case h2.events.StreamReset() if stream:
                self._settle(stream, self._fate_of_reset(stream, event.error_code), f"RST_STREAM {int(event.error_code)}")

    def _fate_of_reset(self, stream, code):
        if stream.answer.status is not None:
            return Fate.BROKEN
        if stream.plan.ends:
            return Fate.ENDED
        return Fate.UNSURE if code == h2.errors.ErrorCodes.REFUSED_STREAM else Fate.LOST

    def _settle(self, stream, fate, end=None):
        if not stream.settled:
            stream.settled = True
            stream.answer.end = end
            self.note(stream.plan, outcome(fate, stream.answer, not stream.left_to_send))

    def _settle_all(self, fate):
        for stream in self.streams.values():
            self._settle(stream, Fate.BROKEN if stream.answer.status is not None else fate)

    def _maybe_reset(self, number, stream):
        plan = stream.plan
        due = self._passed(plan.after) if plan.leaves == "early" else plan.leaves == "reading" and stream.answer.body
        if due and not stream.settled:
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.h2.reset_stream(number, error_code=h2.errors.ErrorCodes.CANCEL)
            self._flush()
            self._settle(stream, self._fate_of_leaving(number, stream))

    def _fate_of_leaving(self, number, stream):
        """Not certain where the fault of another stream may end the connection in the same moment."""
        if stream.answer.status is not None:
            return Fate.PARTED
        seen = self.seen_at is not None and time.monotonic() - self.seen_at > CERTAIN_SECONDS
        return Fate.LEFT if seen and not self._others_close(number) else Fate.UNSURE

    def _others_close(self, number):
        return any(other.plan.closes for at, other in self.streams.items() if at != number)

    def _leave(self, resets):
        for number, stream in self.streams.items():
            self._settle(stream, self._fate_of_leaving(number, stream))
        end_socket(self.sock, resets)

    def _connection_ended(self, how):
        for number, stream in self.streams.items():
            self._settle(stream, self._fate_with_connection(number, stream), how)

    def _fate_with_connection(self, number, stream):
        """A fault of one stream may end the connection for all of them."""
        if self._others_close(number):
            return Fate.UNSURE if stream.plan.closes else Fate.FELLED
        if stream.answer.status is not None:
            return Fate.BROKEN
        return Fate.ENDED if stream.plan.ends else Fate.LOST
