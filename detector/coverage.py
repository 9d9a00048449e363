"""How well a node can be seen. It decides nothing: no session opens, lives or closes by it.

A *scrape* is told by event time: frames less than 2 s apart are of one. The interval between scrapes is the
median of the gaps between the last six (of two middle ones the smaller), so neither a scrape that was lost or
repeated nor a clock that leaps shows in it.

A process is sure to be seen if it lives for the *shortest sure time*: the interval and 2 s more, for the time
at which a process is read moves within the scrape, while no scrape is lost. That holds where memory
utilization is reported; with CPU utilization alone, which the first scrape of a process lacks, it takes an
interval more, and a process that uses CPU; without both nothing is sure.

A node is *silent* when no frame of it came for five minutes of service time, or for two intervals if that is
longer. Whoever was silent for a day is *gone*: a cluster that scales down is not short of nodes.

What is counted is recent: counts are halved when they are full.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from itertools import pairwise
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from detector import signs
from detector.types import NANOSECONDS, Metric

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.types import NodeId, Record, Sample

SILENT_NS: Final = 300 * NANOSECONDS
GONE_NS: Final = 24 * 3600 * NANOSECONDS
SPREAD_NS: Final = 2 * NANOSECONDS
"""Frames of one scrape are less far apart (62 ms were measured, of 300 processes). An interval below it is
taken for longer than it is, which is the safe side."""
MOST_UNPLACED: Final = 0.01
"""Share of shells with unknown placement above which somebody should look: scoring rests on the placement."""
MOST_PARENTLESS: Final = 0.1
"""Share of shells whose parent was not seen above which the collector does not send all processes."""
MOST_PATHLESS: Final = 0.5
"""Share of frames without a path above which the collector may not look at other users' processes."""

_LAST: Final = 6
_TIMES: Final = Struct(f"<{_LAST}q")
_LATEST_NS: Final = 2**63 - 1
_FEWEST: Final = 3
"""Scrapes that make an interval: with two, one that is lost between them would be believed."""
_MISSING: Final = 10
"""Scrapes without a sign after which it is missing. Not one: a batch processor may have split the metrics of
a process over two requests, and a process's first scrape has no CPU utilization."""
_FULL: Final = 256
"""Up to here Python has the integers anyway: a node costs no memory for them."""


class NodeState(enum.StrEnum):
    """Whether a node's frames come."""

    REPORTING = "reporting"
    SILENT = "silent"
    GONE = "gone"


class Concern(enum.StrEnum):
    """What keeps shells of a node from being seen, or from being understood."""

    NO_MEMORY_UTILIZATION = "no_memory_utilization"
    NO_CPU_UTILIZATION = "no_cpu_utilization"
    NO_PID_1 = "no_pid_1"
    """The collector does not see the node's processes, but those of its own container."""
    NO_PATHS = "no_paths"
    PLACEMENT_UNKNOWN = "placement_unknown"
    PARENTS_UNKNOWN = "parents_unknown"
    """The collector sends shells without the processes around them."""


@dataclass(frozen=True, slots=True)
class NodeCoverage:
    """What is known of a node at a time.

    ``quiet_ns`` is the service time since its last frame, ``last_scrape_ns`` the event time of its latest
    scrape. ``host`` is that of a shell, empty if there was none. ``cpu``, ``memory`` and ``init`` (the frame
    of pid 1): whether they came with one of the last ten scrapes; ``None`` while there are fewer. ``frames``
    are those that were read: of shells, and the first of each request, which mostly is that of pid 1;
    ``pathless`` of them have a command line but no path, ``relative`` a cgroup that is relative to the
    collector's. ``shells`` were told, ``unplaced`` of them with unknown placement, ``parentless`` without a
    parent that was seen.
    """

    node: NodeId
    state: NodeState
    quiet_ns: int
    last_scrape_ns: int
    host: str
    interval_ns: int | None
    cpu: bool | None
    memory: bool | None
    init: bool | None
    frames: int
    pathless: int
    relative: int
    shells: int
    unplaced: int
    parentless: int

    @property
    def shortest_ns(self) -> int | None:
        """How long a shell must live to be seen for sure; ``None`` if nothing is sure."""
        if self.interval_ns is None or not (self.memory or self.cpu):
            return None
        return (self.interval_ns if self.memory else 2 * self.interval_ns) + SPREAD_NS

    @property
    def concerns(self) -> tuple[Concern, ...]:
        """What is wrong with it beside its state."""
        return tuple(self._concerns())

    def _concerns(self) -> Iterator[Concern]:
        if self.memory is False:
            yield Concern.NO_MEMORY_UTILIZATION
        if self.cpu is False:
            yield Concern.NO_CPU_UTILIZATION
        if self.init is False:
            yield Concern.NO_PID_1
        if self.pathless > MOST_PATHLESS * self.frames:
            yield Concern.NO_PATHS
        if _is_over(self.shells, self.unplaced):
            yield Concern.PLACEMENT_UNKNOWN
        if self.parentless > MOST_PARENTLESS * self.shells:
            yield Concern.PARENTS_UNKNOWN


def _is_over(shells: int, unplaced: int) -> bool:
    return unplaced > MOST_UNPLACED * shells


class Coverage:
    """What is known of one node. Other threads may read it: what belongs together is replaced together."""

    __slots__ = ("_ages", "_frames", "_shells", "_times", "host", "silences", "silent", "silent_after_ns")

    def __init__(self) -> None:
        self._times = bytes(_TIMES.size)
        """Of the last scrapes, in order of arrival; 0 of none."""
        self._ages = (-_MISSING, -_MISSING, -_MISSING)
        """Scrapes since CPU and memory utilization and pid 1 were seen last; below 0, up to it, never."""
        self._frames = (0, 0, 0)
        self._shells = (0, 0, 0)
        self.host = ""
        self.silences = 0
        """How often it fell silent."""
        self.silent: bool | None = None
        """Whether the silence was told; ``None`` while nothing was heard."""
        self.silent_after_ns = SILENT_NS

    def note(self, record: Record) -> None:
        """Take what a record shows. Not silent any more."""
        self.silent = False
        time_ns = scrape_ns(record)
        ages = self._ages
        if time_ns > 0 and self._is_new(time_ns):
            ages = (_older(ages[0]), _older(ages[1]), _older(ages[2]))
            self.silent_after_ns = max(SILENT_NS, 2 * (self.interval_ns() or 0))
        found, (frames, pathless, relative) = record.signs, self._frames
        for shown in (record.signs, *map(_of_sample, record.samples)):
            found |= shown
            if shown & (signs.PATH | signs.NO_PATH):
                frames, pathless = frames + 1, pathless + bool(shown & signs.NO_PATH)
                relative += bool(shown & signs.RELATIVE)
                if frames == _FULL:
                    frames, pathless, relative = frames // 2, pathless // 2, relative // 2
        self._frames = (frames, pathless, relative)
        self._ages = (
            0 if found & signs.CPU else ages[0],
            0 if found & signs.MEMORY else ages[1],
            0 if record.init_start_ns else ages[2],
        )
        if record.samples:
            self.host = record.samples[-1].host

    def fall_silent(self) -> None:
        """Its silence is told now."""
        self.silent = True
        self.silences += 1

    def told(self, *, unplaced: bool, parentless: bool) -> bool:
        """A shell was told. Whether it is the one with which too many have an unknown placement."""
        shells, of_them, without = self._shells
        before = _is_over(shells, of_them)
        shells, of_them, without = shells + 1, of_them + unplaced, without + parentless
        if shells == _FULL:
            shells, of_them, without = shells // 2, of_them // 2, without // 2
        self._shells = (shells, of_them, without)
        return not before and _is_over(shells, of_them)

    def last_scrape_ns(self) -> int:
        """Event time of the latest scrape of those that came last; 0 if none had a time."""
        return max(self._known())

    def interval_ns(self) -> int | None:
        """The time between scrapes; ``None`` while it cannot be told."""
        times = sorted(filter(None, self._known()))
        if len(times) < _FEWEST:
            return None
        gaps = sorted(later - earlier for earlier, later in pairwise(times))
        return gaps[(len(gaps) - 1) // 2]

    def of_node(self, node: NodeId, quiet_ns: int) -> NodeCoverage:
        """All of it, ``quiet_ns`` after the last frame."""
        state = NodeState.REPORTING if quiet_ns < self.silent_after_ns else NodeState.SILENT
        cpu, memory, init = map(_was_seen, self._ages)
        frames, pathless, relative = self._frames
        shells, unplaced, parentless = self._shells
        return NodeCoverage(
            node=node,
            state=NodeState.GONE if quiet_ns >= GONE_NS else state,
            quiet_ns=quiet_ns,
            last_scrape_ns=self.last_scrape_ns(),
            host=self.host,
            interval_ns=self.interval_ns(),
            cpu=cpu,
            memory=memory,
            init=init,
            frames=frames,
            pathless=pathless,
            relative=relative,
            shells=shells,
            unplaced=unplaced,
            parentless=parentless,
        )

    def _known(self) -> tuple[int, ...]:
        return _TIMES.unpack(self._times)

    def _is_new(self, time_ns: int) -> bool:
        known = self._known()
        if any(-SPREAD_NS < time_ns - each < SPREAD_NS for each in known):
            return False
        self._times = _TIMES.pack(*known[1:], min(time_ns, _LATEST_NS))
        return True

    # --- checkpoints

    def dump(self) -> list[object]:
        """The state as JSON has it."""
        return [
            list(self._known()),
            self._ages,
            self._frames,
            self._shells,
            self.host,
            self.silent,
            self.silences,
        ]

    def load(self, dumped: list[Any] | None) -> None:
        """Take what :meth:`dump` gave; nothing if it was written when there was no coverage."""
        if dumped is None:
            return
        times, ages, frames, shells, self.host, self.silent, self.silences = dumped
        self._times = _TIMES.pack(*times)
        cpu, memory, init = ages
        read, pathless, relative = frames
        told, unplaced, parentless = (*shells, 0)[:3]  # two, if written before parents were counted
        self._ages, self._frames, self._shells = (
            (cpu, memory, init),
            (read, pathless, relative),
            (told, unplaced, parentless),
        )
        self.silent_after_ns = max(SILENT_NS, 2 * (self.interval_ns() or 0))


def scrape_ns(record: Record) -> int:
    """Event time of the scrape that a record is of."""
    times = record.probe_times_ns or tuple(sample.time_ns for sample in record.samples)
    return max(times, default=0)


def _of_sample(sample: Sample) -> int:
    found = signs.of_process(
        path=bool(sample.path), command_line=sample.command_line is not None, cgroup=sample.cgroup
    )
    for point in sample.points:
        found |= signs.MEMORY if point.metric is Metric.MEMORY else signs.CPU
    return found


def _older(age: int) -> int:
    return min(age + 1, _MISSING) if age >= 0 else age + 1 or _MISSING


def _was_seen(age: int) -> bool | None:
    return None if age < 0 else age < _MISSING
