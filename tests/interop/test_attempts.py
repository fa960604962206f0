"""`attempts: 2`: each key fails twice, then works; for real retry loops, and for many keys at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import urllib3

KEYS = 100
CONFIG = """
seed: 1
listeners: {web: {address: 127.0.0.1:0, upstream: echo}}
upstreams: {echo: {fake: echo}}
rules:
  - name: fails twice
    match: {method: POST}
    when: {attempts: 2, key: "header:idempotency-key"}
    faults: [{abort: 503}]
"""


@pytest.fixture
def server(squall):
    return squall(CONFIG)


def at_once(work):
    """Runs `work` for every key, all at the same time."""
    with ThreadPoolExecutor(KEYS) as pool:
        return list(pool.map(work, [f"key-{number}" for number in range(KEYS)]))


def injected(server):
    return server.metrics().sum("squall_faults_injected_total", rule="fails twice", fault="abort")


def test_a_plain_loop_succeeds_on_the_third_try(server):
    def loop(key):
        with requests.Session() as session:
            return [session.post(server.url(), headers={"Idempotency-Key": key}, timeout=30).status_code for _ in range(5)]

    assert at_once(loop) == [[503, 503, 200, 200, 200]] * KEYS
    assert injected(server) == 2 * KEYS


def post_with_retries(server, key, total):
    retries = urllib3.Retry(total=total, status_forcelist=[503], allowed_methods=None, backoff_factor=0)
    with urllib3.PoolManager(timeout=30) as pool:
        return pool.request("POST", server.url(), headers={"Idempotency-Key": key}, retries=retries)


def test_urllib3_s_retry_succeeds_on_the_third_try(server):
    def retried(key):
        answer = post_with_retries(server, key, total=10)
        return answer.status, [entry.status for entry in answer.retries.history]

    assert at_once(retried) == [(200, [503, 503])] * KEYS
    assert injected(server) == 2 * KEYS


def test_one_retry_is_not_enough(server):
    def retried(key):
        with pytest.raises(urllib3.exceptions.MaxRetryError, match="too many 503"):
            post_with_retries(server, key, total=1)
        return post_with_retries(server, key, total=0).status

    assert at_once(retried) == [200] * KEYS


def test_requests_that_do_not_match_use_up_no_attempt(server):
    headers = {"Idempotency-Key": "key"}
    assert [requests.get(server.url(), headers=headers, timeout=30).status_code for _ in range(3)] == [200] * 3
    assert [requests.post(server.url(), headers=headers, timeout=30).status_code for _ in range(3)] == [503, 503, 200]
