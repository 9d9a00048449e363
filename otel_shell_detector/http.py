"""``/metrics``, ``/livez``, ``/readyz`` and ``/coverage``.

Written for a hostile network: whoever got a shell on a node can reach this port, and a liveness probe that
finds no free connection has the service restarted. So a connection serves one request, has one deadline as a
whole (not one for each byte), and when there are too many the oldest makes room for the newest, which may be
the probe.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from otel_shell_detector.addresses import Endpoint
from otel_shell_detector.logs import described
from telemetry import events, metrics

Checks = Callable[[], Mapping[str, str]]
"""Gives what is wrong, by the name of the check; empty when all is well.

Called from several threads; must not block.
"""
Exposition = Callable[[str], tuple[str, bytes]]
"""Gives the content type and the bytes of the metrics for an ``Accept`` header (empty if there is none)."""

_Page = Callable[[str], tuple[HTTPStatus, str, bytes]]
_TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"
_ROOM_SECONDS: Final = 1.0
"""How long an evicted connection gets to make room: its thread only has to notice."""
_POLL_SECONDS: Final = 0.1


class HttpServer:
    """Answers from threads of its own between :meth:`start` and :meth:`stop`.

    Binds to the endpoint when it is made; raises :class:`OSError` when that is not possible.
    """

    def __init__(  # noqa: PLR0913  # what is served, and two bounds that nobody but a test changes
        self,
        endpoint: Endpoint,
        exposition: Exposition,
        *,
        live: Checks,
        ready: Checks,
        coverage: Callable[[], bytes],
        most_connections: int = 32,
        deadline_seconds: float = 10.0,
    ) -> None:
        pages: dict[str, _Page] = {
            "/metrics": lambda accept: _metrics(exposition(accept)),
            "/livez": lambda _: _health(live()),
            "/readyz": lambda _: _health(ready()),
            "/coverage": lambda _: (HTTPStatus.OK, _JSON, coverage()),
        }
        self._host = endpoint.host
        try:
            self._server = _Server(endpoint, pages, most_connections, deadline_seconds)
        except OSError as error:
            events.HTTP_NOT_BOUND(endpoint=str(endpoint), **described(error))
            raise
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="http", daemon=True
        )

    @property
    def port(self) -> int:
        """The bound port, for an endpoint with port 0."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        events.HTTP_STARTED(endpoint=str(Endpoint(self._host, self.port)))

    def stop(self) -> None:
        """Stop listening and cut what is still open. For once, whether started or not."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.cut_older_than(0.0)


def _metrics(exposed: tuple[str, bytes]) -> tuple[HTTPStatus, str, bytes]:
    return HTTPStatus.OK, *exposed


def _health(failing: Mapping[str, str]) -> tuple[HTTPStatus, str, bytes]:
    status = HTTPStatus.SERVICE_UNAVAILABLE if failing else HTTPStatus.OK
    told: dict[str, object] = {"status": "failing", "checks": dict(failing)} if failing else {"status": "ok"}
    return status, _JSON, json.dumps(told).encode() + b"\n"


class _Server(ThreadingHTTPServer):
    # Any in signatures: as the parent has it.
    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, endpoint: Endpoint, pages: Mapping[str, _Page], most_connections: int, deadline_seconds: float
    ) -> None:
        self.pages = pages
        self._deadline_seconds = deadline_seconds
        self._room = threading.Semaphore(most_connections)
        self._lock = threading.Lock()
        self._open: dict[socket.socket, float] = {}  # when each was accepted; the oldest first
        family, *_, address = socket.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        self.address_family = family
        super().__init__((str(address[0]), endpoint.port), _Exchange)

    def server_bind(self) -> None:
        """Bind, without the parent's look-up of the host's name: it can take as long as DNS does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Hand a connection to a thread of its own, for which an older one may have to go."""
        if not self._room.acquire(blocking=False):
            with self._lock:
                oldest = next(iter(self._open), None)
            if oldest is not None:
                self._cut(oldest, "crowded")
            if not self._room.acquire(timeout=_ROOM_SECONDS):
                metrics.HTTP_CONNECTIONS_CUT.labels("refused").inc()
                self.shutdown_request(request)
                return
        with self._lock:
            self._open[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread is to be had
            self._forget(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Serve a connection and make room for the next."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def service_actions(self) -> None:
        """Called between connections, and every tenth of a second: cut those that take too long."""
        self.cut_older_than(self._deadline_seconds)

    def cut_older_than(self, seconds: float) -> None:
        """End the connections that were accepted so long ago."""
        before = time.monotonic() - seconds
        with self._lock:
            late = [request for request, accepted in self._open.items() if accepted <= before]
        for request in late:
            self._cut(request, "slow")

    def _cut(self, request: socket.socket, reason: str) -> None:
        with self._lock:
            if self._open.pop(request, None) is None:
                return
        metrics.HTTP_CONNECTIONS_CUT.labels(reason).inc()
        with contextlib.suppress(OSError):  # it ended by itself in the meantime
            request.shutdown(socket.SHUT_RDWR)

    def _forget(self, request: socket.socket) -> None:
        with self._lock:
            self._open.pop(request, None)
        self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002
        """Log what went wrong, unless it was the other side that went away."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            events.HTTP_FAILED(**described(error))


class _Exchange(BaseHTTPRequestHandler):
    """One request and its answer. Nothing in an answer tells which program wrote it."""

    server: _Server
    timeout = 10.0  # for each read and write; the server's deadline is for all of them

    def do_GET(self) -> None:
        """Answer with the page that was asked for."""
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            answer = page(self.headers.get("Accept", ""))
        except Exception as error:  # noqa: BLE001  # whatever a page raises is told as this answer
            events.HTTP_FAILED(**described(error))
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        self._answer(*answer)

    do_HEAD = do_GET  # noqa: N815  # the parent's name for it

    def send_error(  # the parent's signature
        self,
        code: int,
        message: str | None = None,  # noqa: ARG002
        explain: str | None = None,  # noqa: ARG002
    ) -> None:
        """Answer with a status alone. The parent's page would quote the request."""
        # The parent calls a method that has no do_ of its own "not implemented".
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        self._answer(status, _TEXT, f"{status.phrase}\n".encode())

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        path = getattr(self, "path", "").partition("?")[0]
        metrics.HTTP_REQUESTS.labels(path if path in self.server.pages else "other", str(status.value)).inc()
        # The parent takes what it could not read for HTTP/0.9, whose answers have no status line.
        self.request_version = "HTTP/1.0"
        self.send_response_only(status)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the parent's signature
        """Nothing: requests are counted."""
