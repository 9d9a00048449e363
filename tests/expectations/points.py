"""Risk points of attacks and of what is benign, before and after: the tables of docs/tuning.md.

    python -m tests.expectations.points

It replays the captures whose truth files say which is which, scored as the hourly search does (seed.yaml) and
as by default (balanced.yaml), without any policy.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
CAPTURES = HERE.parent / "captures"
LABELLED = ("worker-2", "worker-3")
"""Captures whose truth files mark attacks: `ATTACK ...` or `benign ...`."""


class Scored(NamedTuple):
    """An event with a score. Of a burst ``pid`` is that of its first shell."""

    pid: int
    what: str
    command_line: str
    row: str
    score: int

    @property
    def is_attack(self) -> bool:
        return self.what.startswith("ATTACK ")

    @property
    def label(self) -> str:
        return self.what.partition(" ")[2]


@cache
def replay(name: str, config: str) -> list[dict[str, Any]]:
    """The events of a capture with one of the configurations here."""
    command = [sys.executable, "-m", "otel_shell_detector", "replay", "--close-at-end"]
    command += ["--config", str(HERE / f"{config}.yaml"), str(CAPTURES / f"{name}.pb.zst")]
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return [json.loads(line)["event"] for line in printed.splitlines()]


def started(name: str) -> dict[int, str]:
    """What each shell of a capture is, by its pid: the label of the truth's line that explains it."""
    shells = json.loads((HERE / f"{name}.shells.json").read_text("utf-8"))
    whats = {shell["process.pid"]: shell["truth"]["what"] for shell in shells}
    assert len(whats) == len(shells), "no pid is used twice"
    return whats


def scored(name: str, events: list[dict[str, Any]]) -> list[Scored]:
    whats = started(name)
    found = []
    for event in events:
        if not event["risk_score"]:
            continue
        pids = [event["process.pid"]] if "process.pid" in event else [*map(int, event["process.pids"])]
        (what,) = {whats[pid] for pid in pids}
        row = event.get("graded_by", event["kind"])
        found.append(Scored(pids[0], what, event["process.command_line"], row, event["risk_score"]))
    return found


def sums(events: list[Scored]) -> tuple[int, int]:
    """Points of attacks, and of what is benign."""
    attacks = sum(event.score for event in events if event.is_attack)
    return attacks, sum(event.score for event in events) - attacks


def totals() -> str:
    lines = [
        "| | shells | `seed`: attacks | benign | share | `balanced`: attacks | benign | share |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in LABELLED:
        cells: list[object] = [name, len(started(name))]
        for config in ("seed", "balanced"):
            attacks, benign = sums(scored(name, replay(name, config)))
            cells += [attacks, benign, f"{attacks / (attacks + benign):.0%}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def one_by_one(name: str, *, attacks: bool) -> str:
    """What scores by default; `of` is how many shells of that label the capture holds."""
    labels = Counter(started(name).values())
    lines = [f"| {name}: {'attacks' if attacks else 'benign'} | pid | row | score | of |"]
    lines.append("|---|---|---|---|---|")
    for each in scored(name, replay(name, "balanced")):
        if each.is_attack is attacks:
            cells = (f"{each.label}: `{each.command_line}`", each.pid, f"`{each.row}`", each.score)
            lines.append(f"| {' | '.join(map(str, cells))} | {labels[each.what]} |")
    return "\n".join(lines) + "\n"


def report() -> str:
    tables = [totals()]
    tables += [one_by_one(name, attacks=attacks) for attacks in (True, False) for name in LABELLED]
    return "\n".join(tables)


if __name__ == "__main__":
    sys.stdout.write(report())
