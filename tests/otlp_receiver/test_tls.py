"""TLS and client certificates: who gets in, who does not, and rotation without a restart."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from structlog.testing import capture_logs

from otlp_receiver.certificates import Certificates, CertificatesUnusable
from otlp_receiver.server import CannotListen, Server, TlsSettings
from tests.otlp_receiver.captures import BY_NAME
from tests.otlp_receiver.encode import frame, process, request
from tests.otlp_receiver.serving import EXPORT, SETTINGS, Sink, answered, moved, serving

if TYPE_CHECKING:
    from collections.abc import Sequence

Code = grpc.StatusCode
TESTDATA = Path(__file__).parent / "testdata"
ONE_SHELL = request(frame(process()))
WANTED = "want a certificate and its key, PEM, not encrypted"


def code_of(port: int, client: str = "", ca: str = "ca") -> grpc.StatusCode:
    """What a sender on a connection of its own is answered."""

    def read(name: str) -> bytes:
        return (TESTDATA / name).read_bytes()

    credentials = grpc.ssl_channel_credentials(
        read(f"{ca}.pem"),
        read(f"{client}.key") if client else None,
        read(f"{client}.pem") if client else None,
    )
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(f"localhost:{port}", credentials, options) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        try:
            call(ONE_SHELL, timeout=60)
        except grpc.RpcError as error:
            return answered(error).code
    return Code.OK


def mounted(folder: Path, *names: str) -> TlsSettings:
    """Files of ``testdata`` as the receiver finds them; two are certificate and key, a third is the CA."""
    targets = ("tls.crt", "tls.key", "ca.crt")
    for name, target in zip(names, targets, strict=False):
        shutil.copyfile(TESTDATA / name, folder / f"{target}.new")
        (folder / f"{target}.new").replace(folder / target)
    ca = folder / targets[2] if len(names) == 3 else None
    return TlsSettings(folder / targets[0], folder / targets[1], ca)


def test_tls_serves_senders_that_trust_the_certificate_and_no_plaintext() -> None:
    with serving(tls=TlsSettings(TESTDATA / "server.pem", TESTDATA / "server.key")) as running:
        assert code_of(running.server.port) is Code.OK
        assert code_of(running.server.port, ca="next-ca") is Code.UNAVAILABLE
        assert running.export(ONE_SHELL).code is Code.UNAVAILABLE  # in clear
    assert len(running.sink.taken) == 1


def test_with_a_client_ca_only_its_clients_are_served_while_their_certificate_is_valid() -> None:
    tls = TlsSettings(TESTDATA / "server.pem", TESTDATA / "server.key", TESTDATA / "ca.pem")
    with moved() as changes, serving(tls=tls) as running:
        assert code_of(running.server.port, "client") is Code.OK
        for client in ("", "stranger", "expired", "next-client"):
            assert code_of(running.server.port, client) is Code.UNAVAILABLE, client
    assert len(running.sink.taken) == 1
    assert changes["tls_handshakes_total"] >= 5
    assert changes["requests_total OK"] == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_tls_older_than_1_2_is_refused(version: ssl.TLSVersion) -> None:
    def shake_hands(port: int, newest: ssl.TLSVersion) -> str | None:
        context = ssl.create_default_context(cafile=TESTDATA / "ca.pem")
        context.set_alpn_protocols(["h2"])
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # else OpenSSL itself refuses to try
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = newest
        with (
            socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            return secure.version()

    with serving(tls=TlsSettings(TESTDATA / "server.pem", TESTDATA / "server.key")) as running:
        assert shake_hands(running.server.port, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            shake_hands(running.server.port, version)


# --- rotation


def test_a_new_certificate_serves_the_next_connection_and_the_old_connections_live_on(tmp_path: Path) -> None:
    tls = mounted(tmp_path, "server.pem", "server.key", "ca.pem")
    read = (TESTDATA / "ca.pem").read_bytes(), (TESTDATA / "client.key").read_bytes()
    credentials = grpc.ssl_channel_credentials(*read, (TESTDATA / "client.pem").read_bytes())
    with (
        capture_logs() as logs,
        serving(tls=tls) as running,
        grpc.secure_channel(f"localhost:{running.server.port}", credentials) as old,
    ):
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = old.unary_unary(EXPORT)
        assert call(ONE_SHELL, timeout=60) == b""
        mounted(tmp_path, "next-server.pem", "next-server.key", "next-ca.pem")
        assert code_of(running.server.port, "next-client", ca="next-ca") is Code.OK
        assert code_of(running.server.port, "client", ca="next-ca") is Code.UNAVAILABLE
        assert code_of(running.server.port, "next-client") is Code.UNAVAILABLE
        assert call(ONE_SHELL, timeout=60) == b""
    read_again = {"event": "receiver.certificates_read", "log_level": "info", "path": str(tls.cert_file)}
    assert [log for log in logs if "certificates" in log["event"]] == [read_again]


def test_files_that_do_not_fit_yet_leave_those_of_before_in_force(tmp_path: Path) -> None:
    tls = mounted(tmp_path, "server.pem", "server.key")
    with moved() as changes, capture_logs() as logs, serving(tls=tls) as running:
        mounted(tmp_path, "next-server.pem")
        with moved() as half:
            assert code_of(running.server.port) is Code.OK
            assert code_of(running.server.port) is Code.OK
        assert half["tls_files_refused"] == 1
        shutil.copyfile(TESTDATA / "next-server.key", tls.key_file)
        assert code_of(running.server.port, ca="next-ca") is Code.OK
    kept = {
        "event": "receiver.certificates_kept",
        "log_level": "warning",
        "reason": f"{tls.cert_file} and {tls.key_file}: {WANTED}",
    }
    read_again = {"event": "receiver.certificates_read", "log_level": "info", "path": str(tls.cert_file)}
    assert [log for log in logs if "certificates" in log["event"]] == [kept, read_again]
    assert "tls_files_refused" not in changes


def refusals(certificates: Certificates) -> list[str]:
    with capture_logs() as logs:
        assert certificates.fetch() is None
    return [log["reason"] for log in logs]


def test_files_that_are_gone_or_hold_something_else_leave_those_of_before(tmp_path: Path) -> None:
    tls = mounted(tmp_path, "server.pem", "server.key", "ca.pem")
    assert tls.client_ca_file is not None
    certificates = Certificates(tls)
    assert certificates.fetch() is None
    tls.client_ca_file.write_text("no certificate")
    assert refusals(certificates) == [f"{tls.client_ca_file}: want certificates of CAs, PEM"]
    tls.client_ca_file.write_text("\N{SNOWMAN}")
    assert refusals(certificates) == []  # the same trouble is told once
    tls.client_ca_file.unlink()
    assert refusals(certificates) == [f"{tls.client_ca_file}: {os.strerror(2)}: want a PEM file"]
    assert refusals(certificates) == []
    shutil.copyfile(TESTDATA / "next-ca.pem", tls.client_ca_file)
    assert certificates.fetch() is not None


def test_files_that_change_while_they_are_tried_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = mounted(tmp_path, "server.pem", "server.key")
    certificates = Certificates(tls)
    mounted(tmp_path, "next-server.pem", "next-server.key")
    read_bytes = Path.read_bytes
    swaps: list[Sequence[str]] = [("server.pem", "server.key")]

    def read_and_swap(path: Path) -> bytes:
        content = read_bytes(path)
        if path == tls.key_file and swaps:
            mounted(tmp_path, *swaps.pop())
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_swap)
    assert certificates.fetch() is None
    assert certificates.fetch() is not None


def test_a_file_that_goes_while_it_is_read_leaves_those_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = mounted(tmp_path, "server.pem", "server.key")
    certificates = Certificates(tls)
    mounted(tmp_path, "next-server.pem", "next-server.key")

    def gone(path: Path) -> bytes:
        raise FileNotFoundError(2, os.strerror(2), str(path))

    monkeypatch.setattr(Path, "read_bytes", gone)
    assert refusals(certificates) == [f"{tls.cert_file}: {os.strerror(2)}: want a PEM file"]


# --- at the start


def test_a_certificate_that_is_none_is_named() -> None:
    readme = TESTDATA / "README.md"
    server = Server(replace(SETTINGS, tls=TlsSettings(readme, readme)), BY_NAME, Sink())
    with pytest.raises(CannotListen) as error:
        server.start()
    assert str(error.value) == f"127.0.0.1:0: cannot be served with TLS: {readme} and {readme}: {WANTED}"
    server.stop(0)


def test_a_key_that_cannot_be_read_and_an_encrypted_one_are_named(tmp_path: Path) -> None:
    tls = mounted(tmp_path, "server.pem", "server.key")
    shutil.copyfile(TESTDATA / "encrypted.key", tls.key_file)
    with pytest.raises(CertificatesUnusable, match="not encrypted"):
        Certificates(tls)
    tls.key_file.unlink()
    with pytest.raises(CertificatesUnusable) as error:
        Certificates(tls)
    assert str(error.value) == f"{tls.key_file}: {os.strerror(2)}: want a PEM file"
