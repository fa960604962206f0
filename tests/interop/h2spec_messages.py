"""http2/7, http2/8 and hpack/*: error codes, requests and their fields, compression."""

import hpack.hpack
from h2spec import Code, Kind, Setting, case

HELLO = b"h2spec\0\0"


@case("http2/7/1")
def goaway_with_an_unknown_code(peer):
    """GOAWAY with an unknown error code does nothing special."""
    peer.send_goaway(0xFF)
    peer.send_ping(HELLO)
    peer.expect_pong_or_close(HELLO)


@case("http2/7/2")
def reset_with_an_unknown_code(peer):
    """RST_STREAM with an unknown error code does nothing special."""
    peer.post()
    peer.send_reset(code=0xFF)
    peer.send_ping()
    peer.expect_pong_or_close()


@case("http2/8.1/1")
def trailers_without_an_end(peer):
    """A second HEADERS without END_STREAM makes the request malformed."""
    peer.post()
    peer.send_data(end=False)
    peer.request(fields=[("x-test", "ok")], end=False)
    peer.expect_stream_error(Code.PROTOCOL_ERROR)


def malformed(peer, fields, **options):
    """A request with these fields must be refused as malformed (RFC 9113, section 8.1.1)."""
    peer.request(fields=fields, **options)
    peer.expect_stream_error(Code.PROTOCOL_ERROR)


@case("http2/8.1.2/1")
def upper_case(peer):
    """A field name with upper-case letters is malformed."""
    malformed(peer, peer.fields(extra=[("X-TEST", "ok")]))


@case("http2/8.1.2.1/1")
def unknown_pseudo_field(peer):
    """An unknown pseudo-header field is malformed."""
    malformed(peer, peer.fields(extra=[(":test", "ok")]))


@case("http2/8.1.2.1/2")
def pseudo_field_of_responses(peer):
    """A pseudo-header field of responses is malformed in a request."""
    malformed(peer, peer.fields(extra=[(":status", "200")]))


@case("http2/8.1.2.1/3")
def pseudo_field_in_trailers(peer):
    """A pseudo-header field in trailers is malformed."""
    peer.post()
    peer.send_data(end=False)
    malformed(peer, [(":method", "POST")], end=False)


@case("http2/8.1.2.1/4")
def pseudo_field_after_others(peer):
    """A pseudo-header field after a regular one is malformed."""
    malformed(peer, [("x-test", "ok"), *peer.fields()])


@case("http2/8.1.2.2/1")
def connection_field(peer):
    """A connection-specific field is malformed."""
    malformed(peer, peer.fields(extra=[("connection", "keep-alive")]))


@case("http2/8.1.2.2/2")
def te_field(peer):
    """A TE field with anything but "trailers" is malformed."""
    malformed(peer, peer.fields(extra=[("trailers", "test"), ("te", "trailers, deflate")]))


@case("http2/8.1.2.3/1")
def empty_path(peer):
    """An empty :path is malformed."""
    malformed(peer, [(name, "" if name == ":path" else value) for name, value in peer.fields()])


def without(peer, name):
    return [field for field in peer.fields() if field[0] != name]


@case("http2/8.1.2.3/2")
def no_method(peer):
    """A request without :method is malformed."""
    malformed(peer, without(peer, ":method"))


@case("http2/8.1.2.3/3")
def no_scheme(peer):
    """A request without :scheme is malformed."""
    malformed(peer, without(peer, ":scheme"))


@case("http2/8.1.2.3/4")
def no_path(peer):
    """A request without :path is malformed."""
    malformed(peer, without(peer, ":path"))


@case("http2/8.1.2.3/5")
def two_methods(peer):
    """A second :method is malformed."""
    malformed(peer, peer.fields(extra=[(":method", "GET")]))


@case("http2/8.1.2.3/6")
def two_schemes(peer):
    """A second :scheme is malformed."""
    malformed(peer, peer.fields(extra=[(":scheme", "http")]))


@case("http2/8.1.2.3/7")
def two_paths(peer):
    """A second :path is malformed."""
    malformed(peer, peer.fields(extra=[(":path", "/")]))


@case("http2/8.1.2.6/1")
def body_of_another_length(peer):
    """A body that is longer than its content-length is malformed."""
    peer.post([("content-length", "1")])
    peer.send_data()
    peer.expect_stream_error(Code.PROTOCOL_ERROR)


@case("http2/8.1.2.6/2")
def body_of_another_length_in_pieces(peer):
    """A body in several DATA frames that is longer than its content-length is malformed."""
    peer.post([("content-length", "1")])
    peer.send_data(end=False)
    peer.send_data()
    peer.expect_stream_error(Code.PROTOCOL_ERROR)


@case("http2/8.2/1")
def push_promise(peer):
    """PUSH_PROMISE from a client is a connection error."""
    peer.send_frame(Kind.PUSH_PROMISE, 0x4, 1, b"\x00\x00\x00\x03" + peer.encode(peer.fields()))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


def undecodable(peer, after=b"", before=b""):
    """A request whose block has these bytes more must be refused as undecodable."""
    peer.send_headers(before + peer.encode(peer.fields()) + after)
    peer.expect_connection_error(Code.COMPRESSION_ERROR)


@case("hpack/2.3.3/1")
def index_beyond_the_tables(peer):
    """An indexed field with an index beyond both tables (70) cannot be decoded."""
    undecodable(peer, after=b"\xc6")


@case("hpack/2.3.3/2")
def name_beyond_the_tables(peer):
    """A literal whose name has an index beyond both tables (70) cannot be decoded."""
    undecodable(peer, after=b"\x7f\x07\x00")


@case("hpack/4.2/1")
def late_table_size_update(peer):
    """An update of the table's size at the end of a block cannot be decoded."""
    undecodable(peer, after=b"\x21")


NEW_NAME = b"\x00\x85\xf2\xb2\x4a\x84\xff"  # a literal without indexing, named x-test


@case("hpack/5.2/1")
def huffman_padding_too_long(peer):
    """Huffman code with more than 7 bits of padding cannot be decoded."""
    undecodable(peer, after=NEW_NAME + b"\x84\x49\x50\x9f\xff")


@case("hpack/5.2/2")
def huffman_padding_of_zeros(peer):
    """Huffman code that is padded with zeros cannot be decoded."""
    undecodable(peer, after=NEW_NAME + b"\x83\x49\x50\x90")


@case("hpack/5.2/3")
def huffman_end_of_string(peer):
    """Huffman code that contains the end-of-string symbol cannot be decoded."""
    undecodable(peer, after=NEW_NAME + b"\x87\x49\x51\xff\xff\xff\xfa\x7f")


@case("hpack/6.1/1")
def index_zero(peer):
    """An indexed field with index 0 cannot be decoded."""
    undecodable(peer, after=b"\x80")


@case("hpack/6.3/1")
def table_size_too_large(peer):
    """An update of the table's size above SETTINGS_HEADER_TABLE_SIZE cannot be decoded."""
    update = hpack.hpack.encode_integer(peer.settings.get(Setting.HEADER_TABLE_SIZE, 4096) + 1, 5)
    update[0] |= 0x20
    undecodable(peer, before=bytes(update))
