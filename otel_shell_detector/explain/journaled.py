"""The samples of a shell that the journal still holds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from detector.points import invalid_reason, sign_of_life
from otel_shell_detector.explain.document import MOST_POINTS, of_point, when
from otel_shell_detector.explain.ends import Ends
from store.seams import Position

if TYPE_CHECKING:
    from detector.looking import Look
    from detector.types import Arrival, Point, Sample, ShellId
    from otel_shell_detector.explain.document import Json
    from otel_shell_detector.explain.inside import Inside, Inspect

_MOST_SAMPLES: Final = 200
"""Of the first, and of the last samples that are kept."""
_PIECE_ENTRIES: Final = 64
_MOST_PIECES: Final = 5_000


def samples_of(shell: ShellId, look: Inspect) -> Json:
    """The samples of a shell that the journal still holds."""
    after: Position | None = Position(0)
    samples: Ends[Json] = Ends(_MOST_SAMPLES)
    for _ in range(_MOST_PIECES):
        if after is None:
            break
        found, after = look(partial(_piece, shell=shell, after=after))
        for each in found:
            samples.add(each)
    return {"samples": samples.kept, "samples_cut": samples.cut}


def _piece(inside: Inside, shell: ShellId, after: Position) -> tuple[list[Json], Position | None]:
    arrivals, further = inside.store.peek(shell.node, after, _PIECE_ENTRIES)
    look, window_ns = inside.detector.look(shell), inside.detector.rules.window_ns
    return [
        _sample(sample, arrival, look, window_ns)
        for _, arrival in arrivals
        for sample in arrival.record.samples
        if _is_of(sample, shell, look)
    ], further


def _is_of(sample: Sample, shell: ShellId, look: Look | None) -> bool:
    starts = {shell.start_ns} | ({look.evidence.start_ns} if look is not None else set())
    same = (sample.host, sample.pid, sample.name) == (shell.host, shell.pid, shell.name)
    return same and sample.start_ns in starts


def _sample(sample: Sample, arrival: Arrival, look: Look | None, window_ns: int) -> Json:
    valid = [point for point in sample.points if invalid_reason(point) is None]
    return {
        "time": when(sample.time_ns),
        "arrived": when(arrival.wall_ns),
        "alive": bool(sign_of_life(sample, valid)),
        "points": [of_point(point) | _fate(point, look, window_ns) for point in sample.points[:MOST_POINTS]],
    }


def _fate(point: Point, look: Look | None, window_ns: int) -> Json:
    number = point.time_ns // window_ns
    reason = invalid_reason(point)
    if reason is not None:
        return {"fate": reason.removeprefix("point_"), "window": None}
    window = when(number * window_ns)
    if look is None:
        return {"fate": "not_known", "window": window}
    if any(each.number == number for each in look.windows):
        return {"fate": "in_open_window", "window": window}
    counted = any(low <= number <= high for low, high in look.told)
    return {"fate": "counted" if counted else "window_not_counted", "window": window}
