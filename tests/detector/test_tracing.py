"""A node that is watched: what became of each point, and that watching changes nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial

from detector.detector import Detector
from detector.rules import Rules
from detector.tracing import ClosedWindow, SampleFate, TracedNode
from detector.types import Metric, Point, ShellId
from tests.detector.world import HOST, NODE, World, cpu, memory, ns, record, sample, service

SHELL = ShellId(NODE, HOST, 23, ns(-100), "bash")


@dataclass
class Notes:
    """What a watcher was told."""

    samples: list[SampleFate] = field(default_factory=list)
    windows: list[ClosedWindow] = field(default_factory=list)

    def wants(self, shell: ShellId) -> bool:
        return shell.pid == SHELL.pid

    def sampled(self, sample: SampleFate) -> None:
        self.samples.append(sample)

    def window_closed(self, window: ClosedWindow) -> None:
        self.windows.append(window)

    def fates(self) -> list[list[str]]:
        return [[fate.fate for fate in each.points] for each in self.samples]


def watched(rules: Rules | None = None) -> tuple[World, Notes]:
    world, notes = World(rules or Rules()), Notes()
    world.detector = Detector(world.rules, partial(TracedNode, watcher=notes))
    return world, notes


def live(world: World) -> None:
    """Two shells, one of which ends; a repetition, a conflict, something late, a zombie, nonsense."""
    for at in range(0, 50, 10):
        world.scrape(at, sample(at, (*memory(at), *cpu(at, 0.5))), sample(at, pid=24))
    world.scrape(41, sample(40, (*memory(40), *cpu(40, 0.75))))
    world.scrape(42, sample(10))
    world.scrape(43, sample(43, ()))
    for at in range(50, 200, 10):
        world.scrape(at, sample(at, memory(at, 0.0), path="", line=""))
    world.finish(close_sessions=True)


def test_a_watched_node_finds_what_any_other_finds() -> None:
    plain, (traced, _) = World(), watched()
    live(plain)
    live(traced)
    assert traced.findings == plain.findings
    assert traced.counts == plain.counts


def test_every_point_has_a_fate() -> None:
    world, notes = watched()
    live(world)
    assert notes.fates()[:9] == [
        *[["counted"] * 4] * 5,
        ["repeated", "conflict", "repeated", "repeated"],
        ["late_closed"],
        [],
        ["counted"],
    ]
    assert [each.alive for each in notes.samples[:9]] == [True] * 8 + [False]
    assert {each.shell for each in notes.samples} == {SHELL}
    assert notes.samples[0].points[0].number == ns(0) // world.rules.window_ns


def test_what_is_no_evidence_says_why() -> None:
    world, notes = watched()
    values = (-1.0, math.nan, math.inf, 1e13, None)
    points = [Point(Metric.CPU, f"s{number}", ns(3), value) for number, value in enumerate(values)]
    world.scrape(3, sample(3, (*points, Point(Metric.CPU, "s9", 0, 1.0), *memory(3))))
    assert [(fate.point.slot, fate.fate, fate.number is None) for fate in notes.samples[0].points] == [
        ("s9", "no_time", True),
        ("s0", "negative", True),
        ("s1", "nan", True),
        ("s2", "infinite", True),
        ("s3", "out_of_range", True),
        ("s4", "no_recorded_value", True),
        ("", "counted", False),
    ]


def test_a_window_tells_its_sums_and_why_it_was_dropped() -> None:
    world, notes = watched()
    live(world)
    first = notes.windows[0]
    assert first.shell == SHELL
    assert (first.number, first.points, first.left_out) == (ns(0) // world.rules.window_ns, 4, "")
    assert (first.means.cpu, first.means.cpu_total, first.means.memory) == (0.5 / 3, 0.5, 0.01)
    assert (first.deadline_ns, first.closed_ns) == (service(15), service(15))
    assert first.incarnation == 0
    # The session ends 60 s after three scrapes without a sign of life; the windows then open are of none.
    dropped = ["not_positive"] * 7
    assert [window.left_out for window in notes.windows] == [*[""] * 5, *dropped, "session_closed", *dropped]


def test_a_window_that_is_open_as_its_session_ends_says_so() -> None:
    world, notes = watched()
    world.scrape(0, sample(0, start=-100))
    world.scrape(10, sample(10, start=-100))
    # The next process with that pid is seen at once: its window closes first, the older ones with it.
    world.feed(10.5, record(30, sample(30, start=5)))
    world.feed(10.6, record(20, sample(20, start=-100)))
    world.feed(10.7, record(40, sample(40, start=-100)))
    world.run_to(100)
    assert ("pid_reused" in {str(finding.reason) for finding in world.findings}) is True
    assert [window.left_out for window in notes.windows].count("session_closed") == 1


def test_a_window_closes_with_a_newer_one_before_its_deadline() -> None:
    world, notes = watched()
    world.feed(0, record(20, sample(20)))
    world.feed(3, record(10, sample(10)))
    world.run_to(15)
    assert [(window.deadline_ns, window.closed_ns) for window in notes.windows] == [
        (service(18), service(15)),
        (service(15), service(15)),
    ]


def test_a_shell_beyond_the_ceiling_is_told_of_too() -> None:
    world, notes = watched(Rules(max_tracked_shells=0))
    world.scrape(0, sample(0, memory(0, 0.0)))
    world.scrape(10, sample(10))
    world.scrape(20, sample(20))
    assert notes.fates() == [["untracked"], ["counted"], ["untracked"]]
    assert world.story() == [("opened", 23, None), ("closed", 23, "untracked")]
    other, unseen = watched(Rules(max_tracked_shells=0))
    other.scrape(0, sample(0, pid=24))
    assert unseen.samples == []
    assert len(other.findings) == 2


def test_a_long_slot_is_the_same_slot_again() -> None:
    world, notes = watched()
    point = Point(Metric.CPU, "x" * 50, ns(3), 0.5)
    world.scrape(3, sample(3, (point,)))
    world.scrape(4, sample(3, (point,)))
    assert notes.fates() == [["counted"], ["repeated"]]
