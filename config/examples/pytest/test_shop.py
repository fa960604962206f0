"""What the client under test does when the shop is slow, down, or fails twice. Here that client is `requests`, with retries."""

import time

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry


def test_a_slow_shop_is_waited_for(faults):
    faults.add("slow", [{"delay": "300ms"}])
    began = time.monotonic()
    assert requests.get(faults.url + "/pay", timeout=5).text == "ok"
    assert time.monotonic() - began >= 0.3


def test_but_not_for_ever(faults):
    faults.add("slow", [{"delay": "2s"}], match={"path": "/pay"})
    with pytest.raises(requests.Timeout):
        requests.get(faults.url + "/pay", timeout=0.2)
    assert requests.get(faults.url + "/cart", timeout=5).text == "ok"


def test_a_shop_that_is_down_and_comes_back(faults):
    faults.add("down", [{"reset": {"before": "connection"}}])
    with pytest.raises(requests.ConnectionError):
        requests.get(faults.url, timeout=5)
    faults.remove("down")
    assert requests.get(faults.url, timeout=5).text == "ok"


def test_two_failures_are_retried(faults):
    # The first two requests that match. `when: {attempts: 2, key: header:idempotency-key}` would be the first two of each payment.
    faults.add("fails twice", [{"abort": 503}], match={"path": "/pay"}, when={"limits": {"total": 2}})
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=Retry(3, status_forcelist=[503], backoff_factor=0.01)))
    assert session.get(faults.url + "/pay", timeout=5).text == "ok"
    faults.verify(match={"path": "/pay"}, count=3)
