"""The benchmark by size runs from its begin to its end; what it measures is not looked at."""

from __future__ import annotations

import re

import pytest

from bench.curves import draw
from bench.growth import fit
from bench.idle import allow_files
from bench.scale import PARTS, QUICK, measure
from bench.scale_page import render

ROWS = [  # of each table: how many, beside its head
    12,
    2,
    3,
    1,
    4,
]
SERIES = {"service", "generator", "measured", "line", "a scrape", "told", "sampled again"}


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_everything_is_answered_every_event_comes_and_every_row_is_told() -> None:
    allow_files(QUICK.connections)
    results = measure(QUICK, list(PARTS))
    runs = [results["fleet"]["found"], *results["nodes"]["found"]["tried"], *results["shells"]["found"]]
    for run in runs:
        assert (run["requests"] > 0, run["unanswered"], run["refused"]) == (True, 0, 0)
    fleet = results["fleet"]["found"]["latency_s"]
    assert (fleet["shells"] > QUICK.shells_of_fleet, fleet["missing"]) == (True, 0)
    assert [point["sessions"] for point in results["sessions"]["found"]["points"]] == list(QUICK.sessions)
    tables = [table for table in render(results).split("\n\n") if table.startswith("| ")]
    assert [len(table.strip().splitlines()) - 2 for table in tables] == ROWS
    assert series(draw(results)) == SERIES


def run(nodes: int, kept_up: int) -> dict[str, object]:
    return {
        "nodes": nodes,
        "cores": {"median": nodes / 5_000},
        "generator_cores": 0.1,
        "rounds_kept_up": kept_up,
        "rounds_measured": 3,
        "on_each_node": 2,
        "cpu_s": 1.0,
        "scrapes": 1_000,
    }


def results() -> dict[str, object]:
    sessions = [{"sessions": 10**power, "rss_mib": 80 + power, "with_windows_mib": 90} for power in (1, 2)]
    points = [{"bytes": size, "cpu_ms": {"median": size / 1e5}} for size in (60_000, 6_000_000)]
    found = {
        "fleet": run(5_000, 3),
        "nodes": {"tried": [run(100, 3), run(9_000, 1)], "largest": 100},
        "processes": {"points": points, "fit": {"constant": 0.0, "slope": 1e-5, "worst": 0.0}},
        "shells": [run(400, 3)],
        "sessions": {"points": sessions},
    }
    return {name: {"found": part} for name, part in found.items()}


def series(picture: bytes) -> set[str]:
    """The ids that are no ids of matplotlib's own: those have a number at their end."""
    return {
        name for name in re.findall(r'<g id="([^"]+)"', picture.decode()) if not re.search(r"_\w*\d+$", name)
    }


def test_the_picture_holds_each_series_and_that_which_does_not_keep_up() -> None:
    assert series(draw(results())) == SERIES | {"not kept up"}


def test_the_picture_of_the_same_results_is_the_same() -> None:
    assert draw(results()) == draw(results())


def test_the_line_is_that_of_the_least_relative_squares() -> None:
    assert fit([(1.0, 5.0), (10.0, 23.0), (100.0, 203.0)]) == pytest.approx(
        {"constant": 3.0, "slope": 2.0, "worst": 0.0}, abs=1e-9
    )
    bent = fit([(1.0, 1.0), (2.0, 2.0), (3.0, 6.0)])
    assert bent["worst"] == pytest.approx(0.5, abs=0.2)
