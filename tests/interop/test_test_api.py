"""The fake test-api answers as the original of April 2019 did, whose answers are recorded in captures/test-api-2019.txt."""

import ast
import json
import re
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from conftest import free_port
from squall import binary, eventually

CAPTURE = Path(__file__).parent / "captures" / "test-api-2019.txt"
LINE = re.compile(r"(?P<method>[A-Z]+) (?P<path>\S+) -> (?P<status>\d+) (?P<seconds>[\d.]+)s (?P<headers>\{.*?\}) (?P<body>.*)")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?$")
DAY = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}$")
CUT = re.compile(r"\.\.\.\[(\d+)\]$")

# What the recorded requests sent, which the recording leaves out.
BODIES = {
    ("/api/v1/todo/create/", 200): {"title": "wait", "description": "for it", "dateDue": "2019-06-01T12:00:00", "userId": "me"},
    ("/api/v1/todo/create/", 422, "title"): {"description": "no title"},
    ("/api/v1/todo/create/", 422, "dateDue"): {"title": "wait", "dateDue": "tomorrow"},
    ("/api/v1/todo/create", 405): {"title": "wait"},
    ("/api/v1/users/create/", 200): {"firstName": "Ada", "lastName": "L", "password": "secret"},
    ("/api/v1/users/create/", 422, "lastName"): {"firstName": "Ada"},
}

def recorded():
    lines = [line for line in CAPTURE.read_text().splitlines() if line]
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if not match]
    return [match.groupdict() | {"headers": ast.literal_eval(match["headers"])} for match in found]


def body_of(one):
    for (path, status, *word), body in BODIES.items():
        if one["path"] == path and int(one["status"]) == status and all(part in one["body"] for part in word):
            return body
    return None


@pytest.fixture(scope="module")
def fake():
    process, url = start_fake()
    yield url
    process.kill()
    process.wait()


def start_fake(*args):
    port = free_port()
    command = [binary(), "fake", "test-api", "--address", f"127.0.0.1:{port}", *args]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    line = process.stderr.readline()
    assert line.startswith("listening on "), line
    return process, f"http://127.0.0.1:{port}"


PROXIED = """
listeners: {web: {address: 127.0.0.1:0, upstream: todo}}
upstreams: {todo: {fake: test-api}}
"""


@pytest.mark.parametrize("way", ["alone", "proxied"])
def test_every_recorded_request_is_answered_as_it_was(way, fake, squall):
    url = fake if way == "alone" else squall(PROXIED).url("")
    ours = {}  # the original's identifiers, and what they are here
    requests_made = recorded()
    assert len(requests_made) == 38
    for one in requests_made:
        path = UUID.sub(lambda found: ours.get(found[0], found[0]), one["path"])
        began = time.monotonic()
        got = requests.request(one["method"], url + path, json=body_of(one), allow_redirects=False, timeout=20)
        took = time.monotonic() - began
        where = f"{one['method']} {one['path']}"
        assert got.status_code == int(one["status"]), where
        delay = re.search(r"delay=(\d+)", one["path"])
        if delay and got.ok:
            assert int(delay[1]) <= took < int(delay[1]) + 1, where
        for name in ("content-type", "location"):
            expected = {key.lower(): value for key, value in one["headers"].items()}.get(name)
            # requests shows no type for the redirect that has none
            assert got.headers.get(name) == expected or expected is None, where
        compare(one, got, ours, where)


def compare(one, got, ours, where):
    cut = CUT.search(one["body"])
    if cut:
        # The length of generated lists is about the same.
        assert abs(len(got.content) - int(cut[1])) < 0.1 * int(cut[1]) or "silly" in one["path"], f"{where}: {len(got.content)}"
        first, _ = json.JSONDecoder().raw_decode(one["body"], 1)
        assert alike([first], got.json()[:1], ours), f"{where}: {got.text[:500]}"
    elif one["body"].startswith(("{", "[")):
        expected = json.loads(one["body"])
        assert alike(expected, got.json(), ours), f"{where}: {got.text}"
        mapped = UUID.sub(lambda found: ours.get(found[0], found[0]), one["body"])
        if mapped == got.text:
            assert got.headers["content-length"] == one["headers"]["content-length"], where
        else:
            assert "silly" in where or "/users/" in where, f"{where}: {got.text}"
    else:
        assert got.text == one["body"], where


def alike(theirs, mine, ours, name=""):
    """Whether two values have the same form; what is neither made up nor a date nor an identifier has to be equal."""
    if isinstance(theirs, dict):
        return list(theirs) == list(mine) and all(alike(theirs[key], mine[key], ours, key) for key in theirs)
    if isinstance(theirs, list):
        return len(theirs) == len(mine) and all(map(lambda a, b: alike(a, b, ours, name), theirs, mine))
    if isinstance(theirs, str) and UUID.fullmatch(theirs):
        ours.setdefault(theirs, mine)
        return UUID.fullmatch(mine) is not None
    if isinstance(theirs, str) and name.startswith("date"):
        return any(form.match(theirs) and form.match(mine) for form in (TIME, DAY))
    made_up = "username title description firstName lastName company address city country postal email website password phone"
    if name in [*made_up.split(), "userId"]:
        return isinstance(mine, str) and mine != ""
    return UUID.sub(lambda found: ours.get(found[0], found[0]), theirs) == mine if isinstance(theirs, str) else theirs == mine


def test_the_database_is_as_shipped(fake):
    todos = requests.get(f"{fake}/api/v1/todo/list?complete=yes", timeout=10).json()
    assert len(todos) >= 21 and all(todo["isComplete"] for todo in todos)
    users = requests.get(f"{fake}/api/v1/users/list", timeout=10).json()
    assert len({user["userId"] for user in users}) == len(users)


def test_later_versions():
    process, url = start_fake("--set", "version=later")
    try:
        known = requests.get(f"{url}/api/v1/users/list?qty=3&offset=2", timeout=10).json()
        everybody = requests.get(f"{url}/api/v1/users/list", timeout=10).json()
        assert known == everybody[2:5]
        for path in ("todo/nope", "users/nope", "todo/complete/nope", "users/deactivate/nope"):
            method = "PUT" if "/complete/" in path or "/deactivate/" in path else "GET"
            got = requests.request(method, f"{url}/api/v1/{path}", timeout=10)
            assert (got.status_code, got.json()) == (404, {"detail": "nope not found"}), path
        assert requests.delete(f"{url}/api/v1/users/nope", timeout=10).status_code == 404
        assert requests.get(f"{url}/api/v1/users/{known[0]['userId']}", timeout=10).json() == known[0]
        for query in ("qty=501", "qty=0", "offset=-1"):
            assert requests.get(f"{url}/api/v1/users/list?{query}", timeout=10).status_code == 422, query
        document = requests.get(f"{url}/api/v1/openapi.json", timeout=10).json()
        names = {one["name"] for one in document["paths"]["/api/v1/users/list"]["get"]["parameters"]}
        assert names == {"delay", "active", "qty", "offset"}
        assert "404" in document["paths"]["/api/v1/users/{userId}"]["get"]["responses"]
        joke = requests.get(f"{url}/joke?qty=2", timeout=10).json()
        assert len(joke["PyJokes"]) == 2
        assert requests.get(f"{url}/api/health", timeout=10).json() == {"status": "UP"}
    finally:
        process.kill()
        process.wait()


def test_the_documentation_is_complete(fake):
    document = requests.get(f"{fake}/api/v1/openapi.json", timeout=10).json()
    routes = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    for one in recorded():
        path = one["path"].split("?")[0]
        if one["status"] == "200":
            shapes = [re.sub(r"\{\w+\}", "[^/]+", known) for method, known in routes if method == one["method"]]
            assert any(re.fullmatch(shape, path) for shape in shapes), f"{one['method']} {path}"
    for page in ("/docs", "/redoc"):
        text = requests.get(fake + page, timeout=10).text
        assert "/api/v1/todo/list" in text and "src=" not in text and "https://" not in text


def create(url, name):
    body = {"title": name}
    return requests.post(f"{url}/api/v1/todo/create/", json=body, timeout=10).json()["todoId"]


def titles(url):
    return [todo["title"] for todo in requests.get(f"{url}/api/v1/todo/list", timeout=10).json()]


def test_eight_writers_lose_nothing(tmp_path):
    process, url = start_fake("--store", str(tmp_path / "rows.db"))
    try:
        names = [f"{writer}-{number}" for writer in range(8) for number in range(25)]
        with ThreadPoolExecutor(8) as pool:
            identifiers = list(pool.map(lambda name: create(url, name), names))
        assert len(set(identifiers)) == 200
        assert sorted(titles(url))[: len(names)] == sorted(names)
        count = requests.get(f"{url}/api/v1/todo/list/count", timeout=10).json()["count"]
        assert count == 221 == len(titles(url))
    finally:
        process.kill()
        process.wait()


def test_acknowledged_rows_survive_a_kill(tmp_path):
    process, url = start_fake("--store", str(tmp_path / "rows.db"))
    acknowledged, lock = [], threading.Lock()

    def write(writer):
        for number in range(10_000):
            try:
                create(url, f"{writer}-{number}")
            except (requests.RequestException, ValueError):
                return
            with lock:
                acknowledged.append(f"{writer}-{number}")

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    for writer in writers:
        writer.start()
    eventually(lambda: len(acknowledged) > 100, True, seconds=30)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for writer in writers:
        writer.join()
    process, url = start_fake("--store", str(tmp_path / "rows.db"))
    try:
        found = titles(url)
        assert set(acknowledged) <= set(found)
        assert len(found) == len(set(found)) <= 21 + len(acknowledged) + 8
        assert requests.get(f"{url}/api/v1/todo/list/count", timeout=10).json()["count"] == len(found)
    finally:
        process.kill()
        process.wait()
