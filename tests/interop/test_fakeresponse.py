"""The fake fakeresponse, as its callers see it: it answers as it is told to."""

import subprocess
import time

import pytest
import requests
from conftest import free_port
from squall import binary

PROXIED = """
listeners: {web: {address: 127.0.0.1:0, upstream: fake}}
upstreams: {fake: {fake: {name: fakeresponse, rate_limit: %s}}}
"""


@pytest.fixture(params=["alone", "proxied"])
def start(request, squall):
    """A function that starts the fake and returns its address: alone, and behind a listener without rules."""
    running = []

    def start_fake(limited=False):
        setting = "true" if limited else "false"
        if request.param == "proxied":
            return squall(PROXIED % setting).url("")
        port = free_port()
        command = [binary(), "fake", "fakeresponse", "--address", f"127.0.0.1:{port}", "--set", f"rate_limit={setting}"]
        running.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        line = running[-1].stderr.readline()
        assert line.startswith("listening on "), line
        return f"http://127.0.0.1:{port}"

    yield start_fake
    for process in running:
        process.kill()
        process.wait()


def test_it_answers_as_it_is_told_to(start):
    url = start()
    began = time.monotonic()
    asked = {"sleep": "0.25", "status": "418", "data": '{"a": [1, null]}', "api_key": "k"}
    got = requests.put(f"{url}/api/", params=asked, headers={"User-Agent": "me/1"}, timeout=10)
    assert 0.25 <= time.monotonic() - began < 3
    reply = got.json()
    assert list(reply) == ["meta", "status", "slept", "response", "api_key", "method", "data"]
    assert (got.status_code, reply["status"], reply["slept"]) == (418, 418, 0.25)
    assert reply["response"] == "Slept for 0.25 seconds."
    assert (reply["api_key"], reply["method"], reply["data"]) == ("k", "PUT", {"a": [1, None]})
    assert list(reply["meta"]) == ["help", "about", "agent", "originating_ip"]
    assert (reply["meta"]["agent"], reply["meta"]["originating_ip"]) == ("me/1", "127.0.0.1")
    for method in ("GET", "POST", "PATCH", "DELETE", "OPTIONS"):
        reply = requests.request(method, f"{url}/api/?meta=false", timeout=10).json()
        assert (reply["method"], reply["slept"], reply["data"]) == (method, 0.0, None)
        assert "meta" not in reply
    page = requests.get(f"{url}/", timeout=10)
    assert "text/html" in page.headers["content-type"] and "/api/?auth=" in page.text


def test_replies_without_a_body_leave_the_connection_usable(start):
    url = start()
    with requests.Session() as session:
        for status in (204, 205, 304, 200, 204):
            got = session.get(f"{url}/api/?status={status}", timeout=10)
            assert (got.status_code, got.content == b"") == (status, status != 200)
        assert session.head(f"{url}/api/?status=503", timeout=10).status_code == 503


@pytest.mark.parametrize("query", ["sleep=5.1", "sleep=-1", "sleep=inf", "sleep=x", "status=99", "status=600", "data={", "auth=ada"])
def test_mistakes_are_named(start, query):
    got = requests.get(f"{start()}/api/?{query}", timeout=10)
    assert (got.status_code, got.json()["status"]) == (400, 400)
    assert f"`{query.split('=')[0]}`" in got.json()["error"]


def test_credentials_are_asked_for(start):
    url = f"{start()}/api/?auth=ada:se:cret"
    for credentials in (None, ("ada", "wrong"), ("eve", "se:cret")):
        got = requests.get(url, auth=credentials, timeout=10)
        assert (got.status_code, got.headers["www-authenticate"]) == (401, 'Basic realm="FakeResponse"')
    assert requests.get(url, auth=("ada", "se:cret"), timeout=10).status_code == 200


def test_callers_without_a_key_have_to_wait(start):
    url = start(limited=True)
    assert requests.get(f"{url}/api/", timeout=10).status_code == 200
    got = requests.get(f"{url}/api/", timeout=10)
    assert (got.status_code, got.json()["error"]) == (429, "Rate Limit exceeded!")
    assert requests.get(f"{url}/api/?api_key=k", timeout=10).status_code == 200
    time.sleep(int(got.headers["retry-after"]))
    assert requests.get(f"{url}/api/", timeout=10).status_code == 200
