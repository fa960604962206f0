"""http2/6: each type of frame, and what is wrong with it."""

from h2spec import LARGEST_WINDOW, Code, Kind, Setting, case, dummies, settings_payload

HELLO = b"h2spec\0\0"


@case("http2/6.1/1")
def data_on_stream_zero(peer):
    """DATA on stream 0 is a connection error."""
    peer.send_data(stream=0)
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.1/2")
def data_after_the_end(peer):
    """DATA on a stream that is neither open nor half-closed (local) is a stream error."""
    peer.request(fields=peer.fields("POST"))
    peer.send_data()
    peer.expect_stream_error(Code.STREAM_CLOSED)


@case("http2/6.1/3")
def data_with_too_much_padding(peer):
    """DATA whose padding is longer than its payload is a connection error."""
    peer.post([("content-length", "4")])
    peer.send_frame(Kind.DATA, 0x9, 1, b"\x06test")
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.2/1")
def priority_instead_of_continuation(peer):
    """PRIORITY after HEADERS without END_HEADERS is a connection error."""
    peer.request(end=False, complete=False)
    peer.send_priority()
    peer.send_continuation(peer.encode(dummies(1)))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.2/2")
def another_stream_instead_of_continuation(peer):
    """HEADERS of another stream after HEADERS without END_HEADERS is a connection error."""
    peer.request(end=False, complete=False)
    peer.request(stream=3)
    peer.send_continuation(peer.encode(dummies(1)))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.2/3")
def headers_on_stream_zero(peer):
    """HEADERS on stream 0 is a connection error."""
    peer.request(stream=0)
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.2/4")
def headers_with_too_much_padding(peer):
    """HEADERS whose padding is longer than its payload is an error."""
    block = peer.encode(peer.fields())
    peer.send_frame(Kind.HEADERS, 0xD, 1, bytes([len(block) + 2]) + block)
    peer.expect_stream_error(Code.PROTOCOL_ERROR)


@case("http2/6.3/1")
def priority_on_stream_zero(peer):
    """PRIORITY on stream 0 is a connection error."""
    peer.send_priority(stream=0)
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.3/2")
def priority_of_a_wrong_size(peer):
    """PRIORITY that is not 5 bytes long is a stream error."""
    peer.request()
    peer.send_frame(Kind.PRIORITY, 0, 1, b"\x80\x00\x00\x01")
    peer.expect_stream_error(Code.FRAME_SIZE_ERROR)


@case("http2/6.4/1")
def reset_of_stream_zero(peer):
    """RST_STREAM on stream 0 is a connection error."""
    peer.send_reset(stream=0)
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.4/2")
def reset_of_an_idle_stream(peer):
    """RST_STREAM on an idle stream is a connection error."""
    peer.send_reset()
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.4/3")
def reset_of_a_wrong_size(peer):
    """RST_STREAM that is not 4 bytes long is an error."""
    peer.request()
    peer.send_frame(Kind.RST_STREAM, 0, 1, bytes(3))
    peer.expect_stream_error(Code.FRAME_SIZE_ERROR)


@case("http2/6.5/1")
def acknowledgement_with_a_payload(peer):
    """A SETTINGS acknowledgement with a payload is a connection error."""
    peer.send_frame(Kind.SETTINGS, 1, 0, bytes(1))
    peer.expect_connection_error(Code.FRAME_SIZE_ERROR)


@case("http2/6.5/2")
def settings_on_a_stream(peer):
    """SETTINGS on a stream other than 0 is a connection error."""
    peer.send_frame(Kind.SETTINGS, 0, 1, settings_payload((Setting.MAX_CONCURRENT_STREAMS, 100)))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.5/3")
def settings_of_a_wrong_size(peer):
    """SETTINGS whose length is not a multiple of 6 bytes is an error."""
    peer.send_frame(Kind.SETTINGS, 0, 0, b"\x00\x03\x00")
    peer.expect_stream_error(Code.PROTOCOL_ERROR, Code.FRAME_SIZE_ERROR)


@case("http2/6.5.2/1")
def enable_push_of_two(peer):
    """SETTINGS_ENABLE_PUSH other than 0 and 1 is a connection error."""
    peer.send_settings((Setting.ENABLE_PUSH, 2))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.5.2/2")
def initial_window_too_large(peer):
    """SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1 is a connection error."""
    peer.send_settings((Setting.INITIAL_WINDOW_SIZE, LARGEST_WINDOW + 1))
    peer.expect_connection_error(Code.FLOW_CONTROL_ERROR)


@case("http2/6.5.2/3")
def frame_size_too_small(peer):
    """SETTINGS_MAX_FRAME_SIZE below 2^14 is a connection error."""
    peer.send_settings((Setting.MAX_FRAME_SIZE, 2**14 - 1))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.5.2/4")
def frame_size_too_large(peer):
    """SETTINGS_MAX_FRAME_SIZE above 2^24-1 is a connection error."""
    peer.send_settings((Setting.MAX_FRAME_SIZE, 2**24))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.5.2/5")
def unknown_setting(peer):
    """A setting with an unknown identifier is ignored."""
    peer.send_settings((0xFF, 1))
    peer.send_ping()
    peer.expect_pong()


@case("http2/6.5.3/1")
def the_last_of_several_values_counts(peer):
    """Of several values of one setting in a frame the last one counts."""
    peer.send_settings((Setting.INITIAL_WINDOW_SIZE, 100), (Setting.INITIAL_WINDOW_SIZE, 1))
    peer.expect_settings_ack()
    peer.request()
    peer.expect_data(1)


@case("http2/6.5.3/2")
def settings_are_acknowledged(peer):
    """SETTINGS is acknowledged at once."""
    peer.send_settings((Setting.ENABLE_PUSH, 0))
    peer.expect_settings_ack()


@case("http2/6.7/1")
def ping(peer):
    """PING is answered with the same payload."""
    peer.send_ping(HELLO)
    peer.expect_pong(HELLO)


@case("http2/6.7/2")
def ping_acknowledgement(peer):
    """A PING acknowledgement is not answered."""
    peer.send_ping(b"invalid\0", ack=True)
    peer.send_ping(HELLO)
    peer.expect_pong(HELLO)


@case("http2/6.7/3")
def ping_on_a_stream(peer):
    """PING on a stream other than 0 is a connection error."""
    peer.send_frame(Kind.PING, 0, 1, bytes(8))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.7/4")
def ping_of_a_wrong_size(peer):
    """PING that is not 8 bytes long is a connection error."""
    peer.send_frame(Kind.PING, 0, 0, bytes(6))
    peer.expect_connection_error(Code.FRAME_SIZE_ERROR)


@case("http2/6.8/1")
def goaway_on_a_stream(peer):
    """GOAWAY on a stream other than 0 is a connection error."""
    peer.send_frame(Kind.GOAWAY, 0, 1, bytes(8))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.9/1")
def window_update_of_zero(peer):
    """WINDOW_UPDATE by 0 on the connection is a connection error."""
    peer.send_window_update(0)
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.9/2")
def window_update_of_zero_on_a_stream(peer):
    """WINDOW_UPDATE by 0 on a stream is a stream error."""
    peer.request(end=False)
    peer.send_window_update(0, stream=1)
    peer.expect_stream_error(Code.PROTOCOL_ERROR)


@case("http2/6.9/3")
def window_update_of_a_wrong_size(peer):
    """WINDOW_UPDATE that is not 4 bytes long is a connection error."""
    peer.send_frame(Kind.WINDOW_UPDATE, 0, 0, b"\x00\x00\x01")
    peer.expect_connection_error(Code.FRAME_SIZE_ERROR)


@case("http2/6.9.1/1")
def the_window_is_respected(peer):
    """No DATA frame is larger than the stream's window."""
    peer.send_settings((Setting.INITIAL_WINDOW_SIZE, 1))
    peer.expect_settings_ack()
    peer.request()
    peer.expect_data(1)


@case("http2/6.9.1/2")
def window_of_the_connection_too_large(peer):
    """WINDOW_UPDATE frames that raise the connection's window above 2^31-1 are a connection error."""
    peer.send_window_update(LARGEST_WINDOW)
    peer.send_window_update(LARGEST_WINDOW)
    peer.expect_first(Kind.GOAWAY, "GOAWAY with FLOW_CONTROL_ERROR", lambda came: came.code == Code.FLOW_CONTROL_ERROR)


@case("http2/6.9.1/3")
def window_of_a_stream_too_large(peer):
    """WINDOW_UPDATE frames that raise a stream's window above 2^31-1 are a stream error."""
    peer.request(end=False)
    peer.send_window_update(LARGEST_WINDOW, stream=1)
    peer.send_window_update(LARGEST_WINDOW, stream=1)
    peer.expect_first(
        Kind.RST_STREAM,
        "RST_STREAM with FLOW_CONTROL_ERROR on stream 1",
        lambda came: (came.stream, came.code) == (1, Code.FLOW_CONTROL_ERROR),
    )


@case("http2/6.9.2/1")
def new_initial_window(peer):
    """A new SETTINGS_INITIAL_WINDOW_SIZE changes the window of a stream that is open already."""
    peer.send_settings((Setting.INITIAL_WINDOW_SIZE, 0))
    peer.expect_settings_ack()
    peer.request()
    peer.send_settings((Setting.INITIAL_WINDOW_SIZE, 1))
    peer.expect_data(1)


@case("http2/6.9.2/2")
def negative_window(peer):
    """A window that became negative sends nothing until it is positive again."""
    peer.send_settings((Setting.INITIAL_WINDOW_SIZE, 3))
    peer.expect_settings_ack()
    peer.request()
    peer.expect_data()
    peer.send_settings((Setting.INITIAL_WINDOW_SIZE, 2))
    peer.expect_settings_ack()
    peer.send_window_update(2, stream=1)
    peer.expect_data(1)


@case("http2/6.9.2/3")
def new_initial_window_too_large(peer):
    """A new SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1 is a connection error."""
    peer.send_frame(Kind.SETTINGS, 0, 0, b"\x00\x04\x80\x00\x00\x00")
    peer.expect_connection_error(Code.FLOW_CONTROL_ERROR)


@case("http2/6.10/1")
def several_continuations(peer):
    """Several CONTINUATION frames after HEADERS are accepted."""
    peer.request(complete=False)
    peer.send_continuation(peer.encode(dummies(1)), complete=False)
    peer.send_continuation(peer.encode(dummies(1)))
    peer.expect_headers()


@case("http2/6.10/2")
def data_instead_of_continuation(peer):
    """DATA after CONTINUATION without END_HEADERS is a connection error."""
    peer.post(complete=False)
    peer.send_continuation(peer.encode(dummies(1)), complete=False)
    peer.send_data()
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.10/3")
def continuation_on_stream_zero(peer):
    """CONTINUATION on stream 0 is a connection error."""
    peer.request(complete=False)
    peer.send_continuation(peer.encode(dummies(1)), stream=0)
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.10/4")
def continuation_after_complete_headers(peer):
    """CONTINUATION after HEADERS with END_HEADERS is a connection error."""
    peer.request()
    peer.send_continuation(peer.encode(dummies(1)))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.10/5")
def continuation_after_a_complete_continuation(peer):
    """CONTINUATION after CONTINUATION with END_HEADERS is a connection error."""
    peer.request(complete=False)
    peer.send_continuation(peer.encode(dummies(1)))
    peer.send_continuation(peer.encode(dummies(1)))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@case("http2/6.10/6")
def continuation_after_data(peer):
    """CONTINUATION after DATA is a connection error."""
    peer.post(complete=False)
    peer.send_data()
    peer.send_continuation(peer.encode(dummies(1)), complete=False)
    peer.send_continuation(peer.encode(dummies(1)), stream=0)
    peer.expect_connection_error(Code.PROTOCOL_ERROR)
