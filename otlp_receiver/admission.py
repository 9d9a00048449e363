"""How much of what is being received may be held at once.

A call asks before its body is received, when its size is unknown: it reserves the larger of 64 KiB and the
median of the last 64 request sizes, and its true size once that is known. A body that turns out larger than
its reservation is in memory already, so it is kept; hence the worst case is workers x the largest request,
and the limit is what the service settles at.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median_low
from typing import TYPE_CHECKING, Final

from telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAST_RESERVATION: Final = 64 * 1024
_REMEMBERED_SIZES: Final = 64


class OverBudget(Exception):  # noqa: N818  # says what is so; the caller answers it, nothing went wrong
    """What is in flight leaves no room for another call."""


@dataclass(slots=True)
class Reservation:
    """What one call holds."""

    bytes_held: int


class Admission:
    """The budget of bytes in flight. Safe to use from any thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._in_flight = 0
        self._sizes: deque[int] = deque(maxlen=_REMEMBERED_SIZES)

    @contextmanager
    def admit(self) -> Iterator[Reservation]:
        """Hold a reservation while a call runs. Raises :class:`OverBudget`, but never to a lone call."""
        with self._lock:
            estimate = max(_LEAST_RESERVATION, median_low(self._sizes) if self._sizes else 0)
            if self._in_flight and self._in_flight + estimate > self._limit:
                raise OverBudget
            self._add(estimate)
        reservation = Reservation(estimate)
        try:
            yield reservation
        finally:
            with self._lock:
                self._add(-reservation.bytes_held)

    def settle(self, reservation: Reservation, size: int) -> None:
        """Put the true size in the place of the estimate."""
        with self._lock:
            self._sizes.append(size)
            self._add(size - reservation.bytes_held)
            reservation.bytes_held = size

    def _add(self, size: int) -> None:
        self._in_flight += size
        metrics.RECEIVER_IN_FLIGHT.set(self._in_flight)
