"""Killed again and again, the judge accounts for each opening once, and scores no shell twice.

What opened is counted where it is sent: every shell that an agent shows is a new one, with a memory that is
not 0, so it opens once. What became of it is counted where it arrives, by ``event_id``. ``SOAK=1`` kills 400
times; ``KILL_SEED`` repeats the choices of a run.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.otlp_receiver.encode import process
from tests.reliability.kill_hec import UnreliableHec
from tests.reliability.kill_lives import Lives
from tests.reliability.load import SECOND, Agent, Node, Tally
from tests.reliability.test_kill_loop import BEHIND_NS

if TYPE_CHECKING:
    from pathlib import Path

SOAK = bool(os.environ.get("SOAK"))
KILLS = 400 if SOAK else 40
CAP: Final = 100
POLICY: Final = """
rules:
  - {id: quiet, reason: known, owner: ops, action: suppress, matchers: 'systemd.unit="quiet.service"'}
  - {id: noted, reason: known, owner: ops, action: annotate, matchers: 'systemd.unit="noted.service"'}
  - {id: rated, reason: known, owner: ops, action: {score: 7}, matchers: 'systemd.unit="rated.service"'}
"""
WORTH: Final = {"cron": 5, "quiet": 0, "noted": 5, "rated": 7, "login": 40, "old": 0}
"""The most that a shell of each kind may score."""


class JudgedNode(Node):
    """Its shells live for two scrapes each; ``kinds`` says what each pid is."""

    def __init__(self, name: str, now_ns: int, chance: random.Random) -> None:
        super().__init__(name, now_ns, chance)
        self.kinds: dict[int, str] = {}
        self._chance = chance
        self._dying: list[tuple[dict[str, str | bytes | int], int]] = []

    def scrape(self) -> list[bytes]:
        self._bin += 1
        at_ns = self._bin * SECOND
        frames = [self._frame(process(1, "systemd"), self._boot_ns, at_ns, ((), 0.5))]
        frames += [self._frame(shell, start_ns, at_ns, ((), 1.5)) for shell, start_ns in self._dying]
        if self.kinds:
            kinds = self._chance.choices(("cron", "quiet", "noted", "rated", "login"), k=2)
            fresh = [self._shell(kind, at_ns - SECOND // 2) for kind in kinds]
        else:
            fresh = [self._shell("old", self._boot_ns + SECOND) for _ in range(4)]
        frames += [self._frame(shell, start_ns, at_ns, ((), 1.5)) for shell, start_ns in fresh]
        self._dying = fresh
        return frames

    def _shell(self, kind: str, start_ns: int) -> tuple[dict[str, str | bytes | int], int]:
        pid = 1000 + len(self.kinds)
        self.kinds[pid] = kind
        line = "-bash" if kind == "login" else f"bash -c 'work {pid}'"
        unit = "session-1.scope" if kind == "login" else f"{kind}.service"
        cgroup = f"0::/system.slice/{unit}"
        return process(pid, "bash", parent_pid=1, cgroup=cgroup, command_line=line), start_ns


def events_of(hec: UnreliableHec) -> list[dict[str, Any]]:
    """Each event once, by its id."""
    return [json.loads(body)["event"] for body in list(hec.bodies.values())]


def accounted(events: list[dict[str, Any]]) -> Counter[str]:
    """How many openings each kind of event tells of."""
    found: Counter[str] = Counter()
    for event in events:
        if event["kind"] == "opened":
            found["opened"] += 1
            found["summarised"] += event.get("preexisting_summary", False)
        elif event["kind"] in {"burst", "preexisting", "suppressed"}:
            found[event["kind"]] += event["count"]
    return found


def overspent(events: list[dict[str, Any]], nodes: list[JudgedNode]) -> list[str]:
    """Shells and risk objects that scored more than they may."""
    kinds = {node.name: node.kinds for node in nodes}
    shells: Counter[tuple[str, int]] = Counter()
    objects: Counter[str] = Counter()
    for event in events:
        score = event.get("risk_score", 0)
        if "process.pid" in event:
            shells[event["k8s.node.name"], event["process.pid"]] += score
        if score:
            objects[event["risk_object"]] += score
    return [
        *(f"{at}: {score}" for at, score in shells.items() if score > WORTH[kinds[at[0]][at[1]]]),
        *(f"{name}: {score}" for name, score in objects.items() if score > CAP),
    ]


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600 if SOAK else 1200)
def test_every_opening_is_told_or_counted_once_however_often_the_service_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("KILL_SEED") or random.randrange(1 << 32))
    sys.stdout.write(f"KILL_SEED={seed}\n")  # shown if it fails
    chance, tally = random.Random(seed), Tally()
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    with ExitStack() as stack:
        hec = stack.enter_context(UnreliableHec(chance))
        lives = Lives(
            tmp_path,
            hec,
            tally,
            chance,
            POLICY__PATH=str(policy),
            RISK__PROFILE="balanced",
            RISK__PREEXISTING="summary",
            RISK__MAX_PER_OBJECT=f"{CAP}/24h",
            RISK__BURST__AFTER="3",
            RISK__BURST__PERIOD="1m",
        )
        stack.callback(lives.end)
        begin_ns = time.time_ns() - BEHIND_NS
        nodes = [JudgedNode(f"worker-{number}", begin_ns, chance) for number in range(3)]
        agents = [Agent([node], lives.port, chance, tally) for node in nodes]
        for agent in agents:
            stack.callback(agent.abandon)
            agent.start()
        kills = KILLS
        lives.kill_until(kills)
        while max(hec.taken.values(), default=0) < 2 and kills < 4 * KILLS:  # a slow machine delivers little
            kills += 5
            lives.kill_until(kills)
        hec.is_reliable = True
        lives.begin()
        lives.wait_until_started()
        for agent in agents:
            agent.finish()
        for agent in agents:
            agent.join(60)
            assert not agent.is_alive(), agent.name
        sent = Counter(kind for node in nodes for kind in node.kinds.values())

        def complete() -> bool:
            found = accounted(events_of(hec))
            return found["opened"] + found["burst"] + found["suppressed"] >= sum(sent.values()) and (
                found["preexisting"] >= sent["old"]
            )

        deadline = time.monotonic() + 150  # the longest period is a minute
        while not complete() and time.monotonic() < deadline:
            time.sleep(0.1)
        status = lives.terminate()
    events = events_of(hec)
    found = accounted(events)
    with capsys.disabled():
        sys.stdout.write(f"\n  {json.dumps({'kills': kills, 'sent': sent, 'accounted': found})}\n")
    assert (status, tally.never_again, sorted(hec.unequal)) == (0, [], [])
    assert found["opened"] + found["burst"] + found["suppressed"] == sum(sent.values())
    assert (found["suppressed"], found["preexisting"], found["summarised"]) == (
        sent["quiet"],
        sent["old"],
        sent["old"],
    )
    assert overspent(events, nodes) == []
    assert min(found["burst"], lives.seen.recoveries, lives.seen.outbox_waiting) > 0
    assert any("capped_score" in event for event in events)
    assert max(hec.taken.values()) > 1, "no event was delivered twice: this proves nothing"
