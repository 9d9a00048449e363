"""A HEC server that fails at random, and keeps what it took."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tests.exporter.scripted_hec import ALL, Answer, Request, ScriptedHec, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

TIMEOUT_S: Final = 0.3
"""How long the service is configured to wait for a reply."""
_EVENT_ID: Final = re.compile(rb'"event_id":"([^"]+)"')
_FORGOTTEN: Final = "accepted, not indexed"
_RESET: Final = struct.pack("ii", 1, 0)


def _id_of(body: bytes) -> str:
    found = _EVENT_ID.search(body)
    assert found, body
    return found[1].decode()


class UnreliableHec(ScriptedHec):
    """Half of what is sent to it goes wrong, until :attr:`is_reliable`.

    ``bodies`` holds what was taken by id, ``taken`` counts how often. ``unequal`` are ids that came with
    different bytes, taken or not.
    """

    def __init__(self, random: Random) -> None:
        self.is_reliable = False
        self.bodies: dict[str, bytes] = {}
        self.taken: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.unequal: set[str] = set()
        self.took = threading.Event()
        """Set whenever events were taken, before that is answered."""
        self._random = random
        self._seen: dict[str, int] = {}
        self._order: dict[str, None] = {}
        self._keeping = threading.Lock()
        self._ways: dict[str, tuple[int, Callable[[Request], Answer]]] = {
            "well": (50, self._index),
            "slowly": (10, lambda request: Answer(takes=ALL, raw=self._slowly(request))),
            "taken, reply lost": (8, lambda _: Answer(takes=ALL, raw=())),
            "taken, reset": (8, lambda request: Answer(takes=ALL, raw=self._reset(request))),
            "taken, too late": (4, lambda _: Answer(takes=ALL, raw=self._too_late())),
            "not taken, reset": (6, lambda request: Answer(raw=self._reset(request))),
            "not taken, too late": (4, lambda _: Answer(raw=self._too_late())),
            _FORGOTTEN: (8, self._forget),
            "busy": (10, lambda _: refusal(503, 9)),
        }
        super().__init__()

    def in_order(self) -> list[bytes]:
        """What was taken, in the order in which it was taken first.

        If the sender was told that something is accepted, and it was not, then that moment counts: what comes
        next is sent without waiting for the acknowledgement, so it may well be taken before.
        """
        with self._keeping:
            return [self.bodies[event_id] for event_id in self._order if event_id in self.bodies]

    @staticmethod
    def _read(stream: Any, number: int) -> Request | None:
        try:
            return ScriptedHec._read(stream, number)
        except (EOFError, KeyError, ValueError, zlib.error):
            return None  # its sender was killed in the middle of it

    def _behave(self, request: Request) -> Answer:
        self.requests.clear()  # there will be very many
        if request.path.startswith("/services/collector/ack"):
            return self._acknowledge(request)
        events = self._note(request)
        way = "well"
        if not self.is_reliable:
            weights = [weight for weight, _ in self._ways.values()]
            [way] = self._random.choices(list(self._ways), weights)
        # Without the events, which are kept here: to read them once more would take most of the time.
        answer = self._ways[way][1](replace(request, body=b""))
        with self._keeping:
            self.answers[way] += 1
            if answer.takes or way == _FORGOTTEN:
                for event_id in events:
                    self._order.setdefault(event_id)
            if answer.takes:
                self.taken.update(events.keys())
                for event_id, body in events.items():
                    self.bodies.setdefault(event_id, body)
        if answer.takes:
            self.took.set()
        return answer

    def _take(self, request: Request, count: int) -> None:
        """It is done: :meth:`_behave` kept the bytes."""

    def _note(self, request: Request) -> dict[str, bytes]:
        """The events of a request by id; those whose bytes are not those of before are noted."""
        events = {_id_of(body): body for body in request.body.split(b"\n")}
        with self._keeping:
            self.unequal.update(
                event_id
                for event_id, body in events.items()
                if self._seen.setdefault(event_id, hash(body)) != hash(body)
            )
        return events

    def _forget(self, request: Request) -> Answer:
        """Say that it was accepted, and lose it, if the sender waits to hear of an acknowledgement."""
        answer = self._index(request)
        if "ackId" not in answer.body:
            return answer
        self.acked[answer.body["ackId"]] = False
        return replace(answer, takes=0)

    def _slowly(self, request: Request) -> Iterator[bytes]:
        time.sleep(self._random.uniform(0.0, 0.8) * TIMEOUT_S)
        yield from self._index(request).pieces()

    def _too_late(self) -> Iterator[bytes]:
        self._over.wait(3 * TIMEOUT_S)
        yield b""

    def _reset(self, request: Request) -> Iterator[bytes]:
        """Let the connection end by RST, as when a load balancer forgets it."""
        connection = self._open[request.connection - 1]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        yield b""
