"""From what was observed to the shells of the comparison: seen by which, when, with which averages. Pure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.types import CloseReason
from otel_shell_detector.comparison.why import Case, Why, reasons
from otel_shell_detector.search.spl import BIN_NS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detector.types import ShellId
    from otel_shell_detector.comparison.facts import Facts, RowId
    from otel_shell_detector.comparison.observing import Observed, Session
    from otel_shell_detector.search.spl import Key

SAME: Final = 1e-12
"""Relative difference up to which two averages are equal."""


class Name(NamedTuple):
    """Which shell. ``start_ns`` is 0 where nobody says; ``incarnation`` counts its sessions from 0."""

    cluster: str
    node: str
    host: str
    pid: str
    name: str
    start_ns: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class Told:
    """What the detector says. Averages are over the whole session, as the search's are over a run's range.

    ``latency_ns``: from the first positive sample to the event.
    """

    event_id: str
    session_id: str
    released_ns: int
    latency_ns: int
    windows: int
    cpu: float | None
    memory: float | None


@dataclass(frozen=True, slots=True)
class Reported:
    """What a run of the search says: a row that holds this shell, and how many shells it holds.

    ``latency_ns``: from the shell's first positive sample to the start of the run.
    """

    run_ns: int
    key: Key
    latency_ns: int
    shells: int
    cpu: float | None
    memory: float | None


@dataclass(frozen=True, slots=True)
class Shell:
    """A row of the comparison."""

    name: Name
    line: str
    first_ns: int
    last_ns: int
    told: Told | None
    reported: tuple[Reported, ...]
    why: tuple[Why, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the search and how many rows it gives."""

    run_ns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """``shells`` are those that the detector or the search sees, ``neither`` those that none of them does."""

    shells: tuple[Shell, ...]
    neither: tuple[Shell, ...]
    runs: tuple[Run, ...]


def compare(observed: Observed) -> Comparison:
    """All shells, in order of their first positive sample."""
    holders = Holders(observed)
    shells = sorted(
        (*_of_identities(observed, holders), *_of_strangers(observed, holders)),
        key=lambda shell: (shell.first_ns, shell.name),
    )
    return Comparison(
        shells=tuple(shell for shell in shells if shell.told or shell.reported),
        neither=tuple(shell for shell in shells if not shell.told and not shell.reported),
        runs=tuple(Run(run_ns, len(found.rows())) for run_ns, found in sorted(observed.searches.items())),
    )


class Holders:
    """How many shells a row holds."""

    def __init__(self, observed: Observed) -> None:
        self.rows: Counter[RowId] = Counter()
        """By row, those with points in the bins that stay."""
        self._bins: Counter[tuple[RowId, int]] = Counter()
        for facts in (*observed.shells.values(), *observed.strangers.values()):
            for row, bins in facts.bins.items():
                self.rows[row] += bool(bins & observed.searches[row.run_ns].surviving(row.key).keys())
                self._bins.update((row, number) for number in bins)

    def in_bins_of(self, facts: Facts) -> int:
        """The most shells in a bin of this one, whether it stays or not."""
        bins = ((row, number) for row, numbers in facts.bins.items() for number in numbers)
        return max((self._bins[each] for each in bins), default=0)


def _of_identities(observed: Observed, holders: Holders) -> Iterator[Shell]:
    for shell_id, facts in observed.shells.items():
        sessions = observed.sessions.get(shell_id, [])
        each: Sequence[Session | None] = sessions or [None]
        for session in each:
            yield _of_session(observed, holders, (shell_id, facts, session, len(sessions)))


def _of_session(
    observed: Observed, holders: Holders, of: tuple[ShellId, Facts, Session | None, int]
) -> Shell:
    shell_id, facts, session, sessions = of
    told = None if session is None else _told(session)
    first_ns, last_ns = facts.first_ns, facts.last_ns
    if session is not None and sessions > 1:
        first_ns, last_ns = session.closed.first_seen_ns, session.closed.last_seen_ns
    reported = _reported(observed, holders, facts, (first_ns, last_ns))
    case = Case(
        facts=facts,
        rules=observed.rules,
        told=session is not None,
        differs=_differs(told, reported),
        sessions=sessions,
        merged=max((holders.in_bins_of(facts), *(each.shells for each in reported))),
        rows=len(reported),
        name=shell_id.name,
        untracked=session is not None and session.closed.reason is CloseReason.UNTRACKED,
        span=session.closed.span if session is not None else None,
    )
    node = shell_id.node
    incarnation = session.opened.incarnation if session is not None else 0
    return Shell(
        Name(
            node.cluster,
            node.node,
            shell_id.host,
            str(shell_id.pid),
            shell_id.name,
            shell_id.start_ns,
            incarnation,
        ),
        facts.line,
        first_ns,
        last_ns,
        told,
        reported,
        reasons(case),
    )


def _of_strangers(observed: Observed, holders: Holders) -> Iterator[Shell]:
    for key, facts in observed.strangers.items():
        reported = _reported(observed, holders, facts, (facts.first_ns, facts.last_ns))
        case = Case(facts=facts, rules=observed.rules, stranger=True, rows=len(reported))
        name = Name(key.cluster, key.node, key.host, key.pid, key.name, 0, 0)
        yield Shell(name, "", facts.first_ns, facts.last_ns, None, reported, reasons(case))


def _told(session: Session) -> Told:
    opened, closed = session.opened, session.closed
    return Told(
        event_id=opened.event_id,
        session_id=opened.session_id,
        released_ns=opened.release_ns,
        latency_ns=opened.release_ns - opened.first_seen_ns,
        windows=closed.span.windows,
        cpu=closed.span.cpu,
        memory=closed.span.memory,
    )


def _reported(
    observed: Observed, holders: Holders, facts: Facts, within: tuple[int, int]
) -> tuple[Reported, ...]:
    """The rows that hold a shell: a bin that stays has a point of it, while it shows that it runs."""
    first, last = (time_ns // BIN_NS for time_ns in within)
    found = []
    for row_id, bins in sorted(facts.bins.items(), key=itemgetter(0)):
        search = observed.searches[row_id.run_ns]
        stay = search.surviving(row_id.key).keys() & bins
        row = search.row(row_id.key)
        if row is not None and any(first <= number <= last for number in stay):
            found.append(
                Reported(
                    row_id.run_ns,
                    row_id.key,
                    row_id.run_ns - within[0],
                    holders.rows[row_id],
                    row.cpu,
                    row.memory,
                )
            )
    return tuple(found)


def _differs(told: Told | None, reported: tuple[Reported, ...]) -> bool:
    if told is None or len(reported) != 1:
        return True
    (row,) = reported
    return row.shells > 1 or not (_same(told.cpu, row.cpu) and _same(told.memory, row.memory))


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=SAME, abs_tol=1e-24)
