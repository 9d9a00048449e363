"""The arithmetic of the search, step by step."""

from __future__ import annotations

import sys

import pytest

from detector.types import NANOSECONDS, Metric
from otel_shell_detector.search.spl import Key, Row, Search

KEY = Key("host", "cluster", "node", "7", "bash")
BASE = 1_800_000_000
CPU, MEMORY = Metric.CPU, Metric.MEMORY


def ns(seconds: float) -> int:
    return BASE * NANOSECONDS + round(seconds * NANOSECONDS)


def found(
    *points: tuple[float, Metric, float], earliest: float | None = None, latest: float | None = None
) -> Row | None:
    search = Search(None if earliest is None else ns(earliest), None if latest is None else ns(latest))
    for at, metric, value in points:
        search.add(KEY, metric, ns(at), value)
    return search.row(KEY)


def test_bins_are_averaged_first_and_then_weigh_the_same() -> None:
    #   0          10         20
    #   | 1 1 1 1  |   3      |
    points = [(0.0, MEMORY, 1.0), (1, MEMORY, 1.0), (2, MEMORY, 1.0), (9.999, MEMORY, 1.0), (10, MEMORY, 3.0)]
    assert found(*points) == Row(KEY, None, 2.0)


def test_a_bin_is_filtered_by_its_averages_not_by_its_points() -> None:
    #   0          10         20         30
    #   | -2  1    |  -1  2   |  0       |
    points = [(0, CPU, -2.0), (5, CPU, 1.0), (10, CPU, -1.0), (15, CPU, 2.0), (20, CPU, 0.0)]
    assert found(*points) == Row(KEY, 0.5, None)


def test_either_average_keeps_the_bin_and_the_other_counts_with_it() -> None:
    assert found((0, CPU, -1.0), (0, MEMORY, 0.1)) == Row(KEY, -1.0, 0.1)
    assert found((0, CPU, 0.0), (0, MEMORY, 0.0)) is None


def test_a_repeated_point_counts_again() -> None:
    assert found((0, CPU, 1.0), (0, CPU, 1.0), (0, CPU, 4.0)) == Row(KEY, 2.0, None)


def test_bounds_hold_for_points_and_cut_a_bin() -> None:
    points = [(4, CPU, 1.0), (5, CPU, 3.0), (12, CPU, 5.0), (14, CPU, 7.0)]
    assert found(*points, earliest=5, latest=14) == Row(KEY, 4.0, None)
    assert found(*points, earliest=15) is None
    assert found(*points, latest=4) is None


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([0.1] * 10, 0.1),
        ([1e308, 1e308, 1e308], 1e308),
        ([sys.float_info.max, -sys.float_info.max, 3.0], 1.0),
        ([5e-324, 5e-324], 5e-324),
        ([1e16, 1.0, -1e16], 1 / 3),
    ],
)
def test_averages_are_exact_in_any_order(values: list[float], mean: float) -> None:
    for order in (values, values[::-1]):
        assert found(*((0, CPU, value) for value in order)) == Row(KEY, mean, None)


def test_rows_stand_in_the_order_of_their_fields_as_texts() -> None:
    search = Search()
    keys = [KEY._replace(pid=pid, name=name) for pid, name in [("9", "sh"), ("10", "sh"), ("9", "bash")]]
    for key in keys:
        search.add(key, CPU, ns(0), 1.0)
    search.add(KEY, CPU, ns(0), 0.0)
    assert [(row.key.pid, row.key.name) for row in search.rows()] == [
        ("10", "sh"),
        ("9", "bash"),
        ("9", "sh"),
    ]
