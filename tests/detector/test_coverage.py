"""How well a node can be seen, and when it falls silent."""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from detector import signs
from detector.coverage import Concern, Coverage, NodeCoverage, NodeState, scrape_ns
from detector.detector import Detector
from detector.identity import silence_id
from detector.rules import Rules
from detector.types import NANOSECONDS, Record, Sample, SilentNode
from tests.detector.world import HOST, NODE, OTHER_NODE, World, cpu, memory, ns, record, sample, service

BOTH = signs.CPU | signs.MEMORY | signs.PATH
IN_POD = "0::/kubepods.slice/kubepods-pod4af54c33_aaaa_bbbb_cccc_17c82a94fa98.slice/cri-containerd-1.scope"


def noted(*times: float, shown: int = BOTH, init: float | None = -100) -> Coverage:
    """Quiet scrapes at these event times."""
    coverage = Coverage()
    for at in times:
        coverage.note(replace(record(at, init=init), signs=shown))
    return coverage


def seen(coverage: Coverage, quiet: float = 0) -> NodeCoverage:
    return coverage.of_node(NODE, service(quiet))


def interval(*times: float) -> float | None:
    found = noted(*times).interval_ns()
    return None if found is None else found / NANOSECONDS


# --- the scrape interval


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((), None),
        ((10,), None),
        ((10, 20), None),  # one may have been lost between them
        ((10, 20, 30), 10),
        ((10, 20.01, 30, 39.99, 50, 60), 10),
        ((10, 20, 40, 50, 60, 70), 10),  # one was lost
        ((10, 20, 40, 60, 70), 10),  # two were lost; of two middle gaps the smaller
        ((30, 10, 50, 20, 40), 10),  # disorder
        ((10, 20, 20, 30, 10, 30), 10),  # repetition
        ((10, 11.9, 20, 21.9, 30, 31.9), 10),  # a batch processor split each scrape
        ((10, 70, 130), 60),
        ((10, 20, 30, 90, 150, 210, 270, 330), 60),  # the interval was changed
        ((10, 20, 30, 90_000, 90_010, 90_020), 10),  # the clock leapt
        ((90_000, 90_010, 10, 20, 30, 40), 10),
        ((1, 2, 3, 4, 5, 6, 7), 2),  # below the spread: taken for longer
    ],
)
def test_the_scrape_interval_is_the_median_gap(times: tuple[float, ...], expected: float | None) -> None:
    assert interval(*times) == expected


def test_times_that_are_none_or_that_no_store_can_keep_do_no_harm() -> None:
    coverage = Coverage()
    for time_ns in (0, -5, 2**63, 2**80):
        coverage.note(Record(NODE, (), (time_ns,)))
    coverage.note(Record(NODE, ()))
    assert coverage.last_scrape_ns() == 2**63 - 1
    assert coverage.silent is False


def test_the_time_of_a_scrape_without_a_probe_frame_is_that_of_its_latest_sample() -> None:
    assert scrape_ns(record(7, sample(5), sample(6), probe=False)) == ns(6)
    assert scrape_ns(record(7, sample(5))) == ns(7)


@pytest.mark.parametrize(
    ("memory_seen", "cpu_seen", "expected"),
    [(True, True, 12), (True, None, 12), (None, True, 22), (False, True, 22), (False, False, None)],
)
def test_the_shortest_shell_that_is_sure_to_be_seen(
    memory_seen: bool | None, cpu_seen: bool | None, expected: float | None
) -> None:
    known = replace(seen(noted(10, 20, 30)), memory=memory_seen, cpu=cpu_seen)
    assert known.shortest_ns == (expected and expected * NANOSECONDS)
    assert replace(known, interval_ns=None).shortest_ns is None


# --- what comes with the scrapes


def test_what_was_seen_is_seen_until_ten_scrapes_lack_it() -> None:
    coverage = noted(10)
    assert (seen(coverage).cpu, seen(coverage).memory, seen(coverage).init) == (True, True, True)
    for at in range(20, 110, 10):
        coverage.note(record(at))
        coverage.note(record(at))  # a part of the same scrape is no other
    assert (seen(coverage).cpu, seen(coverage).memory, seen(coverage).init) == (True, True, True)
    coverage.note(record(110))
    assert seen(coverage).concerns == (
        Concern.NO_MEMORY_UTILIZATION,
        Concern.NO_CPU_UTILIZATION,
        Concern.NO_PID_1,
    )
    coverage.note(record(120))
    assert (seen(coverage).cpu, seen(coverage).memory, seen(coverage).init) == (False, False, False)
    coverage.note(replace(record(130, init=-100), signs=BOTH))
    assert seen(coverage).concerns == ()


def test_what_was_never_seen_is_unknown_for_nine_scrapes() -> None:
    coverage = noted(*range(10, 100, 10), shown=0, init=None)
    assert (seen(coverage).cpu, seen(coverage).memory, seen(coverage).init) == (None, None, None)
    coverage.note(record(100))
    assert (seen(coverage).cpu, seen(coverage).memory, seen(coverage).init) == (False, False, False)


def test_samples_of_shells_show_it_too() -> None:
    coverage = Coverage()
    coverage.note(record(10, sample(10, cpu(10, 0.1)), sample(10, memory(10)), sample(10, ())))
    assert (seen(coverage).cpu, seen(coverage).memory) == (True, True)
    assert coverage.host == HOST


def test_paths_and_relative_cgroups_are_counted_of_shells_and_probe_frames() -> None:
    coverage = Coverage()
    zombie = sample(10, path="", line="")
    hidden = replace(sample(10, path=""), cgroup="0::/../../kubepods")
    coverage.note(replace(record(10, sample(10), zombie, hidden), signs=signs.NO_PATH))
    known = seen(coverage)
    assert (known.frames, known.pathless, known.relative) == (3, 2, 1)
    assert known.concerns == (Concern.NO_PATHS,)
    coverage.note(replace(record(20, sample(20)), signs=0))  # nothing of a path, as of a kernel thread
    assert (seen(coverage).frames, seen(coverage).concerns) == (4, ())


def test_counts_are_recent() -> None:
    coverage = Coverage()
    for at in range(256):
        coverage.note(replace(record(10 * at), signs=signs.NO_PATH | signs.RELATIVE))
        coverage.told(unplaced=True, parentless=True)
    known = seen(coverage)
    assert (known.frames, known.pathless, known.relative) == (128, 128, 128)
    assert (known.shells, known.unplaced, known.parentless) == (128, 128, 128)


def test_more_than_one_in_a_hundred_unplaced_is_told_when_it_becomes_so() -> None:
    coverage = Coverage()
    for _ in range(100):
        assert not coverage.told(unplaced=False, parentless=False)
    assert not coverage.told(unplaced=True, parentless=False)  # 1 of 101
    assert seen(coverage).concerns == ()
    assert coverage.told(unplaced=True, parentless=False)  # 2 of 102
    assert seen(coverage).concerns == (Concern.PLACEMENT_UNKNOWN,)
    assert not coverage.told(unplaced=True, parentless=False)


def test_more_than_one_in_ten_without_a_parent_is_a_concern() -> None:
    coverage = Coverage()
    for number in range(10):
        coverage.told(unplaced=False, parentless=number == 0)
    assert seen(coverage).concerns == ()  # 1 of 10
    coverage.told(unplaced=False, parentless=True)
    assert seen(coverage).concerns == (Concern.PARENTS_UNKNOWN,)


# --- in the detector


def test_a_node_of_whose_shells_the_placement_is_unknown_is_named_once() -> None:
    world = World()
    placed = [replace(sample(5, pid=pid, start=pid - 200), cgroup=IN_POD) for pid in range(30, 40)]
    on_host = replace(sample(5, pid=40, start=-50), cgroup="0::/system.slice/cron.service")
    world.feed(5, record(5, *placed, on_host))
    world.run_to(30)
    assert world.unplaced == []
    world.scrape(35, sample(35, pid=50, start=-20), sample(35, pid=51, start=-20))
    world.run_to(60)
    assert world.unplaced == [NODE]
    placements = {name: count for name, count in world.counts.items() if name.startswith("placement_")}
    assert placements == {"placement_pod": 10, "placement_host": 1, "placement_unknown": 2}
    (known,) = world.detector.coverage(service(60))
    assert (known.shells, known.unplaced, known.parentless) == (13, 2, 13)


def test_an_early_opening_is_placed_by_its_open_window() -> None:
    world = World(Rules(early=True))
    world.scrape(5, replace(sample(5), cgroup=IN_POD))
    assert world.counts["placement_pod"] == 1


def test_a_shell_beyond_the_ceiling_says_nothing_of_its_node() -> None:
    world = World(Rules(max_tracked_shells=0))
    world.scrape(5, sample(5))
    assert world.story() == [("opened", 23, None), ("closed", 23, "untracked")]
    assert world.unplaced == []


def silence(
    last: float, ordinal: int, release: float, returned: float | None = None, host: str = ""
) -> SilentNode:
    event_id = silence_id(Rules().store_id, NODE, ns(last), ordinal, returned=returned is not None)
    back_ns = None if returned is None else ns(returned)
    return SilentNode(event_id, NODE, host, ns(last), service(release), back_ns)


def test_a_node_falls_silent_after_five_minutes_once_and_comes_back_once() -> None:
    world = World()
    world.feed(10, record(7, sample(7)))
    world.run_to(309.9)
    assert world.silent == []
    world.run_to(310)
    world.run_to(900)
    told = silence(7, 1, 310, host=HOST)
    assert world.silent == [told]
    assert world.story() == [("opened", 23, None)]  # it closes nothing
    world.feed(1000, record(997))
    back = silence(7, 1, 1000, returned=997, host=HOST)
    assert world.silent == [told, back]
    world.feed(1010, record(1007))
    world.run_to(1310)
    assert world.silent == [told, back, silence(1007, 2, 1310, host=HOST)]
    assert len({each.event_id for each in world.silent}) == 3


def test_a_record_that_comes_after_the_silence_is_told_behind_it() -> None:
    world = World()
    world.feed(10, record(10))
    world.feed(1000, record(1000))
    assert world.silent == [silence(10, 1, 310), silence(10, 1, 1000, returned=1000)]


def test_silences_of_nodes_come_in_the_order_of_their_time() -> None:
    world = World()
    world.feed(0, record(0, node=OTHER_NODE))
    world.feed(0, record(0))
    world.feed(5, record(5, node=OTHER_NODE))
    world.run_to(400)
    assert [each.node for each in world.silent] == [NODE, OTHER_NODE]


def test_a_node_that_is_scraped_every_five_minutes_is_not_silent_between_two_scrapes() -> None:
    world = World()
    for at in (0, 290, 580, 870):
        world.scrape(at)
    world.run_to(870 + 579)
    assert world.silent == []
    world.run_to(870 + 580)
    assert world.silent == [silence(870, 1, 1450)]


@pytest.mark.parametrize(
    ("quiet", "expected"),
    [
        (0, NodeState.REPORTING),
        (299, NodeState.REPORTING),
        (300, NodeState.SILENT),
        (86_399, NodeState.SILENT),
        (86_400, NodeState.GONE),
    ],
)
def test_the_state_of_a_node_follows_from_the_time(quiet: float, expected: NodeState) -> None:
    world = World()
    world.scrape(10)
    (known,) = world.detector.coverage(service(10 + quiet))
    assert (known.state, known.quiet_ns, known.last_scrape_ns) == (expected, service(quiet), ns(10))


def test_a_node_that_was_forgotten_falls_silent_no_more() -> None:
    world = World(Rules(max_nodes=1))
    world.feed(0, record(0))
    world.feed(5, record(5, node=OTHER_NODE))
    world.run_to(400)
    assert [each.node for each in world.silent] == [OTHER_NODE]


# --- checkpoints


def test_a_node_that_is_restored_at_any_moment_tells_the_same() -> None:
    def told(restored_at: int | None) -> tuple[list[SilentNode], list[Any]]:
        world = World()
        for number, at in enumerate((10, 20, 30, 40, 500, 510, 1600, 1610)):
            world.scrape(at, sample(at))
            world.run_to(at + 9)
            if number in {3, 5, 7}:
                world.run_to(at + 350)
            if number == restored_at:
                before, world.detector = world.detector, Detector(world.rules)
                world.detector.restore(NODE, before.dump(NODE) or b"")
        return world.silent, list(world.detector.coverage(service(2000)))

    expected = told(None)
    assert len(expected[0]) == 5
    for number in range(8):
        assert told(number) == expected


def test_a_node_from_before_there_was_coverage_falls_silent_after_its_next_frame() -> None:
    world = World()
    world.scrape(10, sample(10))
    state = json.loads(world.detector.dump(NODE) or b"")
    del state["coverage"]
    world.detector = Detector(world.rules)
    world.detector.restore(NODE, json.dumps(state).encode())
    assert world.detector.coverage(service(20)) == []
    world.run_to(1000)
    assert world.silent == []
    world.scrape(1010)
    world.run_to(1310)
    assert world.silent == [silence(1010, 1, 1310)]


def test_a_checkpoint_from_before_parents_were_counted_has_none_without() -> None:
    coverage = Coverage()
    coverage.told(unplaced=True, parentless=True)
    dumped = coverage.dump()
    dumped[3] = [5, 2]
    coverage.load(dumped)
    assert (seen(coverage).shells, seen(coverage).unplaced, seen(coverage).parentless) == (5, 2, 0)


# --- what it costs


def test_the_coverage_of_a_node_takes_little_memory_and_little_of_its_checkpoint() -> None:
    def one(number: int) -> Coverage:
        coverage = Coverage()
        for at in range(300):
            coverage.note(replace(record(10 * at + number / 1e6), signs=BOTH, init_start_ns=5))
            coverage.told(unplaced=False, parentless=False)
        return coverage

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    many = [one(number) for number in range(100)]
    gc.collect()
    each = (tracemalloc.get_traced_memory()[0] - before) / len(many)
    tracemalloc.stop()
    written = len(json.dumps(many[0].dump(), separators=(",", ":")))
    print(f"\n{each:.0f} bytes a node, {written} in its checkpoint")  # noqa: T201  the measured figures
    assert each <= 440
    assert written <= 200
    assert sys.getsizeof(many[0]) <= 112


def test_a_sample_is_read_as_its_frame_would_be() -> None:
    shell: Sample = replace(sample(10, (*cpu(10, 0.1), *memory(10))), cgroup="1:x:/a\n0::/../b")
    coverage = Coverage()
    coverage.note(record(10, shell))
    assert (seen(coverage).frames, seen(coverage).relative, seen(coverage).pathless) == (1, 1, 0)
