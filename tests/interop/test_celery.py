"""Celery behind Flask behind squall, with a real worker and a real Redis: jobs get done, and whoever polls for them copes."""

import itertools
import os
import signal
import subprocess
import sys
import time

import pytest
import requests
from conftest import APPS, free_port, wait_for_port
from redis import Redis
from requests.adapters import HTTPAdapter
from squall import Squall
from urllib3.util.retry import Retry

START_SECONDS = 90
JOB_SECONDS, WAIT_SECONDS = 0.6, 0.25
NUMBERS = itertools.count(2)

RULES = """
rules:
  - {name: late, match: {path: /jobs/*, headers: {x-fault: late}}, faults: [{delay: 300ms}]}
  - name: refused
    match: {path: /jobs/*, headers: {x-fault: refused}}
    when: {attempts: 2, key: path}
    faults: [{abort: {status: 503, retry_after: 1s}}]
  - name: cut
    match: {path: /jobs/*, headers: {x-fault: cut}}
    when: {attempts: 2, key: path}
    faults: [{truncate: 10B}]
  - name: lost
    match: {path: /jobs, headers: {x-fault: lost}}
    when: {limits: {total: 1}}
    faults: [{close: {before: response}}]
"""


class System:
    """Redis without persistence, a Celery worker, Flask, and squall before Flask."""

    def __init__(self, directory, redis_server):
        self.directory, self.processes = directory, []
        try:
            port = free_port()
            quiet = ["--save", "", "--appendonly", "no", "--dir", directory, "--bind", "127.0.0.1"]
            wait_for_port(port, *self._start("redis", redis_server, "--port", port, *quiet))
            self.redis = Redis(port=port)
            environment = {"JOBS_REDIS": f"redis://127.0.0.1:{port}/0", "PYTHONPATH": str(APPS)}
            worker = ["-m", "celery", "-A", "jobs:celery", "worker", "--pool", "solo", "--loglevel", "warning"]
            running = self._start("worker", sys.executable, *worker, "--without-gossip", "--without-mingle", **environment)
            port = free_port()
            flask = ["-m", "flask", "--app", "jobs", "run", "--no-reload", "--port", port]
            wait_for_port(port, *self._start("flask", sys.executable, *flask, **environment), START_SECONDS)
            listener = "listeners: {web: {address: 127.0.0.1:0, upstream: jobs}}"
            upstream = f"upstreams: {{jobs: {{url: 'http://127.0.0.1:{port}'}}}}"
            self.squall = Squall(f"seed: 1\n{listener}\n{upstream}\n{RULES}", directory)
            self._wait_for_worker(*running)
        except BaseException:
            self.stop()
            raise

    def _start(self, name, *argv, **environment):
        log = self.directory / f"{name}.log"
        with log.open("w") as out:
            options = {"env": {**os.environ, **environment}, "cwd": self.directory, "start_new_session": True}
            self.processes.append(subprocess.Popen([str(word) for word in argv], stdout=out, stderr=out, **options))
        return self.processes[-1], log

    def _wait_for_worker(self, process, log):
        _, location = create(self)
        deadline = time.monotonic() + START_SECONDS
        while requests.get(self.squall.url(location), timeout=30).status_code != 200:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)

    def stop(self):
        if squall := getattr(self, "squall", None):
            squall.kill()
        for process in self.processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def runs(self, number):
        return int(self.redis.get(f"runs {number}") or 0)

    def injected(self, rule):
        return self.squall.metrics().sum("squall_faults_injected_total", rule=rule)


@pytest.fixture(scope="module")
def system(tmp_path_factory, tool):
    system = System(tmp_path_factory.mktemp("celery"), tool("redis-server"))
    yield system
    system.stop()


@pytest.fixture
def job(system):
    """A job that has been taken: its number, and where to ask for it."""
    return create(system)


def create(system, session=requests, **headers):
    number = next(NUMBERS)
    body = {"number": number, "seconds": JOB_SECONDS}
    answer = session.post(system.squall.url("/jobs"), json=body, headers=headers, timeout=30)
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/jobs/{answer.json()['id']}"
    return number, answer.headers["Location"]


def poll(system, location, fault=None, session=requests):
    """Asks until the job is done, again after each cut answer; the statuses and the seconds of each poll, and the result."""
    polls, cuts, deadline = [], 0, time.monotonic() + 30
    while time.monotonic() < deadline:
        began = time.monotonic()
        url = system.squall.url(f"{location}?wait={WAIT_SECONDS}")
        try:
            answer = session.get(url, headers={"x-fault": fault} if fault else {}, timeout=30)
        except requests.exceptions.ChunkedEncodingError:
            cuts += 1
            continue
        polls.append((answer.status_code, time.monotonic() - began))
        if answer.status_code != 202:
            return polls, cuts, answer.json() if answer.status_code == 200 else None
    raise AssertionError(f"the job is not done: {polls}")


def check_done(system, number, result):
    """The right result, of a job that ran once."""
    assert (result["state"], result["result"]["square"]) == ("SUCCESS", number * number)
    assert system.runs(number) == 1


def test_untouched(system, job):
    number, location = job
    polls, cuts, result = poll(system, location)
    assert [status for status, _ in polls] == [202] * (len(polls) - 1) + [200]
    assert len(polls) >= 2
    assert all(seconds >= WAIT_SECONDS * 0.9 for status, seconds in polls if status == 202)
    assert cuts == 0
    check_done(system, number, result)


def test_several_jobs(system):
    jobs = [create(system) for _ in range(3)]
    for number, location in jobs:
        check_done(system, number, poll(system, location)[2])


def test_late_polls(system, job):
    number, location = job
    before = system.injected("late")
    polls, _, result = poll(system, location, "late")
    assert all(seconds >= 0.3 - 0.03 for _, seconds in polls)
    assert system.injected("late") == before + len(polls)
    check_done(system, number, result)


def test_refused_polls(system, job):
    """urllib3's Retry waits as long as Retry-After says."""
    number, location = job
    before, began = system.injected("refused"), time.monotonic()
    assert poll(system, location, "refused")[0][-1][0] == 503
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=Retry(total=3, status_forcelist=[503])))
        _, _, result = poll(system, location, "refused", session)
    assert time.monotonic() - began >= 1 - 0.03
    assert system.injected("refused") == before + 2
    check_done(system, number, result)


def test_cut_polls(system, job):
    number, location = job
    _, cuts, result = poll(system, location, "cut")
    assert cuts == 2
    check_done(system, number, result)


def test_a_lost_answer_is_not_a_lost_job(system):
    """The answer to the POST is lost after the job was taken: who asks again has it done twice."""
    number = next(NUMBERS)
    body = {"number": number, "seconds": 0}
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.post(system.squall.url("/jobs"), json=body, headers={"x-fault": "lost"}, timeout=30)
    answer = requests.post(system.squall.url("/jobs"), json=body, headers={"x-fault": "lost"}, timeout=30)
    result = poll(system, answer.headers["Location"])[2]
    assert result["result"]["square"] == number * number
    assert system.runs(number) == 2
