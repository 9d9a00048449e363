"""The judge in the core: what it remembers is stored with what it says, and policies come and go."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from detector.events import Event, Lane
from detector.judging.rules import JudgeRules
from detector.policy import Policy
from detector.rules import Rules
from exporter.event import encode
from exporter.settings import EventSettings
from otel_shell_detector.bench import Bench, first_seen
from otel_shell_detector.clocks import Clocks
from otel_shell_detector.core import Core
from otel_shell_detector.policies.file import Loaded, load
from store.memory import MemoryStore
from store.seams import StoreError
from store.sqlite import SqliteStore
from telemetry import metrics
from tests.detector.world import memory, ns, record, sample
from tests.otel_shell_detector.test_recovery import submit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from detector.judging.outcomes import Telling
    from store.seams import Commit, Store

SUPPRESS = """
rules:
  - id: quiet
    reason: we know
    owner: ops
    action: suppress
    unsafe: true
    matchers: [process.command_line="quiet"]
"""


class Life:
    """A service's state over several cores, with the judge that it has by default."""

    def __init__(self, opened: Callable[[], Store], rules: JudgeRules | None = None) -> None:
        self._open = opened
        self._rules = rules or JudgeRules()
        self.seconds = 0.0
        self.policy: Loaded | None = None
        self.store = opened()
        self.core = self._born()

    def _born(self) -> Core:
        clocks = Clocks(lambda: round(self.seconds * 1e9), lambda: ns(self.seconds))
        self.bench = Bench(self._rules, _encode)
        if self.policy is not None:
            self.bench.adopt(self.policy)
        core = Core(Rules(), self.store, self.bench, lambda: None, clocks, close_at_stop=True)
        core.is_alive = lambda: True  # type: ignore[method-assign]  # it is turned by hand
        core.turn(0)
        return core

    def crash(self) -> None:
        self.store.close()
        self.store = self._open()
        self.core = self._born()

    def adopt(self, policy: Loaded) -> None:
        self.policy = policy
        self.bench.adopt(policy)

    def run_to(self, seconds: float) -> None:
        while self.seconds < seconds:
            self.seconds += 5
            self.core.turn(0)

    def scrape(self, at: float, *lines: tuple[int, str]) -> None:
        """A scrape with shells of these pids and command lines."""
        self.run_to(at)
        shells = (sample(at, memory(at), pid=pid, line=line) for pid, line in lines)
        in_unit = (replace(shell, cgroup="0::/system.slice/x.service") for shell in shells)
        submit(self, record(at, *in_unit))

    def told(self) -> list[tuple[str, str, Any]]:
        """(lane, kind, pid or count) of what waits."""
        found = [
            (lane, json.loads(queued.event.body)["event"])
            for lane in Lane
            for queued in self.store.take(lane, 999)
        ]
        return [(lane, event["kind"], event.get("process.pid", event.get("count"))) for lane, event in found]


def _encode(telling: Telling) -> Event:
    return encode(telling, EventSettings())


@pytest.fixture(params=["memory", "sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / "state")
    kept = MemoryStore()
    return lambda: kept


def policy(path: Path, text: str, seen: dict[str, int] | None = None) -> Loaded:
    path.write_text(text)
    return load(path, ns(0), seen or {})


def test_what_a_rule_suppresses_is_counted_and_told_when_the_rule_goes_away(
    opened: Callable[[], Store], tmp_path: Path
) -> None:
    life = Life(opened)
    life.adopt(policy(tmp_path / "p.yaml", SUPPRESS))
    for at in range(5, 95, 10):
        life.scrape(at, (23, "quiet"), (24, "loud"))
    assert life.told() == [("risk", "opened", 24), ("audit", "suppressed", 1)]
    assert first_seen(life.store) == life.policy.first_seen  # type: ignore[union-attr]  # adopted above
    assert len(first_seen(life.store)) == 1
    life.adopt(policy(tmp_path / "p.yaml", "rules: []"))
    life.run_to(100)
    assert life.told()[:2] == [("risk", "opened", 24), ("risk", "opened", 23)]
    before = metrics.JUDGED.labels(result="told")._value.get()
    life.adopt(policy(tmp_path / "p.yaml", SUPPRESS))
    life.run_to(105)
    assert metrics.JUDGED.labels(result="told")._value.get() == before


@pytest.mark.parametrize("crashes", [False, True])
def test_a_suppressed_session_stays_silent_over_a_crash(
    opened: Callable[[], Store], tmp_path: Path, *, crashes: bool
) -> None:
    life = Life(opened)
    life.adopt(policy(tmp_path / "p.yaml", SUPPRESS))
    for at in range(5, 45, 10):
        life.scrape(at, (23, "quiet"))
        if crashes:
            life.crash()
    for at in range(45, 405, 10):
        life.scrape(at)
        if crashes and at < 200:  # a scrape without shells may be lost with a crash
            life.crash()
    assert life.told() == [("audit", "suppressed", 1)]
    assert not list(life.store.notes("silenced", "", 9))  # type: ignore[arg-type]  # its text


@pytest.mark.parametrize("crashes", [False, True])
def test_the_same_again_is_told_as_a_burst_at_the_end_of_the_hour(
    opened: Callable[[], Store], *, crashes: bool
) -> None:
    life = Life(opened)
    for at in range(5, 105, 10):
        life.scrape(at, *((pid, "sh -c true") for pid in range(20, 26)))
        if crashes:
            life.crash()
    assert [each for each in life.told() if each[1] == "burst"] == []
    for at in range(105, 3800, 60):
        life.scrape(at)
    told = life.told()
    assert [each[1] for each in told].count("opened") == 3
    assert [each for each in told if each[1] == "burst"] == [("context", "burst", 3)]
    # of those that were folded, no end is told
    assert [each[1] for each in told].count("closed") == 3


def test_at_the_end_of_a_pod_without_a_volume_what_is_counted_is_told() -> None:
    life = Life(MemoryStore)
    life.scrape(5, *((pid, "sh -c true") for pid in range(20, 26)))
    life.core._finish()
    told = life.told()
    assert [each[1] for each in told].count("opened") == 3
    assert [each for each in told if each[1] == "burst"] == [("context", "burst", 3)]


def test_a_note_that_cannot_be_stored_is_not_forgotten(tmp_path: Path) -> None:
    class Failing(MemoryStore):
        fails = False

        def commit(self, change: Commit) -> None:
            if self.fails:
                raise StoreError("disk full")
            super().commit(change)

    store = Failing()
    life = Life(lambda: store)
    store.fails = True
    life.adopt(policy(tmp_path / "p.yaml", SUPPRESS))
    life.run_to(10)
    assert first_seen(store) == {}
    store.fails = False
    life.run_to(15)
    assert first_seen(store) == life.policy.first_seen  # type: ignore[union-attr]  # adopted above


def test_without_a_policy_no_rule_applies() -> None:
    assert first_seen(MemoryStore()) == {}
    life = Life(MemoryStore)
    life.adopt(Loaded(Policy(), {}))
    life.scrape(5, (23, "quiet"))
    life.run_to(30)
    assert life.told() == [("risk", "opened", 23)]


def test_a_session_that_is_not_here_any_more_is_not_told_again(tmp_path: Path) -> None:
    """The note is there still, but its node is not."""
    life = Life(MemoryStore)
    life.adopt(policy(tmp_path / "p.yaml", SUPPRESS))
    life.scrape(5, (23, "quiet"))
    life.run_to(30)
    life.core._detector._nodes.clear()
    life.adopt(policy(tmp_path / "p.yaml", "rules: []"))
    life.run_to(35)
    assert [each for each in life.told() if each[1] == "opened"] == []
