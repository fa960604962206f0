#!/usr/bin/env python3
"""Hostile traffic: malformed requests and responses, cut and slowed at random, on every kind of listener and rule.

    tests/.venv/bin/python tests/interop/hostile.py --minutes 60
    tests/.venv/bin/python tests/interop/hostile.py --quick

Squall is the binary of SQUALL_BIN, debug or release. Clients send the cases of the conformance table (`conformance.py`), frames
of HTTP/2, pieces of TLS and noise, to the listeners and to the admin side, and leave as they like; upstreams answer with the
table's responses. Meanwhile the configuration is reloaded, by SIGHUP and by the API, some of the time with a mistake. After a
warm-up, and again at the end, all traffic stops, and then these must hold:

- The gauges (`squall_connections`, `squall_requests_held`, `squall_faults_active`) are 0.
- Descriptors and threads are back where they were after the warm-up; resident memory is, within a bound.
- Well-behaved clients beside it, over HTTP/1, HTTP/2 and TLS, got every answer, whole; so did the health check.
- No thread panicked. squall stops with code 0.
"""

import argparse
import asyncio
import collections
import contextlib
import itertools
import random
import signal
import socket
import ssl
import struct
import sys
import tempfile
import time
from pathlib import Path

import conformance
import flow
from certificates import Authority
from soak import Measured, level_problems
from soak_ledger import listed
from squall import eventually


REQUESTS, RESPONSES = conformance.cases()
REQUESTS, RESPONSES = [case.sent for case in REQUESTS], [case.answer for case in RESPONSES]
CLIENTS = 16
QUICK_SECONDS = 4, 10  # warm-up, and the run
SETTLE_SECONDS = 60
PATIENCE = 0.3  # of a client, for what squall says
BODY = bytes(range(256)) * 40

CONFIG = """
seed: 5
log: {{format: json, access: false}}
bounds: {{held: 2000}}
listeners:
  plain: {{address: 127.0.0.1:0, upstream: scripted, timeouts: {{header: 2s, idle: 2s}}}}
  faulty: {{address: 127.0.0.1:0, upstream: scripted, timeouts: {{header: 2s, idle: 2s}}}}
  tls: {{address: 127.0.0.1:0, upstream: scripted, tls: {{certificate: {certificate}, key: {key}}}, timeouts: {{handshake: 2s, header: 2s, idle: 2s}}}}
  to-h2: {{address: 127.0.0.1:0, upstream: noise-h2, timeouts: {{header: 2s, idle: 2s}}}}
  echo: {{address: 127.0.0.1:0, upstream: echo, timeouts: {{header: 2s, idle: 2s}}}}
  httpbin: {{address: 127.0.0.1:0, upstream: httpbin, timeouts: {{header: 2s, idle: 2s}}}}
  templates: {{address: 127.0.0.1:0, upstream: templates, timeouts: {{header: 2s, idle: 2s}}}}
  steady: {{address: 127.0.0.1:0, upstream: steady}}
  steady-tls: {{address: 127.0.0.1:0, upstream: steady, tls: {{certificate: {certificate}, key: {key}}}}}
upstreams:
  scripted: {{url: 'http://127.0.0.1:{scripted}', timeouts: {{connect: 1s, read: 1s, write: 1s, idle: 1s}}}}
  noise-h2: {{url: 'http://127.0.0.1:{scripted}', protocol: h2c, timeouts: {{connect: 1s, read: 1s, write: 1s, idle: 1s}}}}
  steady: {{url: 'http://127.0.0.1:{steady}'}}
  echo: {{fake: echo}}
  httpbin: {{fake: httpbin}}
  templates:
    fake:
      routes:
        - {{path: '/{{*rest}}', method: ANY, body: '{{{{ path.rest }}}} {{{{ headers }}}} {{{{ query }}}} {{{{ body }}}} {{{{ json }}}}'}}
rules:
{rules}
  - {{name: number, listener: plain, match: {{path: /never}}, faults: [{{delay: {number}ms}}]}}
"""

# Each on a third of the requests of the listener `faulty`, so that several meet.
FAULTS = [
    "delay: {uniform: [1ms, 30ms]}",
    "delay: {fixed: 10ms, before: body}",
    "bandwidth: 200KiB/s",
    "dribble: {chunks: 5, over: 50ms}",
    "stall: {after: 3B, limit: 20ms, end: resume}",
    "truncate: {after: 2B, end: reset}",
    "corrupt: {bytes: 10%}",
    "drop: 20%",
    "rewrite: {replace: [{find: 'hello', with: 'goodbye'}], headers: {set: {x-hostile: '1'}}, request: {body: 'other'}}",
    "duplicate: {}",
    "concurrency: {limit: 4, queue: 4, timeout: 200ms}",
    "abort: {status: 503, before: response}",
    "reset: {before: response}",
    "goaway: {}",
    "quota: {requests: 100, per: 1s}",
]


def config(ports, files, number):
    rules = [
        f"  - {{name: r{at}, listener: faulty, when: {{percentage: 15%}}, faults: [{{{fault}}}]}}" for at, fault in enumerate(FAULTS)
    ]
    return CONFIG.format(rules="\n".join(rules), number=number + 1, **ports, **files)


# Upstreams.


async def answer_anything(dice, reader, writer):
    """Answers each head that it can find with a response of the table, or with noise; then it may close, reset, or stay."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
        while True:
            async with asyncio.timeout(5):
                await reader.readuntil(b"\r\n\r\n")
            await send_in_pieces(dice, writer, hostile_bytes(dice, RESPONSES))
            if dice.random() < 0.5:
                break
    leave(dice, writer)


async def answer_well(reader, writer):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head + BODY)
            await writer.drain()
    writer.close()


# Clients.


def hostile_bytes(dice, cases):
    """A case as it is, or damaged."""
    data = bytearray(dice.choice(cases))
    damage = dice.random()
    if damage < 0.2 and data:
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
    elif damage < 0.3 and data:
        del data[dice.randrange(len(data)) :]
    elif damage < 0.35:
        data = bytearray(dice.randbytes(dice.randint(1, 2000)))
    elif damage < 0.4:
        data *= dice.randint(2, 20)
    return bytes(data)


def http2_bytes(dice):
    """A preface, and frames of which most are wrong in some way."""
    data = bytearray(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
    # :method GET, :scheme http, :path /, and :authority a, from the static table.
    head = b"\x82\x86\x84\x41\x01a"
    for stream in range(1, 2 * dice.randint(1, 30), 2):
        kind = dice.choice([0, 1, 1, 1, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, dice.randrange(256)])
        payload = head if kind == 1 and dice.random() < 0.7 else dice.randbytes(dice.choice([0, 4, 5, 8, 100]))
        flags = dice.choice([4, 5, 5, 0, 1, dice.randrange(256)])
        data += struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", dice.choice([stream, stream, 0]))
        data += payload
    return bytes(data)


def client_bytes(dice):
    chosen = dice.random()
    if chosen < 0.7:
        return hostile_bytes(dice, REQUESTS)
    if chosen < 0.95:
        return http2_bytes(dice)
    return b"\x16\x03\x01" + struct.pack(">H", dice.randrange(65536)) + dice.randbytes(dice.randint(0, 300))


async def send_in_pieces(dice, writer, data):
    for _ in range(dice.choice([0, 0, 0, 1, 3])):
        cut = dice.randrange(len(data) + 1)
        writer.write(data[:cut])
        data = data[cut:]
        await writer.drain()
        await asyncio.sleep(dice.choice([0, 0.001, 0.02]))
    writer.write(data)
    await writer.drain()


def leave(dice, writer):
    """Closes, or resets."""
    if dice.random() < 0.3 and (sock := writer.get_extra_info("socket")):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


async def attack(dice, port, tls):
    with contextlib.suppress(OSError, TimeoutError, ssl.SSLError):
        context = tls if tls and dice.random() < 0.8 else None
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port, ssl=context), 5)
        try:
            await asyncio.wait_for(send_in_pieces(dice, writer, client_bytes(dice)), 5)
            if dice.random() < 0.3 and not context:
                writer.write_eof()
            if dice.random() < 0.8:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PATIENCE):
                        while await reader.read(1 << 16):
                            pass
        finally:
            leave(dice, writer)


async def attacker(run, dice, until):
    while time.monotonic() < until:
        name = dice.choice([*run.targets, "admin"])
        port = run.admin_port if name == "admin" else run.server.port(name)
        await attack(dice, port, run.insecure if name == "tls" else None)
        run.counts["attacks"] += 1


async def bystander(run, listener, until):
    """Asks again and again over one connection, which must last."""
    context = run.trusting if listener == "steady-tls" else None
    reader, writer = await asyncio.open_connection("127.0.0.1", run.server.port(listener), ssl=context)
    while time.monotonic() < until:
        writer.write(b"GET /bytes HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(len(BODY))
        if not head.startswith(b"HTTP/1.1 200") or body != BODY:
            run.problems.append(("bystander", f"{listener}: {head!r}"))
        run.counts["well-behaved"] += 1
        await asyncio.sleep(0.02)
    writer.close()


def bystander_http2(run, until):
    """The same over HTTP/2, and the health check."""
    while time.monotonic() < until:
        with contextlib.closing(flow.H2(run.server.port("steady"))) as connection:
            for _ in range(20):
                answer = connection.exchange("/bytes")
                if answer.status != 200 or answer.body != BODY:
                    run.problems.append(("bystander", f"HTTP/2: {answer}"))
                run.counts["well-behaved"] += 1
                time.sleep(0.02)
        began = time.monotonic()
        status, _ = run.server.admin_call("/healthz")
        if status != 200 or time.monotonic() - began > 2:
            run.problems.append(("health", f"{status} after {time.monotonic() - began:.1f} s"))


async def reloads(run, until):
    for number in itertools.count(1):
        if time.monotonic() > until:
            break
        run.server.save(config(run.ports, run.files, number) + ("  - nonsense\n" if number % 5 == 0 else ""))
        if number % 2:
            status, text = await asyncio.to_thread(run.server.admin_call, "/api/v1/reload", "POST")
            if status != (422 if number % 5 == 0 else 200):
                run.problems.append(("reload", text))
        else:
            run.server.signal(signal.SIGHUP)
        run.counts["reloads"] += 1
        await asyncio.sleep(1)
    run.server.save(config(run.ports, run.files, 0))


class Run:
    """One squall, its upstreams, and all that happens to it."""

    targets = ("plain", "faulty", "faulty", "tls", "to-h2", "echo", "httpbin", "templates")

    def __init__(self, directory, seed, clients=CLIENTS):
        self.clients = clients
        authority = Authority(Path(directory))
        certificate, key = authority.sign("server")
        self.files = {"certificate": certificate, "key": key}
        self.insecure = ssl._create_unverified_context()
        self.trusting = ssl.create_default_context(cafile=authority.file)
        self.directory, self.seed = directory, seed
        self.problems = []
        self.counts = collections.Counter()

    async def __aenter__(self):
        dice = random.Random(f"{self.seed} upstream")
        self.upstreams = {
            "scripted": await asyncio.start_server(lambda *pair: answer_anything(dice, *pair), "127.0.0.1", 0),
            "steady": await asyncio.start_server(answer_well, "127.0.0.1", 0),
        }
        self.ports = {name: one.sockets[0].getsockname()[1] for name, one in self.upstreams.items()}
        self.server = await asyncio.to_thread(Measured, config(self.ports, self.files, 0), self.directory)
        self.admin_port = int(self.server.admin.rsplit(":", 1)[1])
        return self

    async def __aexit__(self, *_):
        self.server.kill()
        for one in self.upstreams.values():
            one.close()

    async def traffic(self, seconds, phase):
        until = time.monotonic() + seconds
        dice = [random.Random(f"{self.seed} {phase} {number}") for number in range(self.clients)]
        await asyncio.gather(
            *(attacker(self, one, until) for one in dice),
            *(bystander(self, listener, until) for listener in ("steady", "steady-tls")),
            asyncio.to_thread(bystander_http2, self, until),
            reloads(self, until),
        )

    def level(self):
        """Descriptors, threads and memory, once squall has nothing to do."""
        eventually(self.server.gauges, lambda gauges: not any(gauges.values()), SETTLE_SECONDS, pause=0.2)
        time.sleep(3)  # idle connections to upstreams end
        return self.server.level(), self.server.memory()


async def hostile(directory, warm_up, seconds, seed, clients=CLIENTS):
    """Runs it; the report, and the problems, each of a kind and with details."""
    async with Run(directory, seed, clients) as run:
        await run.traffic(warm_up, "warm-up")
        before = await asyncio.to_thread(run.level)
        run.counts.clear()
        await run.traffic(seconds, "run")
        after = await asyncio.to_thread(run.level)
        run.problems += level_problems(before, after)
        run.problems += [("panic", line) for line in run.server.lines if "panicked" in line]
        if code := await asyncio.to_thread(run.server.stop):
            run.problems.append(("exit", f"code {code}"))
        lines = [f"{count:8} {what}" for what, count in run.counts.items()]
        levels = zip(("descriptors", "threads"), before[0], after[0], strict=True)
        lines += [f"{what} {first} -> {last}" for what, first, last in levels]
        return "\n".join([*lines, f"memory {before[1]} -> {after[1]} KiB"]), run.problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--quick", action="store_true", help="a quarter of a minute: it only proves that all of this works")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=CLIENTS, help="hostile ones at a time")
    options = parser.parse_args()
    warm_up, seconds = QUICK_SECONDS if options.quick else (max(10, options.minutes * 6), options.minutes * 60)
    with tempfile.TemporaryDirectory(prefix="squall-hostile-") as directory:
        text, problems = asyncio.run(hostile(directory, warm_up, seconds, options.seed, options.clients))
    print(text)
    print(listed(problems))
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
