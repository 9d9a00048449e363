"""What a capture file is, told by its content, and the requests in it.

Written by the collector's file exporter (``exporter/fileexporter`` of opentelemetry-collector-contrib,
``file_writer.go``, ``marshaller.go``, ``compression_writer.go``; read at v0.160.0):

* ``format: json``: a request in JSON, then a newline;
* ``format: proto``: four bytes of length, big-endian, then a serialized request;
* with ``compression: zstd`` a message is one zstd frame, JSON (without the newline) as well as proto, and
  stands behind its length, JSON too. An empty message is a length of zero without a frame;
* with the feature gate ``exporter.file.nativeCompression`` the file as a whole is a sequence of zstd frames,
  which need not end where messages end; inside are JSON lines, or lengths and messages.

Beside these, any of them compressed as a whole by zstd or gzip, and a serialized request alone.

The tests, in this order; each looks at the first bytes, and none of them can match what a later one is for:

1. ``1f 8b``: gzip. ``28 b5 2f fd``, or the first bytes of a skippable frame: zstd. What is inside is told by
   the tests that follow; a compressed stream inside a compressed stream is not unpacked. (Read as a length
   these would be beyond any bound.)
2. White space (of the first 1024 bytes), ``{``, white space, then a quoted letter, ``}`` or the end: JSON
   lines. (The first byte of a resource in a bare request that begins with the same bytes would be a field
   that OTLP does not have.)
3. A first byte below 8: lengths and messages. (No protobuf message begins with a field of number 0. A length
   that begins with 4 or more is 64 MiB and more: damage.) What a message is, is told for each one: a zstd
   frame, JSON, or else a request.
4. ``0a``: a bare request. (The tag of its first resource.)
5. A newline and ``{`` within the first 64 KiB: JSON lines whose first line is cut.

Anything else is reported at offset 0.

What is damaged is reported where it was met, and costs as little as the format allows: a line of JSON, a
message behind a good length. After a bad length nothing can be found again, so it ends the file. What was cut
at the end is reported, and all before it counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_shell_detector.captures.compression import unzstd_message, whole_file
from otel_shell_detector.captures.content import BrokenStreamError, Content
from otel_shell_detector.captures.framing import well_formed
from otel_shell_detector.captures.otlp_json import BadJsonError, OtherSignalError, request_from_json
from otel_shell_detector.captures.source import pieces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_shell_detector.captures.source import Observer

MAX_MESSAGE: Final = 64 * 1024 * 1024
"""Bytes of one message, uncompressed, that are held at most. The receiver's own limit is 16 MiB."""

_HEAD: Final = 1024
_FAR_HEAD: Final = 64 * 1024
_LENGTH: Final = 4
_JSON: Final = re.compile(rb"[ \t\r\n]*\{[ \t\r\n]*(\"[A-Za-z]|\}|\"?\Z)")
_LATER_JSON: Final = re.compile(rb"\n[ \t\r]*\{")


@dataclass(frozen=True, slots=True)
class Request:
    """A serialized ``ExportMetricsServiceRequest``.

    `offset` is where its message begins: in the file, or, if the file as a whole is compressed, in what it
    holds. Of `body` it is certain that it consists of whole fields; what they hold has not been looked at.
    """

    offset: int
    body: bytes


@dataclass(frozen=True, slots=True)
class OtherSignal:
    """A message that holds traces, logs or profiles.

    Only JSON says so: the outer fields of such requests in protobuf have the same numbers.
    """

    offset: int
    signal: str


@dataclass(frozen=True, slots=True)
class Damaged:
    """Bytes that are no request. What comes after them, if the format lets it be found, still counts."""

    offset: int
    reason: str


Item = Request | OtherSignal | Damaged


def requests(
    path: Path | str, *, max_message: int = MAX_MESSAGE, observe: Observer | None = None
) -> Iterator[Item]:
    """What a capture holds, in the order of the file; ``-`` is the standard input.

    Reads as it is asked, a file once from front to back (a pipe will do), and holds one message at a time.
    `observe` is called with the bytes read so far and the size of the file (``None`` if it has none) after
    each piece. An empty file holds nothing. Raises :class:`~otel_shell_detector.captures.source.CaptureError`
    if the file cannot be read; whatever it contains raises nothing.
    """
    yield from items(Content(pieces(path, observe)), max_message)


def items(content: Content, max_message: int = MAX_MESSAGE) -> Iterator[Item]:
    """What a content holds: see :func:`requests`."""
    content = whole_file(content)
    head = content.peek(_HEAD)
    if _JSON.match(head):
        yield from _lines(content, max_message)
    elif head[:1] < b"\x08":
        yield from _messages(content, max_message)
    elif head[:1] == b"\x0a":
        yield from _bare(content, max_message)
    elif _LATER_JSON.search(content.peek(_FAR_HEAD)):
        yield from _lines(content, max_message)
    else:
        yield from _end(content, "no capture: neither JSON lines, nor lengths and messages, nor a request")


def _lines(content: Content, max_message: int) -> Iterator[Item]:
    """A newline ends a line whatever is before it, so a bad line costs itself alone."""
    number, offset = 1, content.offset
    while (line := content.line(max_message)) != b"":
        if line is None:
            yield Damaged(offset, f"line {number} is longer than {max_message} bytes")
        elif line.endswith(b"\n"):
            if line.strip():
                yield _json_item(offset, line, f"line {number}: ")
        elif isinstance(item := _json_item(offset, line, f"line {number}, which has no end: "), Damaged):
            yield Damaged(offset, content.broken or item.reason)
            return
        else:
            yield item
        number, offset = number + 1, content.offset
    yield from _end(content)


def _messages(content: Content, max_message: int) -> Iterator[Item]:
    while prefix := content.peek(_LENGTH):
        offset, size = content.offset, int.from_bytes(prefix, "big")
        if len(prefix) < _LENGTH:
            yield from _end(content, f"a length is cut, {len(prefix)} of {_LENGTH} bytes are there")
            return
        if size > max_message:
            yield Damaged(offset, f"a length of {size} bytes, where a message has at most {max_message}")
            return
        content.take(_LENGTH)
        message = content.take(size)
        if len(message) < size:
            reason = f"a message is cut, {len(message)} of {size} bytes are there"
            yield Damaged(offset, content.broken or reason)
            return
        yield _message_item(offset, message, max_message)
    yield from _end(content)


def _message_item(offset: int, message: bytes, max_message: int) -> Item:
    try:
        message = unzstd_message(message, max_message)
    except BrokenStreamError as error:
        return Damaged(offset, str(error))
    if message.startswith(b"{"):  # as a tag it would begin a group of number 15
        return _json_item(offset, message, "")
    whole = well_formed(message)
    if whole < len(message):
        return Damaged(offset, f"a message of {len(message)} bytes is no request from its byte {whole} on")
    return Request(offset, message)


def _json_item(offset: int, text: bytes, where: str) -> Item:
    try:
        return Request(offset, request_from_json(text))
    except OtherSignalError as error:
        return OtherSignal(offset, str(error))
    except BadJsonError as error:
        return Damaged(offset, f"{where}{error}")


def _bare(content: Content, max_message: int) -> Iterator[Item]:
    """A request alone. Of one that is cut or corrupt, the resources before that count."""
    body = content.take(max_message + 1)
    if len(body) > max_message:
        yield Damaged(0, f"a request without a length before it has more than {max_message} bytes")
        return
    whole = well_formed(body)
    if whole:
        yield Request(0, body[:whole])
    if whole < len(body):
        reason = f"a request is cut or corrupt, its last {len(body) - whole} bytes are no whole field"
        yield Damaged(whole, content.broken or reason)
    else:
        yield from _end(content)


def _end(content: Content, reason: str | None = None) -> Iterator[Item]:
    """The end of the content, reported if something is wrong; a broken stream is then the cause."""
    reason = content.broken or reason
    if reason is not None:
        yield Damaged(content.offset, reason)
