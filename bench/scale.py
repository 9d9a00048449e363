"""What the service uses by size: nodes, processes, shells, open sessions, connections. ``make bench-scale``.

Each part starts ``serve`` on a new state, with the default settings but for where it listens, where it
delivers, and that it tells each shell by itself, so that the way of each one can be timed. The load comes
from this process, through gRPC, and takes its share of the same processors; that share is shown.

Nothing here is a test: a number of nodes that does not keep up is a result.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from bench import circumstances, page
from bench.curves import PICTURE, draw
from bench.fleet import Shape
from bench.gateway import Conditions, Course, run
from bench.growth import by_processes, by_sessions
from bench.idle import allow_files
from bench.scale_page import render

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NAME: Final = "scale"
_PROCESSES: Final = 300


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of each part is measured."""

    candidates: Sequence[int] = (1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000, 10_000)
    """Nodes of which the largest number that keeps up is looked for, in halves."""
    nodes: Sequence[int] = (100, 300)
    fleet: int = 5_000
    shells_of_fleet: int = 500
    fleet_rounds: int = 7
    rounds: int = 3
    requests: Mapping[int, int] = field(
        default_factory=lambda: {30: 3_000, 100: 1_500, 300: 700, 1_000: 200, 3_000: 70}
    )
    processes_rounds: int = 5
    shells: Mapping[int, int] = field(default_factory=lambda: {0: 400, 2: 400, 30: 130, 100: 40})
    """Shells on each node, and nodes."""
    sessions: Sequence[int] = (10, 100, 1_000, 10_000, 100_000)
    connections: int = 5_000
    round_s: float = 10.0
    conditions: Conditions = field(default_factory=Conditions)


QUICK: Final = Plan(
    candidates=(20,),
    nodes=(),
    fleet=20,
    shells_of_fleet=10,
    fleet_rounds=3,
    rounds=2,
    requests={3: 20, 30: 10, 300: 5},
    processes_rounds=1,
    shells={2: 10},
    sessions=(5, 50),
    connections=20,
    round_s=0.5,
    conditions=Conditions(told_s=2.5, keys={"DETECTOR__WINDOW": "1s", "DETECTOR__LATENESS": "500ms"}),
)
"""To see in seconds that everything runs; its figures mean nothing."""


def fleet(plan: Plan) -> dict[str, Any]:
    """The fleet of Kubernetes' own limit, for some rounds, until the event of its last shell has come."""
    shape = _shape(plan, plan.fleet, plan.shells_of_fleet)
    return run(shape, Course(plan.fleet_rounds, 1, wait_for_events=True), plan.conditions)


def _shape(plan: Plan, nodes: int, shells: int) -> Shape:
    return Shape(nodes, shells, _PROCESSES, round_s=plan.round_s)


def nodes(plan: Plan) -> dict[str, Any]:
    """Fleets of several sizes, and the largest of the candidates that keeps up."""
    tried = [_of_nodes(plan, number) for number in plan.nodes]
    low, high = 0, len(plan.candidates)
    while low < high:
        middle = (low + high) // 2
        tried.append(_of_nodes(plan, plan.candidates[middle]))
        if _keeps_up(tried[-1]):
            low = middle + 1
        else:
            high = middle
    return {"tried": sorted(tried, key=lambda each: each["nodes"]), "largest": ([0, *plan.candidates])[low]}


def _of_nodes(plan: Plan, number: int) -> dict[str, Any]:
    found = run(_shape(plan, number, number // 10), Course(plan.rounds), plan.conditions)
    _say(f"  {number} nodes: {found['cores']['median']:.2f} cores, {_kept(found)}")
    return found


def _keeps_up(found: Mapping[str, Any]) -> bool:
    return bool(found["rounds_kept_up"] == found["rounds_measured"])


def _kept(found: Mapping[str, Any]) -> str:
    return f"kept up with {found['rounds_kept_up']} of {found['rounds_measured']} rounds"


def processes(plan: Plan) -> dict[str, Any]:
    """Requests of more and more processes."""
    return by_processes(plan.requests, plan.processes_rounds, plan.conditions)


def shells(plan: Plan) -> list[dict[str, Any]]:
    """More and more shells on each node, all known when the measured round begins."""
    found = []
    known = ceil((plan.conditions.told_s - 1) / plan.round_s)
    for on_each, number in plan.shells.items():
        shape = Shape(number, on_each * number, _PROCESSES, 0.0, 0.0, batch=1, round_s=plan.round_s)
        found.append(run(shape, Course(known + 2, known), plan.conditions) | {"on_each_node": on_each})
        _say(f"  {on_each} shells on each node")
    return found


def sessions(plan: Plan) -> dict[str, Any]:
    """More and more open sessions, then idle connections."""
    return by_sessions(plan.sessions, plan.connections, plan.conditions)


PARTS: Final[Mapping[str, Callable[[Plan], Any]]] = {
    "fleet": fleet,
    "nodes": nodes,
    "processes": processes,
    "shells": shells,
    "sessions": sessions,
}


def measure(plan: Plan, parts: Sequence[str]) -> dict[str, Any]:
    """Run these parts, one after the other."""
    results: dict[str, Any] = {}
    for name in parts:
        begin_s = time.monotonic()
        _say(f"{name} ...")
        found = PARTS[name](plan)
        took_s = round(time.monotonic() - begin_s)
        _say(f"{name}: {took_s} s")
        results[name] = {"circumstances": circumstances.here() | {"took_s": took_s}, "found": found}
    return results


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, write the results and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="see that everything runs; writes nothing")
    parser.add_argument(
        "--only", metavar="PART,...", help=f"these parts of {', '.join(PARTS)}; the others stay as they were"
    )
    asked = parser.parse_args()
    parts = asked.only.split(",") if asked.only else list(PARTS)
    if not set(parts) <= PARTS.keys():
        parser.error(f"--only {asked.only}: want some of {', '.join(PARTS)}")
    plan = QUICK if asked.quick else Plan()
    allow_files(plan.connections)
    results = measure(plan, parts)
    if not asked.quick:
        results = _before() | results
        page.write_results(NAME, results)
    if results.keys() < PARTS.keys():
        _say(f"The page wants the other parts too: {', '.join(PARTS.keys() - results.keys())}")
        return
    print(render(results))
    if not asked.quick:
        PICTURE.write_bytes(draw(results))


def _before() -> dict[str, Any]:
    """What the last run measured, if there was one."""
    try:
        found: dict[str, Any] = page.read_results(NAME)
    except FileNotFoundError:
        return {}
    return found


if __name__ == "__main__":
    main()
