"""Whatever a name in the configuration leads to, `squall check` says what is wrong with it, at once.

The peers hang on a pipe, and read a device until the memory is full.
"""

import os
import re
import socket

import pytest
from certificates import Authority
from squall import command

SECONDS = 5
BAD_CONFIGURATION = 64

UPSTREAM = "listeners: {{web: {{address: '127.0.0.1:0', upstream: u}}}}\n"
FAKE = UPSTREAM + "upstreams: {{u: {{fake: {fake}}}}}\n"
RULE = UPSTREAM + "upstreams: {{u: {{fake: echo}}}}\nrules: [{{name: r, faults: [{fault}]}}]\n"
HTTPS = UPSTREAM + "upstreams: {{u: {{url: 'https://127.0.0.1:1', tls: {tls}}}}}\n"
TLS = "listeners: {{web: {{address: '127.0.0.1:0', upstream: u, tls: {tls}}}}}\nupstreams: {{u: {{fake: echo}}}}\n"

# Where a file can be named, with `FILE` in its place.
PLACES = {
    "include": FAKE.format(fake="echo") + "include: [FILE]\n",
    "body of an abort": RULE.format(fault="{abort: {status: 503, file: FILE}}"),
    "body of a rewrite": RULE.format(fault="{rewrite: {file: FILE}}"),
    "samples": RULE.format(fault="{delay: {samples: FILE}}"),
    "certificate": TLS.format(tls="{certificate: FILE, key: good.key}"),
    "key": TLS.format(tls="{certificate: good.pem, key: FILE}"),
    "client_ca": TLS.format(tls="{certificate: good.pem, key: good.key, client_ca: FILE}"),
    "ca": HTTPS.format(tls="{ca: FILE}"),
    "client certificate": HTTPS.format(tls="{certificate: FILE, key: good.key}"),
    "client key": HTTPS.format(tls="{certificate: good.pem, key: FILE}"),
    "authority of faults": RULE.format(fault="{close: {}}") + "fault_ca: {certificate: FILE, key: good.key}\n",
    "openapi": FAKE.format(fake="{openapi: FILE}"),
    "har": FAKE.format(fake="{har: FILE}"),
    "route": FAKE.format(fake="{routes: [{path: /a, file: FILE}]}"),
    "template": FAKE.format(fake="{routes: [{path: /a, file: {path: FILE, template: true}}]}"),
    "page": FAKE.format(fake="{routes: [{path: /a, page: {file: FILE}}]}"),
    "store": FAKE.format(fake="{store: 'file:FILE', collections: {a: {fields: {b: string}}}}"),
}

# What a name can lead to: the name, and the words about it.
KINDS = {
    "nothing": ("absent", "there is no such file"),
    "a folder": ("folder", "it is a folder"),
    "a pipe": ("pipe", "it is a pipe"),
    "a socket": ("socket", "it is a socket"),
    "a device without end": ("/dev/zero", "it is a device"),
    "a terminal or nothing": ("/dev/null", "it is a device"),
    "a large file": ("large", "it is larger than"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "folder").mkdir()
    Authority(folder).sign("good")
    os.mkfifo(folder / "pipe")
    with open(folder / "large", "wb") as large:
        large.truncate(100 << 20)  # without blocks on the disk
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
    return folder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_what_a_name_leads_to(folder, place, kind):
    name, words = KINDS[kind]
    if place == "store":
        if kind in ("nothing", "a large file"):
            pytest.skip("a database is made where there is none, and may be large")
        words = ""
    config = folder / "squall.yaml"
    config.write_text(PLACES[place].replace("FILE", str(folder / name)))
    done = command("check", config, timeout=SECONDS)
    assert done.returncode == BAD_CONFIGURATION, done.stderr
    assert re.search(rf"{re.escape(str(folder / name))}\S* ?.*{words}", done.stderr), done.stderr


@pytest.mark.parametrize("kind", ["a folder", "a socket", "a device without end", "a large file", "nothing"])
def test_the_configuration_itself(folder, kind):
    name, _ = KINDS[kind]
    done = command("check", folder / name, timeout=SECONDS)
    assert done.returncode == BAD_CONFIGURATION
    assert str(folder / name) in done.stderr


def test_the_configuration_may_come_from_a_pipe(tmp_path):
    """As `squall check -c <(envsubst < template)` has it."""
    text = FAKE.format(fake="echo")
    done = command("check", "/dev/stdin", timeout=SECONDS, input=text)
    assert done.returncode == 0, done.stderr
