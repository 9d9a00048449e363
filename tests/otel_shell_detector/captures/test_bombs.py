"""Bombs and large files: what a capture may cost in memory."""

from __future__ import annotations

import gzip
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from otel_shell_detector.captures import Damaged, Item, Request
from otel_shell_detector.captures.content import Content
from otel_shell_detector.captures.formats import items
from tests.otel_shell_detector.captures.samples import (
    prefixed,
    zstd,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20


def endless(data: bytes) -> Iterator[bytes]:
    """64 MiB of it."""
    for _ in range(64 * MIB // len(data)):
        yield data


def gzip_bomb(data: bytes) -> bytes:
    return gzip.compress(b"".join(endless(data)), 9, mtime=0)


def peak(data: bytes, max_message: int = MIB) -> tuple[int, list[Item]]:
    """How many bytes were held at most beside the file itself, and the last things found."""
    tracemalloc.start()
    try:
        last: list[Item] = []
        for item in items(Content(iter([data])), max_message):
            last = [*last[-2:], item]
        return tracemalloc.get_traced_memory()[1], last
    finally:
        tracemalloc.stop()


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a line, gzip": (lambda: gzip_bomb(b'{"a":"' + b"a" * MIB), "line 1 is longer than"),
    "a line, zstd": (
        lambda: zstd.compress(b"".join(endless(b'{"a":"' + b"a" * MIB))),
        "line 1 is longer than",
    ),
    "a message": (
        lambda: prefixed([zstd.compress(b"".join(endless(b"\x0a\x00" * MIB)))]),
        "a zstd frame holds more than 1048576 bytes",
    ),
    "a request": (
        lambda: zstd.compress(b"".join(endless(b"\x0a\x00" * MIB))),
        "a request without a length before it has more than 1048576 bytes",
    ),
    "a length": (
        lambda: gzip_bomb(b"\x00\xff\xff\xff" + b"\x0a\x00" * MIB),
        "a length of 16777215 bytes, where a message has at most 1048576",
    ),
    "a frame that wants a window of 2 GiB": (
        # Magic, no checksum and no content size, the largest window (RFC 8878, 3.1.1.1.2), one empty block.
        lambda: b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00" + b"\0" * 100,
        "zstd does not decode near byte 0 of the file",
    ),
    "a frame that says it holds 16 EiB": (
        lambda: prefixed([b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 8 + b"\x01\x00\x00"]),
        "a zstd frame does not decode",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_take_no_more_room_than_a_message(name: str) -> None:
    make, reason = BOMBS[name]
    data = make()
    held, last = peak(data)
    assert len(data) < 200_000
    # The line or message twice, once on its way through; pieces of 256 KiB.
    assert held < 3 * MIB + len(data)
    assert isinstance(last[-1], Damaged)
    assert last[-1].reason.startswith(reason)


def test_a_large_file_takes_no_more_room_than_a_message() -> None:
    body = b"\x0a\x80\x80\x02" + b"x" * 32768
    data = prefixed([body]) * 1000
    held, last = peak(gzip.compress(data, 1))
    assert len(data) > 20 * MIB
    assert held < 2 * MIB
    assert last[-1] == Request(len(data) - len(body) - 4, body)


def test_a_length_claims_no_room_before_its_bytes_come() -> None:
    held, last = peak((60 * MIB).to_bytes(4, "big") + b"\x0a\x00", max_message=64 * MIB)
    assert last == [Damaged(0, f"a message is cut, 2 of {60 * MIB} bytes are there")]
    assert held < MIB
