"""Killed at any moment, hundreds of times, before a Splunk that fails half of the time: nothing is lost.

The service is the real process, killed by SIGKILL. A kill of a process loses nothing that the kernel has
taken: that what is answered is on the disk too is shown by faults below SQLite (tests/store).

``SOAK=1`` kills 2,000 times, ``KILLS`` another number of times. ``KILL_SEED`` repeats the choices of a run,
as far as the timing lets them be the same.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from store.sqlite import SqliteStore
from tests.event_schema import check_lines
from tests.reliability.kill_hec import UnreliableHec
from tests.reliability.kill_lives import Lives, until
from tests.reliability.load import SECOND, Agent, Node, Tally
from tests.reliability.oracle import expected, key_of, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.reliability.load import Shell
    from tests.reliability.oracle import Key

SOAK = bool(os.environ.get("SOAK"))
KILLS = 2000 if SOAK else int(os.environ.get("KILLS") or 200)
BEHIND_NS = 3 * 86_400 * SECOND
"""How far the nodes' clocks are behind: they run faster, and must not get ahead, or an event would tell when
its evidence arrived."""


class Fleet:
    """Three agents of a node each, and a gateway of two."""

    def __init__(self, port: int, tally: Tally, chance: random.Random) -> None:
        begin_ns = time.time_ns() - BEHIND_NS
        self.nodes = [Node(f"worker-{number}", begin_ns, chance) for number in range(5)]
        groups = [self.nodes[:1], self.nodes[1:2], self.nodes[2:3], self.nodes[3:]]
        self._port, self._tally, self._chance = port, tally, chance
        self._agents = [Agent(group, port, chance, tally) for group in groups]

    def start(self) -> None:
        for agent in self._agents:
            agent.start()

    def finish(self, within_s: float) -> None:
        """Let each agent end once everything of it is taken."""
        for agent in self._agents:
            agent.finish()
        for agent in self._agents:
            agent.join(within_s)
            assert not agent.is_alive(), f"{agent.name}: its last request was not taken within {within_s} s"

    def abandon(self) -> None:
        """End the agents, whatever was taken."""
        for agent in self._agents:
            agent.abandon()

    def send_a_new_shell(self) -> Shell:
        """Once the agents have ended: one more scrape of a node, with a shell that none saw before."""
        node = self.nodes[0]
        shell = node.begin()
        shell.is_told, shell.remaining = True, 1000  # however many scrapes there are yet, it lives on
        self._agents = [Agent([node], self._port, self._chance, self._tally)]
        self.start()
        until("the new shell is scraped", lambda: bool(shell.readings), 60)
        self.finish(60)
        return shell

    def shells(self) -> list[Shell]:
        return [shell for node in self.nodes for shell in node.shells]


def _wait_for(keys: set[Key], hec: UnreliableHec, within_s: float) -> None:
    """Until these events are delivered, or the time is over: the verdict says what is missing."""
    deadline = time.monotonic() + within_s
    missing, looked_at = set(keys), 0
    while missing and time.monotonic() < deadline:
        bodies = list(hec.bodies.values())
        missing.difference_update(key_of(json.loads(body)) for body in bodies[looked_at:])
        looked_at = len(bodies)
        time.sleep(0.05)


def _kinds_of(shell: Shell, bodies: Sequence[bytes]) -> list[str]:
    events = (json.loads(body)["event"] for body in bodies)
    return [
        each["kind"]
        for each in events
        if (each["k8s.node.name"], each["process.pid"]) == (shell.node, shell.pid)
    ]


def _report(summary: dict[str, Any], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "kill-loop.json").write_text(json.dumps(summary, indent=1))
    with capsys.disabled():
        sys.stdout.write(f"\n  {json.dumps(summary)}\n")


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600 if SOAK else 1800)
def test_what_was_accepted_is_told_and_nothing_else_however_often_the_service_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("KILL_SEED") or random.randrange(1 << 32))
    sys.stdout.write(f"KILL_SEED={seed}\n")  # shown if it fails
    chance, tally, begun = random.Random(seed), Tally(), time.monotonic()
    with ExitStack() as stack:
        hec = stack.enter_context(UnreliableHec(chance))
        lives = Lives(tmp_path, hec, tally, chance)
        stack.callback(lives.end)
        fleet = Fleet(lives.port, tally, chance)
        stack.callback(fleet.abandon)
        fleet.start()
        lives.kill_until(KILLS // 2)
        for node in fleet.nodes:
            node.expect_ends()
        lives.kill_until(KILLS)
        killed_s = time.monotonic() - begun
        hec.is_reliable = True
        lives.begin()
        lives.wait_until_started()
        fleet.finish(60)
        fresh = fleet.send_a_new_shell()
        wanted = expected(fleet.shells())
        _wait_for({key for key, each in wanted.items() if each.at_the_end}, hec, 150)
        is_ready, status = lives.is_ready(), lives.terminate()
    bodies = hec.in_order()
    store = SqliteStore(lives.state)
    waiting, dead = sum(store.backlog().values()), dict(store.count_dead_letters())
    store.close()
    seen, summary = lives.seen, lives.summary(seed=seed, seconds=round(killed_s))
    _report(summary, tmp_path, capsys)
    assert (is_ready, status, waiting, dead) == (True, 0, 0, {})
    assert (tally.never_again, sorted(hec.unequal), verdict(wanted, bodies)) == ([], [], [])
    assert _kinds_of(fresh, bodies) == ["opened"]
    check_lines(bodies)
    assert min(seen.during_start, seen.during_stop, seen.calls_cut_off, seen.outbox_waiting) > 0, summary
    assert min(seen.journal_trimmed, seen.recoveries) > 0, summary
    assert max(hec.taken.values()) > 1, "no event was delivered twice: this proves nothing"
