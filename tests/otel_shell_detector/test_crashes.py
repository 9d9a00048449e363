"""Every opening is told or counted once, wherever the core dies around a commit to the real store."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, ClassVar

import pytest

from detector.events import Lane
from detector.judging.rules import JudgeRules
from detector.types import NANOSECONDS
from store.sqlite import SqliteStore
from tests.detector.world import memory, record, sample
from tests.otel_shell_detector.test_bench import SUPPRESS, Life, policy
from tests.otel_shell_detector.test_recovery import submit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from store.seams import Commit


class Killed(Exception):  # noqa: N818  no error of the product: it does not catch this
    """The process is gone."""


class Mortal(SqliteStore):
    """Dies now and then, before a commit or right after it."""

    chance = Random(0)
    deaths: ClassVar[Counter[str]] = Counter()

    def commit(self, change: Commit) -> None:
        if self.chance.random() < 0.2:
            self.deaths["before"] += 1
            raise Killed
        super().commit(change)
        if self.chance.random() < 0.2:
            self.deaths["after"] += 1
            raise Killed


def survive(life: Life, act: Callable[[], None]) -> None:
    """Do it; who dies of it lives again."""
    try:
        act()
    except Killed:
        survive(life, life.crash)


@pytest.mark.parametrize("seed", range(8))
def test_every_opening_is_told_or_counted_once(tmp_path: Path, seed: int) -> None:
    Mortal.chance, Mortal.deaths = Random(seed), Counter()
    rules = JudgeRules(burst_after=3, burst_period_ns=60 * NANOSECONDS)
    life = Life(lambda: SqliteStore(tmp_path / "state"), rules)
    life.adopt(policy(tmp_path / "p.yaml", SUPPRESS))
    life._open = lambda: Mortal(tmp_path / "state")
    survive(life, life.crash)
    sent: Counter[str] = Counter()

    def run_to(seconds: float) -> None:
        while life.seconds < seconds:
            life.seconds += 5
            survive(life, lambda: life.core.turn(0))

    for at in range(5, 205, 10):
        run_to(at)
        lines = Mortal.chance.choices(("quiet", "bash -c 'loud 1'"), k=3)
        shells = [
            sample(at, memory(at), pid=1000 * number + at, line=line) for number, line in enumerate(lines, 1)
        ]
        sent.update(lines)
        in_unit = [replace(shell, cgroup="0::/system.slice/x.service") for shell in shells]
        survive(life, partial(submit, life, record(at, *in_unit)))
    run_to(400)
    events = [
        json.loads(queued.event.body)["event"] for lane in Lane for queued in life.store.take(lane, 999)
    ]
    life.store.close()
    assert max(Counter(event["event_id"] for event in events).values()) == 1
    told = Counter(event["kind"] for event in events)
    counted: Counter[str] = Counter()
    for event in events:
        counted[event["kind"]] += event.get("count", 0)
    assert told["opened"] + counted["burst"] == sent["bash -c 'loud 1'"]
    assert counted["suppressed"] == sent["quiet"]
    assert min(Mortal.deaths["before"], Mortal.deaths["after"], counted["burst"]) > 0
