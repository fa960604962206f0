"""What connections through TCP listeners cost: large downloads, connections for one small exchange each, and idle ones. The
upstream and the load are nginx and wrk as elsewhere, of whose HTTP these proxies know nothing.
"""

import contextlib
import itertools
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from delays import stopping
from peers import LOAD_CORE, pinned, start_copy_loop, start_haproxy, start_squall_tcp, start_upstream

# Idle connections: those that are open before memory is looked at, so that what a process keeps anyway does not count, and those
# that are opened then. Together less than the usual limit of open files.
FIRST, IDLE = 300, 600
REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
REFERENCES = ("HAProxy", "copy loop")


@dataclass
class Way:
    """One row: a proxy and one of its listeners, with what was measured in each round."""

    name: str
    process: object
    listener: str = "web"
    figures: list = field(default_factory=list)


def report(options):
    with tempfile.TemporaryDirectory(prefix="squall-tcp-") as directory, stopping() as started:
        directory = Path(directory)
        started.append(upstream := start_upstream(directory))
        memory = idle(directory, upstream, options)
        large, short = (ways(directory, upstream, options, started) for _ in range(2))
        cost(large, options, milliseconds_a_gigabyte)
        cost(short, options, microseconds_a_connection)
    table("Large downloads", "CPU ms a GB", large)
    table("A connection for each small exchange", "CPU µs a connection", short)
    table(f"{IDLE} idle connections more, used once", "KiB a connection", memory)


def ways(directory, upstream, options, started):
    """All of them, each with a process of its own."""
    directory = Path(tempfile.mkdtemp(dir=directory))

    def start(name, starter, *arguments, listener="web"):
        folder = Path(tempfile.mkdtemp(dir=directory))
        started.append(starter(folder, upstream, *arguments))
        return Way(name, started[-1], listener)

    others = [start("the other squall", start_squall_tcp, options.against)] if options.against else []
    return [
        start("HAProxy", start_haproxy, False),
        start("HAProxy, splicing", start_haproxy, True),
        start("copy loop", start_copy_loop),
        start("squall", start_squall_tcp),
        start("squall, shaped", start_squall_tcp, listener="shaped"),
        *others,
    ]


def cost(ways, options, measure):
    for _, way in itertools.product(range(options.rounds), ways):
        before = way.process.cpu_seconds()
        per_second = measure(way, options.seconds)
        way.figures.append(per_second(way.process.cpu_seconds() - before))


def milliseconds_a_gigabyte(way, seconds):
    # A slow machine needs more than one second for the first body.
    output = wrk(way, "/big", max(seconds, 3), connections=4)
    amount, unit = re.search(r"([\d.]+)([KMG])B read", output).groups()
    gigabytes = float(amount) * {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[unit] / 1e9
    return lambda used: used * 1000 / gigabytes


def microseconds_a_connection(way, seconds):
    output = wrk(way, "/", seconds, "-H", "Connection: close", connections=16)
    connections = requests(output)
    return lambda used: used * 1e6 / connections


def wrk(way, path, seconds, *options, connections):
    url = way.process.url(path, way.listener)
    command = [*pinned(LOAD_CORE), "wrk", "-t1", "--timeout", "60s", f"-c{connections}", f"-d{seconds}s", *options, url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or "Socket errors" in output or not requests(output):
        sys.exit(f"{way.name} did not answer as it should:\n{output}")
    return output


def requests(output):
    return int(re.search(r"(\d+) requests in", output).group(1))


def idle(directory, upstream, options):
    """Memory that each of many open connections adds, after one exchange on it, to a process that has had none before."""
    all_rounds = []
    for _ in range(min(options.rounds, 3)):
        with stopping() as started:
            all_rounds.append(ways(directory, upstream, options, started))
            for way in all_rounds[-1]:
                way.figures.append(kibibytes_a_connection(way))
    for way, *later in zip(*all_rounds, strict=True):
        for one in later:
            way.figures += one.figures
    return all_rounds[0]


def kibibytes_a_connection(way):
    with contextlib.ExitStack() as stack:
        before = 0
        for number in range(FIRST + IDLE):
            if number == FIRST:
                time.sleep(0.2)
                before = way.process.resident_bytes()
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", way.process.ports[way.listener])))
            sock.sendall(REQUEST)
            sock.recv(1 << 16)
        time.sleep(0.2)
        return (way.process.resident_bytes() - before) / IDLE / 1024


def table(title, unit, ways):
    """With ratios that are medians of the rounds' own."""
    by_name = {way.name: way.figures for way in ways}
    print(f"\n### TCP: {title}\n")
    heads = " | ".join(f"relative to {name}" for name in REFERENCES)
    print(f"| proxy | {unit}, median | least to most | {heads} |\n|---|---|---|{'---|' * len(REFERENCES)}")
    for name, figures in by_name.items():
        ratios = [median_ratio(figures, by_name[reference]) for reference in REFERENCES]
        spread = f"{min(figures):.1f} to {max(figures):.1f}"
        print(f"| {name} | {statistics.median(figures):.1f} | {spread} | {' | '.join(ratios)} |", flush=True)


def median_ratio(figures, reference):
    pairs = [mine / theirs for mine, theirs in zip(figures, reference, strict=True) if theirs > 0]
    return f"{statistics.median(pairs):.2f}" if pairs else "–"
