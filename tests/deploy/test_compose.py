"""The stacks of deploy/compose, really brought up, with both kinds of Compose, and looked at from outside."""

import re
import time

import pytest
import requests
from conftest import DEPLOY, ROOT
from containers import STACKS, Stack, compose_1, compose_2, within
from dashboard import expressions, numbers
from live import TOKEN, PrometheusApi

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]
COMPOSES = {"compose-1": compose_1, "compose-2": compose_2}
# What docker grants a container that is told to stop, before it is killed.
GRACE_SECONDS = 10
RELOAD_SECONDS = 20


@pytest.fixture(scope="module", params=COMPOSES)
def compose(request, docker, lacking_skips):
    with lacking_skips():
        return COMPOSES[request.param](docker)


@pytest.fixture
def stack(request, docker, images, compose, tmp_path):
    """The stack that the test names, up, and squall in it healthy."""
    stack = Stack(docker, compose, request.param, tmp_path)
    try:
        stack.up()
        yield stack
    finally:
        stack.remove()


def asked(url, method="GET", **options):
    """Status and seconds."""
    began = time.monotonic()
    answer = requests.request(method, url, timeout=20, **options)
    return answer.status_code, time.monotonic() - began


def answers(status, url, least=0.0):
    """A condition: it is answered so, and not sooner."""

    def holds():
        got, seconds = asked(url)
        return got == status and seconds >= least

    return holds


def ends_well(stack):
    code, seconds = stack.down()
    assert code == 0
    assert seconds < GRACE_SECONDS, f"{seconds:.1f} s"


def test_images(docker, images):
    hardened = ["run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL"]
    assert docker(*hardened, "squall", "--version").startswith("squall ")
    assert docker.inspect("squall", ".Config.User") == "65532:65532"
    assert "healthcheck" in docker.inspect("squall", ".Config.Healthcheck.Test")
    for image in ("squall", "squall:debian", "squall:toxiproxy"):
        for label in ("title", "description", "licenses", "version", "revision"):
            assert docker.inspect(image, f'index .Config.Labels "org.opencontainers.image.{label}"')
    # Nothing but the binary, certificates and the demo: there is no shell.
    assert docker.run("docker", "run", "--rm", "--entrypoint", "/bin/sh", "squall").returncode != 0
    assert "squall.yaml" in docker(*hardened, "--entrypoint", "sh", "squall:debian", "-c", "squall --version && ls /etc/squall")


@pytest.mark.parametrize("name", STACKS)
def test_the_files_are_accepted(docker, compose, name):
    result = docker.run(*compose, "config", "-q", cwd=DEPLOY / "compose" / name)
    assert (result.returncode, result.stdout) == (0, "")


def test_the_image_alone_is_the_demo(docker, images):
    name = docker("run", "-d", "--rm", "-p", "127.0.0.1::8080", "--read-only", "--cap-drop", "ALL", "squall")
    try:
        assert within(20, lambda: docker.inspect(name, ".State.Health.Status") == "healthy")
        port = docker("port", name, "8080").splitlines()[0].rsplit(":", 1)[1]
        assert asked(f"http://127.0.0.1:{port}/api/v1/todo/list/count")[0] == 200
        began = time.monotonic()
        docker("stop", name)
        assert time.monotonic() - began < GRACE_SECONDS
    finally:
        docker.run("docker", "rm", "-f", name)


def test_the_image_in_place_of_toxiproxys(docker, images):
    ports = ["-p", "127.0.0.1::8474", "-p", "127.0.0.1::8666"]
    # As compose files have it: the flags of Toxiproxy's image, its own among them.
    name = docker("run", "-d", "--rm", *ports, "--read-only", "--cap-drop", "ALL", "squall:toxiproxy", "-host=0.0.0.0", "-proxy-metrics")
    try:
        port = lambda of: docker("port", name, of).splitlines()[0].rsplit(":", 1)[1]
        api = f"http://127.0.0.1:{port('8474')}"
        assert within(20, lambda: asked(f"{api}/version")[0] == 200)
        # The API itself is the upstream, so that no second container is needed.
        body = {"name": "api", "listen": "0.0.0.0:8666", "upstream": "127.0.0.1:8474"}
        assert requests.post(f"{api}/proxies", json=body, timeout=10).status_code == 201
        proxied = f"http://127.0.0.1:{port('8666')}/version"
        assert requests.get(proxied, timeout=10).json() == {"version": "2.12.0"}
        toxic = {"type": "latency", "attributes": {"latency": 300}}
        assert requests.post(f"{api}/proxies/api/toxics", json=toxic, timeout=10).status_code == 200
        began = time.monotonic()
        assert requests.get(proxied, timeout=10).status_code == 200
        assert time.monotonic() - began > 0.3
        assert 'toxiproxy_proxy_sent_bytes_total{direction="downstream",' in requests.get(f"{api}/metrics", timeout=10).text
    finally:
        docker.run("docker", "rm", "-f", name)


def test_testcontainers_take_the_image(tool, docker, images):
    script = ROOT / "tests/interop/node-client/testcontainers.mjs"
    # Its own image that cleans up after tests that died can't be fetched.
    env = {**docker.env, "TESTCONTAINERS_RYUK_DISABLED": "true"}
    command = [tool("node"), script, ROOT / "tests/.venv/node-client", "squall:toxiproxy"]
    result = docker.run(*command, env=env)
    assert (result.returncode, result.stdout.splitlines()[-1:]) == (0, ["well"]), result.stdout


@pytest.mark.parametrize("stack", ["in-front"], indirect=True)
def test_in_front(stack):
    count, users = f"{stack.url}/api/v1/todo/list/count", f"{stack.url}/api/v1/silly-users/make-one"
    assert answers(200, count, 0.3)()
    assert asked(users)[0] == 503
    stack.save("status: 503", "status: 418")
    assert within(RELOAD_SECONDS, answers(418, users)), stack.logs("squall")
    # A bad file changes nothing but a line of the log.
    stack.save("listeners:", "listenesr:")
    assert within(RELOAD_SECONDS, lambda: "not reloaded" in stack.logs("squall"))
    assert asked(users)[0] == 418
    assert stack.healthy()
    check = ["squall", "/usr/local/bin/squall", "healthcheck"]
    assert stack.exec(*check)[0] == 0
    assert stack.exec(*check, "--address", "127.0.0.1:1")[0] == 1
    ends_well(stack)


# What an application gets from a URL: the status, and the milliseconds.
ASK = """
import sys, time, urllib.error, urllib.request
began = time.monotonic()
try:
    status = urllib.request.urlopen(sys.argv[1], timeout=20).status
except urllib.error.HTTPError as error:
    status = error.code
print(status, (time.monotonic() - began) * 1000)
"""


@pytest.mark.parametrize("stack", ["intercept"], indirect=True)
def test_intercept(stack):
    def app_gets(status, path, least=0.0):
        code, output = stack.exec("app", "python3", "-c", ASK, f"http://shop{path}")
        assert code == 0, output
        got, milliseconds = output.split()
        return int(got) == status and float(milliseconds) >= least

    # The application asks for the shop by its own name.
    assert within(20, lambda: stack.inspect("app", ".State.Status") == "running")
    assert stack.inspect("redirect", ".State.Status") == "exited" and stack.inspect("redirect", ".State.ExitCode") == "0"
    assert app_gets(503, "/api/v1/users/list/count")
    stack.save("when: {every: 2}", "when: {percentage: 100}")
    assert within(RELOAD_SECONDS, lambda: app_gets(200, "/api/v1/todo/list/count", 400))
    # Squall's own connection was not redirected: the request came by once.
    assert app_gets(200, "/api/v1/todo/list/count?marked")
    assert stack.logs("squall").count("?marked") == 1
    # Nor is anybody else's: the shop's container knows nothing of all this.
    assert within(20, lambda: re.search(r"list/count: 503, ", stack.logs("app")))
    ends_well(stack)


@pytest.mark.parametrize("stack", ["demo"], indirect=True)
def test_demo(stack):
    assert asked(f"{stack.url}/items/1")[0] == 200
    order = {"method": "POST", "json": {"item": 1}, "headers": {"idempotency-key": "one"}}
    assert [asked(f"{stack.url}/orders", **order)[0] for _ in range(3)] == [503, 503, 201]
    assert within(60, lambda: "POST /orders: 201 after 3 attempt" in stack.logs("client")), stack.logs("client")

    prometheus = PrometheusApi(f"http://127.0.0.1:{stack.prometheus_port}")
    prometheus.wait_until(lambda: [target["health"] for target in prometheus.targets()] == ["up"])
    [target] = prometheus.targets()
    assert target["labels"]["job"] == "squall"
    prometheus.wait_until(lambda: prometheus.query('rate(squall_faults_injected_total{fault="abort"}[30s]) > 0'))
    prometheus.wait_until(lambda: prometheus.query("squall:requests:rate5m"))

    admin = f"http://{stack.address('squall')}:9900/metrics"
    assert asked(admin)[0] == 401
    before = reloads(admin)
    stack.docker("kill", "-s", "HUP", stack.id("squall"))
    assert within(RELOAD_SECONDS, lambda: reloads(admin) > before)

    empty = list(expressions())
    assert len(empty) > 20
    within(60, lambda: not left_empty(prometheus, empty))
    assert empty == []

    stack.save("p50: 80ms, p90: 300ms, p99: 1s", "p50: 3s, p99: 4s")
    assert within(RELOAD_SECONDS, lambda: asked(f"{stack.url}/items/1")[1] > 1)
    ends_well(stack)


def left_empty(prometheus, waiting):
    """Takes the queries out of the list that are answered with data."""
    waiting[:] = [(title, query) for title, query in waiting if not numbers(prometheus, query)]
    return waiting


def reloads(admin):
    page = requests.get(admin, headers={"authorization": f"Bearer {TOKEN}"}, timeout=10).text
    return sum(float(value) for value in re.findall(r"^squall_reloads_total\S* (\S+)$", page, re.MULTILINE))
