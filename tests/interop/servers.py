"""Real servers that speak other protocols than HTTP: PostgreSQL, Redis and RabbitMQ, on free ports of loopback, their data in a
folder that goes with them. They are started by hand, as the tests' user or, where a server refuses root, as another one.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

START_SECONDS = 90  # on a machine that may be busy
STOP_SECONDS = 15
POSTGRES_FOLDERS = "/usr/lib/postgresql"
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # not the one in PATH, which changes the user and the folders


class Server:
    """A process with a port, a log and a folder of its own, which is not below pytest's: other users can't enter that one."""

    def __init__(self, name, owner=None):
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"squall-{name}-"))
        self.log = self.folder / "log"
        self.processes = []
        self.user = owner
        if owner:
            self.folder.chmod(0o755)
            shutil.chown(self.folder, owner)

    def run(self, *argv, **environment):
        """Runs a command to its end."""
        with self.log.open("a") as out:
            words = list(map(str, argv))
            subprocess.run(words, stdout=out, stderr=out, timeout=START_SECONDS, check=True, **self._options(environment))

    def spawn(self, *argv, **environment):
        with self.log.open("a") as out:
            words = list(map(str, argv))
            options = self._options(environment)
            self.processes.append(subprocess.Popen(words, stdout=out, stderr=out, start_new_session=True, **options))

    def _options(self, environment):
        options = {"cwd": self.folder, "stdin": subprocess.DEVNULL, "env": {**os.environ, **environment}}
        if self.user:
            options |= {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}
        return options

    def wait(self, ready):
        """Calls `ready` until it is true; errors of the network mean that it isn't yet."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and all(one.poll() is None for one in self.processes):
            with contextlib.suppress(OSError):
                if ready():
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.folder.name} did not start: {self.log.read_text()[-4000:]}")

    def stop(self, number=signal.SIGTERM):
        """Asks the last one first, and kills what is left of each one's group."""
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def postgres(programs):
    """PostgreSQL with a database `postgres` and a superuser of that name, without a password. `programs` is its bin folder."""
    server = Server("postgres", nobody("postgres") if os.getuid() == 0 else None)
    try:
        data = server.folder / "data"
        make = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        server.run(programs / "initdb", "-D", data, *make)
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "max_connections": 200}
        words = [f"--{key}={value}" for key, value in settings.items()]
        server.spawn(programs / "postgres", "-D", data, "-p", server.port, *words)
        server.wait(lambda: ready_for_queries(programs, server.port))
        yield server
    finally:
        server.stop(signal.SIGINT)  # its fast way: open transactions are rolled back


def ready_for_queries(programs, port):
    command = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    return subprocess.run(command, timeout=10, check=False).returncode == 0


@contextlib.contextmanager
def redis(program):
    """Redis without persistence."""
    server = Server("redis")
    try:
        quiet = ["--save", "", "--appendonly", "no", "--dir", server.folder, "--bind", "127.0.0.1"]
        server.spawn(program, "--port", server.port, *quiet)
        server.wait(lambda: accepts(server.port))
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def rabbitmq(program):
    """RabbitMQ with its user `guest`. Its port mapper, which Erlang would leave behind as a daemon, is one of its processes."""
    server = Server("rabbitmq")
    try:
        mapper = free_port()
        names = {"ERL_EPMD_PORT": str(mapper), "ERL_EPMD_ADDRESS": "127.0.0.1"}
        server.spawn("epmd", **names)
        server.wait(lambda: accepts(mapper))
        config = server.folder / "rabbitmq.conf"
        # Neither alarm may stop publishers on a small machine.
        config.write_text("vm_memory_high_watermark.absolute = 512MiB\ndisk_free_limit.absolute = 1MB\n")
        environment = {
            "HOME": str(server.folder),  # the cookie's
            "RABBITMQ_NODENAME": f"squall{server.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(server.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none",
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_CONF_ENV_FILE": str(server.folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(server.folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(server.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(server.folder),
            "RABBITMQ_LOGS": "-",
        }
        server.spawn(program, **names, **environment)
        server.wait(lambda: speaks_amqp(server.port))
        yield server
    finally:
        server.stop()


def speaks_amqp(port):
    """It answers a protocol header with the start of a connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.settimeout(5)
        sock.sendall(b"AMQP\x00\x00\x09\x01")
        return sock.recv(1) == b"\x01"


def accepts(port):
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    return True


def nobody(preferred):
    """A user who isn't root: this one, if the machine has it."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(preferred).pw_name
    return "nobody"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
