#!/usr/bin/env python3
"""A soak: clients that leave, upstreams that die, every kind of fault, a reload each second; nothing of it may stay in squall.

    tests/.venv/bin/python tests/interop/soak.py --minutes 10
    tests/.venv/bin/python tests/interop/soak.py --quick

Squall is the binary of SQUALL_BIN, debug or release. After a warm-up, and again at the end, all traffic stops, and then these
must hold:

- The gauges (`squall_connections`, `squall_requests_held`, `squall_faults_active`) are 0.
- Descriptors and threads are back where they were after the warm-up; resident memory is, within a bound.
- Each request is in squall's access log as its client saw it end: the table in `soak_ledger.py` says what that means.
- `squall_requests_total` counts exactly the lines of the log, by listener and status; so does
  `squall_request_duration_seconds_count` without the status, `squall_clients_gone_total` the lines with client_gone,
  and `squall_faults_injected_total` what they list, by rule, fault, listener and upstream.
  `squall_upstream_errors_total` is at least the lines with an error and without client_gone, and at most those with an error.
- Bodies that no fault changes have the length that was asked for. No request got no answer for no reason, or no end.
- A well-behaved client beside it got every answer. No thread panicked. squall stops with code 0.
"""

import argparse
import asyncio
import collections
import contextlib
import itertools
import json
import logging
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from origin import Origin
from soak_clients import Plan, visit_http1, visit_http2
from soak_ledger import Ledger, listed, metrics_problems
from soak_upstreams import Fates, Mortal
from squall import Squall, eventually

CLIENTS = 40
QUICK_SECONDS = 5, 10  # warm-up, and soak
SETTLE_SECONDS = 60
DESCRIPTORS_MORE = 4
MEMORY_MORE_KIB = 20_000  # and a quarter of what it was

CONFIG = """
seed: 11
log: {{format: json, access: true}}
listeners:
  h1: {{address: 127.0.0.1:0, upstream: h1}}
  h2c: {{address: 127.0.0.1:0, upstream: h2c}}
  websocket: {{address: 127.0.0.1:0, upstream: websocket}}
  echo: {{address: 127.0.0.1:0, upstream: echo}}
  steady: {{address: 127.0.0.1:0, upstream: steady}}
upstreams:
  h1: {{url: 'http://127.0.0.1:{h1}'}}
  h2c: {{url: 'http://127.0.0.1:{h2c}', protocol: h2c}}
  websocket: {{url: 'http://127.0.0.1:{websocket}'}}
  steady: {{url: 'http://127.0.0.1:{steady}'}}
  echo: {{fake: echo}}
rules:
{rules}
"""

# Every rule is asked for by its name, in `x-fault`.
RULES = {
    "delay": "[{delay: {uniform: [5ms, 200ms]}}]",
    "hold": "[{delay: 60s}]",
    "hold-response": "[{delay: {fixed: 60s, before: response}}]",
    "hold-body": "[{delay: {fixed: 60s, before: body}}]",
    "late-response": "[{delay: {fixed: 50ms, before: response}}]",
    "abort": "[{abort: 503}]",
    "late-abort": "[{abort: {status: 500, before: response}}]",
    "reset": "[{reset: {}}]",
    "late-reset": "[{reset: {before: response}}]",
    "close": "[{close: {}}]",
    "late-close": "[{close: {before: response}}]",
    "truncate": "[{truncate: 50%}]",
    "truncate-reset": "[{truncate: {after: 1KiB, end: reset}}]",
    "bandwidth": "[{bandwidth: 512KiB/s}]",
    "bandwidth-up": "[{bandwidth: {request: 512KiB/s}}]",
    "dribble": "[{dribble: {chunks: 10, over: 100ms}}]",
    "stall": "[{stall: {after: 1KiB, limit: 200ms, end: resume}}]",
    "stall-close": "[{stall: {after: 1KiB, limit: 200ms, end: close}}]",
    "corrupt": "[{corrupt: {bytes: 1%}}]",
    "rewrite": "[{rewrite: {replace: [{find: 'user', with: 'person'}], headers: {set: {x-soak: '1'}}}}]",
    "rewrite-up": "[{rewrite: {request: {body: 'another body'}}}]",
    "duplicate": "[{duplicate: {}}]",
    "queue": "[{concurrency: {limit: 3, queue: 5}}, {delay: 20ms}]",
}
HELD = {"hold", "hold-response", "hold-body"}
ENDING = {"reset", "late-reset", "close", "late-close"}
CLOSING = {"close", "late-close", "truncate", "stall-close"}
UPLOADS = {"bandwidth-up", "rewrite-up"}
BODIES = [bytes(size) for size in (1, 1000, 20_000, 200_000)]


def config(ports, number):
    """The same rules each time, but for one number."""
    rules = [f"  - {{name: {name}, match: {{headers: {{x-fault: {name}}}}}, faults: {faults}}}" for name, faults in RULES.items()]
    rules.append(f"  - {{name: changing, match: {{path: /never}}, faults: [{{delay: {number + 1}ms}}]}}")
    return CONFIG.format(rules="\n".join(rules), **ports)


class Measured(Squall):
    """A squall, and what it takes of the machine."""

    def memory(self):
        """Resident KiB."""
        return int(self._proc("status").read_text().split("VmRSS:")[1].split()[0])

    def level(self):
        """Descriptors and threads."""
        return len(list(self._proc("fd").iterdir())), len(list(self._proc("task").iterdir()))

    def _proc(self, name):
        return Path(f"/proc/{self.process.pid}/{name}")

    def gauges(self):
        metrics = self.metrics()
        names = ["squall_connections", "squall_requests_held", "squall_faults_active"]
        return {name: metrics.sum(name) for name in names}


class Watched(Measured):
    """A squall whose access log goes into a ledger."""

    def __init__(self, text, directory, ledger):
        self.ledger = ledger
        super().__init__(text, directory)

    def _take(self, line):
        if '"target":"squall::access"' in line:
            self.ledger.heard(json.loads(line))
        else:
            super()._take(line)


# The traffic.


def draw_plan(dice, leaving=0.4):
    """A request at random. Who asks to be held always leaves."""
    fault = dice.choice([None, None, None, *RULES])
    plan = Plan(fault=fault, ends=fault in ENDING, closes=fault in CLOSING, resets=dice.random() < 0.5)
    if fault == "rewrite":
        plan.path = "/json"
    elif fault in UPLOADS or dice.random() < 0.3:
        plan.path, plan.method = "/count", "POST"
        plan.body = dice.choice(BODIES)
        plan.gap = dice.choice([0.0, 0.0, 0.01])
    else:
        plan.path = dice.choice(["/events/20", "/lines/20", *[f"/bytes/{size}" for size in (0, 100, 5000, 70_000, 300_000)]])
    if fault in HELD or dice.random() < leaving:
        plan.leaves = dice.choice(["early"] if fault in HELD else ["unsent", "early", "early", "reading"])
        plan.after = dice.expovariate(1 / 0.08)
    return plan


async def one_visit(server, dice, note):
    protocol = dice.choice(["http1", "http1", "http2", "http2", "websocket"])
    port = server.port(dice.choice(["h1", "h2c", "echo"]))
    if protocol == "http1":
        await visit_http1(port, [draw_plan(dice) for _ in range(dice.choice([1, 1, 3]))], note)
    elif protocol == "http2":
        plans = [draw_plan(dice) for _ in range(dice.choice([1, 1, 4]))]
        if len(plans) > 1:
            plans = [plan for plan in plans if plan.leaves != "unsent"] or [Plan()]
        leaves_after = dice.expovariate(1 / 0.1) if dice.random() < 0.3 else None
        await visit_http2(port, plans, note, leaves_after, resets=dice.random() < 0.5)
    else:
        fault = dice.choice([None, None, "delay", "late-response", "hold", "abort", "reset", "late-reset", "close"])
        plan = Plan(fault=fault, ends=fault in ENDING, upgrade=True, resets=dice.random() < 0.5)
        if fault == "hold" or dice.random() < 0.5:
            plan.leaves, plan.after = "early", dice.expovariate(1 / 0.08)
        await visit_http1(server.port("websocket"), [plan], note)


async def client(server, dice, note, until):
    while time.monotonic() < until:
        await one_visit(server, dice, note)


async def bystander(server, listener, visit, note, until):
    """Asks for the same again and again, over kept connections."""
    while time.monotonic() < until:
        plans = [Plan(path="/bytes/5000") for _ in range(20)]
        if visit is visit_http1:
            await visit(server.port(listener), plans, note, pause=0.02)
        else:
            await visit(server.port(listener), plans, note)
            await asyncio.sleep(0.2)


async def reloads(server, ports, until):
    """Each second, in turn: the file is saved, the file is saved and a reload asked for, a bad file is refused."""
    number = 0
    while time.monotonic() < until:
        number += 1
        server.save(config(ports, number) + ("  - nonsense\n" if number % 5 == 0 else ""))
        if number % 2:
            status, text = await asyncio.to_thread(server.admin_call, "/api/v1/reload", "POST")
            assert status == (422 if number % 5 == 0 else 200), text
        await asyncio.sleep(1)
    server.save(config(ports, 0))
    return number


async def watch(server, ledger, until):
    """Settles up as it goes, and notes squall's memory."""
    samples = []
    while time.monotonic() < until:
        samples.append(server.memory())
        ledger.settle()
        await asyncio.sleep(0.5)
    return samples


class Soak:
    """One squall, its upstreams, and all that happens to it."""

    def __init__(self, directory, seed):
        self.seed = seed
        self.ledger = Ledger()
        self.mortals = {name: Mortal(name) for name in ("h1", "h2c", "websocket")}
        self.steady = Origin("h1")
        self.steady.exchanges = collections.deque(maxlen=100)
        self.ports = {name: one.port for name, one in [*self.mortals.items(), ("steady", self.steady)]}
        self.server = Watched(config(self.ports, 0), directory, self.ledger)
        self.reloads = 0
        self.memory = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.kill()
        for one in [*self.mortals.values(), self.steady]:
            one.stop()

    def run(self, seconds, phase):
        with Fates(self.mortals.values(), f"{self.seed} {phase}"):
            asyncio.run(self._traffic(seconds, phase))

    async def _traffic(self, seconds, phase):
        until = time.monotonic() + seconds
        server, note = self.server, self.ledger.note
        dice = [random.Random(f"{self.seed} {phase} {number}") for number in range(CLIENTS)]
        clients = [client(server, one, note, until) for one in dice]
        for listener, visit in itertools.product(("steady", "echo"), (visit_http1, visit_http2)):
            clients.append(bystander(server, listener, visit, self.ledger.note_beside, until))
        watching = asyncio.create_task(watch(server, self.ledger, until))
        reloading = asyncio.create_task(reloads(server, self.ports, until))
        await asyncio.gather(*clients)
        self.memory = await watching
        self.reloads += await reloading

    def settle(self):
        """Waits until squall has nothing to do, and closes the connections that it keeps to upstreams."""
        began = time.monotonic()
        eventually(self.server.gauges, lambda gauges: not any(gauges.values()), SETTLE_SECONDS, pause=0.2)
        for one in [*self.mortals.values(), self.steady]:
            one.hang_up()
            eventually(lambda one=one: one.connections, 0, SETTLE_SECONDS)
        with contextlib.suppress(AssertionError):  # else the comparison with the metrics tells
            eventually(self._log_is_read, True)
        time.sleep(1)
        return time.monotonic() - began

    def _log_is_read(self):
        logged = sum(count for key, count in self.ledger.counts.items() if key[0] == "requests")
        return logged >= self.server.metrics().sum("squall_requests_total")


def level_problems(before, after):
    """Descriptors, threads and memory that have not gone back: (level, memory) before and after."""
    (descriptors, threads), memory = before
    (descriptors_now, threads_now), memory_now = after
    if descriptors_now > descriptors + DESCRIPTORS_MORE:
        yield "descriptors", f"{descriptors}, then {descriptors_now}"
    if threads_now > threads + DESCRIPTORS_MORE:
        yield "threads", f"{threads}, then {threads_now}"
    if memory_now > memory * 1.25 + MEMORY_MORE_KIB:
        yield "memory", f"{memory} KiB, then {memory_now} KiB"


def soak(directory, warm_up, seconds, seed):
    """Runs it; the report, and the problems, each of a kind and with details."""
    with Soak(directory, seed) as one:
        one.run(warm_up, "warm-up")
        one.settle()
        before = one.server.level(), one.server.memory()
        one.run(seconds, "soak")
        try:
            settled = one.settle()
        except AssertionError as failure:
            return report(one, before, (one.server.level(), one.server.memory()), SETTLE_SECONDS), [("not idle", str(failure))]
        after = one.server.level(), one.server.memory()
        problems = [
            *level_problems(before, after),
            *metrics_problems(one.server.metrics(), one.ledger),
            *one.ledger.problems(),
            *[("panic", line) for line in one.server.lines if "panicked" in line],
        ]
        text = report(one, before, after, settled)
        if code := one.server.stop():
            problems.append(("exit", f"code {code}"))
        return text, problems


def report(one, before, after, settled):
    third = max(1, len(one.memory) // 3)
    first, last = (statistics.median(part) for part in (one.memory[:third], one.memory[-third:]))
    ledger = one.ledger
    deaths = sum(mortal.deaths for mortal in one.mortals.values())
    return "\n".join(
        [
            f"{ledger.fates.total():8} requests, of these",
            *(f"{count:8} {fate.value}" for fate, count in ledger.fates.most_common()),
            f"{ledger.seen:8} of those that squall perhaps never saw are in its log",
            f"{ledger.beside:8} by well-behaved clients",
            f"{deaths:8} deaths of upstreams, {one.reloads} reloads, idle again after {settled:.1f} s",
            f"descriptors {before[0][0]} -> {after[0][0]}, threads {before[0][1]} -> {after[0][1]}",
            f"memory idle {before[1]} -> {after[1]} KiB; under load {first:.0f} in the first third, {last:.0f} in the last",
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--quick", action="store_true", help="20 s in all: it only proves that all of this works")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of each write to a connection that is gone
    warm_up, seconds = QUICK_SECONDS if options.quick else (max(10, options.minutes * 6), options.minutes * 60)
    with tempfile.TemporaryDirectory(prefix="squall-soak-") as directory:
        text, problems = soak(directory, warm_up, seconds, options.seed)
    print(text)
    print(listed(problems))
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
