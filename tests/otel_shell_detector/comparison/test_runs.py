from __future__ import annotations

import pytest

from detector.types import NANOSECONDS
from otel_shell_detector.comparison.runs import run_of

HOUR = 3600


@pytest.mark.parametrize(
    ("time", "run"),
    [
        # The run of ten covers [8:50, 9:50).
        ("8:50:00", 10),
        ("9:49:59.999999999", 10),
        ("9:50:00", 11),
        ("10:49:59", 11),
        ("8:49:59.999999999", 9),
    ],
)
def test_a_time_is_in_the_range_of_one_run(time: str, run: int) -> None:
    hours, minutes, seconds = time.split(":")
    whole, _, fraction = seconds.partition(".")
    time_ns = (int(hours) * HOUR + int(minutes) * 60 + int(whole)) * NANOSECONDS + int(fraction or 0)
    assert run_of(time_ns) == run * HOUR * NANOSECONDS
