"""The numbers that the detector obeys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from detector.types import NANOSECONDS

EXIT_HOLD_NS: Final = 60 * NANOSECONDS
"""How long a shell must have been absent: longer than the largest backoff (30 s) of the collector's
exporter."""

START_TOLERANCE_NS: Final = 2 * NANOSECONDS
"""Start times of one process differ by less: boot time is read in whole seconds (gopsutil
``host.BootTime``)."""

MAX_OPEN_BINS: Final = 4096
"""Open windows of one node: eleven hours of 10 s bins, far above a backlog within the replay horizon; a bound
for hostile input."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Settings of the pure core; durations in nanoseconds.

    ``early`` lets ``opened`` go out at the first positive point. ``store_id`` is part of every id.
    """

    window_ns: int = 10 * NANOSECONDS
    lateness_ns: int = 5 * NANOSECONDS
    renotify_ns: int = 3600 * NANOSECONDS
    horizon_ns: int = 3600 * NANOSECONDS
    early: bool = False
    max_tracked_shells: int = 100_000
    max_nodes: int = 10_000
    store_id: str = "otel-shell-detector"

    @property
    def horizon_bins(self) -> int:
        """How many bins back a session remembers."""
        return self.horizon_ns // self.window_ns
