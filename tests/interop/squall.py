"""Starts the squall binary, reads what it says of itself, and stops it. Standard library only: the benchmarks use it too."""

import json
import os
import queue
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
NO_ANSWER = "0"  # the status that squall_requests_total gives to requests without an answer
STOP_SECONDS = 15

# What a test's configuration gets where it does not say otherwise: free ports, and a log that a program can read.
DEFAULTS = {
    "admin": "admin: {address: 127.0.0.1:0}",
    "log": "log: {format: json, access: false}",
}


def binary():
    """The binary under test: SQUALL_BIN, or what `cargo build` makes."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    path = Path(os.environ.get("SQUALL_BIN", target / "debug" / "squall"))
    path = path if path.is_absolute() else ROOT / path
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: run `cargo build`, or set SQUALL_BIN")
    return str(path)


def complete(text):
    """Adds the defaults that a configuration leaves open."""
    missing = [line for key, line in DEFAULTS.items() if not re.search(rf"^{key}:", text, re.MULTILINE)]
    return "\n".join([*missing, text])


def command(*args, timeout=30, **options):
    """Runs a subcommand to its end."""
    return subprocess.run(
        [binary(), *map(str, args)], capture_output=True, text=True, timeout=timeout, check=False, **options
    )


class Metrics:
    """One reading of /metrics."""

    SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
    LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

    def __init__(self, text):
        self.text = text
        self.samples = []
        for line in text.splitlines():
            if found := self.SAMPLE.match(line):
                name, labels, value = found.groups()
                self.samples.append((name, dict(self.LABEL.findall(labels or "")), float(value)))

    def series(self, name, **labels):
        """The (labels, value) pairs of a metric that carry these labels."""
        return [(have, value) for sample, have, value in self.samples if sample == name and labels.items() <= have.items()]

    def sum(self, name, **labels):
        """The sum over those series; 0 where there is none."""
        return sum(value for _, value in self.series(name, **labels))

    def names(self):
        return {name for name, _, _ in self.samples}


class Squall:
    """A running squall. `prefix` goes before the command, for example `taskset -c 0`; `program` is another binary."""

    def __init__(self, config, directory, prefix=(), args=(), env=None, program=None):
        self.file = Path(directory) / "squall.yaml"
        self.file.write_text(complete(config))
        self.lines = []
        self.ports = {}
        self.admin = None
        self._news = queue.Queue()
        self.process = subprocess.Popen(
            [*prefix, program or binary(), "run", "-c", str(self.file), *args],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **(env or {})},
        )
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.wait_for_message("ready", START_SECONDS)
        except BaseException:
            self.kill()
            raise

    def _read(self):
        for line in self.process.stderr:
            self._take(line.rstrip("\n"))
        self._news.put(None)

    def _take(self, line):
        self.lines.append(line)
        try:
            news = json.loads(line)
        except ValueError:
            news = {}
        fields = {**news, **news.get("fields", {})} if isinstance(news, dict) else {}
        if fields.get("message") == "listening":
            self.ports[fields["listener"]] = port_of(fields["address"])
        elif fields.get("message") == "admin listening":
            self.admin = f"http://127.0.0.1:{port_of(fields['address'])}"
        self._news.put(fields)

    def wait_for_message(self, message, seconds):
        """Waits for a log line with this message, from the last one waited for on."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                fields = self._news.get(timeout=max(deadline - time.monotonic(), 0.001))
            except queue.Empty:
                raise TimeoutError(f"no {message!r} within {seconds} s; the log:\n{self.log()}") from None
            if fields is None:
                raise RuntimeError(f"squall ended with {self.process.wait()} before {message!r}; the log:\n{self.log()}")
            if fields.get("message") == message:
                return fields

    def log(self):
        return "\n".join(self.lines[-50:])

    def port(self, listener="web"):
        return self.ports[listener]

    def url(self, path="/", listener="web", scheme="http"):
        return f"{scheme}://127.0.0.1:{self.port(listener)}{path}"

    def admin_call(self, path, method="GET"):
        """Status and text of a call to the admin side."""
        request = urllib.request.Request(self.admin + path, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metrics(self):
        status, text = self.admin_call("/metrics")
        assert status == 200, text
        return Metrics(text)

    def save(self, text):
        """Replaces the configuration file as editors do: a new file, renamed over the old one."""
        new = self.file.with_suffix(".new")
        new.write_text(complete(text))
        new.rename(self.file)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=STOP_SECONDS):
        """The exit code, once it has ended by itself."""
        return self.process.wait(seconds)

    def stop(self):
        """SIGTERM, and the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def port_of(address):
    """The port of an address; None for a Unix socket."""
    return None if address.startswith("unix:") else int(address.rsplit(":", 1)[1])


def eventually(read, wanted, seconds=10.0, pause=0.02):
    """Reads until `wanted` (a value or a predicate) is met; the seconds it took."""
    began = time.monotonic()
    while True:
        value = read()
        if wanted(value) if callable(wanted) else value == wanted:
            return time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise AssertionError(f"still {value!r} after {seconds} s")
        time.sleep(pause)
