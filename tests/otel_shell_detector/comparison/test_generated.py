"""Over hundreds of generated captures: nothing that differs is without a reason, and nothing is lost."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from otel_shell_detector.comparison.matching import compare
from otel_shell_detector.comparison.observing import Observer
from otel_shell_detector.comparison.page import page
from otel_shell_detector.comparison.runs import HOUR_NS, run_of
from otel_shell_detector.comparison.why import Cause
from otel_shell_detector.search.command import SearchRun
from otel_shell_detector.search.spl import Search
from otel_shell_detector.sources import load
from otlp_receiver.reading import UnreadableRequest
from tests.otel_shell_detector.search.generated import BASE, Generator
from tests.otlp_receiver.random_wire import RandomWire

if TYPE_CHECKING:
    from otel_shell_detector.comparison.shells import Shell

pytestmark = pytest.mark.timeout(400)

SETS = 500
COMMON = {
    Cause.ZOMBIE,
    Cause.IDLE,
    Cause.NO_MEASUREMENT,
    Cause.REUSED_PID,
    Cause.NEGATIVE_POINT,
    Cause.LEFT_OUT_POINT,
    Cause.REPEATED_POINT,
    Cause.MISSING_ATTRIBUTE,
    Cause.OTHER_LABELS,
    Cause.SEVERAL_ROWS,
    Cause.LATE_POINT,
    Cause.NOT_READ,
}


def test_whatever_differs_has_a_reason_and_whatever_has_none_is_equal() -> None:
    causes: Counter[Cause] = Counter()
    equal = 0
    for seed in range(SETS):
        observer = Observer(load(None, {}))
        for body in Generator(seed).data_set().requests:
            observer.feed(body)
        found = compare(observer.finish())
        causes.update(why.cause for shell in (*found.shells, *found.neither) for why in shell.why)
        for shell in found.shells:
            if not shell.why:
                assert_equal(shell)
                equal += 1
    assert causes.keys() == COMMON
    assert equal > SETS / 10


def assert_equal(shell: Shell) -> None:
    (row,) = shell.reported
    assert shell.told is not None
    assert row.shells == 1
    for ours, theirs in ((shell.told.cpu, row.cpu), (shell.told.memory, row.memory)):
        assert ours == (theirs if theirs is None else pytest.approx(theirs, rel=1e-12, abs=1e-24))


def test_every_row_of_the_search_is_in_the_comparison() -> None:
    run_ns = run_of(BASE)
    for seed in range(SETS):
        requests = Generator(seed).data_set().requests
        search = Search(run_ns - 70 * HOUR_NS // 60, run_ns - 10 * HOUR_NS // 60)
        alone, observer = SearchRun(search, max_resources=1000), Observer(load(None, {}))
        for body in requests:
            alone.feed(body)
            observer.feed(body)
        found = compare(observer.finish())
        reported = {(each.key, each.cpu, each.memory) for shell in found.shells for each in shell.reported}
        assert {tuple(row) for row in search.rows()} == reported, f"seed {seed}"
        assert sum(run.rows for run in found.runs) == len(reported)


def test_hostile_requests_are_compared_too() -> None:
    causes: Counter[Cause] = Counter()
    for seed in range(300):
        observer = Observer(load(None, {}))
        for part in range(3):
            with suppress(UnreadableRequest):
                observer.feed(RandomWire(3 * seed + part).request())
        found = compare(observer.finish())
        causes.update(why.cause for shell in (*found.shells, *found.neither) for why in shell.why)
        assert page(found, ["x"]).count('<tr class="shell">') == len(found.shells)
    assert causes[Cause.UNEXPLAINED] == 0
    assert len(causes) >= 5
