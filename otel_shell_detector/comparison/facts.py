"""What a capture says of one shell, whoever makes something of it. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from detector import points
from detector.counts import Count
from detector.tally import Tally
from detector.types import Metric
from otel_shell_detector.search.spl import BIN_NS, EXECUTABLES, Key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from detector.rules import Rules
    from detector.types import Point, Sample, Span
    from otel_shell_detector.search.reading import IndexedPoint


class RowId(NamedTuple):
    """A row of one run of the search."""

    run_ns: int
    key: Key


@dataclass(slots=True)
class Facts:
    """Of one identity, or of one row's by-fields where the detector sees none.

    ``first_ns`` and ``last_ns``: its positive points. ``memory``: it has a valid point of memory;
    ``unusable_memory``: it has one that is not. ``left_out``: points that the search takes and the
    detector does not, by reason; ``negative_ns``: the first of the negative ones. ``repeated``: points whose
    metric, state and time came before. ``missing``: by-fields that points lack. ``relabelled``: points whose
    own attributes name another row. ``too_late``: points that came when the run that covers them was over.
    ``bins``: those of its points, by row. ``windows``: the sets of points that the detector would have if all
    came in time; ``window_runs``: in which runs' ranges a window has any.
    """

    line: str = ""
    first_ns: int = 0
    last_ns: int = 0
    memory: bool = False
    unusable_memory: bool = False
    left_out: Counter[Count] = field(default_factory=Counter)
    negative_ns: int = 0
    repeated: int = 0
    missing: set[str] = field(default_factory=set)
    relabelled: bool = False
    too_late: int = 0
    bins: dict[RowId, set[int]] = field(default_factory=dict)
    windows: dict[int, bytes] = field(default_factory=dict)
    window_runs: set[tuple[int, int]] = field(default_factory=set)

    def see(self, sample: Sample, indexed: Collection[IndexedPoint], rules: Rules) -> None:
        """Take a sample, with the same points as the index holds them, in the same order."""
        if sample.command_line is not None:
            self.line = self.line or sample.command_line.text
        for point, held in zip(sample.points, indexed, strict=True):
            self.note(held)
            reason = points.invalid_reason(point)
            if point.metric is Metric.MEMORY:
                self.memory |= reason is None
                self.unusable_memory |= reason is not None
            if reason is None:
                self._keep(point, rules)
            elif held.counted is not None:
                self.left_out[reason] += 1
                if reason is Count.POINT_NEGATIVE:
                    self.negative_ns = min(self.negative_ns or point.time_ns, point.time_ns)
            if sample.name in EXECUTABLES:
                self.missing.update(held.missing)

    def _keep(self, point: Point, rules: Rules) -> None:
        number = point.time_ns // rules.window_ns
        known = self.windows.get(number, b"")
        self.windows[number], _ = points.merge(known, [point])
        self.repeated += points.size(self.windows[number]) == points.size(known)

    def note(self, point: IndexedPoint) -> None:
        """Take a point as the index holds it: it shows the shell if it is positive."""
        if point.is_positive:
            self.first_ns = min(self.first_ns or point.time_ns, point.time_ns)
            self.last_ns = max(self.last_ns, point.time_ns)

    def enter(self, row: RowId, point: IndexedPoint, rules: Rules) -> None:
        """The search takes a point of it into a row."""
        self.bins.setdefault(row, set()).add(point.time_ns // BIN_NS)
        self.window_runs.add((point.time_ns // rules.window_ns, row.run_ns))

    @property
    def cut_windows(self) -> int:
        """How many windows of the detector lie in the ranges of two runs."""
        return len(self.window_runs) - len({window for window, _ in self.window_runs})

    def in_time(self, rules: Rules) -> Span | None:
        """The statistics over all surviving windows if every point had come in time; ``None`` without one."""
        tally = Tally()
        for number, start_ns in self._surviving(rules):
            tally.add(points.means(self.windows[number]), (start_ns, start_ns), (start_ns, start_ns))
        return tally.span(rules.window_ns) if tally.windows else None

    def _surviving(self, rules: Rules) -> Iterator[tuple[int, int]]:
        for number, data in self.windows.items():
            means = points.means(data)
            if means.cpu or means.memory:
                yield number, number * rules.window_ns + 1
