"""A look at what is in memory of one shell, for people who ask. It changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector import evidence
from detector.points import Means, means, unpack
from detector.sessions import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.rules import Rules
    from detector.sessions import Shell
    from detector.types import Evidence, Point, ShellId, Span
    from detector.windows import Window


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
    ends included, that were counted. ``sign_ns`` is the event time of the last sign of life, ``first_ns`` that
    of the node's first known scrape. ``incarnation`` is -1 while nothing positive was seen of it.
    """

    shell: ShellId
    is_open: bool
    incarnation: int
    ordinal: int
    evidence: Evidence
    span: Span | None
    told: tuple[tuple[int, int], ...]
    windows: tuple[OpenWindow, ...]
    sign_ns: int
    first_ns: int


def look_at(
    shell: Shell, windows: Iterable[tuple[int, int, Window]], rules: Rules, first_ns: int
) -> Look:
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
        sign_ns=shell.sign_ns,
        first_ns=first_ns,
    )


def _open(number: int, deadline_ns: int, window: Window) -> OpenWindow:
    return OpenWindow(
        number, deadline_ns, tuple(unpack(window.points)), means(window.points), window.survives
    )
