"""The clients and load tools that are tested in front of squall, how each is driven, and their table in tests/README.md.

Each client is driven with what its users type. A cell is what it must report: test_client_table.py asks for it, and the
table in tests/README.md is made of it.
"""

import asyncio
import base64
import json
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import httpx
import requests
from requests.adapters import HTTPAdapter
from stage import asking
from urllib3.util.retry import Retry

SCRIPT = Path(__file__).parent / "apps" / "client.mjs"
PATIENCE_SECONDS = 30
PIECE = 20_000


class Failed(Exception):
    """What a client reports instead of an answer."""


@dataclass
class Answer:
    status: int
    retry_after: str | None
    body: bytes


class Requests:
    """requests: several calls in one Session."""

    def get(self, url, fault=None, timeout=PATIENCE_SECONDS):
        try:
            answer = requests.get(url, headers=dict(asking(fault)), timeout=timeout)
        except requests.RequestException as error:
            raise Failed(f"`{type(error).__name__}`") from error
        return Answer(answer.status_code, answer.headers.get("Retry-After"), answer.content)

    def patient(self, url, fault):
        """With urllib3's Retry, which waits as long as Retry-After says."""
        with requests.Session() as session:
            session.mount("http://", HTTPAdapter(max_retries=Retry(total=2, status_forcelist=[503])))
            return session.get(url, headers=dict(asking(fault)), timeout=PATIENCE_SECONDS).status_code

    def many(self, url, count=5):
        with requests.Session() as session:
            return [session.get(url, timeout=PATIENCE_SECONDS).json() for _ in range(count)]

    def stream(self, url):
        with requests.get(url, stream=True, timeout=PATIENCE_SECONDS) as answer:
            yield from answer.iter_content(None)

    def upload(self, url, body):
        return requests.post(url, data=split(body), timeout=PATIENCE_SECONDS).json()


class Httpx:
    """httpx, over HTTP/1.1 or over HTTP/2 alone."""

    def __init__(self, version):
        self.version = version

    def _client(self, timeout=PATIENCE_SECONDS):
        http2 = self.version == "HTTP/2"
        return httpx.Client(http1=not http2, http2=http2, timeout=timeout)

    def get(self, url, fault=None, timeout=PATIENCE_SECONDS):
        try:
            with self._client(timeout) as client:
                answer = client.get(url, headers=asking(fault))
        except httpx.HTTPError as error:
            raise Failed(f"`{type(error).__name__}`") from error
        assert answer.http_version == self.version
        return Answer(answer.status_code, answer.headers.get("retry-after"), answer.content)

    def many(self, url, count=5):
        with self._client() as client:
            return [client.get(url).json() for _ in range(count)]

    def stream(self, url):
        with self._client() as client, client.stream("GET", url) as answer:
            yield from answer.iter_raw()

    def upload(self, url, body):
        with self._client() as client:
            return client.post(url, content=split(body)).json()


class Aiohttp:
    """aiohttp's client: several calls in one ClientSession."""

    def _session(self, timeout=PATIENCE_SECONDS):
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout))

    def get(self, url, fault=None, timeout=PATIENCE_SECONDS):
        async def work():
            async with self._session(timeout) as session, session.get(url, headers=asking(fault)) as answer:
                return Answer(answer.status, answer.headers.get("Retry-After"), await answer.read())

        try:
            return asyncio.run(work())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Failed(f"`{type(error).__name__}`") from error

    def many(self, url, count=5):
        async def work():
            async with self._session() as session:
                answers = []
                for _ in range(count):
                    async with session.get(url) as answer:
                        answers.append(await answer.json())
                return answers

        return asyncio.run(work())

    def stream(self, url):
        with asyncio.Runner() as runner:
            session = runner.run(self._opened())
            answer = runner.run(session.get(url))
            while piece := runner.run(answer.content.readany()):
                yield piece
            runner.run(session.close())

    async def _opened(self):
        return self._session()

    def upload(self, url, body):
        async def pieces():
            for piece in split(body):
                yield piece

        async def work():
            async with self._session() as session, session.post(url, data=pieces()) as answer:
                return await answer.json()

        return asyncio.run(work())

    def talk(self, url, messages, count, fault=None):
        """Sends messages over a WebSocket, and takes so many."""

        async def work():
            async with self._session() as session, session.ws_connect(url, headers=asking(fault)) as socket:
                for message in messages:
                    await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))
                return [(await socket.receive(PATIENCE_SECONDS)).data for _ in range(count)]

        return asyncio.run(work())


class Curl:
    """curl, over HTTP/1.1, or over HTTP/2 by ALPN."""

    def __init__(self, version):
        self.options = ["-sS", {"HTTP/1.1": "--http1.1", "HTTP/2": "--http2"}[version]]
        self.framing = ["-H", "Transfer-Encoding: chunked"] if version == "HTTP/1.1" else []

    def command(self, *words, timeout=PATIENCE_SECONDS):
        return ["curl", *self.options, "--max-time", str(timeout), *words]

    def get(self, url, fault=None, timeout=PATIENCE_SECONDS):
        done = run(self.command("-D", "/dev/stderr", *self._headers(fault), url, timeout=timeout))
        if done.returncode:
            raise Failed(f"exit code {done.returncode}")
        retry_after = re.search(rb"(?i)^retry-after: *([^\r\n]*)", done.stderr, re.MULTILINE)
        return Answer(int(done.stderr.split()[1]), retry_after and retry_after.group(1).decode(), done.stdout)

    def _headers(self, fault):
        return [word for name, value in asking(fault) for word in ("-H", f"{name}: {value}")]

    def patient(self, url, fault):
        """With --retry, which waits as long as Retry-After says."""
        done = run(self.command("--retry", "2", "-o", "/dev/null", "-w", "%{http_code}", *self._headers(fault), url))
        return int(done.stdout)

    def many(self, url, count=5):
        done = run(self.command(*[url] * count))
        return [json.loads(f"{{{part}}}") for part in done.stdout.decode().strip("{}").split("}{")]

    def stream(self, url):
        yield from output_of(self.command("-N", url))

    def upload(self, url, body):
        return json.loads(run(self.command("-X", "POST", "-T", "-", *self.framing, url), body).stdout)


class Fetch:
    """Node's fetch, in apps/client.mjs."""

    def command(self, work, url, fault=None, timeout=PATIENCE_SECONDS, count=1):
        return ["node", str(SCRIPT), work, url, fault or "", str(int(timeout * 1000)), str(count)]

    def _said(self, *words, body=None, **options):
        said = json.loads(run(self.command(*words, **options), body).stdout)
        if isinstance(said, dict) and "error" in said:
            raise Failed(f"`{said['error']}`")
        return said

    def get(self, url, fault=None, timeout=PATIENCE_SECONDS):
        said = self._said("get", url, fault=fault, timeout=timeout)
        return Answer(said["status"], said["retry_after"], base64.b64decode(said["body"]))

    def many(self, url, count=5):
        return self._said("many", url, count=count)

    def stream(self, url):
        yield from output_of(self.command("stream", url))

    def upload(self, url, body):
        return self._said("upload", url, body=body)


class Wrk:
    """wrk as in the article, `-t2 -c5`, for as many seconds; what it counts of good and of bad answers."""

    def get(self, url, fault=None, timeout=2, seconds=1):
        headers = [word for name, value in asking(fault) for word in ("-H", f"{name}: {value}")]
        options = ["-t2", "-c5", f"-d{seconds}s", "--timeout", f"{timeout}s"]
        text = run(["wrk", *options, *headers, url]).stdout.decode()
        if errors := re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text):
            named = zip(("connect", "read", "write", "timeout"), map(int, errors.groups()), strict=True)
            raise Failed(" and ".join(f"`{kind}` errors" for kind, count in named if count))
        requests_in = int(re.search(r"(\d+) requests in", text).group(1))
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        bad = int(bad.group(1)) if bad else 0
        return requests_in - bad, bad


def split(body):
    """A body as an iterator: clients don't know its length, and send it in chunks."""
    for start in range(0, len(body), PIECE):
        yield body[start : start + PIECE]


def run(command, body=None):
    return subprocess.run(command, input=body, capture_output=True, timeout=60, check=False)


def output_of(command):
    """What a program prints, as it prints it."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        while piece := process.stdout.read(65536):
            yield piece
    assert process.returncode == 0


@dataclass(frozen=True)
class Client:
    """A row: how it is driven, and what it reports of each fault."""

    name: str
    tool: object
    reset: str
    cut: str
    late: str
    program: str = ""  # what must be installed
    retries: str = ""  # with what it waits out Retry-After by itself
    refusal: str = "reports both"  # of a status and its Retry-After
    tls: bool = False
    connections: int = 1  # at most, for requests one after the other

    def can(self, work):
        return hasattr(self.tool, work)


# Node may ask again before it has noticed that its connection is free; wrk has four, and one to see whether there is a server.
PYTHON_RETRY = "urllib3's `Retry`"
CLIENTS = [
    Client("requests", Requests(), "`ConnectionError`", "`ChunkedEncodingError`", "`ReadTimeout`", retries=PYTHON_RETRY),
    Client("httpx, HTTP/1.1", Httpx("HTTP/1.1"), "`ReadError`", "`RemoteProtocolError`", "`ReadTimeout`"),
    Client("httpx, HTTP/2", Httpx("HTTP/2"), "`RemoteProtocolError`", "`RemoteProtocolError`", "`ReadTimeout`", tls=True),
    Client("aiohttp", Aiohttp(), "`ClientOSError`", "`ClientPayloadError`", "`TimeoutError`"),
    Client("curl, HTTP/1.1", Curl("HTTP/1.1"), "exit code 56", "exit code 18", "exit code 28", "curl", "`--retry`"),
    Client("curl, HTTP/2", Curl("HTTP/2"), "exit code 92", "exit code 18", "exit code 28", "curl", "`--retry`", tls=True),
    Client("Node's fetch", Fetch(), "`ECONNRESET`", "`UND_ERR_SOCKET`", "`TimeoutError`", "node", connections=2),
    Client(
        "wrk",
        Wrk(),
        "`read` errors",
        "`read` errors",
        "`timeout` errors",
        "wrk",
        refusal="counts it as non-2xx",
        connections=5,
    ),
]
WORKS = {"many": "keep-alive", "stream": "SSE", "upload": "chunked upload", "talk": "WebSocket"}
FAULTS = "`abort: 503` with `Retry-After` | `reset` | `truncate` of a chunked body | `delay` beyond its timeout"


def table(pinned):
    """The table of clients; `pinned` has the versions of those that come from PyPI."""
    lines = [f"| client | {' | '.join(WORKS.values())} | {FAULTS} |", "|---" * (len(WORKS) + 5) + "|"]
    for one in CLIENTS:
        package, _, more = one.name.partition(", ")
        name = f"{package} {pinned[package]}" if package in pinned else package
        works = ["✓" if one.can(work) or (work == "many" and isinstance(one.tool, Wrk)) else "–" for work in WORKS]
        refusal = f"reports both; waits with {one.retries}" if one.retries else one.refusal
        lines.append(f"| {' | '.join([f'{name}, {more}' if more else name, *works, refusal, one.reset, one.cut, one.late])} |")
    legend = "–: the client can't do this. Names are those of the exception, of the error's `cause.code`, or of wrk's counter."
    return "\n".join([*lines, "", legend]) + "\n"
