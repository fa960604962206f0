"""A real WebSocket server that remembers what reached it and when, and WebSocket by hand (RFC 6455, section 5)."""

import asyncio
import functools
import hashlib
import random
import socket
import threading
import time
from urllib.parse import parse_qsl, urlsplit

import wire
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


@functools.cache
def payload(number, size=16):
    """Binary message `number`: its number, and bytes that depend on it."""
    return number.to_bytes(4, "big") + bytes((number * 7 + at) % 256 for at in range(max(size, 4) - 4))


def mixed(count):
    """Messages of both kinds and of all three forms of the length."""
    for number in range(count):
        size = 70_000 if number % 2_500 == 1_234 else number * 13 % 300
        yield payload(number, size) if number % 2 else f"{number} größer " + "x" * size


def digest(messages):
    """What two lists of messages have in common only if kinds, borders and bytes are the same."""
    hashed = hashlib.sha256()
    for message in messages:
        data = message.encode() if isinstance(message, str) else bytes(message)
        hashed.update(f"{type(message).__name__} {len(data)} ".encode() + data)
    return hashed.hexdigest()


class Session:
    """One connection that reached the server."""

    def __init__(self, connection):
        self.request = connection.request
        self.extensions = [extension.name for extension in connection.protocol.extensions]
        self.received = []  # (when, message)
        self.closed = None  # the exception that its end was
        self.ended = threading.Event()

    @property
    def messages(self):
        return [message for _, message in self.received]


class Server:
    """Does as the query says. `do=echo`; `do=sink`; `do=count&n=…&size=…`; `do=both&n=…`; `do=bye&n=…&code=…&size=…`."""

    def __init__(self, compression="deflate"):
        self.sessions = []
        self.loop = asyncio.new_event_loop()
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.sock.getsockname()[1]
        self.compression = compression
        self.started = threading.Event()
        self.stopping = asyncio.Event()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self.run(),), daemon=True)
        self.thread.start()
        self.started.wait(10)

    async def run(self):
        options = {"ping_interval": None, "close_timeout": 10, "compression": self.compression, "max_size": None}
        async with serve(self.handle, sock=self.sock, **options):
            self.started.set()
            await self.stopping.wait()

    def stop(self):
        self.loop.call_soon_threadsafe(self.stopping.set)
        self.thread.join(20)

    async def handle(self, connection):
        session = Session(connection)
        self.sessions.append(session)
        wants = dict(parse_qsl(urlsplit(connection.request.path).query))
        try:
            await getattr(self, wants.pop("do"))(connection, session, **{key: int(value) for key, value in wants.items()})
        except ConnectionClosed as error:
            session.closed = error
        finally:
            session.ended.set()

    async def sink(self, connection, session):
        while True:
            message = await connection.recv()
            session.received.append((time.monotonic(), message))

    async def echo(self, connection, session):
        while True:
            message = await connection.recv()
            session.received.append((time.monotonic(), message))
            await connection.send(message)

    async def count(self, connection, session, n, size=16):
        """Sends, and reads nothing before it has sent all."""
        for number in range(n):
            await connection.send(payload(number, size))
        await self.sink(connection, session)

    async def both(self, connection, session, n):
        """Sends and reads at the same time."""
        await asyncio.gather(self.send_all(connection, n), self.sink(connection, session))

    async def send_all(self, connection, n):
        for message in mixed(n):
            await connection.send(message)

    async def bye(self, connection, session, n, code, size=16):
        """Sends, and closes at once."""
        for number in range(n):
            await connection.send(payload(number, size))
        await connection.close(code, "that is all")


def frame(kind, data=b"", mask=b"\x11\x22\x33\x44", fin=True):
    """A client's frame, masked."""
    head = bytes([(0x80 if fin else 0) | kind])
    if len(data) < 126:
        head += bytes([0x80 | len(data)])
    elif len(data) < 65_536:
        head += bytes([0x80 | 126]) + len(data).to_bytes(2, "big")
    else:
        head += bytes([0x80 | 127]) + len(data).to_bytes(8, "big")
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


class RawClient:
    """A client that decides itself how its bytes fall into segments."""

    def __init__(self, port, target):
        self.sock = wire.connect(port)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = f"GET {target} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.sock.sendall(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode())
        self.data = b""
        self.head = self.until(b"\r\n\r\n")

    def until(self, end):
        while end not in self.data:
            self.more()
        found, _, self.data = self.data.partition(end)
        return found + end

    def more(self):
        received = self.sock.recv(65_536)
        if not received:
            raise EOFError(f"FIN; left over: {self.data!r}")
        self.data += received

    def exactly(self, count):
        while len(self.data) < count:
            self.more()
        found, self.data = self.data[:count], self.data[count:]
        return found

    def read_frame(self):
        """First byte and payload of a frame of the server; EOFError at the end."""
        first, length = self.exactly(2)
        assert not length & 0x80, "a server's frames are not masked"
        if length == 126:
            length = int.from_bytes(self.exactly(2), "big")
        elif length == 127:
            length = int.from_bytes(self.exactly(8), "big")
        return first, self.exactly(length)

    def send_in_pieces(self, data, seed):
        """Pieces of 1 to 9 bytes, now and then so far apart that each goes into a segment of its own."""
        draw = random.Random(seed)
        while data:
            size = draw.randint(1, 9)
            self.sock.sendall(data[:size])
            data = data[size:]
            if draw.random() < 0.3:
                time.sleep(0.001)

    def close(self):
        self.sock.close()
