"""The dashboard in a real browser: each control has its effect on real traffic, and nobody else's page has any."""

import http.server
import json
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import requests
from browser import MODULES, Browser
from squall import ROOT, eventually

CONFIG = """
seed: 42
{admin}
listeners:
  web: {{address: 127.0.0.1:0, upstream: shop}}
upstreams:
  shop: {{fake: echo}}
rules:
  - name: pay is down
    match: {{path: /pay}}
    faults: [{{abort: 503}}]
  - name: search is slow
    match: {{path: /search}}
    faults: [{{delay: 20ms}}]
  - name: never
    match: {{path: /never, method: POST}}
    faults: [{{delay: {{lognormal: {{median: 1ms, p99: 2ms}}}}}}]
"""
VENDORED = ROOT / "src" / "admin" / "dashboard" / "uplot"


def config(token=None):
    return CONFIG.format(admin=f"admin: {{address: 127.0.0.1:0, token: {token}}}" if token else "")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with (tmp_path_factory.mktemp("browser") / "log").open("w") as log:
        # The browser's own protection of this machine is off, so that squall's is tried.
        protection = "LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights"
        browser = Browser(log, "--host-resolver-rules=MAP *.example 127.0.0.1", f"--disable-features={protection}")
        yield browser
        browser.close()


@pytest.fixture
def shown(squall, browser):
    """A squall, and its dashboard in the browser."""
    server = squall(config(), args=["--no-watch"])
    browser.open(url=server.admin + "/", only=server.admin)
    browser.wait(selector="#rules tbody", text="pay is down")
    yield server
    assert browser.seen() == []


def status(server, path="/pay"):
    return requests.get(server.url(path), timeout=10).status_code


def seconds(server, path):
    began = time.monotonic()
    assert status(server, path) == 200
    return time.monotonic() - began


def shows(browser, value, **what):
    """The page follows what it has changed a moment later."""
    eventually(lambda: browser.attribute(**what), value)


def test_switches_and_sliders_steer_real_traffic(shown, browser):
    assert status(shown) == 503
    switch = {"role": "switch", "name": "rule pay is down"}
    browser.click(**switch)
    eventually(lambda: status(shown), 200)
    shows(browser, "false", attribute="aria-checked", **switch)
    browser.click(**switch)
    eventually(lambda: status(shown), 503)
    shows(browser, "true", attribute="aria-checked", **switch)

    # A slider with the keyboard, and the same value as text.
    slider = {"role": "slider", "name": "delay of search is slow"}
    browser.focus(**slider)
    browser.press(keys=["End"])
    browser.press(keys=["Home"])
    eventually(lambda: browser.value(selector="[aria-label^='delay of search is slow, as text']"), "1ms")
    browser.fill(selector="[aria-label^='delay of search is slow, as text']", value="0.4s")
    browser.press(keys=["Enter"])
    eventually(lambda: seconds(shown, "/search") > 0.39, True)
    browser.fill(selector="[aria-label^='delay of search is slow, as text']", value="400")
    browser.press(keys=["Enter"])
    shows(browser, "true", attribute="aria-invalid", selector="[aria-label^='delay of search is slow, as text']")

    percentage = {"role": "slider", "name": "percentage of requests that pay is down hits"}
    browser.focus(**percentage)
    browser.press(keys=["Home"])
    eventually(lambda: status(shown), 200)

    # What was changed is the API's, and goes back to the file's.
    browser.wait(selector="#rules tbody", text="changed by the API")
    browser.click(role="button", name="Revert: bring back the file's rule pay is down")
    eventually(lambda: status(shown), 503)
    eventually(lambda: browser.count(selector="#rules tbody tr"), 3)


def test_a_share_that_is_not_the_percentage_is_seen(shown, browser):
    place = shown.admin + "/api/v1/rules/pay%20is%20down"
    share = {"selector": "#rules tbody .share"}
    assert browser.text(**share) == ""
    for when, expected in [
        ({"every": 3}, "1 in 3"),
        ({"every": 3, "percentage": "50%"}, "50% of 1 in 3"),
        ({"every": None, "percentage": None, "limits": {"total": 2}}, "100%, at most 2 in all"),
    ]:
        assert requests.patch(place, json={"when": when}, timeout=10).status_code == 200
        eventually(lambda: browser.text(**share), expected)
    described = browser.attribute(role="slider", name="percentage of requests that pay is down hits", attribute="aria-describedby")
    assert browser.text(selector=f"#{described}") == "100%, at most 2 in all"
    assert [status(shown) for _ in range(3)] == [503, 503, 200]
    browser.wait(selector="#rules tbody", text="limits.total is reached")
    assert browser.axe() == []


def test_another_change_is_not_overwritten(shown, browser):
    """The page's copy is old when it patches: what somebody else has set meanwhile stays."""
    place = shown.admin + "/api/v1/rules/search%20is%20slow"
    two = {"faults": [{"delay": "5ms"}, {"abort": 418}]}
    browser.run(script="window.__fetch = window.fetch; window.fetch = (u, o) => String(u).endsWith('/rules') ? new Promise(() => {}) : window.__fetch(u, o)")
    assert requests.patch(place, json=two, timeout=10).status_code == 200
    browser.focus(role="slider", name="delay of search is slow")
    browser.press(keys=["Home", "ArrowRight"])
    faults = lambda: requests.get(place, timeout=10).json()["spec"]["faults"]  # noqa: E731
    eventually(lambda: faults()[0]["delay"]["fixed"] not in {"5ms", "20ms"}, True)
    assert faults()[1]["abort"]["status"] == 418


def allow(server, browser):
    time.sleep(0.6)  # longer than between the two clicks of a double one
    browser.click(role="button", name="Allow faults again")
    eventually(lambda: status(server), 503)
    browser.wait(role="button", name="Stop all faults", text="Stop")


def test_one_click_and_two_keys_stop_everything(shown, browser):
    assert status(shown) == 503
    browser.click(role="button", name="Stop all faults", twice=True)
    eventually(lambda: status(shown), 200)
    browser.wait(selector="#armed", text="nothing is injected")
    time.sleep(0.3)
    assert status(shown) == 200, "a double click stops, and no more"
    allow(shown, browser)
    for place in ["#explain-curl", ".switch", "body"]:
        browser.run(script=f"document.querySelector({place!r}).focus()")
        browser.press(keys=["Escape", "Escape"])
        eventually(lambda: status(shown), 200)
        browser.wait(selector="#armed", text="Esc was pressed twice")
        browser.press(keys=["Escape", "Escape"])
        assert status(shown) == 200, "keys never start anything"
        allow(shown, browser)
    browser.press(keys=["Escape", "x", "Escape"])
    assert status(shown) == 503, "something came between"


def test_what_happens_is_seen(shown, browser):
    browser.fill(selector="#explain-curl", value=f"curl -X POST {shown.url('/pay?token=abc')}")
    browser.click(role="button", name="Explain")
    browser.wait(selector="#explain-answer", text="pay is down")
    assert shown.metrics().sum("squall_requests_total") == 0, "nothing was sent"
    browser.fill(selector="#explain-curl", value="curl '")
    browser.click(role="button", name="Explain")
    browser.wait(selector="#explain-answer", text="quot")

    for _ in range(5):
        status(shown, "/pay?token=s3cret")
        status(shown, "/search")
    browser.wait(selector="#faults tbody", text="abort pay is down")
    assert "s3cret" not in browser.text(selector="body")
    eventually(lambda: browser.text(selector="#rules tbody tr").split()[-4:], ["5", "5", "0", "Reset"])
    eventually(lambda: browser.text(selector="#spread-key"), lambda text: "injected: 5 requests" in text)
    browser.click(role="button", name="Reset: forget the counters and remembered keys of rule pay is down")
    eventually(lambda: browser.text(selector="#rules tbody tr").split()[-4:], ["0", "0", "0", "Reset"])
    place = shown.admin + "/api/v1/rules/pay%20is%20down"
    assert requests.get(place, timeout=10).json()["matched"] == 0
    browser.fill(selector="#rules-filter", value="search")
    eventually(lambda: browser.count(selector="#rules tbody tr"), 1)


def test_the_journal_says_why_a_rule_did_not_match(shown, browser):
    requests.get(shown.url("/never?token=s3cret"), timeout=10)
    browser.wait(selector="#journal tbody", text="GET /never")
    browser.click(selector="#journal button")
    browser.wait(selector="#journal-details", text="never: method POST: the request has GET")
    assert "s3cret" not in browser.text(selector="body")
    browser.fill(selector="#journal-path", value="/nowhere")
    browser.press(keys=["Tab"])
    eventually(lambda: browser.count(selector="#journal tbody tr"), 0)


SCENARIO = """
scenario: pay comes back
steps:
  - at 0s: disable "pay is down" for 1m
"""


def test_a_scenario_is_started_paused_and_aborted(shown, browser):
    browser.click(selector="#scenarios-panel summary")
    browser.fill(selector="#play-text", value=SCENARIO.replace("pay is", "pey is"))
    browser.click(role="button", name="Start")
    browser.wait(selector="#play-answer", text="did you mean")
    assert status(shown) == 503
    browser.fill(selector="#play-text", value=SCENARIO)
    browser.click(role="button", name="Start")
    eventually(lambda: status(shown), 200)
    browser.wait(selector="#scenarios", text="running")
    shows(browser, "false", attribute="aria-checked", role="switch", name="rule pay is down")
    browser.click(role="button", name="Pause: 1. pay comes back")
    browser.wait(selector="#scenarios", text="paused")
    browser.click(role="button", name="Resume: 1. pay comes back")
    browser.wait(selector="#scenarios", text="running")
    browser.click(role="button", name="Abort: 1. pay comes back")
    browser.wait(selector="#scenarios", text="aborted")
    eventually(lambda: status(shown), 503)
    assert browser.download(role="button", name="Report: 1. pay comes back").startswith("<!")


def test_a_guardrail_is_seen_to_trip_reset_and_removed(shown, browser):
    """The health check goes through squall, so that the rule's own fault makes it fail: what is stopped is healthy again."""
    place = shown.admin + "/api/v1/guards/pay%20answers"
    health = {"url": shown.url("/pay"), "every": "100ms", "failures": 2}
    assert requests.put(place, json={"health": health}, timeout=10).status_code == 201
    browser.wait(selector="#guards", text="tripped")
    browser.wait(selector="#armed", text="pay answers")
    assert status(shown) == 200
    assert requests.put(place, json={"health": {**health, "url": shown.url("/")}}, timeout=10).status_code == 200
    browser.wait(selector="#guards", text="watching")
    assert status(shown) == 200, "what a guardrail stopped stays stopped"
    allow(shown, browser)

    # Again, and this time it is the guardrail that is reset.
    assert requests.put(place, json={"health": health}, timeout=10).status_code == 200
    browser.wait(selector="#guards", text="tripped")
    eventually(lambda: status(shown), 200)
    trips = lambda: shown.metrics().sum("squall_guard_trips_total", guard="pay answers")  # noqa: E731
    before = trips()
    browser.click(role="button", name="Reset: pay answers")
    eventually(lambda: trips() > before, True)
    browser.click(role="button", name="Remove: pay answers")
    eventually(lambda: requests.get(shown.admin + "/api/v1/guards", timeout=10).json()["guards"], [])
    eventually(lambda: browser.visible(selector="#guards-panel"), False)


def test_a_refused_reload_is_told_until_one_goes_well(squall, browser):
    server = squall(config())
    browser.open(url=server.admin + "/", only=server.admin)
    browser.wait(selector="#rules tbody", text="pay is down")
    assert not browser.visible(selector="#reload")
    server.save(config().replace("faults: [{abort: 503}]", "fautls: [{abort: 503}]"))
    browser.wait(selector="#reload", text="The last reload was refused")
    assert "fautls" in browser.text(selector="#reload-error")
    assert browser.attribute(selector="#reload", attribute="role") == "alert"
    assert browser.axe() == []
    assert status(server) == 503, "what was in force stays in force"
    # Who comes later is told, too.
    browser.reload()
    browser.wait(selector="#reload", text="The last reload was refused")
    server.save(config().replace("abort: 503", "abort: 504"))
    eventually(lambda: browser.visible(selector="#reload"), False)
    assert browser.text(selector="#reload-error") == ""
    eventually(lambda: status(server), 504)


def test_a_space_is_seen_and_deleted(shown, browser):
    place = shown.admin + "/api/v1/spaces/mine"
    assert requests.put(place, json={"ttl": "10m"}, timeout=10).status_code == 201
    browser.wait(selector="#spaces", text="mine")
    browser.click(role="button", name="Delete: mine")
    eventually(lambda: requests.get(place, timeout=10).status_code, 404)


def test_a_squall_that_comes_back_is_followed_again(squall, browser):
    first = squall(config(), args=["--no-watch"])
    browser.open(url=first.admin + "/", only=first.admin)
    browser.wait(selector="#link", text="^connected")
    first.kill()
    browser.wait(selector="#link", text="disconnected")
    browser.click(role="button", name="Stop all faults")
    browser.wait(selector="#message", text="NOT STOPPED")
    port = urlsplit(first.admin).port
    again = squall(config().replace("seed: 42", f"seed: 42\nadmin: {{address: '127.0.0.1:{port}'}}"), args=["--no-watch"])
    browser.wait(selector="#link", text="^connected")
    eventually(lambda: str(again.port()) in browser.text(selector="#summary"), True)


def test_a_token_is_asked_for_and_kept_in_the_tab(squall, browser):
    server = squall(config(token="s3cret"), args=["--no-watch"])
    browser.open(url=server.admin + "/", only=server.admin)
    browser.fill(selector="#token", value="wrong")
    browser.press(keys=["Enter"])
    browser.wait(selector="#token-note", text="refused")
    assert browser.text(selector="#rules tbody") == "", "nothing is shown without it"
    browser.fill(selector="#token", value="s3cret")
    browser.press(keys=["Enter"])
    browser.wait(selector="#rules tbody", text="pay is down")
    browser.reload()
    browser.wait(selector="#rules tbody", text="pay is down")
    assert not browser.run(script="document.querySelector('dialog').open")
    assert browser.run(script="[document.cookie, localStorage.length]") == ["", 0]
    assert browser.seen() == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_everybody_can_use_it(squall, browser, scheme, width):
    server = squall(config(), args=["--no-watch"])
    for _ in range(3):
        status(server)
    browser.open(url=server.admin + "/dashboard", only=server.admin, scheme=scheme, width=width)
    browser.wait(selector="#rules tbody", text="pay is down")
    browser.wait(selector="#figures", text="requests/s")
    status(server)
    browser.wait(selector="#faults tbody", text="pay is down")
    violations = browser.axe()
    assert violations == []
    wanted, there = browser.widths()
    assert wanted <= there, "nothing is cut off, and nothing scrolls sideways"
    assert browser.visible(role="button", name="Stop all faults")
    assert browser.seen() == []


ATTACK = """<!doctype html><title>attack</title><script>
const target = new URLSearchParams(location.search).get("target");
const tell = {};
async function attempt(name, path, options) {
  try {
    const response = await fetch(target + path, options);
    tell[name] = response.type === "opaque" ? "opaque" : `${response.status} ${await response.text()}`;
  } catch (error) { tell[name] = "refused"; }
}
(async () => {
  const json = { method: "PUT", headers: { "content-type": "application/json" }, body: '{"armed": false}' };
  await attempt("read", "/api/v1/rules");
  await attempt("blind read", "/api/v1/rules", { mode: "no-cors" });
  await attempt("change", "/api/v1/armed", json);
  await attempt("plain change", "/api/v1/reset", { method: "POST", mode: "no-cors", body: "{}" });
  await attempt("events", "/api/v1/events");
  const script = document.createElement("script");
  script.src = target + "/dashboard/app.js";
  await new Promise((done) => { script.onload = script.onerror = done; document.head.append(script); });
  const frame = document.createElement("iframe");
  frame.src = target + "/dashboard";
  await new Promise((done) => { frame.onload = done; document.body.append(frame); setTimeout(done, 1000); });
  try { tell.frame = String(frame.contentDocument?.body?.innerText); } catch (error) { tell.frame = "refused"; }
  window.told = tell;
})();
</script><body></body>"""


@contextmanager
def attacker():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(ATTACK.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


def told(browser, url):
    browser.open(url=url)
    eventually(lambda: browser.run(script="Boolean(window.told)"), True)
    return browser.run(script="window.told")


def state(server):
    rules = requests.get(server.admin + "/api/v1/rules", timeout=10).json()
    return rules["revision"], [(rule["matched"], rule["enabled"]) for rule in rules["rules"]]


def test_another_origin_changes_nothing_and_learns_nothing(squall, browser):
    server = squall(config(), args=["--no-watch"])
    status(server)
    before = state(server)
    with attacker() as port:
        for host in ["127.0.0.1", "localhost", "evil.example"]:
            answers = told(browser, f"http://{host}:{port}/?target={server.admin}")
            assert "pay is down" not in json.dumps(answers)
            assert answers["read"] == answers["change"] == answers["events"] == "refused", answers
            assert answers["frame"] != "pay is down" and "squall" not in answers["frame"], answers
    assert state(server) == before
    assert status(server) == 503


def test_a_name_that_is_bound_again_changes_nothing_and_learns_nothing(squall, browser):
    """DNS rebinding: the attacker's page was loaded when its name was another machine's; now it is 127.0.0.1, and for the browser
    squall is of the page's own origin."""
    server = squall(config(), args=["--no-watch"])
    status(server)
    before = state(server)
    rebound = f"http://squall.evil.example:{urlsplit(server.admin).port}"
    browser.open(url=f"{rebound}/attack", page="<!doctype html><title>attack</title>")
    attempts = [("GET", "/api/v1/rules"), ("PUT", "/api/v1/armed"), ("POST", "/api/v1/reset"), ("GET", "/api/v1/events"), ("GET", "/"), ("GET", "/dashboard")]
    for method, path in attempts:
        body = "undefined" if method == "GET" else "'{\"armed\": false}'"
        script = f"fetch({path!r}, {{method: {method!r}, body: {body}}}).then(async (r) => [r.status, await r.text()])"
        code, text = browser.run(script=script)
        assert code == 421 and "pay is down" not in text, (method, path, code, text)
    assert state(server) == before
    assert status(server) == 503


def test_the_chart_library_is_npms():
    """npm has checked the hash in the lock file when tests/setup installed the package; the dashboard has the same one."""
    if not (MODULES / "node_modules" / "uplot").is_dir():
        pytest.skip("uplot is not installed: run tests/setup")
    locks = [json.loads((folder / "package-lock.json").read_text()) for folder in (VENDORED, MODULES)]
    hashes = {lock["packages"]["node_modules/uplot"]["integrity"] for lock in locks}
    assert len(hashes) == 1
    package = MODULES / "node_modules" / "uplot"
    for name, file in [("LICENSE", "LICENSE"), ("uPlot.iife.min.js", "dist/uPlot.iife.min.js"), ("uPlot.min.css", "dist/uPlot.min.css")]:
        assert (VENDORED / name).read_bytes() == (package / file).read_bytes(), name
