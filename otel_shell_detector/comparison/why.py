"""Why the two differ on a shell: each cause is a row of a table, asked of the facts. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from detector.counts import Count
from otel_shell_detector.comparison.words import many, moment
from otel_shell_detector.search.spl import BIN_NS, EXECUTABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.rules import Rules
    from detector.types import Span
    from otel_shell_detector.comparison.facts import Facts


class Cause(enum.StrEnum):
    """What makes the detector and the search differ."""

    ZOMBIE = "zombie"
    IDLE = "idle"
    NO_MEASUREMENT = "no_measurement"
    REUSED_PID = "reused_pid"
    RESUMED = "resumed"
    NEGATIVE_POINT = "negative_point"
    LEFT_OUT_POINT = "left_out_point"
    REPEATED_POINT = "repeated_point"
    MISSING_ATTRIBUTE = "missing_attribute"
    OTHER_LABELS = "other_labels"
    SEVERAL_ROWS = "several_rows"
    BIN_EDGE = "bin_edge"
    WINDOW_LENGTH = "window_length"
    AFTER_RUN = "after_run"
    LATE_POINT = "late_point"
    CEILING = "ceiling"
    OTHER_NAME = "other_name"
    NOT_READ = "not_read"
    UNEXPLAINED = "unexplained"


class Why(NamedTuple):
    """A cause, and what it says of this shell."""

    cause: Cause
    text: str


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked of a shell.

    ``told``: the detector sees it; ``rows``: how many of the search hold it. ``merged``: how many shells its
    row holds. ``sessions``: how many the shell has. ``span``: the detector's statistics. ``stranger``: the
    detector reads no shell there.
    """

    facts: Facts
    rules: Rules
    told: bool = False
    differs: bool = True
    sessions: int = 0
    merged: int = 0
    rows: int = 0
    name: str = ""
    untracked: bool = False
    span: Span | None = None
    stranger: bool = False


def reasons(case: Case) -> tuple[Why, ...]:
    """Why they differ; nothing if they do not."""
    if not case.differs:
        return ()
    found = tuple(_stranger(case) if case.stranger else _found(case))
    return found or (Why(Cause.UNEXPLAINED, "none of the known causes"),)


def _stranger(case: Case) -> Iterator[Why]:
    yield Why(
        Cause.NOT_READ,
        "the detector reads no shell here: its name is not watched, or process.pid is no integer",
    )
    yield from _of_runs(case)


def _found(case: Case) -> Iterator[Why]:
    facts = case.facts
    if not case.told and not case.rows and not facts.first_ns:
        yield from _without_evidence(facts)
        return
    if case.name not in EXECUTABLES:
        yield Why(Cause.OTHER_NAME, f"the search looks for {', '.join(EXECUTABLES)} alone")
    if case.merged > 1:
        yield Why(
            Cause.REUSED_PID,
            f"one row of the search for {case.merged} shells of this pid: it does not look at start times",
        )
    if case.sessions > 1:
        yield Why(Cause.RESUMED, f"the search has no sessions: one row for the {case.sessions} of this shell")
    yield from _of_points(facts)
    if facts.missing:
        fields = ", ".join(sorted(facts.missing))
        yield Why(Cause.MISSING_ATTRIBUTE, f"points without {fields}: the search leaves them out")
    if facts.relabelled:
        yield Why(
            Cause.OTHER_LABELS, "data points carry by-fields of their own; the detector reads the resource's"
        )
    yield from _of_runs(case)
    yield from _of_the_detector(case)


def _without_evidence(facts: Facts) -> Iterator[Why]:
    if facts.memory:
        yield Why(
            Cause.ZOMBIE,
            "no point of it is above 0, of memory neither: a zombie, which none of the two reports",
        )
    elif facts.unusable_memory:
        yield Why(
            Cause.NO_MEASUREMENT,
            "no point of it is above 0, and those of memory have no time or no usable value: "
            "none of the two can see it",
        )
    else:
        yield Why(
            Cause.IDLE, "it uses no CPU, and memory utilization is not sent: none of the two can see it"
        )


def _of_points(facts: Facts) -> Iterator[Why]:
    for reason, how_many in sorted(facts.left_out.items()):
        if reason is Count.POINT_NEGATIVE:
            yield Why(
                Cause.NEGATIVE_POINT,
                f"{_points(how_many, 'negative')} from {moment(facts.negative_ns)} on: "
                "the search averages them, the detector leaves them out",
            )
        else:
            what = reason.removeprefix("point_").replace("_", " ")
            yield Why(Cause.LEFT_OUT_POINT, f"{_points(how_many)} that the detector leaves out: {what}")
    if facts.repeated:
        yield Why(
            Cause.REPEATED_POINT, f"{_points(facts.repeated, 'repeated')}, which the search counts each time"
        )


def _of_runs(case: Case) -> Iterator[Why]:
    facts = case.facts
    if facts.too_late:
        its, them = ("its", "it") if facts.too_late == 1 else ("their", "them")
        yield Why(
            Cause.AFTER_RUN,
            f"{_points(facts.too_late)} that came after the run over {its} time: no run sees {them}",
        )
    if case.rows > 1:
        yield Why(
            Cause.SEVERAL_ROWS, f"{case.rows} rows of the search report it, each with averages of its own"
        )
    if facts.cut_windows:
        windows = many(facts.cut_windows, "window")
        yield Why(Cause.BIN_EDGE, f"the range of a run ends inside of {windows} of the detector")


def _of_the_detector(case: Case) -> Iterator[Why]:
    if case.rules.window_ns != BIN_NS:
        yield Why(
            Cause.WINDOW_LENGTH, f"windows of {case.rules.window_ns / 1e9:g} s; the search has bins of 10 s"
        )
    if case.untracked:
        yield Why(Cause.CEILING, "beyond detector.max_tracked_shells: told from one sample alone")
    elif _lost_points(case):
        yield Why(
            Cause.LATE_POINT, "points that came when their window or session had closed changed nothing"
        )


def _lost_points(case: Case) -> bool:
    """Whether the detector's statistics are others than those of all points in time."""
    if case.sessions > 1:
        return False
    wanted, span = case.facts.in_time(case.rules), case.span
    if wanted is None or span is None:
        return wanted is not span
    return (wanted.windows, wanted.cpu, wanted.memory) != (span.windows, span.cpu, span.memory)


def _points(how_many: int, which: str = "") -> str:
    return many(how_many, f"{which} point".strip())
