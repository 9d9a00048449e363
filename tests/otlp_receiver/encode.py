"""Protobuf by hand: OTLP messages in any field order, as no encoder of a library would write them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Value = str | bytes | int

T0 = 1_795_490_838_000_000_000
"""A time at which scrapes happen."""
START = 1_795_490_800_000_000_000
"""A time at which processes start."""


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def data(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def fixed64(field: int, value: int) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<Q", value)


def double(field: int, value: float) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<d", value)


def text(value: bytes) -> bytes:
    """``AnyValue.string_value``."""
    return data(1, value)


def integer(value: int) -> bytes:
    """``AnyValue.int_value``."""
    return number(3, value)


def key_value(key: str, any_value: bytes) -> bytes:
    """A ``KeyValue`` as the Go collector writes it: the value first."""
    return data(2, any_value) + data(1, key.encode())


def any_value(value: str | bytes | int) -> bytes:
    if isinstance(value, int):
        return integer(value)
    return text(value.encode() if isinstance(value, str) else value)


def attributes(field: int, values: Iterable[tuple[str, Value]]) -> bytes:
    return b"".join(data(field, key_value(key, any_value(value))) for key, value in values)


def point(
    value: bytes = b"",
    *,
    time_ns: int = T0,
    start_ns: int = START,
    flags: int = 0,
    states: Mapping[str, str] | None = None,
) -> bytes:
    """A ``NumberDataPoint``; ``value`` is its field 4 (double) or 6 (fixed64), ``states`` its attributes."""
    return (
        (number(8, flags) if flags else b"")
        + attributes(7, (states or {}).items())
        + value
        + fixed64(3, time_ns)
        + fixed64(2, start_ns)
    )


def gauge(name: str, *points: bytes) -> bytes:
    return data(5, b"".join(data(1, each) for each in points)) + data(1, name.encode())


def sum_(name: str, *points: bytes) -> bytes:
    return data(7, b"".join(data(1, each) for each in points)) + data(1, name.encode())


def cpu(*values: tuple[str, float], time_ns: int = T0, start_ns: int = START) -> bytes:
    return gauge(
        "process.cpu.utilization",
        *(
            point(double(4, value), time_ns=time_ns, start_ns=start_ns, states={"state": state})
            for state, value in values
        ),
    )


def memory(value: float, *, time_ns: int = T0, start_ns: int = START) -> bytes:
    return gauge("process.memory.utilization", point(double(4, value), time_ns=time_ns, start_ns=start_ns))


Attributes = dict[str, Value]
NODE: Attributes = {"host.name": "worker-1.internal", "k8s.cluster.name": "prod", "k8s.node.name": "worker-1"}


def process(pid: int | str = 7, name: Value = "bash", **more: Value) -> Attributes:
    """Attributes of a process; ``path`` means ``process.executable.path``, ``owner`` ``process.owner``."""
    return {
        "process.pid": pid,
        "process.executable.name": name,
        **{f"process.{'executable.' * (key == 'path')}{key}": value for key, value in more.items()},
    }


def frame(resource: Attributes, *metrics: bytes, node: Attributes | None = None) -> bytes:
    """A ``ResourceMetrics`` as the Go collector writes it: scopes, the resource, its node's names last."""
    metrics = metrics or (memory(1.0),)
    named: Attributes = {**resource, **(NODE if node is None else node)}
    scope = b"".join(data(2, metric) for metric in metrics)
    return data(2, scope) + data(1, attributes(1, named.items()))


def request(*frames: bytes) -> bytes:
    return b"".join(data(1, each) for each in frames)
