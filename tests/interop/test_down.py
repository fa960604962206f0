"""A listener that is down refuses connections and ends those that are open; a taken port has an exit code of its own."""

import socket
import subprocess

import pytest
import requests
from squall import binary, command, complete, eventually

CONFIG = """
listeners:
  web: {{address: 127.0.0.1:{port}, upstream: echo{web}}}
  other: {{address: 127.0.0.1:0, upstream: echo}}
upstreams: {{echo: {{fake: echo}}}}
"""


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def reload(server, text):
    server.file.write_text(complete(text))
    answer = requests.post(server.admin + "/api/v1/reload", timeout=30)
    assert answer.ok, answer.text
    return answer.json()


def refused(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


def test_a_listener_goes_down_and_comes_back(squall, port):
    server = squall(CONFIG.format(port=port, web=""), args=["--no-watch"])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as idle:
        assert requests.get(f"http://127.0.0.1:{port}/", timeout=10).ok
        told = reload(server, CONFIG.format(port=port, web=", enabled: false"))
        assert told["changes"] == "changed: listeners"
        eventually(lambda: refused(port), True)
        assert idle.recv(1) == b"", "an open connection ends"
    assert requests.get(server.url("/", "other"), timeout=10).ok
    listeners = requests.get(server.admin + "/api/v1/status", timeout=10).json()["listeners"]
    assert {one["name"]: one["enabled"] for one in listeners} == {"web": False, "other": True}
    assert requests.get(server.admin + "/readyz", timeout=10).ok, "it is down on purpose"
    reload(server, CONFIG.format(port=port, web=""))
    eventually(lambda: refused(port), False)
    assert requests.get(f"http://127.0.0.1:{port}/", timeout=10).ok


def test_a_listener_that_is_down_from_the_start(squall, port):
    squall(CONFIG.format(port=port, web=", enabled: false"))
    assert refused(port)


def test_a_taken_port_is_not_an_internal_error(tmp_path, port):
    file = tmp_path / "squall.yaml"
    file.write_text(complete(CONFIG.format(port=port, web="")))
    with socket.create_server(("127.0.0.1", port)):
        ended = command("run", file)
    assert ended.returncode == 69
    assert f"127.0.0.1:{port}" in ended.stderr and "in use" in ended.stderr
    assert "internal" not in ended.stderr


def test_the_file_can_be_named_without_an_option(tmp_path):
    file = tmp_path / "squall.yaml"
    file.write_text(complete(CONFIG.format(port=0, web="")))
    with subprocess.Popen([binary(), "run", file], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert any('"ready"' in line and str(file) in line for line in process.stderr)
        finally:
            process.terminate()
