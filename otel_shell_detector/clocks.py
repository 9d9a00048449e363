"""The clocks of this machine, handed in wherever time is needed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Clocks:
    """Readings in nanoseconds: one that only goes forward, and one of the epoch."""

    monotonic_ns: Callable[[], int]
    wall_ns: Callable[[], int]


SYSTEM_CLOCKS: Final = Clocks(time.monotonic_ns, time.time_ns)
