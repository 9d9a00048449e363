"""The control socket of a running service: ``control.sock`` in the state directory, mode 0600.

One process alone may open the store, so commands ask it. A connection carries one request, a JSON object on
a line, and one reply, the same; what may be asked is told in :mod:`otel_shell_detector.operations`. A reply
with ``error`` says that nothing was done and why.

To be built and started once the store is open, whose lock makes us the only one here; to be stopped before
the thread that owns the store::

    control = ControlServer(state_path, store_call)  # store_call: see operations.StoreCall
    control.start()  # never raises: without a socket the service still finds shells
    control.stop()

A requeued event is found by the delivery's next turn, which is at most a second away.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import socketserver
import struct
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from otel_shell_detector import unix_socket
from otel_shell_detector.core import CoreStoppedError
from otel_shell_detector.logs import described
from otel_shell_detector.operations import SOCKET, RefusedError, answer
from store.seams import StoreError
from telemetry import events, metrics

if TYPE_CHECKING:
    from pathlib import Path

    from otel_shell_detector.explain.inside import Inspect
    from otel_shell_detector.operations import Reply, StoreCall

MOST_REQUEST: Final = 64 << 10
"""Bytes; a thousand numbers of twenty digits fit."""
_POLL_S: Final = 0.1
_STOP_S: Final = 5.0
"""How long a stop waits for requests that run; the core answers in that time unless it is stuck."""
_CHANGES: Final = {
    "requeue": events.CONTROL_REQUEUED,
    "purge": events.CONTROL_PURGED,
    "purge_waiting": events.CONTROL_PURGED,
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What clients may take.

    ``deadline_s`` is for a whole request to come, and again for a whole reply to be read. Each of
    ``connections`` has a thread, which mostly waits.
    """

    deadline_s: float = 10.0
    connections: int = 64


BOUNDS: Final = Bounds()


class ControlServer:
    """Answers in threads of its own between :meth:`start` and :meth:`stop`.

    ``inspect`` is what explains; without it nothing is explained. ``allowed_uids`` are those that may ask:
    who runs the service, and root.
    """

    def __init__(
        self,
        folder: Path,
        store_call: StoreCall,
        *,
        inspect: Inspect | None = None,
        allowed_uids: frozenset[int] | None = None,
        bounds: Bounds = BOUNDS,
    ) -> None:
        self.path = folder / SOCKET
        allowed = frozenset({0, os.geteuid()}) if allowed_uids is None else allowed_uids
        self._server = _Server(store_call, inspect, allowed, bounds)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="control", daemon=True
        )

    def start(self) -> None:
        """Listen and begin to answer. If that is not possible it is logged, and there is no socket."""
        try:
            self._server.listen(self.path)
        except OSError as error:
            events.CONTROL_NOT_BOUND(path=str(self.path), reason=error.strerror or str(error))
            return
        self._thread.start()
        events.CONTROL_STARTED(path=str(self.path))

    def stop(self) -> None:
        """Listen no more, cut who has not asked yet, wait for what runs. For once, whether started or not."""
        if not self._thread.is_alive():
            self._server.server_close()
            return
        self._server.shutdown()
        self._thread.join()
        with contextlib.suppress(OSError):
            self.path.unlink()
        self._server.server_close()
        self._server.cut(_STOP_S)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    # Any in signatures: as the parent has it.
    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        store_call: StoreCall,
        inspect: Inspect | None,
        allowed: frozenset[int],
        bounds: Bounds,
    ) -> None:
        self.store_call = store_call
        self.inspect = inspect
        self.deadline_s = bounds.deadline_s
        self._allowed = allowed
        self._most = bounds.connections
        self._room = threading.Semaphore(bounds.connections)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__(SOCKET, _Exchange, bind_and_activate=False)

    def listen(self, path: Path) -> None:
        """Listen at a path. Raises :class:`OSError`."""
        self.socket.close()  # the parent's, which knows no mode and no long paths
        self.socket = unix_socket.listen(path, self.request_queue_size)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ANN401, ARG002
        """Whether the peer may ask at all."""
        uid = peer_uid(request)
        if uid is None or uid in self._allowed:
            return True
        events.CONTROL_STRANGER(uid=uid)
        metrics.CONTROL_REQUESTS.labels(result="stranger").inc()
        return False

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Hand a connection to a thread of its own."""
        if not self._room.acquire(blocking=False):
            metrics.CONTROL_REQUESTS.labels(result="crowded").inc()
            self.shutdown_request(request)
            return
        with self._lock:
            self._open.add(request)
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

    def _forget(self, request: socket.socket) -> None:
        with self._lock:
            self._open.discard(request)
        self._room.release()

    def cut(self, within_s: float) -> None:
        """Let no connection send any more; return when all are served, or after that time."""
        with self._lock:
            for request in self._open:
                with contextlib.suppress(OSError):  # it ended by itself in the meantime
                    request.shutdown(socket.SHUT_RD)
        ends = time.monotonic() + within_s
        for _ in range(self._most):
            self._room.acquire(timeout=max(ends - time.monotonic(), 0.0))

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002
        """Log what went wrong, unless it was the other side that went away."""
        error = sys.exception()
        if error is None or isinstance(error, OSError):
            metrics.CONTROL_REQUESTS.labels(result="gone").inc()
        else:
            metrics.CONTROL_REQUESTS.labels(result="failed").inc()
            events.CONTROL_FAILED(**described(error))


def peer_uid(connection: socket.socket) -> int | None:
    """The user who connected, by the kernel; ``None`` where it does not tell (the mode keeps others out)."""
    if sys.platform != "linux":
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    uid: int = struct.unpack("iII", credentials)[1]
    return uid


class _Exchange(socketserver.BaseRequestHandler):
    """One request and its reply."""

    request: socket.socket
    server: _Server

    def handle(self) -> None:
        """Read, do, reply. An :class:`OSError` is of a peer that went away or is too slow."""
        reply, result = self._reply()
        self.request.settimeout(self.server.deadline_s)
        self.request.sendall(json.dumps(reply).encode() + b"\n")
        metrics.CONTROL_REQUESTS.labels(result=result).inc()

    def _reply(self) -> tuple[Reply, str]:
        try:
            request = _parsed(_read_line(self.request, self.server.deadline_s))
            reply = answer(request, self.server.store_call, self.server.inspect)
        except RefusedError as error:
            return {"error": str(error)}, "refused"
        except (StoreError, CoreStoppedError) as error:
            events.CONTROL_FAILED(error=str(error))
            return {"error": str(error)}, "failed"
        self._record(str(request["ask"]), request, reply)
        return reply, "done"

    def _record(self, ask: str, request: dict[str, object], reply: Reply) -> None:
        """What changed something leaves a trace: who, what, how many."""
        told = _CHANGES.get(ask)
        if told is None or (ask != "requeue" and not request.get("sure")):
            return
        told(uid=peer_uid(self.request), ask=ask, count=reply["count"], **_selected(request))
        metrics.CONTROL_CHANGES.labels(ask=ask).inc(float(str(reply["count"])))


def _selected(request: dict[str, object]) -> dict[str, object]:
    if "lane" in request:
        return {"lane": request["lane"]}
    numbers = request["numbers"]
    return {"numbers": "all" if numbers is None else numbers}


def _read_line(connection: socket.socket, deadline_s: float) -> bytes:
    ends = time.monotonic() + deadline_s
    received = bytearray()
    while b"\n" not in received:
        if len(received) > MOST_REQUEST:
            raise RefusedError(f"a request of more than {MOST_REQUEST} bytes")
        left_s = ends - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("no whole request in time")
        connection.settimeout(left_s)
        part = connection.recv(MOST_REQUEST)
        if not part:
            raise ConnectionError("it ended before the end of a request")
        received += part
    return bytes(received.partition(b"\n")[0])


def _parsed(line: bytes) -> dict[str, object]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise RefusedError("want a JSON object on one line")
    return request
