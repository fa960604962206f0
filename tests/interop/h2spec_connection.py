"""http2/3 to http2/5: the preface, the format of frames, streams and their states."""

import pytest
from h2spec import (
    DEFAULT_WINDOW,
    PREFACE,
    Code,
    Kind,
    Setting,
    case,
    dummies,
    is_kind,
    priority_payload,
)

UNKNOWN = 0x16  # a frame type, and flags, that RFC 9113 does not define


@case("http2/3.5/1", handshake=False)
def settings_come_first(peer):
    """The first frame of the server is SETTINGS."""
    peer.send(PREFACE)
    peer.send_settings((Setting.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW))
    peer.expect("SETTINGS, first of all", lambda came: is_kind(came, Kind.SETTINGS) and not came.ack)


@case("http2/3.5/2", handshake=False)
def invalid_preface(peer):
    """An invalid preface ends the connection.

    A listener that also speaks HTTP/1.1 may answer 400 first. h2spec itself reads that answer as a frame, and fails here.
    """
    peer.send(b"INVALID CONNECTION PREFACE\r\n\r\n")
    answer = peer.read_to_end()
    assert not answer or answer.startswith(b"HTTP/1.1 400 ") or answer[3] == Kind.GOAWAY, answer


@case("http2/4.1/1")
def unknown_frame_type(peer):
    """A frame of an unknown type is ignored."""
    peer.send_frame(UNKNOWN, payload=bytes(8))
    peer.send_ping()
    peer.expect_pong()


@case("http2/4.1/2")
def undefined_flags(peer):
    """Undefined flags are ignored."""
    peer.send_frame(Kind.PING, UNKNOWN, 0, bytes(8))
    peer.expect_first(Kind.PING, "a PING")


@case("http2/4.1/3")
def reserved_bit(peer):
    """The reserved bit of a frame's head is ignored."""
    peer.send_frame(Kind.PING, UNKNOWN, 1 << 31, bytes(8))
    peer.expect_first(Kind.PING, "a PING")


@case("http2/4.2/1")
def largest_data_frame(peer):
    """A DATA frame of the largest size that the server takes is accepted."""
    peer.post()
    peer.send_data(b"x" * peer.frame_size)
    peer.expect_headers()


@case("http2/4.2/2")
def data_frame_too_large(peer):
    """A DATA frame above SETTINGS_MAX_FRAME_SIZE is a stream error."""
    peer.post()
    peer.send_data(b"x" * (peer.frame_size + 1))
    peer.expect_stream_error(Code.FRAME_SIZE_ERROR)


@case("http2/4.2/3")
def headers_frame_too_large(peer):
    """A HEADERS frame above SETTINGS_MAX_FRAME_SIZE is a connection error."""
    peer.request(fields=peer.fields(extra=dummies(peer.frame_size // 3500 + 1)))
    peer.expect_connection_error(Code.FRAME_SIZE_ERROR)


@case("http2/4.3/1")
def invalid_header_block(peer):
    """A header block that cannot be decoded is a connection error."""
    peer.send_headers(b"\x40")
    peer.expect_connection_error(Code.COMPRESSION_ERROR)


@case("http2/4.3/2")
def priority_within_a_header_block(peer):
    """PRIORITY within a header block is a connection error."""
    peer.request(end=False, complete=False)
    peer.send_priority()
    peer.send_continuation(peer.encode(dummies(1)))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/4.3/3")
def another_stream_within_a_header_block(peer):
    """HEADERS of another stream within a header block is a connection error."""
    peer.request(end=False, complete=False)
    peer.request(stream=3)
    peer.send_continuation(peer.encode(dummies(1)))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/5.1/1")
def data_on_an_idle_stream(peer):
    """DATA on an idle stream is an error; RFC 9113 has it as both PROTOCOL_ERROR (5.1) and STREAM_CLOSED (6.1)."""
    peer.send_data()
    peer.expect_stream_error(Code.PROTOCOL_ERROR, Code.STREAM_CLOSED)


@case("http2/5.1/2")
def reset_of_an_idle_stream(peer):
    """RST_STREAM on an idle stream is a connection error."""
    peer.send_reset()
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/5.1/3")
def window_update_of_an_idle_stream(peer):
    """WINDOW_UPDATE on an idle stream is a connection error."""
    peer.send_window_update(100, stream=1)
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/5.1/4")
def continuation_on_an_idle_stream(peer):
    """CONTINUATION on an idle stream is a connection error."""
    peer.send_continuation(peer.encode(peer.fields()))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/5.1/5")
def data_on_a_half_closed_stream(peer):
    """DATA after END_STREAM is a stream error."""
    peer.request()
    peer.send_data()
    peer.expect_stream_error(Code.STREAM_CLOSED)


@case("http2/5.1/6")
def headers_on_a_half_closed_stream(peer):
    """HEADERS after END_STREAM is a stream error."""
    peer.request()
    peer.request()
    peer.expect_stream_error(Code.STREAM_CLOSED)


@case("http2/5.1/7")
def continuation_on_a_half_closed_stream(peer):
    """CONTINUATION after END_STREAM and END_HEADERS is an error."""
    peer.request()
    peer.send_continuation(peer.encode(peer.fields()))
    peer.expect_stream_error(Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)


@case("http2/5.1/8")
def data_after_a_reset(peer):
    """DATA after one's own RST_STREAM is a stream error."""
    peer.request(end=False)
    peer.send_reset()
    peer.send_data()
    peer.expect_stream_error(Code.STREAM_CLOSED)


@case("http2/5.1/9")
def headers_after_a_reset(peer):
    """HEADERS after one's own RST_STREAM is a stream error."""
    peer.request(end=False)
    peer.send_reset()
    peer.request()
    peer.expect_stream_error(Code.STREAM_CLOSED)


@case("http2/5.1/10")
def continuation_after_a_reset(peer):
    """CONTINUATION after one's own RST_STREAM is an error."""
    peer.request(end=False)
    peer.send_reset()
    peer.send_continuation(peer.encode(dummies(1)))
    peer.expect_stream_error(Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)


@case("http2/5.1/11")
def data_on_a_closed_stream(peer):
    """DATA on a stream that both sides have ended is an error."""
    peer.request()
    peer.expect_stream_end()
    peer.send_data()
    peer.expect_stream_error(Code.STREAM_CLOSED)


@case("http2/5.1/12")
def headers_on_a_closed_stream(peer):
    """HEADERS on a stream that both sides have ended is a connection error."""
    peer.request()
    peer.expect_stream_end()
    peer.request()
    peer.expect_connection_error(Code.STREAM_CLOSED)


@case("http2/5.1/13")
def continuation_on_a_closed_stream(peer):
    """CONTINUATION on a stream that both sides have ended is a connection error."""
    peer.request()
    peer.expect_stream_end()
    peer.send_continuation(peer.encode(dummies(1)))
    peer.expect_connection_error(Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)


@case("http2/5.1.1/1")
def even_stream(peer):
    """A client's stream with an even number is a connection error."""
    peer.request(stream=2)
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/5.1.1/2")
def stream_below_the_last_one(peer):
    """A new stream below an older one is a connection error."""
    peer.request(stream=5)
    peer.request(stream=3)
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/5.1.2/1")
def too_many_streams(peer):
    """One stream more than SETTINGS_MAX_CONCURRENT_STREAMS is a stream error."""
    if Setting.MAX_CONCURRENT_STREAMS not in peer.settings:
        pytest.skip("the server has no such limit")
    peer.send_settings((Setting.INITIAL_WINDOW_SIZE, 0))  # so that no stream ends
    for number in range(peer.settings[Setting.MAX_CONCURRENT_STREAMS] + 1):
        peer.request(stream=2 * number + 1)
    peer.expect_stream_error(Code.PROTOCOL_ERROR, Code.REFUSED_STREAM)


@case("http2/5.3.1/1")
def headers_that_depend_on_themselves(peer):
    """HEADERS that depends on its own stream is a stream error."""
    peer.request(priority=priority_payload(depends_on=1))
    peer.expect_stream_error(Code.PROTOCOL_ERROR)


@case("http2/5.3.1/2")
def priority_that_depends_on_itself(peer):
    """PRIORITY that depends on its own stream is a stream error."""
    peer.send_priority(depends_on=1)
    peer.expect_stream_error(Code.PROTOCOL_ERROR)


@case("http2/5.4.1/1")
def a_connection_error_closes(peer):
    """After a connection error the connection is closed."""
    peer.send_frame(Kind.PING, 0, 3, bytes(8))
    peer.expect_close()


@case("http2/5.4.1/2", strict=True)
def a_connection_error_is_announced(peer):
    """A connection error is announced with GOAWAY."""
    peer.send_frame(Kind.PING, 0, 3, bytes(8))
    peer.expect_first(Kind.GOAWAY, "a GOAWAY")


@case("http2/5.5/1")
def unknown_extension(peer):
    """A frame of an unknown extension is ignored."""
    peer.send_frame(UNKNOWN, payload=bytes(8))
    peer.send_ping()
    peer.expect_pong()


@case("http2/5.5/2")
def unknown_extension_within_a_header_block(peer):
    """A frame of an unknown extension within a header block is a connection error."""
    peer.request(complete=False)
    peer.send_frame(UNKNOWN, payload=bytes(8))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)
