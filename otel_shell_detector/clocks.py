"""The clocks of this machine, handed in wherever time is needed, and how a time is written."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Clocks:
    """Readings in nanoseconds: one that only goes forward, and one of the epoch."""

    monotonic_ns: Callable[[], int]
    wall_ns: Callable[[], int]


SYSTEM_CLOCKS: Final = Clocks(time.monotonic_ns, time.time_ns)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_NS: Final = 1_000_000_000


def utc(at_ns: int) -> str:
    """A time as RFC 3339 has it, to the second. Whatever 64 bits of nanoseconds say is a date."""
    at = _EPOCH + timedelta(seconds=at_ns // _SECOND_NS)
    return at.isoformat().replace("+00:00", "Z")
