"""Every cell of the table of faults by protocol in tests/README.md is tried out, or names the test that does."""

import re
from pathlib import Path

import grpc_server
import pytest
import readme
import table
import websocket_server
from stage import Stage
from table import COLUMNS, PLACES, ROWS, Never, OnlyHttp1, Skipped
from trials import Trial, skips

# What a column is spoken by.
SPOKEN = {"HTTP/1.1": ["h1"], "HTTP/2": ["h2"], "SSE": ["h1", "h2"], "gRPC": ["grpc"], "WebSocket": ["websocket"]}
CELLS = [
    pytest.param(row, column, protocol, place, cell, id=f"{row.rule} {column} {protocol} {place}")
    for row in ROWS
    for column in COLUMNS
    for place, cell in zip(PLACES, row.cells[column], strict=True)
    for protocol in SPOKEN[column]
    if not isinstance(cell, Never | str)
]
NAMED = sorted({cell for row in ROWS for pair in row.cells.values() for cell in pair if isinstance(cell, str)})


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    calls, sockets = grpc_server.Server(), websocket_server.Server()
    faults = {row.rule: row.yaml for row in ROWS}
    others = {
        "grpc": f"{{url: 'http://127.0.0.1:{calls.port}', protocol: h2c}}",
        "websocket": f"{{url: 'http://127.0.0.1:{sockets.port}'}}",
    }
    with Stage(tmp_path_factory.mktemp("table"), faults, others=others) as stage:
        stage.calls = calls
        yield stage
    calls.stop()
    sockets.stop()


@pytest.mark.parametrize(("row", "column", "protocol", "place", "cell"), CELLS)
def test_cell(stage, row, column, protocol, place, cell):
    if isinstance(cell, OnlyHttp1):
        cell = cell.http1 if protocol == "h1" else cell.http2
    check = skips(cell.reason) if isinstance(cell, Skipped) else cell
    check(Trial(stage, row.rule, column, protocol, place))


@pytest.mark.parametrize("name", NAMED)
def test_the_named_tests_exist(name):
    file, _, function = name.partition("::")
    text = (Path(__file__).parent / file).read_text()
    assert re.search(rf"^(async )?def {function}\(", text, re.MULTILINE), f"{file} has no {function}"


def test_every_fault_has_a_row():
    """A certificate is shown before any protocol is spoken."""
    source = (readme.ROOT / "src/fault/mod.rs").read_text()
    known = set(re.findall(r'^    "(\w+)" [A-Z]', source, re.MULTILINE))
    rows = {re.match(r"`(\w+)`", row.name).group(1) for row in ROWS}
    assert {"delay", "truncate"} <= known
    assert known - rows <= {"certificate"}


def test_the_readme_has_the_table():
    assert table.in_readme() == table.markdown().strip(), "run: python tests/interop/table.py --write"
