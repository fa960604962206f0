"""How punctual an injected delay is, as a client outside sees it.

The client notes the time just before it sends, and takes the kernel's own time stamp of the answer's arrival, so that
it can't make an answer look early, and its own slowness can't make one look late.
"""

import contextlib
import os
import select
import socket
import statistics
import struct
import sys
import tempfile
import time
from pathlib import Path

from peers import DELAY_SECONDS, LOAD_CORE, start_envoy, start_squall, start_upstream

AT_ONCE = 200
SO_TIMESTAMPNS = 35  # also the type of the control message
RULE = f"\n  - name: delay\n    faults: [{{delay: {round(DELAY_SECONDS * 1000)}ms}}]"
REQUEST = b"GET /delay HTTP/1.1\r\nHost: bench\r\n\r\n"


@contextlib.contextmanager
def stopping():
    """A list of processes that are stopped in the end, the last one first."""
    started = []
    try:
        yield started
    finally:
        for process in reversed(started):
            process.stop()


class Connection:
    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.sent_ns = 0

    def send(self):
        self.sent_ns = time.time_ns()
        self.sock.sendall(REQUEST)

    def receive(self):
        """Seconds from sending to the arrival of the answer, which is small enough to come in one piece."""
        data, control, _, _ = self.sock.recvmsg(65536, 64)
        if not data.startswith(b"HTTP/1.1 200"):
            sys.exit(f"not the answer that was asked for: {data[:200]!r}")
        stamps = [bytes(value) for level, kind, value in control if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS)]
        if not stamps:
            return (time.time_ns() - self.sent_ns) / 1e9
        seconds, nanoseconds = struct.unpack("ll", stamps[0])
        return (seconds * 1_000_000_000 + nanoseconds - self.sent_ns) / 1e9


class Client:
    """Many requests under way at once, from one thread."""

    def __init__(self, port):
        self.connections = [Connection(port) for _ in range(AT_ONCE)]
        self.by_fd = {one.sock.fileno(): one for one in self.connections}
        self.epoll = select.epoll()
        for fd in self.by_fd:
            self.epoll.register(fd, select.EPOLLIN)

    def close(self):
        self.epoll.close()
        for one in self.connections:
            one.sock.close()

    def answers(self, timeout):
        for fd, _ in self.epoll.poll(max(timeout, 0)):
            yield self.by_fd[fd], self.by_fd[fd].receive()

    def spread(self, seconds):
        """All under way all the time, each connection in turn: as from many clients that know nothing of each other."""
        took, waiting = [], list(enumerate(self.connections))
        began = time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            while waiting and waiting[0][0] * DELAY_SECONDS / AT_ONCE <= now:
                waiting.pop(0)[1].send()
            for connection, time_taken in self.answers(0.0002 if waiting else 0.01):
                took.append(time_taken)
                connection.send()
        self.drain(AT_ONCE - len(waiting), took)
        return took

    def burst(self, seconds):
        """All sent at the same moment, again and again."""
        took = []
        began = time.monotonic()
        while not took or time.monotonic() - began < seconds:
            for connection in self.connections:
                connection.send()
            self.drain(AT_ONCE, took)
        return took

    def drain(self, open_requests, took):
        while open_requests:
            for _, time_taken in self.answers(10):
                took.append(time_taken)
                open_requests -= 1


def report(seconds):
    """Prints the table. Ends with exit code 1 if squall answered too early even once."""
    print(f"\n### A fixed delay of {DELAY_SECONDS * 1000:.0f} ms, {AT_ONCE} requests under way, seen from outside\n")
    print("| proxy | sending | requests | earliest, ms after the delay asked for | median | p90 | p99 | latest |")
    print("|---|---|---|---|---|---|---|---|")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    early = 0
    with tempfile.TemporaryDirectory(prefix="squall-delays-") as directory, stopping() as started:
        started.append(start_upstream(Path(directory)))
        started.append(start_squall("squall", Path(directory), started[0], RULE))
        started.append(start_envoy(Path(directory), started[0]))
        _, squall, envoy = started
        for pattern in ("spread", "burst"):
            for process, listener in [(squall, "web"), (envoy, "delay")]:
                over = measure(process.ports[listener], pattern, seconds)
                early += process is squall and over[0] < 0
                print(row(process.name, pattern, over), flush=True)
    os.sched_setaffinity(0, before)
    if early:
        sys.exit("squall answered before the delay was over")


def measure(port, pattern, seconds):
    """Milliseconds beyond the delay asked for, in order; of connections that have been used before."""
    client = Client(port)
    client.burst(0)
    over = sorted((took - DELAY_SECONDS) * 1000 for took in getattr(client, pattern)(seconds))
    client.close()
    return over


def row(name, pattern, over):
    centiles = statistics.quantiles(over, n=100, method="inclusive")
    figures = [over[0], centiles[49], centiles[89], centiles[98], over[-1]]
    return f"| {name} | {pattern} | {len(over)} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |"
