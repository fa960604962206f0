"""What the apps `on_*.py` have in common. Each serves, in its framework's own way:

GET /json              which connection and protocol the request came over
GET /events            server-sent events, with a gap between them: `count` and `gap` (seconds)
POST /upload           how many bytes came, and their SHA-256, taken piece by piece
GET /download          `DOWNLOAD`, in pieces of unknown total length
GET /error             the framework's own answer to an exception
GET /echo              a WebSocket that gives each message back, where the framework has WebSockets
"""

import hashlib
import random
import time

PIECE = 16384
DOWNLOAD = random.Random(2019).randbytes(12 * PIECE + 345)


def about(framework, peer_port, protocol):
    """The answer of /json: the port of the connection's other end tells connections apart."""
    return {"framework": framework, "peer": int(peer_port), "protocol": str(protocol).removeprefix("HTTP/")}


def schedule(query):
    """The numbers of the events, and the seconds after each."""
    return range(int(query.get("count", 5))), float(query.get("gap", 0.25))


def event(number):
    """What an event says: `sent` is on a clock that all processes of a machine share."""
    return {"number": number, "sent": time.monotonic()}


def pieces():
    for start in range(0, len(DOWNLOAD), PIECE):
        yield DOWNLOAD[start : start + PIECE]


class Digest:
    """Takes a body piece by piece."""

    def __init__(self):
        self.bytes, self.hash = 0, hashlib.sha256()

    def take(self, piece):
        self.bytes += len(piece)
        self.hash.update(piece)

    def result(self):
        return {"bytes": self.bytes, "sha256": self.hash.hexdigest()}
