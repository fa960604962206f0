"""Every case of tests/conformance.md: what the client sees, what the upstream gets, and what the metrics say."""

import re
from contextlib import closing

import conformance
import flow
import pytest
from scripted import Answer, Upstream
from squall import Squall, eventually

REQUESTS, RESPONSES = conformance.cases()
WAYS = ["plain", "shaped"]
SECONDS = 10
# A rate that holds nothing back, and a delay that nobody notices: what passes is the same, by another way.
SHAPED = "[{bandwidth: {request: 1GiB/s, response: 1GiB/s}}, {delay: 1ms}]"
# What tells nothing about the case: squall adds a Date to its own responses only.
AGAIN = conformance.request(target="/again")


class Bench:
    """One squall before one upstream, and what its metrics said last."""

    def __init__(self, directory):
        self.upstream = Upstream()
        self.squall = Squall(
            f"""
reveal: {{header: false, server_timing: false}}
listeners:
  plain: {{address: 127.0.0.1:0, upstream: only}}
  shaped: {{address: 127.0.0.1:0, upstream: only}}
upstreams: {{only: {{url: 'http://127.0.0.1:{self.upstream.port}'}}}}
rules: [{{name: shaped, listener: shaped, faults: {SHAPED}}}]
""",
            directory,
        )
        self.counted, self.failed = self.count(), False

    def begin(self, **answers):
        if self.failed:
            self.counted = self.count()
        self.failed = True
        self.upstream.answers = {f"/{path}": answer for path, answer in answers.items()}
        self.upstream.seen.clear()

    def seen(self):
        """The requests of the case itself."""
        return [one for one in self.upstream.seen if one.target != "/again"]

    def count(self):
        """Requests by their status, and clients that left."""
        metrics = self.squall.metrics()
        counts = {}
        for labels, value in metrics.series("squall_requests_total"):
            counts[labels["status"]] = counts.get(labels["status"], 0) + value
        return {**counts, "gone": metrics.sum("squall_clients_gone_total")}

    def since(self):
        now = self.count()
        return {key: value - self.counted.get(key, 0) for key, value in now.items() if value != self.counted.get(key, 0)}

    def expect(self, statuses):
        """The metrics count these statuses since the last case, and nobody who left."""
        wanted = {}
        for status in statuses:
            wanted[str(status)] = wanted.get(str(status), 0) + 1
        eventually(self.since, wanted, SECONDS)
        for status, count in wanted.items():
            self.counted[status] = self.counted.get(status, 0) + count
        self.failed = False

    def stop(self):
        self.squall.kill()
        self.upstream.stop()


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("conformance"))
    yield bench
    bench.stop()
    assert not [line for line in bench.squall.lines if "panicked" in line]


def check_persistence(client, stays):
    """The connection serves another request, or has ended with a FIN. Returns the statuses of further requests."""
    if stays:
        assert client.exchange("/again", seconds=SECONDS).status == 200
        return [200]
    last = client.receive(seconds=SECONDS)
    assert (last.status, last.end) == (None, "fin")
    return []


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.name)
@pytest.mark.parametrize("way", WAYS)
def test_request(bench, way, case):
    bench.begin()
    bench.upstream.otherwise = Answer(interim=[(status, []) for status in case.interim])
    with closing(flow.H1(bench.squall.port(way))) as client:
        client.link.write(case.sent)
        if case.half:
            client.link.finish()
        method = case.sent.split(b" ")[0].decode("latin-1")
        answers = [client.receive(method, SECONDS) for _ in case.statuses]
        assert [(answer.status, answer.end) for answer in answers] == [(status, "complete") for status in case.statuses]
        assert [*case.interim] == [status for answer in answers for status in answer.interim]
        further = check_persistence(client, case.stays)
    whole = [one for one in bench.seen() if one.end == "complete"]
    assert [one.head for one in whole] == [spaced(head) for head in case.heads]
    if whole:
        assert (bytes(whole[0].body), tuple(whole[0].trailers)) == (case.body, case.trailers)
    bench.expect([*case.statuses, *further])


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case.name)
@pytest.mark.parametrize("way", WAYS)
def test_response(bench, way, case):
    bench.begin(case=answer_of(case))
    with closing(flow.H1(bench.squall.port(way))) as client:
        client.link.write(case.asked)
        answer = client.receive(case.method, SECONDS)
        assert answer.status == case.status
        assert answer.interim == [*case.interim]
        if case.complete:
            assert answer.end == "complete"
            further = check_persistence(client, case.stays)
        else:
            assert answer.end in ("fin", "reset")
            further = []
    if case.status != 502 or case.head is None:
        check_body(case, answer)
        if case.complete:
            assert answer.head == (spaced(conformance.head_of(case.answer)) if case.head is None else conformance.head_of(case.head))
    # Over HTTP/2, the next request may come before the connection of this one is free.
    reused = is_reused(bench, way)
    assert case.reused is None or reused == case.reused
    bench.expect([case.status, *further, 200])


@pytest.mark.parametrize("case", [case for case in RESPONSES if b" HTTP/1.1\r\n" in case.asked and not case.only_http1], ids=lambda case: case.name)
@pytest.mark.parametrize("way", WAYS)
def test_response_to_http2(bench, way, case):
    bench.begin(case=answer_of(case))
    with closing(flow.H2(bench.squall.port(way))) as client:
        answer = client.exchange("/case", case.method, seconds=SECONDS)
        assert answer.status == (case.http2 or case.status)
        assert answer.interim == [*case.interim]
        assert answer.end == "complete" if case.complete else answer.end.startswith("RST_STREAM")
        if answer.status == case.status and (case.status != 502 or case.head is None):
            check_body(case, answer)
        assert client.exchange("/again", seconds=SECONDS).status == 200
        assert client.goaway is None
    assert case.reused is not False or not is_reused(bench, way)
    bench.expect([answer.status, 200, *([200] if case.reused is False else [])])


def answer_of(case):
    return Answer(raw=case.answer, then="close" if case.closes else "keep")


def check_body(case, answer):
    if case.complete:
        assert (bytes(answer.body), tuple(answer.trailers)) == (case.body, case.trailers)
    else:
        assert case.body.startswith(bytes(answer.body))


def is_reused(bench, way):
    """Whether another request travels over the same connection to the upstream."""
    assert flow.fetch("h1", bench.squall.port(way), "/again").status == 200
    # A request whose kept connection turns out to be dead is sent again, over a new one.
    asked = bench.seen()[-1].peer
    peers = {one.peer for one in bench.upstream.seen if one.target == "/again"}
    return asked in peers


def spaced(head):
    """A head as it is sent on: with a space behind each colon, even before nothing."""
    return re.sub(rb"(?m)^([^:\r\n]+):\r\n", rb"\1: \r\n", head)


@pytest.mark.parametrize("kind", [REQUESTS, RESPONSES], ids=["requests", "responses"])
def test_the_names_differ_and_the_sources_are_sections(kind):
    names = [case.name for case in kind]
    assert len({*names}) == len(names)
    assert not [case.section for case in kind if not conformance.is_a_source(case.section)]


def test_the_table_is_current():
    assert conformance.TABLE.read_text() == conformance.markdown(), "run: python tests/interop/conformance.py --write"
