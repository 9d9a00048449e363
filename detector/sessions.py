"""Sessions: what an analyst sees of a shell, and what is remembered of it.

A shell is a *candidate* until its first surviving window closes; then its session is *open* until it closes,
for good::

    CANDIDATE --first surviving window closes--> OPEN --exited | node_silent | pid_reused--> CLOSED
        |                                          `--every renotify: ongoing
        `--its last open window closes without surviving--> forgotten

A session remembers which bins closed surviving: ``newest`` and one bit for each bin within the replay horizon
before it. A point of such a bin is a repetition; a point of any other bin within the horizon is late but new,
and opens a window of its own.
"""

from __future__ import annotations

import enum
import sys
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Self

from detector import evidence
from detector.points import means
from detector.tally import Tally
from detector.types import CloseReason, ShellId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.ancestry import Ancestry
    from detector.context import Process
    from detector.rules import Rules
    from detector.types import Evidence, NodeId, Sample, SessionRow
    from detector.windows import Window


_MAX_SPENT: Final = 8
_NEVER_RESUMED: Final = frozenset({CloseReason.PID_REUSED, CloseReason.UNTRACKED})
_NOT_RECALLED: Final = -1
"""An incarnation before what the store remembers of the identity was applied."""


class State(enum.Enum):
    """Where a shell is in its life."""

    CANDIDATE = enum.auto()
    OPEN = enum.auto()
    CLOSED = enum.auto()


class Shell:
    """The state of one incarnation of an identity.

    ``sign_ns`` is the event time of the last sign of life. ``floor_ns`` is the last positive point of the
    incarnation before this one: its bin and all before it are told already. ``open_windows`` counts the bins
    that hold a window of it. ``explained``: its parent is known.
    """

    __slots__ = (
        "_bits",
        "_lowest",
        "_newest",
        "_shown",
        "_since_notified",
        "_spent",
        "_total",
        "early_bin",
        "explained",
        "floor_ns",
        "id",
        "incarnation",
        "notified_end_ns",
        "open_windows",
        "ordinal",
        "sightings",
        "sign_ns",
        "state",
    )

    def __init__(self, shell_id: ShellId) -> None:
        self.id = shell_id
        self.state = State.CANDIDATE
        self.incarnation = _NOT_RECALLED
        self.floor_ns = 0
        self.ordinal = 0
        self.early_bin: int | None = None
        self.notified_end_ns = 0
        self.open_windows = 0
        self.sign_ns = 0
        self.sightings = evidence.NONE
        self.explained = False
        self._shown = 0
        self._total = b""
        self._since_notified = b""
        self._newest: int | None = None
        self._bits = 0
        self._lowest = 0
        self._spent: tuple[tuple[int, int], ...] = ()
        """Intervals of bins that were told in memories before this one."""

    @property
    def recalled(self) -> bool:
        """Whether what the store remembers of the identity was applied."""
        return self.incarnation != _NOT_RECALLED

    def recall(self, row: SessionRow | None) -> None:
        """Apply what is remembered of the identity."""
        self.incarnation = 0 if row is None else row.incarnation + 1
        if row is None:
            return
        self.floor_ns = row.last_seen_ns
        if row.reason in _NEVER_RESUMED:
            self.state = State.CLOSED

    @property
    def total(self) -> Tally:
        """Of all surviving windows so far; a copy."""
        return Tally.unpack(self._total)

    @property
    def since_notified(self) -> Tally:
        """Of the surviving windows since the last finding; a copy."""
        return Tally.unpack(self._since_notified)

    def notified(self, end_ns: int) -> None:
        """A finding went out whose last window ends there."""
        self.notified_end_ns = end_ns
        self._since_notified = b""

    def is_told(self, number: int, rules: Rules) -> bool:
        """Whether that bin was counted: in this incarnation or before it, or before the clock went back."""
        if self.floor_ns and number <= self.floor_ns // rules.window_ns:
            return True
        if any(low <= number <= high for low, high in self._spent):
            return True
        return (
            self._newest is not None
            and number <= self._newest
            and bool(self._bits >> (self._newest - number) & 1)
        )

    def told_bins(self, rules: Rules) -> list[tuple[int, int]]:
        """Intervals of bins, both ends included, in which a point changes nothing as it was counted."""
        newest, oldest = self._newest, self._lowest
        if newest is None:
            return list(self._spent)
        found = list(self._spent)
        for number in range(max(oldest, newest - rules.horizon_bins), newest + 1):
            if not self._bits >> (newest - number) & 1:
                continue
            if found and found[-1][1] == number - 1:
                found[-1] = (found[-1][0], number)
            else:
                found.append((number, number))
        return sorted(found)

    def is_beyond_horizon(self, number: int, rules: Rules) -> bool:
        """Whether that bin is too old to be remembered."""
        return self._newest is not None and self._newest - number > rules.horizon_bins

    def absorb(self, number: int, window: Window, rules: Rules) -> None:
        """Count a surviving window that has closed."""
        self._remember(number, rules)
        self.saw(evidence.merge(self.sightings, window.sightings))
        window_means = means(window.points)
        total = self.total
        total.add(window_means, window.first, window.last)
        self._total = total.pack()
        if number == self.early_bin:
            # It was told when it was still open.
            self.early_bin = None
            return
        since = self.since_notified
        since.add(window_means, window.first, window.last)
        self._since_notified = since.pack()

    def saw(self, sightings: evidence.Sightings) -> None:
        """Take sightings that hold those of before."""
        if sightings != self.sightings:
            self.sightings = sightings
            seen = evidence.resolve(sightings)
            self.explained = seen.kin is not None
            self._shown = hash(replace(seen, kin=None))

    def sighting(
        self, sample: Sample, ancestry: Ancestry, processes: Mapping[int, Process]
    ) -> evidence.Sighting | None:
        """What a sample shows, with its record's processes around it; ``None`` if that adds nothing."""
        seen = evidence.of_sample(sample, ancestry.cgroup(sample.cgroup))
        if self.has_shown(seen):
            return None
        return sample.time_ns, replace(seen, kin=ancestry.of_record(sample, processes))

    def has_shown(self, seen: Evidence) -> bool:
        """Whether a later sample that shows this adds nothing; quick, for nearly all samples are such."""
        return self.explained and self._shown == hash(seen)

    def _remember(self, number: int, rules: Rules) -> None:
        if self._newest is None:
            self._newest = self._lowest = number
            self._bits = 1
        elif number > self._newest:
            ahead = number - self._newest
            if ahead > rules.horizon_bins:
                self._forget_but_for_bounds()
                self._lowest = number
            self._newest = number
            self._bits = (self._bits << ahead | 1) & ((2 << rules.horizon_bins) - 1)
        else:
            self._lowest = min(self._lowest, number)
            # Beyond the mask there is no need to remember it: such a bin is refused for its age.
            self._bits |= (1 << (self._newest - number)) & ((2 << rules.horizon_bins) - 1)

    def _forget_but_for_bounds(self) -> None:
        """Begin a memory anew; all bins between the bounds of the old one stay told, so none counts twice."""
        if self._newest is not None and self._bits:
            self._spent = _joined(((self._lowest, self._newest), *self._spent))
        self._bits = 0

    def restart_at(self, number: int, rules: Rules) -> None:
        """Start the memory anew at a bin: the node's clock went back behind the horizon."""
        start_ns = number * rules.window_ns
        self._forget_but_for_bounds()
        self._newest = self._lowest = number
        self.sign_ns = start_ns
        self.notified_end_ns = min(self.notified_end_ns, start_ns + rules.window_ns)
        total = self.total
        total.rewind()
        self._total = total.pack()

    def last_told_ns(self, rules: Rules) -> int:
        """The event time up to which the next incarnation must not count anything."""
        ends_ns = ((high + 1) * rules.window_ns - 1 for _, high in self._spent)
        return max((self.total.last_ns, *ends_ns))

    def dump(self) -> list[object]:
        """The shell as JSON has it, for a checkpoint; without the node, which is the checkpoint's."""
        return [
            self.id.host,
            self.id.pid,
            self.id.start_ns,
            self.id.name,
            self.state.value,
            self.incarnation,
            self.floor_ns,
            self.ordinal,
            self.early_bin,
            self.notified_end_ns,
            self.sign_ns,
            evidence.dump(self.sightings),
            self._total.hex(),
            self._since_notified.hex(),
            self._newest,
            hex(self._bits),
            self._lowest,
            self._spent,
        ]

    @classmethod
    def load(cls, node: NodeId, dumped: list[Any]) -> Self:
        """Take what :meth:`dump` gave."""
        host, pid, start_ns, name, state, *rest = dumped
        shell = cls(ShellId(node, sys.intern(host), pid, start_ns, sys.intern(name)))
        shell.state = State(state)
        shell.incarnation, shell.floor_ns, shell.ordinal, shell.early_bin, *rest = rest
        shell.notified_end_ns, shell.sign_ns, seen, total, since, shell._newest, bits, *rest = rest
        shell._lowest, spent = rest
        shell.saw(evidence.load(seen))
        shell._total, shell._since_notified = bytes.fromhex(total), bytes.fromhex(since)
        shell._bits = int(bits, 16)
        shell._spent = tuple((low, high) for low, high in spent)
        return shell

    def rebase(self, before: Rules, rules: Rules) -> None:
        """Go on under rules with other windows or another horizon: what was told stays told.

        All bins between the bounds of the old memory are told from now on, so none counts twice.
        """
        self._forget_but_for_bounds()
        self.early_bin = None
        self._spent = _joined(
            tuple(
                (
                    low * before.window_ns // rules.window_ns,
                    ((high + 1) * before.window_ns - 1) // rules.window_ns,
                )
                for low, high in self._spent
            )
        )
        if self._newest is not None:
            self._newest = self._lowest = self._newest * before.window_ns // rules.window_ns

    def went_back(self, newest_of_node: int, rules: Rules) -> bool:
        """Whether the node's newest recent bin lies more than the horizon before what was seen here."""
        newest = max(self._newest or 0, self.sign_ns // rules.window_ns)
        return newest_of_node < newest - rules.horizon_bins


def _joined(intervals: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """The same bins in a bounded number of intervals: of too many the two nearest become one."""
    ordered = sorted(intervals)
    while len(ordered) > _MAX_SPENT:
        gaps = [later[0] - earlier[1] for earlier, later in pairwise(ordered)]
        at = gaps.index(min(gaps))
        low, high = ordered[at][0], max(ordered[at][1], ordered[at + 1][1])
        ordered[at : at + 2] = [(low, high)]
    return tuple(ordered)
