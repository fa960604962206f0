"""SIGTERM drains: the port closes at once, requests in flight finish, injected waits are cut; a second signal ends it."""

import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import grpc
import pytest
import requests
import wire
from squall import binary, eventually

SLOW_SECONDS = 2.0
RULES = """
rules:
  - name: long
    match: {path: /injected}
    faults: [{delay: 60s}]
"""


class Slow(BaseHTTPRequestHandler):
    """An upstream that is slow by nature: /natural waits, /never does not answer."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        time.sleep({"/natural": SLOW_SECONDS, "/never": 30}.get(self.path, 0))
        try:
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"done")
        except OSError:
            pass

    def log_message(self, *_):
        pass


@pytest.fixture
def upstream():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.block_on_close = False
    server.server_close()


@pytest.fixture
def server(squall, upstream):
    return squall(f"""
seed: 1
shutdown: {{grace: 10s}}
listeners: {{web: {{address: 127.0.0.1:0, upstream: slow}}}}
upstreams: {{slow: {{url: 'http://127.0.0.1:{upstream}'}}}}
{RULES}""")


def accepts(port):
    with closing(socket.socket()) as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_idle(server):
    assert requests.get(server.url(), timeout=30).text == "done"
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 5


def test_idle_keep_alive_connections_do_not_hold_it_up(server):
    with requests.Session() as kept, grpc.insecure_channel(f"127.0.0.1:{server.port()}") as channel:
        assert kept.get(server.url(), timeout=30).text == "done"
        grpc.channel_ready_future(channel).result(timeout=30)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5


def test_a_request_in_flight_finishes_and_the_port_is_closed(server):
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(requests.get, server.url("/natural"), timeout=30)
        time.sleep(SLOW_SECONDS / 4)
        server.signal(signal.SIGTERM)
        eventually(lambda: accepts(server.port()), False, seconds=1)
        assert server.process.poll() is None
        assert not answer.done()
        assert answer.result().text == "done"
    assert server.wait() == 0


def test_an_http2_request_in_flight_finishes(server, tool):
    """With curl, for Python's h2 takes a GOAWAY for the end of all streams, and nothing that comes after it."""
    command = [tool("curl"), "-sS", "--http2-prior-knowledge", server.url("/natural")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        time.sleep(SLOW_SECONDS / 2)
        server.signal(signal.SIGTERM)
        assert curl.communicate(timeout=30)[0] == "done"
    assert server.wait() == 0


def test_injected_waits_are_cut_short(server):
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(requests.get, server.url("/injected"), timeout=30)
        eventually(lambda: server.metrics().sum("squall_faults_active"), 1)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 8
        try:
            assert answer.result().text == "done"
        except requests.ConnectionError:
            pass


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(server, second):
    with closing(wire.connect(server.port())) as sock:
        sock.sendall(wire.request("/never"))
        time.sleep(0.5)
        server.signal(signal.SIGTERM)
        eventually(lambda: accepts(server.port()), False, seconds=1)
        assert server.process.poll() is None
        server.signal(second)
        server.wait(3)


def test_the_grace_has_an_end(squall, upstream):
    server = squall(f"""
seed: 1
shutdown: {{grace: 1s}}
listeners: {{web: {{address: 127.0.0.1:0, upstream: slow}}}}
upstreams: {{slow: {{url: 'http://127.0.0.1:{upstream}'}}}}
""")
    with closing(wire.connect(server.port())) as sock:
        sock.sendall(wire.request("/never"))
        time.sleep(0.5)
        began = time.monotonic()
        server.stop()
        assert 0.9 < time.monotonic() - began < 8


def test_the_admin_socket_is_removed(tmp_path):
    file, socket_file = tmp_path / "squall.yaml", tmp_path / "admin.sock"
    file.write_text(f"""
listeners: {{web: {{address: 127.0.0.1:0, upstream: echo}}}}
upstreams: {{echo: {{fake: echo}}}}
admin: {{address: "unix:{socket_file}"}}
""")
    for _ in range(5):
        process = subprocess.Popen([binary(), "run", "-c", str(file)], stderr=subprocess.DEVNULL)
        try:
            eventually(socket_file.exists, True)
            process.terminate()
            assert process.wait(10) == 0
        finally:
            process.kill()
        assert not socket_file.exists()


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_first_load_that_hangs(first):
    """Standard input that never ends keeps squall loading. As process 1 of a container it has no default handlers."""
    command = [binary(), "run", "-c", "/dev/stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            caught = f"/proc/{process.pid}/status"
            eventually(lambda: handles(caught, first), True)
            process.send_signal(first)
            assert process.wait(3) == 0
        finally:
            process.kill()


def handles(status, number):
    """Whether a process has a handler for a signal (proc_pid_status(5))."""
    with open(status) as lines:
        mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    return bool(mask >> (number - 1) & 1)


def test_a_second_signal_ends_it_during_a_long_reload(squall):
    configuration = "listeners: {web: {address: 127.0.0.1:0, upstream: echo}}\nupstreams: {echo: {fake: echo}}\n"
    server = squall(configuration, args=["--no-watch"])
    rules = "".join(f"  - {{name: r{n}, match: {{path: /{n}/*}}, faults: [{{delay: 1ms}}]}}\n" for n in range(20_000))
    server.save(f"{configuration}rules:\n{rules}")
    with closing(wire.connect(server.port())) as sock:
        sock.sendall(b"POST /held HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\n")
        server.signal(signal.SIGHUP)
        time.sleep(0.2)
        server.signal(signal.SIGTERM)
        eventually(lambda: accepts(server.port()), False, seconds=3)
        server.signal(signal.SIGTERM)
        server.wait(3)
