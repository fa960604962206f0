"""A body that trickles: pieces of the stated size, so far apart, or so many over a time."""

import itertools
import time

import pytest
from stage import PLACES, PROTOCOLS, Stage

FAULTS = {
    "pieces": "[{dribble: {chunk: 64B, gap: 100ms}}]",
    "over": "[{dribble: {chunks: 10, over: 1s}}]",
    "up": "[{dribble: {chunk: 64B, gap: 100ms, direction: request}}]",
    "up-over": "[{dribble: {chunks: 10, over: 1s, direction: request}}]",
}
EARLY_SECONDS = 0.02  # a piece may be seen this much late, and the next one then seems early
LATE_SECONDS = 3.0


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("dribble"), FAULTS) as stage:
        yield stage


def bursts(pieces, apart):
    """The bytes of each burst: what came less than half of the gap after what was before it."""
    sums = []
    last = None
    for when, count in pieces:
        if last is None or when - last > apart / 2:
            sums.append(0)
        sums[-1] += count
        last = when
    return sums


def check_pieces(pieces, size, count, gap):
    """On a busy machine two pieces may come as one, but never early: that many gaps have passed when the last one comes."""
    assert sum(length for _, length in pieces) == count
    assert pieces[-1][0] - pieces[0][0] >= ((count - 1) // size) * gap - EARLY_SECONDS
    assert pieces[-1][0] - pieces[0][0] <= ((count - 1) // size) * gap + LATE_SECONDS
    assert all(burst % size == 0 for burst in bursts(pieces, gap)[:-1])
    assert max(bursts(pieces, gap)) <= 3 * size


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("place", [*PLACES, "h2c"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pieces_with_gaps(stage, protocol, place, tls):
    natural = stage.fetch(protocol, place, "/bytes/500")
    answer = stage.fetch(protocol, place, "/bytes/500", "pieces", tls)
    assert (answer.status, answer.end, answer.body) == (200, "complete", natural.body)
    assert "fault=dribble" in answer.header("squall-fault")
    check_pieces(answer.pieces, 64, 500, 0.1)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pieces_over_a_time(stage, protocol, place):
    """From the first byte to the last."""
    answer = stage.fetch(protocol, place, "/bytes/1000", "over")
    assert (answer.end, len(answer.body)) == ("complete", 1000)
    assert 1.0 - EARLY_SECONDS <= answer.pieces[-1][0] - answer.pieces[0][0] <= 1.0 + LATE_SECONDS
    assert 8 <= len(bursts(answer.pieces, 1 / 9)) <= 10
    assert max(late - early for (early, _), (late, _) in itertools.pairwise(answer.pieces)) < 0.5


def test_a_time_needs_a_length(stage):
    """A stream without a length passes, and is counted."""
    answer = stage.fetch("h1", "proxied", "/bytes/1000?chunked=true", "over")
    assert (answer.end, len(answer.body)) == ("complete", 1000)
    assert answer.injected() == []
    assert stage.skipped("over") == {"length unknown": 1}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("fault", ["up", "up-over"])
def test_requests(stage, protocol, place, fault):
    path = f"/count?tag={fault}-{protocol}"
    before = stage.injected(fault)
    began = time.monotonic()
    answer = stage.fetch(protocol, place, path, fault, method="POST", body=bytes(640))
    assert (answer.status, answer.end) == (200, "complete")
    assert answer.head_at - began >= 0.9 - EARLY_SECONDS
    assert stage.injected(fault) == before + 1
    if place == "proxied":
        [seen] = stage.seen(place, path)
        assert (seen.end, seen.count) == ("complete", 640)
        if fault == "up":
            check_pieces(seen.arrivals, 64, 640, 0.1)
