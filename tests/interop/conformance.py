"""What the cases of HTTP/1 conformance are made of, and their table, tests/conformance.md.

A case is data: bytes, what must come of them, and the section of the RFC that says so. The cases are in
`conformance_requests.py`, `conformance_framing.py`, `conformance_responses.py` and `conformance_answers.py`;
`test_conformance.py` tries each of them with no rule and with every byte passing through a fault, and those of responses also
with a client of HTTP/2.

    python tests/interop/conformance.py --write      rewrites the table
"""

import re
import sys
from dataclasses import dataclass, field

import readme

TABLE = readme.ROOT / "tests" / "conformance.md"
SHOWN = 90  # bytes of a message that the table shows


def request(*lines, method="GET", target="/", version="HTTP/1.1", host="Host: test", body=b""):
    """The bytes of a request."""
    fields = [host, *lines] if host is not None else lines
    return "\r\n".join([f"{method} {target} {version}", *fields, "", ""]).encode("latin-1") + body


def post(*lines, body=b"hello", **options):
    """A POST whose lines say how long its body is."""
    return request(*lines, method="POST", body=body, **options)


def chunked(body, *lines, **options):
    """A POST in chunks."""
    return post("Transfer-Encoding: chunked", *lines, body=body, **options)


def response(*lines, start="HTTP/1.1 200 OK", body=b""):
    """The bytes of a response."""
    return "\r\n".join([start, *lines, "", ""]).encode("latin-1") + body


def in_chunks(body, *lines, start="HTTP/1.1 200 OK"):
    """A response in chunks."""
    return response("Transfer-Encoding: chunked", *lines, start=start, body=body)


def head_of(message):
    """The head of a message, with its empty line."""
    return message.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


@dataclass(frozen=True)
class Request:
    """Bytes of a client. What they don't say otherwise is passed on as it is, answered with 200, and the connection stays."""

    name: str
    section: str
    sent: bytes
    statuses: tuple = (200,)  # one for each request among the bytes
    seen: tuple | None = None  # the heads that the upstream gets; None: the one that was sent
    body: bytes = b""  # of the first request, as the upstream gets it
    trailers: tuple = ()
    stays: bool = True
    half: bool = False  # the client closes its sending side behind the bytes
    interim: tuple = ()  # statuses of the upstream's interim responses

    @property
    def heads(self):
        return (head_of(self.sent),) if self.seen is None else self.seen

    @property
    def outcome(self):
        """What becomes of it, in words."""
        statuses = ", ".join(str(status) for status in self.statuses) or "no answer"
        if not self.heads:
            passed = "the upstream gets no request"
        elif self.seen is None:
            passed = "passes as it is"
        else:
            passed = "the upstream gets " + ", ".join(shown(head) for head in self.heads)
        return f"{statuses}; {passed}; the connection {'stays' if self.stays else 'ends'}"


def bad(name, section, sent, status=400, **options):
    """A request that squall refuses: the upstream gets no complete request, and the connection ends."""
    return Request(name, section, sent, (status,), (), stays=False, **options)


def short(name, section, sent):
    """A request whose client closes its sending side before its end."""
    return bad(name, section, sent, half=True)


@dataclass(frozen=True)
class Response:
    """Bytes of an upstream. What they don't say otherwise reaches the client as it is, and both connections stay."""

    name: str
    section: str
    answer: bytes
    status: int = 200
    body: bytes = b""
    head: bytes | None = None  # as a client of HTTP/1.1 gets it; None: as it was sent
    trailers: tuple = ()
    complete: bool = True  # False: the client sees that the response broke off
    reused: bool | None = True  # whether the upstream's connection serves the next request; None: either
    closes: bool = False  # the upstream closes its connection behind the bytes
    stays: bool = True  # the client's connection
    interim: tuple = ()  # statuses of the interim responses that the client gets
    http2: int | None = None  # the status for a client of HTTP/2, where it differs
    only_http1: bool = False  # not tried with a client of HTTP/2
    asked: bytes = field(default=request(target="/case"))

    @property
    def method(self):
        return self.asked.split(b" ")[0].decode()

    @property
    def outcome(self):
        end = f"{len(self.body)} bytes" if self.complete else "breaks off"
        interim = "".join(f"{status}, " for status in self.interim)
        over_http2 = f" ({self.http2} over HTTP/2)" if self.http2 else ""
        return f"{interim}{self.status}{over_http2}; {end}{OF_UPSTREAM[self.reused]}"


OF_UPSTREAM = {True: "; the upstream's connection is used again", False: "; the upstream's connection is given up", None: ""}


def gateway(name, section, answer, **options):
    """A response that squall can't pass on: the client gets a 502, and keeps its connection."""
    return Response(name, section, answer, 502, head=b"", reused=False, **options)


def cut(name, section, answer, **options):
    """A response that breaks after its head: the client must not take it for a complete one."""
    return Response(name, section, answer, head=b"", complete=False, reused=False, stays=False, **options)


def shown(data):
    """Bytes as the table shows them."""
    text = repr(data[:SHOWN])[2:-1].replace("\\'", "'").replace("|", "\\|").replace("`", "\\x60")
    return f"`{text}`" + (f" … ({len(data)} bytes)" if len(data) > SHOWN else "")


def cases():
    """All requests and all responses."""
    import conformance_answers
    import conformance_framing
    import conformance_requests
    import conformance_responses

    requests = [*conformance_requests.CASES, *conformance_framing.CASES]
    return requests, [*conformance_responses.CASES, *conformance_answers.CASES]


def markdown():
    """The whole file."""
    requests, responses = cases()
    lines = [
        "# HTTP/1 conformance",
        "",
        f"{len(requests)} requests and {len(responses)} responses, byte by byte, with what squall must make of them and the section",
        "that says so. [interop/test_conformance.py](interop/test_conformance.py) tries each of them twice: once with no rule, and once",
        "with every byte passing through `bandwidth`. Responses are also tried with a client of HTTP/2. The metrics must agree: each",
        "request is counted under its status, and no malformed one as a client that left.",
        "",
        "This file is generated: `tests/.venv/bin/python tests/interop/conformance.py --write`.",
        "",
        "## Requests",
        "",
        "| case | bytes | outcome | source |",
        "|---|---|---|---|",
    ]
    for one in requests:
        sent = shown(one.sent) + (", then FIN" if one.half else "")
        lines.append(f"| {one.name} | {sent} | {one.outcome} | {one.section} |")
    lines += ["", "## Responses", "", "| case | bytes | outcome | source |", "|---|---|---|---|"]
    for one in responses:
        asked = f"{one.method}: " if one.method != "GET" else ""
        sent = f"{asked}{shown(one.answer)}" + (", then FIN" if one.closes else "")
        lines.append(f"| {one.name} | {sent} | {one.outcome} | {one.section} |")
    return "\n".join(lines) + "\n"


def is_a_source(section):
    """Whether a text names a section of an RFC."""
    return re.fullmatch(r"RFC \d{4}, section [A-Z]?\d*(\.\d+)*", section) is not None


if __name__ == "__main__":
    TABLE.write_text(markdown()) if sys.argv[1:] == ["--write"] else print(markdown())
