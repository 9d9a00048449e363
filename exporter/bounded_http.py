"""HTTP for a client that trusts nobody's manners: a total deadline, bounded replies, no redirects or retries.

The only module that knows urllib3. Its timeouts are per operation: a peer that sends one byte a second, in
headers or body, is never late for it. So the sockets here ask one :class:`Deadline` before every operation;
nothing that comes over a connection outlasts it, the proxy's part and TLS included. The one exception is name
resolution, which the C library does not let us interrupt: it has its own limits (resolv.conf).

Foreign exceptions end here: what comes out is a :class:`Reply` or :class:`Unreachable`.
"""

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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

REPLY_LIMIT_BYTES: Final = 65536
"""Of a reply's body. A batch's reply has a hundred bytes, an acknowledgement of eight batches fewer."""
_CHUNK_BYTES: Final = 16384


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

    Raises :class:`ValueError` if the CA file cannot be loaded.
    """

    def __init__(
        self, *, proxy_url: str, tls: TlsSettings, timeout_s: float, clock: Callable[[], float]
    ) -> None:
        self._timeout_s = timeout_s
        self._deadline = Deadline(clock)
        options: dict[str, Any] = {
            "num_pools": 2,
            "maxsize": 1,
            "timeout": timeout_s,
            "ssl_context": _tls_context(tls, self._deadline),
        }
        if proxy_url:
            self._pools: urllib3.PoolManager = urllib3.ProxyManager(
                proxy_url, proxy_ssl_context=_tls_context(tls, self._deadline), **options
            )
        else:
            self._pools = urllib3.PoolManager(**options)
        self._pools.pool_classes_by_scheme = _pools(self._deadline)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send, and read the whole answer. Blocks until the deadline at most. Raises :class:`Unreachable`.

        Repeating it may deliver the body twice: a reply that was lost says nothing about the request.
        """
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
