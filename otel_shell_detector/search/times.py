"""Times on the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from detector.types import NANOSECONDS
from otel_shell_detector.kinds import show
from otel_shell_detector.sources import ConfigurationError

FORMS: Final = "epoch seconds or RFC 3339 with a zone, at most nine decimals"

_SECONDS: Final = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")
_RFC_3339: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def bounds(earliest: str | None, latest: str | None) -> tuple[int | None, int | None]:
    """The bounds in nanoseconds. Raises :class:`ConfigurationError`."""
    first = None if earliest is None else _time_ns("--earliest", earliest)
    end = None if latest is None else _time_ns("--latest", latest)
    if first is not None and end is not None and first >= end:
        raise ConfigurationError("--latest: want a time after --earliest")
    return first, end


def _time_ns(option: str, text: str) -> int:
    """Nanoseconds since the epoch. Raises :class:`ConfigurationError`, which names the option."""
    found = _parsed(text)
    if found is None:
        raise ConfigurationError(
            f"{option}: got {show(text)}; want {FORMS}: 1800000000.5 or 2027-01-15T08:00:00Z"
        )
    return found


def _parsed(text: str) -> int | None:
    if _SECONDS.fullmatch(text):
        return int(Decimal(text) * NANOSECONDS)
    parts = _RFC_3339.fullmatch(text)
    if parts is None:
        return None
    try:
        whole = datetime.fromisoformat(f"{parts[1].upper()}{parts[3].upper()}") - _EPOCH
    except ValueError:  # no such day or hour
        return None
    return whole // timedelta(seconds=1) * NANOSECONDS + int(Decimal(parts[2] or 0) * NANOSECONDS)
