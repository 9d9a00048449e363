"""How ``outbox`` reaches the store: through the service that runs or, if none does, by itself."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final, Self

from otel_shell_detector import operations, unix_socket
from otel_shell_detector.operations import RefusedError
from store.seams import CannotOpenStore, StoreError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from otel_shell_detector.configuration import StateSettings
    from store.seams import Store

ANSWER_S: Final = 45.0
"""The service may wait 30 s for its core, and 10 s for the request."""
_MOST_REPLY: Final = 16 << 20
"""Bytes; a page of bodies has at most 0.4 MiB, and six bytes for one where all of them are escaped."""


class CannotAskError(Exception):
    """Nothing can be asked, or what was asked was not done; the message says why."""


class OutboxAccess:
    """Asks what :mod:`otel_shell_detector.operations` knows; holds the store if no service runs."""

    def __init__(self, state: StateSettings, answer_s: float = ANSWER_S) -> None:
        self._state = state
        self._answer_s = answer_s
        self._store: Store | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.close()

    def ask(self, **request: object) -> Mapping[str, Any]:
        """Ask one thing. Raises :class:`CannotAskError`."""
        if self._store is None:
            reply = ask_service(self._state.path / operations.SOCKET, request, self._answer_s)
            if reply is not None:
                return reply
            self._store = open_store(self._state)
        store = self._store
        try:
            return operations.answer(request, lambda work: work(store))
        except (RefusedError, StoreError) as error:
            raise CannotAskError(str(error)) from None

    def pages(self, **request: object) -> Iterator[Mapping[str, Any]]:
        """The items of all pages of a list. Raises :class:`CannotAskError`."""
        while True:
            page = self.ask(**request)
            yield from page["items"]
            if page["after"] is None:
                return
            request["after"] = page["after"]


def open_store(state: StateSettings) -> Store:
    """The store, which no service holds; one that is not there is not made."""
    if state.ephemeral:
        raise CannotAskError(
            "state.ephemeral: true: the state is in the memory of the service, out of reach of commands"
        )
    from store.opening import NAME  # noqa: PLC0415  # SQLite is for a service that is down
    from store.sqlite import SqliteStore  # noqa: PLC0415  # as above

    database = state.path / NAME
    try:
        owner = database.stat().st_uid
    except FileNotFoundError:
        raise CannotAskError(f"no service runs, and there is no state at {database}") from None
    except OSError as error:
        raise CannotAskError(f"{database}: {error.strerror}; want to be run as the service is") from None
    if owner != os.geteuid():
        # What root makes beside it (SQLite's log, a lock), the service could not open any more.
        raise CannotAskError(f"{database}: belongs to uid {owner}; want to be run as that user")
    try:
        return SqliteStore(state.path, max_size=state.max_size.bytes)
    except (CannotOpenStore, StoreError) as error:
        raise CannotAskError(str(error)) from None


def ask_service(path: Path, request: Mapping[str, object], answer_s: float) -> Mapping[str, Any] | None:
    """The reply of the service; ``None`` if nobody listens."""
    try:
        connection = unix_socket.connect(path, answer_s)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        return None
    except OSError as error:
        raise CannotAskError(
            f"{path}: {error.strerror or error}; want to be run as the service is, or as root"
        ) from None
    with connection:
        try:
            connection.sendall(json.dumps(request).encode() + b"\n")
            line = _read_line(connection)
        except OSError as error:
            raise CannotAskError(f"{path}: the service does not answer ({error})") from None
    return _parsed(path, line)


def _read_line(connection: socket.socket) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n") and len(received) <= _MOST_REPLY:
        part = connection.recv(1 << 16)
        if not part:
            raise ConnectionError("it hung up")
        received += part
    return bytes(received)


def _parsed(path: Path, line: bytes) -> Mapping[str, Any]:
    try:
        reply = json.loads(line)
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict):
        raise CannotAskError(f"{path}: what listens there is not this service: it gave no JSON object")
    if "error" in reply:
        raise CannotAskError(str(reply["error"]))
    return reply
