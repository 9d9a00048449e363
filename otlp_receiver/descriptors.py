"""OTLP metrics messages that take any bytes for text, and partial ones that skip what nobody asks for.

The collector does not validate text, and upb refuses a whole request for one byte in a ``string`` field
that is not UTF-8. So the descriptors of ``opentelemetry-proto`` are copied into a private pool with every
``string`` field declared ``bytes``: the same on the wire, and one argv cannot blind a node any more.

The partial messages name the fields that their reader needs; upb skips the others. In them ``Metric.data``
stays a oneof whose other members are ``bytes``, so that of two of them the last wins here too.

(``Resource.attributes`` has the wire form of a map, whose look-up would be done in C. But upb leaves out a
map entry that holds a field it does not know, and OTLP adds fields to ``KeyValue``.)
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1 import resource_pb2

_Field = descriptor_pb2.FieldDescriptorProto
_OTLP: Final = "opentelemetry.proto"
_PARTIAL: Final = "otlp_receiver.partial"


def _otlp_with_bytes(file: Any) -> descriptor_pb2.FileDescriptorProto:  # noqa: ANN401  # untyped in the stubs
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    pending = list(proto.message_type)
    while pending:
        message = pending.pop()
        pending += message.nested_type
        for field in message.field:
            if field.type == _Field.TYPE_STRING:
                field.type = _Field.TYPE_BYTES
    return proto


def _add_field(
    message: descriptor_pb2.DescriptorProto, name: str, number: int, type_: str, *, repeated: bool = False
) -> descriptor_pb2.FieldDescriptorProto:
    field = message.field.add(
        name=name, number=number, label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    )
    match type_:
        case "bytes":
            field.type = _Field.TYPE_BYTES
        case "fixed64":
            field.type = _Field.TYPE_FIXED64
        case _:
            field.type = _Field.TYPE_MESSAGE
            field.type_name = f".{type_}"
    return field


def _partial_messages() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="otlp_receiver/partial.proto",
        package=_PARTIAL,
        syntax="proto2",
        dependency=[resource_pb2.DESCRIPTOR.name],
    )

    _add_field(file.message_type.add(name="Frames"), "resource_metrics", 1, "bytes", repeated=True)

    raw = file.message_type.add(name="RawFrame")
    _add_field(raw, "resource", 1, f"{_PARTIAL}.RawResource")
    _add_field(file.message_type.add(name="RawResource"), "attributes", 1, "bytes", repeated=True)

    frame = file.message_type.add(name="ProbeFrame")
    _add_field(frame, "resource", 1, f"{_OTLP}.resource.v1.Resource")
    _add_field(frame, "scope_metrics", 2, "bytes", repeated=True)

    _add_field(
        file.message_type.add(name="ProbeScope"), "metrics", 2, f"{_PARTIAL}.ProbeMetric", repeated=True
    )

    metric = file.message_type.add(name="ProbeMetric")
    _add_field(metric, "name", 1, "bytes")
    metric.oneof_decl.add(name="data")
    for name, number, type_ in (
        ("gauge", 5, f"{_PARTIAL}.ProbeData"),
        ("sum", 7, f"{_PARTIAL}.ProbeData"),
        ("histogram", 9, "bytes"),
        ("exponential_histogram", 10, "bytes"),
        ("summary", 11, "bytes"),
    ):
        _add_field(metric, name, number, type_).oneof_index = 0

    _add_field(
        file.message_type.add(name="ProbeData"), "data_points", 1, f"{_PARTIAL}.ProbePoint", repeated=True
    )

    point = file.message_type.add(name="ProbePoint")
    _add_field(point, "start_time_unix_nano", 2, "fixed64")
    _add_field(point, "time_unix_nano", 3, "fixed64")
    return file


_POOL: Final = descriptor_pool.DescriptorPool()
for _file in (common_pb2.DESCRIPTOR, resource_pb2.DESCRIPTOR, metrics_pb2.DESCRIPTOR):
    _POOL.Add(_otlp_with_bytes(_file))
_POOL.Add(_partial_messages())


# The classes are made at run time: nothing is known of them before that.
def _message(name: str) -> Any:  # noqa: ANN401
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


RESOURCE_METRICS: Final = _message(f"{_OTLP}.metrics.v1.ResourceMetrics")
"""A whole frame, text as bytes."""

KEY_VALUE: Final = _message(f"{_OTLP}.common.v1.KeyValue")
"""An attribute, text as bytes."""

FRAMES: Final = _message(f"{_PARTIAL}.Frames")
"""A request as a list of frames, each as bytes: ``repeated bytes resource_metrics = 1``."""

RAW_FRAME: Final = _message(f"{_PARTIAL}.RawFrame")
"""A frame's resource attributes, each as the bytes of its ``KeyValue``, in wire order."""

PROBE_FRAME: Final = _message(f"{_PARTIAL}.ProbeFrame")
"""A frame's resource, and its ``scope_metrics``, each as bytes."""

PROBE_SCOPE: Final = _message(f"{_PARTIAL}.ProbeScope")
"""Of a ``ScopeMetrics``, the names of its metrics and the times of their number data points."""
