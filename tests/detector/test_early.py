"""Early emission: a session opens at its first positive point."""

from __future__ import annotations

import pytest

from detector.rules import Rules
from tests.detector.world import (
    World,
    memory,
    record,
    sample,
)


def test_early_emission_opens_with_partial_means_and_is_not_repeated() -> None:
    world = World(Rules(early=True, renotify_ns=20 * 10**9))
    world.scrape(1, sample(1, memory(1, 0.0)))
    assert world.findings == []
    world.scrape(4, sample(4, memory(4, 0.2)))
    [opened] = world.findings
    assert (opened.kind, opened.partial, opened.release_ns, opened.span.memory) == (
        "opened",
        True,
        4 * 10**9,
        0.1,
    )
    assert opened.evidence.path == "/usr/bin/bash"
    world.scrape(8, sample(8, memory(8, 0.4)))
    for at in (14, 24, 34):
        world.scrape(at, sample(at, memory(at, 0.3)))
    world.finish(close_sessions=True)
    assert [(f.kind, f.partial, f.span.windows) for f in world.findings] == [
        ("opened", True, 1),
        ("ongoing", False, 2),
        ("closed", False, 4),
    ]
    assert world.findings[1].span.memory == 0.3
    assert world.findings[2].span.memory == pytest.approx((0.2 + 0.3 * 3) / 4)
    late = World()
    late.scrape(4, sample(4))
    late.run_to(60)
    assert late.findings[0].event_id == opened.event_id


def test_early_emission_of_a_reused_pid_closes_when_the_window_does() -> None:
    world = World(Rules(early=True))
    world.scrape(5, sample(5, start=-50))
    world.scrape(15, sample(15, start=10))
    assert world.story() == [("opened", 23, None)] * 2
    world.run_to(60)
    assert world.story()[2:] == [("closed", 23, "pid_reused")]
    assert world.findings[2].span.windows == 1


def test_early_emission_does_not_open_with_a_repeated_point() -> None:
    world = World(Rules(early=True))
    world.scrape(5, sample(5))
    for at in range(15, 150, 10):
        world.scrape(at)
    world.feed(150, record(5, sample(5)))
    assert world.story() == [("opened", 23, None), ("closed", 23, "exited")]
