"""Requests: start lines, targets, versions, Host, fields, connections and pipelining."""

from conformance import Request, bad, chunked, post, request, short

LINE, TARGET, ABSOLUTE = "RFC 9112, section 3", "RFC 9112, section 3.2", "RFC 9112, section 3.2.2"
PARSING, VERSION, HOST = "RFC 9112, section 2.2", "RFC 9112, section 2.3", "RFC 9112, section 3.2"
FIELD, FOLD, VALUE = "RFC 9112, section 5.1", "RFC 9112, section 5.2", "RFC 9110, section 5.5"
METHOD, NAME = "RFC 9110, section 9.1", "RFC 9110, section 5.1"
CONNECTION, UPGRADE, EXPECT = "RFC 9110, section 7.6.1", "RFC 9110, section 7.8", "RFC 9110, section 10.1.1"
PERSIST, PIPELINE, CLOSE = "RFC 9112, section 9.3", "RFC 9112, section 9.3.2", "RFC 9112, section 9.6"
INCOMPLETE, TOO_LARGE = "RFC 9112, section 8", "RFC 6585, section 5"
PLAIN = request()
MOST = 1 << 20  # bytes of a head


def without(*lines, sent=(), **options):
    """A case whose upstream gets the request without some of its lines: the bytes sent, and the head that is passed on."""
    return request(*lines, *sent, **options), (request(*lines, **options),)


METHODS = [
    *(
        Request(f"method {name}", METHOD, request(method=name, target="/m"))
        for name in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "M-SEARCH", "get", "!#$%&'*+-.^_`|~09Az"]
    ),
    Request("method of 200 letters", METHOD, request(method="M" * 200)),
    Request("GET with content", "RFC 9110, section 9.3.1", request("Content-Length: 5", body=b"hello"), body=b"hello"),
    Request("DELETE with content", "RFC 9110, section 9.3.5", request("Content-Length: 5", method="DELETE", body=b"hello"), body=b"hello"),
    *(
        bad(f"method {name!r}", METHOD, request(method=name))
        for name in ["G@T", "G(T", "G\x00T", "G\tT", "G\xe9T", "G:T", "G/T", '"GET"', ""]
    ),
    Request("CONNECT", "RFC 9110, section 9.3.6", request(method="CONNECT", target="test:80", host="Host: test:80"), (405,), ()),
]

TARGETS = [
    *(
        Request(f"target {target}", TARGET, request(target=target))
        for target in ["/a", "/a/", "//a//b", "/a/../b", "/a/./b", "/a%2Fb", "/a%20b", "/%zz", "/?", "/?a=b&c", "/a?b?c", "/a;p=1", "/a:b@c", "/*", "/~a!$&'()*+,;="]
    ),
    Request("target of 60,000 bytes", TARGET, request(target="/" + "a" * 60_000)),
    Request("target with a fragment", TARGET, request(target="/a?b#c"), seen=(request(target="/a?b"),)),
    Request("OPTIONS *", "RFC 9112, section 3.2.4", request(method="OPTIONS", target="*")),
    bad("OPTIONS *a", "RFC 9112, section 3.2.4", request(method="OPTIONS", target="*a")),
    Request("absolute target", ABSOLUTE, request(target="http://test/a?b"), seen=(request(target="/a?b"),)),
    Request("absolute target without a path", ABSOLUTE, request(target="http://test"), seen=(request(),)),
    Request("absolute target with a query and no path", ABSOLUTE, request(target="http://test?a"), seen=(request(target="/?a"),)),
    Request("absolute target of https", ABSOLUTE, request(target="https://test/a"), seen=(request(target="/a"),)),
    Request("absolute target, scheme in upper case", "RFC 9110, section 4.2.3", request(target="HTTP://test/a"), seen=(request(target="/a"),)),
    Request("absolute target with a port", ABSOLUTE, request(target="http://test:81/", host="Host: test:81"), seen=(request(host="Host: test:81"),)),
    Request("absolute target of an IPv6 address", ABSOLUTE, request(target="http://[::1]:81/", host="Host: [::1]:81"), seen=(request(host="Host: [::1]:81"),)),
    Request(
        "OPTIONS of an absolute target without a path",
        "RFC 9112, section 3.2.4",
        request(method="OPTIONS", target="http://test"),
        seen=(request(method="OPTIONS", target="*"),),
    ),
    Request(
        "OPTIONS of an absolute target with a path",
        "RFC 9112, section 3.2.4",
        request(method="OPTIONS", target="http://test/"),
        seen=(request(method="OPTIONS"),),
    ),
    bad("absolute target without a host", "RFC 9110, section 4.2.1", request(target="http:///a", host="Host:")),
    bad("absolute target with user information", "RFC 9110, section 4.2.4", request(target="http://user@test/")),
    bad("absolute target of another scheme", ABSOLUTE, request(target="ftp://test/a")),
    bad("absolute target without slashes", ABSOLUTE, request(target="http:test/a")),
    bad("authority as the target of GET", "RFC 9112, section 3.2.3", request(target="test:80")),
    bad("relative target", TARGET, request(target="a")),
    bad("target that is a query", TARGET, request(target="?a")),
    *(
        bad(f"target {target!r}", TARGET, request(target=target))
        for target in ["", "/a b", "/a\tb", "/a\x00b", "/a\x01b", "/a\x7fb", "/a\rb"]
    ),
    bad("target of more than 1 MiB", "RFC 9110, section 15.5.15", b"GET /" + b"a" * (MOST + 1), 414),
]

LINES = [
    bad("two spaces before the target", LINE, b"GET  / HTTP/1.1\r\nHost: test\r\n\r\n"),
    bad("tabs in place of spaces", LINE, b"GET\t/\tHTTP/1.1\r\nHost: test\r\n\r\n"),
    bad("space before the method", LINE, b" GET / HTTP/1.1\r\nHost: test\r\n\r\n"),
    bad("text behind the version", LINE, b"GET / HTTP/1.1 x\r\nHost: test\r\n\r\n"),
    bad("no version", LINE, b"GET /\r\nHost: test\r\n\r\n"),
    bad("one word", LINE, b"GET\r\n\r\n"),
    Request("empty line before the request", PARSING, b"\r\n" + PLAIN, seen=(PLAIN,)),
    Request("line feeds without carriage returns", PARSING, b"GET / HTTP/1.1\nHost: test\n\n", seen=(PLAIN,)),
    bad("carriage return without a line feed", PARSING, b"GET / HTTP/1.1\rHost: test\r\n\r\n"),
    bad("carriage return in a line", PARSING, b"GET / HTTP/1.1\r\nHost: test\r\nA: b\rC: d\r\n\r\n"),
    bad("space before the first field", PARSING, b"GET / HTTP/1.1\r\n Host: test\r\n\r\n"),
    bad("NUL before the request", PARSING, b"\x00" + PLAIN),
    bad("ClientHello of TLS", PARSING, b"\x16\x03\x01\x00\xf5\x01\x00\x00\xf1\x03\x03\n\n"),
    bad("banner of SSH", PARSING, b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    bad("response in place of a request", PARSING, b"HTTP/1.1 200 OK\r\n\r\n"),
]

VERSIONS = [
    Request("HTTP/1.0", VERSION, request(version="HTTP/1.0"), seen=(PLAIN,), stays=False),
    Request("HTTP/1.0 that asks to stay", PERSIST, request("Connection: keep-alive", version="HTTP/1.0"), seen=(PLAIN,)),
    Request("HTTP/1.0 with Connection: close", PERSIST, request("Connection: close", version="HTTP/1.0"), seen=(PLAIN,), stays=False),
    Request("HTTP/1.2 is read as HTTP/1.1", "RFC 9110, section 2.5", request(version="HTTP/1.2"), seen=(PLAIN,)),
    Request("HTTP/1.9 is read as HTTP/1.1", "RFC 9110, section 2.5", request(version="HTTP/1.9"), seen=(PLAIN,)),
    *(bad(f"version {name}", "RFC 9110, section 15.6.6", request(version=name), 505) for name in ["HTTP/0.9", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9"]),
    *(bad(f"version {name}", VERSION, request(version=name)) for name in ["http/1.1", "HTTP/1", "HTTP/1.10", "HTTP/11", "HTTP/01.1", "HTTP/1,1", "HTTP/a.b", "HTTPS/1.1", "1.1"]),
]

HOSTS = [
    *(
        Request(f"Host {host!r}", HOST, request(host=f"Host: {host}"))
        for host in ["test:80", "test:", "127.0.0.1", "[::1]", "[::1]:80", "a_b", "a-b.c.", "a%20b", "a,b", ""]
    ),
    Request("Host in upper case, without a space", HOST, request(host="HOST:test"), seen=(request(host="HOST: test"),)),
    bad("no Host", HOST, request(host=None)),
    Request("HTTP/1.0 with an empty Host", HOST, request(host="Host: ", version="HTTP/1.0"), seen=(request(host="Host: "),), stays=False),
    bad("Host twice", HOST, request("Host: test")),
    bad("Host twice, with different hosts", HOST, request("host: other")),
    *(
        bad(f"Host {host!r}", HOST, request(host=f"Host: {host}"))
        for host in ["test:x", "test:99999", "test:-1", "a:1:2", "[::1", "[]", "[::1]x", "::1", "a/b", "a?b", "a#b", "a b", "user@test", "\xe9", "http://test"]
    ),
    Request(
        "Host that differs from the target", ABSOLUTE, request(target="http://test/", host="Host: other"), seen=(PLAIN,)
    ),
    bad("no Host, and a host in the target", HOST, request(target="http://test/", host=None)),
]

FIELDS = [
    Request("field without content", VALUE, request("A: ")),
    Request("field without a space behind its colon", FIELD, request("A:b"), seen=(request("A: b"),)),
    Request("field with spaces around its value", FIELD, request("A: \t b \t "), seen=(request("A: b"),)),
    Request("field with a tab in its value", VALUE, request("A: b\tc")),
    Request("field with a colon in its value", FIELD, request("A: b: c")),
    Request("field with bytes beyond ASCII", VALUE, request("A: \xe9\xff\x80")),
    Request("field with a quoted text", VALUE, request('A: "b, c"; d="\\""')),
    Request("name of all characters", NAME, request("!#$%&'*+-.^_`|~09Az: b")),
    Request("names in several cases", NAME, request("a-B: 1", "X-UPPER: 2", "x-lower: 3")),
    Request("field twice", "RFC 9110, section 5.3", request("A: 1", "A: 2")),
    Request("field of 60,000 bytes", "RFC 9110, section 5.4", request("A: " + "b" * 60_000)),
    Request("256 fields", "RFC 9110, section 5.4", request(*(f"A{number}: 1" for number in range(255)))),
    bad("257 fields", TOO_LARGE, request(*(f"A{number}: 1" for number in range(256))), 431),
    bad("head of more than 1 MiB", TOO_LARGE, request("A: " + "b" * MOST)[:-4] + b"bbbb", 431),
    bad("line without a colon", FIELD, request("no field")),
    bad("field without a name", FIELD, request(": a")),
    bad("space before the colon", FIELD, request("A : b")),
    bad("tab before the colon", FIELD, request("A\t: b")),
    bad("folded value", FOLD, request("A: b", " c")),
    bad("value folded by a tab", FOLD, request("A: b", "\tc")),
    *(bad(f"name with {letter!r}", NAME, request(f"A{letter}B: c")) for letter in '\x00\x01\x7f\xe9 "(),/;<=>?@[\\]{}'),
    *(bad(f"value with {letter!r}", VALUE, request(f"A: b{letter}c")) for letter in "\x00\x01\x0b\x1b\x7f"),
]


def drops(name, *lines, section=CONNECTION, **options):
    """Fields that end at squall."""
    sent, seen = without("A: 1", sent=lines)
    return Request(name, section, sent, seen=seen, **options)


CONNECTIONS = [
    drops("Connection: close", "Connection: close", section=CLOSE, stays=False),
    drops("Connection: Close in a list", "Connection: x, Close", section=CLOSE, stays=False),
    drops("Connection: close in a second field", "Connection: x", "Connection: close", section=CLOSE, stays=False),
    drops("Connection with empty elements", "Connection: ,, close ,", section="RFC 9110, section 5.6.1", stays=False),
    drops("Connection: keep-alive", "Connection: keep-alive", "Keep-Alive: timeout=5"),
    drops("Connection that names a field", "Connection: X-Hop", "X-Hop: 1"),
    drops("Connection that names a field in another case", "Connection: x-HOP", "X-Hop: 1", "X-Hop: 2"),
    drops("Connection that names a field that is not there", "Connection: x-hop"),
    drops("Connection that names two fields, in two lines", "Connection: X-A", "X-A: 1", "X-B: 2", "Connection: X-B"),
    drops("empty Connection", "Connection:"),
    drops("Proxy-Connection", "Proxy-Connection: keep-alive"),
    drops("Keep-Alive alone", "Keep-Alive: timeout=5"),
    drops("TE", "Connection: TE", "TE: trailers, gzip", section="RFC 9110, section 10.1.4"),
    drops("Proxy-Authorization", "Proxy-Authorization: Basic eA==", section="RFC 9110, section 11.7.2"),
    bad("Connection that names Host", CONNECTION, request("Connection: Host")),
    bad("Connection that names Host in a list", CONNECTION, request("Connection: close, hOsT")),
    Request(
        "Connection that names Content-Length",
        CONNECTION,
        post("Content-Length: 5", "Connection: Content-Length"),
        seen=(post("Content-Length: 5", body=b""),),
        body=b"hello",
    ),
    Request(
        "Connection that names Transfer-Encoding",
        CONNECTION,
        chunked(b"5\r\nhello\r\n0\r\n\r\n", "Connection: transfer-encoding"),
        seen=(chunked(b""),),
        body=b"hello",
    ),
    Request("upgrade", UPGRADE, request("Connection: Upgrade", "Upgrade: odd/1")),
    drops("upgrade without Connection", "Upgrade: odd/1", section=UPGRADE),
    *(
        drops(f"upgrade to {tokens}", "Connection: Upgrade, HTTP2-Settings", f"Upgrade: {tokens}", "HTTP2-Settings: AAMAAABk", section=UPGRADE)
        for tokens in ["h2c", ",h2c", "odd, h2c", "H2C", "h2"]
    ),
    Request(
        "upgrade with content",
        UPGRADE,
        post("Content-Length: 5", "Connection: Upgrade", "Upgrade: odd/1"),
        seen=(post("Content-Length: 5", body=b""),),
        body=b"hello",
    ),
    Request(
        "upgrade over HTTP/1.0",
        UPGRADE,
        request("Connection: Upgrade", "Upgrade: odd/1", version="HTTP/1.0"),
        seen=(PLAIN,),
        stays=False,
    ),
]

EXPECTATIONS = [
    Request("Expect: 100-continue", EXPECT, post("Expect: 100-continue", "Content-Length: 5"), body=b"hello", interim=(100,)),
    Request("Expect: 100-Continue", EXPECT, post("Expect: 100-Continue", "Content-Length: 5"), body=b"hello", interim=(100,)),
    Request("Expect of a client that sends its body", EXPECT, post("Expect: 100-continue", "Content-Length: 5"), body=b"hello"),
    Request("Expect without content", EXPECT, request("Expect: 100-continue")),
    Request("unknown expectation", EXPECT, request("Expect: wonders")),
]

SEVERAL = [
    Request("two requests at once", PIPELINE, request(target="/1") + request(target="/2"), (200, 200), (request(target="/1"), request(target="/2"))),
    Request(
        "ten requests at once",
        PIPELINE,
        b"".join(request(target=f"/{number}") for number in range(10)),
        (200,) * 10,
        tuple(request(target=f"/{number}") for number in range(10)),
    ),
    Request(
        "POST and GET at once",
        PIPELINE,
        post("Content-Length: 5") + request(target="/2"),
        (200, 200),
        (post("Content-Length: 5", body=b""), request(target="/2")),
        body=b"hello",
    ),
    Request(
        "chunked POST and GET at once",
        PIPELINE,
        chunked(b"5\r\nhello\r\n0\r\n\r\n") + request(target="/2"),
        (200, 200),
        (chunked(b""), request(target="/2")),
        body=b"hello",
    ),
    Request("empty lines between requests", PARSING, PLAIN + b"\r\n" + request(target="/2"), (200, 200), (PLAIN, request(target="/2"))),
    Request("malformed second request", PIPELINE, PLAIN + b"nonsense\r\n\r\n", (200, 400), (PLAIN,), stays=False),
    Request("request behind the last one", CLOSE, request("Connection: close") + request(target="/2"), seen=(PLAIN,), stays=False),
    Request("request behind a malformed one", CLOSE, b"nonsense\r\n\r\n" + PLAIN, (400,), (), stays=False),
]

ENDS = [
    Request("FIN behind a request", CLOSE, PLAIN, stays=False, half=True),
    Request("FIN behind a body", CLOSE, post("Content-Length: 5"), body=b"hello", stays=False, half=True),
    Request("FIN behind the last chunk", CLOSE, chunked(b"5\r\nhello\r\n0\r\n\r\n"), body=b"hello", stays=False, half=True),
    Request("FIN behind HTTP/1.0", CLOSE, request(version="HTTP/1.0"), seen=(PLAIN,), stays=False, half=True),
    Request("FIN behind two requests", CLOSE, PLAIN + request(target="/2"), (200, 200), (PLAIN, request(target="/2")), stays=False, half=True),
    Request("FIN behind a request and a half", INCOMPLETE, PLAIN + b"GET / HT", (200, 400), (PLAIN,), stays=False, half=True),
    Request("FIN behind a request and half a body", INCOMPLETE, PLAIN + post("Content-Length: 9"), (200, 400), (PLAIN,), stays=False, half=True),
    Request("FIN and nothing else", CLOSE, b"", (), (), stays=False, half=True),
    Request("FIN behind an empty line", CLOSE, b"\r\n", (), (), stays=False, half=True),
    short("FIN in the request line", INCOMPLETE, b"GET / HT"),
    short("FIN in the fields", INCOMPLETE, b"GET / HTTP/1.1\r\nHost: test\r\nA:"),
    short("FIN before the empty line", INCOMPLETE, b"GET / HTTP/1.1\r\nHost: test\r\n"),
    short("FIN before a body", INCOMPLETE, post("Content-Length: 5", body=b"")),
    short("FIN in a body", INCOMPLETE, post("Content-Length: 5", body=b"hell")),
    short("FIN in a body of 2^63 bytes", INCOMPLETE, post("Content-Length: 9223372036854775808")),
    short("FIN before the first chunk", INCOMPLETE, chunked(b"")),
    short("FIN in a chunk's size", INCOMPLETE, chunked(b"5")),
    short("FIN in a chunk", INCOMPLETE, chunked(b"5\r\nhell")),
    short("FIN behind a chunk", INCOMPLETE, chunked(b"5\r\nhello\r\n")),
    short("FIN behind the last chunk's size", INCOMPLETE, chunked(b"5\r\nhello\r\n0\r\n")),
    short("FIN in a trailer", INCOMPLETE, chunked(b"5\r\nhello\r\n0\r\nA: b\r\n")),
]

CASES = [*METHODS, *TARGETS, *LINES, *VERSIONS, *HOSTS, *FIELDS, *CONNECTIONS, *EXPECTATIONS, *SEVERAL, *ENDS]
