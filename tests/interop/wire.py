"""HTTP by hand, where a library would hide what a connection does."""

import contextlib
import socket
import struct

import h2.config
import h2.connection
import h2.events


def connect(port, seconds=30):
    return socket.create_connection(("127.0.0.1", port), timeout=seconds)


def request(path="/", method="GET", body=b"", length=None):
    """The bytes of an HTTP/1.1 request; `length` may promise more than `body` holds."""
    length = len(body) if length is None else length
    head = f"{method} {path} HTTP/1.1\r\nHost: test\r\n"
    head += f"Content-Length: {length}\r\n" if length else ""
    return head.encode() + b"\r\n" + body


def leave_with_reset(sock):
    """Closes so that the peer sees a RST instead of a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_to_end(sock):
    """All bytes until the peer's FIN; a RST raises ConnectionResetError."""
    received = b""
    while chunk := sock.recv(65536):
        received += chunk
    return received


class H2Client:
    """One HTTP/2 connection in clear text with prior knowledge."""

    def __init__(self, port):
        self.sock = connect(port)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.events = []
        self.flush()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def request(self, path, method="GET", body=b"", end=True):
        """Sends a request; its stream's id. With `end=False` the body stays open."""
        stream = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "test")]
        self.h2.send_headers(stream, pseudo, end_stream=end and not body)
        if body:
            self.h2.send_data(stream, body, end_stream=end)
        self.flush()
        return stream

    def reset(self, stream, code=8):
        self.h2.reset_stream(stream, error_code=code)
        self.flush()

    def wait_for(self, kind, stream):
        """Reads until an event of this kind arrives for this stream."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and event.stream_id == stream:
                    return event
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError(f"the connection ended; events so far: {self.events}")
            self.events += self.h2.receive_data(data)
            self.flush()

    def status(self, stream):
        return int(dict(self.wait_for(h2.events.ResponseReceived, stream).headers)[":status"])

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.close()
