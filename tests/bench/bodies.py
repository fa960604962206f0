"""What large bodies cost, passing and shaped, and how even a limited rate is, as a client outside sees it."""

import contextlib
import itertools
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from delays import stopping
from peers import BIG_BYTES, LOAD_CORE, RATES_KIB, pinned, start_envoy, start_nginx, start_squall, start_upstream

# No limit in practice: what is measured is the way that shaped bodies go.
SHAPED = "\n  - name: shaped\n    faults: [{bandwidth: 1TiB/s}]"
RATED = "".join(
    f"\n  - {{name: rate {rate}, listener: rate-{rate}, faults: [{{bandwidth: {{response: {rate}KiB/s}}}}]}}" for rate in RATES_KIB
)
STREAMS = 10


def report(options):
    with tempfile.TemporaryDirectory(prefix="squall-bodies-") as directory, stopping() as started:
        directory = Path(directory)

        def keep(process):
            started.append(process)
            return process

        upstream = keep(start_upstream(directory))
        envoy = keep(start_envoy(directory, upstream))
        squall = keep(start_squall("squall", directory, upstream, RATED))
        shaped = keep(start_squall("squall, shaped", directory, upstream, SHAPED))
        nginx = keep(start_nginx(directory, upstream))
        proxies = [nginx, envoy, squall, shaped]
        if options.against:
            proxies.append(keep(start_squall("the other squall", directory, upstream, RATED, options.against)))
        costs(proxies, options)
        evenness([squall, envoy], seconds=2 if options.quick else 10)


def costs(proxies, options):
    """CPU time for each gigabyte of bodies, in turns."""
    used = {proxy.name: [] for proxy in proxies}
    for _, proxy in itertools.product(range(options.rounds), proxies):
        before = proxy.cpu_seconds()
        bodies = download(proxy, max(options.seconds, 3))  # a slow machine needs more than one second for the first body
        used[proxy.name].append((proxy.cpu_seconds() - before) * 1000 / (bodies * BIG_BYTES / 1e9))
    print(f"\n### Bodies of {BIG_BYTES >> 20} MiB\n")
    print("| proxy | CPU ms a GB, median | least to most | relative to Envoy |\n|---|---|---|---|")
    for name, spent in used.items():
        ratio = statistics.median(mine / theirs for mine, theirs in zip(spent, used["Envoy"]) if theirs)
        print(f"| {name} | {statistics.median(spent):.0f} | {min(spent):.0f} to {max(spent):.0f} | {ratio:.2f} |", flush=True)


def download(proxy, seconds):
    """The number of bodies that wrk received in whole."""
    command = [*pinned(LOAD_CORE), "wrk", "-t1", "-c4", f"-d{seconds}s", proxy.url("/big")]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    bodies = int(re.search(r"(\d+) requests in", output).group(1))
    if "Non-2xx" in output or not bodies:
        sys.exit(f"{proxy.name} did not answer as it should:\n{output}")
    return bodies


def evenness(proxies, seconds):
    print(f"\n### A limited rate, {STREAMS} streams at once, {seconds} s\n")
    print("| proxy | rate | measured rate, worst stream | longest gap, median stream | worst stream |\n|---|---|---|---|---|")
    for rate, proxy in itertools.product(RATES_KIB, proxies):
        streams = [Stream(proxy.ports[f"rate-{rate}"], seconds) for _ in range(STREAMS)]
        for stream in streams:
            stream.join()
        worst = max((stream.rate / (rate * 1024) - 1 for stream in streams), key=abs)
        gaps = sorted(stream.gap * 1000 for stream in streams)
        print(f"| {proxy.name} | {rate} KiB/s | {worst:+.1%} | {statistics.median(gaps):.0f} ms | {gaps[-1]:.0f} ms |", flush=True)


class Stream(threading.Thread):
    """Receives a body for a while, and notes its rate in bytes a second and the longest time without any."""

    def __init__(self, port, seconds):
        super().__init__(daemon=True)
        self.port, self.seconds = port, seconds
        self.rate, self.gap = 0, 0
        self.start()

    def run(self):
        with contextlib.closing(socket.create_connection(("127.0.0.1", self.port))) as sock:
            sock.sendall(b"GET /big HTTP/1.1\r\nHost: bench\r\n\r\n")
            sock.settimeout(self.seconds)
            data = b""
            while b"\r\n\r\n" not in data:
                data += sock.recv(65536)
            while not sock.recv(65536):  # the first piece of the body
                pass
            began = last = time.monotonic()
            received = 0
            while last - began < self.seconds:
                received += len(sock.recv(65536))
                now = time.monotonic()
                self.gap = max(self.gap, now - last)
                last = now
            self.rate = received / (last - began)
