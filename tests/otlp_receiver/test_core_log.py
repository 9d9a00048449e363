"""What gRPC's C core says of handshakes, picked out of standard error."""

from __future__ import annotations

import faulthandler
import os
import sys
from typing import TYPE_CHECKING

import pytest

from otlp_receiver.core_log import VERBOSITY, diverted, handshake_reason
from tests.otlp_receiver.serving import moved

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# As grpcio 1.85 writes them.
_HEAD = (
    "I1124 09:09:29.612453   15986 ssl_transport_security.cc:2563] "
    "Handshake failed with error SSL_ERROR_SSL: "
)
_LINES = {
    "error:100000c0:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE": "no_certificate",
    "error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: certificate has expired": (
        "certificate_expired"
    ),
    "error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: certificate is not yet valid": (
        "certificate_not_yet_valid"
    ),
    "error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: self signed certificate": (
        "certificate_untrusted"
    ),
    "error:100000f0:SSL routines:OPENSSL_internal:UNSUPPORTED_PROTOCOL": "tls_too_old",
    "error:1000009c:SSL routines:OPENSSL_internal:HTTP_REQUEST": "not_tls",
    "error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER": "not_tls",
    "error:10000418:SSL routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA": "refused_by_client",
    "error:10000064:SSL routines:OPENSSL_internal:BAD_DECRYPT": "other",
}


@pytest.fixture(autouse=True)
def _faults_are_told_as_before() -> Iterator[None]:
    was = faulthandler.is_enabled()
    yield
    if was:
        faulthandler.enable(sys.__stderr__ or 2)


@pytest.mark.parametrize(("text", "reason"), _LINES.items())
def test_a_failed_handshake_has_a_reason(text: str, reason: str) -> None:
    assert handshake_reason(f"{_HEAD}{text}: Invalid certificate verification context\n".encode()) == reason


@pytest.mark.parametrize(
    "line",
    [
        "I1124 09:09:29.612453   15986 server.cc:1] Something else: certificate has expired\n",
        '{"event": "x", "text": "Handshake failed with error certificate has expired"}\n',
        "Handshake failed with error certificate has expired\n",
        "",
    ],
)
def test_other_lines_tell_of_no_handshake(line: str) -> None:
    assert handshake_reason(line.encode()) == ""


@pytest.mark.parametrize(("verbosity", "hidden"), [(None, True), ("NONE", True), ("DEBUG", False)])
def test_the_lines_of_the_core_are_counted_and_all_else_is_passed_on(
    verbosity: str | None, hidden: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VERBOSITY, raising=False)
    if verbosity:
        monkeypatch.setenv(VERBOSITY, verbosity)
    core = f"{_HEAD}error:1:CERTIFICATE_VERIFY_FAILED: certificate has expired\n".encode()
    fatal = b"F1124 09:09:29.612453   15986 server.cc:1] Check failed\n"
    other = [b'{"event": "one"}\n', b"\xff\x00\n", b"x" * 100_000 + b"\n", fatal, b"no end of line"]
    with (tmp_path / "stderr").open("wb") as file:
        with moved() as changes, diverted(file.fileno()):
            assert os.environ[VERBOSITY] == ("INFO" if hidden else verbosity)
            for line in (core, other[0], core, *other[1:]):
                os.write(file.fileno(), line)
        assert os.environ.get(VERBOSITY) == verbosity
        os.write(file.fileno(), b" and after")
    passed = b"".join([] if hidden else [core]) + other[0] + (b"" if hidden else core) + b"".join(other[1:])
    assert (tmp_path / "stderr").read_bytes() == passed + b" and after"
    assert changes == {"tls_refused_total certificate_expired": 2}


def test_a_reader_that_is_gone_stops_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with diverted(writing):
        os.write(writing, b"one\n")
        os.write(writing, b"two\n" * 100_000)
    os.close(writing)
