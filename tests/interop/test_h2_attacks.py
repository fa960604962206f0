"""The published attacks on HTTP/2 servers: squall's memory stays bounded, others are answered, and the metrics stay sane.

Each attack is one client that sends a bounded number of frames, reads nothing meanwhile, and gives up after 3 seconds. squall
may end its connection, refuse its streams, stop reading from it, or put up with it.
"""

import contextlib
import threading
import time
from pathlib import Path

import pytest
from h2spec import LARGEST_WINDOW, Flag, Kind, Peer, Setting, dummies, frame, settings_payload
from squall import eventually
from stage import Stage

FRAMES = 2000
SECONDS = 3
GROWTH_KIB = 20_000
STREAMS = 100  # of large answers
STREAM_KIB = 300  # what a stream of those may hold whose client doesn't read
WORST_SECONDS = 5  # for a bystander's request, on a machine that may stand still for a while
PLACES = ["proxied", "h2c", "fake"]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("attacks"), {}) as stage:
        for place in PLACES:
            for protocol in ("h1", "h2"):
                assert stage.fetch(protocol, place, "/bytes/100000").status == 200
        yield stage
        assert not [line for line in stage.squall.lines if "panicked" in line]


# The attacks: each gets a peer and gives the bytes to send.


def rapid_reset(peer):
    """CVE-2023-44487: requests that are cancelled at once."""
    for stream in range(1, FRAMES, 2):
        block = peer.encode(peer.fields())
        yield frame(Kind.HEADERS, Flag.END_STREAM | Flag.END_HEADERS, stream, block) + reset(stream)


def made_you_reset(peer):
    """CVE-2025-8671: requests that the server itself must cancel, for a window update of 0."""
    for stream in range(1, FRAMES, 2):
        block = peer.encode(peer.fields())
        head = frame(Kind.HEADERS, Flag.END_STREAM | Flag.END_HEADERS, stream, block)
        yield head + frame(Kind.WINDOW_UPDATE, 0, stream, bytes(4))


def reset(stream):
    return frame(Kind.RST_STREAM, 0, stream, b"\0\0\0\x08")


def continuation_flood(peer):
    """VU#421644: a head that never ends, of fields that all differ and are not indexed."""
    yield frame(Kind.HEADERS, Flag.END_STREAM, 1, peer.encode(peer.fields()))
    for number in range(FRAMES):
        fields = b"".join(b"\x00\x06f%05d\x7f\x87\x01" % (number * 40 + index) + b"v" * 262 for index in range(40))
        yield frame(Kind.CONTINUATION, 0, 1, fields)


def hpack_bomb(peer):
    """CVE-2016-6581: one large field in the dynamic table, and frames full of references to it, of one byte each."""
    yield frame(Kind.HEADERS, Flag.END_STREAM | Flag.END_HEADERS, 1, peer.encode(peer.fields(extra=dummies(1, 3900))))
    for stream in range(3, 203, 2):
        block = peer.encode(peer.fields())
        block += b"\xbe" * (16384 - len(block))  # 62, the newest entry of the dynamic table
        yield frame(Kind.HEADERS, Flag.END_STREAM | Flag.END_HEADERS, stream, block)


def settings_flood(_):
    """CVE-2019-9515: SETTINGS whose acknowledgements are not read."""
    yield from [frame(Kind.SETTINGS, 0, 0, settings_payload((Setting.INITIAL_WINDOW_SIZE, 65535)))] * 10 * FRAMES


def ping_flood(_):
    """CVE-2019-9512: PINGs whose answers are not read."""
    yield from [frame(Kind.PING, 0, 0, b"flooding")] * 10 * FRAMES


def priority_flood(_):
    """CVE-2019-9513: streams whose priorities are changed without end."""
    for number in range(10 * FRAMES):
        yield frame(Kind.PRIORITY, 0, 2 * (number % 1000) + 1, (2 * ((number + 1) % 1000) + 3).to_bytes(4, "big") + b"\x10")


def empty_data_flood(peer):
    """CVE-2019-9518: DATA frames without data that never end the stream."""
    yield frame(Kind.HEADERS, Flag.END_HEADERS, 1, peer.encode(peer.fields("POST")))
    yield from [frame(Kind.DATA, 0, 1)] * 10 * FRAMES


def empty_continuation_flood(peer):
    """CVE-2019-9518: CONTINUATION frames without a fragment that never end the head."""
    yield frame(Kind.HEADERS, Flag.END_STREAM, 1, peer.encode(peer.fields()))
    yield from [frame(Kind.CONTINUATION, 0, 1)] * 10 * FRAMES


def zero_window(peer):
    """CVE-2019-9511: large answers on every stream, and no window to send them in."""
    yield frame(Kind.SETTINGS, 0, 0, settings_payload((Setting.INITIAL_WINDOW_SIZE, 0)))
    yield from large_downloads(peer)


def window_of_one(peer):
    """CVE-2019-9511: large answers on every stream, that may be sent byte by byte."""
    yield from zero_window(peer)
    for number in range(FRAMES):
        yield frame(Kind.WINDOW_UPDATE, 0, 2 * (number % STREAMS) + 1, b"\0\0\0\x01")


def unread_socket(peer):
    """CVE-2019-9517: large answers and all the window that there can be, but nobody reads the socket."""
    yield frame(Kind.SETTINGS, 0, 0, settings_payload((Setting.INITIAL_WINDOW_SIZE, LARGEST_WINDOW)))
    yield frame(Kind.WINDOW_UPDATE, 0, 0, (LARGEST_WINDOW - 65535).to_bytes(4, "big"))
    yield from large_downloads(peer)


def large_downloads(peer):
    for stream in range(1, 2 * STREAMS, 2):
        fields = [(name, "/bytes/10000000" if name == ":path" else value) for name, value in peer.fields()]
        yield frame(Kind.HEADERS, Flag.END_STREAM | Flag.END_HEADERS, stream, peer.encode(fields))


ATTACKS = [
    rapid_reset,
    made_you_reset,
    continuation_flood,
    hpack_bomb,
    settings_flood,
    ping_flood,
    priority_flood,
    empty_data_flood,
    empty_continuation_flood,
    zero_window,
    window_of_one,
    unread_socket,
]
LINGERING = {zero_window, window_of_one, unread_socket}  # they hurt by staying


class Bystander:
    """A well-behaved client that asks again and again, over HTTP/1.1 and HTTP/2, over kept and new connections."""

    def __init__(self, stage, place):
        self.connect = lambda protocol: stage.connect(protocol, place)
        self.kept = [self.connect("h1"), self.connect("h2")]
        self.answers, self.worst, self.failure = 0, 0.0, None
        self.enough = threading.Event()
        self.thread = threading.Thread(target=self._ask_on)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.enough.set()
        self.thread.join()
        for connection in self.kept:
            connection.close()

    def _ask_on(self):
        try:
            while not self.enough.is_set():
                for connection in self.kept:
                    self._ask(connection)
                with contextlib.closing(self.connect("h2")) as fresh:
                    self._ask(fresh)
                time.sleep(0.005)
        except Exception as failure:  # whatever it is, the test reports it
            self.failure = failure

    def _ask(self, connection):
        began = time.monotonic()
        answer = connection.exchange("/bytes/1000", seconds=10)
        assert (answer.status, len(answer.body), answer.end) == (200, 1000, "complete")
        self.answers += 1
        self.worst = max(self.worst, time.monotonic() - began)

    def wait_for(self, answers):
        """Waits for so many more answers, or a failure."""
        wanted = self.answers + answers
        eventually(lambda: self.failure or self.answers >= wanted, bool, seconds=20)


class Memory:
    """The highest resident size of a process, by looking every few milliseconds."""

    def __init__(self, pid):
        self.status = Path(f"/proc/{pid}/status")
        self.before = self.peak = self.now()
        self.enough = threading.Event()
        self.thread = threading.Thread(target=self._look_on)

    def now(self):
        return int(self.status.read_text().split("VmRSS:")[1].split()[0])

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.enough.set()
        self.thread.join()

    def _look_on(self):
        while not self.enough.wait(0.005):
            self.peak = max(self.peak, self.now())

    @property
    def growth(self):
        return self.peak - self.before


def strike(peer, attack):
    """Sends all of it, unless squall closes the connection or reads nothing until the time is over; the requests it began."""
    began, requests = time.monotonic(), 0
    with contextlib.suppress(OSError):  # closed, or timed out
        for data in attack(peer):
            peer.sock.settimeout(max(began + SECONDS - time.monotonic(), 0.001))
            peer.sock.sendall(data)
            requests += data[3] == Kind.HEADERS
    if attack in LINGERING:
        time.sleep(1)
    return requests + 1  # one may have been sent in part


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_attack(stage, attack, place):
    stage.wait_until_idle()
    before = stage.squall.metrics()
    with Bystander(stage, place) as bystander, Memory(stage.squall.process.pid) as memory:
        bystander.wait_for(3)
        peer = Peer(stage.port(place))
        requests = strike(peer, attack)
        bystander.wait_for(3)
        peer.close()
    print(f"{attack.__name__} {place}: +{memory.growth} KiB, {bystander.answers} answers, worst {bystander.worst:.3f} s")
    assert bystander.failure is None, bystander.failure
    assert bystander.worst < WORST_SECONDS
    assert memory.growth < GROWTH_KIB + (STREAMS * STREAM_KIB if attack in LINGERING else 0)
    check_metrics(stage, before, bystander.answers, requests)


def check_metrics(stage, before, answered, begun):
    """Nothing is counted as open, each of the bystander's answers once, each of the attacker's requests at most once."""
    stage.wait_until_idle()
    after = stage.squall.metrics()
    rise = lambda name, **labels: after.sum(name, **labels) - before.sum(name, **labels)  # noqa: E731
    assert answered <= rise("squall_requests_total", status="200")
    assert rise("squall_requests_total") <= answered + begun
    assert rise("squall_requests_total") == rise("squall_request_duration_seconds_count")
    assert rise("squall_clients_gone_total") <= begun
    assert rise("squall_faults_injected_total") == 0
    assert stage.squall.process.poll() is None
