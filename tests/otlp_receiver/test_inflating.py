"""Compressed messages: what is inflated, what is taken as it is, and what is refused."""

from __future__ import annotations

import gzip
import sys
import zlib
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from structlog.testing import capture_logs

from otlp_receiver import answers, inflating
from otlp_receiver.inflating import inflate
from tests.otlp_receiver.encode import frame, process, request
from tests.otlp_receiver.serving import Answered, moved, serving

if TYPE_CHECKING:
    from collections.abc import Callable

ONE_SHELL = request(frame(process()))
LIMIT = 1000
TEXT = b"a ResourceMetrics, " * 50
GZIP = gzip.compress(TEXT)
ZLIB = zlib.compress(TEXT)
COMPRESSIONS: list[Callable[[bytes], bytes]] = [gzip.compress, zlib.compress]


@pytest.fixture(params=["isal", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library that inflates: the fast one, and the one that is always there."""
    if request.param == "zlib":
        monkeypatch.setattr(inflating, "_library", zlib)
    return inflating._library


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_up_to_the_limit_is_inflated_and_not_a_byte_more(compress: Callable[[bytes], bytes]) -> None:
    for size in (0, 1, LIMIT - 1, LIMIT):
        assert inflate(compress(bytes(size)), LIMIT) == bytes(size)
    for size in (LIMIT + 1, LIMIT + 2, 1 << 24):
        assert inflate(compress(bytes(size)), LIMIT) is answers.TOO_LARGE


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    "broken",
    [
        GZIP[:2],
        GZIP[:-1],
        GZIP[: len(GZIP) // 2],
        GZIP + b"x",
        GZIP + GZIP,
        GZIP[:-8] + bytes(4) + GZIP[-4:],
        GZIP[:-4] + bytes(4),
        GZIP[:12] + b"\xff\xff\xff" + GZIP[15:],
    ],
    ids=["begun", "cut", "halved", "followed", "two", "checksum", "size", "data"],
)
def test_what_is_no_gzip_stream_alone_cannot_be_inflated(broken: bytes) -> None:
    assert inflate(broken, LIMIT) is answers.NOT_INFLATED


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"\x0a",
        b"\x1f",
        b"\x78",
        ONE_SHELL[:LIMIT],
        ZLIB[:-1],
        ZLIB + b"x",
        ZLIB[:-4] + bytes(4),
        b"\x78\x01" + ONE_SHELL[: LIMIT // 2],  # field 15, which OTLP does not have
        b"\x08\x1d\x0a\x00",
    ],
)
def test_what_only_begins_like_zlib_is_taken_as_it_is(plain: bytes) -> None:
    assert inflate(plain, LIMIT) is plain


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_server_takes_both_compressions_of_grpc_and_holds_its_limit(compression: grpc.Compression) -> None:
    limit = len(ONE_SHELL) + 100
    with moved() as changes, serving(max_request_size=limit) as running:
        assert running.export(ONE_SHELL, compression=compression) == Answered(grpc.StatusCode.OK)
        larger = running.export(bytes(limit + 1), compression=compression)
        assert larger == Answered(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "the message is larger than the receiver takes"
        )
        broken = running.export(gzip.compress(ONE_SHELL)[:-1])
        assert broken == Answered(grpc.StatusCode.INTERNAL, "the message cannot be inflated")
    [[record]] = running.sink.taken
    assert len(record.samples) == 1
    assert changes["refused_total not_inflated"] == 1
    assert changes["refused_total too_large"] == 1
    assert changes["requests_total RESOURCE_EXHAUSTED"] == 1


def test_without_isal_inflating_is_slower_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert inflating._library.__name__ == "isal.isal_zlib"
    monkeypatch.setitem(sys.modules, "isal", None)
    with capture_logs() as logs:
        library = inflating._choose_library()
    assert library is zlib
    assert logs == [{"event": "receiver.slow_inflate", "log_level": "warning"}]
