"""The bytes of a request: its frames, and which of them can hold a watched process, without decoding any.

A request is fields of protobuf, the frames (``ResourceMetrics``) are those with number 1.
:func:`find_frames` walks the top level and gives the bounds of the frames; it takes exactly what upb takes
(a test holds the two together), because a request that upb would refuse is one whose sender must be told.
It counts as it goes: 64 MiB of empty frames gzip to 65 kB, so nothing may be allocated for each frame
before their number is known to be bounded.

:func:`find_hits` looks for watched values, never for keys in front of them: the Go collector writes a
``KeyValue`` value first, other encoders key first, and the scan must not care. A value is a text in an
``AnyValue``, so it is found as ``0a <length> <text>``. What is found is only a candidate; decoding decides.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, cast

from telemetry import events

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Scan(Protocol):
    """``bytes.find`` or ``bytes.rfind`` as a function: where ``needle`` is in ``body[start:end]``, or -1."""

    def __call__(self, body: bytes, needle: bytes, start: int = 0, end: int = ..., /) -> int: ...


def _choose_scans() -> tuple[_Scan, _Scan]:
    try:
        import stringzilla  # noqa: PLC0415  # here, where its absence is dealt with: not every platform has a wheel
    except ImportError:
        events.RECEIVER_SLOW_SCAN()
        return bytes.find, bytes.rfind
    return cast("_Scan", stringzilla.find), cast("_Scan", stringzilla.rfind)


_scans: Final = _choose_scans()
scan: Final = _scans[0]
"""The fastest search that this machine has, from the front."""
scan_back: Final = _scans[1]
"""And from the back."""

_LENGTH_DELIMITED: Final = 2
_GROUP_START: Final = 3
_GROUP_END: Final = 4
_FIXED_BYTES: Final = {1: 8, 5: 4}
_FRAME_TAG: Final = 1 << 3 | _LENGTH_DELIMITED
_CONTINUED: Final = 0x80  # a byte of a varint that is not its last
_MAX_TAG_BYTES: Final = 5
_MAX_VARINT_BYTES: Final = 10
_MAX_TAG: Final = 2**32 - 1
_MAX_LENGTH: Final = 2**31 - 1
_MAX_DEPTH: Final = 100


class UnreadableRequest(Exception):  # noqa: N818  # says what is so
    """A request of which nothing can be taken."""


class MalformedRequest(UnreadableRequest):
    """The bytes are no sequence of protobuf fields at the top level."""


class TooManyResources(UnreadableRequest):
    """The request holds more ``ResourceMetrics`` than it may."""


class Frames(NamedTuple):
    """Where the frames of a request lie: frame ``i`` is ``body[starts[i]:ends[i]]``. Ascending, disjoint."""

    starts: Sequence[int]
    ends: Sequence[int]


def find_frames(body: bytes, limit: int) -> Frames:
    """The frames. Raises :class:`MalformedRequest`; beyond ``limit`` :class:`TooManyResources`."""
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    size = len(body)
    try:
        while position < size:
            # The usual frame, spelled out: a tag of one byte, a length of two.
            if body[position] == _FRAME_TAG:
                low = body[position + 1]
                if low >= _CONTINUED:
                    high = body[position + 2]
                    if high < _CONTINUED:
                        if len(starts) == limit:
                            raise TooManyResources
                        start = position + 3
                        position = start + low + (high << 7) - _CONTINUED
                        starts.append(start)
                        ends.append(position)
                        continue
            tag, start = _read_varint(body, position, _MAX_TAG_BYTES, _MAX_TAG)
            position = _skip(body, start, tag, 0)
            if tag != _FRAME_TAG:
                continue
            if len(starts) == limit:
                raise TooManyResources
            starts.append(_read_varint(body, start, _MAX_TAG_BYTES, _MAX_LENGTH)[1])
            ends.append(position)
    except IndexError:
        raise MalformedRequest from None
    if position != size:
        raise MalformedRequest
    return Frames(starts, ends)


def _read_varint(body: bytes, position: int, max_bytes: int, maximum: int) -> tuple[int, int]:
    """A varint and where it ends. Raises :class:`MalformedRequest`; ``IndexError`` at the end of bytes."""
    value = 0
    for index in range(max_bytes):
        byte = body[position + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < _CONTINUED:
            if value > maximum:
                break
            return value, position + index + 1
    raise MalformedRequest


def _skip(body: bytes, position: int, tag: int, depth: int) -> int:
    """Where the field ends whose tag ends at ``position``; it may lie behind the end of the bytes."""
    wire_type = tag & 7
    if tag >> 3 == 0 and depth == 0:
        raise MalformedRequest
    if wire_type == 0:
        return _read_varint(body, position, _MAX_VARINT_BYTES, 2**70)[1]
    if wire_type == _LENGTH_DELIMITED:
        length, position = _read_varint(body, position, _MAX_TAG_BYTES, _MAX_LENGTH)
        return position + length
    if wire_type in _FIXED_BYTES:
        return position + _FIXED_BYTES[wire_type]
    if wire_type != _GROUP_START or depth == _MAX_DEPTH:
        raise MalformedRequest
    while True:
        inner, position = _read_varint(body, position, _MAX_TAG_BYTES, _MAX_TAG)
        if inner & 7 == _GROUP_END:
            if inner >> 3 != tag >> 3:
                raise MalformedRequest
            return position
        position = _skip(body, position, inner, depth + 1)


def find_hits(body: bytes, frames: Frames, needles: Sequence[bytes]) -> list[int]:
    """Indices of the frames that hold any of the needles, ascending."""
    return hits_of(body, frames, find_first(body, needles))


def find_first(body: bytes, needles: Sequence[bytes]) -> list[tuple[bytes, int]]:
    """The needles that a request holds, in a frame or not, and where each is first."""
    found = ((needle, scan(body, needle)) for needle in needles)
    return [(needle, position) for needle, position in found if position >= 0]


def hits_of(body: bytes, frames: Frames, found: Sequence[tuple[bytes, int]]) -> list[int]:
    """The hits of what :func:`find_first` found."""
    hits: set[int] = set()
    starts, ends = frames
    for needle, first in found:
        position = first
        while position >= 0:
            index = bisect_right(starts, position) - 1
            if index >= 0 and position + len(needle) <= ends[index]:
                hits.add(index)
                # One hit in a frame is enough; whoever repeats a needle gains nothing.
                position = scan(body, needle, ends[index])
            else:
                position = scan(body, needle, position + 1)
    return sorted(hits)
