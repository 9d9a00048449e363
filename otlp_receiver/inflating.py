"""Compressed messages, inflated here: gRPC would do it with zlib, which takes longer than all else together.

gRPC's C core hands the bytes over as they came (``grpc.per_message_decompression``), and with them nothing
that tells whether they are compressed; it still refuses encodings that it does not know. So they are told by
how they begin. What gzip begins with, no protobuf message does: it would be a tag of wire type 7. What zlib
(``deflate``) begins with could be an unknown field of a number that OTLP does not have: such a message is
taken for compressed if it can be inflated, checksum and all, else it is taken as it is.

Never more is inflated than may be received, and one byte. The memory for it is got in one piece if a gzip
stream says its size, as it must, at its end: that halves the time.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from otlp_receiver import answers
from telemetry import events

if TYPE_CHECKING:
    from otlp_receiver.answers import Answer

_GZIP: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_GZIP_SIZE: Final = slice(-4, None)  # RFC 1952: ISIZE, modulo 2**32
_DEFLATED: Final = 8
_HEADER_CHECK: Final = 31  # RFC 1950: the first two bytes as a number are a multiple of it


def _choose_library() -> Any:  # noqa: ANN401  # a module; either has what is used here
    try:
        from isal import isal_zlib  # noqa: PLC0415  # here, where its absence is dealt with
    except ImportError:
        events.RECEIVER_SLOW_INFLATE()
        return zlib
    return isal_zlib


_library: Final = _choose_library()


def inflate(message: bytes, limit: int) -> bytes | Answer:
    """A message of at most ``limit`` bytes, inflated if it is compressed; else how the call is answered."""
    if message.startswith(_GZIP):
        told = int.from_bytes(message[_GZIP_SIZE], "little")
        return _inflate(message, _GZIP_WINDOW, limit, min(told, limit))
    if _may_be_zlib(message):
        inflated = _inflate(message, zlib.MAX_WBITS, limit, limit)
        return message if inflated is answers.NOT_INFLATED else inflated
    return message


def _may_be_zlib(message: bytes) -> bool:
    head = message[:2]
    return (
        len(head) == len(_GZIP) and head[0] & 0x8F == _DEFLATED and int.from_bytes(head) % _HEADER_CHECK == 0
    )


def _inflate(message: bytes, window: int, limit: int, expected: int) -> bytes | Answer:
    stream = _library.decompressobj(window)
    try:
        inflated: bytes = stream.decompress(message, expected + 1)
    except _library.error:
        return answers.NOT_INFLATED
    if len(inflated) > limit:
        return answers.TOO_LARGE
    # One stream and nothing behind it, as gRPC wants it.
    return inflated if stream.eof and not stream.unused_data else answers.NOT_INFLATED
