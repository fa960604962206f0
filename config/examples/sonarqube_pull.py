#!/usr/bin/env python3
"""Pulls 25,000 issues from a slow SonarQube: one page after another with requests, and 50 pages at once with aiohttp.

    pip install requests aiohttp
    python3 config/examples/sonarqube_pull.py             # all rows of the table: about a quarter of an hour
    python3 config/examples/sonarqube_pull.py --short     # the first one: under a minute

A search returns at most 10,000 results, so the pull goes by severity: 5 severities of 10 pages of 500 issues. The SonarQube
is squall's fake; sonarqube.yaml beside this file sets how slow it is. Each pull gets its own squall, started here: with
the same seed, it delays the pages of both pulls by the same times.
"""

import argparse
import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import requests

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CONFIG = HERE / "sonarqube.yaml"
SEVERITIES = ["INFO", "MINOR", "MAJOR", "CRITICAL", "BLOCKER"]
SIZE = 500
PAGES = [{"severities": severity, "p": page, "ps": SIZE} for severity in SEVERITIES for page in range(1, 11)]


@dataclass(frozen=True)
class Row:
    """A row of the table: a listener of sonarqube.yaml, the seconds that the pages are worked on, and what was measured
    before squall was there, with a fake in Python that waits by itself."""

    listener: str
    title: str
    processing: float
    sync_before: float
    async_before: float


ROWS = [
    Row("short", "0.4-0.8 s a page, 1 s processing", 1, 33.8, 3.3),
    Row("slow", "4-8 s a page, 10 s processing", 10, 303.5, 25.7),
    Row("narrow", "4-8 s a page and 90 KiB/s a response, 10 s processing", 10, 491.9, 33.2),
]


@dataclass
class Pull:
    """What came of one pull."""

    keys: set = field(default_factory=set)
    issues: int = 0
    size: int = 0
    rules: Counter = field(default_factory=Counter)
    seconds: float = 0.0
    page_seconds: list = field(default_factory=list)  # from each page's request to its last byte
    delays: float = 0.0  # what squall delayed all pages by, as it says itself

    def process(self, text, seconds):
        """Works on a page: reads and counts it, and is busy for `seconds` in all, as a program with more to do would be."""
        began = time.monotonic()
        issues = json.loads(text)["issues"]
        self.issues += len(issues)
        self.size += len(text)
        self.keys.update(issue["key"] for issue in issues)
        self.rules.update(issue["rule"] for issue in issues)
        time.sleep(max(began + seconds - time.monotonic(), 0))


def pull_sync(url, processing, progress):
    """One page after the other, each worked on before the next is asked for."""
    pull = Pull()
    began = time.monotonic()
    with requests.Session() as session:
        for page in PAGES:
            asked = time.monotonic()
            response = session.get(url + "/api/issues/search", params=page)
            response.raise_for_status()
            pull.page_seconds.append(time.monotonic() - asked)
            pull.process(response.content, processing / len(PAGES))
            progress(len(pull.page_seconds))
    pull.seconds = time.monotonic() - began
    return pull


async def pull_async(url, processing, progress):
    """All pages at once, and when all are there they are worked on."""
    pull = Pull()

    async def get(session, page):
        asked = time.monotonic()
        async with session.get(url + "/api/issues/search", params=page) as response:
            response.raise_for_status()
            text = await response.read()
        pull.page_seconds.append(time.monotonic() - asked)
        progress(len(pull.page_seconds))
        return text

    began = time.monotonic()
    connector = aiohttp.TCPConnector(limit=len(PAGES))
    async with aiohttp.ClientSession(connector=connector) as session:
        texts = await asyncio.gather(*(get(session, page) for page in PAGES))
    for text in texts:
        pull.process(text, processing / len(PAGES))
    pull.seconds = time.monotonic() - began
    return pull


class Squall:
    """A squall that runs sonarqube.yaml on free ports."""

    def __init__(self, command):
        sockets = [socket.socket() for _ in range(4)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        names = ["ADMIN", "SHORT", "SLOW", "NARROW"]
        self.addresses = {name: f"127.0.0.1:{one.getsockname()[1]}" for name, one in zip(names, sockets)}
        for one in sockets:
            one.close()
        env = {f"SQUALL_{name}": address for name, address in self.addresses.items()}
        self.process = subprocess.Popen(
            [*command, "run", "-c", str(CONFIG)],
            cwd=ROOT,
            env={**os.environ, **env},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self):
        while True:
            if self.process.poll() is not None:
                sys.exit(f"squall ended with {self.process.returncode}: try `squall check {CONFIG}`")
            try:
                self.admin("/readyz")
                return self
            except OSError:
                time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def url(self, listener):
        return "http://" + self.addresses[listener.upper()]

    def admin(self, path):
        with urllib.request.urlopen(f"http://{self.addresses['ADMIN']}{path}", timeout=5) as response:
            return response.read().decode()

    def delays(self):
        """The seconds that it has delayed requests by so far."""
        found = re.findall(r"^squall_injected_delay_seconds_sum\{.*\} (\S+)$", self.admin("/metrics"), re.MULTILINE)
        return sum(map(float, found))


def progress_of(title):
    """A line that grows, on a terminal; elsewhere a line at the end."""
    began = time.monotonic()

    def progress(pages):
        text = f"  {title:<8} {pages:2} of {len(PAGES)} pages, {time.monotonic() - began:6.1f} s"
        if sys.stderr.isatty():
            print(f"\r{text}", end="" if pages < len(PAGES) else "\n", file=sys.stderr, flush=True)
        elif pages == len(PAGES):
            print(text, file=sys.stderr, flush=True)

    return progress


def measure(row, command):
    """Both pulls of a row."""
    print(row.title, file=sys.stderr, flush=True)
    with Squall(command) as squall:
        one_by_one = pull_sync(squall.url(row.listener), row.processing, progress_of("requests"))
        one_by_one.delays = squall.delays()
    with Squall(command) as squall:
        pulling = pull_async(squall.url(row.listener), row.processing, progress_of("aiohttp"))
        at_once = asyncio.run(pulling)
        at_once.delays = squall.delays()
    for pull in (one_by_one, at_once):
        if not len(pull.keys) == pull.issues == SIZE * len(PAGES):
            sys.exit(f"{pull.issues} issues came, {len(pull.keys)} of them distinct, instead of {SIZE * len(PAGES)}")
    return one_by_one, at_once


def table(measured):
    """The measured rows beside what they were before squall, in Markdown."""
    lines = [
        "| rule on the fake | requests | before squall | aiohttp, 50 at once | before squall | times faster |",
        "|---|---|---|---|---|---|",
    ]
    for row, (one_by_one, at_once) in measured:
        lines.append(
            f"| {row.title} | {one_by_one.seconds:.1f} s | {row.sync_before} s "
            f"| {at_once.seconds:.1f} s | {row.async_before} s | {one_by_one.seconds / at_once.seconds:.1f} |"
        )
    return "\n".join(lines)


def summary(row, pulls):
    """The figures of a row, for programs."""
    names = ("requests", "aiohttp")
    return {"listener": row.listener, "processing": row.processing} | {
        name: {
            "issues": pull.issues,
            "distinct": len(pull.keys),
            "bytes": pull.size,
            "seconds": pull.seconds,
            "page_seconds": pull.page_seconds,
            "delays": pull.delays,
        }
        for name, pull in zip(names, pulls)
    }


def squall_command(binary):
    """The binary that was named, or one that was built, or the one that cargo builds."""
    if binary:
        return [str(Path(binary).resolve())]
    built = [ROOT / "target" / profile / "squall" for profile in ("dist", "release")]
    found = [str(path) for path in built if path.exists()]
    if found:
        return found[:1]
    subprocess.run(["cargo", "build", "--release"], cwd=ROOT, check=True)
    return [str(built[1])]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--short", action="store_true", help="the first row only: under a minute")
    parser.add_argument("--squall", metavar="BINARY", help="the squall to run; default: the one in target/, built if missing")
    parser.add_argument("--json", metavar="FILE", help="also write all figures to FILE")
    options = parser.parse_args()
    command = squall_command(options.squall)
    rows = ROWS[:1] if options.short else ROWS
    measured = []
    for row in rows:
        measured.append((row, measure(row, command)))
    if options.json:
        figures = [summary(row, pulls) for row, pulls in measured]
        Path(options.json).write_text(json.dumps(figures, indent=1))
    for row, (one_by_one, _) in measured:
        pages = len(PAGES)
        mean = sum(one_by_one.page_seconds) / pages
        print(f"{row.title}: a page took {mean:.2f} s on average, of which {one_by_one.delays / pages:.2f} s was injected;")
        print(f"  {one_by_one.issues} issues, all distinct, {one_by_one.size / pages / 1000:.0f} kB per page")
    print()
    print(table(measured))


if __name__ == "__main__":
    main()
