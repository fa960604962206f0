"""A server for raw TCP, in a process of its own, so that a test's own work delays nothing. A connection's first line says what
it does:

echo            sends everything back
source N        sends N bytes of the known stream, and then ends; 0: without end
sink N NAME     reads N bytes, or as many as come, and answers with their number and SHA-1
both N NAME     sends and reads N bytes at the same time, and answers as a sink in the end
seen NAME       says what the sink of that name got, how it ended, and when: "COUNT SHA-1 ENDING SECONDS"

The known stream is one block again and again, of a prime length, so that no two chunks of it are alike.
"""

import asyncio
import hashlib
import itertools
import random
import sys
import time

BLOCK = random.Random(1).randbytes(1_000_003)
READ_BYTES = 1 << 18
SEEN = {}


def stream(count):
    """The first bytes of the known stream, in pieces; without end if `count` is 0."""
    for begin in itertools.count(0, len(BLOCK)):
        if count and begin >= count:
            return
        yield BLOCK[: count - begin] if count and count - begin < len(BLOCK) else BLOCK


def digest(count):
    """The SHA-1 of the first bytes of the known stream."""
    sha = hashlib.sha1()
    for piece in stream(count):
        sha.update(piece)
    return sha.hexdigest()


async def serve(reader, writer):
    try:
        command, *words = (await reader.readline()).decode().split() or ["nothing"]
        await COMMANDS[command](reader, writer, *words)
    except (ConnectionError, KeyError):
        pass
    finally:
        writer.close()


async def echo(reader, writer):
    while data := await reader.read(READ_BYTES):
        writer.write(data)
        await writer.drain()


async def source(_, writer, count):
    for piece in stream(int(count)):
        writer.write(piece)
        await writer.drain()


async def sink(reader, writer, count, name):
    sha, got, ending = hashlib.sha1(), 0, "all"
    try:
        while got < int(count):
            data = await reader.read(READ_BYTES)
            if not data:
                ending = "end"
                break
            got += len(data)
            sha.update(data)
    except ConnectionError:
        ending = "reset"
    SEEN[name] = f"{got} {sha.hexdigest()} {ending} {time.monotonic()}"
    if ending == "all":
        writer.write(SEEN[name].encode() + b"\n")
        await writer.drain()


async def both(reader, writer, count, name):
    sending = asyncio.create_task(source(reader, writer, count))
    await sink(reader, Waiting(sending, writer), count, name)


class Waiting:
    """A writer that waits for its turn."""

    def __init__(self, before, writer):
        self.before, self.writer, self.text = before, writer, b""

    def write(self, text):
        self.text = text

    async def drain(self):
        await self.before
        self.writer.write(self.text)
        await self.writer.drain()


async def seen(_, writer, name):
    writer.write(SEEN.get(name, "").encode() + b"\n")


COMMANDS = {"echo": echo, "source": source, "sink": sink, "both": both, "seen": seen}


async def main(port):
    server = await asyncio.start_server(serve, "127.0.0.1", port, limit=1 << 20, backlog=2000)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
