"""A core that stops anywhere, without a word, is followed by one that goes on as if nothing had happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from detector.detector import Detector
from detector.events import Event, Lane
from detector.node import Node
from detector.rules import Rules
from detector.types import Arrival
from otel_shell_detector.clocks import Clocks
from otel_shell_detector.core import Core
from otlp_receiver.server import NotAccepted
from store.memory import MemoryStore
from store.sqlite import SqliteStore
from telemetry import metrics
from tests.detector.world import cpu, ns, record, sample
from tests.otel_shell_detector.benches import plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from detector.types import Finding, Record
    from store.seams import Store

POISONOUS = 66


def encode(finding: Finding) -> Event:
    body = f"{finding.kind} {finding.shell.pid} {finding.incarnation} {finding.ordinal} {finding.span}"
    return Event(Lane.RISK, finding.event_id, body.encode(), finding.arrived_ns)


class Life:
    """A service's state over several cores; seconds of service time and of the nodes are the same."""

    def __init__(self, opened: Callable[[], Store]) -> None:
        self._open = opened
        self.seconds = 0.0
        self.rules = Rules()
        self.store = opened()
        self.core = self._born()

    def _born(self) -> Core:
        clocks = Clocks(lambda: round(self.seconds * 1e9), lambda: ns(self.seconds))
        core = Core(self.rules, self.store, plain(encode), lambda: None, clocks)
        core.is_alive = lambda: True  # type: ignore[method-assign]  # it is turned by hand
        core.turn(0)
        return core

    def crash(self) -> None:
        """Nothing but what is stored is left."""
        self.store.close()
        self.store = self._open()
        self.core = self._born()

    def told(self) -> list[bytes]:
        return [queued.event.body for queued in self.store.take(Lane.RISK, 999)]


class Living(Protocol):
    """Whose core is turned by hand."""

    core: Core
    seconds: float


def submit(life: Living, *records: Record) -> None:
    """Accept records in this thread: journal and decide, as a turn does."""
    core = life.core
    core._append([Arrival(item, core._clock.now_ns, ns(life.seconds)) for item in records])
    core.turn(0)


def story(life: Life, crashes: frozenset[int]) -> list[bytes]:
    """Forty scrapes, 5 s apart: one shell throughout, one that ends, one that comes late, and quiet ones."""
    for number in range(40):
        at = number * 5.0
        life.seconds = at
        shells = [sample(at, pid=23)]
        if number < 6:
            shells.append(sample(at, cpu(at, 0.5), pid=24))
        if number > 20:
            shells.append(sample(at, pid=25, start=at - 1 if number == 21 else 104))
        submit(life, record(at, *shells, init=-500) if number % 3 else record(at, init=-500))
        if number in crashes:
            life.crash()
    for _ in range(60):
        life.seconds += 5
        life.core.turn(0)
    return life.told()


def sqlite(folder: Path) -> Life:
    return Life(lambda: SqliteStore(folder))


def test_after_a_crash_at_any_point_the_same_is_told(tmp_path: Path) -> None:
    expected = story(sqlite(tmp_path / "none"), frozenset())
    assert [line.split()[0] for line in expected].count(b"opened") == 3
    assert b"closed 24" in b"".join(expected)
    for crashed in range(40):
        assert story(sqlite(tmp_path / str(crashed)), frozenset({crashed})) == expected
    # Each of these takes the seconds since the last tick from service time: what is told may come later.
    assert sorted(story(sqlite(tmp_path / "all"), frozenset(range(40)))) == sorted(expected)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_record_that_the_detector_cannot_take_is_set_aside_and_the_rest_goes_on(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Node.feed

    def broken(self: Node, arrival: Arrival, answers: object) -> None:
        if any(each.pid == POISONOUS for each in arrival.record.samples):
            raise ZeroDivisionError
        feed(self, arrival, answers)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(Node, "feed", broken)
    before = metrics.POISON.labels(kind="record")._value.get()
    life = sqlite(tmp_path / "state") if kind == "sqlite" else Life(MemoryStore)
    submit(life, record(3, sample(3)))
    submit(life, record(4, sample(4, pid=POISONOUS)), record(4, sample(4, pid=24)))
    life.core.turn(0)
    assert life.store.count_dead_letters() == {("journal", "ZeroDivisionError"): 1}
    for _ in range(4):
        life.seconds += 5
        life.core.turn(0)
    assert [line.split()[:2] for line in life.told()] == [[b"opened", b"23"], [b"opened", b"24"]]
    assert metrics.POISON.labels(kind="record")._value.get() == before + 1


def test_a_node_that_cannot_go_on_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life = sqlite(tmp_path / "state")
    submit(life, record(3, sample(3)))
    advance = Node.advance

    def broken(self: Node, now_ns: int) -> None:
        if self._shells and now_ns:
            raise ZeroDivisionError
        advance(self, now_ns)

    monkeypatch.setattr(Node, "advance", broken)
    for _ in range(6):
        life.seconds += 5
        life.core.turn(0)
    assert life.store.count_dead_letters() == {("journal", "ZeroDivisionError"): 1}
    assert life.core.is_accepting()


def test_new_rules_begin_where_the_old_log_ends(tmp_path: Path) -> None:
    life = sqlite(tmp_path / "state")
    submit(life, record(3, sample(3)))
    life.rules = Rules(window_ns=20_000_000_000)
    life.crash()
    assert [line.split()[:2] for line in life.told()] == [[b"opened", b"23"]]
    life.seconds = 5
    submit(life, record(5, sample(5)), record(25, sample(25)))
    for _ in range(8):
        life.seconds += 5
        life.core.turn(0)
    life.crash()
    assert len(life.told()) == 1
    assert life.core._detector.open_sessions() == 1


def test_nothing_is_accepted_before_the_store_was_read() -> None:
    core = Core(Rules(), MemoryStore(), plain(encode), lambda: None)
    core.is_alive = lambda: True  # type: ignore[method-assign]  # it is turned by hand
    with pytest.raises(NotAccepted):
        core.accept([record(3, sample(3))])
    core.turn(0)
    assert core.is_accepting()
    assert isinstance(core._detector, Detector)
