"""Traffic that no rule meets passes as it is: every downstream protocol to every upstream protocol."""

import contextlib
import threading
import time

import flow
import pytest
import wire
from certificates import Authority
from scripted import Answer, Upstream
from squall import Squall

DOWN = ["h1.0", "h1", "h2", "h2c"]
UP = ["h1", "h2", "h2c"]
ODD_FIELDS = [
    ("accept", "text/html;q=0.9, */*"),
    ("x-repeated", "one"),
    ("x-repeated", "two, three"),
    ("x-empty", ""),
    ("x-quoted", '"a, b"; c="\\""'),
    ("x-repeated", "one"),
    ("authorization", "Basic dTpw"),
    ("x-last", "1"),
]
TARGETS = [
    "/a%2Fb/c%20d?x=%20&y&y=2&&z=",
    "/%E2%82%AC;v=1/..%2f?q=a+b%2Bc&e=%e2%82%ac",
    "//double//slash/./dot/../up",
    "/?",
    "/%zz?%",
    "/~user/!$&'()*+,;=:@?/?:@!$'()*,;",
]


class Stage:
    """One squall between three scripted upstreams and a listener in plain and one over TLS for each."""

    def __init__(self, directory):
        self.authority = Authority(directory)
        certificate = self.authority.sign("server")
        self.upstreams = {protocol: Upstream(protocol, certificate) for protocol in UP}
        tls = f"tls: {{certificate: {certificate[0]}, key: {certificate[1]}}}"
        urls = {
            "h1": f"{{url: 'http://127.0.0.1:{self.upstreams['h1'].port}'}}",
            "h2": f"{{url: 'https://localhost:{self.upstreams['h2'].port}', protocol: h2, tls: {{ca: {self.authority.file}}}}}",
            "h2c": f"{{url: 'http://127.0.0.1:{self.upstreams['h2c'].port}', protocol: h2c}}",
        }
        lines = ["seed: 1", "listeners:"]
        for up in UP:
            lines.append(f"  {up}: {{address: 127.0.0.1:0, upstream: {up}}}")
            lines.append(f"  {up}-tls: {{address: 127.0.0.1:0, upstream: {up}, {tls}}}")
        lines += ["upstreams:", *(f"  {up}: {url}" for up, url in urls.items())]
        lines += ["rules:", "  - {name: elsewhere, match: {path: /elsewhere}, faults: [{abort: 500}]}"]
        try:
            self.squall = Squall("\n".join(lines) + "\n", directory)
        except BaseException:
            self.close()
            raise

    def close(self):
        for upstream in self.upstreams.values():
            upstream.stop()

    def connect(self, down, up):
        if down == "h2":
            return flow.H2(self.squall.port(f"{up}-tls"), flow.trusting(self.authority.file, "h2"))
        return flow.H2(self.squall.port(up)) if down == "h2c" else flow.H1(self.squall.port(up))

    def fetch(self, down, up, path="/", method="GET", headers=(), body=None, chunked=False, **options):
        """One exchange over a connection of its own."""
        with contextlib.closing(self.connect(down, up)) as connection:
            if down == "h1.0":
                fields = [*headers, *([("content-length", len(body))] if body is not None else [])]
                head = [f"{method} {path} HTTP/1.0", "Host: test", *(f"{name}: {value}" for name, value in fields), "", ""]
                connection.link.write("\r\n".join(head).encode() + (body or b""))
                return connection.receive(method, **options)
            if down == "h1":
                connection.send(path, method, headers, body, chunked)
                if chunked and not body:
                    connection.link.write(b"0\r\n\r\n")
                return connection.receive(method, **options)
            if not chunked:
                return connection.exchange(path, method, headers, body, **options)
            stream = connection.send(path, method, headers, body, end=False)
            while connection.uploads:
                connection.step(0.1)
            connection.h2.end_stream(stream)
            connection._flush()
            return connection.receive(stream, **options)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    stage = Stage(tmp_path_factory.mktemp("stage"))
    yield stage
    stage.squall.kill()
    stage.close()


@pytest.fixture(params=[f"{down} to {up}" for down in DOWN for up in UP])
def way(request, stage):
    """A downstream and an upstream protocol, the upstream with an empty memory, and a function for one exchange."""
    down, up = request.param.split(" to ")
    upstream = stage.upstreams[up]
    upstream.seen.clear()
    upstream.answers.clear()
    yield Way(stage, down, up, upstream)
    assert stage.squall.metrics().sum("squall_faults_injected_total") == 0


class Way:
    def __init__(self, stage, down, up, upstream):
        self.stage, self.down, self.up, self.upstream = stage, down, up, upstream

    def fetch(self, *args, **options):
        return self.stage.fetch(self.down, self.up, *args, **options)


def plain(headers):
    """The fields that are not of one connection alone, nor told by the framing; names in lower case."""
    own = {"connection", "transfer-encoding", "date", "keep-alive", "content-length"}
    return [(name.lower(), value) for name, value in headers if name.lower() not in own]


def grouped(fields):
    """Fields of one name follow its first one, as squall sends them (RFC 9110, section 5.3, lets it)."""
    names = list(dict.fromkeys(name for name, _ in fields))
    return [field for name in names for field in fields if field[0] == name]


def test_heads_pass(way):
    answer = [("server", "scripted"), ("set-cookie", "a=1; Path=/"), ("x-empty", ""), ("set-cookie", "b=2"), ("etag", '"x"')]
    way.upstream.answers["/a"] = Answer(404, answer, [b"not here"])
    got = way.fetch("/a?b", headers=ODD_FIELDS)
    assert (got.status, bytes(got.body), got.end) == (404, b"not here", "complete")
    assert got.header("content-length") == "8"
    assert plain(got.headers) == grouped(answer)
    seen = way.upstream.last("/a")
    assert (seen.method, seen.target) == ("GET", "/a?b")
    assert seen.fields() == grouped(ODD_FIELDS)


@pytest.mark.parametrize("target", TARGETS)
def test_targets_pass(way, target):
    assert way.fetch(target).status == 200
    assert way.upstream.seen[-1].target == target


def test_many_and_large_fields_pass(way):
    many = [(f"x-field-{number % 50}", f"{number}-" + "v" * number) for number in range(200)]
    many.append(("x-large", "l" * 20_000))
    way.upstream.answers["/a"] = Answer(headers=many)
    got = way.fetch("/a", headers=many)
    assert got.status == 200
    assert way.upstream.last("/a").fields() == grouped(many)
    assert plain(got.headers) == grouped(many)


@pytest.mark.parametrize("status", [200, 204, 304, 404])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_bodiless_answers(way, method, status):
    headers = [("etag", '"x"'), *([("content-length", "5")] if status in (200, 404) else [])]
    way.upstream.answers["/a"] = Answer(status, headers, [b"hello"] if status in (200, 404) else [])
    got = way.fetch("/a", method)
    assert (got.status, got.end) == (status, "complete")
    assert bytes(got.body) == (b"hello" if method == "GET" and status in (200, 404) else b"")
    assert got.header("content-length") == ("5" if status in (200, 404) else None)
    assert got.header("etag") == '"x"'


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_uploads_with_a_length(way, method, size):
    body = pattern(size)
    got = way.fetch("/a", method, body=body)
    seen = way.upstream.last("/a")
    assert (got.status, seen.method, seen.end) == (200, method, "complete")
    assert bytes(seen.body) == body
    if not way.down.startswith("h2") or size:
        assert seen.value("content-length") == str(size)


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_uploads_without_a_length(way, size):
    if way.down == "h1.0":
        pytest.skip("HTTP/1.0 has none")
    got = way.fetch("/a", "POST", body=pattern(size), chunked=True)
    seen = way.upstream.last("/a")
    assert (got.status, bytes(seen.body), seen.end) == (200, pattern(size), "complete")
    assert seen.value("content-length") is None


@pytest.mark.parametrize("pieces", [[], [b"x"], [b"0123456789" * 10_000] * 20], ids=["empty", "one", "2 MB"])
@pytest.mark.parametrize("length", [True, False], ids=["length", "chunked"])
def test_downloads(way, length, pieces):
    way.upstream.answers["/a"] = Answer(pieces=pieces, length=length)
    got = way.fetch("/a")
    assert (got.status, got.end) == (200, "complete")
    assert bytes(got.body) == b"".join(pieces)
    if length and (pieces or way.up == "h1"):
        assert got.header("content-length") == str(sum(map(len, pieces)))
    if way.down == "h1.0":
        assert got.header("transfer-encoding") is None


def test_a_broken_answer_is_not_taken_for_a_whole_one(way):
    for length in (True, False):
        headers = [("content-length", "1000")] if length else []
        way.upstream.answers["/a"] = Answer(headers=headers, pieces=[b"half", 0.05], then="close" if way.up == "h1" else "reset")
        got = way.fetch("/a")
        assert (got.status, bytes(got.body)) == (200, b"half")
        if way.down == "h1.0" and not length:
            continue  # there, only a RST could tell
        assert got.end != "complete"


def test_the_first_event_passes_at_once(way):
    go = threading.Event()
    way.upstream.answers["/a"] = Answer(headers=[("content-type", "text/event-stream")], pieces=[b"data: 1\n\n", go, b"data: 2\n\n"])
    with contextlib.closing(way.stage.connect(way.down, way.up)) as connection:
        version = "1.0" if way.down == "h1.0" else "1.1"
        first = lambda answer: bool(answer.body)  # noqa: E731
        if way.down.startswith("h1"):
            connection.link.write(f"GET /a HTTP/{version}\r\nHost: test\r\n\r\n".encode())
            parser = flow.Parser(got := flow.Received(), "GET")
            pump = lambda: parser.feed(connection.link.read(0.1)) or (connection.link.over and parser.connection_ended("fin"))  # noqa: E731
        else:
            got = connection.receive(connection.send("/a"), 20, first)
            pump = lambda: connection.step(0.1)  # noqa: E731
        wait_until(pump, lambda: first(got))
        assert bytes(got.body) == b"data: 1\n\n" and got.end is None
        go.set()
        wait_until(pump, lambda: got.end is not None)
        assert (bytes(got.body), got.end) == (b"data: 1\n\ndata: 2\n\n", "complete")


def test_an_answer_before_the_body_is_read(way):
    """The client gets it, though the upstream has not taken the upload."""
    way.upstream.answers["/a"] = Answer(413, pieces=[b"too large"], early=True)
    got = way.fetch("/a", "POST", body=pattern(3_000_000))
    assert (got.status, bytes(got.body)) == (413, b"too large")


def pattern(size):
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def wait_until(pump, wanted, seconds=20):
    deadline = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < deadline, "nothing came"
        pump()
