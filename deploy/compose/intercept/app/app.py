"""Repeats the same two requests to the shop. Standard library only."""

import os
import time
import urllib.error
import urllib.request

SHOP = os.environ["SHOP_URL"]

while True:
    for path in ("/api/v1/todo/list/count", "/api/v1/users/list/count"):
        began = time.monotonic()
        try:
            with urllib.request.urlopen(SHOP + path, timeout=10) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
        except OSError as error:
            status = error
        print(f"GET {SHOP}{path}: {status}, {time.monotonic() - began:.2f} s")
    time.sleep(0.5)
