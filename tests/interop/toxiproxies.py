"""Starts `squall toxiproxy`, and calls its API as Toxiproxy's clients do; and the raw TCP upstream behind its proxies."""

import contextlib
import itertools
import socket
import subprocess
import sys
import time

import requests
from conftest import APPS, free_port, wait_for_port
from squall import binary, port_of

NAMES = itertools.count(1)
API_SECONDS = 20
STOP_SECONDS = 15


class Toxiproxy:
    """A running one; `url` is its API's."""

    def __init__(self, directory, port=None, prefix=()):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "toxiproxy.log"
        self.session = requests.Session()
        with self.log.open("w") as out:
            command = [*prefix, binary(), "toxiproxy", "-host=127.0.0.1", f"-port={self.port}"]
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            if not prefix:
                wait_for_port(self.port, self.process, self.log)
        except BaseException:
            self.stop()
            raise

    def stop(self):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        self.process.kill()
        self.process.wait()
        self.session.close()

    def call(self, method, path, body=None):
        """The JSON of a call that must succeed."""
        answer = self.session.request(method, self.url + path, json=body, timeout=API_SECONDS)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def proxy(self, upstream):
        """A new proxy to a port of loopback."""
        name = f"proxy-{next(NAMES)}"
        body = {"name": name, "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{upstream}"}
        return Proxy(self, name, self.call("POST", "/proxies", body))


class Proxy:
    def __init__(self, server, name, body):
        self.server, self.name = server, name
        self.path = f"/proxies/{name}"
        self.port = port_of(body["listen"])

    def add(self, kind, stream="downstream", toxicity=1.0, **attributes):
        body = {"type": kind, "stream": stream, "toxicity": toxicity, "attributes": attributes}
        return self.server.call("POST", f"{self.path}/toxics", body)["name"]

    def update(self, toxic, **attributes):
        return self.server.call("PATCH", f"{self.path}/toxics/{toxic}", {"attributes": attributes})

    def remove(self, toxic):
        self.server.call("DELETE", f"{self.path}/toxics/{toxic}")

    @contextlib.contextmanager
    def toxic(self, kind, stream="downstream", **attributes):
        name = self.add(kind, stream, **attributes)
        try:
            yield name
        finally:
            self.remove(name)

    def enable(self, enabled=True):
        self.server.call("PATCH", self.path, {"enabled": enabled})

    def delete(self):
        self.server.call("DELETE", self.path)

    def connect(self, command=None, receive_buffer=None):
        """A connection through the proxy, on which the upstream was told what to do."""
        return connect(self.port, command, receive_buffer)


class Upstream:
    """apps/tcp_upstream.py"""

    def __init__(self, directory):
        self.port = free_port()
        log = directory / "tcp_upstream.log"
        with log.open("w") as out:
            command = [sys.executable, APPS / "tcp_upstream.py", str(self.port)]
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        wait_for_port(self.port, self.process, log)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def seen(self, name, seconds=20):
        """What a sink got: the number of bytes, their SHA-1, how they ended (all, end, reset), and when."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with connect(self.port, f"seen {name}") as sock, sock.makefile() as lines:
                if words := lines.readline().split():
                    return int(words[0]), words[1], words[2], float(words[3])
            time.sleep(0.02)
        raise AssertionError(f"the upstream knows no end of {name}")


def connect(port, command=None, receive_buffer=None):
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(20)
    sock.connect(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if command:
        sock.sendall(command.encode() + b"\n")
    return sock


def receive(sock, count):
    """Exactly so many bytes."""
    data = bytearray()
    while len(data) < count:
        piece = sock.recv(count - len(data))
        assert piece, f"an end after {len(data)} of {count} bytes"
        data += piece
    return bytes(data)


def ending(sock):
    """What comes until the end, and the end: "end", "reset", or "open" if nothing more comes within the socket's time."""
    data = bytearray()
    try:
        while piece := sock.recv(1 << 16):
            data += piece
    except ConnectionResetError:
        return bytes(data), "reset"
    except TimeoutError:
        return bytes(data), "open"
    return bytes(data), "end"
