"""The gRPC service of the echo fake, `squall.echo.v1.Echo`: its messages by hand, and as reflection describes them."""

from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "squall.echo.v1.Echo"


def message(data):
    """An `EchoMessage` with these bytes as its `data`."""
    length, head = len(data), b"\x12"
    while length > 0x7F:
        head += bytes([length & 0x7F | 0x80])
        length >>= 7
    return head + bytes([length]) + data


class Reflected:
    """The service as reflection describes it."""

    def __init__(self, channel):
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self.pool = descriptor_pool.DescriptorPool(self.database)
        self.service = self.pool.FindServiceByName(SERVICE)

    def type(self, name):
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(f"squall.echo.v1.{name}"))

    def method(self, channel, name):
        """A method's callable, of the kind that its descriptor says."""
        method = self.service.methods_by_name[name]
        kinds = {True: "stream", False: "unary"}
        kind = f"{kinds[method.client_streaming]}_{kinds[method.server_streaming]}"
        answer = message_factory.GetMessageClass(method.output_type)
        return getattr(channel, kind)(
            f"/{SERVICE}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
