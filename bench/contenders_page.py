"""The tables of ``make bench``: what it measured, side by side.

A ratio is taken in each round, of what was measured in it a moment apart; what is shown is the median of the
rounds, and the least and the most. CPU time holds what a request causes later.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final, Literal

from bench.circumstances import told
from bench.markdown import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

GZIP: Final = "gzip"
ENCODINGS: Final = ("none", GZIP)
SHELLS: Final = (0, 2, 30)

NOOP: Final = "noop"
NOOP_TLS: Final = "noop-tls"
COLLECTOR: Final = "collector"
COLLECTOR_FILTER: Final = "collector-filter"
ROTEL: Final = "rotel"
OURS: Final = "ours"
OURS_TLS: Final = "ours-tls"

ROWS: Final = (NOOP, OURS, NOOP_TLS, OURS_TLS, COLLECTOR, COLLECTOR_FILTER, ROTEL)
COLUMNS: Final = tuple((shells, encoding) for shells in SHELLS for encoding in ENCODINGS)
_NS: Final = 1000


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound of ``above`` / ``below`` for each of some columns: ``bound`` says of which kind."""

    what: str
    above: str
    below: str
    bound: Literal["at most", "at least"]
    bounds: Mapping[tuple[int, str], float]


def _same(bound: float, *shells: int) -> dict[tuple[int, str], float]:
    return {(each, encoding): bound for each in shells for encoding in ENCODINGS}


GOALS: Final = (
    Goal("this service / no-op", OURS, NOOP, "at most", {(0, "none"): 1.05, (0, GZIP): 0.85}),
    Goal("this service / no-op", OURS, NOOP, "at most", {(2, "none"): 1.3, (2, GZIP): 1.0}),
    Goal(
        "Collector with filter / this service", COLLECTOR_FILTER, OURS, "at least", _same(4, 0) | _same(3, 2)
    ),
    Goal("Collector / this service", COLLECTOR, OURS, "at least", _same(1, *SHELLS)),
    Goal("rotel / this service", ROTEL, OURS, "at least", _same(1, *SHELLS)),
)


class Measured:
    """What a run left, to be asked by shells, encoding and contender."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.titles: Mapping[str, str] = results["titles"]
        self.like: Mapping[str, str] = results["like"]
        self.absent: Mapping[str, str] = results["absent"]
        self.points = {each["shells"]: each["points"] for each in results["workloads"]}
        self._cells = {
            (each["shells"], each["encoding"], each["contender"]): each for each in results["cells"]
        }

    def later_us(self, column: tuple[int, str], name: str) -> float | None:
        """CPU time that a request caused later, of one whose later work was measured."""
        later = self._cells[(*column, name)]["rounds"].get("later_us")
        return median(later) if later else None

    def rounds(self, column: tuple[int, str], name: str, what: str) -> list[float]:
        """What was measured of a contender, for each round."""
        cell = self._cells[(*column, name)]
        if what == "rss_mib":
            return [cell["rss_mib"]]
        measured: list[float] = cell["rounds"][what]
        if what == "cpu_us" and (later := cell["rounds"].get("later_us")):
            return [now + then for now, then in zip(measured, later, strict=True)]
        return measured

    def ratios(self, column: tuple[int, str], above: str, below: str, what: str) -> list[float]:
        """One contender to another, for each round."""
        pairs = zip(self.rounds(column, above, what), self.rounds(column, below, what), strict=True)
        return [one / other for one, other in pairs]


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} [{min(values):.2f}-{max(values):.2f}]"


def _column(column: tuple[int, str]) -> str:
    shells, encoding = column
    named = f"{shells} shells" if shells else "no shells"
    return named if encoding == "none" else f"{named}, gzip"


def _ratios(measured: Measured) -> str:
    """CPU time of every contender in every column."""
    rows = []
    for name in ROWS:
        title, like = measured.titles[name], measured.like[name]
        if name in measured.absent:
            rows.append([title, *["not measured"] * len(COLUMNS)])
        elif name == like:
            cells = [f"1 ({median(measured.rounds(each, name, 'cpu_us')):,.0f} µs)" for each in COLUMNS]
            rows.append([title, *cells])
        else:
            named = title if like == NOOP else f"{title} (to {measured.titles[like]})"
            cells = [_spread(measured.ratios(each, name, like, "cpu_us")) for each in COLUMNS]
            rows.append([named, *cells])
    return table(["CPU time per request, ratio to the no-op", *map(_column, COLUMNS)], rows)


def _goals(measured: Measured) -> str:
    rows = []
    for goal in GOALS:
        for column, bound in goal.bounds.items():
            if {goal.above, goal.below} & set(measured.absent):
                found, is_met = "not measured", "?"
            else:
                ratios = measured.ratios(column, goal.above, goal.below, "cpu_us")
                found = _spread(ratios)
                is_below = median(ratios) <= bound
                is_met = "yes" if is_below == (goal.bound == "at most") else "no"
            wanted = f"{goal.bound} {bound:.2f}"
            rows.append([goal.what, _column(column), wanted, found, is_met])
    return table(["Goal, CPU time per request", "of", "wanted", "measured", "met"], rows)


def _details(measured: Measured, shells: int) -> str:
    head = (
        f"{_column((shells, 'none'))}",
        "CPU, µs",
        "of it later, µs",
        "CPU per point, ns",
        "peak RSS, MiB",
        "requests/s",
        "p50, ms",
        "p99, ms",
        "journal commits",
        "generator's CPU, µs",
    )
    rows = [_detail(measured, (shells, encoding), name) for name in ROWS for encoding in ENCODINGS]
    return table(head, rows)


def _times(measured: Measured, column: tuple[int, str], name: str, what: str) -> str:
    """The ratio to the one that it is compared with."""
    like = measured.like[name]
    return "" if like == name else f" ({median(measured.ratios(column, name, like, what)):.2f})"


def _detail(measured: Measured, column: tuple[int, str], name: str) -> list[str]:
    title = measured.titles[name] + (", gzip" if column[1] == GZIP else "")
    if name in measured.absent:
        return [title, *["not measured"] * 9]
    cpu = median(measured.rounds(column, name, "cpu_us"))
    later = measured.later_us(column, name)
    return [
        title,
        f"{cpu:,.0f}",
        f"{later:,.0f}" if later is not None else "",
        f"{cpu * _NS / measured.points[column[0]]:,.0f}",
        f"{median(measured.rounds(column, name, 'rss_mib')):,.0f}{_times(measured, column, name, 'rss_mib')}",
        f"{median(measured.rounds(column, name, 'per_s')):,.0f}{_times(measured, column, name, 'per_s')}",
        f"{median(measured.rounds(column, name, 'p50_ms')):,.1f}{_times(measured, column, name, 'p50_ms')}",
        f"{median(measured.rounds(column, name, 'p99_ms')):,.1f}{_times(measured, column, name, 'p99_ms')}",
        f"{median(measured.rounds(column, name, 'commits')):.2f}" if name in {OURS, OURS_TLS} else "",
        f"{median(measured.rounds(column, name, 'generator_us')):,.0f}",
    ]


def _where(results: Mapping[str, Any]) -> Iterator[str]:
    sizes = results["settings"]
    yield f"{told(results['where'])}, {', '.join(results['versions'].values())}. "
    yield f"{sizes['rounds']} rounds of {sizes['requests']} requests after {sizes['warm_up']} "
    yield "that do not count, "
    yield f"over {sizes['connections']} connections with one call at a time on each.\n\n"


def render(results: Mapping[str, Any]) -> str:
    """The tables, and where they come from."""
    measured = Measured(results)
    requests = table(
        ["A request", "processes", "data points", "bytes", "with gzip"],
        [
            [
                _column((each["shells"], "none")),
                *(f"{each[key]:,}" for key in ("processes", "points", "bytes", "gzip_bytes")),
            ]
            for each in results["workloads"]
        ],
    )
    absent = "".join(f"Not measured: {why}.\n\n" for why in measured.absent.values())
    tables = [_ratios(measured), _goals(measured), requests, *(_details(measured, each) for each in SHELLS)]
    return "".join(_where(results)) + absent + "\n".join(tables)
