"""The frameworks that are tested as upstreams behind squall, what each is tried with, and their tables in tests/README.md.

A row is a framework under its usual server, a column a feature: it is tried untouched and under each of the column's faults
(checks of framework_trials.py), or the framework lacks it, for a reason that the table gives. The table of clients is made in
clients.py.

    python tests/interop/systems.py --write      rewrites the tables in tests/README.md
"""

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field

import clients
import framework_trials as trials
import readme
from conftest import APPS, free_port, wait_for_port

BEGIN, END = "<!-- tested with: begin -->", "<!-- tested with: end -->"
START_SECONDS = 90  # all start at once, on a machine that may be busy

KEEP_ALIVE, SSE, CHUNKED, WEBSOCKET, HTTP2 = "keep-alive", "SSE", "chunked upload and download", "WebSocket", "HTTP/2"
NO_WEBSOCKET = "the framework has none"
NO_HTTP2 = "its server has none"

# The faults, by the name of their rule.
FAULTS = {
    "late": "[{delay: 150ms}]",
    "refused": "[{abort: {status: 503, retry_after: 1s}}]",
    "apart": "[{delay: {fixed: 150ms, before: message}}]",
    "three-events": "[{truncate: 3 events}]",
    "slow-upload": "[{bandwidth: {request: 128KiB/s}}]",
    "cut-upload": "[{truncate: {after: 1000B, end: clean, direction: request}}]",
    "cut-download": "[{truncate: {after: 100000B, end: reset}}]",
    "dropped": "[{drop: {every: 3}}]",
    "closed": "[{truncate: {after: 5 messages, close_code: 1011, reason: enough}}]",
    "reset": "[{reset: {code: REFUSED_STREAM}}]",
    "reset-later": "[{truncate: {after: 2 events, end: reset, code: CANCEL}}]",
}


@dataclass(frozen=True)
class Feature:
    """A column: a check without faults, and one under each rule of FAULTS that is named."""

    name: str
    untouched: object
    faulted: dict
    words: str  # the faults, as the table's heading names them


FEATURES = [
    Feature(
        KEEP_ALIVE,
        trials.keeps_alive,
        {"late": trials.keeps_alive_when_late, "refused": trials.keeps_alive_around_a_refusal},
        "`delay`, `abort`",
    ),
    Feature(
        SSE,
        trials.events_come_one_by_one,
        {"apart": trials.events_come_late, "three-events": trials.events_end_after_three},
        "`delay` of events, `truncate`",
    ),
    Feature(
        CHUNKED,
        trials.bodies_are_exact,
        {
            "slow-upload": trials.upload_is_slow,
            "cut-upload": trials.upload_is_cut,
            "cut-download": trials.download_is_cut,
        },
        "`bandwidth`, `truncate`, both ways",
    ),
    Feature(
        WEBSOCKET,
        trials.messages_come_back,
        {"dropped": trials.every_third_is_lost, "closed": trials.closed_with_a_code},
        "`drop`, `truncate` with a close code",
    ),
    Feature(
        HTTP2,
        trials.http2_passes,
        {
            "late": trials.http2_is_late,
            "reset": trials.http2_stream_is_reset,
            "reset-later": trials.http2_stream_is_reset_later,
        },
        "`delay`, `reset`, `truncate`",
    ),
]


@dataclass(frozen=True)
class Framework:
    """A row. `argv` follows `python -m`; with `http2` the server has a second port, with TLS."""

    name: str
    server: str
    argv: tuple
    lacks: dict = field(default_factory=dict)
    closes: bool = False  # after each response
    http2: bool = False

    @property
    def place(self):
        """Its listener; the one to its HTTP/2 port has `-h2` behind it."""
        return "-".join(f"{self.name} {self.server}".lower().replace("'", "").split())


def uvicorn(app):
    return ("uvicorn", f"{app}:app", "--port", "{port}", "--workers", "1", "--no-access-log", "--log-level", "warning")


def hypercorn(app):
    plain = ("hypercorn", f"{app}:app", "--workers", "0", "--insecure-bind", "127.0.0.1:{port}")
    return (*plain, "--bind", "127.0.0.1:{tls_port}", "--certfile", "{certificate}", "--keyfile", "{key}")


FRAMEWORKS = [
    Framework(
        "Flask",
        "its own server",
        ("flask", "--app", "on_flask", "run", "--no-reload", "--port", "{port}"),
        lacks={WEBSOCKET: NO_WEBSOCKET, HTTP2: NO_HTTP2},
        closes=True,
    ),
    Framework("Quart", "Hypercorn", hypercorn("on_quart"), http2=True),
    Framework(
        "aiohttp",
        "its own server",
        ("aiohttp.web", "-H", "127.0.0.1", "-P", "{port}", "on_aiohttp:main"),
        lacks={HTTP2: NO_HTTP2},
    ),
    Framework(
        "Sanic",
        "its own server",
        ("sanic", "on_sanic:app", "--single-process", "--no-motd", "--host", "127.0.0.1", "--port", "{port}"),
        lacks={HTTP2: NO_HTTP2},
    ),
    Framework("FastAPI", "uvicorn", uvicorn("on_fastapi"), lacks={HTTP2: NO_HTTP2}),
    Framework("FastAPI", "Hypercorn", hypercorn("on_fastapi"), http2=True),
    Framework("Starlette", "uvicorn", uvicorn("on_starlette"), lacks={HTTP2: NO_HTTP2}),
    Framework("Responder", "Hypercorn", hypercorn("on_responder"), http2=True),
]


class Servers:
    """All of these frameworks, started at once; `upstreams` is the YAML of each, by place."""

    def __init__(self, directory, authority, frameworks=FRAMEWORKS):
        certificate, key = authority.sign("frameworks")
        self.processes, self.upstreams, ports = [], {}, {}
        try:
            for one in frameworks:
                ports[one.place] = port, tls_port = free_port(), free_port()
                words = {"port": port, "tls_port": tls_port, "certificate": certificate, "key": key}
                self._start([word.format(**words) for word in one.argv], directory / f"{one.place}.log")
                self.upstreams[one.place] = f"{{url: 'http://127.0.0.1:{port}', protocol: http1}}"
                if one.http2:
                    tls = f"{{ca: {authority.file}}}"
                    self.upstreams[f"{one.place}-h2"] = f"{{url: 'https://localhost:{tls_port}', protocol: h2, tls: {tls}}}"
            for one, process in zip(frameworks, self.processes, strict=True):
                for port in ports[one.place][: 2 if one.http2 else 1]:
                    wait_for_port(port, process, directory / f"{one.place}.log", START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def _start(self, argv, log):
        with log.open("w") as out:
            command = [sys.executable, "-m", *argv]
            environment = {**os.environ, "PYTHONPATH": str(APPS)}
            self.processes.append(
                subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)
            )

    def stop(self):
        for process in self.processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass(frozen=True)
class Jobs:
    """A row of the table of job queues: the tests that try it, by column."""

    name: str
    tests: tuple


JOBS_COLUMNS = ["untouched", "polls under `delay`, `abort`, `truncate`", "a response lost to `close`"]
JOBS = [
    Jobs(
        "Celery {celery} behind Flask, with a worker and Redis",
        (
            ("test_untouched", "test_several_jobs"),
            ("test_late_polls", "test_refused_polls", "test_cut_polls"),
            ("test_a_lost_answer_is_not_a_lost_job",),
        ),
    ),
]


@dataclass(frozen=True)
class Wired:
    """A row of the table of TCP listeners: what the client makes of each column, and the tests that try it; None if none does."""

    name: str
    cells: tuple


WIRED_COLUMNS = ["untouched", "`delay` of each chunk", "`reset` of its open connections", "`stall`"]
WIRED = [
    Wired(
        "PostgreSQL with psycopg {psycopg[binary]}",
        (
            ("✓", "test_psycopg_untouched", "test_psycopg_listens_and_cancels", "test_psycopg_in_a_pipeline"),
            ("✓", "test_psycopg_late"),
            ("`OperationalError`; a new connection works", "test_psycopg_after_a_reset"),
            ("`ConnectionTimeout`", "test_psycopg_gives_up_connecting"),
        ),
    ),
    Wired(
        "PostgreSQL with SQLAlchemy {sqlalchemy}",
        (None, None, ("notices nothing, with `pool_pre_ping`", "test_sqlalchemy_gets_over_a_reset"), None),
    ),
    Wired(
        "PostgreSQL with pgbench",
        (
            ("every transaction is there", "test_pgbench_accounts_for_every_transaction", "test_pgbench_with_a_connection_for_each"),
            ("every transaction is there", "test_pgbench_late"),
            None,
            None,
        ),
    ),
    Wired(
        "Redis with redis-py {redis}",
        (
            ("✓", "test_redis_untouched"),
            ("✓", "test_redis_late"),
            (
                "notices nothing, with `Retry`; else `ConnectionError`",
                "test_redis_gets_over_a_reset",
                "test_redis_without_retries_reports_a_reset",
            ),
            ("`TimeoutError`", "test_redis_gives_up_waiting"),
        ),
    ),
    Wired(
        "Redis with redis-benchmark",
        (
            ("every command is there", "test_redis_benchmark_accounts_for_every_command"),
            ("every command is there", "test_redis_benchmark_accounts_for_every_command"),
            None,
            None,
        ),
    ),
    Wired(
        "Celery {celery} with its brokers, Redis and RabbitMQ",
        (
            ("✓", "test_celery_untouched"),
            ("✓", "test_celery_late"),
            ("worker and producer connect again, every job is done", "test_celery_gets_over_a_reset"),
            ("`OperationalError` after its connection timeout", "test_celery_gives_up_waiting"),
        ),
    ),
]


def versions():
    """What tests/requirements.txt pins, by package."""
    lines = (readme.ROOT / "tests" / "requirements.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def tables():
    """All four tables."""
    return f"{frameworks_table()}\n{clients.table(versions())}\n{jobs_table()}\n{wired_table()}"


def frameworks_table():
    pinned = versions()
    heads = " | ".join(f"{feature.name}: {feature.words}" for feature in FEATURES)
    lines = [f"| upstream | {heads} |", "|---" * (len(FEATURES) + 1) + "|"]
    for one in FRAMEWORKS:
        cells = [f"– ({one.lacks[feature.name]})" if feature.name in one.lacks else "✓" for feature in FEATURES]
        if one.closes:
            cells[0] = "✓, though it closes each connection"
        server = f"{one.server} {pinned[one.server.lower()]}" if one.server.lower() in pinned else one.server
        lines.append(f"| {one.name} {pinned[one.name.lower()]}, {server} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def jobs_table():
    lines = [f"| jobs | {' | '.join(JOBS_COLUMNS)} |", "|---" * (len(JOBS_COLUMNS) + 1) + "|"]
    for one in JOBS:
        lines.append(f"| {named(one)} | {' | '.join('✓' for _ in one.tests)} |")
    return "\n".join(lines) + "\n"


def wired_table():
    lines = [f"| through a TCP listener | {' | '.join(WIRED_COLUMNS)} |", "|---" * (len(WIRED_COLUMNS) + 1) + "|"]
    for one in WIRED:
        lines.append(f"| {named(one)} | {' | '.join(cell[0] if cell else '' for cell in one.cells)} |")
    return "\n".join([*lines, "", "Empty: not tried."]) + "\n"


def named(row):
    """Its name with the pinned version of each package that it has in braces."""
    return re.sub(r"\{(.+?)\}", lambda found: versions()[found.group(1)], row.name)


def in_readme():
    """The tables as the README has them."""
    return readme.part(BEGIN, END)


if __name__ == "__main__":
    readme.replace(BEGIN, END, tables()) if sys.argv[1:] == ["--write"] else print(tables())
