"""The comparison as a picture: one line for each shell, in SVG that a page holds inline.

The time of the capture takes the left two thirds. What comes after it, up to the last run of the search that
reports anything, takes the right third, on a scale of its own.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from otel_shell_detector.comparison.words import many, moment, span
from otel_shell_detector.kinds import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_shell_detector.comparison.shells import Shell

MOST: Final = 200
"""Lines in a picture; more would not be looked at one by one."""
WIDTH: Final = 1000
_LEFT: Final = 210
_RIGHT: Final = 20
_TOP: Final = 34
_LINE: Final = 24
_SHARE: Final = 2 / 3
_MARK: Final = 4.5
_LABEL: Final = 28


class _Scale:
    """From times to places across the picture."""

    def __init__(self, shells: Sequence[Shell]) -> None:
        self.start_ns = min(shell.first_ns for shell in shells)
        self.end_ns = 1 + max(
            max(shell.last_ns, shell.told.released_ns if shell.told else 0) for shell in shells
        )
        runs = [reported.run_ns for shell in shells for reported in shell.reported]
        self.after_ns = max((*runs, self.end_ns))
        whole = WIDTH - _LEFT - _RIGHT
        self.edge = _LEFT + whole * (_SHARE if self.after_ns > self.end_ns else 1.0)

    def x(self, time_ns: int) -> float:
        if time_ns <= self.end_ns:
            part = (time_ns - self.start_ns) / (self.end_ns - self.start_ns)
            return round(_LEFT + part * (self.edge - _LEFT), 1)
        part = (time_ns - self.end_ns) / (self.after_ns - self.end_ns)
        return round(self.edge + part * (WIDTH - _RIGHT - self.edge), 1)


def picture(shells: Sequence[Shell], most: int = MOST) -> str:
    """The SVG of shells of which each is seen by the detector or the search; of too many, the first."""
    shown = shells[:most]
    scale = _Scale(shown)
    height = _TOP + _LINE * len(shown) + 12
    title = escape(f"{many(len(shown), 'shell')}: seen by the detector and by runs of the search")
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">',
        *_axis(scale, height),
        *(line for number, shell in enumerate(shown) for line in _shell(scale, number, shell)),
        "</svg>",
    ]
    return "\n".join(parts)


def _axis(scale: _Scale, height: int) -> Iterator[str]:
    ticks = [(scale.start_ns, "start"), (scale.end_ns, "middle")]
    if scale.after_ns > scale.end_ns:
        ticks.append((scale.after_ns, "end"))
        yield (
            f'<rect class="after" x="{scale.edge:.1f}" y="{_TOP - 8}" '
            f'width="{WIDTH - _RIGHT - scale.edge:.1f}" height="{height - _TOP}"/>'
        )
    for time_ns, anchor in ticks:
        x = scale.x(time_ns)
        yield f'<line class="tick" x1="{x}" y1="{_TOP - 8}" x2="{x}" y2="{height - 8}"/>'
        yield f'<text class="time" x="{x}" y="14" text-anchor="{anchor}">{moment(time_ns)}</text>'


def _shell(scale: _Scale, number: int, shell: Shell) -> Iterator[str]:
    y = _TOP + _LINE * number + _LINE / 2
    label = one_line(f"{shell.name.pid} {shell.name.name} {shell.line}")
    if len(label) > _LABEL:
        label = f"{label[: _LABEL - 1]}…"
    yield f'<g class="shell"><text class="label" x="0" y="{y + 4}">{escape(label)}</text>'
    first, last = scale.x(shell.first_ns), scale.x(shell.last_ns)
    until = max((scale.x(reported.run_ns) for reported in shell.reported), default=last)
    yield f'<line class="wait" x1="{first}" y1="{y}" x2="{until}" y2="{y}"/>'
    yield (
        f'<rect class="life" x="{first}" y="{y - 4}" width="{max(last - first, 2):.1f}" height="8">'
        f"<title>samples from {moment(shell.first_ns)} to {moment(shell.last_ns)}</title></rect>"
    )
    for reported in shell.reported:
        x = scale.x(reported.run_ns)
        yield (
            f'<rect class="search" x="{x - _MARK}" y="{y - _MARK}" width="{2 * _MARK}" height="{2 * _MARK}">'
            f"<title>search: after {span(reported.latency_ns)}</title></rect>"
        )
    if shell.told is not None:
        yield (
            f'<circle class="detector" cx="{scale.x(shell.told.released_ns)}" cy="{y}" r="{_MARK}">'
            f"<title>detector: after {span(shell.told.latency_ns)}</title></circle>"
        )
    yield "</g>"
