"""Of a whole run: every metric that is documented was seen moving."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telemetry import metrics

if TYPE_CHECKING:
    from prometheus_client import Metric

# It is back at 0 when a test ends; tests/otlp_receiver/test_server.py looks at it in between.
_moved = {"otel_shell_detector_receiver_in_flight_bytes"}


def _has_moved(family: Metric) -> bool:
    return any(sample.value for sample in family.samples if not sample.name.endswith("_created"))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    _moved.update(family.name for family in metrics.REGISTRY.collect() if _has_moved(family))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run that passed fails if a metric never moved, unless only a part of the tests was asked for."""
    option = session.config.option
    everything = session.config.args_source is pytest.Config.ArgsSource.TESTPATHS
    whole = everything and not option.keyword and not option.deselect and option.markexpr in {"", "not peers"}
    still = sorted({family.name for family in metrics.REGISTRY.collect()} - _moved)
    if whole and still and not session.testsfailed:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("\nNo test moves these metrics:", *still, sep="\n  ")  # noqa: T201  the reason of the failure
