"""Compressed captures: as a whole by gzip or zstd, or message by message by zstd.

Decompression is bounded in memory, not in time: a file gives pieces of at most 256 KiB, so a bomb of
terabytes takes as long as it takes and no more room than an honest file; a message is given up at its limit.
zstd itself refuses a window of more than 128 MiB (``ZSTD_WINDOWLOG_LIMIT_DEFAULT``).
"""

from __future__ import annotations

import importlib
import re
import sys
import zlib
from typing import TYPE_CHECKING, Final, Protocol

from otel_shell_detector.captures.content import BrokenStreamError, Content

if sys.version_info >= (3, 14):
    # The standard library's. Not by an import statement: import-linter on an older Python takes it for a
    # stray package.
    zstd = importlib.import_module("compression.zstd")
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MAX_OUTPUT: Final = 256 * 1024
_MAX_INPUT: Final = 4 * 1024
"""Bytes decoded at a time: what these hold is lost if there is damage in them, as a decoder gives all of it
or an error."""

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE: Final = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")


class _Decoder(Protocol):
    """One gzip member or one zstd frame."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decode(self, data: bytes) -> Iterator[bytes]:
        """What the data gives."""
        ...


class _GzipDecoder:
    """See RFC 1952; the CRC and the length at the end of a member are checked by zlib."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decode(self, data: bytes) -> Iterator[bytes]:
        full = True
        while data or full:
            output = self._zlib.decompress(data, _MAX_OUTPUT)
            yield output
            data = self._zlib.unconsumed_tail
            full = len(output) == _MAX_OUTPUT  # then more may wait inside


class _ZstdDecoder:
    """See RFC 8878; a frame's checksum, if it has one, is checked by libzstd."""

    def __init__(self) -> None:
        self._zstd = zstd.ZstdDecompressor()

    @property
    def eof(self) -> bool:
        return self._zstd.eof

    @property
    def unused_data(self) -> bytes:
        return self._zstd.unused_data

    def decode(self, data: bytes) -> Iterator[bytes]:
        yield self._zstd.decompress(data, _MAX_OUTPUT)
        while not self._zstd.eof and not self._zstd.needs_input:
            yield self._zstd.decompress(b"", _MAX_OUTPUT)


def whole_file(content: Content) -> Content:
    """What a compressed file holds; the content itself if it is not compressed."""
    head = content.peek(len(_ZSTD))
    if head.startswith(_GZIP):
        return Content(_unpacked(content.rest(), "gzip", _GzipDecoder))
    if head == _ZSTD or _ZSTD_SKIPPABLE.fullmatch(head):
        return Content(_unpacked(content.rest(), "zstd", _ZstdDecoder))
    return content


def _unpacked(pieces: Iterator[bytes], name: str, new: Callable[[], _Decoder]) -> Iterator[bytes]:
    """Member after member, frame after frame."""
    decoder: _Decoder | None = None
    done = 0
    for piece in pieces:
        for start in range(0, len(piece), _MAX_INPUT):
            data = piece[start : start + _MAX_INPUT]
            while data:
                decoder = decoder or new()
                try:
                    yield from filter(None, decoder.decode(data))
                except (zlib.error, zstd.ZstdError) as error:
                    raise BrokenStreamError(
                        f"{name} does not decode near byte {done} of the file: {error}"
                    ) from None
                data = b""
                if decoder.eof:
                    data, decoder = decoder.unused_data, None
            done += len(piece[start : start + _MAX_INPUT])
    if decoder is not None:
        raise BrokenStreamError(f"{name} is cut at byte {done} of the file")


def unzstd_message(message: bytes, max_message: int) -> bytes:
    """A message as it was before the exporter's ``compression: zstd``.

    The message itself if it is no zstd frame. Raises :class:`BrokenStreamError`.
    """
    if not message.startswith(_ZSTD):
        return message
    decoder = zstd.ZstdDecompressor()
    try:
        unpacked = decoder.decompress(message, max_message + 1)
    except zstd.ZstdError as error:
        raise BrokenStreamError(f"a zstd frame does not decode: {error}") from None
    if len(unpacked) > max_message:
        raise BrokenStreamError(f"a zstd frame holds more than {max_message} bytes")
    if not decoder.eof:
        raise BrokenStreamError("a zstd frame is cut")
    if decoder.unused_data:
        raise BrokenStreamError("a zstd frame ends before its message")
    return unpacked
