"""The soak in its quick form, so that it keeps working: see `soak.py`."""

import soak
from soak_ledger import listed


def test_quick_soak(tmp_path):
    text, problems = soak.soak(tmp_path, *soak.QUICK_SECONDS, seed=1)
    print(text)
    assert not problems, listed(problems)
