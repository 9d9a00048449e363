from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_shell_detector.captures import CaptureError, Damaged, Item, OtherSignal, Request, requests
from otel_shell_detector.captures.content import PIECE
from tests.otel_shell_detector.captures.samples import (
    CAPTURES,
    JSON,
    PROTO,
    bodies,
    capture,
    formats,
    lines,
    parse,
    prefixed,
    read,
    small_request,
    split,
    zstd,
)

MIB = 1 << 20
SMALL = formats(PROTO, JSON)
BARE, _ = small_request(649, resources=3)
NO_NAME = "no JSON: Expecting property name enclosed in double quotes"
NO_CAPTURE = "no capture: neither JSON lines, nor lengths and messages, nor a request"


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("piece", [1, 7, PIECE])
def test_every_format_gives_the_same_requests(name: str, piece: int) -> None:
    assert bodies(read(SMALL[name], piece=piece)) == [parse(body) for body in PROTO]


def test_a_capture_gives_the_same_requests_in_every_format() -> None:
    expected = capture("worker-1.pb")
    written = tuple(item.body for item in requests(CAPTURES / "worker-1.pb") if isinstance(item, Request))
    text = tuple((CAPTURES / "worker-1.json").read_bytes().splitlines())
    assert len(expected) == 16
    for name, data in formats(written, text).items():
        assert bodies(read(data)) == expected, name


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("worker-1.json", 16),
        ("worker-1.pb", 16),
        ("worker-2.pb.zst", 120),
        ("worker-3.pb.zst", 60),
        ("worker-4.json", 3),
        ("worker-4.pb", 3),
        ("scrape-300.pb", 1),
        ("scrape-300-quiet.pb", 1),
    ],
)
def test_every_real_capture_is_read_without_damage(name: str, count: int) -> None:
    assert len(capture(name)) == count


def test_offsets_lead_to_the_messages() -> None:
    assert read(SMALL["proto"]) == [
        Request(offset, body)
        for offset, body in zip((0, 4 + len(PROTO[0]), 8 + len(PROTO[0]) + len(PROTO[1])), PROTO, strict=True)
    ]
    offsets = [item.offset for item in read(lines(JSON))]
    assert offsets == [0, len(JSON[0]) + 1, len(JSON[0]) + len(JSON[1]) + 2]
    assert [item.offset for item in read(SMALL["json, gzip"])] == offsets


# A frame of 123 bytes, then one of 34: what begins "\n{\n" could be JSON after an empty line.
LOOKS_LIKE_JSON = b"\x0a\x7b\x0a\x22" + b"\x0a\x20\x12\x1e\x0a\x1c" + b"x" * 28 + b"\x1a\x55" + b"u" * 85
KINDS = [PROTO[0], zstd.compress(JSON[1]), JSON[2], b"", zstd.compress(PROTO[0])]
RECOGNISED: dict[str, tuple[bytes, list[Item]]] = {
    "nothing": (b"", []),
    "one byte: the start of a length": (b"\x00", [Damaged(0, "a length is cut, 1 of 4 bytes are there")]),
    "one byte: the start of a request": (
        b"\x0a",
        [Damaged(0, "a request is cut or corrupt, its last 1 bytes are no whole field")],
    ),
    "one byte: the start of JSON": (
        b"{",
        [
            Damaged(
                0,
                "line 1, which has no end: no JSON: "
                "Expecting property name enclosed in double quotes at character 1",
            )
        ],
    ),
    "one byte: the start of gzip": (b"\x1f", [Damaged(0, NO_CAPTURE)]),
    "one byte: anything": (b"x", [Damaged(0, NO_CAPTURE)]),
    "a text": (b"Dear reader,\nthis is no capture.\n", [Damaged(0, NO_CAPTURE)]),
    "a request alone": (BARE, [Request(0, BARE)]),
    "an empty resource alone": (b"\x0a\x00", [Request(0, b"\x0a\x00")]),
    "a request alone that begins as JSON after an empty line does": (
        LOOKS_LIKE_JSON,
        [Request(0, LOOKS_LIKE_JSON)],
    ),
    "a message that begins as JSON after an empty line does": (
        prefixed([LOOKS_LIKE_JSON]),
        [Request(0, LOOKS_LIKE_JSON)],
    ),
    "JSON after empty lines": (b"\n \r\n" + lines(JSON[:1]), [Request(4, PROTO[0])]),
    "JSON with empty lines": (
        b"\n".join([JSON[0], b"", b" \r", JSON[1]]),
        [Request(0, PROTO[0]), Request(len(JSON[0]) + 5, PROTO[1])],
    ),
    "JSON with carriage returns": (JSON[0] + b"\r\n", [Request(0, PROTO[0])]),
    "JSON with spaces": (b'{ "resourceMetrics" : [ ] }\n', [Request(0, b"")]),
    "an empty request in JSON": (b"{}\n", [Request(0, b"")]),
    "JSON whose first line is cut": (
        b'intValue":"23"}}]}}]}\n' + lines(JSON[:1]),
        [Damaged(0, "line 1: no JSON: Expecting value at character 0"), Request(22, PROTO[0])],
    ),
    "empty messages": (b"\0" * 8, [Request(0, b""), Request(4, b"")]),
    "a length beyond the limit": (
        b"\x00\x10\x00\x01" + b"\0" * 100,
        [Damaged(0, "a length of 1048577 bytes, where a message has at most 1048576")],
    ),
    "the largest length": (
        prefixed(PROTO[:1]) + b"\xff\xff\xff\xff",
        [
            Request(0, PROTO[0]),
            Damaged(4 + len(PROTO[0]), "a length of 4294967295 bytes, where a message has at most 1048576"),
        ],
    ),
    "gzip within gzip": (gzip.compress(SMALL["json, gzip"], mtime=0), [Damaged(0, NO_CAPTURE)]),
    "a skippable frame before zstd": (
        b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc" + SMALL["proto, zstd"],
        read(SMALL["proto"]),
    ),
    "messages of every kind in one file": (
        prefixed(KINDS),
        [
            Request(sum(len(message) + 4 for message in KINDS[:index]), body)
            for index, body in enumerate([PROTO[0], PROTO[1], PROTO[2], b"", PROTO[0]])
        ],
    ),
    "other signals": (
        b'{"resourceSpans":[]}\n{"resource_logs":[]}\n{"resourceProfiles":[]}\n' + lines(JSON[:1]),
        [
            OtherSignal(0, "traces"),
            OtherSignal(21, "logs"),
            OtherSignal(42, "profiles"),
            Request(66, PROTO[0]),
        ],
    ),
}


@pytest.mark.parametrize("name", RECOGNISED)
def test_a_file_is_recognised_by_its_content(name: str) -> None:
    data, expected = RECOGNISED[name]
    assert read(data) == expected
    assert read(data, piece=1) == expected


def test_a_bad_line_costs_itself_alone() -> None:
    data = lines([JSON[0], b'{"resourceMetrics":[{]}', b"\xff\xfe", b"[1]", b'{"a":1}', JSON[1]])
    assert read(data) == [
        Request(0, PROTO[0]),
        Damaged(
            len(JSON[0]) + 1,
            "line 2: no JSON: Expecting property name enclosed in double quotes at character 21",
        ),
        Damaged(len(JSON[0]) + 25, "line 3: no JSON: Expecting value at character 0"),
        Damaged(len(JSON[0]) + 28, "line 4: an array where an object stands"),
        Damaged(len(JSON[0]) + 32, "line 5: no OTLP request: resourceMetrics is missing"),
        Request(len(JSON[0]) + 40, PROTO[1]),
    ]


def test_a_line_beyond_the_limit_costs_itself_alone() -> None:
    long = b'{"resourceMetrics":[], "x":"' + b"x" * 3000 + b'"}'
    for piece in (1, 1000, 10_000):
        assert read(lines([JSON[0], long, JSON[1], b"{]"]), max_message=150, piece=piece) == [
            Request(0, PROTO[0]),
            Damaged(len(JSON[0]) + 1, "line 2 is longer than 150 bytes"),
            Request(len(JSON[0]) + len(long) + 2, PROTO[1]),
            Damaged(len(JSON[0]) + len(long) + len(JSON[1]) + 3, f"line 4: {NO_NAME} at character 1"),
        ]
        assert read(lines([JSON[0]]) + long, max_message=150, piece=piece) == [
            Request(0, PROTO[0]),
            Damaged(len(JSON[0]) + 1, "line 2 is longer than 150 bytes"),
        ]


def test_a_bad_message_behind_a_good_length_costs_itself_alone() -> None:
    frame = zstd.compress(PROTO[0])
    bad = {
        b"\x0a\xff": "a message of 2 bytes is no request from its byte 0 on",
        frame[:-1]: "a zstd frame is cut",
        frame + b"x": "a zstd frame ends before its message",
        b'{"resourceMetrics":7}': "a number where an array stands",
    }
    for message, reason in bad.items():
        assert read(prefixed([PROTO[0], message, PROTO[1]])) == [
            Request(0, PROTO[0]),
            Damaged(4 + len(PROTO[0]), reason),
            Request(8 + len(PROTO[0]) + len(message), PROTO[1]),
        ]


def boundaries(name: str, data: bytes) -> set[int]:
    """Where a file can be cut without anything being cut in it."""
    if name == "json":
        ends = [end for end in range(len(data)) if data[end : end + 1] == b"\n"]
        return {0, *ends, *(end + 1 for end in ends)}
    if name == "bare":
        return {0, *(len(BARE) // 3 * number for number in (1, 2, 3))}
    found, position = {0}, 0
    while "zip" not in name and "zstd frames" not in name and not name.endswith(", zstd"):
        position += 4 + int.from_bytes(data[position : position + 4], "big")
        found.add(position)
        if position == len(data):
            return found
    return found | {len(data)}


@pytest.mark.parametrize("name", [name for name in SMALL if "members" not in name and "frames" not in name])
def test_a_file_cut_anywhere_gives_what_is_before_the_cut_and_a_report(name: str) -> None:
    data = SMALL[name]
    whole, damaged = split(read(data))
    assert (len(whole), damaged) == (3, [])
    for cut in range(len(data) + 1):
        before, damaged = split(read(data[:cut]))
        assert before == whole[: len(before)], cut
        assert len(damaged) == (cut not in boundaries(name, data)), cut


@pytest.mark.parametrize("name", [name for name in SMALL if "members" in name or "frames" in name])
def test_a_compressed_file_cut_between_its_parts_is_cut_where_its_content_is(name: str) -> None:
    data = SMALL[name]
    whole, _ = split(read(data))
    reports = []
    for cut in range(len(data) + 1):
        before, damaged = split(read(data[:cut]))
        assert before == whole[: len(before)], cut
        assert len(damaged) <= 1
        assert damaged or cut == 0 or before
        reports.append(len(damaged))
    assert (reports[0], reports[-1]) == (0, 0)
    assert sum(reports) > len(data) * 0.9


def test_of_a_bare_request_that_is_cut_the_whole_resources_count() -> None:
    size = len(BARE) // 3
    for cut in range(len(BARE) + 1):
        whole, damaged = split(read(BARE[:cut]))
        assert [item.body for item in whole] == ([BARE[: cut // size * size]] if cut >= size else []), cut
        assert len(damaged) == (cut not in boundaries("bare", BARE)), cut
    assert read(BARE[:-1])[1] == Damaged(
        2 * size, f"a request is cut or corrupt, its last {size - 1} bytes are no whole field"
    )


@pytest.mark.parametrize("name", [*SMALL, "bare"])
def test_flipped_bits_raise_nothing(name: str) -> None:
    data = BARE if name == "bare" else SMALL[name]
    silent = 0
    for position in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            found = read(bytes(flipped))
            assert all(isinstance(item, Request | Damaged | OtherSignal) for item in found)
            silent += all(isinstance(item, Request) for item in found)
    # A checksum finds all of them; where there is none, text and numbers may change unseen.
    if "gzip" in name:
        # Flags, time and system in a member's header (RFC 1952, 2.3) are not under its checksum.
        assert silent <= 8 * 7 * (data.count(b"\x1f\x8b\x08"))


@given(
    data=st.binary(max_size=200),
    head=st.sampled_from([b"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b'{"', b"\0\0\0", b"\x0a"]),
)
def test_any_bytes_raise_nothing(data: bytes, head: bytes) -> None:
    for item in read(head + data):
        assert isinstance(item, Request | Damaged | OtherSignal)


@given(st.lists(st.binary(max_size=60), max_size=5), st.integers(1, 50))
def test_lines_do_not_depend_on_how_the_file_comes(texts: list[bytes], piece: int) -> None:
    data = b"{}\n" + b"\n".join(texts)
    assert read(data, piece=piece, max_message=40) == read(data, piece=len(data), max_message=40)


def test_a_broken_stream_is_reported_once_and_what_it_gave_before_counts() -> None:
    bodies_ = tuple(small_request(number, resources=50)[0] for number in range(2000))
    for compress in (gzip.compress, zstd.compress):
        whole = compress(prefixed(bodies_))
        broken = bytearray(whole)
        broken[len(whole) * 3 // 4] ^= 0xFF
        found, damaged = split(read(bytes(broken)))
        # What decodes to something else is noticed by its checksum at the end, or by what it is.
        assert [item.body for item in found[:1000]] == list(bodies_[:1000])
        assert damaged
        cut, damaged = split(read(whole[: len(whole) * 3 // 4]))
        assert len(cut) > 1000
        assert len(damaged) == 1
        assert damaged[0].reason.endswith(f" is cut at byte {len(whole) * 3 // 4} of the file")


def test_trailing_bytes_after_a_compressed_stream_are_reported() -> None:
    for name in ("json, gzip", "proto, zstd"):
        found, damaged = split(read(SMALL[name] + b"trailing"))
        assert len(found) == 3
        assert [" does not decode near byte 0 of the file: " in item.reason for item in damaged] == [True]


def test_a_file_is_watched_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(prefixed(PROTO) * 2000)
    size = path.stat().st_size
    seen: list[tuple[int, int | None]] = []
    count = sum(1 for _ in requests(path, observe=lambda done, total: seen.append((done, total))))
    assert count == 6000
    assert seen == [(min(done, size), size) for done in range(PIECE, size + PIECE, PIECE)]
    assert len(seen) > 1


def test_the_standard_input_is_read_as_it_comes() -> None:
    program = (
        "from otel_shell_detector.captures import requests\n"
        "for item in requests('-', observe=lambda done, total: print(done, total, flush=True)):\n"
        "    print(type(item).__name__, item.offset, flush=True)\n"
    )
    command = [sys.executable, "-c", program]
    root = CAPTURES.parents[1]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        data = prefixed([BARE] * 20)
        process.stdin.write(data)
        process.stdin.flush()
        # All of them come while the pipe is still open.
        seen = [process.stdout.readline() for _ in range(21)]
        assert seen == [
            f"{len(data)} None\n".encode(),
            *(f"Request {number * (len(BARE) + 4)}\n".encode() for number in range(20)),
        ]
        rest, _ = process.communicate(b"\0\0\0\1")
        assert rest == f"{len(data) + 4} None\nDamaged {len(data)}\n".encode()


def test_a_file_that_cannot_be_read_is_named_in_one_line(tmp_path: Path) -> None:
    def error(path: Path | str) -> str:
        with pytest.raises(CaptureError) as caught:
            list(requests(path))
        return str(caught.value)

    assert error(tmp_path / "none.pb") == f"{tmp_path}/none.pb: No such file or directory"
    assert error(str(tmp_path)) == f"{tmp_path}: Is a directory"


def test_a_file_whose_reading_fails_is_named_in_one_line() -> None:
    # Reading from the own memory at address 0 is an I/O error on Linux.
    path = Path("/proc/self/mem")
    if not path.exists():
        pytest.skip("only Linux has a file whose reading fails for everyone")
    with pytest.raises(CaptureError, match=r"^/proc/self/mem: Input/output error$"):
        list(requests(path))
