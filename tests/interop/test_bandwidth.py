"""Rates are what the rule says: both directions, both protocols, proxied and fake, from 1 KiB/s to 10 MiB/s; and evenly so.

Many measurements run at the same time. One that fails is repeated, since the machine may have been busy; if it is seen to be
busy each time, the test is skipped. A pause of the machine loses time that a limited rate must not make up for, and is a gap:
so a rate may be a little slower than it says but not faster, and gaps may be a small share of the time, where a rate that
comes in bursts has nothing but gaps. How exact squall is says the benchmark.
"""

import itertools
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import wire
from squall import eventually
from stage import PLACES, PROTOCOLS, Stage

KIB = 1024
RATES = {"1 KiB/s": KIB, "20 KiB/s": 20 * KIB, "500 KiB/s": 500 * KIB, "10 MiB/s": 10 * KIB * KIB}
SECONDS = 5.0
FASTER, SLOWER = 0.03, -0.08
GAP_SECONDS = 0.150  # from 20 KiB/s on
GAPS_SHARE = 0.1
SMOOTH_FROM = 20 * KIB
ATTEMPTS = 3
BUSY_SECONDS = 0.1
AT_ONCE = [(32, 2), (16, 1), (4, 1)]  # of each attempt: slow ones and fast ones
MEMORY_GROWTH_KIB = 20 * KIB
GIB = 1 << 30

FAULTS = {
    **{f"r{rate}": f"[{{bandwidth: {{response: {rate}B/s}}}}]" for rate in RATES.values()},
    **{f"q{rate}": f"[{{bandwidth: {{request: {rate}B/s}}}}]" for rate in RATES.values()},
    "both": "[{bandwidth: 100KiB/s}]",
    "connection": "[{bandwidth: {response: 100KiB/s, scope: connection}}]",
    "shared": "[{bandwidth: {response: 100KiB/s, scope: rule}}]",
    "shared-request": "[{bandwidth: {request: 100KiB/s, scope: rule}}]",
    "requested": "when: {requested: true}, faults: [{bandwidth: 20KiB/s}]",
}
# Two rules that match the same request.
MORE = """
  - {name: tight, match: {headers: {x-two: present}}, faults: [{bandwidth: 40KiB/s}]}
  - {name: wide, match: {headers: {x-two: present}}, faults: [{bandwidth: 200KiB/s}]}
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("bandwidth"), FAULTS, rules=MORE) as stage:
        yield stage


@dataclass(frozen=True)
class Cell:
    """One measurement."""

    rate: int
    protocol: str
    place: str
    direction: str
    tls: bool = False

    def __str__(self):
        name = next(name for name, rate in RATES.items() if rate == self.rate)
        return f"{name} {self.protocol}{' TLS' if self.tls else ''} {self.place} {self.direction}"


@dataclass
class Flow:
    """What was measured: bytes a second, and the share of the time in gaps, 0 where nobody can see the pieces."""

    rate: float
    gaps: float


CELLS = [Cell(*cell) for cell in itertools.product(RATES.values(), PROTOCOLS, PLACES, ["response", "request"])]
CELLS += [Cell(500 * KIB, protocol, "proxied", way, tls=True) for protocol in PROTOCOLS for way in ["response", "request"]]


def flow_of(pieces, seconds=SECONDS):
    """The rate from the first piece on, which itself does not count: it marks the moment from which on the others came."""
    first = pieces[0][0]
    window = [(when, count) for when, count in pieces if when - first <= seconds]
    times = [when for when, _ in window]
    assert times[-1] - first >= 0.9 * seconds, f"the pieces ended after {times[-1] - first} s"
    whole = times[-1] - first
    gaps = sum(late - early for early, late in itertools.pairwise(times) if late - early > GAP_SECONDS)
    return Flow(sum(count for _, count in window[1:]) / whole, gaps / whole)


def measure(stage, cell):
    return measure_response(stage, cell) if cell.direction == "response" else measure_request(stage, cell)


def measure_response(stage, cell):
    path = f"/bytes/{cell.rate * 60}"
    connection = stage.connect(cell.protocol, cell.place, cell.tls)
    try:
        began = time.monotonic()
        answer = connection.exchange(
            path, headers=[("x-fault", f"r{cell.rate}")], until=lambda _: time.monotonic() - began > SECONDS + 0.7
        )
    finally:
        connection.close()
    assert answer.status == 200
    assert answer.end is None, answer.end
    return flow_of(answer.pieces)


TAGS = itertools.count()


def measure_request(stage, cell):
    """At the upstream; with a fake by the time that the whole takes, since it answers when it has read everything."""
    tag = f"{cell.rate}-{next(TAGS)}"
    body = bytes(int(cell.rate * (SECONDS + 0.3)))
    began = time.monotonic()
    path = f"/count?tag={tag}"
    answer = stage.fetch(
        cell.protocol, cell.place, path, f"q{cell.rate}", cell.tls, method="POST", body=body, seconds=SECONDS + 10
    )
    assert answer.status == 200, answer
    if cell.place == "fake":
        return Flow(len(body) / (answer.head_at - began), 0.0)
    [seen] = stage.seen(cell.place, path)
    assert (seen.count, seen.end) == (len(body), "complete")
    return flow_of(seen.arrivals)


def faults_of(cell, flow):
    """What is wrong with it."""
    wrong = []
    off = flow.rate / cell.rate - 1
    if not SLOWER <= off <= FASTER:
        wrong.append(f"the rate is {flow.rate:.0f} instead of {cell.rate} B/s ({off:+.1%})")
    if cell.rate >= SMOOTH_FROM and flow.gaps > GAPS_SHARE:
        wrong.append(f"gaps are {flow.gaps:.0%} of the time")
    return wrong


# A process of its own that says when it slept too long: (until when, how much too long), in seconds.
PROBE = """
import time
while True:
    began = time.monotonic()
    time.sleep(0.005)
    if (late := time.monotonic() - began - 0.005) > 0.02:
        print(time.monotonic(), late, flush=True)
"""


@pytest.fixture(scope="module")
def standstills():
    """A function from two times to the seconds that the machine let a ready process wait between them."""
    process = subprocess.Popen([sys.executable, "-c", PROBE], stdout=subprocess.PIPE, text=True)
    seen = []
    threading.Thread(target=lambda: seen.extend(map(str.split, process.stdout)), daemon=True).start()
    yield lambda begin, end: sum(float(late) for when, late in [*seen] if begin <= float(when) <= end)
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def results(stage, standstills):
    """For each cell what is wrong with it, and how long the machine stood still meanwhile. Many are measured at a time."""
    results = dict.fromkeys(CELLS)
    for at_once in AT_ONCE:
        left = [cell for cell, result in results.items() if result is None or result[0]]
        for is_fast in (False, True):
            with ThreadPoolExecutor(at_once[is_fast]) as pool:
                cells = [cell for cell in left if (cell.rate > 1000 * KIB) == is_fast]
                for cell, result in zip(cells, pool.map(partial(attempt, stage, standstills), cells), strict=True):
                    results[cell] = result
                    if result[0]:
                        print(f"{cell}: {result}")
    return results


def attempt(stage, standstills, cell):
    began = time.monotonic()
    try:
        wrong = faults_of(cell, measure(stage, cell))
    except Exception as error:
        wrong = [repr(error)]
    return wrong, standstills(began, time.monotonic())


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_rate(results, cell):
    wrong, stood_still = results[cell]
    if wrong and stood_still > BUSY_SECONDS:
        pytest.skip(f"the machine was too busy, {stood_still:.2f} s of {SECONDS} s: {wrong}")
    assert wrong == []


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_body_is_whole(stage, protocol, place):
    """A short body at a high rate, to its end; the connection is good for another."""
    natural = stage.fetch(protocol, place, "/bytes/300000")
    connection = stage.connect(protocol, place)
    for _ in range(2):
        slow = connection.exchange("/bytes/300000", headers=[("x-fault", f"r{RATES['500 KiB/s']}")])
        assert (slow.end, slow.body) == ("complete", natural.body)
        assert slow.pieces[-1][0] - slow.sent_at >= 300_000 / RATES["500 KiB/s"] * 0.9
    connection.close()


def read_at_once(connections_and_paths, headers, seconds=2.0):
    """Several responses at the same time, each on a connection of its own; the bytes a second of each."""

    def read(connection, path):
        began = time.monotonic()
        return connection.exchange(path, headers=headers, until=lambda _: time.monotonic() - began > seconds)

    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(read, *pair) for pair in connections_and_paths]
        answers = [future.result() for future in futures]
    first = min(answer.pieces[0][0] for answer in answers)
    last = max(answer.pieces[-1][0] for answer in answers)
    return [sum(count for _, count in answer.pieces) / (last - first) for answer in answers]


def repeat(check):
    """A check that may be repeated: the last failure counts."""
    for attempt in range(ATTEMPTS):
        try:
            return check()
        except AssertionError:
            if attempt == ATTEMPTS - 1:
                raise


@pytest.mark.parametrize("place", PLACES)
def test_a_rule_shares_its_rate_among_all_its_requests(stage, place):
    def check():
        connections = [stage.connect(protocol, place) for protocol in ["h1", "h2", "h1"]]
        rates = read_at_once([(one, "/bytes/3000000") for one in connections], [("x-fault", "shared")])
        for connection in connections:
            connection.close()
        assert sum(rates) == pytest.approx(100 * KIB, rel=0.05)
        assert min(rates) > 100 * KIB / 3 * 0.5, "one of them starves"

    repeat(check)


def test_a_rule_shares_its_rate_among_uploads(stage):
    def check():
        body = bytes(100 * KIB)
        began = time.monotonic()
        with ThreadPoolExecutor() as pool:
            options = {"method": "POST", "body": body}
            paths = [f"/count?tag=shared-{next(TAGS)}" for _ in range(3)]
            futures = [
                pool.submit(stage.fetch, protocol, "proxied", path, "shared-request", **options)
                for protocol, path in zip(["h1", "h2", "h1"], paths, strict=True)
            ]
            assert [future.result().status for future in futures] == [200] * 3
        assert time.monotonic() - began == pytest.approx(3.0, rel=0.1)

    repeat(check)


@pytest.mark.parametrize("place", PLACES)
def test_the_streams_of_a_connection_share_its_rate(stage, place):
    def check():
        connection = stage.connect("h2", place)
        path = "/bytes/3000000"
        streams = [connection.send(path, headers=[("x-fault", "connection")]) for _ in range(2)]
        alone = stage.connect("h1", place)
        with ThreadPoolExecutor() as pool:
            other = pool.submit(read_at_once, [(alone, path)], [("x-fault", "connection")])
            began = time.monotonic()
            while time.monotonic() - began < 2:
                connection.step(0.1)
            [other] = other.result()
        answers = [connection.streams[stream] for stream in streams]
        connection.close()
        alone.close()
        first = min(answer.pieces[0][0] for answer in answers)
        last = max(answer.pieces[-1][0] for answer in answers)
        rates = [len(answer.body) / (last - first) for answer in answers]
        assert sum(rates) == pytest.approx(100 * KIB, rel=0.05)
        assert min(rates) > 100 * KIB / 2 * 0.5
        assert other == pytest.approx(100 * KIB, rel=0.05), "another connection has its own rate"

    repeat(check)


def test_the_short_form_paces_each_direction_by_itself(stage):
    def check():
        body = bytes(200 * KIB)
        began = time.monotonic()
        answer = stage.fetch("h1", "proxied", "/count?tag=both", "both", method="POST", body=body)
        assert answer.head_at - began == pytest.approx(2.0, rel=0.1)
        connection = stage.connect("h1", "proxied")
        [rate] = read_at_once([(connection, "/bytes/3000000")], [("x-fault", "both")])
        connection.close()
        assert rate == pytest.approx(100 * KIB, rel=0.05)

    repeat(check)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_tightest_rate_wins(stage, protocol):
    def check():
        connection = stage.connect(protocol, "proxied")
        [rate] = read_at_once([(connection, "/bytes/3000000")], [("x-two", "1")])
        connection.close()
        assert rate == pytest.approx(40 * KIB, rel=0.05)

    repeat(check)


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [({"": "50"}, 50 * KIB), ({"": "5"}, 20 * KIB), ({"": "50", "-percentage": "100"}, 50 * KIB)],
    ids=["asked", "not below the rule's", "percentage"],
)
def test_callers_ask_with_envoys_header(stage, headers, wanted):
    """In KiB/s; the rule's own rate is the strictest that anybody can ask for."""

    def check():
        asked = [(f"x-envoy-fault-throughput-response{name}", value) for name, value in headers.items()]
        connection = stage.connect("h1", "proxied")
        path = "/bytes/3000000"
        [rate] = read_at_once([(connection, path)], [("x-fault", "requested"), *asked])
        connection.close()
        assert rate == pytest.approx(wanted, rel=0.05)

    repeat(check)


@pytest.mark.parametrize("asked", [[], [("-percentage", "0"), ("", "20")]], ids=["no header", "0%"])
def test_requests_without_the_header_get_no_rate(stage, asked):
    headers = [(f"x-envoy-fault-throughput-response{name}", value) for name, value in asked]
    began = time.monotonic()
    answer = stage.fetch("h1", "proxied", "/bytes/1000000", "requested", headers=headers)
    assert answer.end == "complete"
    assert time.monotonic() - began < 1_000_000 / (50 * KIB) / 2


def test_it_is_counted_once_and_announced(stage):
    before = stage.injected("r512000")
    answer = stage.fetch("h1", "proxied", "/bytes/100000", "r512000")
    assert "fault=bandwidth" in answer.header("squall-fault")
    assert stage.injected("r512000", fault="bandwidth") == before + 1


def resident_kib(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def test_memory_stays_flat_while_a_gibibyte_waits(stage):
    """Behind 20 KiB/s, over both protocols on both sides: the upstream is held back, not squall's memory filled."""
    pid = stage.squall.process.pid
    pairs = list(itertools.product(PROTOCOLS, ["proxied", "h2c"]))
    for protocol, place in pairs:  # what is allocated once does not count
        stage.fetch(protocol, place, "/bytes/3000000", "r512000", until=lambda answer: answer.body)
    before = resident_kib(pid)
    connections = [stage.connect(protocol, place, receive_buffer=65536) for protocol, place in pairs]
    path = f"/bytes/{GIB}"
    highest = 0
    stop = threading.Event()
    with ThreadPoolExecutor() as pool:
        futures = [
            pool.submit(one.exchange, path, headers=[("x-fault", "r20480")], until=lambda _: stop.is_set())
            for one in connections
        ]
        for _ in range(40):
            time.sleep(0.1)
            highest = max(highest, resident_kib(pid))
        stop.set()
        answers = [future.result() for future in futures]
    for connection in connections:
        connection.close()
    assert all(answer.end is None and len(answer.body) > 3 * 20 * KIB for answer in answers)
    sent = [exchange.sent for place in ["proxied", "h2c"] for exchange in stage.seen(place, path)]
    assert len(sent) == 4
    assert max(sent) < 32 * KIB * KIB, "the upstream could send more than sockets hold"
    assert highest - before < MEMORY_GROWTH_KIB
    eventually(stage.held, 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_memory_stays_flat_while_a_large_upload_waits(stage, protocol):
    pid = stage.squall.process.pid
    connection = stage.connect(protocol, "proxied")
    before = resident_kib(pid)
    connection.send(f"/count?tag=large-{protocol}", "POST", [("x-fault", "q20480")], bytes(64 * KIB * KIB))
    began = time.monotonic()
    while time.monotonic() - began < 2:
        connection.step(0.05)
    assert resident_kib(pid) - before < MEMORY_GROWTH_KIB
    [seen] = stage.seen("proxied", f"/count?tag=large-{protocol}")
    assert 20 * KIB < seen.count < 60 * KIB
    # A FIN would wait behind the 64 MiB, and nobody could know of it.
    wire.leave_with_reset(connection.link.sock)
    eventually(lambda: seen.end, lambda end: end in ("fin", "reset"))
