"""Watching a node at work: what became of each point of some shells, and of each of their windows.

It is a node like any other, so what it tells is what happens: it asks, before each step, what that step is
about to ask. Nodes that nobody watches have none of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from detector.counts import Count
from detector.node import Fed, Node
from detector.points import MAX_SLOT_BYTES, Means, invalid_reason, means, sign_of_life, unpack
from detector.sessions import Shell, State

if TYPE_CHECKING:
    from detector import evidence
    from detector.budget import Budget
    from detector.output import Output
    from detector.rules import Rules
    from detector.types import Arrival, NodeId, Point, Sample, ShellId
    from detector.windows import Window

COUNTED: Final = "counted"
"""In its window; whether that counts, it tells as it closes."""
REPEATED: Final = "repeated"
"""The open window holds it already."""
CONFLICT: Final = "conflict"
"""The open window holds another value of the same metric, state and time: the larger counts."""
CLOSED: Final = "session_closed"
"""Of a window that was open as its session ended."""
NOT_POSITIVE: Final = "not_positive"
"""Of a window without a positive point."""


@dataclass(frozen=True, slots=True)
class PointFate:
    """What became of a point: ``fate`` is one of this module, or a :class:`Count` without its ``point_``.

    ``number`` is its bin, ``None`` of a point that has none.
    """

    point: Point
    fate: str
    number: int | None = None


@dataclass(frozen=True, slots=True)
class SampleFate:
    """A sample of a watched shell. ``alive``: whether it shows a living one (a zombie does not)."""

    shell: ShellId
    sample: Sample
    arrival: Arrival
    points: tuple[PointFate, ...]
    alive: bool


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A window of a watched shell at its end: at service time ``closed_ns``, by its deadline or earlier.

    It closes earlier with a newer bin of the node that is due, and at the end of a capture. ``left_out`` is
    why it was dropped, empty if it counts.
    """

    shell: ShellId
    incarnation: int
    number: int
    points: int
    means: Means
    deadline_ns: int
    closed_ns: int
    left_out: str = ""


class Watcher(Protocol):
    """Who is told."""

    def wants(self, shell: ShellId) -> bool:
        """Whether a shell is watched."""
        ...

    def sampled(self, sample: SampleFate) -> None:
        """A sample was fed."""
        ...

    def window_closed(self, window: ClosedWindow) -> None:
        """A window closed."""
        ...


class TracedNode(Node):
    """A node that tells a watcher."""

    def __init__(self, node: NodeId, rules: Rules, budget: Budget, out: Output, *, watcher: Watcher) -> None:
        super().__init__(node, rules, budget, out)
        self._watcher = watcher
        self._fates: list[PointFate] | None = None
        """Those of the sample that is being fed, if it is of a watched shell."""
        self._deadlines_ns: dict[int, int] = {}
        """Of open bins that hold a window of a watched shell."""

    def _feed_sample(self, sample: Sample, fed: Fed) -> Shell | None:
        shell_id = self._identify(sample, fed.arrival.record.init_start_ns)
        if not self._watcher.wants(shell_id):
            return super()._feed_sample(sample, fed)
        left_out = [(point, invalid_reason(point)) for point in sample.points]
        valid = [point for point, reason in left_out if reason is None]
        self._fates = [PointFate(point, _name(reason)) for point, reason in left_out if reason is not None]
        shell = super()._feed_sample(sample, fed)
        fates, self._fates = self._fates, None
        fates.sort(key=lambda fate: (fate.point.time_ns, fate.point.metric, fate.point.slot))
        alive = bool(sign_of_life(sample, valid))
        self._watcher.sampled(SampleFate(shell_id, sample, fed.arrival, tuple(fates), alive))
        return shell

    def _add_points(
        self, shell: Shell, seen: evidence.Sighting | None, valid: list[Point], arrival: Arrival
    ) -> None:
        if self._fates is None:
            super()._add_points(shell, seen, valid, arrival)
            return
        by_bin: dict[int, list[Point]] = {}
        for point in valid:
            by_bin.setdefault(point.time_ns // self._rules.window_ns, []).append(point)
        # Bin by bin, in the order in which they would be added together.
        for number, points in by_bin.items():
            refused = self._bins.refusal(shell, number, self._rules)
            window = self._bins.window(number, shell)
            known = {} if window is None else {_key(each): each.value for each in unpack(window.points)}
            for point in points:
                fate = _name(refused) if refused else _fate(point, known)
                self._fates.append(PointFate(point, fate, number))
            super()._add_points(shell, seen, points, arrival)
        for number, deadline_ns, _ in self._bins.of(shell):
            self._deadlines_ns[number] = deadline_ns

    def _tell_untracked(self, shell: Shell, sample: Sample, valid: list[Point], fed: Fed) -> None:
        super()._tell_untracked(shell, sample, valid, fed)
        if self._fates is not None:
            before = shell.floor_ns // self._rules.window_ns
            for point in valid:
                number = point.time_ns // self._rules.window_ns
                fate = COUNTED if number > before else _name(Count.POINT_LATE_CLOSED)
                fate = fate if shell.total.windows else _name(Count.POINT_UNTRACKED)
                self._fates.append(PointFate(point, fate, number))

    def _close_bin(self, number: int, windows: dict[Shell, Window], release_ns: int) -> None:
        deadline_ns = self._deadlines_ns.pop(number, release_ns)
        for shell, window in windows.items():
            if self._watcher.wants(shell.id):
                closed = shell.state is State.CLOSED
                self._watcher.window_closed(
                    ClosedWindow(
                        shell=shell.id,
                        incarnation=shell.incarnation,
                        number=number,
                        points=len(unpack(window.points)),
                        means=means(window.points),
                        deadline_ns=deadline_ns,
                        closed_ns=release_ns,
                        left_out=CLOSED if closed else "" if window.survives else NOT_POSITIVE,
                    )
                )
        super()._close_bin(number, windows, release_ns)


def _name(reason: Count) -> str:
    return reason.removeprefix("point_")


def _key(point: Point) -> tuple[str, str, int]:
    slot = point.slot.encode("utf-8", "backslashreplace")[:MAX_SLOT_BYTES]
    return point.metric, slot.decode("utf-8", "backslashreplace"), point.time_ns


def _fate(point: Point, known: dict[tuple[str, str, int], float | None]) -> str:
    if _key(point) not in known:
        known[_key(point)] = point.value
        return COUNTED
    return REPEATED if known[_key(point)] == point.value else CONFLICT
