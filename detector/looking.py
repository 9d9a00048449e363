"""A look at what is in memory of one shell, for people who ask. It changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from detector import evidence
from detector.description import describe
from detector.identity import event_id, session_id
from detector.points import Means, means, unpack
from detector.sessions import State
from detector.types import Finding, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.rules import Rules
    from detector.sessions import Shell
    from detector.types import Evidence, Point, ShellId, Span
    from detector.windows import Window


class Identity(NamedTuple):
    """A shell in memory, and how far it was told: see :class:`Look`."""

    shell: ShellId
    incarnation: int
    ordinal: int


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """A window that is open: its bin, the service time at which it closes, and the points that it holds."""

    number: int
    deadline_ns: int
    points: tuple[Point, ...]
    means: Means
    survives: bool


@dataclass(frozen=True, slots=True)
class Look:
    """A shell in memory: a candidate, or an open session.

    ``span`` is over all windows that were counted, ``None`` if none was. ``told`` are intervals of bins, both
    ends included, that were counted. ``first_ns`` is the event time of the node's first known scrape.
    ``incarnation`` is -1 while nothing positive was seen of it.
    """

    shell: ShellId
    is_open: bool
    incarnation: int
    ordinal: int
    evidence: Evidence
    span: Span | None
    told: tuple[tuple[int, int], ...]
    windows: tuple[OpenWindow, ...]
    first_ns: int


def look_at(shell: Shell, windows: Iterable[tuple[int, int, Window]], rules: Rules, first_ns: int) -> Look:
    """What is in memory of a shell, with its open windows (bin, deadline, window)."""
    windows = list(windows)
    seen = shell.sightings
    for _, _, window in windows:
        seen = evidence.merge(seen, window.sightings)
    total = shell.total
    return Look(
        shell=shell.id,
        is_open=shell.state is State.OPEN,
        incarnation=shell.incarnation,
        ordinal=shell.ordinal,
        evidence=evidence.resolve(seen),
        span=total.span(rules.window_ns) if total.windows else None,
        told=tuple(shell.told_bins(rules)),
        windows=tuple(_open(*each) for each in windows),
        first_ns=first_ns,
    )


def opening_of(look: Look, store_id: str) -> Finding | None:
    """The opening of an open session, as far as it is known by now; ``None`` if no window has closed."""
    span = look.span
    if not look.is_open or span is None:
        return None
    return Finding(
        event_id=event_id(store_id, look.shell, look.incarnation, Kind.OPENED, 0),
        session_id=session_id(store_id, look.shell, look.incarnation),
        kind=Kind.OPENED,
        shell=look.shell,
        incarnation=look.incarnation,
        ordinal=0,
        span=span,
        first_seen_ns=span.first_ns,
        last_seen_ns=span.last_ns,
        envelope_ns=span.first_ns,
        evidence=look.evidence,
        context=describe(look.shell.name, look.evidence),
        node_first_ns=look.first_ns,
    )


def _open(number: int, deadline_ns: int, window: Window) -> OpenWindow:
    return OpenWindow(
        number, deadline_ns, tuple(unpack(window.points)), means(window.points), window.survives
    )
