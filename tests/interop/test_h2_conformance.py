"""The published conformance cases of HTTP/2 (h2spec's 146, and its one strict case), in clear text with prior knowledge.

Each runs over a connection of its own before the echo fake, before an upstream over HTTP/1.1 and before one over HTTP/2. One
case: `pytest tests/interop/test_h2_conformance.py -k http2/6.5.3/2`.
"""

import h2spec_connection  # noqa: F401
import h2spec_frames  # noqa: F401
import h2spec_generic  # noqa: F401
import h2spec_messages  # noqa: F401
import pytest
from h2spec import CASES, Peer
from stage import LISTENERS, Stage

KNOWN = {}  # number: why squall does otherwise


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("h2spec"), {}) as stage:
        yield stage
        assert not [line for line in stage.squall.lines if "panicked" in line]


def parameters():
    for number in CASES:
        marks = [pytest.mark.xfail(strict=False, reason=KNOWN[number])] if number in KNOWN else []
        for place in LISTENERS:
            yield pytest.param(number, place, id=f"{place}-{number}", marks=marks)


@pytest.mark.parametrize(("number", "place"), list(parameters()))
def test_case(stage, number, place):
    case = CASES[number]
    peer = Peer(stage.port(place), case.handshake)
    try:
        case.run(peer)
    finally:
        peer.close()
    assert stage.squall.process.poll() is None, f"squall ended:\n{stage.squall.log()}"


def test_all_cases_are_there():
    assert len([case for case in CASES.values() if not case.strict]) == 146
