"""Responses: where their bodies end."""

from conformance import Response, cut, gateway, in_chunks, request, response

LENGTH, CODING, FRAMING = "RFC 9110, section 8.6", "RFC 9112, section 6.1", "RFC 9112, section 6.3"
CHUNK, EXTENSION, TRAILER = "RFC 9112, section 7.1", "RFC 9112, section 7.1.1", "RFC 9112, section 7.1.2"
INCOMPLETE = "RFC 9112, section 8"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
ONE = response("Content-Length: 5")
OLD = request(target="/case", version="HTTP/1.0")


def passes(name, section, answer, body=b"hello", **options):
    return Response(name, section, answer, body=body, **options)


def lengths(*values, body=b"hello"):
    return response(*(f"Content-Length: {value}" for value in values), body=body)


def codings(*values, body=HELLO, start="HTTP/1.1 200 OK"):
    return response(*(f"Transfer-Encoding: {value}" for value in values), body=body, start=start)


def in_pieces(name, body, answer):
    """A chunked response whose body is passed on, whatever its chunks were."""
    return passes(name, CHUNK, answer, body)


LENGTHS = [
    passes("Content-Length", LENGTH, lengths("5")),
    passes("Content-Length with leading zeros", LENGTH, lengths("005")),
    passes("Content-Length of 100,000", LENGTH, lengths("100000", body=b"a" * 100_000), b"a" * 100_000),
    passes("Content-Length twice", FRAMING, lengths("5", "5"), head=ONE),
    passes("Content-Length as a list", FRAMING, lengths("5, 5"), head=ONE),
    gateway("two Content-Lengths", FRAMING, lengths("5", "6")),
    gateway("two Content-Lengths in a list", FRAMING, lengths("5, 6")),
    *(
        gateway(f"Content-Length {value!r}", FRAMING, lengths(value))
        for value in ["", "+5", "-5", "5 5", "5.0", "0x5", "5;", "5,", "five", "\xb2", "18446744073709551616", "9" * 100]
    ),
    cut("FIN in a body", INCOMPLETE, lengths("9"), body=b"hello", closes=True),
    cut("FIN before a body", INCOMPLETE, lengths("9", body=b""), closes=True),
    cut("FIN in a body of 2^63 bytes", INCOMPLETE, lengths("9223372036854775808"), body=b"hello", closes=True),
    passes("bytes behind a body", FRAMING, lengths("3"), b"hel", reused=False),
]

CODINGS = [
    passes("chunked", CODING, codings("chunked")),
    passes("Chunked", "RFC 9112, section 7", codings("Chunked")),
    passes("gzip, chunked", CODING, codings("gzip, chunked"), http2=502),
    passes("gzip and chunked in two fields", CODING, codings("gzip", "chunked"), http2=502),
    passes("chunked with a Content-Length", FRAMING, response("Transfer-Encoding: chunked", "Content-Length: 3", body=HELLO), head=codings("chunked", body=b""), reused=None),
    passes("Content-Length before chunked", FRAMING, response("Content-Length: 3", "Transfer-Encoding: chunked", body=HELLO), head=codings("chunked", body=b""), reused=None),
    gateway("chunked twice", CODING, codings("chunked, chunked")),
    gateway("chunked in two fields", CODING, codings("chunked", "chunked")),
    passes("chunked over HTTP/1.0", CODING, codings("chunked", start="HTTP/1.0 200 OK"), head=codings("chunked", body=b""), reused=False),
    passes(
        "chunked over HTTP/1.0 that stays",
        CODING,
        response("Transfer-Encoding: chunked", "Connection: keep-alive", start="HTTP/1.0 200 OK", body=HELLO),
        head=response("Transfer-Encoding: chunked", "Connection: keep-alive"),
        reused=False,
    ),
    passes("chunked for a client of HTTP/1.0", CODING, codings("chunked"), head=response("Connection: close"), asked=OLD, stays=False),
    passes("no length for a client of HTTP/1.0", FRAMING, response(body=b"hello"), head=response("Connection: close"), asked=OLD, stays=False, reused=False, closes=True),
    passes("no length", FRAMING, response(body=b"hello"), head=codings("chunked", body=b""), reused=False, closes=True),
    passes("no length and no content", FRAMING, response(), b"", head=codings("chunked", body=b""), reused=False, closes=True),
    passes("no length over HTTP/1.0", FRAMING, response(start="HTTP/1.0 200 OK", body=b"hello"), head=codings("chunked", body=b""), reused=False, closes=True),
]

CHUNKS = [
    in_pieces("no chunk but the last", b"", in_chunks(b"0\r\n\r\n")),
    in_pieces("several chunks", b"hello", in_chunks(b"2\r\nhe\r\n1\r\nl\r\n2\r\nlo\r\n0\r\n\r\n")),
    in_pieces("size in upper case", b"0123456789", in_chunks(b"A\r\n0123456789\r\n0\r\n\r\n")),
    in_pieces("size in lower case", b"0123456789", in_chunks(b"a\r\n0123456789\r\n0\r\n\r\n")),
    in_pieces("size with leading zeros", b"hello", in_chunks(b"0005\r\nhello\r\n000\r\n\r\n")),
    in_pieces("chunk that looks like framing", b"0\r\n\r\n", in_chunks(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n")),
    in_pieces("chunk of 100,000 bytes", b"a" * 100_000, in_chunks(b"186a0\r\n" + b"a" * 100_000 + b"\r\n0\r\n\r\n")),
    in_pieces("extensions", b"hello", in_chunks(b'5 ; a="b;c"; d = e\r\nhello\r\n0;f\r\n\r\n')),
    *(
        cut(f"size {size.decode('latin-1')!r}", CHUNK, in_chunks(size + b"\r\nhello\r\n0\r\n\r\n"))
        for size in [b"", b"g", b"5g", b"-5", b"+5", b"0x5", b" 5", b"5 5", b"\x005", b"\xb2", b"10000000000000005"]
    ),
    cut("extension without a size", EXTENSION, in_chunks(b";a\r\nhello\r\n0\r\n\r\n")),
    cut("extension with NUL", EXTENSION, in_chunks(b"5;a=\x00\r\nhello\r\n0\r\n\r\n")),
    cut("extension of 5,000 bytes", EXTENSION, in_chunks(b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n")),
    cut("size line that ends with a line feed", CHUNK, in_chunks(b"5\nhello\r\n0\r\n\r\n")),
    cut("chunk that ends with a line feed", CHUNK, in_chunks(b"5\r\nhello\n0\r\n\r\n"), body=b"hello"),
    cut("chunk that is longer than its size", CHUNK, in_chunks(b"4\r\nhello\r\n0\r\n\r\n"), body=b"hell"),
    cut("broken second chunk", CHUNK, in_chunks(b"5\r\nhello\r\nx\r\nworld\r\n0\r\n\r\n"), body=b"hello"),
    cut("body without chunks", CHUNK, in_chunks(b"hello, world\r\n\r\n")),
    cut("FIN before the first chunk", INCOMPLETE, in_chunks(b""), closes=True),
    cut("FIN in a chunk's size", INCOMPLETE, in_chunks(b"5"), closes=True),
    cut("FIN in a chunk", INCOMPLETE, in_chunks(b"9\r\nhello"), body=b"hello", closes=True),
    cut("FIN behind a chunk", INCOMPLETE, in_chunks(b"5\r\nhello\r\n"), body=b"hello", closes=True),
    cut("FIN behind the last chunk's size", INCOMPLETE, in_chunks(b"5\r\nhello\r\n0\r\n"), body=b"hello", closes=True),
    cut("FIN in a trailer", INCOMPLETE, in_chunks(b"5\r\nhello\r\n0\r\nA: b\r\n"), body=b"hello", closes=True),
    passes("bytes behind the last chunk", FRAMING, in_chunks(HELLO + b"x"), reused=False),
    passes("FIN behind the last chunk", FRAMING, in_chunks(HELLO), reused=False, closes=True),
]

TRAILERS = [
    passes("trailer", TRAILER, in_chunks(b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"), trailers=(("x-sum", "1"),)),
    passes("two trailers", TRAILER, in_chunks(b"5\r\nhello\r\n0\r\nx-a: 1\r\nx-b: 2\r\n\r\n"), trailers=(("x-a", "1"), ("x-b", "2"))),
    passes("trailer of a body without content", TRAILER, in_chunks(b"0\r\nx-sum: 1\r\n\r\n"), b"", trailers=(("x-sum", "1"),)),
    *(
        cut(f"trailer {line.decode('latin-1')!r}", TRAILER, in_chunks(b"5\r\nhello\r\n0\r\n" + line + b"\r\n\r\n"), body=b"hello")
        for line in [b"no field", b": a", b"a: b\r\n c", b"a: \x00", b"a(: b"]
    ),
    cut("65 trailers", TRAILER, in_chunks(b"0\r\n" + b"".join(b"a%d: 1\r\n" % number for number in range(65)) + b"\r\n")),
    *(
        passes(f"{name} as a trailer is dropped", "RFC 9110, section 6.5.1", in_chunks(b"5\r\nhello\r\n0\r\n" + name.encode() + b": 3\r\nx-a: 1\r\n\r\n"), trailers=(("x-a", "1"),))
        for name in ["content-length", "transfer-encoding", "connection"]
    ),
]

CASES = [*LENGTHS, *CODINGS, *CHUNKS, *TRAILERS]
