"""One listener, several upstreams: routes, base paths, redirects and cookies mapped back, and requests made to a proxy."""

import http.server
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from urllib.parse import urljoin

import pytest
import requests
from browser import Browser
from certificates import Authority
from squall import ROOT, command, eventually

LOGIN = """<!doctype html><title>{name}</title><form method=post action="login"><button>Log in</button></form>"""


class Site(http.server.BaseHTTPRequestHandler):
    """A site below a base path that logs people in, and knows itself only by its own address."""

    protocol_version = "HTTP/1.1"
    base = ""
    address = ""
    cookie = "session=ada; Path={base}/; HttpOnly"

    def answer(self, status, body=b"", **fields):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path, cookies = self.path.split("?")[0], self.headers.get("Cookie", "")
        if path == f"{self.base}/":
            self.answer(200, LOGIN.format(name="site").encode(), Content_Type="text/html")
        elif path == f"{self.base}/private" and "session=ada" in cookies:
            self.answer(200, b"hello ada", Content_Type="text/plain")
        elif path == f"{self.base}/private":
            self.answer(302, Location=f"{self.address}{self.base}/")
        elif path == f"{self.base}/relative":
            self.answer(302, Location=f"{self.base}/private")
        else:
            seen = {"path": self.path, "host": self.headers["Host"], "cookies": cookies}
            self.answer(200, json.dumps(seen).encode(), Content_Type="application/json")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(303, Location=f"{self.address}{self.base}/private", Set_Cookie=self.cookie.format(base=self.base))

    def log_message(self, *_):
        pass


@contextmanager
def site(base="", cookie=Site.cookie, pair=None):
    """A running site; with the files of a certificate and its key, over TLS."""
    handler = type("ThisSite", (Site,), {"base": base, "cookie": cookie})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme, host = ("https", "localhost") if pair else ("http", "127.0.0.1")
    handler.address = f"{scheme}://{host}:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler.address
    server.shutdown()
    server.server_close()


@pytest.fixture
def tls_site(tmp_path):
    authority = Authority(tmp_path)
    with site(base="/app", cookie="session=ada; Path=/app; Domain=localhost; Secure; SameSite=None", pair=authority.sign("localhost")) as url:
        yield url, authority.file


def seen(url, **options):
    return requests.get(url, timeout=10, **options).json()


def explained(server, *words):
    done = command("explain", "-c", server.file, "--seed", "1", "--listener", "web", "--format", "json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_example_has_two_services_behind_one_listener(squall, tmp_path):
    with site(base="/shop") as url:
        text = (ROOT / "config/examples/routes.yaml").read_text()
        text = text.replace("127.0.0.1:8080\n", "127.0.0.1:0\n").replace("http://127.0.0.1:8000", url)
        server = squall(text + "log: {format: json, access: true}\n")
        people = requests.get(server.url("/people/list/count"), timeout=10)
        assert people.status_code == 200, people.text
        assert 'rule="the list of people is slow"' in people.headers["Squall-Fault"]
        shop = [requests.get(server.url("/cart"), headers={"Host": "shop.localhost"}, timeout=10) for _ in range(30)]
        assert {one.status_code for one in shop} == {200, 503}
        assert all(one.json()["path"] == "/shop/cart" for one in shop if one.status_code == 200)
        faults = {one.headers.get("Squall-Fault", "") for one in shop}
        assert not any("people" in fault for fault in faults)

        lost = requests.get(server.url("/elsewhere"), timeout=10)
        assert lost.status_code == 404
        assert "route 1: path `/people/**` -> people" in lost.text
        assert "route 2: host `shop.localhost` -> shop" in lost.text

        metrics = server.metrics()
        assert metrics.sum("squall_requests_total", upstream="people", status="200") == 1
        assert metrics.sum("squall_requests_total", upstream="shop") == 30
        assert metrics.sum("squall_requests_total", upstream="", status="404") == 1
        entries = server.admin_call("/api/v1/journal")[1]
        assert [one["upstream"] for one in json.loads(entries)["requests"]][0] == "people"
        status = json.loads(server.admin_call("/api/v1/status")[1])
        assert status["listeners"][0]["upstreams"] == ["people", "shop"]

        answer = explained(server, server.url("/people/list/count?x=1"))["request"]
        assert (answer["upstream"], answer["sent"]) == ("people", "/api/v1/users/list/count?x=1")
        assert answer["route"] == {"number": 1, "of": 2, "takes": "path `/people/**`"}
        answer = explained(server, "-H", "host: shop.localhost", server.url("/cart"))
        assert (answer["request"]["route"]["number"], answer["request"]["sent"]) == (2, "/shop/cart")
        answer = explained(server, server.url("/elsewhere"))
        assert answer["plan"] == [{"step": "refused", "status": 404, "reason": "no route takes it, and the listener has no upstream of its own"}]
        text = command("explain", "-c", server.file, "--listener", "web", server.url("/people/list/count")).stdout
        assert "route       1 of 2: path `/people/**`" in text
        assert "sent as     /api/v1/users/list/count" in text


TWO = """
seed: 1
log: {{format: json, access: true}}
listeners:
  web:
    address: 127.0.0.1:0
    routes:
      - {{strip_prefix: /a, upstream: app}}
      - {{match: {{path: /v1/**, headers: {{x-new: present}}}}, add_prefix: /new, upstream: other}}
    upstream: other
upstreams:
  app: {app}
  other: {{url: "{other}"}}
rules:
{rules}
"""


def two(app, other, rules="  []"):
    return TWO.format(app=app, other=other, rules=rules)


def test_prefixes_are_taken_off_and_put_on(squall):
    with site(base="/base") as app, site() as other:
        server = squall(two(f'{{url: "{app}/base/"}}', other))
        for path, sent in [
            ("/a/x?q=/a", "/base/x?q=/a"),
            ("/a", "/base"),
            ("/a/x%2Fy%20z/", "/base/x%2Fy%20z/"),
            ("/%61/x", "/base/x"),
            ("/b/../a/x", "/base/x"),
        ]:
            # requests would tidy the path up.
            raw = curl("--path-as-is", server.url(path))
            assert json.loads(raw)["path"] == sent, path
        assert seen(server.url("/ab/x"))["path"] == "/ab/x", "another segment"
        assert seen(server.url("/v1/x"), headers={"x-new": "1"})["path"] == "/new/v1/x"
        assert seen(server.url("/v1/x"))["path"] == "/v1/x"
        line = next(one for one in map(json.loads, server.lines) if one.get("fields", one).get("path") == "/a/x?q=/a")
        assert line.get("fields", line)["upstream"] == "app"


def curl(*words):
    return subprocess.run(["curl", "-sS", "--max-time", "10", *words], capture_output=True, text=True, check=True).stdout


def test_the_links_of_a_fake_lead_back_to_it(squall, tmp_path):
    url = "https://api.example.com/pets?page=2"
    answer = {
        "description": "",
        "headers": {"Link": {"example": f'<{url}>; rel="next"'}},
        "content": {"application/json": {"example": {"next": url}}},
    }
    document = {
        "openapi": "3.0.3",
        "info": {"title": "t", "version": "1"},
        "servers": [{"url": "https://api.example.com"}],
        "paths": {"/pets": {"get": {"responses": {"200": answer}}}},
    }
    (tmp_path / "api.json").write_text(json.dumps(document))
    server = squall(f"""
listeners:
  web:
    address: 127.0.0.1:0
    routes: [{{strip_prefix: /fz, upstream: shop}}]
  direct: {{address: 127.0.0.1:0, upstream: shop}}
upstreams:
  shop:
    fake:
      openapi: {tmp_path}/api.json
      collections: {{products: {{generate: 30, page: {{size: 10}}}}}}
      routes:
        - {{path: /next, headers: {{link: "</next?page=2>; rel=next"}}}}
        - path: /pages
          page:
            {{count: 9, item: "{{{{ number }}}}", style: link, size: 3, envelope: {{next: "{{{{ next_url }}}}"}}}}
""")
    for listener, prefix in [("web", "/fz"), ("direct", "")]:
        base = server.url(prefix, listener)
        for path in ["/next", "/pets", "/products", "/pages"]:
            answer = requests.get(base + path)
            url = urljoin(answer.url, answer.links["next"]["url"])
            assert url.startswith(f"{base}{path}?"), url
            assert requests.get(url).ok
        for path in ["/pets", "/pages"]:
            assert requests.get(base + path).json()["next"] == f"{base}{path}?page=2"
        assert f"curl &#39;{base}/pets" in requests.get(base + "/").text.replace("'", "&#39;")


def test_a_client_that_sees_only_squall_can_log_in(squall, tls_site):
    url, ca = tls_site
    with site() as other:
        server = squall(two(f'{{url: "{url}/app", tls: {{ca: "{ca}"}}}}', other))
        with requests.Session() as session:
            assert session.get(server.url("/a/private"), timeout=10).url == server.url("/a/")
            page = session.post(server.url("/a/login"), timeout=10)
            assert (page.url, page.text) == (server.url("/a/private"), "hello ada")
            assert [(one.path, one.domain, one.secure) for one in session.cookies] == [("/a", "127.0.0.1", False)]
            assert session.get(server.url("/a/relative"), timeout=10).text == "hello ada"
            assert session.get(server.url("/else"), timeout=10).json()["cookies"] == "", "a cookie of the other service"
        jar = server.file.parent / "jar"
        assert curl("-L", "-b", jar, "-c", jar, "-d", "", server.url("/a/login")) == "hello ada"


def test_a_browser_logs_in_with_a_mapped_cookie_and_follows_a_mapped_redirect(squall, tls_site, tmp_path):
    url, ca = tls_site
    with site() as other, (tmp_path / "browser.log").open("w") as log:
        server = squall(two(f'{{url: "{url}/app", tls: {{ca: "{ca}"}}}}', other))
        browser = Browser(log, "--host-resolver-rules=MAP *.example 127.0.0.1")
        try:
            origin = f"http://shop.example:{server.port()}"
            browser.open(url=f"{origin}/a/private", only=origin)
            assert browser.run(script="location.href") == f"{origin}/a/", "the redirect to the login"
            browser.click(role="button", name="Log in")
            browser.wait(selector="body", text="hello ada")
            assert browser.run(script="location.href") == f"{origin}/a/private"
            text = browser.run(script="fetch('/a/relative').then((answer) => answer.text())")
            assert text == "hello ada"
            elsewhere = browser.run(script="fetch('/else').then((answer) => answer.json())")
            assert elsewhere["cookies"] == ""
            assert browser.seen() == []
        finally:
            browser.close()


def test_without_map_back_the_upstream_s_words_pass(squall):
    with site(base="/base") as app, site() as other:
        server = squall(two(f'{{url: "{app}/base", map_back: false}}', other))
        answer = requests.get(server.url("/a/private"), allow_redirects=False, timeout=10)
        assert answer.headers["Location"] == f"{app}/base/"


def test_a_redirect_to_another_upstream_goes_where_its_route_leads(squall):
    with site(base="/base") as app, site() as other:
        text = two('{fake: {routes: [{path: /go, status: 302, headers: {location: "%s/private"}}]}}' % other, other)
        server = squall(text)
        answer = requests.get(server.url("/a/go"), allow_redirects=False, timeout=10)
        assert answer.headers["Location"] == server.url("/private")
        assert app


def test_rules_of_an_upstream_hit_only_its_requests(squall):
    rules = """
  - {name: app fails, upstream: app, match: {path: /a/x}, faults: [{abort: 503}]}
  - {name: other is cut, upstream: [other], match: {path: /cut}, faults: [{truncate: 5B}]}
  - {name: all are slow, match: {path: /slow}, faults: [{delay: 10ms}]}
"""
    with site() as app, site() as other:
        server = squall(two(f'{{url: "{app}"}}', other, rules))
        assert requests.get(server.url("/a/x"), timeout=10).status_code == 503
        assert requests.get(server.url("/a/y"), timeout=10).status_code == 200
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            requests.get(server.url("/cut"), timeout=10)
        assert requests.get(server.url("/a/cut"), timeout=10).status_code == 200
        near = json.loads(server.admin_call("/api/v1/journal")[1])["requests"][-1]["id"]
        missed = json.loads(server.admin_call(f"/api/v1/journal/{near}")[1])["near_misses"]
        words = json.dumps(missed)
        assert "upstream other: the request goes to `app`" in words
        answer = explained(server, server.url("/a/cut"))
        failed = {one["rule"]: one.get("failed") for one in answer["rules"]}
        assert "upstream other: the request goes to `app`" in failed["other is cut"]


def test_a_reload_changes_routes_and_keeps_requests(squall):
    with site() as app, site() as other:
        server = squall(two(f'{{url: "{app}"}}', other), args=["--no-watch"])
        assert seen(server.url("/a/x"))["path"] == "/x"
        server.file.write_text(server.file.read_text().replace("strip_prefix: /a", "strip_prefix: /b"))
        assert server.admin_call("/api/v1/reload", method="POST")[0] == 200
        assert seen(server.url("/a/x"))["path"] == "/a/x"
        assert seen(server.url("/b/x"))["path"] == "/x"


def test_http2_goes_through_routes(squall, tool):
    tool("curl")
    with site() as other:
        server = squall(two(f'{{url: "{other}/h2"}}', other))
        done = curl("--http2-prior-knowledge", server.url("/a/x?y=1"))
        assert json.loads(done) == {"path": "/h2/x?y=1", "host": f"127.0.0.1:{server.port()}", "cookies": ""}


def test_an_upgraded_connection_goes_through_a_route(squall):
    """A server that switches to a protocol of its own, and sends back what it gets."""
    listening = socket.create_server(("127.0.0.1", 0))

    def echo():
        connection, _ = listening.accept()
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + head.split()[1])
        while piece := connection.recv(4096):
            connection.sendall(piece)

    threading.Thread(target=echo, daemon=True).start()
    with site() as other, listening:
        app = f"http://127.0.0.1:{listening.getsockname()[1]}/base"
        server = squall(two(f'{{url: "{app}"}}', other))
        with socket.create_connection(("127.0.0.1", server.port()), 10) as client:
            client.sendall(b"GET /a/socket HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
            got = b""
            while b"/base/socket" not in got:
                got += client.recv(4096)
            assert got.startswith(b"HTTP/1.1 101 ")
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"


PROXY = """
seed: 1
admin: {{address: 127.0.0.1:0}}
log: {{format: json, access: true}}
listeners:
  web:
    address: 127.0.0.1:0
    routes:
      - {{match: {{host: api.example.com}}, upstream: fake}}
    upstream: anywhere
upstreams:
  fake: {{fake: echo}}
  anywhere: {{forward: {forward}}}
rules:
  - {{name: slow, upstream: anywhere, match: {{path: /slow}}, faults: [{{delay: 20ms}}]}}
"""


def through(server, url, **options):
    return requests.get(url, proxies={"http": server.url("")}, timeout=10, **options)


def test_requests_made_to_a_proxy_go_to_the_host_that_they_name(squall):
    with site() as url:
        server = squall(PROXY.format(forward="{}"))
        port = url.rsplit(":", 1)[1]
        answer = through(server, f"{url}/x?y=1")
        assert answer.json() == {"path": "/x?y=1", "host": f"127.0.0.1:{port}", "cookies": ""}
        assert through(server, f"http://localhost:{port}/x").json()["host"] == f"localhost:{port}"
        assert "slow" in through(server, f"{url}/slow").headers["Squall-Fault"]
        redirected = through(server, f"{url}/private", allow_redirects=False)
        assert redirected.headers["Location"] == f"{url}/", "clients know the server itself"
        faked = through(server, "http://api.example.com/anything")
        assert faked.status_code == 200
        metrics = server.metrics()
        assert metrics.sum("squall_requests_total", upstream="fake", status="200") == 1
        assert metrics.sum("squall_requests_total", upstream="anywhere", status="200") == 3


def test_other_hosts_and_squall_itself_are_refused(squall):
    with site() as url:
        port = url.rsplit(":", 1)[1]
        server = squall(PROXY.format(forward="{hosts: [loopback, 'named.example', '*.internal']}"))
        for target, words in [
            ("http://evil.example/", "evil.example may not be forwarded to: `hosts` allows loopback, named.example, *.internal"),
            ("http://169.254.169.254/latest", "169.254.169.254:80 may not be forwarded to"),
            (f"http://0.0.0.0:{port}/", "may not be forwarded to"),
            (server.admin + "/metrics", "is squall itself"),
            (server.admin.replace("127.0.0.1", "localhost") + "/metrics", "is squall itself"),
            (server.admin.replace("127.0.0.1", "[::ffff:127.0.0.1]") + "/metrics", "is squall itself"),
            (server.url("/x"), "is squall itself"),
        ]:
            answer = through(server, target)
            assert (answer.status_code, words in answer.text) == (403, True), (target, answer.text)
            assert answer.text.startswith("squall: upstream anywhere: ")
        direct = requests.get(server.url("/x"), timeout=10)
        assert (direct.status_code, "http_proxy" in direct.text) == (400, True)
        with socket.create_connection(("127.0.0.1", server.port()), 10) as tunnel:
            tunnel.sendall(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
            answer = tunnel.recv(4096).decode()
            assert answer.startswith("HTTP/1.1 405 ") and "https://HOST" in answer
        errors = server.metrics().sum("squall_upstream_errors_total", upstream="anywhere")
        assert errors == 0, "a refusal does not count as a failure of the upstream"


def test_a_name_that_leads_to_this_machine_is_refused(squall, tmp_path):
    """What DNS rebinding would do, without a DNS: a name in a hosts file of the resolver's own."""
    with site() as url:
        port = url.rsplit(":", 1)[1]
        name = socket.gethostname()
        try:
            found = socket.gethostbyname(name)
        except OSError:
            pytest.skip("this machine's name has no address")
        server = squall(PROXY.format(forward=f"{{hosts: ['{name}']}}"))
        answer = through(server, f"http://{name}:{port}/x")
        if found.startswith("127."):
            assert (answer.status_code, "may not be forwarded to" in answer.text) == (403, True), answer.text
        else:
            assert answer.status_code == 502, "the site listens on loopback only"


def test_explain_names_what_a_proxy_would_do(squall):
    server = squall(PROXY.format(forward="{hosts: [named.example]}"))
    def plan(*words):
        return explained(server, "--", "curl", "-x", server.url(""), *words)["plan"]
    assert plan("http://named.example/x")[0] == {"step": "upstream", "name": "anywhere"}
    assert plan("http://api.example.com/x")[0] == {"step": "upstream", "name": "fake"}
    refused = plan("http://evil.example/x")[0]
    assert refused["status"] == 403 and "evil.example" in refused["reason"]
    direct = explained(server, server.url("/x"))["plan"][0]
    assert direct["status"] == 400


def test_a_proxy_serves_curl_and_its_connections_again(squall):
    with site() as url:
        server = squall(PROXY.format(forward="{}"))
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        done = curl("-x", server.url(""), "-w", "%{http_code} ", f"{url}/a", f"{url}/b")
        assert re.findall(r"\d{3} ", done) == ["200 ", "200 "]
        eventually(lambda: server.metrics().sum("squall_requests_total", upstream="anywhere"), 2)
