"""CORS in a real browser: what a page of another origin can read of injected responses, and what it can't."""

import http.client
import http.server
import json
import threading
from contextlib import closing, contextmanager

import pytest
import requests
from browser import Browser
from certificates import Authority
from fakes import Fake
from squall import ROOT, command, complete, eventually

CONFIG = """
listeners:
  web: {{address: 127.0.0.1:0, upstream: api, {listener}}}
upstreams:
  api: {upstream}
rules:
  - name: down
    match: {{path: /down}}
    faults: [{{abort: {{status: 503, retry_after: 5s, json: {{error: down}}, headers: {{X-Own: mine}}}}}}]
  - name: once
    match: {{path: /once}}
    when: {{attempts: 1, key: path}}
    faults: [{{abort: 503}}]
  - name: late
    match: {{path: /late}}
    faults: [{{delay: 5ms}}]
  - name: strict
    match: {{path: /strict, method: OPTIONS}}
    faults: [{{abort: 503}}]
  - name: few
    match: {{path: /few}}
    faults: [{{quota: {{requests: 1, per: 1h, fields: ietf}}}}]
  - name: cut
    match: {{path: /cut}}
    faults: [{{rewrite: {{body: a long enough body}}}}, {{truncate: {{after: 5B, end: close}}}}]
  - name: gone
    match: {{path: /gone}}
    faults: [{{close: {{}}}}]
  - name: closed
    match: {{path: /closed}}
    faults: [{{rewrite: {{headers: {{remove: access-control-allow-origin}}}}}}]
"""
FAKE = "{fake: echo}"
# What a page gets to know of a response.
LOOK = """(async () => {
  let r;
  try { r = await fetch(URL, OPTIONS); } catch (e) { return {error: e.name}; }
  const seen = {status: r.status};
  for (const name of ['retry-after', 'squall-fault', 'x-own', 'ratelimit', 'x-natural', 'x-hidden'])
    if (r.headers.has(name)) seen[name] = r.headers.get(name);
  try { seen.body = await r.text(); } catch (e) { seen.broken = e.name; }
  return seen;
})()"""
SIMPLE = {}
WITH_COOKIES = {"credentials": "include"}
WITH_PREFLIGHT = {
    "method": "PUT",
    "credentials": "include",
    "headers": {"content-type": "application/json", "authorization": "Bearer x", "x-custom": "1"},
    "body": "{}",
}


@contextmanager
def served(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


class Page(http.server.BaseHTTPRequestHandler):
    """A page, of whatever origin it is asked by."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>page</title><link rel=icon href=data:,>")

    def log_message(self, *_):
        pass


class Api(http.server.BaseHTTPRequestHandler):
    """A server that allows one origin, with fields of its own; its preflights are counted."""

    protocol_version = "HTTP/1.1"
    origin = None
    status = 200
    preflights = 0

    def respond(self):
        if self.command == "OPTIONS":
            type(self).preflights += 1
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(self.status)
        if self.origin and self.headers.get("origin") == self.origin:
            self.send_header("access-control-allow-origin", self.origin)
            self.send_header("access-control-allow-credentials", "true")
            self.send_header("access-control-allow-methods", "PUT")
            self.send_header("access-control-allow-headers", "authorization, content-type, x-custom")
            self.send_header("access-control-expose-headers", "x-natural")
        self.send_header("x-natural", "yes")
        self.send_header("x-hidden", "yes")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_GET = do_PUT = do_OPTIONS = respond

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with (tmp_path_factory.mktemp("browser") / "log").open("w") as log:
        browser = Browser(log, "--host-resolver-rules=MAP *.example 127.0.0.1", "--ignore-certificate-errors")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def origin():
    with served(Page) as port:
        yield f"http://localhost:{port}"


@pytest.fixture
def api(origin):
    """A real upstream, and its handler."""
    handler = type("Api", (Api,), {"origin": origin})
    with served(handler) as port:
        yield f'{{url: "http://127.0.0.1:{port}"}}', handler


@pytest.fixture
def look(squall, browser, origin):
    """A function that starts squall, and returns one that fetches from a page, of `origin` unless another is named."""

    def start(listener="cors: mirror", upstream=FAKE):
        server = squall(CONFIG.format(listener=listener, upstream=upstream))
        opened = [None]

        def fetch(path, options=SIMPLE, page=origin, scheme="http"):
            if opened[0] != page:
                browser.open(url=page + "/")
                opened[0] = page
            url = f"{scheme}://localhost:{server.port()}{path}"
            return browser.run(script=LOOK.replace("URL", json.dumps(url)).replace("OPTIONS", json.dumps(options)))

        fetch.server = server
        return fetch

    return start


def matched(server, rule):
    rules = requests.get(server.admin + "/api/v1/rules", timeout=10).json()["rules"]
    return next(one["matched"] for one in rules if one["name"] == rule)


@pytest.mark.parametrize("upstream", ["fake", "real", "gone"])
@pytest.mark.parametrize("cors", ["mirror", "{{origins: [https://x.example, {origin}]}}", "{{origins: 'http://localhost:*'}}"])
def test_a_page_reads_an_injected_error(look, origin, api, upstream, cors):
    target = {"fake": FAKE, "real": api[0], "gone": '{url: "http://127.0.0.1:1"}'}[upstream]
    fetch = look(f"cors: {cors.format(origin=origin)}", target)
    with_preflight = [] if upstream == "gone" else [WITH_PREFLIGHT]
    for options in [SIMPLE, WITH_COOKIES, *with_preflight]:
        seen = fetch("/down", options)
        assert seen.pop("squall-fault").startswith('rule="down", fault=abort')
        assert seen == {"status": 503, "retry-after": "5", "x-own": "mine", "body": '{"error":"down"}'}, options
    assert matched(fetch.server, "down") == 2 + len(with_preflight), "preflights don't count"
    if upstream == "real":
        assert api[1].preflights == 1, "they are passed on"
    if upstream == "gone":
        assert fetch("/else")["status"] == 502, "squall's own errors can be read too"


def test_over_https_and_http2(squall, browser, origin, tmp_path):
    chain, key = Authority(tmp_path).sign("web")
    server = squall(CONFIG.format(listener=f"cors: mirror, tls: {{certificate: {chain}, key: {key}}}", upstream=FAKE))
    browser.open(url=origin + "/")
    for options in [SIMPLE, WITH_PREFLIGHT]:
        url = json.dumps(f"https://localhost:{server.port()}/down")
        seen = browser.run(script=LOOK.replace("URL", url).replace("OPTIONS", json.dumps(options)))
        assert (seen["status"], seen["retry-after"], "squall-fault" in seen) == (503, "5", True)


def test_without_the_option_the_page_is_told_nothing(look):
    fetch = look("timeouts: {}")
    assert fetch("/down") == {"error": "TypeError"}
    assert fetch("/down", WITH_PREFLIGHT) == {"error": "TypeError"}
    assert matched(fetch.server, "down") == 2


def test_another_origin_reads_nothing(look, origin):
    fetch = look(f"cors: {{origins: {origin}}}")
    other = origin.replace("localhost", "app.example")
    for path in ["/down", "/natural", "/late"]:
        for options in [SIMPLE, WITH_COOKIES, WITH_PREFLIGHT]:
            assert fetch(path, options, page=other) == {"error": "TypeError"}, (path, options)
    assert fetch("/down")["status"] == 503


def test_credentials_can_be_refused(look):
    fetch = look("cors: {origins: '*', credentials: false}")
    assert fetch("/down")["status"] == 503
    assert fetch("/down", WITH_COOKIES) == {"error": "TypeError"}


def test_a_preflight_is_no_attempt_and_meets_only_rules_that_name_it(look):
    fetch = look()
    assert fetch("/once", WITH_PREFLIGHT)["status"] == 503
    assert fetch("/once", WITH_PREFLIGHT)["status"] == 200
    assert fetch("/strict", WITH_PREFLIGHT) == {"error": "TypeError"}
    assert fetch("/strict")["status"] == 200


def test_natural_responses_of_a_fake(look):
    fetch = look()
    seen = fetch("/natural", WITH_PREFLIGHT)
    assert seen["status"] == 200
    assert json.loads(seen["body"])["headers"]["x-custom"] == "1"
    assert "fault=delay" in fetch("/late")["squall-fault"]
    assert fetch("/few")["status"] == 200
    few = fetch("/few")
    assert few["status"] == 429 and few["retry-after"] and few["ratelimit"]
    assert fetch("/closed") == {"error": "TypeError"}, "a rule can still take the fields away"


def test_natural_responses_of_a_server_stay_its_own(look, api, origin):
    fetch = look("cors: mirror", api[0])
    for options in [SIMPLE, WITH_PREFLIGHT]:
        assert fetch("/natural", options) == {"status": 200, "x-natural": "yes", "body": "ok"}
    assert fetch("/late")["squall-fault"].startswith('rule="late"')
    other = origin.replace("localhost", "app.example")
    assert fetch("/natural", page=other) == {"error": "TypeError"}, "the server does not allow it"
    assert fetch("/down", page=other)["status"] == 503
    plain = requests.get(fetch.server.url("/natural"), headers={"origin": origin}, timeout=10).headers
    assert plain["access-control-expose-headers"] == "x-natural" and "vary" not in plain


def test_those_of_a_server_can_be_replaced(look, api, origin):
    fetch = look("cors: {origins: 'http://app.example:*', natural: replace}", api[0])
    other = origin.replace("localhost", "app.example")
    for options in [SIMPLE, WITH_COOKIES, WITH_PREFLIGHT]:
        seen = fetch("/natural", options, page=other)
        assert seen == {"status": 200, "x-natural": "yes", "x-hidden": "yes", "body": "ok"}
    assert api[1].preflights == 0, "squall answers them"
    assert fetch("/natural") == {"error": "TypeError"}, "what the server allows is gone"


@pytest.mark.parametrize(
    ("upstream", "cors"),
    [("real", "{origins: '*', natural: replace}"), ("real", "{origins: '*', expose: x-own}"), ("fake", "mirror")],
)
def test_what_is_exposed_stands_in_one_field(squall, api, origin, upstream, cors):
    server = squall(CONFIG.format(listener=f"cors: {cors}", upstream=api[0] if upstream == "real" else FAKE))
    for path in ["/natural", "/late", "/down"]:
        # `requests` would join them.
        with closing(http.client.HTTPConnection("127.0.0.1", server.port(), timeout=10)) as client:
            client.request("GET", path, headers={"origin": origin})
            fields = client.getresponse().headers.get_all("access-control-expose-headers")
        names = [name.lower() for name in fields[0].split(", ")]
        assert len(fields) == 1 and len(names) == len(set(names)), (path, fields)
        if path == "/late":
            assert "squall-fault" in names and ("x-natural" in names) == (upstream == "real")


REFUSED = "the upstream refuses a page of another origin"


def refusals(server):
    """What squall has warned of: listener, upstream and reason."""
    lines = [json.loads(line) for line in server.lines if REFUSED in line]
    assert all("natural: replace" in line["message"] and line["level"] == "WARN" for line in lines)
    return [(line["listener"], line["upstream"], line["reason"]) for line in lines]


def test_squall_warns_once_of_a_server_that_refuses_preflights(look, api):
    api[1].origin = None
    fetch = look("cors: mirror", api[0])
    for path in ["/down", "/down", "/natural"]:
        assert fetch(path, WITH_PREFLIGHT) == {"error": "TypeError"}
    assert fetch("/natural") == {"error": "TypeError"}
    refused = [("web", "api", "its response to a preflight does not allow the origin")]
    eventually(lambda: refusals(fetch.server), refused)
    fetch.server.save(CONFIG.format(listener="cors: mirror, timeouts: {idle: 59s}", upstream=api[0]))
    # Said again after a reload, of a response that needs no preflight.
    again = [*refused, ("web", "api", "its response does not allow the origin")]
    eventually(lambda: (fetch("/natural"), refusals(fetch.server))[1], again)


@pytest.mark.parametrize("status", [404, 503])
def test_squall_warns_of_the_status_of_a_preflight(squall, api, origin, status):
    api[1].status = status
    server = squall(CONFIG.format(listener="cors: mirror", upstream=api[0]))
    ask = {"origin": origin, "access-control-request-method": "PUT"}
    assert requests.options(server.url("/x"), headers=ask, timeout=10).status_code == status
    eventually(lambda: refusals(server), [("web", "api", f"its response to a preflight has the status {status}, not 2xx")])


def test_squall_warns_of_nothing_else(look, api, origin):
    """Not of servers that allow the page, of pages that `cors` keeps out, of natural responses that squall replaces, or of fakes."""
    other = origin.replace("localhost", "app.example")
    cases = [
        ("cors: mirror", api[0], origin),
        (f"cors: {{origins: '{origin}'}}", api[0], other),
        ("cors: {origins: '*', natural: replace}", api[0], other),
        ("timeouts: {}", api[0], other),
        ("cors: mirror", FAKE, origin),
    ]
    for listener, upstream, page in cases:
        fetch = look(listener, upstream)
        for options in [SIMPLE, WITH_COOKIES, WITH_PREFLIGHT]:
            fetch("/natural", options, page=page)
        assert not refusals(fetch.server), (listener, upstream)


def test_the_routes_to_an_upstream_share_a_warning(squall, api, origin):
    api[1].origin = None
    text = ROUTED.format(cors="cors: mirror", api=api[0])
    server = squall(text.replace("    routes:", "    routes:\n      - {match: {path: /too/**}, upstream: api}"))
    for path in ["/real/x", "/too/x", "/real/x", "/own/x"]:
        requests.get(server.url(path), headers={"origin": origin}, timeout=10)
    eventually(lambda: len(refusals(server)), 1)


def test_the_example_lets_a_page_use_a_server_without_cors(squall, api, browser, origin):
    api[1].origin = None
    text = (ROOT / "config/examples/cors.yaml").read_text()
    server = squall(
        text.replace("127.0.0.1:8080\n", "127.0.0.1:0\n")
        .replace('{url: "http://127.0.0.1:8000"}', api[0])
        .replace("percentage: 33", "every: 2")
    )
    browser.open(url=origin + "/")

    def look(path):
        url = json.dumps(f"http://localhost:{server.port()}{path}")
        return browser.run(script=LOOK.replace("URL", url).replace("OPTIONS", json.dumps(WITH_PREFLIGHT)))

    seen = [look(path) for path in ["/cart", "/cart", "/todo/x", "/todo/x"]]
    assert [one["status"] for one in seen] == [200, 503, 404, 503]
    assert [one.get("retry-after") for one in seen] == [None, "2", None, "2"]
    assert api[1].preflights == 0 and not refusals(server)


def test_endings_and_bodies_stay_what_they_are(look):
    fetch = look()
    assert fetch("/gone") == {"error": "TypeError"}
    cut = fetch("/cut")
    assert (cut["status"], "broken" in cut, "fault=truncate" in cut["squall-fault"]) == (200, True, True)


def test_a_private_network_is_allowed_where_a_browser_asks(squall, api, origin):
    ask = {"origin": origin, "access-control-request-method": "GET", "access-control-request-private-network": "true"}
    for upstream in [FAKE, api[0]]:
        server = squall(CONFIG.format(listener="cors: mirror", upstream=upstream))
        answer = requests.options(server.url("/down"), headers=ask, timeout=10)
        assert answer.ok
        assert answer.headers["access-control-allow-private-network"] == "true"
        assert answer.headers["access-control-allow-origin"] == origin
        refused = requests.options(server.url("/x"), headers={**ask, "origin": "null"}, timeout=10)
        assert ("access-control-allow-private-network" in refused.headers) == (upstream == FAKE)


def test_a_fake_with_the_option(browser, origin, tmp_path):
    """Alone, and behind a listener that has none."""
    with Fake("name: echo\ncors: mirror", tmp_path / "fake") as fake:
        browser.open(url=origin + "/")
        url = json.dumps(fake.url.replace("127.0.0.1", "localhost") + "/x")
        seen = browser.run(script=LOOK.replace("URL", url).replace("OPTIONS", json.dumps(WITH_PREFLIGHT)))
        assert seen["status"] == 200


def test_behind_a_listener_a_fake_lends_its_option(look):
    fetch = look("timeouts: {}", "{fake: {name: echo, cors: mirror}}")
    assert fetch("/down", WITH_PREFLIGHT)["status"] == 503
    assert fetch("/natural", WITH_PREFLIGHT)["status"] == 200


ROUTED = """
listeners:
  web:
    address: 127.0.0.1:0
    {cors}
    routes:
      - {{match: {{path: /own/**}}, upstream: own, strip_prefix: /own}}
      - {{match: {{path: /lent/**}}, upstream: lent}}
      - {{match: {{path: /real/**}}, upstream: api, strip_prefix: /real}}
upstreams:
  own: {{fake: echo}}
  lent: {{fake: {{name: echo, cors: mirror}}}}
  api: {api}
rules:
  - {{name: down, match: {{path: /*/down}}, faults: [{{abort: {{status: 503, retry_after: 5s}}}}]}}
"""


@pytest.mark.parametrize("cors", ["cors: mirror", ""])
def test_with_routes(squall, browser, api, origin, cors):
    """The listener's option is that of all its routes; a fake's own goes for the routes that lead to it."""
    server = squall(ROUTED.format(cors=cors, api=api[0]))
    browser.open(url=origin + "/")

    def look(path, options):
        url = json.dumps(f"http://localhost:{server.port()}{path}")
        seen = browser.run(script=LOOK.replace("URL", url).replace("OPTIONS", json.dumps(options)))
        return seen.get("status", seen.get("error"))

    blocked = "TypeError"
    for options in [SIMPLE, WITH_PREFLIGHT]:
        # The real server answers its preflights itself, and allows this origin.
        expected = [200, 200, 200] if cors else [blocked, 200, 200]
        assert [look(f"/{route}/natural", options) for route in ["own", "lent", "real"]] == expected
        expected = [503, 503, 503] if cors else [blocked, 503, blocked]
        assert [look(f"/{route}/down", options) for route in ["own", "lent", "real"]] == expected
        assert look("/nowhere", options) == (404 if cors else blocked)
    assert matched(server, "down") == 6, "a preflight that is not spared is all that is sent"


def test_a_fake_keeps_its_rows_when_its_option_changes(squall, origin):
    config = "listeners: {{web: {{address: 127.0.0.1:0, upstream: api}}}}\nupstreams: {{api: {{fake: {{{cors}collections: {{notes: {{}}}}}}}}}}\n"
    server = squall(config.format(cors=""))
    row = requests.post(server.url("/notes"), json={"text": "kept"}, timeout=10).json()
    read = lambda: requests.get(server.url("/notes"), headers={"origin": origin}, timeout=10)  # noqa: E731
    assert "access-control-allow-origin" not in read().headers
    server.save(config.format(cors="cors: mirror, "))
    eventually(lambda: read().headers.get("access-control-allow-origin"), origin)
    assert row in read().json()


def test_explain_says_so(tmp_path, api, origin):
    file = tmp_path / "squall.yaml"

    def explain(listener, upstream, *args):
        file.write_text(complete(CONFIG.format(listener=listener, upstream=upstream)))
        told = command("explain", "-c", file, "-H", f"origin: {origin}", *args)
        assert told.returncode == 0, told.stderr
        return told.stdout

    preflight = ["-X", "OPTIONS", "-H", "access-control-request-method: PUT"]
    text = explain("cors: mirror", FAKE, *preflight, "/down")
    assert "a preflight: spared" in text and "squall answers it itself, and allows" in text
    assert "spared" not in explain("cors: mirror", FAKE, *preflight, "/strict").split("plan")[1]
    text = explain("cors: mirror", api[0], *preflight, "/down")
    assert "the upstream `api` answers it, and unless it allows" in text
    assert f'`cors: {{origins: "{origin}", natural: replace}}`' in text
    replaced = explain("cors: {origins: '*', natural: replace}", api[0], *preflight, "/down")
    assert "squall answers it itself, and allows" in replaced and "natural: replace" not in replaced
    assert "answers it itself with 403" in explain("cors: https://x.example", FAKE, *preflight, "/down")
    assert "rules hit it like any request" in explain("timeouts: {}", FAKE, *preflight, "/down")
    assert f"pages of `{origin}` can read injected responses" in explain("cors: mirror", api[0], "/down")
    assert "can't read injected responses" in explain("cors: https://x.example", FAKE, "/down")
