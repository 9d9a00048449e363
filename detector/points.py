"""Points as evidence: which are valid, and a set of them in a compact form.

A set is ``bytes``, sorted by key, so equal sets are equal bytes and 100,000 open windows fit in memory. A
point is

    metric (1 byte) | length of the slot (1 byte) | slot (UTF-8) | time in ns (8 bytes) | value (8 bytes)

The key of a point is (metric, slot, time). Of two values for one key the larger wins: any order of arrival
gives the same set.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from detector.counts import Count
from detector.types import Metric, Point

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from detector.types import Sample

MAX_VALUE: Final = 1e12
MAX_SLOT_BYTES: Final = 32

_CODES: Final = {Metric.CPU: 0, Metric.MEMORY: 1}
_HEAD: Final = struct.Struct("<BB")
_TAIL: Final = struct.Struct("<qd")

Key: TypeAlias = tuple[int, bytes, int]


def invalid_reason(point: Point) -> Count | None:  # noqa: PLR0911  a row for each reason
    """Why a point is no evidence; ``None`` if it is."""
    value = point.value
    if value is None:
        return Count.POINT_NO_RECORDED_VALUE
    if math.isnan(value):
        return Count.POINT_NAN
    if value < 0:
        return Count.POINT_NEGATIVE
    if value == math.inf:
        return Count.POINT_INFINITE
    if value > MAX_VALUE:
        return Count.POINT_OUT_OF_RANGE
    if point.time_ns <= 0:
        return Count.POINT_NO_TIME
    return None


def valid_points(points: Iterable[Point], count: Callable[[Count], None]) -> list[Point]:
    """Those that are evidence; what is left out, and what is odd, is counted."""
    valid = []
    for point in points:
        reason = invalid_reason(point)
        if reason is not None:
            count(reason)
            continue
        if point.metric is Metric.CPU and point.value is not None and point.value > 1:
            count(Count.POINT_CPU_ABOVE_ONE)
        valid.append(point)
    return valid


def sign_of_life(sample: Sample, valid: Collection[Point]) -> int:
    """Event time at which a frame shows a living shell; 0 if it shows none (a zombie reports memory 0)."""
    positive = max((point.time_ns for point in valid if point.value), default=0)
    if positive:
        return positive
    return 0 if any(point.metric is Metric.MEMORY for point in valid) else sample.time_ns


def _pack(points: dict[Key, float]) -> bytes:
    parts: list[bytes] = []
    for (code, slot, time_ns), value in sorted(points.items()):
        parts += (_HEAD.pack(code, len(slot)), slot, _TAIL.pack(time_ns, value))
    return b"".join(parts)


def _unpack(data: bytes) -> Iterator[tuple[Key, float]]:
    at = 0
    while at < len(data):
        code, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        slot = data[at : at + length]
        at += length
        time_ns, value = _TAIL.unpack_from(data, at)
        at += _TAIL.size
        yield (code, slot, time_ns), value


def merge(data: bytes, points: Iterable[Point]) -> tuple[bytes, int]:
    """Add valid points to a set; return the set and how many conflicted with a value that was there."""
    merged: dict[Key, float] = dict(_unpack(data))
    conflicts = 0
    for point in points:
        # Adding zero turns -0.0 into 0.0: equal values must be equal bytes.
        value = (point.value or 0.0) + 0.0
        slot = point.slot.encode("utf-8", "backslashreplace")[:MAX_SLOT_BYTES]
        key = (_CODES[point.metric], slot, point.time_ns)
        known = merged.get(key)
        if known is None:
            merged[key] = value
        elif known != value:
            conflicts += 1
            merged[key] = max(known, value)
    return _pack(merged), conflicts


def size(data: bytes) -> int:
    """How many points a set holds."""
    return sum(1 for _ in _unpack(data))


def unpack(data: bytes) -> list[Point]:
    """The points of a set, in its order."""
    metrics = {code: metric for metric, code in _CODES.items()}
    return [
        Point(metrics[code], slot.decode("utf-8", "backslashreplace"), time_ns, value)
        for (code, slot, time_ns), value in _unpack(data)
    ]


@dataclass(frozen=True, slots=True)
class Means:
    """Averages of one window; ``None`` without a point."""

    cpu: float | None
    cpu_total: float | None
    memory: float | None


def means(data: bytes) -> Means:
    """Average a set: CPU over points and, with states summed, over timestamps; memory over points."""
    cpu: list[float] = []
    memory: list[float] = []
    times: set[int] = set()
    for (code, _, time_ns), value in _unpack(data):
        if code == _CODES[Metric.CPU]:
            cpu.append(value)
            times.add(time_ns)
        else:
            memory.append(value)
    cpu_sum = math.fsum(cpu)
    return Means(
        cpu=cpu_sum / len(cpu) if cpu else None,
        cpu_total=cpu_sum / len(times) if cpu else None,
        memory=math.fsum(memory) / len(memory) if memory else None,
    )
