"""Injected responses as real ones: templates, media types, dates, repeated fields, gRPC statuses of refusals."""

import email.utils
import json
import time
import xml.etree.ElementTree as ElementTree

import grpc
import pytest
import requests
from squall import command

CONFIG = """
seed: 3
listeners: {web: {address: 127.0.0.1:0, upstream: echo}}
upstreams: {echo: {fake: echo}}
rules:
  - name: templated
    match: {path: /templated/*}
    faults:
      - abort:
          status: 409
          json: {path: "{{ request.path }}", user: "{{ json.user }}", n: "{{ query.n | int }}", id: "{{ uuid() }}"}
          headers: {set-cookie: [a=1, "b={{ query.n }}"], x-none: "{{ headers.none }}", x-trace: "{{ trace_id }}", x-version: 1.0}
          echo: [x-request-id, x-absent]
  - name: problem
    match: {path: /problem}
    faults:
      - abort: {status: 422, problem: {type: "https://example.com/p", detail: "no <{{ method }}>", errors: [{at: a}]}, retry_after: {date: 30s}}
  - name: quota
    match: {path: /quota}
    faults: [quota: {requests: 1, per: 1h, retry_after: date, problem: {}}]
  - name: text
    match: {path: /text}
    faults: [abort: {status: 500, body: "{{ request.body | upper }}", headers: {content-type: text/x}}]
  - name: failing
    match: {path: /failing}
    faults: [abort: {status: 500, body: "{{ range(1, 'a') }}"}]
  - name: calls
    match: {grpc: {service: shop.Limited}}
    faults: [quota: {requests: 1, per: 1h}]
  - name: workers
    match: {grpc: {service: shop.Slow}}
    faults: [concurrency: {limit: 1, grpc: RESOURCE_EXHAUSTED, message: "busy: {{ request.path }}"}, delay: 1s, abort: {grpc: OK}]
"""


@pytest.fixture
def started(squall):
    return squall(CONFIG)


def test_templates_lists_and_copied_fields(started):
    fields = {"x-request-id": "r7", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    url = started.url("/templated/a%20b?n=5")
    response = requests.post(url, json={"user": "Ada"}, headers=fields, timeout=30)
    body = response.json()
    assert (response.status_code, response.headers["content-type"]) == (409, "application/json")
    assert (body["path"], body["user"], body["n"]) == ("/templated/a b", "Ada", 5)
    assert response.raw.headers.getlist("set-cookie") == ["a=1", "b=5"]
    assert response.headers["x-request-id"] == "r7" and response.headers["x-version"] == "1.0"
    assert response.headers["x-trace"] == "0af7651916cd43dd8448eb211c80319c"
    assert not {"x-none", "x-absent"} & set(response.headers)
    other = requests.get(url, timeout=30).json()
    assert other["user"] is None and other["id"] != body["id"]
    response = requests.post(started.url("/text"), data="loud", timeout=30)
    assert (response.text, response.headers["content-type"]) == ("LOUD", "text/x")
    assert requests.get(started.url("/failing"), timeout=30).status_code == 200


def test_random_data_are_seeded(squall):
    one, other = (requests.get(squall(CONFIG).url("/templated/x"), timeout=30).json() for _ in range(2))
    assert one["id"] == other["id"]


def test_problems_in_the_media_type_that_is_accepted(started):
    ask = lambda accept: requests.get(started.url("/problem"), headers={"Accept": accept}, timeout=30)
    response = ask("application/problem+json")
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert problem == {
        "type": "https://example.com/p", "title": "Unprocessable Entity", "status": 422, "detail": "no <GET>", "errors": [{"at": "a"}],
    }
    wait = email.utils.parsedate_to_datetime(response.headers["retry-after"]).timestamp() - time.time()
    assert 25 < wait <= 31.5
    assert response.headers["vary"] == "accept"
    assert ask("application/json").headers["content-type"] == "application/json"
    root = ElementTree.fromstring(ask("application/xml").text)
    assert root.find("{urn:ietf:rfc:7807}detail").text == "no <GET>"
    assert root.find("{urn:ietf:rfc:7807}errors/{urn:ietf:rfc:7807}i/{urn:ietf:rfc:7807}at").text == "a"
    page = ask("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
    assert page.headers["content-type"].startswith("text/html") and "no &lt;GET&gt;" in page.text
    assert "detail: no <GET>\n" in ask("text/plain").text


def test_a_quota_with_a_date(started):
    statuses = [requests.get(started.url("/quota"), timeout=30) for _ in range(2)]
    assert [response.status_code for response in statuses] == [200, 429]
    refused = statuses[1]
    wait = email.utils.parsedate_to_datetime(refused.headers["retry-after"]).timestamp() - time.time()
    assert 3590 < wait < 3602 and refused.json()["title"] == "Too Many Requests"
    assert refused.headers["x-ratelimit-remaining"] == "0"


def call(channel, path):
    method = channel.unary_unary(path)
    return method(b"", timeout=20)


def test_grpc_calls_are_refused_with_a_grpc_status(started):
    with grpc.insecure_channel(f"127.0.0.1:{started.port()}") as channel:
        codes = []
        for _ in range(2):
            try:
                call(channel, "/shop.Limited/Get")
                codes.append(None)
            except grpc.RpcError as error:
                codes.append(error.code())
                fields = dict(error.trailing_metadata()) | dict(error.initial_metadata())
        assert codes[1] == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert int(fields["grpc-retry-pushback-ms"]) > 3_500_000 and fields["x-ratelimit-remaining"] == "0"
        futures = [channel.unary_unary("/shop.Slow/Get").future(b"", timeout=20) for _ in range(3)]
        errors = [future.exception() for future in futures]
        refused = [error for error in errors if error and error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED]
        assert len(refused) == 2 and refused[0].details() == "busy: /shop.Slow/Get"


def test_explain_shows_the_answer(tmp_path):
    file = tmp_path / "squall.yaml"
    file.write_text(CONFIG)
    told = command("explain", "-c", file, "-d", json.dumps({"user": "Ada"}), "/templated/a?n=5")
    assert "responds with 409" in told.stdout and '"user":"Ada","n":5' in told.stdout, told.stdout
    told = command("explain", "-c", file, "-H", "Accept: text/html", "/problem")
    assert "`retry-after` with the date 30s later" in told.stdout, told.stdout
