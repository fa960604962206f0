"""Upstreams that die and come back on the same port."""

import asyncio
import base64
import collections
import contextlib
import hashlib
import random
import socket
import struct
import threading

from origin import Origin, read_head

ALIVE_SECONDS = (1.0, 4.0)
DEAD_SECONDS = (0.1, 1.0)
LINGER_RESET = struct.pack("ii", 1, 0)


class Mortal(Origin):
    """An `Origin` (over "h1" or "h2c", or "websocket") that can be killed; of what it saw it remembers only the latest."""

    def __init__(self, protocol):
        super().__init__({"h2c": "h2"}.get(protocol, "h1"))
        if protocol == "websocket":
            self.handler = serve_websocket
        self.exchanges = collections.deque(maxlen=100)
        self.deaths = 0

    def die(self, reset):
        """Stops listening, and ends all connections with FIN or RST."""
        self.deaths += 1
        self._do(self._die(reset))

    def come_back(self):
        self._do(self._listen())

    def _do(self, work):
        asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    async def _die(self, reset):
        self.server.close()
        for writer in list(self.writers):
            if reset:
                with contextlib.suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
                writer.transport.abort()
            else:
                writer.close()

    async def _listen(self):
        self.server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=1024, limit=1 << 16)


async def serve_websocket(_origin, reader, writer):
    """Takes the upgrade, and sends back whatever comes."""
    head = await read_head(reader)
    lines = [line.partition(":") for line in head.split("\r\n")[1:]]
    key = next((value.strip() for name, _, value in lines if name.lower() == "sec-websocket-key"), "")
    accept = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
    writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


class Fates:
    """A thread for each upstream that kills it again and again, until it is told to stop; then all are alive."""

    def __init__(self, upstreams, seed):
        self.enough = threading.Event()
        self.threads = [
            threading.Thread(target=self._rule, args=(upstream, random.Random(f"{seed} {number}")), daemon=True)
            for number, upstream in enumerate(upstreams)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.enough.set()
        for thread in self.threads:
            thread.join()

    def _rule(self, upstream, dice):
        while not self.enough.wait(dice.uniform(*ALIVE_SECONDS)):
            upstream.die(reset=dice.random() < 0.5)
            self.enough.wait(dice.uniform(*DEAD_SECONDS))
            upstream.come_back()
