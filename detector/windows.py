"""Windows: which points belong together, and when they are final.

Theory of operation
-------------------
1. A window is a 10 s *bin* of event time, aligned to the epoch: bin ``b`` holds the times ``[b * window,
   (b + 1) * window)``. Event time does nothing else: it places points, it closes nothing.
2. An open window of a shell is a *set* of valid points. Order, repetition and batching cannot be seen in it.
3. A window (node, bin) closes ``window + lateness`` of service time after the arrival of its first point of
   any watched process, and takes all older open windows of the node with it, oldest first. So what arrives
   within the lateness is counted, whatever the node's clock says.
4. A window survives if it holds a positive point. That is the search's ``> 0`` filter on means, since
   negative points are left out.
5. A window that has closed never changes (``sessions.py`` remembers which bins closed surviving).

::

    arrival of the first point of bin b          b closes, with every older open bin
    |                                            |
    +--------------- window + lateness ----------+----> service time
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from detector import evidence, points
from detector.counts import Count
from detector.rules import MAX_OPEN_BINS
from detector.sessions import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from detector.rules import Rules
    from detector.sessions import Shell
    from detector.types import Point


class Window:
    """The open window of one shell in one bin."""

    __slots__ = ("arrived_ns", "first", "last", "points", "sightings")

    def __init__(self) -> None:
        self.points = b""
        self.sightings = evidence.NONE
        self.first = (0, 0)
        self.last = (0, 0)
        self.arrived_ns = 0
        """Wall time at which its first positive point arrived."""

    @property
    def survives(self) -> bool:
        """Whether it holds a positive point."""
        return self.first[0] > 0

    def add(
        self,
        seen: evidence.Sighting | None,
        valid: Iterable[Point],
        wall_ns: int,
        known: evidence.Sightings = evidence.NONE,
    ) -> int:
        """Add valid points of a sample that arrived at ``wall_ns``; how many conflicted with another value.

        ``seen`` is what the sample shows beside them, unless that is known; ``known`` is what the shell's
        closed windows have shown.
        """
        valid = tuple(valid)
        self.points, conflicts = points.merge(self.points, valid)
        if seen is not None:
            self.sightings = evidence.add(self.sightings, seen, known)
        for point in valid:
            if point.value:
                self.arrived_ns = self.arrived_ns or wall_ns
                self._see(point.time_ns, min(point.time_ns, wall_ns))
        return conflicts

    def dump(self) -> list[object]:
        """The window as JSON has it, for a checkpoint."""
        seen = evidence.dump(self.sightings)
        return [self.points.hex(), seen, *self.first, *self.last, self.arrived_ns]

    @classmethod
    def load(cls, dumped: list[Any]) -> Self:
        """Take what :meth:`dump` gave."""
        window = cls()
        points_hex, seen, first_ns, first_envelope_ns, last_ns, last_envelope_ns, window.arrived_ns = dumped
        window.points = bytes.fromhex(points_hex)
        window.sightings = evidence.load(seen)
        window.first, window.last = (first_ns, first_envelope_ns), (last_ns, last_envelope_ns)
        return window

    def _see(self, time_ns: int, envelope_ns: int) -> None:
        # Strictly: of repetitions the first arrival counts.
        if not self.first[0] or time_ns < self.first[0]:
            self.first = (time_ns, envelope_ns)
        if time_ns > self.last[0]:
            self.last = (time_ns, envelope_ns)


class Bin:
    """The open windows of one node in one bin, with their common deadline."""

    __slots__ = ("deadline_ns", "windows")

    def __init__(self, deadline_ns: int) -> None:
        self.deadline_ns = deadline_ns
        self.windows: dict[Shell, Window] = {}


class OpenBins:
    """The open bins of one node.

    Arrivals do not go back in service time, so bins are kept in order of their deadlines by keeping them in
    order of creation.
    """

    __slots__ = ("_bins",)

    def __init__(self) -> None:
        self._bins: dict[int, Bin] = {}

    def __len__(self) -> int:
        return len(self._bins)

    def dump(self, numbers: Mapping[Shell, int]) -> list[object]:
        """The bins as JSON has them, for a checkpoint; shells by their numbers.

        A window of a session that has closed is left out: it changes nothing any more.
        """
        return [
            [
                number,
                item.deadline_ns,
                [
                    [numbers[shell], window.dump()]
                    for shell, window in item.windows.items()
                    if shell in numbers
                ],
            ]
            for number, item in self._bins.items()
        ]

    def load(self, dumped: list[Any], shells: Sequence[Shell]) -> None:
        """Take what :meth:`dump` gave."""
        for number, deadline_ns, windows in dumped:
            item = self.open(number, deadline_ns)
            for of, window in windows:
                item.windows[shells[of]] = Window.load(window)
                shells[of].open_windows += 1

    def deadline_ns(self) -> int | None:
        """The earliest deadline."""
        return next((item.deadline_ns for item in self._bins.values()), None)

    def refusal(self, shell: Shell, number: int, rules: Rules) -> Count | None:
        """Why a point of that bin changes nothing; ``None`` if it may be added."""
        if shell.state is State.CLOSED or shell.is_told(number, rules):
            return Count.POINT_LATE_CLOSED
        if shell.is_beyond_horizon(number, rules):
            return Count.POINT_LATE_HORIZON
        if number not in self._bins and len(self._bins) >= MAX_OPEN_BINS:
            return Count.POINT_WINDOW_CEILING
        return None

    def open(self, number: int, deadline_ns: int) -> Bin:
        """The open bin of that number; made if there is none, with that deadline."""
        found = self._bins.get(number)
        if found is None:
            found = self._bins[number] = Bin(deadline_ns)
        return found

    def window(self, number: int, shell: Shell) -> Window | None:
        """The open window of a shell in a bin."""
        found = self._bins.get(number)
        return found.windows.get(shell) if found else None

    def of(self, shell: Shell) -> list[tuple[int, int, Window]]:
        """The number and the deadline of each open bin of a shell, with its window; oldest bin first."""
        return [
            (number, self._bins[number].deadline_ns, self._bins[number].windows[shell])
            for number in sorted(self._bins)
            if shell in self._bins[number].windows
        ]

    def hold_evidence_of(self, shell: Shell) -> bool:
        """Whether a window of that shell is open and will survive."""
        if not shell.open_windows:
            return False
        windows = (item.windows.get(shell) for item in self._bins.values())
        return any(window is not None and window.survives for window in windows)

    def close_due(self) -> Iterator[tuple[int, Bin]]:
        """Take out the bin with the earliest deadline and all older ones; yield them oldest first."""
        due = next(iter(self._bins))
        for number in sorted(number for number in self._bins if number <= due):
            yield number, self._bins.pop(number)

    def close_all(self) -> Iterator[tuple[int, Bin]]:
        """Take every bin out, oldest first."""
        for number in sorted(self._bins):
            yield number, self._bins.pop(number)
