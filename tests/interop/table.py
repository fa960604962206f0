"""Which fault does what on which protocol, proxied and fake: the table of tests/README.md, as data that test_table.py tries.

A cell is a check (a function of `trials.Trial`), a test elsewhere ("file::function"), `Skipped` (the fault can't be applied
there, and is counted with that reason), or `Never` (there is nothing to apply it to).

    python tests/interop/table.py --write      rewrites the table in tests/README.md
"""

import sys
from dataclasses import dataclass

import grpc
import readme
import trials

BEGIN, END = "<!-- faults by protocol: begin -->", "<!-- faults by protocol: end -->"
COLUMNS = ["HTTP/1.1", "HTTP/2", "gRPC", "WebSocket", "SSE"]
PLACES = ["proxied", "fake"]
GRPC, WEBSOCKET = "test_grpc_faults.py::", "test_websocket_faults.py::"
UNAVAILABLE, INTERNAL = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL
# What a client makes of a stream that ends without a status, whether or not it has ended its own side by then.
NO_STATUS = [grpc.StatusCode.UNKNOWN, INTERNAL]


@dataclass(frozen=True)
class Skipped:
    """It can't be applied, and `squall_faults_skipped_total` says why."""

    reason: str


@dataclass(frozen=True)
class Never:
    """There is nothing that it could be applied to."""

    why: str


@dataclass(frozen=True)
class OnlyHttp1:
    """On HTTP/1.1 one cell, on HTTP/2 another: for the column that both carry."""

    http1: object
    http2: Skipped


@dataclass(frozen=True)
class Row:
    """A fault, and what becomes of it on each protocol: a cell for proxied and one for fake."""

    name: str
    yaml: str  # the faults of its rule
    cells: dict

    @property
    def rule(self):
        """The name of its rule."""
        letters = "".join(letter if letter.isalnum() else " " for letter in self.name.lower())
        return "-".join(letters.split())


def row(name, yaml, *cells):
    """A cell for each column; one that is no pair stands for both places."""
    pairs = [cell if isinstance(cell, tuple) else (cell, cell) for cell in cells]
    return Row(name, yaml, dict(zip(COLUMNS, pairs, strict=True)))


def on_all(name, yaml, check):
    """A fault that strikes before the answer begins: the same check on every protocol, and on fakes too."""
    return row(name, yaml, check, check, check, check, check)


def in_bodies(name, yaml, check, grpc, websocket, streams=None, http2=None, sse=None):
    """A fault inside bodies: one check for HTTP and SSE, where nothing else is said; for gRPC and WebSocket others, and with
    `streams` one for both of them on the fake."""
    return row(name, yaml, check, http2 or check, (grpc, streams or grpc), (websocket, streams or websocket), sse or check)


NOT_HTTP1 = Skipped("not HTTP/1")
CHUNKED = "/bytes/4000?chunked=true"

ROWS = [
    on_all("`delay`", "[{delay: 200ms}]", trials.late),
    on_all("`delay` with `before: response`", "[{delay: {fixed: 200ms, before: response}}]", trials.late),
    in_bodies(
        "`delay` with `before: body`",
        "[{delay: {fixed: 200ms, before: body}}]",
        trials.late_body,
        GRPC + "test_a_delay_before_the_body_follows_the_metadata",
        WEBSOCKET + "test_a_delay_before_the_first_byte_follows_the_handshake",
        streams=trials.late_stream,
    ),
    in_bodies(
        "`delay` with `before: message`",
        "[{delay: {fixed: 50ms, before: message}}]",
        trials.late_messages,
        GRPC + "test_messages_of_a_server_s_stream_are_late",
        WEBSOCKET + "test_answers_are_late",
        streams=trials.late_stream_messages,
    ),
    on_all("`abort`", "[{abort: {status: 503}}]", trials.fails(503, UNAVAILABLE)),
    on_all("`close`", "[{close: {}}]", trials.ends("fin", "fin", UNAVAILABLE)),
    on_all("`reset`", "[{reset: {}}]", trials.ends("reset", "RST_STREAM 2", INTERNAL)),
    row(
        "`goaway`",
        "[{goaway: {}}]",
        trials.goes_away,
        trials.goes_away,
        trials.goes_away,
        Skipped("upgraded"),
        trials.goes_away,
    ),
    on_all("`hang`", "[{hang: {}}]", trials.silent),
    on_all("`quota`", "[{quota: {requests: 1, per: 1h, key: 'header:x-key'}}]", trials.second_is_refused),
    on_all("`concurrency`", "[{concurrency: {limit: 1, queue: 0}}, {delay: 5s}]", trials.second_at_once_is_refused),
    on_all("`rewrite` of heads", "[{rewrite: {headers: {set: {x-new: 'yes'}}}}]", trials.changed_head),
    row(
        "`rewrite` to a new body",
        "[{rewrite: {body: replaced}}]",
        trials.changed_body,
        trials.changed_body,
        Skipped("a stream"),
        Skipped("upgraded"),
        trials.changed_body,
    ),
    row(
        "`rewrite` of parts of a body",
        "[{rewrite: {replace: [{find: '\"', with: '~'}]}}]",
        trials.edited_body,
        trials.edited_body,
        Skipped("a stream"),
        Skipped("upgraded"),
        Skipped("a stream"),
    ),
    row(
        "`rewrite` of the request's body",
        "[{rewrite: {request: {body: short}}}]",
        trials.changed_request,
        trials.changed_request,
        Skipped("a stream"),
        Skipped("upgraded"),
        Never("a GET has no body"),
    ),
    row(
        "`duplicate` of requests",
        "[{duplicate: {}}]",
        trials.asked_twice,
        trials.asked_twice,
        trials.asked_twice,
        Skipped("upgraded"),
        trials.asked_twice,
    ),
    on_all("`profile`", "[{profile: satellite-geo}]", trials.late),
    in_bodies(
        "`bandwidth`",
        "[{bandwidth: {response: 8KiB/s}}]",
        trials.slow,
        GRPC + "test_bandwidth_of_a_server_s_stream",
        WEBSOCKET + "test_bandwidth",
        streams=trials.slow_stream,
    ),
    in_bodies(
        "`bandwidth` of the request",
        "[{bandwidth: {request: 8KiB/s}}]",
        trials.slow_upload,
        GRPC + "test_bandwidth_of_a_client_s_stream",
        WEBSOCKET + "test_bandwidth",
        streams=trials.slow_stream,
        sse=Never("a GET has no body"),
    ),
    in_bodies(
        "`dribble`", "[{dribble: {chunk: 64B, gap: 50ms}}]", trials.trickles, trials.trickles, trials.trickles
    ),
    in_bodies(
        "`dribble` with `over`",
        "[{dribble: {chunks: 5, over: 200ms}}]",
        trials.trickles_over,
        Skipped("length unknown"),
        Skipped("length unknown"),
        sse=Skipped("length unknown"),
    ),
    in_bodies(
        "`stall`",
        "[{stall: 100B}]",
        trials.stalls,
        GRPC + "test_a_stall_until_the_client_s_deadline",
        WEBSOCKET + "test_a_stall",
        streams=trials.stalled_stream,
    ),
    in_bodies(
        "`truncate` with `end: close`",
        "[{truncate: {after: 100B, end: close}}]",
        trials.is_cut("fin", "fin"),
        GRPC + "test_the_connection_is_closed_in_the_middle",
        WEBSOCKET + "test_answers_are_cut",
        streams=trials.stream_is_cut([UNAVAILABLE], trials.ABNORMAL),
    ),
    in_bodies(
        "`truncate` with `end: reset`",
        "[{truncate: {after: 100B, end: reset}}]",
        trials.is_cut("reset", "RST_STREAM 2"),
        GRPC + "test_the_stream_is_reset_in_the_middle",
        WEBSOCKET + "test_answers_are_cut",
        streams=trials.stream_is_cut([INTERNAL], trials.ABNORMAL),
    ),
    in_bodies(
        "`truncate` with `end: clean`",
        "[{truncate: {after: 100B, end: clean}}]",
        trials.is_cut("complete", "complete"),
        GRPC + "test_a_clean_cut_with_a_status",
        WEBSOCKET + "test_a_clean_cut_is_a_close_frame_and_a_fin",
        streams=trials.stream_is_cut(NO_STATUS, 1001),
    ),
    in_bodies(
        "`truncate` after a share",
        "[{truncate: {after: 50%, end: clean}}]",
        trials.is_halved,
        Skipped("length unknown"),
        Skipped("length unknown"),
        sse=Skipped("length unknown"),
    ),
    in_bodies(
        "`truncate` after messages",
        "[{truncate: {after: 3 messages, end: clean}}]",
        trials.is_cut_after_messages,
        GRPC + "test_ways_to_say_after_two_messages",
        WEBSOCKET + "test_answers_are_cut",
        streams=trials.stream_is_cut(NO_STATUS, 1001, most=3),
    ),
    in_bodies(
        "`drop`",
        "[{drop: {every: 3}}]",
        trials.third_is_dropped,
        GRPC + "test_every_third_message_is_lost",
        WEBSOCKET + "test_every_third_answer",
        streams=trials.stream_by_number(0),
    ),
    in_bodies(
        "`duplicate` of messages",
        "[{duplicate: {every: 3}}]",
        trials.third_is_doubled,
        GRPC + "test_every_third_message_comes_twice",
        WEBSOCKET + "test_every_third_answer",
        streams=trials.stream_by_number(2),
    ),
    in_bodies(
        "`corrupt` of bytes",
        "[{corrupt: {bytes: 10%}}]",
        trials.has_other_bytes,
        GRPC + "test_a_share_of_bytes_is_changed",
        WEBSOCKET + "test_messages_are_changed",
        streams=trials.changed_stream(50),
    ),
    in_bodies(
        "`corrupt` of messages",
        "[{corrupt: {messages: 50%}}]",
        trials.has_other_messages,
        GRPC + "test_one_byte_of_each_drawn_message_is_changed",
        WEBSOCKET + "test_messages_are_changed",
        streams=trials.changed_stream(10),
    ),
    in_bodies(
        "`corrupt` with `malformed: chunk`",
        "[{corrupt: {malformed: chunk}}]",
        trials.is_malformed("chunk size", CHUNKED),
        NOT_HTTP1,
        NOT_HTTP1,
        http2=NOT_HTTP1,
        sse=OnlyHttp1(trials.is_malformed("chunk size"), NOT_HTTP1),
    ),
    in_bodies(
        "`corrupt` with `malformed: status-line`",
        "[{corrupt: {malformed: status-line}}]",
        trials.is_malformed("status line"),
        NOT_HTTP1,
        NOT_HTTP1,
        http2=NOT_HTTP1,
        sse=OnlyHttp1(trials.is_malformed("status line"), NOT_HTTP1),
    ),
    in_bodies(
        "`corrupt` with `malformed: header`",
        "[{corrupt: {malformed: header}}]",
        trials.is_malformed("header"),
        NOT_HTTP1,
        NOT_HTTP1,
        http2=NOT_HTTP1,
        sse=OnlyHttp1(trials.is_malformed("header"), NOT_HTTP1),
    ),
    in_bodies(
        "`corrupt` with `malformed: content-length`",
        "[{corrupt: {malformed: content-length}}]",
        trials.has_a_wrong_length,
        NOT_HTTP1,
        NOT_HTTP1,
        http2=NOT_HTTP1,
        sse=OnlyHttp1(Skipped("length unknown"), NOT_HTTP1),
    ),
    in_bodies(
        "`corrupt` with `malformed: json`",
        "[{corrupt: {malformed: json}}]",
        trials.has_bad_json,
        Skipped("not JSON"),
        Skipped("not JSON"),
        sse=Skipped("not JSON"),
    ),
    in_bodies(
        "`corrupt` with `malformed: encoding`",
        "[{corrupt: {malformed: encoding}}]",
        trials.claims_an_encoding,
        trials.claims_an_encoding,
        Skipped("no body"),
    ),
]


def markdown():
    """The table."""
    lines = ["| fault | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    notes = []
    for one in ROWS:
        lines.append(f"| {one.name} | " + " | ".join(text_of(one.cells[column], notes) for column in COLUMNS) + " |")
    legend = "✓: tested with real clients, proxied and with a fake. Words in quotes: the fault can't be applied; the traffic"
    legend += " passes, and `squall_faults_skipped_total` counts the skip with these words as the reason. Faults with"
    legend += " `before: connection` or `before: handshake` act before any of these protocols is spoken."
    return "\n".join([*lines, "", legend, *(f"<sup>{at}</sup> {note}." for at, note in enumerate(notes, 1))]) + "\n"


def text_of(pair, notes):
    """A cell in words: most are the same for proxied and fake."""
    proxied, fake = (text_of_one(cell, notes) for cell in pair)
    if proxied == fake:
        return proxied
    return f"{proxied}, proxied{fake.removeprefix('–')}" if fake.startswith("–") else f"{proxied} / {fake}"


def text_of_one(cell, notes):
    match cell:
        case Skipped(reason):
            return f"“{reason}”"
        case Never(why):
            if why not in notes:
                notes.append(why)
            return f"–<sup>{notes.index(why) + 1}</sup>"
        case OnlyHttp1(http1, _):
            return f"{text_of_one(http1, notes)} on HTTP/1.1"
        case _:
            return "✓"


def in_readme():
    """The table as the README has it."""
    return readme.part(BEGIN, END)


if __name__ == "__main__":
    readme.replace(BEGIN, END, markdown()) if sys.argv[1:] == ["--write"] else print(markdown())
