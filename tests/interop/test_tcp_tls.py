"""TCP listeners with TLS passed through, terminated and begun, conditions on its handshake, and unix sockets on both sides."""

import asyncio
import contextlib
import socket
import socketserver
import ssl
import textwrap
import threading

import pytest
from certificates import Authority
from squall import Squall, eventually

SECONDS = 10
DATA = bytes(range(256)) * 4000
PIECE = 10_000


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets, and ends when its client does."""

    def handle(self):
        try:
            if self.server.context:
                self.request = self.server.context.wrap_socket(self.request, server_side=True)
            while data := self.request.recv(65536):
                self.request.sendall(data)
            self.server.ends.append("end")
        except OSError as error:
            self.server.ends.append(type(error).__name__)


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True

    def __init__(self, address, context=None):
        self.address_family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        super().__init__(address, Echo)
        self.context, self.ends = context, []
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def squall(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("squall")
    certificate, key = authority.sign("server", hosts=("localhost", "db.test", "slow.test"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["postgresql", "h2"])
    plain, secure, local = Server(("127.0.0.1", 0)), Server(("127.0.0.1", 0), context), Server(str(folder / "server.sock"))
    text = f"""
        listeners:
          through: {{address: 127.0.0.1:0, protocol: tcp, upstream: secure}}
          terminated: {{address: 127.0.0.1:0, protocol: tcp, upstream: plain, tls: {{certificate: {certificate}, key: {key}}}}}
          begun: {{address: 127.0.0.1:0, protocol: tcp, upstream: secured}}
          both: {{address: 127.0.0.1:0, protocol: tcp, upstream: secured, tls: {{certificate: {certificate}, key: {key}}}}}
          local: {{address: "unix:{folder}/squall.sock", protocol: tcp, upstream: local}}
          untrusted: {{address: 127.0.0.1:0, protocol: tcp, upstream: untrusted}}
        upstreams:
          plain: {{address: "127.0.0.1:{plain.server_address[1]}"}}
          secure: {{address: "127.0.0.1:{secure.server_address[1]}"}}
          secured: {{address: "127.0.0.1:{secure.server_address[1]}", tls: {{ca: {authority.file}, sni: db.test}}}}
          untrusted: {{address: "127.0.0.1:{secure.server_address[1]}", tls: {{sni: db.test}}}}
          local: {{address: "unix:{folder}/server.sock"}}
        rules:
          - {{name: by name, listener: [through, terminated], match: {{host: slow.test}}, faults: [{{reset: {{}}}}]}}
          - {{name: by protocol, listener: [through, terminated], match: {{alpn: [amqp, smtp]}}, faults: [{{reset: {{}}}}]}}
        """
    squall = Squall(textwrap.dedent(text), folder)
    squall.folder, squall.plain, squall.secure = folder, plain, secure
    yield squall
    squall.stop()


@contextlib.contextmanager
def connected(squall, authority, listener, name=None, protocols=()):
    with socket.create_connection(("127.0.0.1", squall.port(listener)), timeout=SECONDS) as sock:
        if name is None:
            yield sock
            return
        context = ssl.create_default_context(cafile=authority.file)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        with context.wrap_socket(sock, server_hostname=name, suppress_ragged_eofs=False) as secure:
            yield secure


def echoed(sock):
    """Whether the data comes back. In pieces: Python's TLS sockets are not for two threads."""
    for at in range(0, len(DATA), PIECE):
        piece = DATA[at : at + PIECE]
        sock.sendall(piece)
        got = b""
        while len(got) < len(piece):
            got += (more := sock.recv(PIECE))
            assert more, "it ended early"
        if got != piece:
            return False
    return True


@pytest.mark.parametrize("listener,name", [("through", "db.test"), ("terminated", "db.test"), ("begun", None), ("both", "db.test")])
def test_bytes_pass(squall, authority, listener, name):
    with connected(squall, authority, listener, name) as sock:
        assert echoed(sock)


@pytest.mark.parametrize("listener", ["through", "terminated", "both"])
def test_bytes_pass_both_ways_at_once(squall, authority, listener):
    async def exchange():
        context = ssl.create_default_context(cafile=authority.file)
        port = squall.port(listener)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="db.test")
        sent = DATA * 10

        async def send():
            writer.write(sent)
            await writer.drain()

        got, _ = await asyncio.gather(reader.readexactly(len(sent)), send())
        writer.close()
        return got == sent

    assert asyncio.run(asyncio.wait_for(exchange(), SECONDS * 3))


def test_protocols_pass_through_and_are_not_chosen_otherwise(squall, authority):
    with connected(squall, authority, "through", "db.test", ["postgresql"]) as sock:
        assert sock.selected_alpn_protocol() == "postgresql"
    with connected(squall, authority, "terminated", "db.test", ["postgresql", "h2"]) as sock:
        assert sock.selected_alpn_protocol() is None
        assert echoed(sock)


@pytest.mark.parametrize("listener", ["through", "terminated"])
def test_rules_match_names_and_protocols(squall, authority, listener):
    for name, protocols in [("slow.test", ()), ("db.test", ("postgresql", "smtp"))]:
        with pytest.raises((ConnectionResetError, ssl.SSLError, BrokenPipeError)):
            with connected(squall, authority, listener, name, protocols) as sock:
                sock.sendall(b"x")
                sock.recv(1)
    with connected(squall, authority, listener, "db.test", ("postgresql",)) as sock:
        assert echoed(sock)


def test_a_client_that_does_not_speak_tls_passes_where_nothing_terminates_it(squall, authority):
    # The listener reads its first byte for the rules; the server then refuses it.
    with connected(squall, authority, "through") as sock:
        sock.sendall(b"hello\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"hello" not in sock.recv(100)


def test_an_end_without_a_close_notify_is_an_end(squall, authority):
    squall.plain.ends.clear()
    with connected(squall, authority, "terminated", "db.test") as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        # The plain socket's end, without TLS's.
        socket.socket(fileno=sock.detach()).close()
    eventually(lambda: squall.plain.ends, ["end"])


def test_a_server_that_is_not_trusted_looks_like_a_closed_port(squall, authority):
    with connected(squall, authority, "untrusted") as sock, pytest.raises(ConnectionResetError):
        sock.sendall(b"x")
        sock.recv(1)


def test_unix_sockets(squall):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(SECONDS)
        sock.connect(str(squall.folder / "squall.sock"))
        assert echoed(sock)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
