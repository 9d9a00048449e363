from __future__ import annotations

from detector import points
from detector.types import Metric, Point


def test_a_set_has_a_point_for_each_metric_state_and_time() -> None:
    given = [
        Point(Metric.CPU, "user", 1, 0.5),
        Point(Metric.CPU, "user", 1, 0.25),
        Point(Metric.CPU, "wait", 1, 0.5),
        Point(Metric.CPU, "user", 2, 0.5),
        Point(Metric.MEMORY, "", 1, 0.5),
    ]
    data, conflicts = points.merge(b"", given)
    assert (points.size(data), points.size(b""), conflicts) == (4, 0, 1)
