"""Of a whole run: how processes share it, what is measured, what events are, and that each metric moves."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

import pytest
import structlog
from coverage import Coverage
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from telemetry import metrics
from tests.e2e.processes import Started
from tests.event_schema import check_what_is_encoded

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from prometheus_client import Metric

# No test is timed: an example that is slow under load is not wrong.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
# On the other Pythons: they differ in what they accept, not in what an example shows.
settings.register_profile("few", settings.get_profile("untimed"), max_examples=20)

_TOGETHER: Final = {"tests/e2e/test_live.py", "tests/e2e/test_replay.py"}
"""Files whose tests look at one fixture that takes minutes (tests/e2e/conftest.py)."""
_UNMEASURED: Final = ("slow", "peers", "unmeasured")
# It is back at 0 when a test ends; tests/otlp_receiver/test_server.py looks at it in between.
_moved = {"otel_shell_detector_receiver_in_flight_bytes"}


@pytest.fixture(scope="session", autouse=True)
def _events_are_as_published() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        check_what_is_encoded(patch)
        yield


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    """Processes of one test."""
    processes = Started(tmp_path)
    try:
        yield processes
    finally:
        processes.end()


def _has_moved(family: Metric) -> bool:
    return any(sample.value for sample in family.samples if not sample.name.endswith("_created"))


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """With `pytest -n`: one process runs a file."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "tests/e2e" if path in _TOGETHER else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByFile:
    return _ByFile(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for minutes comes first, so that it is not last."""
    items.sort(key=lambda item: [item.get_closest_marker(mark) is None for mark in ("slow", "peers")])


@contextmanager
def _without_coverage() -> Iterator[None]:
    """Neither this process is measured nor what it starts; that takes as long as all the rest."""
    measuring = Coverage.current()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        if measuring is not None:
            measuring.stop()
        try:
            yield
        finally:
            if measuring is not None:
                measuring.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """The coverage that we hold is that of the other tests: they reach each branch without a real peer."""
    unmeasured = any(map(item.get_closest_marker, _UNMEASURED))
    with _without_coverage() if unmeasured else nullcontext():
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    structlog.reset_defaults()  # a command that was run in this process has configured it
    _moved.update(family.name for family in metrics.REGISTRY.collect() if _has_moved(family))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What moved in a process of `pytest -n`, for the one that started it."""
    _moved.update(getattr(node, "workeroutput", {}).get("moved", ()))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run that passed fails if a metric never moved, unless only a part of the tests was asked for."""
    option = session.config.option
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["moved"] = sorted(_moved)
        return
    everything = session.config.args_source is pytest.Config.ArgsSource.TESTPATHS
    whole = (
        everything
        and not option.keyword
        and not option.deselect
        and option.markexpr in {"", "not peers and not slow"}
    )
    still = sorted({family.name for family in metrics.REGISTRY.collect()} - _moved)
    if whole and still and not session.testsfailed:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("\nNo test moves these metrics:", *still, sep="\n  ")  # noqa: T201  the reason of the failure
