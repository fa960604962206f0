"""PostgreSQL, Redis and RabbitMQ behind squall's TCP listeners, with the clients that everyone uses: untouched they notice
nothing, they see a delay, they get over a reset of their open connections, and their timeouts end a stall.

Each system has three listeners, for the connections that are made under a fault: plain, late and stuck. What happens to
connections that are open is a rule that a reload brings.
"""

import contextlib
import itertools
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import kombu
import psycopg
import pytest
import redis
import sqlalchemy
from conftest import APPS
from redis.backoff import ExponentialBackoff
from redis.retry import Retry
from squall import Squall, eventually

START_SECONDS = 90
LATE_SECONDS = 0.1
GENEROUS_SECONDS = 2  # for what takes no time on an idle machine

NUMBERS = itertools.count(2)
LOST = "Connection to broker lost"  # what a worker logs

SYSTEMS = ["postgres", "redis", "rabbitmq"]
RULES = """
rules:
  - {name: late, listener: [postgres-late, redis-late, rabbitmq-late], faults: [{delay: 100ms}]}
  - {name: stuck, listener: [postgres-stuck, redis-stuck, rabbitmq-stuck], faults: [{stall: {after: 0B}}]}
"""


class Door:
    """squall before all three servers."""

    def __init__(self, directory, upstreams):
        names = [f"{system}{kind}" for system in upstreams for kind in ("", "-late", "-stuck")]
        listeners = [f"  {name}: {{address: 127.0.0.1:0, protocol: tcp, upstream: {name.split('-')[0]}}}" for name in names]
        places = [f"  {system}: {{address: '127.0.0.1:{port}'}}" for system, port in upstreams.items()]
        self.text = "\n".join(["seed: 1", "listeners:", *listeners, "upstreams:", *places, RULES])
        self.squall = Squall(self.text, directory)

    def port(self, listener):
        return self.squall.port(listener)

    def rules(self, more=""):
        """Puts these rules behind the others, for open connections too."""
        self.squall.save(self.text + more)
        status, report = self.squall.admin_call("/api/v1/reload", "POST")
        assert status == 200, report

    @contextlib.contextmanager
    def late(self, listener):
        self.rules(f"  - {{name: later, listener: {listener}, faults: [{{delay: 100ms}}]}}\n")
        try:
            yield
        finally:
            self.rules()

    def reset(self, listener):
        """Resets the connections that are open now."""
        self.rules(f"  - {{name: broken, listener: {listener}, faults: [{{reset: {{}}}}]}}\n")
        self.rules()

    def connections(self, listener):
        return self.squall.metrics().sum("squall_tcp_connections_total", listener=listener)

    def injected(self, rule):
        return self.squall.metrics().sum("squall_faults_injected_total", rule=rule)


@pytest.fixture(scope="module")
def door(tmp_path_factory, postgres_server, redis_server, rabbitmq_server):
    servers = [postgres_server, redis_server, rabbitmq_server]
    ports = {system: server.port for system, server in zip(SYSTEMS, servers, strict=True)}
    door = Door(tmp_path_factory.mktemp("tcp"), ports)
    yield door
    assert door.squall.process.poll() is None, door.squall.log()
    door.squall.kill()


def took(work):
    began = time.monotonic()
    work()
    return time.monotonic() - began


def output_of(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_late(work, rounds):
    """Each call takes `rounds` waits, never less, and most of them little more."""
    seconds = [took(work) for _ in range(5)]
    assert min(seconds) >= rounds * LATE_SECONDS
    assert statistics.median(seconds) < rounds * LATE_SECONDS + GENEROUS_SECONDS, seconds


# PostgreSQL


def dsn(port):
    return f"host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout=20"


@pytest.fixture(scope="module")
def postgres_plain(door):
    with psycopg.connect(dsn(door.port("postgres")), autocommit=True) as connection:
        yield connection


def test_psycopg_untouched(postgres_plain):
    cursor = postgres_plain.cursor()
    cursor.execute("create temporary table words (number int primary key, word text)")
    rows = [(number, f"word {number} " * 20) for number in range(5000)]
    cursor.executemany("insert into words values (%s, %s)", rows[:500])
    with cursor.copy("copy words from stdin") as copy:
        for row in rows[500:]:
            copy.write_row(row)
    assert cursor.execute("select * from words order by number").fetchall() == rows
    with postgres_plain.transaction(), postgres_plain.cursor("far away") as stream:
        stream.itersize = 100
        assert list(stream.execute("select number from words order by number")) == [(row[0],) for row in rows]
    big = os.urandom(1 << 20)
    assert cursor.execute("select %s::bytea", [big], binary=True).fetchone() == (big,)


def test_psycopg_listens_and_cancels(door, postgres_plain):
    """Notifications come when the client has asked for nothing; a cancellation comes on a connection of its own."""
    with psycopg.connect(dsn(door.port("postgres")), autocommit=True) as listening:
        listening.execute("listen news")
        postgres_plain.execute("notify news, 'it rains'")
        assert [one.payload for one in listening.notifies(timeout=20, stop_after=1)] == ["it rains"]
        threading.Timer(0.2, listening.cancel).start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            listening.execute("select pg_sleep(60)")


def test_psycopg_in_a_pipeline(postgres_plain):
    with postgres_plain.pipeline():
        cursors = [postgres_plain.execute("select %s::int", [number]) for number in range(200)]
    assert [cursor.fetchone()[0] for cursor in cursors] == list(range(200))


def test_psycopg_late(door):
    with psycopg.connect(dsn(door.port("postgres-late")), autocommit=True) as connection:
        check_late(lambda: connection.execute("select 1"), 1)
    assert door.injected("late") > 0


def test_psycopg_after_a_reset(door):
    """psycopg itself reports it, and a new connection works."""
    with psycopg.connect(dsn(door.port("postgres")), autocommit=True) as connection:
        connection.execute("select 1")
        door.reset("postgres")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
        assert connection.broken
    with psycopg.connect(dsn(door.port("postgres"))) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_sqlalchemy_gets_over_a_reset(door):
    """`pool_pre_ping` finds out before a statement is lost, and the pool opens new connections."""
    url = f"postgresql+psycopg://postgres@127.0.0.1:{door.port('postgres')}/postgres"
    engine = sqlalchemy.create_engine(url, pool_pre_ping=True)
    try:
        with engine.connect() as one, engine.connect() as another:
            backends = {backend(one), backend(another)}
        door.reset("postgres")
        with engine.connect() as one, engine.connect() as another:
            assert not {backend(one), backend(another)} & backends
    finally:
        engine.dispose()


def backend(connection):
    return connection.exec_driver_sql("select pg_backend_pid()").scalar_one()


def test_psycopg_gives_up_connecting(door):
    def connect():
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            psycopg.connect(dsn(door.port("postgres-stuck")) + " connect_timeout=2")

    assert 1.9 <= took(connect) < 2 + GENEROUS_SECONDS


# pgbench: each transaction leaves a row of history.


@pytest.fixture(scope="module")
def bench(postgres_programs, postgres_server, door):
    """A function that runs pgbench through a listener, and returns how many transactions it counts, and how many the server."""

    def run(listener, *options, port=None):
        command = [postgres_programs / "pgbench", "-h", "127.0.0.1", "-p", port or door.port(listener), "-U", "postgres"]
        return output_of(*command, *options, "postgres")

    run(None, "-i", "-q", port=postgres_server.port)
    with psycopg.connect(dsn(postgres_server.port), autocommit=True) as connection:

        def history():
            return connection.execute("select count(*), coalesce(sum(delta), 0) from pgbench_history").fetchone()

        def balances():
            tables = ("accounts", "tellers", "branches")
            return [connection.execute(f"select sum({one[0]}balance) from pgbench_{one}").fetchone()[0] for one in tables]

        def transactions(listener, *options):
            before, _ = history()
            output = run(listener, "-n", *options)
            after, moved = history()
            assert balances() == [moved] * 3
            return int(re.search(r"actually processed: (\d+)", output).group(1)), after - before, output

        yield transactions


def test_pgbench_accounts_for_every_transaction(bench):
    counted, kept, output = bench("postgres", "-c", 8, "-j", 2, "-t", 100)
    assert counted == kept == 800
    assert "number of failed transactions: 0 " in output


def test_pgbench_with_a_connection_for_each(door, bench):
    before = door.connections("postgres")
    counted, kept, _ = bench("postgres", "-c", 4, "-t", 25, "-C")
    assert counted == kept == 100
    eventually(lambda: door.connections("postgres") - before, lambda count: 100 <= count <= 101)  # one more asks for the tables


def test_pgbench_late(bench):
    """A transaction has seven statements, and each waits."""
    counted, kept, output = bench("postgres-late", "-c", 8, "-j", 8, "-t", 2)
    assert counted == kept == 16
    assert float(re.search(r"latency average = ([\d.]+) ms", output).group(1)) >= 7 * LATE_SECONDS * 1000


# Redis


def redis_client(door, listener, **options):
    return redis.Redis(port=door.port(listener), socket_timeout=options.pop("socket_timeout", 20), **options)


def test_redis_untouched(door):
    with redis_client(door, "redis") as client:
        big = os.urandom(1 << 20)
        client.set("big", big)
        assert client.get("big") == big
        pipe = client.pipeline(transaction=False)
        for number in range(2000):
            pipe.set(f"key {number}", number)
        assert all(pipe.execute())
        assert client.mget([f"key {number}" for number in range(2000)]) == [b"%d" % number for number in range(2000)]
        with client.pubsub(ignore_subscribe_messages=True) as listening:
            listening.subscribe("news")
            listening.get_message(timeout=20)
            assert client.publish("news", "it rains") == 1
            assert listening.get_message(timeout=20)["data"] == b"it rains"
        assert client.blpop("nothing", timeout=0.2) is None


def test_redis_late(door):
    with redis_client(door, "redis-late") as client:
        client.ping()
        check_late(client.ping, 1)
        # Pipelined commands share one wait.
        pipe = client.pipeline(transaction=False)
        for _ in range(100):
            pipe.ping()
        assert took(pipe.execute) < LATE_SECONDS + GENEROUS_SECONDS


def test_redis_gets_over_a_reset(door):
    """redis-py's Retry, with a pool of connections that are all reset."""
    retry = Retry(ExponentialBackoff(cap=0.5, base=0.01), 5)
    with redis_client(door, "redis", retry=retry) as client:
        pool = client.connection_pool
        for connection in [pool.get_connection() for _ in range(5)]:
            pool.release(connection)
        door.reset("redis")
        assert client.incr("after a reset") == 1
        assert client.get("after a reset") == b"1"


def test_redis_without_retries_reports_a_reset(door):
    with redis_client(door, "redis", retry=None, single_connection_client=True) as client:
        client.ping()
        door.reset("redis")
        with pytest.raises(redis.exceptions.ConnectionError):
            client.ping()


def test_redis_gives_up_waiting(door):
    with redis_client(door, "redis-stuck", socket_timeout=0.5, retry=None) as client:

        def ping():
            with pytest.raises(redis.exceptions.TimeoutError):
                client.ping()

        assert 0.5 <= took(ping) < 0.5 + GENEROUS_SECONDS


LOADS = [("redis", 20000, 50, 1), ("redis", 20000, 10, 16), ("redis-late", 200, 50, 1)]


@pytest.mark.parametrize(("listener", "calls", "clients", "pipelined"), LOADS)
def test_redis_benchmark_accounts_for_every_command(door, redis_server, tool, listener, calls, clients, pipelined):
    with redis.Redis(port=redis_server.port) as direct:
        direct.delete("counter")
        options = ["-p", door.port(listener), "-n", calls, "-c", clients, "-P", pipelined, "-q"]
        output_of(tool("redis-benchmark"), *options, "incr", "counter")
        assert direct.get("counter") == b"%d" % calls


# Celery, with each broker


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def jobs(request, door, redis_server, tmp_path_factory):
    """A worker that takes its tasks from the broker behind squall, and a producer in this process."""
    os.environ["RESULTS"] = results = f"redis://127.0.0.1:{redis_server.port}/1"
    os.environ["BROKER"] = broker = broker_url(request.param, door.port(request.param))
    log = tmp_path_factory.mktemp(request.param) / "worker.log"
    options = ["--pool", "solo", "--loglevel", "info", "--without-gossip", "--without-mingle"]
    with log.open("w") as out:
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "brokered:celery", "worker", *options],
            stdout=out,
            stderr=out,
            env={**os.environ, "PYTHONPATH": str(APPS)},
            cwd=log.parent,
            start_new_session=True,
        )
    try:
        eventually(log.read_text, lambda text: "ready." in text or worker.poll() is not None, seconds=START_SECONDS)
        yield SimpleNamespace(
            system=request.param, worker=worker, log=log, square=producer(broker, results), results=redis.Redis.from_url(results)
        )
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def broker_url(system, port):
    return f"redis://127.0.0.1:{port}/0" if system == "redis" else f"amqp://guest:guest@127.0.0.1:{port}//"


def producer(broker, results):
    """The task as a client knows it: without the worker's code."""
    from celery import Celery

    celery = Celery(broker=broker, backend=results)
    celery.conf.broker_heartbeat = 0
    return celery.signature("brokered.square", app=celery)


def square(jobs):
    """Has one job done: its number, and the seconds from sending it to its start."""
    number, before = next(NUMBERS), time.monotonic()
    result = jobs.square.clone([number]).apply_async(retry=True).get(timeout=60)
    assert result["square"] == number * number, jobs.log.read_text()
    return number, result["at"] - before


def runs(jobs, numbers):
    return [int(jobs.results.get(f"runs {number}") or 0) for number in numbers]


def test_celery_untouched(jobs):
    numbers = [next(NUMBERS) for _ in range(20)]
    results = [jobs.square.clone([number]).apply_async() for number in numbers]
    assert [one.get(timeout=60)["square"] for one in results] == [number * number for number in numbers]
    assert runs(jobs, numbers) == [1] * 20


def test_celery_late(door, jobs):
    with door.late(jobs.system):
        seconds = [square(jobs)[1] for _ in range(5)]
    assert min(seconds) >= LATE_SECONDS
    assert statistics.median(seconds) < LATE_SECONDS + GENEROUS_SECONDS


def test_celery_gets_over_a_reset(door, jobs):
    """Worker and producer connect again by themselves: every job is done."""
    for _ in range(3):
        square(jobs)
        losses = jobs.log.read_text().count(LOST)
        door.reset(jobs.system)
        number, _ = square(jobs)
        assert runs(jobs, [number]) == [1]
        assert jobs.log.read_text().count(LOST) == losses + 1
    assert jobs.worker.poll() is None


@pytest.mark.parametrize("system", ["redis", "rabbitmq"])
def test_celery_gives_up_waiting(door, system):
    """A producer whose broker says nothing: its connection timeout ends the attempt."""
    url = broker_url(system, door.port(f"{system}-stuck"))
    task = producer(url, "cache+memory://")
    task.app.conf.update(broker_connection_timeout=1, broker_transport_options={"socket_timeout": 1, "socket_connect_timeout": 1})

    def send():
        with pytest.raises(kombu.exceptions.OperationalError):
            task.clone([1]).apply_async(retry=False)

    assert 1 <= took(send) < 1 + 2 * GENEROUS_SECONDS
