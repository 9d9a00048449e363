"""Requests of many nodes out of one real scrape, compressed once a moment instead of once a node.

The frames are those of ``tests/captures/scrape-300-quiet.pb`` and, for shells, of ``scrape-300.pb``; names
and times are written over in place, so no length changes. Compressing 0.6 MB for each node would cost the
generator more than receiving costs the service, so the compressor runs once for all nodes that are scraped at
the same time. What it gave is cut behind the first frame: there stand the only bytes of the node's name, as
everything behind copies them from there (LZ77). With another first frame, *stored*, the same compressed rest
becomes the request of another node. That each name was copied is checked for each compressed scrape. A
checksum of gzip is linear over XOR: another name changes it by a value for each bit that differs.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from isal import isal_zlib

from otlp_receiver.wire import find_frames

ROOT: Final = Path(__file__).resolve().parent.parent
QUIET: Final = ROOT / "tests/captures/scrape-300-quiet.pb"
WITH_SHELLS: Final = ROOT / "tests/captures/scrape-300.pb"
PREFIX: Final = b"node-"
NOBODY: Final = PREFIX + b"\xf9\xfb\xfd\xfa\xfc"
"""Stands for the name while frames are compressed. Its end is nowhere else, so only names copy it."""
LEVEL: Final = 6
"""Of zlib; what collectors send is about as large."""
_CAPTURED: Final = b"worker-300"
_TIME: Final = re.compile(rb"\x19(.{8})", re.DOTALL)
_PID: Final = re.compile(rb"\x18(..)\x0a\x0bprocess.pid", re.DOTALL)
_SCRAPE_NS: Final = 10_000_000_000
_SHELL: Final = b"\x0a\x04bash"
_MANY_FRAMES: Final = 1_000_000
_GZIP: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST_BLOCK: Final = b"\x03\x00"
_RAW: Final = -zlib.MAX_WBITS
_TWO_BYTES: Final = range(1 << 7, 1 << 14)
"""Pids that are two bytes long on the wire, as that of the captured shell."""


def name_of(node: int) -> bytes:
    """As long as the captured name."""
    return PREFIX + b"%05d" % node


def frames_of(capture: Path) -> list[bytes]:
    """The frames of a request, each with its field tag and length, under the name of nobody."""
    body = capture.read_bytes().replace(_CAPTURED, NOBODY)
    frames = find_frames(body, _MANY_FRAMES)
    contents = [body[start:end] for start, end in zip(*frames, strict=True)]
    return [b"\x0a" + _varint(len(content)) + content for content in contents]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >> 7:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _times(body: bytes) -> tuple[list[int], int]:
    """Where the times of samples stand, and the latest. Bytes that only look like one lie far off."""
    found = {each.start(1): int.from_bytes(each[1], "little") for each in _TIME.finditer(body)}
    near = sorted(found.values())[len(found) // 2]
    places = [place for place, time_ns in found.items() if abs(time_ns - near) < _SCRAPE_NS]
    return places, max(found[place] for place in places)


class Scrape:
    """One node's scrape without shells, of so many processes; beyond 300 its frames repeat."""

    def __init__(self, processes: int = 300) -> None:
        frames = frames_of(QUIET)
        chosen = [frames[number % len(frames)] for number in range(processes)]
        self.body: Final = b"".join(chosen)
        self.first: Final = len(chosen[0])
        self._places, self._latest = _times(self.body)
        self.shift: Final = _Shift(len(self.body))
        places = [each.start() for each in re.finditer(NOBODY, self.body)]
        self._flips = [_flips(len(self.body), places, index) for index in range(len(NOBODY))]

    def at(self, time_ns: int) -> bytes:
        """Nobody's scrape whose latest sample has this time."""
        body, by = bytearray(self.body), time_ns - self._latest
        for place in self._places:
            (was,) = struct.unpack_from("<Q", body, place)
            struct.pack_into("<Q", body, place, was + by)
        return bytes(body)

    def renamed(self, crc: int, node: int) -> int:
        """The checksum of this node's scrape from that of nobody's."""
        for was, letter, flips in zip(NOBODY, name_of(node), self._flips, strict=True):
            for bit, flip in enumerate(flips):
                if (was ^ letter) >> bit & 1:
                    crc ^= flip
        return crc


def _flips(length: int, places: list[int], index: int) -> list[int]:
    """How the checksum changes with each bit of a letter, if it changes in every name."""
    zeros = zlib.crc32(bytes(length))
    flips = []
    for bit in range(8):
        mask = bytearray(length)
        for place in places:
            mask[place + index] = 1 << bit
        flips.append(zlib.crc32(mask) ^ zeros)
    return flips


class _Shift:
    """What a checksum becomes when so many bytes follow, but for what those bytes add themselves."""

    def __init__(self, length: int) -> None:
        following = bytes(length)
        zero = zlib.crc32(following)
        self._columns = [zlib.crc32(following, 1 << bit) ^ zero for bit in range(32)]

    def __call__(self, crc: int) -> int:
        shifted = 0
        for bit, column in enumerate(self._columns):
            if crc >> bit & 1:
                shifted ^= column
        return shifted


class Moment:
    """A scrape compressed for all nodes that are scraped then."""

    def __init__(self, scrape: Scrape, time_ns: int) -> None:
        body = scrape.at(time_ns)
        self.scrape: Final = scrape
        self.first: Final = body[: scrape.first]
        self.crc: Final = zlib.crc32(body)
        compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, _RAW)
        compressor.compress(self.first)
        compressor.flush(zlib.Z_SYNC_FLUSH)
        self.rest: Final = compressor.compress(body[scrape.first :]) + compressor.flush(zlib.Z_SYNC_FLUSH)
        other = name_of(99_999)
        renamed = _stored(self.first.replace(NOBODY, other)) + self.rest + _LAST_BLOCK
        if isal_zlib.decompress(renamed, _RAW) != body.replace(NOBODY, other):
            raise ValueError("a name is not copied from the first frame")


def _stored(data: bytes) -> bytes:
    return struct.pack("<BHH", 0, len(data), len(data) ^ 0xFFFF) + data


@dataclass(frozen=True, slots=True)
class Shell:
    """One shell: what makes it another one than any other of its node."""

    node: int
    pid: int
    start_ns: int


class ShellFrame:
    """The captured frame of a busy bash, to be written over."""

    def __init__(self) -> None:
        self._frame: Final = next(each for each in frames_of(WITH_SHELLS) if _SHELL in each)
        self._times = _times(self._frame)[0]
        start = self._frame[self._times[0] + 9 : self._times[0] + 17]
        self._starts = [each.start() + 1 for each in re.finditer(re.escape(b"\x11" + start), self._frame)]
        self._names = [each.start() for each in re.finditer(NOBODY, self._frame)]
        self._pids = [each.start(1) for each in _PID.finditer(self._frame)]

    def of(self, shell: Shell, time_ns: int) -> bytes:
        """A sample of it. Raises :class:`ValueError` for a pid that is not two bytes long on the wire."""
        if shell.pid not in _TWO_BYTES:
            raise ValueError(f"pid {shell.pid}: want one of {_TWO_BYTES}")
        frame = bytearray(self._frame)
        for places, written in (
            (self._times, struct.pack("<Q", time_ns)),
            (self._starts, struct.pack("<Q", shell.start_ns)),
            (self._names, name_of(shell.node)),
            (self._pids, _varint(shell.pid)),
        ):
            for place in places:
                frame[place : place + len(written)] = written
        return bytes(frame)


@cache
def shell_frame() -> ShellFrame:
    """The one of this process."""
    return ShellFrame()


class Body:
    """One request in the making, compressed by gzip."""

    def __init__(self) -> None:
        self._parts = [_GZIP]
        self._crc = 0
        self.inflated = 0
        """Bytes so far, as they are when inflated."""

    def scrape(self, moment: Moment, node: int) -> None:
        """Add the scrape of a node, without shells."""
        scrape = moment.scrape
        self._parts += (_stored(moment.first.replace(NOBODY, name_of(node))), moment.rest)
        self._crc = scrape.shift(self._crc) ^ scrape.renamed(moment.crc, node)
        self.inflated += len(scrape.body)

    def frames(self, data: bytes) -> None:
        """Add frames as they are."""
        compressor = isal_zlib.compressobj(1, isal_zlib.DEFLATED, _RAW)
        self._parts += (compressor.compress(data), compressor.flush(isal_zlib.Z_SYNC_FLUSH))
        self._crc = zlib.crc32(data, self._crc)
        self.inflated += len(data)

    def finished(self) -> bytes:
        """The message; nothing can be added after it."""
        trailer = struct.pack("<II", self._crc, self.inflated & 0xFFFF_FFFF)
        return b"".join((*self._parts, _LAST_BLOCK, trailer))
