"""The core: what it accepts, when it answers, and what it does when the store or the detector fail."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from detector.events import Event, Lane, Outcome, Settlement
from detector.rules import Rules
from otel_shell_detector.clocks import Clocks
from otel_shell_detector.core import Core, CoreStoppedError
from otel_shell_detector.dispatch import Dispatch
from otlp_receiver.server import NotAccepted
from store.memory import MemoryStore
from store.seams import Position, StoreError
from telemetry import metrics
from tests.detector.world import NODE, cpu, memory, ns, record, sample
from tests.otel_shell_detector.benches import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.types import Finding
    from store.seams import Commit


class Time:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def clocks(self) -> Clocks:
        return Clocks(lambda: round(self.seconds * 1e9), lambda: ns(self.seconds))


class Failing(MemoryStore):
    """A memory store that fails on demand."""

    fails: bool = False

    def commit(self, change: Commit) -> None:
        if self.fails:
            raise StoreError("disk full")
        super().commit(change)

    def take(self, lane: Lane, limit: int):  # type: ignore[no-untyped-def]  # noqa: ANN201  as its base
        if self.fails:
            raise StoreError("disk full")
        return super().take(lane, limit)


def encode(finding: Finding) -> Event:
    return Event(Lane.RISK, finding.event_id, finding.kind.encode(), finding.arrived_ns)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store() -> Failing:
    return Failing()


@pytest.fixture
def core(time: Time, store: Failing) -> Iterator[Core]:
    made = Core(Rules(), store, plain(encode), lambda: None, time.clocks(), close_at_stop=True)
    made.turn(0)
    yield made
    if made._thread.is_alive():
        made.stop()


def submit(core: Core, item: object) -> list[BaseException]:
    """Submit a record from another thread; the list gets what it raised. The core is turned by hand."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            core.accept([item])  # type: ignore[list-item]  # a record
        except NotAccepted as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    core.turn(5)
    thread.join()
    return raised


def turn_to(core: Core, time: Time, seconds: float) -> None:
    while time.seconds < seconds:
        time.seconds = min(seconds, time.seconds + 5)
        core.turn(0)


def test_a_core_that_still_reads_its_store_has_not_stalled(time: Time, store: Failing) -> None:
    core = Core(Rules(), store, plain(encode), lambda: None, time.clocks())
    time.seconds = 1000
    reading = core.turned_ns
    core.turn(0)
    time.seconds = 2000
    assert (reading, core.turned_ns) == (1000 * 10**9, 1000 * 10**9)


def test_a_sample_becomes_an_event_when_its_window_closes(core: Core, time: Time, store: Failing) -> None:
    core.is_alive = lambda: True  # type: ignore[method-assign]  # it is turned by hand
    assert submit(core, record(3, sample(3))) == []
    turn_to(core, time, 14.9)
    assert store.take(Lane.RISK, 9) == []
    turn_to(core, time, 15)
    [queued] = store.take(Lane.RISK, 9)
    assert queued.event.body == b"opened"


def test_frozen_time_is_no_time(core: Core, time: Time, store: Failing) -> None:
    core.is_alive = lambda: True  # type: ignore[method-assign]  # it is turned by hand
    submit(core, record(3, sample(3)))
    time.seconds = 4000
    core.turn(0)
    assert store.take(Lane.RISK, 9) == []
    assert metrics.SERVICE_TIME._value.get() == 5.0


def test_while_a_decision_cannot_be_stored_nothing_is_accepted_and_nothing_is_lost(
    core: Core, time: Time, store: Failing
) -> None:
    core.is_alive = lambda: True  # type: ignore[method-assign]  # it is turned by hand
    submit(core, record(3, sample(3)))
    store.fails = True
    turn_to(core, time, 16)
    assert not core.is_accepting()
    [refused] = submit_late(core)
    assert isinstance(refused, NotAccepted)
    store.fails = False
    core.turn(0)
    assert core.is_accepting()
    assert len(store.take(Lane.RISK, 9)) == 1


def submit_late(core: Core) -> list[BaseException]:
    try:
        core.accept([record(5, sample(5))])
    except NotAccepted as error:
        return [error]
    return []


def test_a_full_store_is_told_to_the_sender(core: Core, store: Failing) -> None:
    core.is_alive = lambda: True  # type: ignore[method-assign]  # it is turned by hand
    store._max_events = 0
    before = metrics.STORE_FAILURES.labels(operation="append")._value.get()
    [refused] = submit(core, record(3, sample(3)))
    assert "events wait for delivery" in str(refused)
    assert metrics.STORE_FAILURES.labels(operation="append")._value.get() == before + 1


def test_nobody_waits_for_a_record_that_may_be_lost_unless_the_journal_refuses(
    core: Core, store: Failing
) -> None:
    core.is_alive = lambda: True  # type: ignore[method-assign]  # it is turned by hand
    before = metrics.JOURNAL_RECORDS._value.get()
    core.accept([record(3)])
    core.turn(0)
    assert metrics.JOURNAL_RECORDS._value.get() == before + 1
    store._max_events = 0
    core.accept([record(4)])
    [refused] = submit(core, record(5, sample(5)))
    assert "events wait for delivery" in str(refused)
    assert metrics.JOURNAL_RECORDS._value.get() == before + 1
    assert submit(core, record(6)) == []
    assert metrics.JOURNAL_RECORDS._value.get() == before + 3
    kept, _ = store.peek(NODE, Position(0), 9)
    assert [arrival.record for _, arrival in kept] == [record(3), record(4), record(6)]


def test_the_thread_takes_and_settles_for_delivery_and_tells_what_was_open_at_the_stop(
    core: Core, store: Failing
) -> None:
    core.start()
    core.accept([record(3, sample(3))])
    assert core.take(Lane.RISK, 5) == []
    assert core.backlog()[Lane.RISK] == 0
    store.fails = True
    with pytest.raises(StoreError):
        core.take(Lane.RISK, 5)
    store.fails = False
    core.stop()
    # after its end the rest of delivery is served all the same
    [queued] = core.take(Lane.RISK, 5)
    core.settle([Outcome(queued.sequence, Settlement.DONE)])
    assert not any(core.backlog().values())
    with pytest.raises(NotAccepted):
        core.accept([record(4, sample(4))])


def test_a_detector_that_fails_ends_the_core_loudly_and_refuses_who_waits(time: Time, store: Failing) -> None:

    def broken(now_ns: int) -> None:
        raise ZeroDivisionError

    core = Core(Rules(), store, plain(encode), lambda: None, time.clocks())
    core._store.service_ns = broken  # type: ignore[assignment]  # a defect that does not exist yet
    failures = metrics.THREAD_FAILURES._value.get()
    core.start()
    core._thread.join()
    assert isinstance(core.failed, TypeError)
    assert metrics.THREAD_FAILURES._value.get() == failures + 1
    with pytest.raises(NotAccepted):
        core.accept([record(4, sample(4))])
    with pytest.raises(CoreStoppedError):
        core.take(Lane.RISK, 1)


def test_what_the_detector_counts_is_seen_in_the_metrics(core: Core) -> None:
    core.is_alive = lambda: True  # type: ignore[method-assign]  # it is turned by hand
    negative = metrics.DETECTOR_POINTS.labels(reason="negative")._value.get()
    opened = metrics.DETECTOR_WINDOWS.labels(result="opened")._value.get()
    corrected = metrics.DETECTOR_INCIDENTS.labels(kind="start_corrected")._value.get()
    blind = metrics.MEMORY_UTILIZATION_MISSING._value.get()
    submit(core, record(3, sample(3, (*cpu(3, -1.0), *memory(3))), init=-500))
    submit(core, record(4, sample(4), init=-400))
    for at in range(10):
        submit(core, record(at, sample(at, cpu(at, 0.5)), node=type(NODE)("c", "blind")))
    assert metrics.DETECTOR_POINTS.labels(reason="negative")._value.get() == negative + 1
    assert metrics.DETECTOR_WINDOWS.labels(result="opened")._value.get() == opened + 3
    assert metrics.DETECTOR_INCIDENTS.labels(kind="start_corrected")._value.get() == corrected + 1
    assert metrics.MEMORY_UTILIZATION_MISSING._value.get() == blind + 1


class BrokenDeliverer:
    """A deliverer that raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def turn(self, now: float) -> float:
        raise self.error


@pytest.mark.parametrize(
    ("error", "defects"), [(CoreStoppedError("no answer"), 0), (RuntimeError("a defect"), 1)]
)
def test_a_delivery_that_fails_says_so(error: Exception, defects: int) -> None:
    dispatch = Dispatch(BrokenDeliverer(error), lambda: True)  # type: ignore[arg-type]  # one that fails
    failures = metrics.THREAD_FAILURES._value.get()
    dispatch.start()
    dispatch._thread.join()
    assert dispatch.failed is error
    assert metrics.THREAD_FAILURES._value.get() == failures + defects
    assert not dispatch.is_alive()
