"""Durations, sizes and rates as people write them: ``10s``, ``1h30m``; ``64MiB``, ``1MB``; ``75/h``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

_DURATION_UNITS: Final = {
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
# Decimal and binary units differ by 5 % at a megabyte, Splunk counts in one, Kubernetes in both: so a bare
# "M" is refused.
_SIZE_UNITS: Final = {
    "GiB": 1 << 30,
    "GB": 1_000_000_000,
    "MiB": 1 << 20,
    "MB": 1_000_000,
    "KiB": 1 << 10,
    "kB": 1_000,
    "KB": 1_000,
    "B": 1,
}
# ASCII digits alone: \d would take any script's. Bounded, so that a hostile value costs nothing to refuse.
DURATION_PATTERN: Final = r"(?:[0-9]{1,18}(?:d|h|ms|m|us|ns|s))+"
_DURATION: Final = re.compile(DURATION_PATTERN)
_DURATION_TERM: Final = re.compile(r"([0-9]+)([a-z]+)")
SIZE_PATTERN: Final = r"([0-9]{1,18})(GiB|GB|MiB|MB|KiB|kB|KB|B)"
_SIZE: Final = re.compile(SIZE_PATTERN)
_COUNT: Final = re.compile(r"[0-9]{1,9}")
_LONGEST: Final = 64


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time, not negative."""

    nanoseconds: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``10s``, ``5m``, ``1h``, ``250ms`` or a sum such as ``1h30m``.

        Raises :class:`ValueError` for anything else.
        """
        if text == "0":
            return cls(0)
        if len(text) > _LONGEST or not _DURATION.fullmatch(text):
            raise ValueError("not a duration")
        return cls(sum(int(count) * _DURATION_UNITS[unit] for count, unit in _DURATION_TERM.findall(text)))

    @property
    def seconds(self) -> float:
        """The same in seconds, for the interfaces that count so."""
        return self.nanoseconds / 1_000_000_000

    def __str__(self) -> str:
        # The largest unit that divides it: 90m stays one term and reads back as the same.
        for unit, size in _DURATION_UNITS.items():
            if unit != "d" and self.nanoseconds and self.nanoseconds % size == 0:
                return f"{self.nanoseconds // size}{unit}"
        return "0s"


@dataclass(frozen=True, slots=True, order=True)
class Size:
    """An amount of memory or of bytes on a wire, not negative."""

    bytes: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``64MiB``, ``1MB``, ``512KiB`` or ``100B``. Raises :class:`ValueError` for anything else."""
        match = _SIZE.fullmatch(text)
        if not match:
            raise ValueError("not a size")
        return cls(int(match[1]) * _SIZE_UNITS[match[2]])

    def __str__(self) -> str:
        units = ((unit, size) for unit, size in _SIZE_UNITS.items() if self.bytes and self.bytes % size == 0)
        unit, size = max(units, key=lambda each: each[1], default=("B", 1))
        return f"{self.bytes // size}{unit}"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in a period."""

    count: int
    period: Duration

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``75/h`` or ``100/24h``. Raises :class:`ValueError` for anything else."""
        count, slash, period = text.partition("/")
        if not slash or not _COUNT.fullmatch(count):
            raise ValueError("not a rate")
        return cls(int(count), Duration.parse(period if period[:1].isdigit() else f"1{period}"))

    def __str__(self) -> str:
        return f"{self.count}/{self.period}"
