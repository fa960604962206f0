"""TLS: handshakes that go wrong as asked, certificates by name, and files that change; seen by curl and by Python's ssl."""

import contextlib
import http.client
import shutil
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from certificates import Authority
from cryptography import x509
from squall import eventually
from wire import connect

APPS = Path(__file__).parent / "apps"

# What Python's ssl calls the errors (X509_V_ERR_… of OpenSSL), and what curl writes.
NOT_TRUSTED, EXPIRED, SELF_SIGNED, WRONG_HOST = 20, 10, 18, 62
SEEN = {
    "expired": (EXPIRED, "certificate has expired"),
    "self-signed": (SELF_SIGNED, "self-signed certificate"),
    "wrong-host": (WRONG_HOST, "no alternative certificate subject name matches"),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority):
    return authority.sign("web")


def tls_of(*pairs, client_ca=None):
    listed = ", ".join(f"{{certificate: {certificate}, key: {key}}}" for certificate, key in pairs)
    ca = f", client_ca: {client_ca}" if client_ca else ""
    return f"{{certificates: [{listed}]{ca}}}"


def config(*rules, tls, more="", upstream="{fake: echo}"):
    lines = "\n".join(f"  - {rule}" for rule in rules)
    listeners = f"{{web: {{address: 127.0.0.1:0, upstream: real, tls: {tls}}}, plain: {{address: 127.0.0.1:0, upstream: real}}}}"
    return f"seed: 7\n{more}\nlisteners: {listeners}\nupstreams: {{real: {upstream}}}\nrules:\n{lines}\n"


def rule(fault, more="", name="r"):
    return f"{{name: {name}, {more} faults: [{fault}]}}"


def context(ca=None, version=None, client=None):
    """What a client trusts, and which version of TLS it speaks."""
    made = ssl.create_default_context(cafile=ca)
    if version:
        made.minimum_version = made.maximum_version = version
    if client:
        made.load_cert_chain(*client)
    return made


def get(server, trust, host="localhost", session=None, listener="web"):
    """Shakes hands, asks for something; the connection's session, to be resumed."""
    raw = connect(server.port(listener))
    with contextlib.closing(trust.wrap_socket(raw, server_hostname=host, session=session)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        first = sock.recv(65536)
        assert first.startswith(b"HTTP/1.1 200"), first
        return sock.session


def error_of(server, trust, host="localhost", session=None):
    """How the certificate fails to verify."""
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        get(server, trust, host, session)
    return caught.value.verify_code


def presented(server, host):
    """The names in the certificate that a client gets which asks for this host; `None`: for none."""
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    with contextlib.closing(trust.wrap_socket(connect(server.port()), server_hostname=host)) as sock:
        certificate = x509.load_der_x509_certificate(sock.getpeercert(binary_form=True))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)


def curl(server, *args, host="localhost"):
    url = f"https://{host}:{server.port()}/"
    command = ["curl", "-sS", "-o", "/dev/null", "--connect-to", f"{host}::127.0.0.1:", *map(str, args), url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def client_hello(host="localhost"):
    """The first bytes of a handshake, to be sent over a bare socket: Python's ssl hides how a connection ends."""
    outgoing = ssl.MemoryBIO()
    half = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=host)
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    return outgoing.read()


def end_of_handshake(server, pieces=1, seconds=30):
    """What comes after a ClientHello: bytes, none for a FIN, or ConnectionResetError."""
    hello = client_hello()
    with contextlib.closing(connect(server.port(), seconds)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        step = -(-len(hello) // pieces)
        for start in range(0, len(hello), step):
            if start:
                time.sleep(0.02)
            sock.sendall(hello[start : start + step])
        return sock.recv(65536)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("fault", SEEN)
def test_faulty_certificates(squall, tool, authority, pair, fault, version):
    tool("curl")
    # Other connections of the same listener are served as ever.
    faulty = rule(f"certificate: {fault}", "match: {client: 127.0.0.1, host: localhost},")
    server = squall(config(faulty, tls=tls_of(pair), more=f"fault_ca: {{certificate: {authority.file}, key: {authority.key_file}}}"))
    code, message = SEEN[fault]
    trust = context(authority.file, version)
    assert error_of(server, trust) == code
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"https://localhost:{server.port()}/", verify=str(authority.file), timeout=30)
    number = {ssl.TLSVersion.TLSv1_2: "1.2", ssl.TLSVersion.TLSv1_3: "1.3"}[version]
    status, said = curl(server, "--cacert", authority.file, "--tls-max", number)
    assert status == 60
    assert message in said
    assert curl(server, "--insecure", "--tls-max", number)[0] == 0
    get(server, trust, "127.0.0.1")
    metrics = server.metrics()
    assert metrics.sum("squall_faults_injected_total", rule="r", fault="certificate") == 4
    eventually(lambda: server.metrics().sum("squall_faults_active"), 0)


@pytest.mark.parametrize("fault", SEEN)
def test_the_authority_that_squall_makes(squall, tmp_path, pair, authority, fault):
    faulty = rule(f"certificate: {fault}")
    server = squall(config(faulty, tls=tls_of(pair)))
    status, pem = server.admin_call("/api/v1/ca.pem")
    assert status == 200
    file = tmp_path / "squall-ca.pem"
    file.write_text(pem)
    assert error_of(server, context(file)) == SEEN[fault][0]
    if fault != "self-signed":
        assert error_of(server, context(authority.file)) == NOT_TRUSTED
    # Clients that trust it go on to do so after a reload.
    server.save(config(faulty, rule("abort: 500", "match: {path: /x},", "new"), tls=tls_of(pair)))
    eventually(lambda: server.metrics().sum("squall_reloads_total", result="ok"), lambda count: count >= 1)
    assert server.admin_call("/api/v1/ca.pem")[1] == pem


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_not_resumed_into_a_faulty_handshake(squall, authority, pair, version):
    more = f"fault_ca: {{certificate: {authority.file}, key: {authority.key_file}}}"
    server = squall(config(rule("certificate: expired", "when: {every: 2},"), tls=tls_of(pair), more=more))
    trust = context(authority.file, version)
    session = get(server, trust)
    assert error_of(server, trust, session=session) == EXPIRED
    get(server, trust, session=session)


def test_names_of_faulty_certificates(squall, authority, tmp_path):
    pair = authority.sign("names", ["shop.test", "*.pay.test", "127.0.0.1"])
    more = f"fault_ca: {{certificate: {authority.file}, key: {authority.key_file}}}"
    server = squall(config(rule("certificate: expired"), tls=tls_of(pair), more=more))
    for host, names in [
        ("shop.test", ["shop.test", "*.pay.test"]),
        ("a.pay.test", ["shop.test", "*.pay.test"]),
        ("other.test", ["shop.test", "*.pay.test", "other.test"]),
        (None, ["shop.test", "*.pay.test"]),
    ]:
        assert presented(server, host) == names
    # So that the date alone is wrong.
    for host in ["shop.test", "a.pay.test", "other.test", "127.0.0.1"]:
        assert error_of(server, context(authority.file), host) == EXPIRED


def test_by_name(squall, authority):
    pair = authority.sign("two", ["a.test", "b.test"])
    closed = rule("close: {before: handshake}", "match: {host: 'B.*'},")
    server = squall(config(closed, tls=tls_of(pair)))
    trust = context(authority.file)
    get(server, trust, "a.test")
    with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
        get(server, trust, "b.test")
    server.save(config(rule("close: {before: handshake}", "match: {not: {host: a.test}},"), tls=tls_of(pair)))
    eventually(lambda: server.metrics().sum("squall_reloads_total", result="ok"), lambda count: count >= 1)
    get(server, trust, "a.test")
    with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
        get(server, trust, "b.test")


def test_close_in_the_handshake(squall, tool, authority, pair):
    tool("curl")
    server = squall(config(rule("close: {before: handshake}"), tls=tls_of(pair)))
    assert end_of_handshake(server) == b""
    assert end_of_handshake(server, pieces=5) == b""
    assert curl(server, "--cacert", authority.file)[0] == 35
    with pytest.raises(ssl.SSLError) as caught:
        get(server, context(authority.file))
    assert "EOF" in str(caught.value)
    assert server.metrics().sum("squall_faults_injected_total", fault="close") == 4
    eventually(lambda: server.metrics().sum("squall_faults_active"), 0)
    # Who does not begin to shake hands is not one of them.
    with contextlib.closing(connect(server.port())):
        time.sleep(0.1)
    assert server.metrics().sum("squall_rules_matched_total", rule="r") == 4


def test_reset_in_the_handshake(squall, tool, authority, pair):
    tool("curl")
    server = squall(config(rule("reset: {before: handshake}"), tls=tls_of(pair)))
    for pieces in [1, 5]:
        with pytest.raises(ConnectionResetError):
            end_of_handshake(server, pieces)
    status, said = curl(server, "--cacert", authority.file)
    assert status == 35
    assert "reset" in said.lower()
    assert server.metrics().sum("squall_faults_injected_total", fault="reset") == 3


def test_reset_and_close_of_a_tls_connection(squall, tool, authority, pair):
    """Before the ClientHello is read."""
    tool("curl")
    choose = "{name: r, choose: [{weight: 1, faults: [close: {before: connection}]}, {weight: 1, faults: [reset: {before: connection}]}]}"
    server = squall(config(choose, tls=tls_of(pair)))
    ends = set()
    for _ in range(30):
        try:
            ends.add(end_of_handshake(server))
        except (ConnectionResetError, BrokenPipeError):
            ends.add("reset")
    assert ends == {b"", "reset"}
    assert curl(server, "--cacert", authority.file)[0] in (7, 35)


def test_delay_in_the_handshake(squall, authority, pair):
    server = squall(config(rule("delay: {fixed: 500ms, before: handshake}"), tls=tls_of(pair)))
    began = time.monotonic()
    raw = connect(server.port())
    assert time.monotonic() - began < 0.45
    with contextlib.closing(context(authority.file).wrap_socket(raw, server_hostname="localhost")) as sock:
        assert 0.5 <= time.monotonic() - began < 8
        began = time.monotonic()
        for _ in range(2):
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        assert time.monotonic() - began < 0.5
        assert server.metrics().sum("squall_faults_active", rule="r") == 1
    metrics = server.metrics()
    assert metrics.sum("squall_injected_delay_seconds_count", rule="r") == 1
    assert 0.5 <= metrics.sum("squall_injected_delay_seconds_sum", rule="r") < 8
    eventually(lambda: server.metrics().sum("squall_faults_active"), 0)


def test_a_stall_outlasts_the_limit_of_a_handshake(squall, authority, pair):
    """The limit is on what the client makes squall wait for, not on what squall makes the client wait for."""
    server = squall(config(rule("delay: {fixed: 10500ms, before: handshake}"), tls=tls_of(pair)))
    began = time.monotonic()
    get(server, context(authority.file))
    assert time.monotonic() - began >= 10.5


def test_hang_in_the_handshake(squall, authority, pair):
    server = squall(config(rule("hang: {before: handshake, limit: 600ms}"), tls=tls_of(pair)))
    began = time.monotonic()
    assert end_of_handshake(server) == b""
    assert 0.6 <= time.monotonic() - began < 8
    with pytest.raises(TimeoutError):
        end_of_handshake(server, seconds=0.3)
    eventually(lambda: server.metrics().sum("squall_requests_held"), 0)
    eventually(lambda: server.metrics().sum("squall_faults_active"), 0)


def test_both_moments_in_one_rule(squall, authority, pair):
    both = "{name: r, faults: [delay: {fixed: 200ms, before: connection}, certificate: self-signed, delay: {fixed: 200ms, before: handshake}]}"
    server = squall(config(both, tls=tls_of(pair)))
    began = time.monotonic()
    assert error_of(server, context(authority.file)) == SELF_SIGNED
    assert time.monotonic() - began >= 0.4
    metrics = server.metrics()
    assert metrics.sum("squall_faults_injected_total", fault="delay") == 2
    assert metrics.sum("squall_faults_injected_total", fault="certificate") == 1
    # Without TLS there is no handshake for the rest of them.
    assert requests.get(server.url(listener="plain"), timeout=30).status_code == 200
    assert server.metrics().sum("squall_faults_skipped_total", fault="certificate", reason="no TLS") == 1


def test_without_tls_the_fault_is_skipped(squall, pair):
    server = squall(config(rule("certificate: expired"), tls=tls_of(pair)))
    assert requests.get(server.url(listener="plain"), timeout=30).status_code == 200
    metrics = server.metrics()
    assert metrics.sum("squall_faults_skipped_total", rule="r", fault="certificate", reason="no TLS") == 1
    assert metrics.sum("squall_faults_injected_total") == 0


def test_an_invalid_handshake_is_reported(squall, pair):
    server = squall(config(rule("delay: {fixed: 1ms, before: handshake}"), tls=tls_of(pair)))
    with contextlib.closing(connect(server.port())) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        alert = sock.recv(64)
    assert alert[0] == 21, "an alert"


def test_certificates_by_name(squall, authority):
    pairs = [authority.sign("first", ["first.test"]), authority.sign("wild", ["*.shop.test"]), authority.sign("pay", ["pay.shop.test"])]
    server = squall(config(tls=tls_of(*pairs)))
    for host, names in [
        ("first.test", ["first.test"]),
        ("a.shop.test", ["*.shop.test"]),
        ("pay.shop.test", ["pay.shop.test"]),
        ("a.b.shop.test", ["first.test"]),
        ("other.test", ["first.test"]),
        (None, ["first.test"]),
    ]:
        assert presented(server, host) == names, host
    trust = context(authority.file)
    for host in ["first.test", "a.shop.test", "pay.shop.test"]:
        get(server, trust, host)
    assert error_of(server, trust, "other.test") == WRONG_HOST
    trust.set_alpn_protocols(["h2", "http/1.1"])
    with contextlib.closing(trust.wrap_socket(connect(server.port()), server_hostname="pay.shop.test")) as sock:
        assert sock.selected_alpn_protocol() == "h2"


def write(pair, folder):
    """Puts a certificate and its key where the configuration says."""
    for source, name in zip(pair, ["web.pem", "web.key"], strict=True):
        new = folder / f"{name}.new"
        shutil.copy(source, new)
        new.rename(folder / name)


def test_changed_files_are_read_again(squall, authority, tmp_path):
    old, new = authority.sign("old", ["localhost", "old.test"]), authority.sign("new", ["localhost", "new.test"])
    write(old, tmp_path)
    server = squall(config(tls=tls_of((tmp_path / "web.pem", tmp_path / "web.key"))))
    reloads = lambda result: server.metrics().sum("squall_reloads_total", result=result)
    assert "old.test" in presented(server, None)
    kept = http.client.HTTPSConnection("localhost", server.port(), timeout=30, context=context(authority.file))
    with contextlib.closing(kept):
        assert status_over(kept) == 200
        write(new, tmp_path)
        eventually(lambda: "new.test" in presented(server, None), True)
        assert status_over(kept) == 200, "what is under way is untouched"

        # A bad file changes nothing, and its correction is seen.
        refused = reloads("error")
        (tmp_path / "web.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
        eventually(lambda: reloads("error"), lambda count: count > refused)
        assert "web.pem" in server.log()
        assert "new.test" in presented(server, None)
        write(old, tmp_path)
        eventually(lambda: "old.test" in presented(server, None), True)
        assert status_over(kept) == 200


def status_over(kept):
    kept.request("GET", "/")
    answer = kept.getresponse()
    answer.read()
    return answer.status


def test_a_file_that_a_refused_configuration_names_is_watched(squall, authority, pair, tmp_path):
    server = squall(config(tls=tls_of(pair)))
    late = authority.sign("late", ["late.test"])
    server.save(config(tls=tls_of((tmp_path / "web.pem", tmp_path / "web.key"))))
    eventually(lambda: server.metrics().sum("squall_reloads_total", result="error"), lambda count: count >= 1)
    write(late, tmp_path)
    eventually(lambda: presented(server, None), ["late.test"])


def test_mutual_tls(squall, tool, authority, pair, tmp_path):
    tool("curl")
    stranger = Authority(tmp_path)
    ours, theirs = authority.sign("client"), stranger.sign("stranger")
    ca = tmp_path / "clients.pem"
    shutil.copy(authority.file, ca)
    delayed = rule("delay: {fixed: 1ms, before: handshake}")
    server = squall(config(delayed, tls=tls_of(pair, client_ca=ca)))

    def let_in(client):
        try:
            get(server, context(authority.file, client=client))
        except (ssl.SSLError, ConnectionResetError):
            return False
        return True

    assert [let_in(client) for client in [ours, theirs, None]] == [True, False, False]
    assert curl(server, "--cacert", authority.file)[0] in (35, 56)
    assert curl(server, "--cacert", authority.file, "--cert", ours[0], "--key", ours[1])[0] == 0
    shutil.copy(stranger.file, ca)
    eventually(lambda: [let_in(client) for client in [ours, theirs, None]], [False, True, False])
    # A faulty certificate does not open the door.
    faulty = rule("certificate: self-signed")
    server.save(config(faulty, tls=tls_of(pair, client_ca=ca)))
    eventually(lambda: curl(server, "--cacert", authority.file, "--cert", theirs[0], "--key", theirs[1])[0], 60)
    assert curl(server, "--insecure", "--cert", theirs[0], "--key", theirs[1])[0] == 0
    assert curl(server, "--insecure")[0] in (35, 56)
    assert server.metrics().sum("squall_faults_injected_total", fault="certificate") == 3


def test_mutual_tls_with_the_upstream_and_changed_files(squall, serve, authority, tmp_path):
    """The upstream's authority and our own certificate are read again, too."""
    stranger = Authority(tmp_path / "other") if (tmp_path / "other").mkdir() is None else None
    server_files, client, wrong = authority.sign("upstream"), authority.sign("client"), stranger.sign("client")
    options = ["--ssl-certfile", server_files[0], "--ssl-keyfile", server_files[1], "--ssl-ca-certs", authority.file]
    argv = [sys.executable, "-m", "uvicorn", "mirror:app", "--app-dir", APPS, "--port", "{port}", "--log-level", "error"]
    port = serve(*argv, *options, "--ssl-cert-reqs", "2")
    write(wrong, tmp_path)
    ca = tmp_path / "ca.pem"
    shutil.copy(stranger.file, ca)
    tls = f"{{ca: {ca}, certificate: {tmp_path / 'web.pem'}, key: {tmp_path / 'web.key'}}}"
    pair = authority.sign("web2")
    server = squall(config(tls=tls_of(pair), upstream=f"{{url: 'https://localhost:{port}', tls: {tls}}}"))
    status = lambda: requests.post(server.url(listener="plain"), data=b"hello", timeout=30).status_code
    assert status() == 502
    shutil.copy(authority.file, ca)
    write(client, tmp_path)
    eventually(status, 200)
    answer = requests.post(f"https://localhost:{server.port()}/", data=b"hello", verify=str(authority.file), timeout=30)
    assert (answer.status_code, answer.content) == (200, b"hello")
    write(wrong, tmp_path)
    eventually(status, 502)


def test_one_certificate_as_before(squall, authority, pair):
    server = squall(config(tls=f"{{certificate: {pair[0]}, key: {pair[1]}}}"))
    get(server, context(authority.file))
    get(server, context(authority.file, ssl.TLSVersion.TLSv1_2), "127.0.0.1")
