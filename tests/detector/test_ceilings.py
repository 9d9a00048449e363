"""What is beyond a ceiling is told at once and not followed."""

from __future__ import annotations

from detector.counts import Count
from detector.rules import Rules
from detector.types import NodeId
from tests.detector.world import (
    NODE,
    OTHER_NODE,
    World,
    memory,
    record,
    sample,
)


def test_shells_beyond_the_ceiling_open_and_close_at_once_and_once() -> None:
    world = World(Rules(max_tracked_shells=2))
    for at in (5, 15, 25):
        world.scrape(at, *(sample(at, pid=pid) for pid in (1, 2, 3)), sample(at, memory(at, 0.0), pid=4))
    world.run_to(60)
    assert world.story() == [
        ("opened", 3, None),
        ("closed", 3, "untracked"),
        ("opened", 1, None),
        ("opened", 2, None),
    ]
    assert world.findings[0].release_ns == 5 * 10**9
    assert world.findings[1].span.windows == 1
    assert world.counts[Count.POINT_UNTRACKED] == 5


def test_an_id_of_an_opening_does_not_depend_on_the_ceiling() -> None:
    ids = []
    for ceiling in (0, 1):
        world = World(Rules(max_tracked_shells=ceiling))
        world.scrape(5, sample(5))
        world.run_to(60)
        ids.append(world.findings[0].event_id)
    assert ids[0] == ids[1]


def test_a_shell_beyond_the_ceiling_that_was_told_before_stays_told() -> None:
    world = World()
    world.scrape(5, sample(5))
    for at in range(15, 150, 10):
        world.scrape(at)
    assert world.story()[1:] == [("closed", 23, "exited")]
    crowded = World(Rules(max_tracked_shells=0), rows=world.rows)
    crowded.scrape(8, sample(8))
    assert crowded.findings == []
    crowded.scrape(305, sample(305))
    assert [(f.kind, f.incarnation) for f in crowded.findings] == [("opened", 1), ("closed", 1)]


def test_nodes_beyond_the_ceiling_are_told_and_cost_nothing() -> None:
    world = World(Rules(max_nodes=1))
    world.scrape(5, sample(5))
    world.feed(5, record(5, sample(5), node=OTHER_NODE))
    assert world.detector.count_nodes() == 1
    world.run_to(60)
    assert [(f.shell.node, f.kind) for f in world.findings] == [
        (OTHER_NODE, "opened"),
        (OTHER_NODE, "closed"),
        (NODE, "opened"),
    ]
    assert world.counts[Count.NODE_CEILING] == 1


def test_an_idle_node_makes_room_for_a_new_one() -> None:
    world = World(Rules(max_nodes=2))
    for number, at in ((1, 0), (2, 1), (3, 2)):
        world.feed(at, record(at, node=NodeId("prod", f"n{number}")))
    assert world.detector.count_nodes() == 2
    assert Count.NODE_CEILING not in world.counts
