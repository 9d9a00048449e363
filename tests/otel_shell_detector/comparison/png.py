"""Pixels of a PNG as a browser writes a screenshot: eight bits a channel, RGB or RGBA, not interlaced."""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise
from typing import NamedTuple

_CHANNELS = {2: 3, 6: 4}
Colour = tuple[int, int, int]


class Picture(NamedTuple):
    """Rows of bytes, ``channels`` for a pixel."""

    width: int
    height: int
    channels: int
    rows: list[bytes]

    def colours(self) -> set[bytes]:
        """All different pixels."""
        step = self.channels
        return {row[at : at + step][:3] for row in self.rows for at in range(0, len(row), step)}

    def bands(self, colour: Colour) -> list[tuple[int, int]]:
        """First and last row of each group of neighbouring rows that hold a pixel of that colour."""
        holding = [y for y, row in enumerate(self.rows) if self._holds(row, bytes(colour))]
        starts = [y for before, y in pairwise([-2, *holding]) if y != before + 1]
        ends = [y for y, after in pairwise([*holding, self.height + 1]) if after != y + 1]
        return list(zip(starts, ends, strict=True))

    def _holds(self, row: bytes, colour: bytes) -> bool:
        at = row.find(colour)
        while at >= 0 and at % self.channels:
            at = row.find(colour, at + 1)
        return at >= 0


def read(data: bytes) -> Picture:
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    packed, at = b"", 8
    header = b""
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            header = body
        elif kind == b"IDAT":
            packed += body
        at += size + 12
    width, height, depth, colour_type, *rest = struct.unpack(">IIBBBBB", header)
    assert (depth, rest) == (8, [0, 0, 0])
    channels = _CHANNELS[colour_type]
    return Picture(width, height, channels, _unfiltered(zlib.decompress(packed), width * channels, channels))


def _unfiltered(raw: bytes, size: int, step: int) -> list[bytes]:
    rows: list[bytes] = []
    above = bytes(size)
    for at in range(0, len(raw), size + 1):
        line = bytearray(raw[at + 1 : at + 1 + size])
        _undo(raw[at], line, above, step)
        above = bytes(line)
        rows.append(above)
    return rows


def _undo(filter_type: int, line: bytearray, above: bytes, step: int) -> None:
    """PNG specification, "Filter types for filter method 0"."""
    for at in range(len(line)):
        left = line[at - step] if at >= step else 0
        corner = above[at - step] if at >= step else 0
        guess = (0, left, above[at], (left + above[at]) // 2, 0)[filter_type]
        if filter_type == 4:
            guess = min((left, above[at], corner), key=lambda each: abs(left + above[at] - corner - each))
        line[at] = (line[at] + guess) & 0xFF
