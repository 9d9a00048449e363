"""The state of a node as a value: dumped, restored, and gone on with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from detector.detector import Detector, NodeFailed
from detector.node import Node
from detector.rules import Rules
from detector.types import Arrival, NodeId, Record, ShellId
from tests.detector.world import NODE, World, cpu, ns, record, sample, service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HORIZON = Rules(horizon_ns=7200 * 10**9)


def restored(world: World, rules: Rules | None = None) -> None:
    """Put another detector in the place of the world's, which has nothing but what was dumped."""
    before = world.detector
    world.detector = Detector(rules or world.rules)
    dumped = before.dump(NODE)
    if dumped is not None:
        world.detector.restore(NODE, dumped, world.rules)
        # What is restored says of itself what it was made of, but for a change of rules.
        assert rules is not None or world.detector.dump(NODE) == dumped
    world.rules = rules or world.rules


def steps() -> Iterator[tuple[float, Record]]:
    """A shell that stays, one that ends, one whose pid is reused, one of a shifted boot time."""
    for number in range(60):
        at = number * 5.0
        shells = [sample(at, pid=23, line="" if number == 1 else "-bash")]
        if number < 8:
            shells.append(sample(at, cpu(at, 0.5, 0.25), pid=24))
        if number < 20:
            shells.append(sample(at, pid=25))
        elif number > 22:
            shells.append(sample(at, pid=25, start=99))
        yield at, record(at, *shells, init=-500 if number < 40 else -490)


def story(restore_at: frozenset[int], **rules: bool) -> World:
    world = World(Rules(**rules))  # type: ignore[arg-type]  # flags alone
    for number, (at, item) in enumerate(steps()):
        world.feed(at, item)
        if number in restore_at:
            restored(world)
    world.run_to(600)
    return world


@pytest.mark.parametrize("early", [False, True])
def test_a_node_that_is_restored_at_any_moment_goes_on_as_if_it_were_the_same(early: bool) -> None:
    expected = story(frozenset(), early=early)
    kinds = {(str(finding.kind), str(finding.reason or "")) for finding in expected.findings}
    assert {("opened", ""), ("closed", "exited"), ("closed", "pid_reused")} <= kinds
    for number in range(60):
        assert story(frozenset({number}), early=early).findings == expected.findings
    assert story(frozenset(range(60)), early=early).findings == expected.findings


def test_a_node_that_is_not_in_memory_has_no_state() -> None:
    assert Detector(Rules()).dump(NODE) is None


def test_a_candidate_goes_on_under_another_horizon_and_is_told_with_its_window() -> None:
    world = World()
    world.feed(3, record(3, sample(3)))
    restored(world, HORIZON)
    world.run_to(18)
    assert world.story() == [("opened", 23, None)]


def test_what_was_told_under_one_horizon_is_told_under_another() -> None:
    world = World()
    for at in (3, 13, 43):
        world.scrape(at, sample(at))
    world.run_to(60)
    restored(world, HORIZON)
    # The bin of 20 was never seen, but lies between those that were: nothing between them counts any more.
    for at in (3, 23, 43, 63):
        world.scrape(61, sample(at))
    world.run_to(80)
    assert world.counts["point_late_closed"] == 3
    assert world.counts["window_survived"] == 4


@pytest.mark.parametrize("state", [b"", b"{}", b"[]", b'{"boot": 1}', b"\xff"])
def test_a_state_that_is_none_names_its_node_and_blames_no_record(state: bytes) -> None:
    detector = Detector(Rules())
    with pytest.raises(NodeFailed, match=r"^prod/worker-1$") as raised:
        detector.restore(NODE, state)
    assert (raised.value.node, raised.value.of_record) == (NODE, False)
    assert detector.count_nodes() == 0


def test_a_state_with_a_number_that_is_no_shell_is_none() -> None:
    world = World()
    world.feed(3, record(3, sample(3)))
    state = json.loads(world.detector.dump(NODE) or b"")
    state["bins"][0][2][0][0] = 7
    with pytest.raises(NodeFailed):
        Detector(Rules()).restore(NODE, json.dumps(state).encode())


@pytest.mark.parametrize("method", ["unknown", "feed"])
def test_a_record_that_meets_a_defect_is_to_blame(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Iterator[ShellId]:
        raise ZeroDivisionError

    detector = Detector(Rules())
    monkeypatch.setattr(Node, method, broken)
    item = record(3, sample(3))
    take: dict[str, Callable[[], object]] = {
        "unknown": lambda: detector.unknown(item),
        "feed": lambda: detector.feed(Arrival(item, service(3), ns(3))),
    }
    with pytest.raises(NodeFailed) as raised:
        take[method]()
    assert (raised.value.node, raised.value.of_record) == (NodeId("prod", "worker-1"), True)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
