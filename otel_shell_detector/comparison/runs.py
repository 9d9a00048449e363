"""When the search runs, and over what: ``cron_schedule = 0 * * * *``, from -70m@m to -10m@m. Pure.

The ranges of the runs follow each other without a gap and without an overlap, so a time is in one run's.
Hours are those of UTC; a search head in a zone that is not whole hours off runs at another minute.
"""

from __future__ import annotations

from typing import Final

from detector.types import NANOSECONDS

_MINUTE_NS: Final = 60 * NANOSECONDS
HOUR_NS: Final = 60 * _MINUTE_NS
EARLIEST_NS: Final = -70 * _MINUTE_NS
LATEST_NS: Final = -10 * _MINUTE_NS


def run_of(time_ns: int) -> int:
    """When the run starts whose range holds that time."""
    return ((time_ns - LATEST_NS) // HOUR_NS + 1) * HOUR_NS
