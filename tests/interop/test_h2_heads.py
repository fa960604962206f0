"""Large heads over HTTP/2: the stream is refused, and the connection and its other streams go on (RFC 9113, section 10.5.1;
RFC 6585, section 5)."""

import functools
from contextlib import closing

import flow
import pytest
from squall import Squall

KIND = {
    "path": lambda size: ("/" + "a" * size, []),
    "field": lambda size: ("/", [("x-a", "b" * size)]),
    "fields": lambda size: ("/", [(f"x-{number}", "c" * 960) for number in range(size // 1000)]),
}
PASSES, REFUSED = 60_000, [66_000, 120_000, 300_000, 1_000_000]
LONGEST_PATH = 65_534  # longer ones are malformed to h2, which resets the stream


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    squall = Squall(
        "listeners: {web: {address: 127.0.0.1:0, upstream: echo}}\nupstreams: {echo: {fake: echo}}\n", tmp_path_factory.mktemp("heads")
    )
    yield squall
    squall.kill()


@pytest.mark.parametrize("kind", KIND)
@pytest.mark.parametrize("size", [17_000, PASSES, *REFUSED])
def test_one_stream_is_refused(server, kind, size):
    path, fields = KIND[kind](size)
    with closing(flow.H2(server.port())) as client:
        # As many frames as there can be; and hpack's Huffman coding takes minutes for a megabyte.
        client.h2.encoder.encode = functools.partial(client.h2.encoder.encode, huffman=False)
        other = client.send("/other", "POST", body=b"a", end=False)
        answer = client.receive(client.send(path, headers=fields), 10)
        if size <= PASSES:
            assert (answer.status, answer.end) == (200, "complete")
        elif len(path) > LONGEST_PATH:
            assert answer.status == 431 or answer.end == "RST_STREAM 1"
        else:
            assert (answer.status, answer.end) == (431, "complete")
        client.h2.end_stream(other)
        client._flush()
        assert client.receive(other, 10).status == 200
        assert client.exchange("/next").status == 200
        assert client.goaway is None
    assert server.metrics().sum("squall_clients_gone_total") == 0
