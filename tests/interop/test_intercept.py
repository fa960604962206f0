"""Connections that a rule of the kernel's redirects to squall: HTTP under rules, everything else unread, all of it to where
it was headed. Two network namespaces with a cable between them: the application's, with squall, and the server's."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from certificates import Authority
from squall import ROOT, Metrics, Squall, eventually

HERE, THERE = "10.231.0.1", "10.231.0.2"
HERE6, THERE6 = "fd31::1", "fd31::2"
USER = 15001
ECHO_PORT = 8081
COULD_NOT_CONNECT = 7  # curl's exit codes
TLS_FAILED = 35
REDIRECT = ROOT / "deploy/redirect/redirect.sh"

CONFIG = """
admin: {{address: "127.0.0.1:9900"}}
log: {{format: json, access: true}}
listeners:
  out: {{address: "127.0.0.1:15001", upstream: wherever}}
  out6: {{address: "[::1]:15001", upstream: wherever}}
upstreams:
  wherever: {{original_destination: true}}
rules:
{rules}
"""

# A server of HTTP/1.1 and of HTTP/2 without TLS.
ECHO = f"""
listeners: {{web: {{address: "{THERE}:{ECHO_PORT}", upstream: echo}}}}
upstreams: {{echo: {{fake: echo}}}}
"""

# Answers with its own address, the client's and the Host header; over TLS too; and echoes what is not HTTP.
SERVER = """
import socket, ssl, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        mine = self.connection.getsockname()
        text = f"{mine[1]} {self.client_address[0]} {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_): pass

class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6

def echo(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=talk, args=[connection], daemon=True).start()

def talk(connection):
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.close()

for port in (80, 8080, 443):
    server = Server(("::", port), Handler)
    if port == 443:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
echo(socket.create_server(("::", 6379), family=socket.AF_INET6, dualstack_ipv6=True))
"""


# Where ip and iptables are, which are not on everybody's path.
os.environ["PATH"] += ":/usr/sbin:/sbin"
# What the tests need of the machine, tried in a namespace that is gone at once.
TRIED = "iptables -w -t nat -A OUTPUT -p tcp -m owner --uid-owner 1 -j REDIRECT --to-ports 1 && ip link add type veth"


def may_redirect():
    """Whether this machine lets us have namespaces and redirect connections in them."""
    if not all(map(shutil.which, ("ip", "iptables", "setpriv", "unshare"))):
        return False
    tried = subprocess.run(["unshare", "--net", "sh", "-c", TRIED], check=False, capture_output=True, timeout=30)
    return tried.returncode == 0


pytestmark = pytest.mark.skipif(not may_redirect(), reason="needs ip and iptables, and the right to use them")


class Namespace:
    """A network of its own, joined to another by a cable."""

    def __init__(self, name):
        self.name = name
        self.prefix = ["ip", "netns", "exec", name]
        sh("ip", "netns", "add", name)
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command, **options):
        return subprocess.run(
            [*self.prefix, *map(str, command)], capture_output=True, text=True, timeout=30, **{"check": True, **options}
        )

    def join(self, link, *addresses):
        sh("ip", "link", "set", link, "netns", self.name)
        for address in addresses:
            self.run("ip", "addr", "add", address, "dev", link, *(["nodad"] if ":" in address else []))
        self.run("ip", "link", "set", link, "up")

    def curl(self, *args):
        return self.run("curl", "-sS", "-g", "--max-time", 20, *args, check=False)


def sh(*command):
    subprocess.run(command, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """The application's namespace, and the server's, in which the server runs."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority(folder)
    certificate, key = authority.sign("shop.test", ["shop.test"])
    mark = f"{os.getpid() % 100000}"
    names = [f"sq-app-{mark}", f"sq-shop-{mark}"]
    server = both_versions = None
    try:
        app, shop = map(Namespace, names)
        sh("ip", "link", "add", f"sqa{mark}", "type", "veth", "peer", "name", f"sqb{mark}")
        app.join(f"sqa{mark}", f"{HERE}/24", f"{HERE6}/64")
        shop.join(f"sqb{mark}", f"{THERE}/24", f"{THERE6}/64")
        server = subprocess.Popen([*shop.prefix, sys.executable, "-c", SERVER, str(certificate), str(key)])
        both_versions = Squall(ECHO, folder, prefix=shop.prefix)
        for port in (443, ECHO_PORT):
            eventually(lambda: app.curl(f"http://{THERE}:{port}/").returncode, lambda code: code != COULD_NOT_CONNECT)
        app.authority = authority.file
        yield app
    finally:
        for process in filter(None, [server, both_versions]):
            process.kill()
            process.wait()
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@pytest.fixture
def intercepted(networks, squall):
    """A function that starts squall with these rules beside the application, and redirects the application to it."""

    def start(rules=""):
        # Not root, as in a container, though able to read the test's files.
        user = ["setpriv", f"--reuid={USER}", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        networks.squall = squall(CONFIG.format(rules=rules), prefix=[*networks.prefix, *user])
        networks.run("sh", REDIRECT, "--ipv6", "--ports", f"80,443,6379,8080,{ECHO_PORT},9999")
        return networks

    yield start
    networks.run("sh", REDIRECT, "--ipv6", "--remove")


def metrics(app):
    return Metrics(app.curl("http://127.0.0.1:9900/metrics").stdout)


LATE = '  - {name: late, match: {host: shop.test, path: /late}, faults: [{delay: 400ms}]}'


def test_http_goes_where_it_was_headed_under_the_rules(intercepted):
    app = intercepted(LATE + "\n  - {name: no, match: {path: /no}, faults: [{abort: 418}]}")
    resolve = ["--resolve", f"shop.test:80:{THERE}", "--resolve", f"shop.test:8080:{THERE}"]
    for port in (80, 8080):
        answer = app.curl(*resolve, "-w", " %{time_total}", f"http://shop.test:{port}/late").stdout.split()
        host = "shop.test" if port == 80 else "shop.test:8080"
        # The server sees squall in the application's place: the same address.
        assert answer[:3] == [str(port), f"::ffff:{HERE}", host]
        assert float(answer[3]) >= 0.4
    quick = app.curl(*resolve, "-w", " %{time_total}", "http://shop.test/").stdout.split()
    assert float(quick[3]) < 0.4
    refused = app.curl("-i", f"http://{THERE}/no").stdout
    assert "418" in refused.splitlines()[0] and "squall-fault" in refused.lower()
    # Squall's own connections were not redirected: each request came by once.
    assert metrics(app).sum("squall_requests_total", listener="out", upstream="wherever") == 4
    assert metrics(app).sum("squall_connections_passed_on_total") == 0


@pytest.mark.parametrize(("flag", "version"), [("--http1.1", "HTTP/1.1"), ("--http2-prior-knowledge", "HTTP/2.0")])
def test_the_upstream_gets_the_clients_protocol(intercepted, flag, version):
    app = intercepted(LATE)
    url = f"http://{THERE}:{ECHO_PORT}/late"
    answer = app.curl(flag, "-H", "host: shop.test", "-w", "%{stderr}%{http_version} %{time_total}", url)
    heard, seconds = answer.stderr.split()
    assert json.loads(answer.stdout)["http_version"] == version
    assert version.startswith(f"HTTP/{heard}") and float(seconds) >= 0.4


def test_over_ipv6(intercepted):
    app = intercepted(LATE)
    answer = app.curl("-H", "host: shop.test", "-w", " %{time_total}", f"http://[{THERE6}]:8080/late").stdout.split()
    assert answer[:3] == ["8080", HERE6, "shop.test"] and float(answer[3]) >= 0.4
    assert metrics(app).sum("squall_requests_total", listener="out6") == 1


def test_tls_passes_and_its_beginning_is_under_rules(intercepted):
    app = intercepted("""
  - {name: held, match: {host: slow.test}, faults: [{delay: {fixed: 400ms, before: handshake}}]}
  - {name: cut, match: {host: gone.test}, faults: [{reset: {before: handshake}}]}
  - {name: unheard, faults: [{abort: 500}]}""")
    names = ["shop.test", "slow.test", "gone.test"]
    resolve = [word for name in names for word in ("--resolve", f"{name}:443:{THERE}")]
    passed = app.curl(*resolve, "--cacert", app.authority, "https://shop.test/")
    # The server's own certificate, and the server's own answer.
    assert passed.stdout.split() == ["443", f"::ffff:{HERE}", "shop.test"], passed.stderr
    slow = app.curl(*resolve, "-k", "-w", " %{time_appconnect}", "https://slow.test/").stdout.split()
    assert slow[0] == "443" and float(slow[3]) >= 0.4
    assert app.curl(*resolve, "-k", "https://gone.test/").returncode == TLS_FAILED
    page = metrics(app)
    assert page.sum("squall_connections_passed_on_total", listener="out") == 2
    assert page.sum("squall_faults_injected_total", rule="cut", fault="reset") == 1
    assert page.sum("squall_requests_total") == 0
    line = app.squall.wait_for_message("passed on", 5)
    assert (line["host"], line["destination"], line["upstream"]) == ("shop.test", f"{THERE}:443", "wherever")
    assert line["bytes_in"] > 100 and line["bytes_out"] > 100


# A client that says something first, hears it back, and then ends its side.
TALK = """
import socket, sys
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10)
sent = b"*1\\r\\n$4\\r\\nPING\\r\\n" * 20000
got = b""
import threading
threading.Thread(target=lambda: (peer.sendall(sent), peer.shutdown(socket.SHUT_WR))).start()
while piece := peer.recv(65536):
    got += piece
print(got == sent)
"""


def test_other_protocols_pass_byte_for_byte(intercepted):
    app = intercepted("  - {name: unheard, faults: [{abort: 500}]}")
    assert app.run(sys.executable, "-c", TALK, THERE, 6379).stdout == "True\n"
    line = app.squall.wait_for_message("passed on", 5)
    assert line["bytes_in"] == line["bytes_out"] == 20000 * 14


def test_an_unreachable_destination(intercepted):
    app = intercepted()
    answer = app.curl("-i", f"http://{THERE}:9999/").stdout
    assert "502" in answer.splitlines()[0]
    assert f"squall: upstream wherever: connection refused ({THERE}:9999)" in answer
    # A connection that is not HTTP ends as one that was refused too late: with a reset.
    assert app.curl("-k", f"https://{THERE}:9999/").returncode == TLS_FAILED
    assert metrics(app).sum("squall_upstream_errors_total", upstream="wherever") == 2
    assert "refused" in app.squall.wait_for_message("passed on", 5)["error"]


def test_direct_connections_are_refused_with_the_reason(intercepted):
    app = intercepted()
    answer = app.curl("-i", "http://127.0.0.1:15001/").stdout
    assert "502" in answer.splitlines()[0]
    assert "original destination: the connection was not redirected to squall" in answer
    assert app.squall.process.poll() is None


def test_a_reload_takes_the_listener_back(intercepted):
    app = intercepted()
    assert app.curl(f"http://{THERE}/").stdout.startswith("80 ")
    app.squall.save(CONFIG.format(rules="").replace("{original_destination: true}", "{fake: echo}"))
    eventually(lambda: app.curl(f"http://{THERE}/").stdout.startswith("80 "), False)
