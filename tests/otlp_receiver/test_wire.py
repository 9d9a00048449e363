"""The top level of a request: its frames, and which of them may be watched."""

from __future__ import annotations

import random
import sys
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from otlp_receiver import wire
from otlp_receiver.descriptors import FRAMES
from otlp_receiver.selection import length_delimited
from otlp_receiver.wire import Frames, MalformedRequest, TooManyResources, find_frames, find_hits
from tests.otlp_receiver.captures import real_requests
from tests.otlp_receiver.encode import data, fixed64, number, request, text, varint

if TYPE_CHECKING:
    from collections.abc import Callable

PLENTY = 10**6


def walked(body: bytes) -> list[bytes] | None:
    try:
        starts, ends = find_frames(body, PLENTY)
    except MalformedRequest:
        return None
    return [body[start:end] for start, end in zip(starts, ends, strict=True)]


def parsed(body: bytes) -> list[bytes] | None:
    try:
        return list(FRAMES.FromString(body).resource_metrics)
    except DecodeError:
        return None


def pieces(randomness: random.Random, depth: int = 0) -> bytes:
    """Bytes that are nearly a request."""
    byte = randomness.randrange
    some: list[Callable[[], bytes]] = [
        lambda: randomness.randbytes(byte(6)),
        lambda: data(1, randomness.randbytes(byte(300))),
        lambda: b"\x0a" + b"\x80" * byte(12) + b"\x00",
        lambda: b"\x8a" + b"\x80" * byte(6) + randomness.choice([b"\x00", b"\x01", b"\x10"]) + b"\x02ab",
        lambda: bytes([byte(256)]) + b"\xff" * byte(12) + bytes([byte(256)]),
        lambda: (
            b"\x13" * (nested := randomness.choice([1, 3, 99, 100, 101]))
            + b"\x14" * (nested - (byte(5) == 0))
        ),
        lambda: bytes([randomness.choice([8, 9, 10, 11, 12, 13, 0x1B, 0x1C])]),
        lambda: b"\x1b" + (pieces(randomness, depth + 1) if depth < 3 else b"") + b"\x1c",
        lambda: b"\x0a" + b"\xff" * randomness.choice([4, 5]) + bytes([byte(16)]),
    ]
    return b"".join(randomness.choice(some)() for _ in range(byte(5)))


@settings(max_examples=300)
@given(st.integers(0, 2**32))
def test_the_walk_takes_what_upb_takes_and_refuses_what_upb_refuses(seed: int) -> None:
    randomness = random.Random(seed)
    for _ in range(20):
        body = pieces(randomness)
        assert walked(body) == parsed(body), body.hex()


@given(st.binary(max_size=12))
def test_the_walk_agrees_with_upb_on_any_bytes(body: bytes) -> None:
    assert walked(body) == parsed(body)


def test_the_walk_agrees_with_upb_on_the_collectors_own_bytes() -> None:
    for body in real_requests():
        assert walked(body) == parsed(body) != []
        assert walked(body[:-1]) == parsed(body[:-1]) is None


def test_fields_that_are_no_frames_are_stepped_over() -> None:
    body = b"".join(
        [
            number(2, 300),
            data(1, b"one"),
            fixed64(3, 7),
            number(1, 5),  # number 1, but no length-delimited field
            varint(4 << 3 | 5) + b"1234",
            data(1, b"x" * 200),
            varint(5 << 3 | 3) + data(1, b"in a group") + varint(5 << 3 | 4),
            data(1, b"y" * 20_000),
            data(1, b""),
            data(6, b"after"),
        ]
    )
    assert walked(body) == [b"one", b"x" * 200, b"y" * 20_000, b""]


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a",
        b"\x0a\x05abc",
        b"\x0a\x80",
        b"\x0a\xff\xff\xff\xff\x7f",
        b"\x00\x01",
        b"\x0f\x01",
        b"\x0c",
        b"\x0b",
        b"\x0b\x14",
        b"\x13" * 101 + b"\x14" * 101,
        b"\x08" + b"\xff" * 11,
    ],
    ids=[
        "a tag alone",
        "a length beyond the end",
        "half a length",
        "a length of more than 31 bits",
        "field number 0",
        "wire type 7",
        "a group that ends but never began",
        "a group without end",
        "a group that ends as another",
        "101 groups in each other",
        "a varint of more than ten bytes",
    ],
)
def test_broken_framing_is_malformed(body: bytes) -> None:
    assert parsed(body) is None
    with pytest.raises(MalformedRequest):
        find_frames(body, PLENTY)


def test_exactly_as_many_frames_as_allowed_are_allowed() -> None:
    body = request(b"", b"a", b"")
    assert find_frames(body, 3) == Frames([2, 4, 7], [2, 5, 7])
    with pytest.raises(TooManyResources):
        find_frames(body, 2)


def test_empty_frames_without_number_allocate_nothing() -> None:
    body = b"\x0a\x00" * (8 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(TooManyResources):
            find_frames(body, 1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_a_hit_is_a_frame_that_holds_a_needle_whole() -> None:
    needle = text(b"bash")
    body = b"".join(
        [
            data(2, needle),  # before all frames, in none
            data(1, b"nothing"),
            data(1, b"x" + needle + needle),
            data(2, needle),  # between frames
            data(1, needle[:3]) + data(1, needle),
            data(1, b"--" + text(b"sh")),
            data(2, needle),  # behind all frames
        ]
    )
    frames = find_frames(body, PLENTY)
    assert find_hits(body, frames, (text(b"sh"), needle)) == [1, 3, 4]
    # ``0a 00`` is the start of a frame's content here, and the tag and length of an empty frame there.
    split = request(b"\x0a", b"")
    assert find_hits(split, find_frames(split, PLENTY), (b"\x0a\x0a\x00",)) == []


def test_without_stringzilla_the_scan_is_slower_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wire.scan(b"xxabcabc", b"abc", 3) == 5
    monkeypatch.setitem(sys.modules, "stringzilla", None)
    with capture_logs() as logs:
        scan, scan_back = wire._choose_scans()
    assert logs == [{"event": "receiver.slow_scan", "log_level": "warning"}]
    assert scan(b"xxabcabc", b"abc", 3) == 5
    assert scan(b"xxabcabc", b"abc") == 2
    assert scan(b"xxabcabc", b"abc", 6) == -1
    for back in (scan_back, wire.scan_back):
        assert back(b"xxabcabc", b"abc", 0, 7) == 2
        assert back(b"xxabcabc", b"abc", 0, 8) == 5
        assert back(b"xxabcabc", b"abc", 0, 4) == -1


@pytest.mark.parametrize(("length", "head"), [(0, "0a00"), (127, "0a7f"), (128, "0a8001"), (300, "0aac02")])
def test_a_needle_has_the_length_that_encoders_write(length: int, head: str) -> None:
    assert length_delimited(1, bytes(length)) == bytes.fromhex(head) + bytes(length)
