"""Responses: status lines, fields, interim responses, statuses without content, and connections."""

from conformance import Response, gateway, request, response

LINE, STATUS, VERSION = "RFC 9112, section 4", "RFC 9110, section 15", "RFC 9110, section 2.5"
PARSING, FIELD, FOLD, VALUE = "RFC 9112, section 2.2", "RFC 9112, section 5.1", "RFC 9112, section 5.2", "RFC 9110, section 5.5"
NAME, CONNECTION, INTERIM = "RFC 9110, section 5.1", "RFC 9110, section 7.6.1", "RFC 9110, section 15.2"
FRAMING, PERSIST, CLOSE = "RFC 9112, section 6.3", "RFC 9112, section 9.3", "RFC 9112, section 9.6"
OK = response("Content-Length: 2", body=b"ok")


def sized(*lines, start="HTTP/1.1 200 OK", body=b"ok"):
    """A response of two bytes."""
    return response(*lines, f"Content-Length: {len(body)}", start=start, body=body)


def passes(name, section, answer, body=b"ok", **options):
    return Response(name, section, answer, body=body, **options)


def head(*lines, start="HTTP/1.1 200 OK"):
    """The head of a response of two bytes."""
    return sized(*lines, start=start)[:-2]


LINES = [
    *(
        Response(f"status {status}", STATUS, sized(start=f"HTTP/1.1 {status} Odd"), status, b"ok")
        for status in [200, 201, 203, 206, 226, 299, 300, 302, 399, 400, 404, 407, 421, 429, 499, 500, 502, 503, 599, 600, 999]
    ),
    passes("reason of several words", LINE, sized(start="HTTP/1.1 200 All is well")),
    passes("empty reason", LINE, sized(start="HTTP/1.1 200 ")),
    passes("no reason and no space", LINE, sized(start="HTTP/1.1 200"), head=head(start="HTTP/1.1 200 ")),
    passes("HTTP/1.0", VERSION, sized(start="HTTP/1.0 200 OK"), head=head(), reused=False),
    passes("HTTP/1.2 is read as HTTP/1.1", VERSION, sized(start="HTTP/1.2 200 OK"), head=head()),
    *(gateway(f"version {name}", VERSION, sized(start=f"{name} 200 OK")) for name in ["HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/1", "HTTP/1.10", "ICY", "RTSP/1.0"]),
    *(gateway(f"status {status!r}", LINE, sized(start=f"HTTP/1.1 {status} Odd")) for status in ["099", "000", "99", "20", "2000", "-200", "2x0", "0x1", "OK"]),
    gateway("no status", LINE, sized(start="HTTP/1.1")),
    gateway("two spaces before the status", LINE, sized(start="HTTP/1.1  200 OK")),
    gateway("tab before the status", LINE, sized(start="HTTP/1.1\t200 OK")),
    gateway("NUL in the reason", LINE, sized(start="HTTP/1.1 200 O\x00K")),
    gateway("space before the version", LINE, sized(start=" HTTP/1.1 200 OK")),
    gateway("a body and no head", "RFC 9112, section 2.3", b"hello, world\r\n\r\n", closes=True),
    gateway("a request in place of a response", LINE, request()),
    gateway("NULs", LINE, b"\x00" * 100, closes=True),
    gateway("alert of TLS", LINE, b"\x15\x03\x01\x00\x02\x02\x46", closes=True),
    passes("line feeds without carriage returns", PARSING, b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", head=head()),
    gateway("carriage return without a line feed", PARSING, b"HTTP/1.1 200 OK\rContent-Length: 2\r\n\r\nok"),
]

FIELDS = [
    passes("field without content", VALUE, sized("A: ")),
    passes("field without a space behind its colon", FIELD, sized("A:b"), head=head("A: b")),
    passes("field with spaces around its value", FIELD, sized("A: \t b \t "), head=head("A: b")),
    passes("field with a tab in its value", VALUE, sized("A: b\tc")),
    passes("field with bytes beyond ASCII", VALUE, sized("A: \xe9\xff\x80"), only_http1=True),
    passes("names in several cases", NAME, sized("a-B: 1", "X-UPPER: 2", "x-lower: 3")),
    passes("Set-Cookie twice", "RFC 9110, section 5.3", sized("Set-Cookie: a=1", "Set-Cookie: b=2")),
    passes("Date", "RFC 9110, section 6.6.1", sized("Date: Mon, 01 Jan 2001 00:00:00 GMT")),
    passes("Date that is no date", "RFC 9110, section 6.6.1", sized("Date: now")),
    passes("field of 60,000 bytes", "RFC 9110, section 5.4", sized("A: " + "b" * 60_000)),
    passes("256 fields", "RFC 9110, section 5.4", sized(*(f"A{number}: 1" for number in range(255)))),
    gateway("257 fields", "RFC 9110, section 5.4", sized(*(f"A{number}: 1" for number in range(256)))),
    gateway("head of more than 1 MiB", "RFC 9110, section 5.4", response("A: " + "b" * (1 << 20))),
    passes("space before the colon", FIELD, sized("A : b"), head=head("A: b")),
    passes("folded value", FOLD, sized("A: b", "  c"), head=head("A: b c")),
    passes("value folded by a tab", FOLD, sized("A: b", "\tc"), head=head("A: b c")),
    gateway("space before the first field", PARSING, sized(" A: b")),
    gateway("line without a colon", FIELD, sized("no field")),
    gateway("field without a name", FIELD, sized(": a")),
    *(gateway(f"name with {letter!r}", NAME, sized(f"A{letter}B: c")) for letter in '\x00\x7f\xe9(),/;<=>?@[\\]{}"'),
    *(gateway(f"value with {letter!r}", VALUE, sized(f"A: b{letter}c")) for letter in "\x00\x01\x0b\x1b\x7f\r"),
]

CONNECTIONS = [
    passes("Connection: close", CLOSE, sized("Connection: close"), head=head("Connection: keep-alive"), reused=False),
    passes("Connection: close, and a FIN", CLOSE, sized("Connection: close"), head=head("Connection: keep-alive"), reused=False, closes=True),
    passes("Connection: keep-alive", PERSIST, sized("Connection: keep-alive", "Keep-Alive: timeout=5"), head=head("Connection: keep-alive")),
    passes("Keep-Alive alone", CONNECTION, sized("Keep-Alive: timeout=5"), head=head()),
    passes("Proxy-Connection and TE", CONNECTION, sized("Proxy-Connection: keep-alive", "TE: a"), head=head()),
    passes("Connection that names a field", CONNECTION, sized("Connection: X-Hop", "X-Hop: 1"), head=head("Connection: keep-alive")),
    passes("Connection that names Content-Length", CONNECTION, sized("Connection: Content-Length"), head=head("Connection: keep-alive")),
    passes("HTTP/1.0 that stays", PERSIST, sized("Connection: keep-alive", start="HTTP/1.0 200 OK"), head=head("Connection: keep-alive")),
    passes("Upgrade that is only offered", "RFC 9110, section 7.8", sized("Upgrade: odd/1", "Connection: Upgrade"), head=head("Connection: keep-alive")),
    passes("426", "RFC 9110, section 15.5.22", sized("Upgrade: odd/1", start="HTTP/1.1 426 Odd"), status=426),
    passes("FIN behind a response", PERSIST, OK, reused=False, closes=True),
    passes("bytes behind a response", FRAMING, OK + b"x", head=head(), reused=False),
    passes("response behind a response", FRAMING, OK + OK, reused=False),
    passes("empty line behind a response", FRAMING, OK + b"\r\n", reused=None),
    gateway("FIN and nothing else", "RFC 9112, section 8", b"", closes=True),
    gateway("FIN in the status line", "RFC 9112, section 8", b"HTTP/1.1 20", closes=True),
    gateway("FIN in the fields", "RFC 9112, section 8", b"HTTP/1.1 200 OK\r\nContent-", closes=True),
    gateway("FIN before the empty line", "RFC 9112, section 8", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", closes=True),
]


def interim(*statuses):
    return b"".join(response(start=f"HTTP/1.1 {status} Odd") for status in statuses)


INTERIMS = [
    *(passes(f"{status} before the response", INTERIM, interim(status) + OK, head=head(), interim=(status,)) for status in [100, 102, 103, 104, 199]),
    passes("three interim responses", INTERIM, interim(100, 103, 102) + OK, head=head(), interim=(100, 103, 102)),
    passes("100 interim responses", INTERIM, interim(*[103] * 100) + OK, head=head(), interim=(103,) * 100),
    passes("interim response with a length", INTERIM, response("Content-Length: 5", start="HTTP/1.1 103 Odd") + OK, head=head(), interim=(103,)),
    passes("interim response over HTTP/1.0", INTERIM, interim(103) + OK, head=response("Content-Length: 2", "Connection: close"), asked=request(target="/case", version="HTTP/1.0"), stays=False),
    gateway("101 interim responses", INTERIM, interim(*[103] * 101) + OK, interim=(103,) * 100),
    gateway("FIN behind an interim response", "RFC 9112, section 8", interim(103), interim=(103,), closes=True),
    gateway("malformed response behind an interim one", LINE, interim(103) + b"nonsense\r\n\r\n", interim=(103,)),
    gateway("101 that nobody asked for", "RFC 9110, section 15.2.2", response("Connection: Upgrade", "Upgrade: odd/1", start="HTTP/1.1 101 Odd")),
    gateway("101 without Upgrade", "RFC 9110, section 15.2.2", interim(101)),
]


def bare(name, section, answer, status, **options):
    return Response(name, section, answer, status, **options)


def to_head(name, answer, **options):
    return Response(name, "RFC 9110, section 9.3.2", answer, asked=request(method="HEAD", target="/case"), **options)


WITHOUT_CONTENT = [
    bare("204", "RFC 9110, section 15.3.5", response(start="HTTP/1.1 204 Odd"), 204),
    *(
        bare(f"204 with {line}", "RFC 9110, section 8.6", response(line, start="HTTP/1.1 204 Odd"), 204, head=response(start="HTTP/1.1 204 Odd"))
        for line in ["Content-Length: 0", "Content-Length: 5"]
    ),
    bare("204 with chunked", "RFC 9112, section 6.1", response("Transfer-Encoding: chunked", start="HTTP/1.1 204 Odd"), 204, head=response(start="HTTP/1.1 204 Odd")),
    bare("204 with bytes behind it", FRAMING, response(start="HTTP/1.1 204 Odd", body=b"hello"), 204, reused=False),
    bare("205", "RFC 9110, section 15.3.6", response("Content-Length: 0", start="HTTP/1.1 205 Odd"), 205),
    bare("304", "RFC 9110, section 15.4.5", response("ETag: x", start="HTTP/1.1 304 Odd"), 304),
    bare("304 with the length of the representation", "RFC 9110, section 8.6", response("Content-Length: 5", start="HTTP/1.1 304 Odd"), 304),
    bare("304 with bytes behind it", FRAMING, response("Content-Length: 5", start="HTTP/1.1 304 Odd", body=b"hello"), 304, reused=False),
    bare("304 and a FIN", FRAMING, response("ETag: x", start="HTTP/1.1 304 Odd"), 304, reused=False, closes=True),
    to_head("HEAD", response("Content-Length: 5")),
    to_head("HEAD without a length", response("A: b")),
    to_head("HEAD of chunks", response("Transfer-Encoding: chunked"), head=response()),
    to_head("HEAD with bytes behind it", response("Content-Length: 5", body=b"hello"), reused=False),
    to_head("HEAD of a large length", response("Content-Length: 18446744073709551615")),
    passes("200 without content", FRAMING, response("Content-Length: 0"), b""),
]

CASES = [*LINES, *FIELDS, *CONNECTIONS, *INTERIMS, *WITHOUT_CONTENT]
