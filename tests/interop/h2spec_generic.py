"""generic/*: what every HTTP/2 server must accept."""

from h2spec import (
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
    PREFACE,
    Code,
    Kind,
    Setting,
    case,
    is_kind,
    priority_payload,
)

HELLO = b"h2spec\0\0"


@case("generic/1/1", handshake=False)
def connection_preface(peer):
    """The preface is answered with SETTINGS."""
    peer.send(PREFACE)
    peer.send_settings((Setting.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW))
    peer.expect("SETTINGS, first of all", lambda came: is_kind(came, Kind.SETTINGS) and not came.ack)


@case("generic/2/1")
def priority_on_an_idle_stream(peer):
    """PRIORITY is accepted on an idle stream."""
    peer.send_priority()
    peer.send_ping()
    peer.expect_pong()


@case("generic/2/2")
def window_update_on_a_half_closed_stream(peer):
    """WINDOW_UPDATE is accepted on a stream that the client has ended, and lets the body go on."""
    peer.send_settings((Setting.INITIAL_WINDOW_SIZE, 0))
    peer.request()
    peer.send_window_update(1, stream=1)
    peer.expect_data()


@case("generic/2/3")
def priority_on_a_half_closed_stream(peer):
    """PRIORITY is accepted on a stream that the client has ended."""
    peer.send_settings((Setting.INITIAL_WINDOW_SIZE, 0))
    peer.request()
    peer.send_priority()
    peer.send_window_update(1, stream=1)
    peer.expect_data()


@case("generic/2/4")
def reset_of_a_half_closed_stream(peer):
    """RST_STREAM is accepted on a stream that the client has ended."""
    peer.request()
    peer.send_reset()
    peer.send_ping()
    peer.expect_pong_or_close()


@case("generic/2/5")
def priority_on_a_closed_stream(peer):
    """PRIORITY is accepted on a closed stream."""
    peer.request()
    peer.expect_stream_end()
    peer.send_priority()
    peer.send_ping()
    peer.expect_pong()


@case("generic/3.1/1")
def data(peer):
    """A body in one DATA frame is accepted."""
    peer.post()
    peer.send_data()
    peer.expect_headers()


@case("generic/3.1/2")
def several_data_frames(peer):
    """A body in several DATA frames is accepted."""
    peer.post()
    peer.send_data(end=False)
    peer.send_data()
    peer.expect_headers()


@case("generic/3.1/3")
def padded_data(peer):
    """A DATA frame with padding is accepted."""
    peer.post()
    peer.send_frame(Kind.DATA, 0x9, 1, b"\x05test" + bytes(5))
    peer.expect_headers()


@case("generic/3.2/1")
def headers(peer):
    """A HEADERS frame is accepted."""
    peer.request()
    peer.expect_headers()


@case("generic/3.2/2")
def padded_headers(peer):
    """A HEADERS frame with padding is accepted."""
    peer.request(pad=8)
    peer.expect_headers()


@case("generic/3.2/3")
def headers_with_priority(peer):
    """A HEADERS frame with a priority is accepted."""
    peer.request(priority=priority_payload())
    peer.expect_headers()


@case("generic/3.3/1")
def lowest_priority(peer):
    """PRIORITY with weight 1 is accepted."""
    peer.send_priority(weight=0)
    peer.request()
    peer.expect_headers()


@case("generic/3.3/2")
def highest_priority(peer):
    """PRIORITY with weight 256 is accepted."""
    peer.send_priority(weight=255)
    peer.request()
    peer.expect_headers()


@case("generic/3.3/3")
def priority_with_a_dependency(peer):
    """PRIORITY that depends on another stream is accepted."""
    peer.send_priority(stream=3, depends_on=1, weight=0)
    peer.request()
    peer.expect_headers()


@case("generic/3.3/4")
def exclusive_priority(peer):
    """PRIORITY with an exclusive dependency is accepted."""
    peer.send_priority(weight=0, exclusive=True)
    peer.request()
    peer.expect_headers()


@case("generic/3.3/5")
def priority_does_not_open_a_stream(peer):
    """After PRIORITY for an idle stream, a request on a lower stream is still answered."""
    peer.send_priority(stream=3)
    peer.request(stream=1)
    peer.expect_headers()


@case("generic/3.4/1")
def reset(peer):
    """RST_STREAM is accepted on an open stream."""
    peer.request(end=False)
    peer.send_reset()
    peer.send_ping()
    peer.expect_pong_or_close()


@case("generic/3.5/1")
def settings(peer):
    """SETTINGS with every parameter is acknowledged."""
    peer.send_settings(
        (Setting.HEADER_TABLE_SIZE, 4096),
        (Setting.ENABLE_PUSH, 1),
        (Setting.MAX_CONCURRENT_STREAMS, 100),
        (Setting.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW),
        (Setting.MAX_FRAME_SIZE, DEFAULT_FRAME_SIZE),
        (Setting.MAX_HEADER_LIST_SIZE, 100),
    )
    peer.expect_settings_ack()


@case("generic/3.7/1")
def ping(peer):
    """PING is answered with the same payload."""
    peer.send_ping(HELLO)
    peer.expect_pong(HELLO)


@case("generic/3.8/1")
def goaway(peer):
    """GOAWAY is accepted: the connection goes on or is closed."""
    peer.send_goaway(Code.NO_ERROR, b"h2spec")
    peer.send_ping(HELLO)
    peer.expect_pong_or_close(HELLO)


@case("generic/3.9/1")
def window_update_of_the_connection(peer):
    """WINDOW_UPDATE is accepted on stream 0."""
    peer.send_window_update(1)
    peer.send_ping()
    peer.expect_pong()


@case("generic/3.9/2")
def window_update_of_a_stream(peer):
    """WINDOW_UPDATE is accepted on an open stream."""
    peer.request()
    peer.send_window_update(1, stream=1)
    peer.expect_headers()


@case("generic/3.10/1")
def continuation(peer):
    """A head in HEADERS and CONTINUATION is accepted."""
    block = peer.encode(peer.fields())
    peer.send_headers(block[:5], complete=False)
    peer.send_continuation(block[5:])
    peer.expect_headers()


@case("generic/3.10/2")
def several_continuations(peer):
    """A head in HEADERS and several CONTINUATION frames is accepted."""
    block = peer.encode(peer.fields())
    peer.send_headers(block[:5], complete=False)
    peer.send_continuation(block[5:10], complete=False)
    peer.send_continuation(block[10:])
    peer.expect_headers()


@case("generic/4/1")
def get(peer):
    """A GET is answered."""
    peer.request()
    peer.expect_headers()


@case("generic/4/2")
def head(peer):
    """A HEAD is answered."""
    peer.request(fields=peer.fields("HEAD"))
    peer.expect_headers()


@case("generic/4/3")
def post(peer):
    """A POST is answered."""
    peer.post()
    peer.send_data()
    peer.expect_headers()


@case("generic/4/4")
def post_with_trailers(peer):
    """A POST whose body is followed by trailers is answered."""
    peer.post([("trailer", "x-test")])
    peer.send_data(end=False)
    peer.request(fields=[("x-test", "ok")])
    peer.expect_headers()


# Fields as HPACK can write them (RFC 7541, section 6): the name from the static table (58: user-agent) or new (x-test), the
# value (h2spec) plain or Huffman-coded.
PLAIN_NAME, CODED_NAME = b"\x06x-test", b"\x85\xf2\xb2\x4a\x84\xff"
PLAIN_VALUE, CODED_VALUE = b"\x06h2spec", b"\x84\x9c\x48\xac\xa4"
REPRESENTATIONS = [
    ("an indexed field", b"\xba"),
    ("a literal with incremental indexing and an indexed name", b"\x7a" + PLAIN_VALUE),
    ("a literal with incremental indexing and an indexed name, Huffman-coded", b"\x7a" + CODED_VALUE),
    ("a literal with incremental indexing and a new name", b"\x40" + PLAIN_NAME + PLAIN_VALUE),
    ("a literal with incremental indexing and a new name, Huffman-coded", b"\x40" + CODED_NAME + CODED_VALUE),
    ("a literal without indexing and with an indexed name", b"\x0f\x2b" + PLAIN_VALUE),
    ("a literal without indexing and with an indexed name, Huffman-coded", b"\x0f\x2b" + CODED_VALUE),
    ("a literal without indexing and with a new name", b"\x00" + PLAIN_NAME + PLAIN_VALUE),
    ("a literal without indexing and with a new name, Huffman-coded", b"\x00" + CODED_NAME + CODED_VALUE),
    ("a never indexed literal with an indexed name", b"\x1f\x2b" + PLAIN_VALUE),
    ("a never indexed literal with an indexed name, Huffman-coded", b"\x1f\x2b" + CODED_VALUE),
    ("a never indexed literal with a new name", b"\x10" + PLAIN_NAME + PLAIN_VALUE),
    ("a never indexed literal with a new name, Huffman-coded", b"\x10" + CODED_NAME + CODED_VALUE),
]


def representation_is_accepted(description, written):
    def run(peer):
        peer.send_headers(peer.encode(peer.fields()) + written)
        peer.expect_headers()

    run.__doc__ = f"A head with {description} is accepted."
    return run


for number, (description, written) in enumerate(REPRESENTATIONS, start=1):
    case(f"generic/5/{number}")(representation_is_accepted(description, written))


@case("generic/5/14")
def table_size_update(peer):
    """A head that begins with an update of the dynamic table's size is accepted."""
    peer.encoder.header_table_size = 128
    peer.request()
    peer.expect_headers()


@case("generic/5/15")
def several_table_size_updates(peer):
    """A head that begins with two updates of the dynamic table's size (128, then 4096) is accepted."""
    peer.send_headers(b"\x3f\x61\x3f\xe1\x1f" + peer.encode(peer.fields()))
    peer.expect_headers()
