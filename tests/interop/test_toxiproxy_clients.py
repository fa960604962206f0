"""Clients that were written for Toxiproxy, unchanged, with squall's API: each makes a proxy, adds every toxic that it knows,
and takes all back, while raw connections through the proxy show what came of it. test_toxic_effects.py has how exact that is.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toxiproxies
from conftest import wait_for_port
from squall import ROOT, port_of
from toxiproxies import connect, ending, receive
from toxiproxy_clients import CLIENTS, RUST_CLIENTS, Failed

NAMES = itertools.count(1)
BUILD_SECONDS = 280
SERVED = 60_000  # bytes that the upstream sends, before it ends


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    upstream = toxiproxies.Upstream(tmp_path_factory.mktemp("upstream"))
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = toxiproxies.Toxiproxy(tmp_path_factory.mktemp("toxiproxy"))
    yield server
    assert server.process.poll() is None, server.log.read_text()
    server.stop()


@pytest.fixture(scope="session")
def rust_target(tool):
    """Where Cargo builds the clients in Rust, apart from squall."""
    target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "rust-clients"
    options = ["--locked", "--manifest-path", RUST_CLIENTS / "Cargo.toml", "--target-dir", target]
    command = [tool("cargo"), "build", "--quiet", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module", params=CLIENTS)
def client(request, server, tool, tmp_path_factory):
    tools = {}
    if "node" in request.param:
        tools["node"] = tool("node")
    if request.param in ("toxiproxy_rust", "noxious-client"):
        tools["rust"] = request.getfixturevalue("rust_target") / "debug"
    client = CLIENTS[request.param](server, tools, tmp_path_factory.mktemp("client") / "client.log")
    yield client
    client.stop()


@pytest.fixture
def proxy(client, upstream):
    """The name and the port of a proxy that the client made."""
    name = f"client-{next(NAMES)}"
    port = client.create(name, f"127.0.0.1:{upstream.port}")
    yield name, port
    with contextlib.suppress(Exception):
        client.delete(name)


def fetch(port):
    """What comes of SERVED bytes, how it ends, and the seconds until then."""
    began = time.monotonic()
    try:
        with connect(port, f"source {SERVED}") as sock:
            data, end = ending(sock)
    except ConnectionResetError:
        data, end = b"", "reset"
    return len(data), end, time.monotonic() - began


def check_untouched(port):
    assert fetch(port)[:2] == (SERVED, "end")


def is_late(port):
    size, _, seconds = fetch(port)
    return size == SERVED and seconds >= 0.15


def is_slow(port):
    """At 100 kB/s, with 100 ms for a start at once."""
    size, _, seconds = fetch(port)
    return size == SERVED and seconds >= 0.4


def is_sliced(port):
    size, _, seconds = fetch(port)
    return size == SERVED and seconds >= 0.2


def is_cut(port):
    return fetch(port)[0] == 10


def is_cut_off(port):
    began = time.monotonic()
    with connect(port, "echo") as sock:
        sock.sendall(b"hello")
        return ending(sock)[0] == b"" and 0.15 <= time.monotonic() - began < 10


def is_reset(port):
    return fetch(port)[:2] == (0, "reset")


def is_untouched(port):
    return fetch(port)[:2] == (SERVED, "end")


TOXICS = {
    "latency": ({"latency": 150, "jitter": 0}, is_late),
    "bandwidth": ({"rate": 100}, is_slow),
    "slow_close": ({"delay": 150}, is_late),
    "timeout": ({"timeout": 150}, is_cut_off),
    "reset_peer": ({"timeout": 0}, is_reset),
    "slicer": ({"average_size": 2000, "size_variation": 500, "delay": 10_000}, is_sliced),
    "limit_data": ({"bytes": 10}, is_cut),
    "noop": ({}, is_untouched),
}


def needs(client, what):
    if what in client.lacks:
        pytest.skip("the client can't do this")


@pytest.mark.parametrize("kind", TOXICS)
def test_a_toxic_comes_and_goes(client, proxy, kind):
    needs(client, kind)
    name, port = proxy
    attributes, took_effect = TOXICS[kind]
    check_untouched(port)
    toxic = client.add(name, kind, attributes)
    assert took_effect(port)
    client.remove(name, toxic)
    check_untouched(port)


def test_a_toxic_is_updated(client, proxy):
    needs(client, "update")
    name, port = proxy
    toxic = client.add(name, "limit_data", {"bytes": 20})
    assert fetch(port)[0] == 20
    assert client.update(name, toxic, "limit_data", {"bytes": 10}) == toxic
    assert fetch(port)[0] == 10


def test_a_proxy_is_disabled_and_enabled(client, proxy):
    name, port = proxy
    assert client.enabled(name) is True
    with connect(port, "echo") as sock:
        sock.sendall(b"hello")
        receive(sock, 5)
        client.disable(name)
        assert ending(sock)[1] in ("end", "reset")
    assert client.enabled(name) is False
    with pytest.raises(ConnectionRefusedError):
        connect(port)
    client.enable(name)
    check_untouched(port)


def test_reset_enables_and_heals(client, proxy):
    name, port = proxy
    client.add(name, "limit_data", {"bytes": 10})
    client.disable(name)
    client.reset()
    assert client.enabled(name) is True
    check_untouched(port)


def test_a_deleted_proxy_is_gone(client, proxy):
    name, port = proxy
    client.delete(name)
    with pytest.raises(ConnectionRefusedError):
        connect(port)
    if "names" not in client.lacks:
        assert name not in client.names()


def test_names_and_version(client, proxy):
    needs(client, "names")
    assert proxy[0] in client.names()
    if "version" not in client.lacks:
        assert '"version"' in client.version()


@pytest.mark.parametrize("client", ["toxiproxy-node-client", "noxious-client"], indirect=True)
def test_errors_are_reported(client, proxy):
    with pytest.raises(Failed, match="status code 404|404: proxy not found"):
        client.enabled("nobody")
    with pytest.raises(Failed, match="status code 409|409: proxy already exists"):
        client.create(proxy[0], "127.0.0.1:1")


@pytest.mark.parametrize("client", ["toxiproxy-node-client"], indirect=True)
def test_node_populates(client, upstream):
    place = {"listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{upstream.port}"}
    proxies = [{"name": f"client-{next(NAMES)}", **place} for _ in range(2)]
    assert client.do("populate", proxies=proxies) == [one["name"] for one in proxies]
    for one in proxies:
        client.delete(one["name"])


def test_python_takes_a_proxy_down_for_a_while(server, upstream):
    client = CLIENTS["toxiproxy-python"](server, {}, None).client
    place = {"listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{upstream.port}"}
    proxy = client.populate([{"name": "for-a-while", **place}])[0]
    port = port_of(proxy.listen)
    with proxy.down(), pytest.raises(ConnectionRefusedError):
        connect(port)
    check_untouched(port)
    client.destroy_all()
    assert client.proxies() == {}


# The tests that a client ships. They want the API's usual port and two more, so they run in a network of their own.

IN_A_NETWORK = "ip link set lo up && exec \"$@\""


@pytest.fixture
def network(tool):
    """The words before a command that is to have a network of its own, or a skip where that isn't allowed."""
    words = [tool("unshare"), "--net", "sh", "-c", IN_A_NETWORK, "sh"]
    if not shutil.which("ip") or subprocess.run([*words, "true"], capture_output=True, timeout=20, check=False).returncode:
        pytest.skip("namespaces are not allowed here")
    return words


def test_the_tests_of_toxiproxy_rust(network, rust_target, tool, tmp_path):
    cargo = [tool("cargo"), "test", "--locked", "--manifest-path", RUST_CLIENTS / "Cargo.toml", "--target-dir", rust_target]
    chosen = [*cargo, "--package", "toxiproxy_rust", "--test", "toxiproxy_rust"]
    subprocess.run([*chosen, "--no-run"], capture_output=True, timeout=BUILD_SECONDS, check=True)
    inside = [sys.executable, __file__, *chosen, "--offline", "--", "--test-threads=1"]
    done = subprocess.run([*network, *inside], capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test result: ok. 11 passed" in done.stdout


def run_with_the_usual_port(command):
    """Runs a command beside a squall on the API's usual port: what this file does as a program, in a network of its own."""
    server = toxiproxies.Toxiproxy(Path.cwd(), port=8474)
    try:
        wait_for_port(8474, server.process, server.log)
        return subprocess.run(command, timeout=100, check=False).returncode
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(run_with_the_usual_port(sys.argv[1:]))
