"""Faults before there is a request: what happens to connections, and to which of them."""

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from squall import command, eventually
from wire import H2Client, connect, request

# Ends of a connection, as a client sees them.
FIN, RST, ANSWER, SILENCE = "fin", "rst", "answer", "silence"


def config(*rules, listeners="{web: {address: 127.0.0.1:0, upstream: echo}}", more="", seed=7):
    """A configuration with these rules, each a map in YAML."""
    lines = "\n".join(f"  - {rule}" for rule in rules)
    return f"seed: {seed}\n{more}\nlisteners: {listeners}\nupstreams: {{echo: {{fake: echo}}}}\nrules:\n{lines}\n"


def rule(fault, more="", name="r"):
    return f"{{name: {name}, {more} faults: [{fault}]}}"


def outcome(port, source="127.0.0.1", seconds=30):
    """What a new connection from this address gets when it sends a request, and after how long."""
    began = time.monotonic()
    try:
        # A reset may come so early that connecting fails with it.
        with contextlib.closing(socket.create_connection(("127.0.0.1", port), seconds, (source, 0))) as sock:
            sock.sendall(request("/"))
            first = sock.recv(65536)
    except (ConnectionResetError, BrokenPipeError):
        return RST, time.monotonic() - began
    except TimeoutError:
        return SILENCE, time.monotonic() - began
    return ANSWER if first.startswith(b"HTTP/1.1 200") else FIN, time.monotonic() - began


def outcomes(port, count, **options):
    return [outcome(port, **options)[0] for _ in range(count)]


def injected(server, **labels):
    return server.metrics().sum("squall_faults_injected_total", **labels)


def active(server, name="r"):
    return server.metrics().sum("squall_faults_active", rule=name)


def curl(url, *args):
    done = subprocess.run(["curl", "-sS", "-o", "/dev/null", *args, url], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def test_close(squall, tool):
    tool("curl")
    server = squall(config(rule("close: {before: connection}")))
    assert outcome(server.port())[0] == FIN
    # Also to a client that says nothing, and to one that says a lot.
    with contextlib.closing(connect(server.port())) as sock:
        assert sock.recv(1) == b""
    with contextlib.closing(connect(server.port())) as sock:
        sock.sendall(request("/", "POST", b"x" * 1000))
        assert sock.recv(1) == b""
    assert curl(server.url())[0] == 52
    assert injected(server, rule="r", fault="close") == 4
    assert server.metrics().sum("squall_requests_total") == 0
    eventually(lambda: active(server), 0)
    eventually(lambda: server.metrics().sum("squall_connections"), 0)


def test_reset(squall, tool):
    tool("curl")
    server = squall(config(rule("reset: {before: connection}")))
    assert outcome(server.port())[0] == RST
    with pytest.raises(ConnectionResetError), contextlib.closing(connect(server.port())) as sock:
        sock.recv(1)
    # Which of the two depends on whether curl has looked at its connection before the reset comes.
    assert curl(server.url())[0] in (7, 56)
    assert injected(server, rule="r", fault="reset") == 3
    eventually(lambda: active(server), 0)


def test_delay(squall):
    server = squall(config(rule("delay: {fixed: 400ms, before: connection}")))
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port(), timeout=30)) as client:
        began = time.monotonic()
        client.connect()
        assert time.monotonic() - began < 0.35, "the connection itself is accepted at once"
        client.request("GET", "/")
        answer = client.getresponse()
        answer.read()
        assert answer.status == 200
        assert 0.4 <= time.monotonic() - began < 5
        # Only the connection was delayed, not its requests.
        began = time.monotonic()
        for _ in range(3):
            client.request("GET", "/")
            client.getresponse().read()
        assert time.monotonic() - began < 0.4
        assert active(server) == 1
    metrics = server.metrics()
    assert metrics.sum("squall_faults_injected_total", rule="r", fault="delay") == 1
    assert metrics.sum("squall_injected_delay_seconds_count", rule="r") == 1
    assert 0.4 <= metrics.sum("squall_injected_delay_seconds_sum", rule="r") < 5
    eventually(lambda: active(server), 0)


def test_delay_over_http2(squall):
    server = squall(config(rule("delay: {fixed: 200ms, before: connection}")))
    began = time.monotonic()
    client = H2Client(server.port())
    streams = [client.request("/") for _ in range(3)]
    assert [client.status(stream) for stream in streams] == [200] * 3
    assert time.monotonic() - began >= 0.2
    client.close()
    assert injected(server) == 1


def test_delays_add_up_and_then_the_connection_ends(squall):
    delay = "delay: {fixed: 200ms, before: connection}"
    server = squall(config(rule(delay, name="a"), rule(f"{{{delay}}}, {{close: {{before: connection}}}}", name="b")))
    end, took = outcome(server.port())
    assert (end, took >= 0.4) == (FIN, True)
    assert (injected(server, rule="a"), injected(server, rule="b")) == (1, 2)


def test_hang(squall):
    server = squall(config(rule("hang: {before: connection}")))
    assert outcome(server.port(), seconds=1)[0] == SILENCE
    # The one that left is gone from the books at once, and one that has sent much is noticed, too.
    eventually(lambda: server.metrics().sum("squall_requests_held"), 0)
    with contextlib.closing(connect(server.port())) as sock:
        sock.sendall(b"x" * 20_000)
        eventually(lambda: server.metrics().sum("squall_requests_held"), 1)
        assert active(server) == 1
    eventually(lambda: active(server), 0)
    eventually(lambda: server.metrics().sum("squall_connections"), 0)
    assert injected(server, fault="hang") == 2


def test_hang_until_its_limit(squall):
    server = squall(config(rule("hang: {before: connection, limit: 500ms}")))
    end, took = outcome(server.port())
    assert end == FIN
    assert 0.5 <= took < 5


def test_hang_until_the_longest_wait(squall):
    server = squall(config(rule("hang: {before: connection}"), more="bounds: {delay: 300ms}"))
    end, took = outcome(server.port())
    assert end == FIN
    assert 0.3 <= took < 5


def test_stopping_ends_held_connections(squall):
    server = squall(config(rule("hang: {before: connection}")))
    with contextlib.closing(connect(server.port())) as sock:
        sock.sendall(request("/"))
        eventually(lambda: active(server), 1)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert sock.recv(1) == b""
        sock.close()
        assert server.wait() == 0
        assert time.monotonic() - began < 6


def test_by_client(squall):
    only = "match: {any: [{client: 127.0.0.2}, {client: 127.1.0.0/16}]},"
    spared = "match: {not: {client: [127.0.0.1, 127.0.0.2]}},"
    server = squall(config(rule("close: {before: connection}", only, "a"), rule("reset: {before: connection}", spared, "b")))
    seen = {source: outcome(server.port(), source)[0] for source in ["127.0.0.1", "127.0.0.2", "127.1.2.3", "127.2.0.1"]}
    assert seen == {"127.0.0.1": ANSWER, "127.0.0.2": FIN, "127.1.2.3": FIN, "127.2.0.1": RST}


def test_percentage_is_deterministic(squall):
    def ends(seed, key="ordinal", count=120):
        text = config(rule("close: {before: connection}", f"when: {{percentage: 30, key: {key}}},"), seed=seed)
        return outcomes(squall(text).port(), count)

    first = ends(7)
    assert first == ends(7)
    assert first != ends(8)
    assert 15 <= first.count(FIN) <= 60
    assert len(set(ends(7, "client", 10))) == 1, "a client gets the same draw each time"


def test_explain_draws_what_happens(squall):
    """The numbers of connections are those that a request rule with the same name would draw."""
    server = squall(config(rule("close: {before: connection}", "when: {percentage: 30},")))
    asked = server.file.with_name("asked.yaml")
    asked.write_text(config(rule("close: {}", "when: {percentage: 30},")))
    drawn = []
    for ordinal in range(1, 13):
        done = command("explain", "-c", asked, "--format", "json", "--ordinal", ordinal, "/")
        drawn.append(FIN if json.loads(done.stdout)["rules"][0]["verdict"] == "hit" else ANSWER)
    assert outcomes(server.port(), 12) == drawn


def test_every_attempts_total_and_schedule(squall):
    close = "close: {before: connection}"
    assert outcomes(squall(config(rule(close, "when: {every: 3},"))).port(), 6) == [ANSWER, ANSWER, FIN] * 2
    server = squall(config(rule(close, "when: {attempts: 2, key: client},")))
    assert outcomes(server.port(), 4) == [FIN, FIN, ANSWER, ANSWER]
    assert outcomes(server.port(), 3, source="127.0.0.9") == [FIN, FIN, ANSWER]
    server = squall(config(rule(close, "when: {limits: {total: 2}},")))
    assert outcomes(server.port(), 4) == [FIN, FIN, ANSWER, ANSWER]
    server = squall(config(rule(close, "when: {schedule: {start: 1h}},")))
    assert outcomes(server.port(), 2) == [ANSWER] * 2


def test_limit_of_active_connections(squall):
    server = squall(config(rule("hang: {before: connection}", "when: {limits: {active: 2}},")))
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(contextlib.closing(connect(server.port())))
        eventually(lambda: active(server), 2)
        assert outcomes(server.port(), 3) == [ANSWER] * 3
    eventually(lambda: active(server), 0)
    assert outcome(server.port(), seconds=0.5)[0] == SILENCE


def test_shadow_disabled_and_choose(squall):
    shadow = rule("close: {before: connection}", "shadow: true,", "s")
    disabled = rule("reset: {before: connection}", "enabled: false,", "d")
    choose = "{name: c, choose: [{weight: 1, faults: [close: {before: connection}]}, {weight: 1, faults: [reset: {before: connection}]}, {weight: 1}]}"
    server = squall(config(shadow, disabled, choose))
    seen = outcomes(server.port(), 60)
    assert {FIN, RST, ANSWER} == set(seen)
    metrics = server.metrics()
    assert metrics.sum("squall_faults_shadowed_total", rule="s", fault="close") == 60
    assert metrics.sum("squall_faults_injected_total", rule="s") == 0
    assert metrics.sum("squall_faults_injected_total", rule="d") == 0
    assert metrics.sum("squall_faults_injected_total", rule="c", fault="close") == seen.count(FIN)
    assert metrics.sum("squall_faults_injected_total", rule="c", fault="reset") == seen.count(RST)


def test_concurrency(squall):
    server = squall(config(rule("concurrency: {limit: 2, queue: 1, before: connection}")))
    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as stack:
        kept = [stack.enter_context(requests.Session()) for _ in range(2)]
        for session in kept:
            assert session.get(server.url(), timeout=30).status_code == 200
        waiting = pool.submit(outcome, server.port())
        eventually(lambda: server.metrics().sum("squall_requests_held"), 1)
        assert outcome(server.port())[0] == FIN, "the queue is full"
        assert kept[0].get(server.url(), timeout=30).status_code == 200, "those with a place go on"
        time.sleep(0.3)
        kept[0].close()
        end, took = waiting.result()
        assert (end, took >= 0.3) == (ANSWER, True)
    eventually(lambda: active(server), 0)
    metrics = server.metrics()
    assert metrics.sum("squall_faults_injected_total", fault="concurrency") == 2
    assert 0.3 <= metrics.sum("squall_injected_delay_seconds_sum", rule="r") < 10
    assert outcomes(server.port(), 3) == [ANSWER] * 3


def test_concurrency_with_a_timeout(squall):
    server = squall(config(rule("concurrency: {limit: 1, queue: 5, timeout: 300ms, before: connection}")))
    with contextlib.closing(connect(server.port())) as holder:
        holder.sendall(request("/"))
        assert holder.recv(12) == b"HTTP/1.1 200"
        end, took = outcome(server.port())
        assert (end, took >= 0.3) == (FIN, True)


def test_too_many_held(squall):
    server = squall(config(rule("hang: {before: connection}"), more="bounds: {held: 1}"))
    with contextlib.closing(connect(server.port())):
        eventually(lambda: active(server), 1)
        assert outcome(server.port())[0] == ANSWER
        assert server.metrics().sum("squall_faults_skipped_total", rule="r", reason="too many held") == 1


def test_a_unix_socket_too(squall, tmp_path):
    path = tmp_path / "squall.sock"
    listeners = f"{{web: {{address: 'unix:{path}', upstream: echo}}}}"
    server = squall(config(rule("delay: {fixed: 300ms, before: connection}", "match: {not: {client: 0.0.0.0/0}},"), listeners=listeners))
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
        began = time.monotonic()
        sock.connect(str(path))
        sock.sendall(request("/"))
        assert sock.recv(12) == b"HTTP/1.1 200"
        assert time.monotonic() - began >= 0.3
    assert injected(server) == 1


def test_only_the_named_listener(squall):
    listeners = "{web: {address: 127.0.0.1:0, upstream: echo}, other: {address: 127.0.0.1:0, upstream: echo}}"
    server = squall(config(rule("close: {before: connection}", "listener: other,"), listeners=listeners))
    assert outcome(server.port())[0] == ANSWER
    assert outcome(server.port("other"))[0] == FIN


def test_rules_of_requests_go_on(squall):
    server = squall(config(rule("delay: {fixed: 100ms, before: connection}"), rule("abort: 503", name="q")))
    answer = requests.get(server.url(), timeout=30)
    assert answer.status_code == 503
    assert answer.headers["Squall-Fault"].count("rule=") == 1
    assert injected(server) == 2


def test_a_reload_is_for_new_connections(squall):
    server = squall(config(rule("delay: {fixed: 1ms, before: connection}")))
    with requests.Session() as kept:
        assert kept.get(server.url(), timeout=30).status_code == 200
        server.save(config(rule("close: {before: connection}")))
        eventually(lambda: outcome(server.port())[0], FIN)
        assert kept.get(server.url(), timeout=30).status_code == 200
        server.save(config())
        eventually(lambda: outcome(server.port())[0], ANSWER)


def test_it_is_logged(squall):
    more = "log: {format: json, access: true}\n"
    server = squall(config(rule("close: {before: connection}", name="gone"), more=more))
    outcome(server.port())
    line = server.wait_for_message("connection", 10)
    assert (line["listener"], line["client"], line["rules"], line["faults"]) == ("web", "127.0.0.1", "gone", "close")


def test_explain_tells_when(squall, tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(config(rule("close: {before: connection}", "match: {client: 10.0.0.0/8},"), rule("abort: 500", name="q")))
    told = command("explain", "-c", file, "--client", "10.1.2.3", "http://x/").stdout
    assert "runs when a connection is accepted" in told
    told = command("explain", "-c", file, "http://x/").stdout
    assert "client in 10.0.0.0/8: the client is 127.0.0.1" in told
    assert command("check", file).returncode == 0
