"""Bodies by hand: every piece with the time at which it came, how the stream ended, and nothing hidden by a library.

`fetch` does one exchange; `H1` and `H2` are connections for more. A connection is plain, or TLS done in memory over a raw
socket: Python's own `ssl.SSLSocket` reports a RST as an end of file, here the two can be told apart.
"""

import contextlib
import select
import socket
import ssl
import time
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

RECEIVE = 65536
WINDOW = 1 << 20  # what an HTTP/2 client of ours lets the server have under way, for each stream and for all


@dataclass
class Received:
    """One response, as far as it came."""

    status: int | None = None
    version: str = ""
    headers: list = field(default_factory=list)
    head: bytes = b""
    body: bytearray = field(default_factory=bytearray)
    trailers: list = field(default_factory=list)
    interim: list = field(default_factory=list)  # the statuses of interim responses
    pieces: list = field(default_factory=list)  # (when, how many bytes of body)
    head_at: float | None = None
    sent_at: float = 0.0
    upload: list = field(default_factory=list)  # (when, how many bytes of the request's body had been written)
    # "complete", "fin" and "reset" (the connection ended first), "RST_STREAM 8", "malformed: why"; None: still open
    end: str | None = None

    def header(self, name):
        """The values of a field, joined as RFC 9110 (section 5.3) allows; None where there is none."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    def injected(self):
        """The values of Squall-Fault that announce what is injected, and not what is skipped."""
        values = [value for key, value in self.headers if key.lower() == "squall-fault"]
        return [value for value in values if "skipped=" not in value]

    def gaps(self):
        """Seconds between neighbouring pieces."""
        times = [when for when, _ in self.pieces]
        return [late - early for early, late in zip(times, times[1:], strict=False)]


class Link:
    """A socket that never blocks, with or without TLS over it, that keeps the order in which its ends came."""

    def __init__(self, port, tls=None, receive_buffer=None):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(30)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.ends = []  # of "close_notify", "fin", "reset", in the order in which they were seen
        self.was_reset = False  # a write has met the RST already
        self.out = bytearray()
        self.tls = None
        if tls:
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = tls.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
            self._shake_hands()

    def _shake_hands(self):
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.out += self.outgoing.read()
                data = self._receive(30)
                if self.ends:
                    raise ConnectionError(f"the handshake ended: {self.ends}") from None
                self.incoming.write(data)
        self.out += self.outgoing.read()

    def write(self, data):
        """Queues bytes; `read` sends them."""
        if self.tls:
            self.tls.write(data)
            self.out += self.outgoing.read()
        else:
            self.out += data

    def read(self, seconds):
        """What has come within that time; empty at the time's end, and when `ends` says more."""
        data = self._receive(seconds)
        if not self.tls or not data:
            return data
        self.incoming.write(data)
        plain = bytearray()
        try:
            while piece := self.tls.read(RECEIVE):
                plain += piece
            self._ended("close_notify")
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._ended("close_notify")
        return bytes(plain)

    def _receive(self, seconds):
        deadline = time.monotonic() + seconds
        while True:
            self._send()
            left = max(0.0, deadline - time.monotonic())
            readable, writable, _ = select.select([self.sock], [self.sock] if self.out else [], [], left)
            if readable:
                try:
                    data = self.sock.recv(RECEIVE)
                except ConnectionResetError:
                    self._ended("reset")
                    return b""
                except BlockingIOError:
                    continue
                if not data:
                    self._ended("reset" if self.was_reset else "fin")
                return data
            if not writable:
                return b""

    def _send(self):
        if self.out:
            try:
                sent = self.sock.send(memoryview(self.out)[:RECEIVE])
                del self.out[:sent]
            except BlockingIOError:
                pass
            except ConnectionResetError:
                self.out.clear()
                self.was_reset = True  # what has been received before can still be read
            except BrokenPipeError:
                self.out.clear()

    def _ended(self, how):
        if how not in self.ends:
            self.ends.append(how)

    @property
    def over(self):
        """"fin" or "reset", once the connection has ended."""
        return next((end for end in self.ends if end != "close_notify"), None)

    def finish(self):
        """Sends what is queued, then closes the sending side."""
        self.sock.setblocking(True)
        self.sock.sendall(self.out)
        self.out.clear()
        self.sock.setblocking(False)
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.close()


class H1:
    """An HTTP/1.1 connection: one exchange after the other."""

    def __init__(self, port, tls=None, receive_buffer=None):
        self.link = Link(port, tls, receive_buffer)
        self.rest = b""

    def exchange(self, path="/", method="GET", headers=(), body=None, seconds=30.0, chunked=False, until=None):
        """Sends a request and reads its response: to its end, for so long, or until it satisfies `until`."""
        self.send(path, method, headers, body, chunked)
        return self.receive(method, seconds, until)

    def send(self, path="/", method="GET", headers=(), body=None, chunked=False):
        lines = [f"{method} {path} HTTP/1.1", "Host: test", *(f"{name}: {value}" for name, value in headers)]
        if body is not None:
            lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}")
        self.link.write("\r\n".join([*lines, "", ""]).encode())
        if body is not None and chunked:
            for start in range(0, len(body), RECEIVE):
                piece = body[start : start + RECEIVE]
                self.link.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.link.write(b"0\r\n\r\n")
        elif body:
            self.link.write(body)

    def receive(self, method="GET", seconds=30.0, until=None):
        answer = Received(sent_at=time.monotonic())
        self.parser = Parser(answer, method)
        self.parser.feed(self.rest)
        self.rest = b""
        deadline = time.monotonic() + seconds
        while answer.end is None and time.monotonic() < deadline and not (until and until(answer)):
            self.more(answer, min(1.0, deadline - time.monotonic()))
        if answer.end:
            self.rest = bytes(self.parser.rest)
        return answer

    def more(self, answer, seconds):
        """Goes on with a response that `receive` has left unfinished: one read."""
        assert answer is self.parser.answer
        self.parser.feed(self.link.read(seconds))
        if self.link.over:
            self.parser.connection_ended(self.link.over)

    def close(self):
        self.link.close()


    def step(self, seconds):
        """Sends what is queued, and leaves what comes for `receive`."""
        self.rest += self.link.read(seconds)


class Parser:
    """Takes the bytes of an HTTP/1 response apart, and says where they are malformed."""

    def __init__(self, answer, method):
        self.answer = answer
        self.method = method
        self.rest = bytearray()
        self.state = self._head
        self.left = 0

    def feed(self, data):
        self.rest += data
        while self.answer.end is None and self.state():
            pass

    def connection_ended(self, how):
        if self.answer.end is None:
            whole = self.state == self._until_end and how == "fin"
            self.answer.end = "complete" if whole else how

    def _line(self):
        end = self.rest.find(b"\r\n")
        if end < 0:
            return None
        line = bytes(self.rest[:end])
        del self.rest[: end + 2]
        return line

    def _head(self):
        end = self.rest.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self.rest[: end + 4])
        del self.rest[: end + 4]
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        words = first.split(" ", 2)
        answer = self.answer
        answer.head, answer.head_at = head, time.monotonic()
        if not words[0].startswith("HTTP/1.") or len(words) < 2 or not words[1].isdigit():
            return self._malformed(f"status line {first!r}")
        if bad := [line for line in lines if ":" not in line or not line.split(":")[0].strip()]:
            answer.status = int(words[1])
            return self._malformed(f"header {bad[0]!r}")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        answer.version, answer.status, answer.headers = words[0], int(words[1]), headers
        if 100 <= answer.status < 200 and answer.status != 101:
            answer.interim.append(answer.status)
            return True
        return self._framing()

    def _framing(self):
        answer = self.answer
        if self.method == "HEAD" or answer.status in (204, 304) or answer.status == 101:
            answer.end = "complete"
        elif (answer.header("transfer-encoding") or "").lower().endswith("chunked"):
            self.state = self._chunk_size
        elif answer.header("content-length") is not None:
            self.left = int(answer.header("content-length"))
            self.state = self._length
            if self.left == 0:
                answer.end = "complete"
        else:
            self.state = self._until_end
        return True

    def _take(self, count):
        piece = self.rest[:count]
        del self.rest[:count]
        if piece:
            self.answer.body += piece
            self.answer.pieces.append((time.monotonic(), len(piece)))
        return len(piece)

    def _until_end(self):
        self._take(len(self.rest))
        return False

    def _length(self):
        self.left -= self._take(self.left)
        if self.left == 0:
            self.answer.end = "complete"
        return False

    def _chunk_size(self):
        if (line := self._line()) is None:
            return False
        try:
            self.left = int(line.split(b";")[0], 16)
        except ValueError:
            return self._malformed(f"chunk size {line!r}")
        self.state = self._chunk if self.left else self._trailer
        return True

    def _chunk(self):
        self.left -= self._take(self.left)
        if self.left or len(self.rest) < 2:
            return False
        if self.rest[:2] != b"\r\n":
            return self._malformed(f"chunk end {bytes(self.rest[:2])!r}")
        del self.rest[:2]
        self.state = self._chunk_size
        return True

    def _trailer(self):
        if (line := self._line()) is None:
            return False
        if line:
            name, _, value = line.decode().partition(":")
            self.answer.trailers.append((name, value.strip()))
            return True
        self.answer.end = "complete"
        return False

    def _malformed(self, why):
        self.answer.end = f"malformed: {why}"
        return False


class H2:
    """An HTTP/2 connection with prior knowledge, or over TLS with ALPN: any number of streams at once."""

    def __init__(self, port, tls=None, receive_buffer=None, window=WINDOW):
        self.link = Link(port, tls, receive_buffer)
        assert not tls or self.link.tls.selected_alpn_protocol() == "h2", "no HTTP/2 over TLS"
        self.scheme = "https" if tls else "http"
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        initial = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
        self.h2.local_settings = h2.settings.Settings(client=True, initial_values=initial)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(window)
        self.streams = {}
        self.uploads = {}
        self.goaway = None
        self._flush()

    def _flush(self):
        self.link.write(self.h2.data_to_send())

    def send(self, path="/", method="GET", headers=(), body=None, end=True):
        """Sends a request; its stream's id. With `end=False` the request stays open."""
        stream = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":path", path), (":scheme", self.scheme), (":authority", "test")]
        length = [("content-length", str(len(body)))] if body and end else []
        self.h2.send_headers(stream, [*pseudo, *headers, *length], end_stream=end and not body)
        self.streams[stream] = Received(sent_at=time.monotonic())
        if body:
            self.uploads[stream] = (memoryview(body), end)
        self._upload()
        return stream

    def exchange(self, path="/", method="GET", headers=(), body=None, seconds=30.0, until=None):
        return self.receive(self.send(path, method, headers, body), seconds, until)

    def receive(self, stream, seconds=30.0, until=None):
        """The stream's response: to its end, for so long, or until it satisfies `until`."""
        answer = self.streams[stream]
        deadline = time.monotonic() + seconds
        while answer.end is None and time.monotonic() < deadline and not (until and until(answer)):
            self.step(min(1.0, deadline - time.monotonic()))
        return answer

    def reset(self, stream, code=8):
        self.h2.reset_stream(stream, error_code=code)
        self.uploads.pop(stream, None)
        self._flush()
        self.link.read(0)

    def more(self, _answer, seconds):
        """Goes on with what `receive` has left unfinished: one read."""
        self.step(seconds)

    def step(self, seconds):
        """Reads once, and answers what the protocol wants answered."""
        data = self.link.read(seconds)
        if data:
            for event in self.h2.receive_data(data):
                self._take(event)
        self._upload()
        if self.link.over:
            for answer in self.streams.values():
                answer.end = answer.end or self.link.over

    def _take(self, event):
        answer = self.streams.get(getattr(event, "stream_id", None))
        match event:
            case h2.events.ResponseReceived():
                answer.head_at = time.monotonic()
                headers = dict(event.headers)
                answer.version, answer.status = "HTTP/2", int(headers.pop(":status"))
                answer.headers = [(name, value) for name, value in event.headers if name != ":status"]
            case h2.events.InformationalResponseReceived():
                answer.interim.append(int(dict(event.headers)[":status"]))
            case h2.events.DataReceived():
                if event.data:
                    answer.body += event.data
                    answer.pieces.append((time.monotonic(), len(event.data)))
                if event.flow_controlled_length:
                    with contextlib.suppress(h2.exceptions.ProtocolError):
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                answer.trailers = list(event.headers)
            case h2.events.StreamEnded():
                answer.end = answer.end or "complete"
            case h2.events.StreamReset():
                answer.end = answer.end or f"RST_STREAM {int(event.error_code)}"
                self.uploads.pop(event.stream_id, None)
            case h2.events.ConnectionTerminated():
                self.goaway = int(event.error_code)

    def _upload(self):
        for stream, (left, end) in [*self.uploads.items()]:
            try:
                while left and len(self.link.out) < 2 * RECEIVE:
                    room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(left))
                    if room == 0:
                        break
                    self.h2.send_data(stream, bytes(left[:room]), end_stream=end and room == len(left))
                    left = left[room:]
                    self._flush()
            except h2.exceptions.ProtocolError:
                left = memoryview(b"")  # the server has ended the stream
            if left:
                self.uploads[stream] = (left, end)
            else:
                del self.uploads[stream]
        self._flush()

    def close(self):
        self.link.close()


CONNECTIONS = {"h1": H1, "h2": H2}


def connect(protocol, port, tls=None, **options):
    return CONNECTIONS[protocol](port, tls, **options)


def fetch(protocol, port, path="/", tls=None, **options):
    """One exchange over a connection of its own, that is closed afterwards."""
    connection = connect(protocol, port, tls)
    try:
        return connection.exchange(path, **options)
    finally:
        connection.close()


def trusting(authority_file, alpn):
    """A TLS client's context that trusts the authority and offers these protocols."""
    context = ssl.create_default_context(cafile=str(authority_file))
    context.set_alpn_protocols([alpn])
    return context
