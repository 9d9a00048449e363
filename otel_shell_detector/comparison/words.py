"""Times, latencies and averages as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_shell_detector.comparison.shells import Comparison

_SECOND: Final = 1_000_000_000
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_NAMED_RUNS: Final = 2
"""As many as a line holds."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment(time_ns: int) -> str:
    """A time in UTC, to the second. Whatever 64 bits of nanoseconds say is a date."""
    return (_EPOCH + timedelta(seconds=time_ns // _SECOND)).strftime("%Y-%m-%d %H:%M:%S")


def span(time_ns: int) -> str:
    """How long: ``15.0 s``, ``17 min 49 s``, ``1 h 05 min``."""
    seconds = time_ns / _SECOND
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE_S)
    if seconds < _HOUR_S:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def average(value: float | None) -> str:
    """Six digits."""
    return "-" if value is None else f"{value:.6g}"


def many(number: int, noun: str) -> str:
    """``1 row``, ``9 rows``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def summary(found: Comparison) -> list[str]:
    """What it comes to, in sentences."""
    told = [shell.told.latency_ns for shell in found.shells if shell.told]
    reported = [shell.reported[0].latency_ns for shell in found.shells if shell.reported]
    rows = sum(run.rows for run in found.runs)
    runs = ", ".join(f"{moment(run.run_ns)} UTC" for run in found.runs)
    return [
        f"{many(len(found.shells), 'shell')}: the detector sees {len(told)}; "
        f"the search sees {len(reported)}, in {many(rows, 'row')} of {many(len(found.runs), 'run')}"
        + (f" ({runs})" if 0 < len(found.runs) <= _NAMED_RUNS else ""),
        f"Behind its first positive sample: detector {_latencies(told)}, search {_latencies(reported)}",
    ]


def _latencies(of: Sequence[int]) -> str:
    return f"{span(round(median(of)))} (at most {span(max(of))})" if of else "-"
