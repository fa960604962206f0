"""What the conformance cases of h2spec need: a peer that may break every rule of HTTP/2, and the outcomes it accepts.

The cases are those of h2spec 2.6 (https://github.com/summerwind/h2spec) with their numbers, written anew. They stand in
`h2spec_generic.py`, `h2spec_connection.py`, `h2spec_frames.py` and `h2spec_messages.py`, and `test_h2_conformance.py` runs
them. Like h2spec, a case that expects an error is content with a closed connection: RFC 9113 (section 5.4.1) lets an endpoint
close without a GOAWAY. Where the bytes that h2spec sends contradict its own description, the description counts here.
"""

import contextlib
import socket
import struct
from enum import IntEnum, IntFlag
from typing import NamedTuple

import hpack
import wire

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WAIT_SECONDS = 2  # for each frame that is expected
DEFAULT_WINDOW = 65535
DEFAULT_FRAME_SIZE = 16384
LARGEST_WINDOW = 2**31 - 1


class Kind(IntEnum):
    """Frame types (RFC 9113, section 6)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag(IntFlag):
    """Frame flags; ACK and END_STREAM are the same bit on different frames."""

    ACK = 1
    END_STREAM = 1
    END_HEADERS = 4
    PADDED = 8
    PRIORITY = 32


class Setting(IntEnum):
    """Parameters of a SETTINGS frame."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Code(IntEnum):
    """Error codes (RFC 9113, section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Frame(NamedTuple):
    """A frame as it arrived."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    def __str__(self):
        name = Kind(self.kind).name if self.kind in list(Kind) else f"type {self.kind}"
        return f"{name} of {len(self.payload)} bytes on stream {self.stream}, flags {self.flags:#x}{self._error()}"

    def _error(self):
        return f", error code {self.code}" if self.kind in (Kind.RST_STREAM, Kind.GOAWAY) else ""

    @property
    def code(self):
        """The error code of a RST_STREAM or a GOAWAY."""
        return struct.unpack(">I", self.payload[-4:] if self.kind == Kind.RST_STREAM else self.payload[4:8])[0]

    @property
    def ack(self):
        return bool(self.flags & Flag.ACK)

    @property
    def ends_stream(self):
        return self.kind in (Kind.DATA, Kind.HEADERS) and bool(self.flags & Flag.END_STREAM)


# What `Peer.next` gives instead of a frame.
CLOSED = "connection closed"
SILENCE = f"nothing within {WAIT_SECONDS} s"

CASES = {}


class Case(NamedTuple):
    """One case: `run` takes a peer. Without `handshake` the peer has sent nothing yet."""

    run: object
    handshake: bool
    strict: bool


def case(number, handshake=True, strict=False):
    """Registers a function as the case of this number; h2spec runs a `strict` one only with --strict."""

    def register(run):
        assert number not in CASES, number
        assert run.__doc__, number
        CASES[number] = Case(run, handshake, strict)
        return run

    return register


def frame(kind, flags=0, stream=0, payload=b""):
    """The bytes of one frame; nothing is checked."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings_payload(*pairs):
    return b"".join(struct.pack(">HI", name, value) for name, value in pairs)


def priority_payload(depends_on=0, weight=255, exclusive=False):
    """`weight` as it is sent: one less than what is meant."""
    return struct.pack(">IB", depends_on | (exclusive << 31), weight)


def dummies(count, size=4000):
    """So many fields of that many bytes each."""
    return [(f"x-dummy{number}", "x" * size) for number in range(count)]


class Peer:
    """One connection of a client that sends whatever it is told to."""

    def __init__(self, port, handshake=True):
        self.sock = wire.connect(port, WAIT_SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.authority = f"127.0.0.1:{port}"
        self.encoder = hpack.Encoder()
        self.settings = {}  # the server's
        self.settings_came = False
        self.seen = []  # every frame since the handshake, for the message of a failure
        self.received = b""
        if handshake:
            self._shake_hands()

    def _shake_hands(self):
        self.send(PREFACE)
        self.send_settings((Setting.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW))
        acknowledged = False
        while not (acknowledged and self.settings_came):
            came = self.next()
            assert came not in (CLOSED, SILENCE), f"no handshake: {came}"
            if came.kind == Kind.SETTINGS and came.ack:
                acknowledged = True
        self.seen.clear()

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.close()

    # What it sends.

    def send(self, data):
        """Sends bytes. A server that has closed already is found out when its answer is read."""
        with contextlib.suppress(ConnectionError):
            self.sock.sendall(data)

    def send_frame(self, kind, flags=0, stream=0, payload=b""):
        self.send(frame(kind, flags, stream, payload))

    def fields(self, method="GET", extra=()):
        """The fields of a complete request."""
        pseudo = [(":method", method), (":scheme", "http"), (":path", "/"), (":authority", self.authority)]
        return [*pseudo, *extra]

    def encode(self, fields):
        return self.encoder.encode(fields)

    def send_headers(self, block, stream=1, end=True, complete=True, pad=None, priority=None):
        """A HEADERS frame with this block; without `complete`, CONTINUATION frames are to follow."""
        flags = (Flag.END_STREAM if end else 0) | (Flag.END_HEADERS if complete else 0)
        if priority is not None:
            flags, block = flags | Flag.PRIORITY, priority + block
        if pad is not None:
            flags, block = flags | Flag.PADDED, bytes([pad]) + block + bytes(pad)
        self.send_frame(Kind.HEADERS, flags, stream, block)

    def request(self, stream=1, fields=None, **options):
        """A HEADERS frame with these fields, else with those of a GET; options as for `send_headers`."""
        self.send_headers(self.encode(self.fields() if fields is None else fields), stream, **options)

    def post(self, extra=(), **options):
        """The head of a POST whose body follows."""
        self.request(fields=self.fields("POST", extra), end=False, **options)

    def send_continuation(self, block, stream=1, complete=True):
        self.send_frame(Kind.CONTINUATION, Flag.END_HEADERS if complete else 0, stream, block)

    def send_data(self, data=b"test", stream=1, end=True):
        self.send_frame(Kind.DATA, Flag.END_STREAM if end else 0, stream, data)

    def send_priority(self, stream=1, **priority):
        self.send_frame(Kind.PRIORITY, 0, stream, priority_payload(**priority))

    def send_reset(self, stream=1, code=Code.CANCEL):
        self.send_frame(Kind.RST_STREAM, 0, stream, struct.pack(">I", code))

    def send_settings(self, *pairs):
        self.send_frame(Kind.SETTINGS, 0, 0, settings_payload(*pairs))

    def send_ping(self, data=bytes(8), ack=False):
        self.send_frame(Kind.PING, Flag.ACK if ack else 0, 0, data)

    def send_goaway(self, code=Code.NO_ERROR, debug=b""):
        self.send_frame(Kind.GOAWAY, 0, 0, struct.pack(">II", 0, code) + debug)

    def send_window_update(self, increment, stream=0):
        self.send_frame(Kind.WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))

    # What it gets.

    def next(self):
        """The next frame, CLOSED or SILENCE. The server's SETTINGS are noted and acknowledged."""
        try:
            head = self._read(9)
            length = int.from_bytes(head[:3], "big")
            stream = int.from_bytes(head[5:], "big") & LARGEST_WINDOW
            came = Frame(head[3], head[4], stream, self._read(length))
        except TimeoutError:
            came = SILENCE
        except (ConnectionError, EOFError):
            came = CLOSED
        self.seen.append(came)
        if isinstance(came, Frame) and came.kind == Kind.SETTINGS and not came.ack:
            self._take_settings(came)
        return came

    def read_to_end(self):
        """All bytes until the server closes or resets the connection; a TimeoutError if it does neither."""
        with contextlib.suppress(ConnectionError):
            while data := self.sock.recv(65536):
                self.received += data
        return self.received

    def _take_settings(self, came):
        self.settings_came = True
        self.settings.update(struct.iter_unpack(">HI", came.payload))
        self.send_frame(Kind.SETTINGS, Flag.ACK)

    def _read(self, count):
        while len(self.received) < count:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self.received += data
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    @property
    def frame_size(self):
        """The largest frame that the server takes."""
        return self.settings.get(Setting.MAX_FRAME_SIZE, DEFAULT_FRAME_SIZE)

    # What it accepts.

    def expect(self, wanted, accept):
        """Reads until `accept` says True of what came; what it says False of, and a silence, are failures."""
        while True:
            came = self.next()
            verdict = accept(came)
            if verdict:
                return came
            if verdict is False or came in (CLOSED, SILENCE):
                raise AssertionError(f"expected {wanted}, got: {'; '.join(map(str, self.seen))}")

    def expect_first(self, kind, wanted, accept=lambda came: True):
        """The first frame of this kind must be acceptable; others before it do not matter."""
        return self.expect(wanted, lambda came: bool(accept(came)) if is_kind(came, kind) else None)

    def expect_close(self):
        self.expect(CLOSED, lambda came: came == CLOSED or None)

    def expect_connection_error(self, *codes):
        wanted = f"{CLOSED} or a GOAWAY with {names(codes)}"
        self.expect(wanted, lambda came: came == CLOSED or has_code(came, codes, Kind.GOAWAY))

    def expect_stream_error(self, *codes):
        wanted = f"{CLOSED}, or a RST_STREAM or GOAWAY with {names(codes)}"
        self.expect(wanted, lambda came: came == CLOSED or has_code(came, codes, Kind.GOAWAY, Kind.RST_STREAM))

    def expect_stream_end(self):
        self.expect(
            "the end of the stream",
            lambda came: isinstance(came, Frame) and (came.ends_stream or has_code(came, [Code.NO_ERROR], Kind.RST_STREAM)),
        )

    def expect_headers(self, stream=1):
        self.expect_first(Kind.HEADERS, f"HEADERS on stream {stream}", lambda came: came.stream == stream)

    def expect_data(self, length=None):
        self.expect_first(Kind.DATA, f"DATA of {length} bytes", lambda came: length in (None, len(came.payload)))

    def expect_settings_ack(self):
        self.expect_first(Kind.SETTINGS, "the acknowledgement of SETTINGS", lambda came: came.ack)

    def expect_pong(self, data=bytes(8)):
        self.expect_first(Kind.PING, f"the answer to PING {data}", lambda came: came.ack and came.payload == data)

    def expect_pong_or_close(self, data=bytes(8)):
        pong = lambda came: is_kind(came, Kind.PING) and came.ack and came.payload == data  # noqa: E731
        self.expect(f"the answer to PING {data}, or {CLOSED}", lambda came: came == CLOSED or pong(came) or None)


def is_kind(came, *kinds):
    return isinstance(came, Frame) and came.kind in kinds


def has_code(came, codes, *kinds):
    """True where it has one of the codes; None otherwise, so that reading goes on."""
    return (is_kind(came, *kinds) and came.code in codes) or None


def names(codes):
    return " or ".join(Code(code).name for code in codes)
