"""The journal and verify: what squall remembers of requests, and whether a client did what a test expects of it."""

import http.client
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import urllib3
from urllib3.util.retry import Retry

CONFIG = """
seed: 1
listeners:
  web: {address: 127.0.0.1:0, upstream: echo}
  other: {address: 127.0.0.1:0, upstream: echo}
upstreams: {echo: {fake: echo}}
"""

PAY = """
rules:
  - name: payments fail twice
    match: {method: POST, path: /pay}
    when: {key: "header:idempotency-key", attempts: 2}
    faults: [{abort: 503}]
"""


@pytest.fixture
def running(squall):
    """A function that starts squall, and returns it with a function that asks its admin API."""

    def start(text):
        one = squall(CONFIG + text)

        def ask(path, method="GET", status=200, **options):
            response = requests.request(method, f"{one.admin}/api/v1{path}", timeout=30, **options)
            assert response.status_code == status, response.text
            return response.json() if response.content else None

        return one, ask

    return start


def ended(ask, count):
    """Waits until that many requests have ended: a client has its response a moment before."""
    assert ask("/verify", "POST", json={"count": count, "wait": "20s"})["verdict"] == "pass"


class Backoff(Retry):
    """Waits before each retry; urllib3's own first one comes at once."""

    def get_backoff_time(self):
        return 0.12


def pay(one, retry, key):
    pool = urllib3.PoolManager(retries=retry(total=5, status_forcelist=[503], allowed_methods=None))
    response = pool.request("POST", one.url("/pay"), headers={"idempotency-key": key}, body=b"{}")
    assert response.status == 200


def test_a_client_retries_as_often_as_it_should_and_not_too_soon(running):
    one, ask = running(PAY)
    pay(one, Backoff, "patient")
    asked = {"match": {"path": "/pay", "headers": {"idempotency-key": "patient"}}, "count": 3, "gaps": {"min": "100ms"}}
    answer = ask("/verify", "POST", json=asked)
    assert (answer["verdict"], answer["count"]) == ("pass", 3), answer
    seen = [(entry["status"], entry["attempt"], entry["attempt_by"]) for entry in answer["evidence"]]
    assert seen == [(503, 1, "idempotency-key"), (503, 2, "idempotency-key"), (200, 3, "idempotency-key")]
    assert [entry["rules"] for entry in answer["evidence"]] == [["payments fail twice"]] * 2 + [[]]
    assert all(entry["gap_ms"] >= 100 for entry in answer["evidence"][1:])
    assert answer["evidence"][2]["missed"][0]["rule"] == "payments fail twice"

    pay(one, Retry, "hasty")
    asked["match"]["headers"]["idempotency-key"] = "hasty"
    answer = ask("/verify", "POST", json=asked)
    assert answer["verdict"] == "fail"
    assert answer["reason"].startswith(f"the gap before request {answer['evidence'][1]['id']} is "), answer["reason"]

    asked = {"match": {"path": "/pay"}, "count": {"min": 1, "max": 5}, "after": answer["evidence"][-1]["id"]}
    assert ask("/verify", "POST", json=asked)["verdict"] == "fail", "nothing happened after that"


def test_statuses_are_verified_in_order(running):
    one, ask = running(PAY)
    pay(one, Retry, "one")
    requests.get(one.url("/after"), timeout=10)
    order = {"order": [{"path": "/pay"}, {"path": "/after"}]}
    assert ask("/verify", "POST", json=order)["verdict"] == "pass"
    answer = ask("/verify", "POST", json={**order, "order": order["order"][::-1], "wait": "0"})
    assert (answer["verdict"], answer["count"]) == ("fail", 4)
    assert answer["reason"] == "the first 1 of `order` was found in this order; number 2 is missing"
    for status, count in [(503, 2), ("5xx", 2), ([200, "5xx"], 4)]:
        assert ask("/verify", "POST", json={"status": status, "count": count})["verdict"] == "pass"
    assert ask("/verify", "POST", json={"hit": True, "count": 2})["verdict"] == "pass"
    # YAML is understood as well.
    yaml = "match: {path: /pay}\nrule: payments fail twice\ncount: 2\n"
    assert ask("/verify", "POST", data=yaml)["verdict"] == "pass"


def test_verify_waits_for_what_is_still_missing(running):
    one, ask = running("")
    asked = {"match": {"path": "/late"}, "count": 1, "wait": "20s"}
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(ask, "/verify", "POST", json=asked) for _ in range(5)]
        time.sleep(0.3)
        began = time.monotonic()
        requests.get(one.url("/late"), timeout=10)
        assert [answer.result()["verdict"] for answer in answers] == ["pass"] * 5
    assert time.monotonic() - began < 10
    began = time.monotonic()
    missing = ask("/verify", "POST", json={"match": {"path": "/lat"}, "wait": "300ms"})
    assert missing["verdict"] == "fail"
    assert time.monotonic() - began >= 0.3
    [near] = missing["near_misses"]
    assert near["path"] == "/late"
    assert near["failed"] == ["path `/lat`: the request has `/late`"]


def test_every_request_counts_at_once(running):
    """A client that has its response finds it counted, however fast it asks."""
    one, ask = running("")
    for number in range(50):
        requests.get(one.url(f"/{number}"), timeout=10)
        answer = ask("/verify", "POST", json={"match": {"path": f"/{number}"}, "count": 1})
        assert answer["verdict"] == "pass", answer


def test_secrets_are_not_shown(running):
    rule = """
rules:
  - name: for one token
    match: {headers: {authorization: Bearer configured-secret}, cookies: {sid: other}, query: {token: none}}
    faults: [{abort: 500}]
"""
    one, ask = running(rule)
    headers = {"Authorization": "Bearer s3cret-a", "Cookie": "sid=s3cret-b", "X-Api-Key": "s3cret-c", "X-Plain": "shown"}
    headers["Referer"] = "http://example.org/?access_token=s3cret-e"
    requests.get(one.url("/a?token=s3cret-d&x=1"), headers=headers, timeout=10)
    ended(ask, 1)
    [entry] = ask("/journal")["requests"]
    assert entry["path"] == "/a?token=***&x=1"
    shown = dict(entry["headers"])
    assert (shown["authorization"], shown["cookie"], shown["x-api-key"], shown["x-plain"]) == ("***", "***", "***", "shown")
    single = ask(f"/journal/{entry['id']}")
    assert len(single["near_misses"][0]["failed"]) == 3
    match = {"headers": {"authorization": "x"}, "cookies": {"sid": "y"}, "query": {"token": "z"}}
    verified = ask("/verify", "POST", json={"match": match, "wait": 0})
    assert len(verified["near_misses"][0]["failed"]) == 3
    for text in map(str, [entry, single, verified]):
        assert "s3cret" not in text, text
        assert "configured-secret" not in text, text
    # What is not shown can still be asked for.
    match = {"headers": {"authorization": "Bearer s3cret-a"}}
    assert ask("/verify", "POST", json={"match": match, "count": 1})["verdict"] == "pass"


def test_rules_that_almost_matched_are_told(running):
    rules = """
rules:
  - {name: far, match: {method: DELETE, path: /other, host: elsewhere}, faults: [{abort: 500}]}
  - {name: near, match: {method: GET, path: "/pay/**"}, faults: [{abort: 500}]}
  - {name: off, enabled: false, match: {method: GET, path: /paid/1}, faults: [{abort: 500}]}
  - {name: elsewhere, listener: other, faults: [{abort: 500}]}
  - {name: rare, when: {percentage: 0}, faults: [{abort: 500}]}
"""
    one, ask = running(rules)
    requests.get(one.url("/paid/1"), timeout=10)
    ended(ask, 1)
    [entry] = ask("/journal?path=/paid/*&method=GET")["requests"]
    assert [missed["rule"] for missed in entry["missed"]] == ["rare"]
    misses = ask(f"/journal/{entry['id']}")["near_misses"]
    assert misses == [
        {"rule": "off", "failed": ["the rule is off"]},
        {"rule": "near", "failed": ["path `/pay/**`: the request has `/paid/1`"]},
        misses[-1],
    ]
    assert misses[-1]["rule"] == "far"
    assert len(misses[-1]["failed"]) == 3


def test_the_journal_is_bounded_and_read_page_by_page(running):
    one, ask = running("journal: {requests: 50}")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: requests.get(one.url(f"/{number}"), timeout=10), range(200)))
    assert ask("/verify", "POST", json={"after": 199, "wait": "20s"})["verdict"] == "pass"
    page = ask("/journal")
    ids = [entry["id"] for entry in page["requests"]]
    assert (len(ids), page["dropped"], page["incomplete"], page["next"]) == (50, 150, True, 200)
    assert ids == sorted(ids)
    assert one.metrics().sum("squall_journal_dropped_total") == 150
    assert [entry["id"] for entry in ask("/journal?limit=3")["requests"]] == ids[-3:]
    read, after = [], 150
    while page := ask(f"/journal?after={after}&limit=20")["requests"]:
        read += [entry["id"] for entry in page]
        after = read[-1]
    assert read == ids
    assert ask("/journal?after=150")["incomplete"] is False
    for question, verdict in [({"count": 200}, "inconclusive"), ({"count": {"max": 49}}, "fail")]:
        assert ask("/verify", "POST", json={**question, "wait": 0})["verdict"] == verdict
    assert ask("/verify", "POST", json={"after": 150, "count": 50})["verdict"] == "pass"

    ask("/journal", "DELETE", status=204)
    assert ask("/journal")["requests"] == []
    assert ask("/verify", "POST", json={"count": 0})["verdict"] == "pass"


def test_spaces_are_told_apart(running):
    one, ask = running("")
    requests.get(one.url("/a"), headers={"squall-space": "t1"}, timeout=10)
    requests.get(one.url("/b"), headers={"baggage": "x=y, squall-space=t2"}, timeout=10)
    requests.get(one.url("/c"), timeout=10)
    ended(ask, 3)
    seen = {space: [entry["path"] for entry in ask(f"/journal?space={space}")["requests"]] for space in ["t1", "t2", ""]}
    assert seen == {"t1": ["/a"], "t2": ["/b"], "": ["/c"]}
    assert ask("/verify", "POST", json={"space": "t2", "count": 1})["verdict"] == "pass"
    assert ask("/verify", "POST", json={"space": "t2", "match": {"path": "/a"}, "count": 0})["verdict"] == "pass"


def test_the_journal_of_a_space_goes_with_it(running):
    one, ask = running("journal: {requests: 20}")
    address = ask("/spaces/t1", "PUT", status=201, json={"listeners": ["web"]})["listeners"]["web"]
    requests.get(f"http://{address}/through", timeout=10)
    for _ in range(30):
        requests.get(one.url("/others"), timeout=10)
    question = {"space": "t1", "count": 1}
    answer = ask("/verify", "POST", json=question)
    assert answer["verdict"] == "pass", "what others do drops nothing of it"
    [entry] = answer["evidence"]
    assert (entry["path"], entry["space"], entry["listener"]) == ("/through", "t1", "web")
    ask("/spaces/t1", "DELETE", status=204)
    assert ask("/journal?space=t1")["requests"] == []
    ask("/spaces/t1", "PUT", status=201, json={})
    assert ask("/verify", "POST", json={"space": "t1", "count": 0})["verdict"] == "pass", "nothing is left"


def test_what_is_no_ordinary_request_is_noted_too(running, serve):
    rules = """
rules:
  - {name: dropped, listener: other, faults: [{close: {before: connection}}]}
  - {name: held, match: {path: /held}, faults: [{delay: 30s}]}
"""
    one, ask = running(rules)
    with socket.create_connection(("127.0.0.1", one.port())) as client:
        client.sendall(b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400")
    with socket.create_connection(("127.0.0.1", one.port("other"))) as client:
        assert client.recv(100) == b""
    with socket.create_connection(("127.0.0.1", one.port())) as client:
        client.sendall(b"GET /held HTTP/1.1\r\nhost: a\r\n\r\n")
        time.sleep(0.2)
    asked = {"match": {"path": "/held"}, "rule": "held", "count": 1, "wait": "10s"}
    [held] = ask("/verify", "POST", json=asked)["evidence"]
    assert (held["status"], held["client_gone"], held["faults"]) == (None, True, ["delay"])
    assert 100 <= held["injected_ms"] < 10_000
    ended(ask, 3)
    kinds = {entry["kind"]: entry for entry in ask("/journal")["requests"]}
    assert (kinds["refused"]["status"], kinds["refused"]["method"]) == (400, None)
    assert (kinds["connection"]["listener"], kinds["connection"]["rules"]) == ("other", ["dropped"])


def test_connections_of_tcp_listeners_are_noted_when_they_end(squall):
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = squall(f"""
listeners: {{db: {{address: 127.0.0.1:0, protocol: tcp, upstream: db}}}}
upstreams: {{db: {{address: 127.0.0.1:{server.getsockname()[1]}}}}}
rules: [{{name: slow, faults: [{{delay: 1ms}}]}}]
""")
        with socket.create_connection(("127.0.0.1", one.port("db"))) as client:
            client.sendall(b"hello")
            connection, _ = server.accept()
            with connection:
                assert connection.recv(100) == b"hello"
        body = {"listener": "db", "rule": "slow", "count": 1, "wait": "10s"}
        answer = requests.post(f"{one.admin}/api/v1/verify", json=body, timeout=30).json()
    assert answer["verdict"] == "pass", answer
    [entry] = answer["evidence"]
    assert (entry["kind"], entry["bytes_in"], entry["faults"]) == ("connection", 5, ["delay"])


def test_bad_questions_name_their_place(running):
    one, ask = running("")
    accept = {"accept": "application/json"}
    problem = ask("/verify", "POST", status=422, data='{\n "match": {"paht": "/a"}}', headers=accept)
    [error] = problem["errors"]
    assert (error["line"], "did you mean `path`?" in str(error)) == (2, True), error
    assert ask("/journal?path=[", status=422, headers=accept)["errors"]
    for query in ["limit=0", "limit=1001", "after=x", "hit=maybe", "status=5", "since=soon", "pth=/a", "hit=true&hit=true"]:
        assert ask(f"/journal?{query}", status=400, headers=accept)["detail"]
    ask("/journal/none", status=400, headers=accept)
    ask("/journal/1", status=404, headers=accept)
    for method in ["POST", "PUT", "DELETE"]:
        assert requests.request(method, f"{one.admin}/api/v1/journal/1", timeout=10).headers["allow"] == "GET, HEAD"


def test_the_journal_can_be_off(running):
    one, ask = running("journal: off")
    requests.get(one.url("/a"), timeout=10)
    assert ask("/journal") == {"enabled": False, "requests": [], "dropped": 0, "incomplete": False, "next": 0}
    answer = ask("/verify", "POST", json={"count": 1, "wait": "20s"})
    assert (answer["verdict"], "the journal is off" in answer["reason"]) == ("inconclusive", True)


def test_heads_of_any_size_and_kind_are_kept_within_bounds(running):
    one, ask = running("")
    connection = http.client.HTTPConnection("127.0.0.1", one.port(), timeout=10)
    connection.request("GET", "/large", headers={f"x-{number}": "v" * 2000 for number in range(20)})
    connection.getresponse().read()
    connection.putrequest("GET", "/odd", skip_accept_encoding=True)
    connection.putheader("x-latin", "caf\xe9".encode("latin-1"))
    connection.endheaders()
    connection.getresponse().read()
    ended(ask, 2)
    large, odd = ask("/journal")["requests"]
    assert large["headers_cut"] and sum(len(name) + len(value) for name, value in large["headers"]) <= 8192
    assert dict(odd["headers"])["x-latin"] == "caf\ufffd"
    assert not odd["headers_cut"]


def test_reading_while_traffic_passes_loses_nothing(running):
    one, ask = running("journal: {requests: 100000}")
    stop = threading.Event()

    def load():
        session, count = requests.Session(), 0
        while not stop.is_set():
            session.get(one.url("/load"), timeout=10)
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load) for _ in range(4)]
        seen, after, until = [], 0, time.monotonic() + 1.5
        while time.monotonic() < until:
            page = ask(f"/journal?after={after}&limit=1000")
            seen += [entry["id"] for entry in page["requests"]]
            after = page["next"]
        stop.set()
        total = sum(load.result() for load in loads)
    assert ask("/verify", "POST", json={"count": total, "wait": "10s"})["verdict"] == "pass"
    while page := ask(f"/journal?after={after}&limit=1000")["requests"]:
        seen += [entry["id"] for entry in page]
        after = seen[-1]
    assert seen == list(range(1, total + 1))
