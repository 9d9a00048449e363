"""HTTP for a client that trusts nobody's manners: a total deadline, bounded replies, no redirects or retries.

The only module that knows urllib3. Its timeouts are per operation: a peer that sends one byte a second, in
headers or body, is never late for it. So the sockets here ask one :class:`Deadline` before every operation;
nothing that comes over a connection outlasts it, the proxy's part and TLS included. The one exception is name
resolution, which the C library does not let us interrupt: it has its own limits (resolv.conf).

Foreign exceptions end here: what comes out is a :class:`Reply` or :class:`Unreachable`.
"""

import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    HTTPError,
    InsecureRequestWarning,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
)
from urllib3.util.ssl_ import create_urllib3_context

from exporter.deadline_sockets import Deadline, connect, ssl_socket_class
from exporter.settings import TlsSettings
from telemetry import events

REPLY_LIMIT_BYTES: Final = 65536
"""Of a reply's body. A batch's reply has a hundred bytes, an acknowledgement of eight batches fewer."""
_CHUNK_BYTES: Final = 16384

# It warns of headers that it cannot read, and quotes them; but the peer may have sent us our token back.
logging.getLogger("urllib3.connection").disabled = True


class Unreachable(Exception):  # noqa: N818  # it is what the receiver is
    """No complete answer came. ``label`` says what failed: one of the keys of ``hec_answers.UNREACHABLE``."""

    def __init__(self, label: str, detail: str) -> None:
        super().__init__(detail)
        self.label = label


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. ``body`` is ``None`` if it was longer than ``REPLY_LIMIT_BYTES``: it was not read on."""

    status: int
    retry_after: str | None
    body: bytes | None


class HttpClient:
    """Posts to one server over connections that are kept alive. For one thread.

    The CA file is looked at before every request; when it has changed, connections are made anew. While a
    changed file cannot be loaded, the authorities that were loaded last stay in force. Raises
    :class:`ValueError` if it cannot be loaded at first.
    """

    def __init__(
        self, *, proxy_url: str, tls: TlsSettings, timeout_s: float, clock: Callable[[], float]
    ) -> None:
        self._timeout_s = timeout_s
        self._deadline = Deadline(clock)
        self._proxy_url = proxy_url
        self._tls = tls
        self._ca_seen = _seen(tls)
        self._pools = self._manager()

    def _manager(self) -> urllib3.PoolManager:
        options: dict[str, Any] = {
            "num_pools": 2,
            "maxsize": 1,
            "timeout": self._timeout_s,
            "ssl_context": _tls_context(self._tls, self._deadline),
        }
        manager = (
            urllib3.ProxyManager(
                self._proxy_url, proxy_ssl_context=_tls_context(self._tls, self._deadline), **options
            )
            if self._proxy_url
            else urllib3.PoolManager(**options)
        )
        manager.pool_classes_by_scheme = _pools(self._deadline)
        return manager

    def _refresh(self) -> None:
        seen = _seen(self._tls)
        if seen == self._ca_seen:
            return
        self._ca_seen = seen
        try:
            fresh = self._manager()
        except ValueError as error:
            events.EXPORTER_CA_KEPT(detail=str(error))
            return
        self._pools.clear()
        self._pools = fresh
        events.EXPORTER_CA_LOADED(path=self._tls.ca_file)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send, and read the whole answer. Blocks until the deadline at most. Raises :class:`Unreachable`.

        Repeating it may deliver the body twice: a reply that was lost says nothing about the request.
        """
        self._refresh()
        self._deadline.start(self._timeout_s)
        try:
            response = self._pools.urlopen(
                "POST",
                url,
                body=body,
                headers=dict(headers),
                redirect=False,
                retries=False,
                preload_content=False,
            )
            try:
                content = _read(response)
            except BaseException:
                response.close()
                raise
            if content is None:
                response.close()
            response.release_conn()
        except (HTTPError, OSError) as error:
            label = "timeout" if self._deadline.expired else _label(error)
            raise Unreachable(label, f"{type(error).__name__}: {error}") from None
        return Reply(response.status, response.headers.get("Retry-After"), content)

    def close(self) -> None:
        """Close the connections. Safe to repeat."""
        self._pools.clear()


def _read(response: urllib3.BaseHTTPResponse) -> bytes | None:
    """The body; ``None`` if it is too long. Content encodings stay as they are: we asked for none.

    Raises :class:`urllib3.exceptions.IncompleteRead` if it ends before its Content-Length.
    """
    content = bytearray()
    while chunk := response.read1(_CHUNK_BYTES, decode_content=False):
        content += chunk
        if len(content) > REPLY_LIMIT_BYTES:
            return None
    return bytes(content)


_LABELS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (ProxyError, "proxy_failed"),
    (NameResolutionError, "name_unresolved"),
    (NewConnectionError, "connection_refused"),
    (SSLError, "tls_failed"),
    (urllib3.exceptions.TimeoutError, "timeout"),
    (TimeoutError, "timeout"),
)


def _label(error: Exception) -> str:
    return next((label for kind, label in _LABELS if isinstance(error, kind)), "connection_lost")


def _seen(tls: TlsSettings) -> tuple[int, int, int, int] | None:
    """What tells one state of the CA file from another; ``None`` if there is none."""
    if not tls.ca_file or tls.insecure_skip_verify:
        return None
    try:
        state = Path(tls.ca_file).stat()
    except OSError:
        return None
    return (state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size)


def _tls_context(tls: TlsSettings, deadline: Deadline) -> ssl.SSLContext:
    """Verified against the CA file, else against the system's authorities; TLS 1.2 at least."""
    context = create_urllib3_context(ssl_minimum_version=ssl.TLSVersion.TLSv1_2)
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        # The sink says it once, in the log; urllib3 would say it on standard error with every connection.
        urllib3.disable_warnings(InsecureRequestWarning)
    else:
        context.check_hostname = True
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            if tls.ca_file:
                context.load_verify_locations(cafile=tls.ca_file)
            else:
                context.load_default_certs()
        except OSError as error:  # ssl.SSLError is one
            found = f"{tls.ca_file!r}: {error.strerror or error}"
            raise ValueError(f"exporter.hec.tls.ca_file: {found}; want certificates in PEM") from None
    context.sslsocket_class = ssl_socket_class(deadline)
    return context


def _pools(deadline: Deadline) -> dict[str, type[HTTPConnectionPool]]:
    """The pool classes of urllib3 with our sockets."""

    def new_socket(connection: HTTPConnection) -> socket.socket:
        try:
            return connect(connection.host, connection.port, connection.socket_options or (), deadline)
        except socket.gaierror as error:
            raise NameResolutionError(connection.host, connection, error) from error
        except OSError as error:
            raise NewConnectionError(connection, f"no connection: {error}") from error

    class PlainConnection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return new_socket(self)

    class TlsConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return new_socket(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": PlainPool, "https": TlsPool}
