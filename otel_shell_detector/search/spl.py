"""The search itself, as its SPL says: data points in, rows out. Pure.

::

    | mstats avg(process.cpu.utilization) avg(process.memory.utilization)
      where process.executable.name IN ("sh","bash","csh","tcsh") by <the five fields> span=10s
    | search process.cpu.utilization>0 OR process.memory.utilization>0
    | stats avg(process.cpu.utilization) avg(process.memory.utilization) by <the five fields>

1. The bounds hold for points, before they fall into bins: ``earliest <= time < latest``.
2. A bin is ten seconds, aligned to the epoch. Its averages are over the points of all CPU states; negative
   points, zeros and repeated points count.
3. A bin stays if one of its averages is above zero; so filtering comes after the averages.
4. A row's averages are over those of its bins, each of the same weight, however many points it had. A bin
   without a point of a metric has no average of it, and is left out of the row's.

What is kept is a count and a sum for each row, bin and metric, never a point. Sums are exact, as integers,
and an average is rounded once: no order of the points can be seen in a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from detector.types import NANOSECONDS, Metric

if TYPE_CHECKING:
    from collections.abc import Iterable

EXECUTABLES: Final = ("sh", "bash", "csh", "tcsh")
BIN_NS: Final = 10 * NANOSECONDS

_GRID_BITS: Final = 1074
"""Every finite double is a whole number of 2^-1074, the smallest of them."""


class Key(NamedTuple):
    """The by-fields of a row, in the order of the search. All are texts, and none is empty."""

    host: str
    cluster: str
    node: str
    pid: str
    name: str


class Row(NamedTuple):
    """A result of the search; an average of nothing is ``None``."""

    key: Key
    cpu: float | None
    memory: float | None


class _Average:
    """The mean of finite numbers, rounded once."""

    __slots__ = ("_count", "_sum")

    def __init__(self, numbers: Iterable[float | None] = ()) -> None:
        self._count = 0
        self._sum = 0
        for number in numbers:
            if number is not None:
                self.add(number)

    def add(self, number: float) -> None:
        numerator, denominator = number.as_integer_ratio()
        self._sum += numerator << (_GRID_BITS + 1 - denominator.bit_length())
        self._count += 1

    @property
    def value(self) -> float | None:
        return self._sum / (self._count << _GRID_BITS) if self._count else None


class Search:
    """One run of the search over points that come in any order."""

    def __init__(self, earliest_ns: int | None = None, latest_ns: int | None = None) -> None:
        self._earliest_ns = earliest_ns
        self._latest_ns = latest_ns
        self._bins: dict[Key, dict[int, dict[Metric, _Average]]] = {}

    def add(self, key: Key, metric: Metric, time_ns: int, value: float) -> None:
        """Take a point. ``value`` is finite; the name of ``key`` is one of :data:`EXECUTABLES`."""
        if self._earliest_ns is not None and time_ns < self._earliest_ns:
            return
        if self._latest_ns is not None and time_ns >= self._latest_ns:
            return
        averages = self._bins.setdefault(key, {}).setdefault(time_ns // BIN_NS, {})
        averages.setdefault(metric, _Average()).add(value)

    def surviving(self, key: Key) -> dict[int, tuple[float | None, float | None]]:
        """The bins of a row that stay, by number, with their averages of CPU and memory."""
        found = {}
        for number, averages in self._bins.get(key, {}).items():
            cpu, memory = (averages[metric].value if metric in averages else None for metric in Metric)
            if (cpu is not None and cpu > 0) or (memory is not None and memory > 0):
                found[number] = (cpu, memory)
        return found

    def row(self, key: Key) -> Row | None:
        """The row of these by-fields, if there is one."""
        bins = self.surviving(key).values()
        if not bins:
            return None
        return Row(key, _Average(cpu for cpu, _ in bins).value, _Average(memory for _, memory in bins).value)

    def rows(self) -> list[Row]:
        """The result, by the by-fields in their order as texts: a pid of 10 stands before one of 9."""
        return [row for key in sorted(self._bins) if (row := self.row(key)) is not None]
