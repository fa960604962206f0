"""The hostile traffic in its quick form, so that it keeps working: see `hostile.py`."""

import asyncio

import hostile
from soak_ledger import listed


def test_quick_hostile_traffic(tmp_path):
    text, problems = asyncio.run(hostile.hostile(tmp_path, *hostile.QUICK_SECONDS, seed=1))
    print(text)
    assert not problems, listed(problems)
