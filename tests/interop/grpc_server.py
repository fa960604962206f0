"""A real gRPC server that remembers what reached it and when, and gRPC by hand where grpcio would hide what came."""

import functools
import struct
import threading
import time
from concurrent import futures

import grpc
import h2.events
import wire

SERVICE = "shop.Feed"
WAIT_SECONDS = 20


@functools.cache
def payload(number, size):
    """Message `number` of a stream: its number, and bytes that depend on it."""
    return struct.pack(">I", number) + bytes((number * 7 + at) % 256 for at in range(max(size, 4) - 4))


def count_of(number, size=16, gap=0.0):
    """What asks `Count` for so many messages of a size, `gap` seconds apart."""
    return struct.pack(">IId", number, size, gap)


class Call:
    """One call that reached the server."""

    def __init__(self, method, context):
        self.method = method
        self.metadata = context.invocation_metadata()
        self.received = []  # (when, message)
        self.sent = 0
        self.over = threading.Event()
        context.add_callback(self.over.set)

    @property
    def messages(self):
        return [message for _, message in self.received]

    def read(self, requests):
        for message in requests:
            self.received.append((time.monotonic(), message))
            yield message


class Server:
    """shop.Feed: Echo (unary), Collect (client streaming), Count (server streaming), Chat (bidirectional), Fail, FailLate."""

    def __init__(self):
        self.calls = []
        methods = {
            "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "Collect": grpc.stream_unary_rpc_method_handler(self.collect),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "FailLate": grpc.unary_stream_rpc_method_handler(self.fail_late),
        }
        self.server = grpc.server(futures.ThreadPoolExecutor(16))
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def stop(self):
        self.server.stop(None)

    def began(self, method, context):
        self.calls.append(Call(method, context))
        return self.calls[-1]

    def echo(self, message, context):
        """Gives back what it gets, with metadata before and after."""
        self.began("Echo", context).received.append((time.monotonic(), message))
        context.send_initial_metadata([("x-first", "before"), ("x-first-bin", b"\x00\xff\x80")])
        context.set_trailing_metadata([("x-last", "after"), ("x-last-bin", b"\xfe\x00")])
        return message

    def collect(self, requests, context):
        """Says how many messages came and what their lengths are in all."""
        call = self.began("Collect", context)
        messages = list(call.read(requests))
        return struct.pack(">II", len(messages), sum(map(len, messages)))

    def count(self, message, context):
        """Sends as many messages as it was asked for; metadata before the first, and after the last."""
        call = self.began("Count", context)
        context.send_initial_metadata([("x-first", "before")])
        number, size, gap = struct.unpack(">IId", message)
        context.set_trailing_metadata([("x-last", "after")])
        for at in range(number):
            if not context.is_active():
                return
            call.sent += 1
            yield payload(at, size)
            time.sleep(gap)

    def chat(self, requests, context):
        """Answers each message with itself, at once."""
        yield from self.began("Chat", context).read(requests)

    def fail(self, _, context):
        self.began("Fail", context)
        context.set_trailing_metadata([("x-why-bin", b"\x01\x02")])
        context.abort(grpc.StatusCode.NOT_FOUND, "no such cart: 100% größer")

    def fail_late(self, _, context):
        self.began("FailLate", context)
        yield from (payload(at, 16) for at in range(3))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "three are enough")


class RawCall:
    """A server-streaming call over a bare HTTP/2 connection."""

    def __init__(self, port, method, message):
        self.client = wire.H2Client(port)
        self.stream = self.client.h2.get_next_available_stream_id()
        head = [
            (":method", "POST"),
            (":path", f"/{SERVICE}/{method}"),
            (":scheme", "http"),
            (":authority", "test"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]
        self.client.h2.send_headers(self.stream, head)
        self.client.h2.send_data(self.stream, b"\0" + struct.pack(">I", len(message)) + message, end_stream=True)
        self.client.flush()

    def wait_for(self, kind):
        return self.client.wait_for(kind, self.stream)

    def seen(self, kind):
        return [event for event in self.client.events if isinstance(event, kind) and event.stream_id == self.stream]

    def messages(self):
        """The messages that came so far; what is no whole message is left over at the end."""
        data = b"".join(event.data for event in self.seen(h2.events.DataReceived))
        messages = []
        while len(data) >= 5 and len(data) >= 5 + struct.unpack(">I", data[1:5])[0]:
            end = 5 + struct.unpack(">I", data[1:5])[0]
            messages.append(data[5:end])
            data = data[end:]
        return messages, data
