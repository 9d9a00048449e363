"""Sums over surviving windows that do not depend on the order in which the windows closed.

Window means are added as integers on a grid of 2^-96, so addition is exact and commutative: a late bin gives
the same bytes whenever it comes. A mean below 2^-43 (1e-13) loses what lies below the grid.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Final, Self

from detector.types import Span

if TYPE_CHECKING:
    from detector.points import Means

_GRID_BITS: Final = 96
_SUM_BYTES: Final = 21
"""2^32 windows of the largest value that is evidence (1e12)."""
_PACKED: Final = struct.Struct(f"<IIIBqqqq{_SUM_BYTES}s{_SUM_BYTES}s{_SUM_BYTES}s")


def _mean(total: int, count: int) -> float | None:
    return total / (count << _GRID_BITS) if count else None


def _on_grid(mean: float) -> int:
    return int(math.ldexp(mean, _GRID_BITS))


class Tally:
    """Counts, sums and bounds of the windows of a span.

    ``first_ns`` and ``last_ns`` are event times of positive points; their ``_envelope`` is never later than
    the point's arrival. A session keeps its two packed (:meth:`pack`): as objects they would be most of what
    it costs.
    """

    __slots__ = (
        "_cpu",
        "_cpu_total",
        "_memory",
        "_rewound",
        "_without_cpu",
        "_without_memory",
        "first_envelope_ns",
        "first_ns",
        "last_envelope_ns",
        "last_ns",
        "windows",
    )

    def __init__(self) -> None:
        self.windows = 0
        self._without_cpu = 0
        self._without_memory = 0
        self._cpu = 0
        self._cpu_total = 0
        self._memory = 0
        self._rewound = False
        self.first_ns = 0
        self.first_envelope_ns = 0
        self.last_ns = 0
        self.last_envelope_ns = 0

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """What :meth:`pack` gave; nothing gives an empty tally."""
        tally = cls()
        if data:
            (
                tally.windows,
                tally._without_cpu,
                tally._without_memory,
                rewound,
                tally.first_ns,
                tally.first_envelope_ns,
                tally.last_ns,
                tally.last_envelope_ns,
                cpu,
                cpu_total,
                memory,
            ) = _PACKED.unpack(data)
            tally._rewound = bool(rewound)
            tally._cpu = int.from_bytes(cpu, "little")
            tally._cpu_total = int.from_bytes(cpu_total, "little")
            tally._memory = int.from_bytes(memory, "little")
        return tally

    def pack(self) -> bytes:
        """The same as bytes, a third of the memory."""
        return _PACKED.pack(
            self.windows,
            self._without_cpu,
            self._without_memory,
            self._rewound,
            self.first_ns,
            self.first_envelope_ns,
            self.last_ns,
            self.last_envelope_ns,
            self._cpu.to_bytes(_SUM_BYTES, "little"),
            self._cpu_total.to_bytes(_SUM_BYTES, "little"),
            self._memory.to_bytes(_SUM_BYTES, "little"),
        )

    def add(self, means: Means, first: tuple[int, int], last: tuple[int, int]) -> None:
        """Add a surviving window; ``first`` and ``last`` are (time, envelope) of its positive points."""
        if means.cpu is None or means.cpu_total is None:
            self._without_cpu += 1
        else:
            self._cpu += _on_grid(means.cpu)
            self._cpu_total += _on_grid(means.cpu_total)
        if means.memory is None:
            self._without_memory += 1
        else:
            self._memory += _on_grid(means.memory)
        if not self.first_ns or first[0] < self.first_ns:
            self.first_ns, self.first_envelope_ns = first
        if last[0] > self.last_ns or self._rewound:
            self.last_ns, self.last_envelope_ns = last
            self._rewound = False
        self.windows += 1

    def rewind(self) -> None:
        """Let the next window be the last one, though its time be earlier: the node's clock went back."""
        self._rewound = True

    def span(self, window_ns: int) -> Span:
        """The statistics as a value. At least one window must have been added."""
        return Span(
            windows=self.windows,
            window_start_ns=self.first_ns // window_ns * window_ns,
            window_end_ns=(self.last_ns // window_ns + 1) * window_ns,
            first_ns=self.first_ns,
            last_ns=self.last_ns,
            cpu=_mean(self._cpu, self.windows - self._without_cpu),
            cpu_total=_mean(self._cpu_total, self.windows - self._without_cpu),
            memory=_mean(self._memory, self.windows - self._without_memory),
        )
