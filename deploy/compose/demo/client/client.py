"""Looks at items, orders one now and then, and retries when the shop is overloaded. Standard library only."""

import itertools
import json
import os
import time
import urllib.error
import urllib.request
import uuid

SHOP = os.environ["SHOP_URL"]
TRIES = 4
LONGEST_WAIT = 5.0


def send(method, path, body=None, headers=None):
    """One logical request, of up to TRIES attempts: 503s and lost connections are retried."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", **(headers or {})}
    began = time.monotonic()
    for attempt in range(1, TRIES + 1):
        wait = min(0.2 * 2**attempt, LONGEST_WAIT)
        try:
            with urllib.request.urlopen(urllib.request.Request(SHOP + path, data, headers, method=method), timeout=10) as answer:
                result = answer.status
        except urllib.error.HTTPError as error:
            result = error.code
            wait = min(float(error.headers.get("retry-after", wait)), LONGEST_WAIT)
        except OSError as error:
            result = str(error)
        if result != 503 and isinstance(result, int):
            break
        if attempt < TRIES:
            time.sleep(wait)
    print(f"{method} {path}: {result} after {attempt} attempt(s), {time.monotonic() - began:.2f} s")


for number in itertools.count():
    send("GET", f"/items/{number % 3 + 1}")
    if number % 5 == 0:
        send("POST", "/orders", {"item": 2, "count": 2}, {"idempotency-key": str(uuid.uuid4())})
    time.sleep(0.2)
