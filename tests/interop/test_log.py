"""A log that nobody takes stops nothing: not requests, not the admin API, not the end of the process.

A container's log driver that stalls, and a disk that is full, are no faults that anybody asked for.
"""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from squall import Metrics, binary, eventually

REQUESTS = 3000  # of 250 bytes of log each: more than a pipe holds
END_SECONDS = 5

CONFIG = """
listeners: {{web: {{address: 'unix:{folder}/web.sock', upstream: echo}}}}
upstreams: {{echo: {{fake: echo}}}}
admin: {{address: 'unix:{folder}/admin.sock'}}
log: {{access: true, format: json}}
"""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def get(self, target):
        self.request("GET", target)
        response = self.getresponse()
        return response.status, response.read().decode()


@contextlib.contextmanager
def frozen():
    """A pipe that nobody reads."""
    reader, writer = os.pipe()
    yield writer
    os.close(reader)
    os.close(writer)


@contextlib.contextmanager
def broken():
    """A pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@contextlib.contextmanager
def full():
    """A disk without room."""
    with open("/dev/full", "w") as file:
        yield file.fileno()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@pytest.mark.parametrize(("stderr", "drops"), [(frozen, False), (broken, True), (full, True)])
def test_a_log_that_is_not_taken_stops_nothing(tmp_path, stderr, drops):
    config = tmp_path / "squall.yaml"
    config.write_text(CONFIG.format(folder=tmp_path))
    with stderr() as log, subprocess.Popen([binary(), "run", "-c", config], stderr=log) as process:
        try:
            eventually(lambda: (tmp_path / "web.sock").exists() and (tmp_path / "admin.sock").exists(), True)
            web, admin = UnixConnection(tmp_path / "web.sock"), UnixConnection(tmp_path / "admin.sock")
            web.connect()
            kept = web.sock
            for number in range(REQUESTS):
                assert web.get(f"/{number}?{'x' * 100}")[0] == 200
            assert web.sock is kept, "the connection was not kept"
            assert admin.get("/healthz")[0] == 200
            metrics = Metrics(admin.get("/metrics")[1])
            assert metrics.sum("squall_requests_total") == REQUESTS
            assert (metrics.sum("squall_log_lines_dropped_total") > 0) == drops
            web.close()
            admin.close()
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(END_SECONDS) == 0
            assert time.monotonic() - began < END_SECONDS
        finally:
            process.kill()


def test_a_stalled_log_drops_lines_and_counts_them(tmp_path):
    """When more lines wait than may, and none is lost without a word."""
    config = tmp_path / "squall.yaml"
    config.write_text(CONFIG.format(folder=tmp_path))
    reader, writer = os.pipe()
    requests = 14_000
    with subprocess.Popen([binary(), "run", "-c", config], stderr=writer) as process:
        os.close(writer)
        try:
            eventually(lambda: (tmp_path / "web.sock").exists() and (tmp_path / "admin.sock").exists(), True)
            web = socket.socket(socket.AF_UNIX)
            web.connect(str(tmp_path / "web.sock"))
            web.settimeout(30)
            for _ in range(requests // 100):
                web.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
                seen = b""
                while seen.count(b"\r\n\r\n") < 100:
                    seen += web.recv(1 << 16)
            admin = UnixConnection(tmp_path / "admin.sock")
            dropped = Metrics(admin.get("/metrics")[1]).sum("squall_log_lines_dropped_total")
            assert dropped > 0
            admin.close()
            web.close()
            process.send_signal(signal.SIGTERM)
            with os.fdopen(reader, errors="replace") as log:
                written = len(re.findall(r'"message":"request"', log.read()))
            assert process.wait(END_SECONDS) == 0
        finally:
            process.kill()
    assert written + dropped >= requests
