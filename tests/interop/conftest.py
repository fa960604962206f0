"""Fixtures: running squalls, and the real servers behind them."""

import contextlib
import gc
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import servers
from servers import free_port
from squall import Squall

APPS = Path(__file__).parent / "apps"


@pytest.fixture(scope="module", autouse=True)
def frozen_heap():
    """The thousands of collected tests and their reports are out of the garbage collector's way: walking them takes 0.1 s
    and more, in which no thread of this process runs, and which tests of time would take for gaps of squall."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def squall(tmp_path):
    """A function that starts squall on a configuration text; all that it started is killed after the test."""
    running = []

    def start(config, **options):
        directory = tmp_path / f"squall-{len(running)}"
        directory.mkdir()
        running.append(Squall(config, directory, **options))
        return running[-1]

    yield start
    for one in running:
        one.kill()


@pytest.fixture
def serve(tmp_path):
    """A function that starts a program on a free port, waits until it accepts, and returns the port."""
    running = []

    def start(*argv, env=None):
        port = free_port()
        log = tmp_path / f"server-{len(running)}.log"
        with log.open("w") as out:
            command = [str(word).replace("{port}", str(port)) for word in argv]
            running.append(subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **(env or {})}))
        wait_for_port(port, running[-1], log)
        return port

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def app(serve, tmp_path):
    """A function that starts one of tests/interop/apps under uvicorn with one worker."""

    def start(name):
        argv = [sys.executable, "-m", "uvicorn", f"{name}:app", "--app-dir", APPS, "--port", "{port}"]
        quiet = ["--workers", "1", "--no-access-log", "--log-level", "warning"]
        return serve(*argv, *quiet, env={"TODO_DATABASE": str(tmp_path / f"{name}.db")})

    return start


@pytest.fixture(scope="session")
def tool():
    """A function that finds a program of the system, or skips the test; in CI it must be there."""

    def find(name):
        path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
        if path is None and os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed")
        return path or pytest.skip(f"{name} is not installed")

    return find


@pytest.fixture(scope="session")
def postgres_programs(tool):
    """The folder of PostgreSQL's programs, which Debian keeps out of PATH: the newest version's."""
    folders = Path(servers.POSTGRES_FOLDERS).glob("*/bin/postgres")
    return Path(max(folders, key=lambda path: int(path.parts[-3]), default=None) or tool("postgres")).parent


@pytest.fixture(scope="session")
def postgres_server(postgres_programs):
    with servers.postgres(postgres_programs) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(tool):
    with servers.redis(tool("redis-server")) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_server(tool):
    with servers.rabbitmq(tool(servers.RABBITMQ)) as server:
        yield server


@contextlib.contextmanager
def bodies_upstream(folder, protocol):
    """Runs apps/bodies.py, which speaks "h1" or "h2c", and gives its port and what an upstream's YAML says of it."""
    port = free_port()
    with (folder / "upstream.log").open("w") as log:
        upstream = subprocess.Popen([sys.executable, APPS / "bodies.py", str(port), protocol], stdout=log, stderr=log)
    try:
        wait_for_port(port, upstream, folder / "upstream.log")
        yield port, f"url: 'http://127.0.0.1:{port}', protocol: {'h2c' if protocol == 'h2c' else 'http1'}"
    finally:
        upstream.kill()
        upstream.wait()


def wait_for_port(port, process, log, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"no server on port {port}: {log.read_text()}")
