"""Requests: where their bodies end."""

from conformance import Request, bad, chunked, post, request

LENGTH, CODING, FRAMING = "RFC 9110, section 8.6", "RFC 9112, section 6.1", "RFC 9112, section 6.3"
CHUNK, EXTENSION, TRAILER = "RFC 9112, section 7.1", "RFC 9112, section 7.1.1", "RFC 9112, section 7.1.2"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
ONE = post("Content-Length: 5", body=b"")  # the head of a request that states its length once


def codings(*lines, body=HELLO, **options):
    """A POST with these transfer codings."""
    return post(*(f"Transfer-Encoding: {line}" for line in lines), body=body, **options)


def passes(name, section, sent, body=b"hello", **options):
    """A request whose body arrives."""
    return Request(name, section, sent, body=body, **options)


LENGTHS = [
    passes("Content-Length", LENGTH, post("Content-Length: 5")),
    passes("Content-Length of 0", LENGTH, post("Content-Length: 0", body=b""), b""),
    passes("Content-Length with leading zeros", LENGTH, post("Content-Length: 005")),
    passes("Content-Length behind a tab", LENGTH, post("Content-Length:\t5"), seen=(ONE,)),
    passes("Content-Length of 100,000", LENGTH, post("Content-Length: 100000", body=b"a" * 100_000), b"a" * 100_000),
    passes("no Content-Length", FRAMING, post(body=b""), b""),
    passes("Content-Length twice", FRAMING, post("Content-Length: 5", "Content-Length: 5"), seen=(ONE,)),
    passes("Content-Length as a list", FRAMING, post("Content-Length: 5, 5"), seen=(ONE,)),
    passes("Content-Length that differs in leading zeros", FRAMING, post("Content-Length: 5", "Content-Length: 05"), seen=(ONE,)),
    bad("two Content-Lengths", FRAMING, post("Content-Length: 5", "Content-Length: 6")),
    bad("two Content-Lengths in a list", FRAMING, post("Content-Length: 5, 6")),
    bad("Content-Length and a word", FRAMING, post("Content-Length: 5", "Content-Length: x")),
    *(
        bad(f"Content-Length {value!r}", FRAMING, post(f"Content-Length: {value}"))
        for value in ["", "+5", "-5", "-0", "5 5", "5.0", "5e0", "0x5", "5;", "5,", ",5", "five", "5\xa0", "\xb2", '"5"', "18446744073709551616", "9" * 100]
    ),
    bad("space before the colon of Content-Length", "RFC 9112, section 5.1", post("Content-Length : 5")),
    bad("folded Content-Length", "RFC 9112, section 5.2", post("Content-Length:", " 5")),
    Request(
        "more than Content-Length says is another request",
        FRAMING,
        post("Content-Length: 5", body=b"hello" + request(target="/2")),
        (200, 200),
        (ONE, request(target="/2")),
        body=b"hello",
    ),
    Request("body behind a GET without a length", FRAMING, request(body=b"hello\r\n\r\n"), (200, 400), (request(),), stays=False),
]

CODINGS = [
    passes("chunked", CODING, chunked(HELLO)),
    passes("Chunked", "RFC 9112, section 7", codings("Chunked")),
    passes("chunked by GET", CODING, request("Transfer-Encoding: chunked", body=HELLO)),
    passes("gzip, chunked", CODING, codings("gzip, chunked")),
    passes("gzip and chunked in two fields", CODING, codings("gzip", "chunked")),
    passes("chunked behind an empty element", "RFC 9110, section 5.6.1", codings(", chunked")),
    *(
        bad(f"Transfer-Encoding {value!r}", FRAMING, codings(value))
        for value in ["", "gzip", "identity", "chunked, gzip", "chunked, identity", "xchunked", "chunkedx", "chunked;q=1", '"chunked"', "\xa0chunked", "chunked chunked", "chunked, chunked"]
    ),
    bad("chunked in two fields", CODING, codings("chunked", "chunked")),
    bad("chunked and gzip in two fields", FRAMING, codings("chunked", "gzip")),
    bad("chunked and identity in two fields", FRAMING, codings("chunked", "identity")),
    bad("vertical tab before chunked", "RFC 9110, section 5.5", codings("\x0bchunked")),
    bad("space before the colon of Transfer-Encoding", "RFC 9112, section 5.1", post("Transfer-Encoding : chunked", body=HELLO)),
    bad("folded Transfer-Encoding", "RFC 9112, section 5.2", post("Transfer-Encoding:", " chunked", body=HELLO)),
    bad("chunked over HTTP/1.0", CODING, codings("chunked", version="HTTP/1.0")),
    passes(
        "chunked with a Content-Length", FRAMING, post("Transfer-Encoding: chunked", "Content-Length: 3", body=HELLO), seen=(codings("chunked", body=b""),), stays=False
    ),
    passes(
        "Content-Length before chunked", FRAMING, post("Content-Length: 3", "Transfer-Encoding: chunked", body=HELLO), seen=(codings("chunked", body=b""),), stays=False
    ),
    bad("gzip with a Content-Length", FRAMING, post("Transfer-Encoding: gzip", "Content-Length: 5")),
]

CHUNKS = [
    passes("no chunk but the last", CHUNK, chunked(b"0\r\n\r\n"), b""),
    passes("several chunks", CHUNK, chunked(b"2\r\nhe\r\n1\r\nl\r\n2\r\nlo\r\n0\r\n\r\n")),
    passes("size in upper case", CHUNK, chunked(b"A\r\n0123456789\r\n0\r\n\r\n"), b"0123456789"),
    passes("size in lower case", CHUNK, chunked(b"a\r\n0123456789\r\n0\r\n\r\n"), b"0123456789"),
    passes("size with leading zeros", CHUNK, chunked(b"0005\r\nhello\r\n0\r\n\r\n")),
    passes("last size of several zeros", CHUNK, chunked(b"5\r\nhello\r\n000\r\n\r\n")),
    passes("chunk that looks like framing", CHUNK, chunked(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"), b"0\r\n\r\n"),
    passes("chunk of 100,000 bytes", CHUNK, chunked(b"186a0\r\n" + b"a" * 100_000 + b"\r\n0\r\n\r\n"), b"a" * 100_000),
    passes("extension", EXTENSION, chunked(b"5;a\r\nhello\r\n0\r\n\r\n")),
    passes("extension with a value", EXTENSION, chunked(b"5;a=b;c=d\r\nhello\r\n0;e\r\n\r\n")),
    passes("extension with a quoted value", EXTENSION, chunked(b'5;a="b;c"\r\nhello\r\n0\r\n\r\n')),
    passes("extension with spaces", EXTENSION, chunked(b"5 ; a = b\r\nhello\r\n0\r\n\r\n")),
    *(
        bad(f"size {size.decode('latin-1')!r}", CHUNK, chunked(size + b"\r\nhello\r\n0\r\n\r\n"))
        for size in [b"", b"g", b"5g", b"-5", b"+5", b"0x5", b" 5", b"5 5", b"5.0", b"5,", b"\x005", b"5\x00", b"\xb2", b"10000000000000005"]
    ),
    bad("extension without a size", EXTENSION, chunked(b";a\r\nhello\r\n0\r\n\r\n")),
    bad("extension with NUL", EXTENSION, chunked(b"5;a=\x00\r\nhello\r\n0\r\n\r\n")),
    bad("extension with a carriage return", EXTENSION, chunked(b"5;a=\rb\r\nhello\r\n0\r\n\r\n")),
    bad("extension of 5,000 bytes", EXTENSION, chunked(b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n")),
    bad("size line that ends with a line feed", CHUNK, chunked(b"5\nhello\r\n0\r\n\r\n")),
    bad("size line that ends with a carriage return", CHUNK, chunked(b"5\rhello\r\n0\r\n\r\n")),
    bad("chunk that ends with a line feed", CHUNK, chunked(b"5\r\nhello\n0\r\n\r\n")),
    bad("chunk that is longer than its size", CHUNK, chunked(b"4\r\nhello\r\n0\r\n\r\n")),
    bad("chunk that is shorter than its size", CHUNK, chunked(b"6\r\nhello\r\n0\r\n\r\n")),
    bad("chunk without an end", CHUNK, chunked(b"5\r\nhello0\r\n\r\n")),
    bad("broken second chunk", CHUNK, chunked(b"5\r\nhello\r\nx\r\nworld\r\n0\r\n\r\n")),
    bad("body without chunks", CHUNK, chunked(b"hello, world\r\n\r\n")),
]

TRAILERS = [
    passes("trailer", TRAILER, chunked(b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"), trailers=(("x-sum", "1"),)),
    passes("two trailers", TRAILER, chunked(b"5\r\nhello\r\n0\r\nx-a: 1\r\nx-b: 2\r\n\r\n"), trailers=(("x-a", "1"), ("x-b", "2"))),
    passes("trailer without content", TRAILER, chunked(b"5\r\nhello\r\n0\r\nx-sum:\r\n\r\n"), trailers=(("x-sum", ""),)),
    passes("trailer that is announced", "RFC 9110, section 6.6.2", chunked(b"5\r\nhello\r\n0\r\nx-a: 1\r\n\r\n", "Trailer: x-a"), trailers=(("x-a", "1"),)),
    *(
        bad(f"trailer {line.decode('latin-1')!r}", TRAILER, chunked(b"5\r\nhello\r\n0\r\n" + line + b"\r\n\r\n"))
        for line in [b"no field", b": a", b"a : b", b"a: b\r\n c", b"a: \x00", b"a\x00: b", b"a(: b", b"a: b\rc"]
    ),
    bad("65 trailers", TRAILER, chunked(b"0\r\n" + b"".join(b"a%d: 1\r\n" % number for number in range(65)) + b"\r\n")),
    bad("trailers of more than 64 KiB", TRAILER, chunked(b"0\r\na: " + b"b" * (70 << 10) + b"\r\n\r\n")),
    *(
        passes(f"{name} as a trailer is dropped", "RFC 9110, section 6.5.1", chunked(b"5\r\nhello\r\n0\r\n" + name.encode() + b": 3\r\nx-a: 1\r\n\r\n"), trailers=(("x-a", "1"),))
        for name in ["content-length", "transfer-encoding", "host", "connection"]
    ),
]

CASES = [*LENGTHS, *CODINGS, *CHUNKS, *TRAILERS]
