"""A thousand clients leave at random moments in the middle of every kind of fault: nothing of them stays."""

import heapq
import itertools
import random
import time
from pathlib import Path

import pytest
import wire
from squall import eventually
from stage import PROTOCOLS, Stage, asking

CLIENTS = 1000
AT_ONCE = 100
LONGEST_STAY_SECONDS = 0.5
PLACES = ["proxied", "fake", "h2c"]

# Every kind of fault, and a request that meets it in the middle.
FAULTS = {
    "delay": ("[{delay: 60s}]", {"path": "/bytes/1000"}),
    "late-response": ("[{delay: {fixed: 60s, before: response}}]", {"path": "/bytes/1000"}),
    "late-body": ("[{delay: {fixed: 60s, before: body}}]", {"path": "/bytes/1000"}),
    "hang": ("[{hang: {}}]", {"path": "/bytes/1000"}),
    "bandwidth": ("[{bandwidth: 1KiB/s}]", {"path": "/bytes/100000"}),
    "shared": ("[{bandwidth: {response: 1KiB/s, scope: rule}}]", {"path": "/bytes/100000"}),
    "upload": ("[{bandwidth: {request: 1KiB/s}}]", {"path": "/count", "method": "POST", "body": bytes(50_000)}),
    "dribble": ("[{dribble: {chunk: 64B, gap: 50ms}}]", {"path": "/bytes/100000"}),
    "dribble-up": (
        "[{dribble: {chunk: 64B, gap: 50ms, direction: request}}]",
        {"path": "/count", "method": "POST", "body": bytes(50_000)},
    ),
    "stall": ("[{stall: 1KiB}]", {"path": "/bytes/100000"}),
    "stall-up": ("[{stall: {after: 1KiB, direction: request}}]", {"path": "/count", "method": "POST", "body": bytes(50_000)}),
    "truncate": ("[{truncate: {after: 50%, end: reset}}, {bandwidth: 2KiB/s}]", {"path": "/bytes/2000"}),
    "corrupt": ("[{corrupt: {bytes: 1%}}, {bandwidth: 10KiB/s}]", {"path": "/bytes/100000"}),
    "messages": ("[{delay: {fixed: 100ms, before: message}}]", {"path": "/events/1000"}),
    "drop": ("[{drop: 90%}, {bandwidth: 1KiB/s}]", {"path": "/lines/1000"}),
    "queue": ("[{concurrency: {limit: 1, queue: 1000}}, {hang: {}}]", {"path": "/bytes/1000"}),
    "garbled": ("[{corrupt: {malformed: chunk}}, {bandwidth: 1KiB/s}]", {"path": "/bytes/10000?chunked=true"}),
    "none": (None, {"path": "/events/1000?piece=64&every=50ms"}),
}
RULES = {name: faults for name, (faults, _) in FAULTS.items() if faults}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("leaving"), RULES) as stage:
        yield stage


class Client:
    """One that asks, reads for a while or does not, and leaves in some way."""

    def __init__(self, stage, number, dice):
        protocol, place, name = COMBINATIONS[number % len(COMBINATIONS)]
        request = FAULTS[name][1]
        self.reads = dice.random() < 0.7
        self.resets = dice.random() < 0.5
        self.connection = stage.connect(protocol, place, tls=dice.random() < 0.2)
        options = {**request, "headers": asking(name if FAULTS[name][0] else None)}
        path = options.pop("path")
        self.streams = [self.connection.send(path, **options) for _ in range(dice.choice([1, 3]) if protocol == "h2" else 1)]
        self.step()

    def step(self):
        if self.reads and not self.connection.link.over:
            self.connection.step(0)
        else:
            self.connection.link.read(0)  # sends what is queued

    def leave(self):
        self.step()
        if self.resets:
            wire.leave_with_reset(self.connection.link.sock)
        else:
            self.connection.close()


COMBINATIONS = list(itertools.product(PROTOCOLS, PLACES, FAULTS))


def let_them_come_and_go(stage, count, seed):
    dice = random.Random(seed)
    random.Random(seed).shuffle(COMBINATIONS)
    there = []
    for number in range(count):
        while len(there) >= AT_ONCE or (there and there[0][0] < time.monotonic()):
            when, _, client = heapq.heappop(there)
            time.sleep(max(0.0, when - time.monotonic()))
            client.leave()
        client = Client(stage, number, dice)
        heapq.heappush(there, (time.monotonic() + dice.random() * LONGEST_STAY_SECONDS, number, client))
        for _, _, one in dice.sample(there, min(5, len(there))):
            one.step()
    for _, _, client in sorted(there, key=lambda entry: entry[:2]):
        client.leave()


def left(stage):
    """Open files and threads, once nobody is there."""
    stage.wait_until_idle(30)
    for one in stage.origins.values():
        one.hang_up()  # idle connections to upstreams are not what is looked for
    eventually(lambda: sum(one.connections for one in stage.origins.values()), 0)
    process = Path(f"/proc/{stage.squall.process.pid}")
    return lambda: (len(list((process / "fd").iterdir())), len(list((process / "task").iterdir())))


def check_that_it_works(stage):
    for protocol, place in itertools.product(PROTOCOLS, PLACES):
        answer = stage.fetch(protocol, place, "/bytes/10000")
        assert (answer.status, answer.end, len(answer.body)) == (200, "complete", 10_000)
        answer = stage.fetch(protocol, place, "/events/3", "messages")
        assert (answer.status, answer.end) == (200, "complete")


def test_a_thousand_clients_leave(stage):
    let_them_come_and_go(stage, 120, seed=1)  # what is opened once and kept is opened now
    check_that_it_works(stage)
    count = left(stage)
    time.sleep(0.5)
    before = count()
    memory_before = resident_kib(stage)
    let_them_come_and_go(stage, CLIENTS, seed=2)
    count = left(stage)
    eventually(count, lambda now: now[0] <= before[0] and now[1] <= before[1], seconds=20)
    assert resident_kib(stage) - memory_before < 50_000
    check_that_it_works(stage)
    assert stage.squall.process.poll() is None
    assert not [line for line in stage.squall.lines if "panic" in line]
    assert all(stage.injected(name) > 0 for name in RULES), [name for name in RULES if not stage.injected(name)]
    assert stage.squall.stop() == 0


def resident_kib(stage):
    status = Path(f"/proc/{stage.squall.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])
