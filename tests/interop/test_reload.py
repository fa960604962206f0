"""A changed file, a signal or a call reloads the rules; nothing under way is lost, and a bad file changes nothing."""

import http.client
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import requests
from squall import binary, complete, eventually

SAVES_PER_SECOND = 20
SECONDS = 20
CLIENTS = 8


def good(number, extra=""):
    """A valid file, never twice the same, whose rules do not touch the load."""
    return f"""
seed: 5
listeners: {{web: {{address: 127.0.0.1:0, upstream: echo}}}}
upstreams: {{echo: {{fake: echo}}}}
rules:
  - name: number {number}
    match: {{path: /number/{number}}}
    faults: [{{delay: {number + 1}ms}}]
  - name: never
    when: {{percentage: 0}}
    faults: [{{abort: 500}}]
{extra}"""


def bad(number):
    """A file that would hurt every request if any of it came into force, but has a fault of its own."""
    hurt = "  - name: hurt\n    faults: [{abort: 500}]\n"
    wrong = [
        "  - name: unclosed\n    faults: [{abort: 503\n",
        "  - name: unknown key\n    fautls: [{abort: 503}]\n",
        "  - name: too much\n    when: {percentage: 101}\n    faults: [{abort: 503}]\n",
        "  - name: hurt\n    faults: [{abort: 503}]\n",
        "upstream: {}\n",
    ]
    return good(number, hurt + wrong[number % len(wrong)])


class Load:
    """Keep-alive clients that each send one request after another. They never repeat a request."""

    def __init__(self, server):
        self.failures = []
        self.answered = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._port = server.port()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._work = [self._pool.submit(self._client) for _ in range(CLIENTS)]

    def _client(self):
        answered = 0
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
            connection.connect()
            connection.auto_open = False
            while not self._stop.is_set():
                connection.request("GET", "/load")
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200 or answer.headers.get("Squall-Fault"):
                    self.failures.append((answer.status, answer.headers.items()))
                answered += 1
                time.sleep(0.001)
        with self._lock:
            self.answered += answered

    def stop(self):
        self._stop.set()
        for work in self._work:
            work.result()
        self._pool.shutdown()


def reloads(server, result):
    return server.metrics().sum("squall_reloads_total", result=result)


def test_saves_under_load_lose_nothing(squall):
    server = squall(good(0))
    load = Load(server)
    began = time.monotonic()
    for number in range(1, SAVES_PER_SECOND * SECONDS + 1):
        server.save(bad(number) if number % 2 else good(number))
        time.sleep(max(0, began + number / SAVES_PER_SECOND - time.monotonic()))
    server.save(good(9999, "  - name: final\n    match: {path: /final}\n    faults: [{abort: 418}]\n"))
    eventually(lambda: requests.get(server.url("/final"), timeout=30).status_code, 418, seconds=20)
    load.stop()

    assert load.failures == []
    assert load.answered > 1000
    assert reloads(server, "ok") > 2
    assert reloads(server, "error") > 2
    metrics = server.metrics()
    aborted = metrics.sum("squall_requests_total", status="418")
    assert metrics.sum("squall_faults_injected_total") == aborted
    assert metrics.sum("squall_requests_total", listener="web", status="200") >= load.answered
    assert server.process.poll() is None


def abort_all(status):
    return f"  - name: all\n    faults: [{{abort: {status}}}]\n"


def status_of(server):
    return requests.get(server.url(), timeout=30).status_code


def test_a_signal_reloads(squall):
    server = squall(good(0), args=["--no-watch"])
    server.save(good(1, abort_all(501)))
    time.sleep(0.5)
    assert status_of(server) == 200
    server.signal(signal.SIGHUP)
    eventually(lambda: status_of(server), 501)


def test_a_call_reloads_and_reports(squall):
    server = squall(good(0), args=["--no-watch"])
    server.save(good(1, abort_all(502)))
    status, _ = server.admin_call("/api/v1/reload", "POST")
    assert status == 200
    assert status_of(server) == 502
    server.save(bad(1))
    status, report = server.admin_call("/api/v1/reload", "POST")
    assert status == 422
    assert "fautls" in report
    assert "faults" in report
    assert status_of(server) == 502


def test_a_bad_file_is_counted_logged_and_without_effect(squall):
    server = squall(good(0))
    assert status_of(server) == 200
    server.save(bad(2))
    eventually(lambda: reloads(server, "error"), lambda count: count >= 1)
    assert status_of(server) == 200
    eventually(server.log, lambda log: "percentage" in log)


def test_a_request_under_way_keeps_its_rules(squall):
    slow = "  - name: slow\n    match: {path: /slow}\n    faults: [{delay: 2s}, {abort: 418}]\n"
    server = squall(good(0, slow))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(requests.get, server.url("/slow"), timeout=30)
        eventually(lambda: server.metrics().sum("squall_faults_active", rule="slow"), 1)
        server.save(good(1))
        assert server.admin_call("/api/v1/reload", "POST")[0] == 200
        assert requests.get(server.url("/slow"), timeout=30).status_code == 200
        answer = answer.result()
    assert answer.status_code == 418
    assert answer.elapsed.total_seconds() >= 2


def test_a_changed_bound_changes_the_rules_that_it_bounds(squall):
    # Of nearly all draws the bound is what is left: the scale is 1 ms, and the tail endless.
    def bounded(delay):
        slow = "  - name: slow\n    match: {path: /slow}\n    faults: [{delay: {pareto: {scale: 1ms, shape: 0.001}}}]\n"
        return good(0, slow) + f"bounds: {{delay: {delay}}}\n"

    server = squall(bounded("50ms"), args=["--no-watch"])
    took = [requests.get(server.url("/slow"), timeout=30).elapsed.total_seconds() for _ in range(3)]
    server.save(bounded("800ms"))
    assert server.admin_call("/api/v1/reload", "POST")[0] == 200
    longer = [requests.get(server.url("/slow"), timeout=30).elapsed.total_seconds() for _ in range(3)]
    assert min(took) < 0.8 <= max(longer)


def test_what_needs_a_restart_is_a_warning(squall):
    server = squall(good(0), args=["--no-watch"])
    server.save(good(1) + "bounds: {connections: 3}\nthreads: 1\n")
    assert server.admin_call("/api/v1/reload", "POST")[0] == 200
    for key in ("threads", "bounds.connections"):
        server.wait_for_message(f"a change of `{key}` needs a restart", 5)


def test_listeners_come_and_go(squall):
    server = squall(good(0), args=["--no-watch"])
    added = good(1).replace("listeners: {web:", "listeners: {more: {address: 127.0.0.1:0, upstream: echo}, web:")
    server.save(added)
    assert server.admin_call("/api/v1/reload", "POST")[0] == 200
    eventually(lambda: server.ports, lambda ports: "more" in ports)
    with requests.Session() as kept:
        assert kept.get(server.url(listener="more"), timeout=30).status_code == 200
        server.save(good(2))
        assert server.admin_call("/api/v1/reload", "POST")[0] == 200
        eventually(lambda: connects(server, "more"), False)
    assert status_of(server) == 200


def connects(server, listener):
    try:
        requests.get(server.url(listener=listener), timeout=5)
    except requests.ConnectionError:
        return False
    return True


def test_a_long_reload_stops_neither_requests_nor_the_admin_api(squall):
    """With one thread for traffic, which would stand still for as long as the rules load if it loaded them."""
    server = squall("threads: 1\n" + good(0), args=["--no-watch"])
    rules = "".join(f"  - {{name: r{n}, match: {{path: /{n}/*/x}}, faults: [{{abort: 418}}]}}\n" for n in range(4_000))
    server.save("threads: 1\n" + good(1, rules))
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        reloaded = pool.submit(server.admin_call, "/api/v1/reload", "POST")
        longest = 0
        while not reloaded.done():
            before = time.monotonic()
            assert status_of(server) == 200
            assert server.admin_call("/healthz")[0] == 200
            longest = max(longest, time.monotonic() - before)
        took = time.monotonic() - began
    assert reloaded.result()[0] == 200
    assert longest < max(0.25, took / 4), f"{longest} s of {took} s"
    assert requests.get(server.url("/77/a/x"), timeout=30).status_code == 418


def test_a_configuration_from_a_pipe_runs_and_is_not_read_again(tmp_path):
    """A shell's `<(…)` is a pipe too."""
    log = tmp_path / "log"
    with log.open("w") as stderr:
        command = [binary(), "run", "-c", "/dev/stdin"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=stderr) as process:
            try:
                process.stdin.write(complete(good(0)).encode())
                process.stdin.close()
                eventually(log.read_text, lambda text: '"ready"' in text)
                process.send_signal(signal.SIGHUP)
                eventually(log.read_text, lambda text: "it is a pipe, which can be read only once" in text)
                process.terminate()
                assert process.wait(10) == 0
            finally:
                process.kill()
