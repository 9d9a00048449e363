"""Service time: the clock that drives every deadline."""

from __future__ import annotations

from typing import Final

from detector.types import NANOSECONDS

MAX_STEP_NS: Final = 5 * NANOSECONDS
"""The most that one turn of the core may add. What a turn took beyond it (a freeze, a stuck fsync, being
stopped) is time in which the service was down, and must not look like silence of the nodes."""


class ServiceClock:
    """A clock that never goes back and never leaps.

    It is fed with readings of the machine's monotonic clock and starts where the persisted service time
    ended.
    """

    __slots__ = ("_last_reading_ns", "now_ns")

    def __init__(self, reading_ns: int, start_ns: int = 0) -> None:
        self._last_reading_ns = reading_ns
        self.now_ns = start_ns

    def advance(self, reading_ns: int) -> int:
        """Take a new reading and return the service time."""
        elapsed = reading_ns - self._last_reading_ns
        self._last_reading_ns = reading_ns
        self.now_ns += min(max(elapsed, 0), MAX_STEP_NS)
        return self.now_ns
