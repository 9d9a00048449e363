"""The receiver's certificate, key and client CA, from files that are looked at again at each handshake.

So a rotation takes effect with the next connection, without a restart; a connection that is there lives on
with what it was made with, until it has its greatest age (``server.ServerSettings.max_connection_age``).

Kubernetes replaces all files of a mounted secret at one instant, by a symbolic link. Others write one file
after the other, and in between the certificate does not fit the key. So the files are tried before gRPC gets
them: as long as they do not go together, those of before stay in force, which is told by a log line and by
``receiver_tls_files_refused``. What was tried is what is handed on, for the files' ``stat`` is compared
before and after: if one changed meanwhile, the next handshake looks again.
"""

from __future__ import annotations

import ssl
import threading
from typing import TYPE_CHECKING

import grpc

from telemetry import events, metrics

if TYPE_CHECKING:
    from pathlib import Path

    from otlp_receiver.server import TlsSettings


class CertificatesUnusable(Exception):  # noqa: N818  # says what is so
    """The files cannot be read or do not go together; the message says why, without their content."""


class Certificates:
    """The files of ``receiver.tls``. Safe to use from any thread.

    Made with files that cannot be used, raises :class:`CertificatesUnusable`.
    """

    def __init__(self, tls: TlsSettings) -> None:
        self._tls = tls
        self._lock = threading.Lock()
        self._refused = ""
        self._seen = _identities(tls)
        self._in_force = _load(tls)
        metrics.RECEIVER_TLS_FILES_REFUSED.set(0)

    def credentials(self) -> grpc.ServerCredentials:
        """What a gRPC port is to be opened with. TLS 1.2 and later alone, as gRPC has it."""
        return grpc.dynamic_ssl_server_credentials(
            self._in_force,
            self.fetch,  # type: ignore[arg-type]  # the stubs forget that None is for "no change"
            require_client_authentication=self._tls.client_ca_file is not None,
        )

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """What is new since the last call, ``None`` if nothing is. gRPC calls it before each handshake."""
        metrics.RECEIVER_TLS_HANDSHAKES.inc()
        with self._lock:
            try:
                return self._fetch()
            except CertificatesUnusable as error:
                self._keep(str(error))
                return None

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        seen = _identities(self._tls)
        if seen == self._seen:
            return None
        loaded = _load(self._tls)
        if _identities(self._tls) != seen:
            return None  # caught in the middle of a change
        self._seen = seen
        self._refused = ""
        metrics.RECEIVER_TLS_FILES_REFUSED.set(0)
        events.RECEIVER_CERTIFICATES_READ(path=str(self._tls.cert_file))
        return loaded

    def _keep(self, reason: str) -> None:
        if reason != self._refused:  # once, not at each handshake until it is mended
            self._refused = reason
            metrics.RECEIVER_TLS_FILES_REFUSED.set(1)
            events.RECEIVER_CERTIFICATES_KEPT(reason=reason)


def _files(tls: TlsSettings) -> tuple[Path, ...]:
    files = (tls.cert_file, tls.key_file)
    return (*files, tls.client_ca_file) if tls.client_ca_file else files


def _identities(tls: TlsSettings) -> tuple[tuple[int, ...], ...]:
    """What changes when a file does. Raises :class:`CertificatesUnusable`."""
    try:
        found = [path.stat() for path in _files(tls)]
    except OSError as error:
        raise CertificatesUnusable(f"{error.filename}: {error.strerror}: want a PEM file") from None
    return tuple((each.st_dev, each.st_ino, each.st_mtime_ns, each.st_size) for each in found)


def _load(tls: TlsSettings) -> grpc.ServerCertificateConfiguration:
    """The files, tried. Raises :class:`CertificatesUnusable`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        certificate, key, *client_ca = (path.read_bytes() for path in _files(tls))
    except OSError as error:
        raise CertificatesUnusable(f"{error.filename}: {error.strerror}: want a PEM file") from None
    try:
        # An encrypted key would else be asked for on the terminal.
        context.load_cert_chain(tls.cert_file, tls.key_file, password=_no_password)
    except (ssl.SSLError, OSError, ValueError):
        raise CertificatesUnusable(
            f"{tls.cert_file} and {tls.key_file}: want a certificate and its key, PEM, not encrypted"
        ) from None
    for each in client_ca:
        try:
            context.load_verify_locations(cadata=each.decode("ascii", "ignore"))
        except (ssl.SSLError, ValueError):
            raise CertificatesUnusable(f"{tls.client_ca_file}: want certificates of CAs, PEM") from None
    return grpc.ssl_server_certificate_configuration([(key, certificate)], *client_ca)


def _no_password() -> str:
    return ""
