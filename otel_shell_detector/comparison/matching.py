"""From what was observed to the comparison: each shell with its session, its rows and its reasons. Pure."""

from __future__ import annotations

import math
from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from detector.types import CloseReason
from otel_shell_detector.comparison.shells import Comparison, Name, Reported, Run, Shell, Told
from otel_shell_detector.comparison.why import Case, reasons
from otel_shell_detector.search.spl import BIN_NS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.types import ShellId
    from otel_shell_detector.comparison.facts import Facts, RowId
    from otel_shell_detector.comparison.observing import Observed, Session

SAME: Final = 1e-12
"""Relative difference up to which two averages are equal."""
_NOTHING: Final = 1e-24
"""Below it the detector's sums, which are on a grid of 2^-96, have no twelve digits left."""


def compare(observed: Observed) -> Comparison:
    """All shells, in order of their first positive sample."""
    rows = _Rows(observed)
    shells = sorted(
        (*_of_identities(observed, rows), *_of_strangers(observed, rows)),
        key=lambda shell: (shell.first_ns, shell.name),
    )
    return Comparison(
        shells=tuple(shell for shell in shells if shell.told or shell.reported),
        neither=tuple(shell for shell in shells if not shell.told and not shell.reported),
        runs=tuple(Run(run_ns, len(found.rows())) for run_ns, found in sorted(observed.searches.items())),
    )


class _Rows:
    """The rows of all runs, and how many shells they hold."""

    def __init__(self, observed: Observed) -> None:
        self._searches = observed.searches
        self._holders: Counter[RowId] = Counter()
        """By row, the shells with points in the bins that stay."""
        self._sharers: Counter[tuple[RowId, int]] = Counter()
        """By bin, the shells with points in it, whether it stays or not."""
        for facts in (*observed.shells.values(), *observed.strangers.values()):
            for row, bins in facts.bins.items():
                self._holders[row] += bool(bins & self._staying(row))
                self._sharers.update((row, number) for number in bins)

    def _staying(self, row: RowId) -> set[int]:
        return set(self._searches[row.run_ns].surviving(row.key))

    def of(self, facts: Facts, first_ns: int, last_ns: int) -> tuple[Reported, ...]:
        """Those that hold a shell: a bin that stays has a point of it, while it shows that it runs."""
        found = []
        for row_id, bins in sorted(facts.bins.items(), key=itemgetter(0)):
            stay = bins & self._staying(row_id)
            row = self._searches[row_id.run_ns].row(row_id.key)
            if row is not None and any(first_ns // BIN_NS <= number <= last_ns // BIN_NS for number in stay):
                latency_ns = row_id.run_ns - first_ns
                holders = self._holders[row_id]
                found.append(Reported(row_id.run_ns, row_id.key, latency_ns, holders, row.cpu, row.memory))
        return tuple(found)

    def sharers(self, facts: Facts) -> int:
        """The most shells in a bin of this one."""
        bins = ((row, number) for row, numbers in facts.bins.items() for number in numbers)
        return max((self._sharers[each] for each in bins), default=0)


def _of_identities(observed: Observed, rows: _Rows) -> Iterator[Shell]:
    for shell_id in observed.shells:
        sessions = observed.sessions.get(shell_id)
        if sessions is None:
            yield _of_session(observed, rows, shell_id, None)
        else:
            yield from (_of_session(observed, rows, shell_id, session) for session in sessions)


def _of_session(observed: Observed, rows: _Rows, shell_id: ShellId, session: Session | None) -> Shell:
    facts, sessions = observed.shells[shell_id], len(observed.sessions.get(shell_id, ()))
    told = None if session is None else _told(session)
    first_ns, last_ns = facts.first_ns, facts.last_ns
    if session is not None and sessions > 1:
        first_ns, last_ns = session.closed.first_seen_ns, session.closed.last_seen_ns
    reported = rows.of(facts, first_ns, last_ns)
    case = Case(
        facts=facts,
        rules=observed.rules,
        told=session is not None,
        differs=_differs(told, reported),
        sessions=sessions,
        merged=max((rows.sharers(facts), *(row.shells for row in reported))),
        rows=len(reported),
        name=shell_id.name,
        untracked=session is not None and session.closed.reason is CloseReason.UNTRACKED,
        span=session.closed.span if session is not None else None,
    )
    name = _name(shell_id, session.opened.incarnation if session is not None else 0)
    return Shell(name, facts.line, first_ns, last_ns, told, reported, reasons(case))


def _name(shell: ShellId, incarnation: int) -> Name:
    node = shell.node
    return Name(node.cluster, node.node, shell.host, str(shell.pid), shell.name, shell.start_ns, incarnation)


def _of_strangers(observed: Observed, rows: _Rows) -> Iterator[Shell]:
    for key, facts in observed.strangers.items():
        reported = rows.of(facts, facts.first_ns, facts.last_ns)
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


def _differs(told: Told | None, reported: tuple[Reported, ...]) -> bool:
    if told is None or len(reported) != 1:
        return True
    (row,) = reported
    return row.shells > 1 or not (_same(told.cpu, row.cpu) and _same(told.memory, row.memory))


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=SAME, abs_tol=_NOTHING)
