"""Declared routes on the binary: behind a listener, and alone as `squall fake NAME -c FILE`."""

import json
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from conftest import free_port, wait_for_port
from squall import binary, command

CONFIG = """
listeners: {web: {address: 127.0.0.1:0, upstream: shop}}
upstreams:
  shop:
    fake:
      seed: 3
      routes:
        - path: /users/{id}
          json: {id: "{{ path.id | int }}", name: "{{ name() }}", uuid: "{{ uuid() }}"}
        - {path: /login, method: POST, match: {json: {user: ada}}, json: {token: "{{ hex(8) }}"}}
        - {path: /login, method: POST, status: 401, json: {error: "no {{ json.user }}"}}
        - path: /jobs/{id}
          key: "{{ path.id }}"
          sequence: [{status: 202, json: pending, times: 2}, {json: done}]
        - {path: "/orders/{id}", state: {name: order, key: "{{ path.id }}"}, json: "{{ state }}"}
        - {path: "/orders/{id}/pay", method: POST, state: {name: order, key: "{{ path.id }}", is: created, becomes: paid}, status: 204}
        - {path: "/orders/{id}/pay", method: POST, status: 409, json: {error: paid}}
        - {path: /issues, page: {count: 25, item: {id: "{{ number }}"}, style: link, size: 10}}
        - path: /sse
          events:
            - {data: {n: "{{ n }}"}, id: "{{ n }}", repeat: 4, every: 100ms}
            - {event: end, data: "[DONE]", after: 300ms}
        - path: /ndjson
          chunks: [{json: {n: "{{ n }}"}, repeat: 3, every: 50ms}]
        - {path: /slow, delay: 300ms, body: slow}
        - {path: "/any/{*rest}", method: ANY, body: "{{ method }} {{ path.rest }} {{ body }}"}
        - {path: /file, file: page.html}
        - {path: /made, file: {path: page.html, template: true}}
        - {path: /broken, body: "{{ random('a', 'b') }}"}
        - {path: /endless, events: [{data: tick, repeat: 1000000, every: 20ms}]}
"""


# The name of the first request with this seed, on every machine.
SEEDED_NAME = "Basil Jensen"


@pytest.fixture(params=["listener", "alone"])
def base(request, squall, tmp_path):
    """The fake behind a listener, and alone."""
    page = tmp_path / "page.html"
    page.write_text("<p>{{ method }}</p>\n")
    if request.param == "listener":
        yield squall(CONFIG.replace("page.html", str(page))).url("")
        return
    file = tmp_path / "squall.yaml"
    file.write_text(CONFIG)
    port = free_port()
    log = tmp_path / "fake.log"
    with log.open("w") as out:
        process = subprocess.Popen([binary(), "fake", "shop", "-c", file, "-a", f"127.0.0.1:{port}"], stdout=out, stderr=out)
    try:
        wait_for_port(port, process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_templates_conditions_and_methods(base):
    first = requests.get(base + "/users/7", timeout=10).json()
    assert first["id"] == 7
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first["uuid"])
    assert first["name"] == SEEDED_NAME
    assert len(requests.post(base + "/login", json={"user": "ada", "x": 1}, timeout=10).json()["token"]) == 8
    refused = requests.post(base + "/login", json={"user": "bob"}, timeout=10)
    assert (refused.status_code, refused.json()) == (401, {"error": "no bob"})
    wrong = requests.get(base + "/login", timeout=10)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert requests.get(base + "/nothing", timeout=10).status_code == 404
    assert requests.put(base + "/any/a/b", data="x", timeout=10).text == "PUT a/b x"
    head = requests.head(base + "/file", timeout=10)
    assert (head.status_code, head.headers["content-length"], head.text) == (200, "20", "")


def test_files_and_failures(base):
    plain = requests.get(base + "/file", timeout=10)
    assert (plain.text, plain.headers["content-type"]) == ("<p>{{ method }}</p>\n", "text/html; charset=utf-8")
    assert requests.get(base + "/made", timeout=10).text == "<p>GET</p>\n"
    broken = requests.get(base + "/broken", timeout=10)
    assert broken.status_code == 500
    assert broken.json()["route"] == "GET /broken"
    assert "two numbers" in broken.json()["cause"]
    assert requests.post(base + "/login", data="x" * (8 << 20) + "y", timeout=10).status_code == 413


def test_a_sequence_under_concurrency(base):
    def ask(_):
        return requests.get(base + "/jobs/1", timeout=10).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(ask, range(40)))
    assert statuses.count(202) == 2
    assert statuses.count(200) == 38
    assert [requests.get(base + "/jobs/2", timeout=10).json() for _ in range(3)] == ["pending", "pending", "done"]


def test_an_order_is_paid_once(base):
    def pay(_):
        return requests.post(base + "/orders/1/pay", timeout=10).status_code

    assert requests.get(base + "/orders/1", timeout=10).json() == "created"
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(pay, range(16)))
    assert statuses.count(204) == 1
    assert statuses.count(409) == 15
    assert requests.get(base + "/orders/1", timeout=10).json() == "paid"
    assert requests.get(base + "/orders/2", timeout=10).json() == "created"


def test_links_lead_through_all_pages(base):
    url, seen = base + "/issues?state=open", []
    while url:
        response = requests.get(url, timeout=10)
        seen += [item["id"] for item in response.json()]
        url = response.links.get("next", {}).get("url")
    assert seen == list(range(1, 26))
    assert requests.get(base + "/issues?per_page=1000", timeout=10).status_code == 400


def test_events_come_when_they_are_due(base):
    began = time.monotonic()
    events = []
    with requests.get(base + "/sse", stream=True, timeout=10) as response:
        assert response.headers["content-type"] == "text/event-stream"
        block = []
        for line in response.iter_lines(chunk_size=1, decode_unicode=True):
            if line:
                block.append(line)
            else:
                events.append((time.monotonic() - began, block))
                block = []
    assert [block for _, block in events] == [
        *([f"id: {n}", f'data: {{"n":{n}}}'] for n in range(4)),
        ["event: end", "data: [DONE]"],
    ]
    for (at, _), due in zip(events, (0, 0.1, 0.2, 0.3, 0.6), strict=True):
        assert due <= at < due + 2
    # They came one by one, not all at the end.
    assert events[-1][0] - events[0][0] > 0.3


def test_lines_and_delays(base):
    response = requests.get(base + "/ndjson", timeout=10)
    assert response.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in response.text.splitlines()] == [{"n": 0}, {"n": 1}, {"n": 2}]
    began = time.monotonic()
    assert requests.get(base + "/slow", timeout=10).text == "slow"
    assert time.monotonic() - began >= 0.3


def test_cancelling_a_stream_leaves_others_alone(base):
    for _ in range(3):
        with requests.get(base + "/endless", stream=True, timeout=10) as response:
            assert next(response.iter_lines()) == b"data: tick"
    assert requests.get(base + "/slow", timeout=10).text == "slow"


def test_the_page_lists_the_routes(base):
    page = requests.get(base + "/", timeout=10)
    assert page.headers["content-type"].startswith("text/html")
    for path in ("/users/{id}", "/jobs/{id}", "/sse", "curl -X POST"):
        assert path in page.text


def test_mistakes_have_their_places(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(CONFIG.replace("path.id | int", "path.ident").replace("file: page.html", "file: none.html"))
    result = command("check", file)
    report = result.stdout + result.stderr
    assert result.returncode == 64, report
    lines = file.read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "path.ident" in text)
    column = lines[line - 1].index('"{{ path.ident')
    assert f"bad.yaml:{line}:{column + 1}" in report
    assert "the path has no `{ident}`" in report
    assert "none.html" in report
