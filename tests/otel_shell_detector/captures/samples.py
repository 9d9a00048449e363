"""Small requests, the files that hold them, and a parser that takes text that is not UTF-8."""

from __future__ import annotations

import gzip
import importlib
import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

from otel_shell_detector.captures import Damaged, Item, Request, requests
from otel_shell_detector.captures.content import Content
from otel_shell_detector.captures.formats import items

if sys.version_info >= (3, 14):
    zstd = importlib.import_module("compression.zstd")
else:
    from backports import zstd

__all__ = [
    "CAPTURES", "JSON", "PROTO", "bodies", "capture", "formats", "gzip_members", "lines", "parse", "prefixed",
    "read", "small_request", "split", "zstd", "zstd_frames",
]  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.message import Message

CAPTURES = Path(__file__).parents[2] / "captures"


def _request_class() -> type[Message]:
    """ExportMetricsServiceRequest with every string declared bytes."""
    pool = descriptor_pool.DescriptorPool()
    added = set()

    def with_bytes(message: descriptor_pb2.DescriptorProto) -> None:
        for field in message.field:
            if field.type == field.TYPE_STRING:
                field.type = field.TYPE_BYTES
        for nested in message.nested_type:
            with_bytes(nested)

    def add(file: FileDescriptor) -> None:
        if file.name in added:
            return
        added.add(file.name)
        for dependency in file.dependencies:
            add(dependency)
        copy = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(copy)
        for message in copy.message_type:
            with_bytes(message)
        pool.Add(copy)

    add(metrics_service_pb2.DESCRIPTOR)
    name = metrics_service_pb2.ExportMetricsServiceRequest.DESCRIPTOR.full_name
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


REQUEST = _request_class()


def parse(body: bytes) -> Message:
    return REQUEST.FromString(body)


def small_request(number: int, resources: int = 1) -> tuple[bytes, bytes]:
    """A request as protobuf and as the collector's JSON."""
    attribute: dict[str, Any] = {"key": "process.pid", "value": {"intValue": str(number)}}
    tree = {"resourceMetrics": [{"resource": {"attributes": [attribute]}}] * resources}
    message = metrics_service_pb2.ExportMetricsServiceRequest()
    for _ in range(resources):
        written = message.resource_metrics.add().resource.attributes.add()
        written.key = "process.pid"
        written.value.int_value = number
    return message.SerializeToString(), json.dumps(tree, separators=(",", ":")).encode()


PROTO, JSON = zip(*(small_request(number) for number in (649, 23, 1)), strict=True)
"""The same three requests twice."""


def lines(texts: Iterable[bytes]) -> bytes:
    return b"".join(text + b"\n" for text in texts)


def prefixed(messages: Iterable[bytes]) -> bytes:
    return b"".join(len(message).to_bytes(4, "big") + message for message in messages)


def zstd_frames(data: bytes, size: int) -> bytes:
    """The data as frames of so many bytes each, which is no boundary of anything."""
    return b"".join(zstd.compress(data[start : start + size]) for start in range(0, len(data), size))


def gzip_members(data: bytes, size: int) -> bytes:
    return b"".join(gzip.compress(data[start : start + size], mtime=0) for start in range(0, len(data), size))


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "gzip members": lambda data: gzip_members(data, 100),
    "zstd": zstd.compress,
    "zstd frames": lambda data: zstd_frames(data, 100),
}


def formats(proto: tuple[bytes, ...], text: tuple[bytes, ...]) -> dict[str, bytes]:
    """Every way in which requests stand in a file, except alone."""
    plain = {
        "json": lines(text),
        "proto": prefixed(proto),
        "json, zstd messages": prefixed(zstd.compress(one) for one in text),
        "proto, zstd messages": prefixed(zstd.compress(one) for one in proto),
        "json behind lengths": prefixed(text),
    }
    compressed = {
        f"{name}, {how}": compress(data)
        for name, data in plain.items()
        for how, compress in COMPRESSIONS.items()
    }
    return plain | compressed


def read(data: bytes, max_message: int = 1 << 20, piece: int = 1 << 16) -> list[Item]:
    """What a file with these bytes holds."""
    return list(items(Content(_pieces(data, piece)), max_message))


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def bodies(found: Iterable[Item]) -> list[Message]:
    """The requests, parsed; anything else fails."""
    parsed = []
    for item in found:
        assert isinstance(item, Request), item
        parsed.append(parse(item.body))
    return parsed


def capture(name: str) -> list[Message]:
    return bodies(requests(CAPTURES / name))


def split(found: Iterable[Item]) -> tuple[list[Request], list[Damaged]]:
    """Requests and damage; of other signals there are none."""
    by_type = {kind: list(group) for kind, group in itertools.groupby(sorted(found, key=_kind), key=_kind)}
    assert by_type.keys() <= {"Request", "Damaged"}
    return by_type.get("Request", []), by_type.get("Damaged", [])  # type: ignore[return-value]


def _kind(item: Item) -> str:
    return type(item).__name__
