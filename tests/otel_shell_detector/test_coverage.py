"""Coverage of the nodes: over HTTP, as metrics, in the log, over crashes, and of real captures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from detector import signs
from detector.coverage import Coverage, NodeCoverage
from detector.types import NANOSECONDS, Arrival, NodeId, SilentNode
from otel_shell_detector import core as core_module
from otel_shell_detector.cli import main
from otel_shell_detector.counting import count
from otel_shell_detector.coverage import CoverageView, described, table
from store.memory import MemoryStore
from store.sqlite import SqliteStore
from telemetry import metrics
from tests.detector.world import World, ns, record, sample, service
from tests.otel_shell_detector.test_recovery import Life, submit

if TYPE_CHECKING:
    from detector.types import Step

TESTS = Path(__file__).parents[1]
CAPTURES = {
    "worker-1": "worker-1.pb",
    "worker-2": "worker-2.pb.zst",
    "worker-3": "worker-3.pb.zst",
    "worker-4": "worker-4.pb",
}


def value(name: str, **labels: str) -> float:
    found = metrics.REGISTRY.get_sample_value(f"otel_shell_detector_{name}", labels)
    assert found is not None
    return found


def good(name: str, quiet: float = 0, every: int = 10) -> NodeCoverage:
    coverage = Coverage()
    for at in (1, 2, 3):
        coverage.note(replace(record(at * every, init=-100), signs=signs.CPU | signs.MEMORY | signs.PATH))
    return coverage.of_node(NodeId("prod", name), round(quiet * NANOSECONDS))


# --- what is shown


def test_the_worst_nodes_come_first_and_totals_are_of_all() -> None:
    blind = replace(good("d"), memory=False, shells=4, unplaced=4)
    nodes = [good("c", every=60), good("a", quiet=100_000), blind, good("b", quiet=400), good("e")]
    told = described(nodes, most=4)
    assert [node["node"] for node in told.pop("worst")] == ["b", "d", "c", "e"]
    assert told == {
        "nodes": {"reporting": 3, "silent": 1, "gone": 1},
        "nodes_with_both_utilizations": 2,
        "nodes_with_pid_1": 3,
        "nodes_with_relative_cgroups": 0,
        "concerns": {
            "no_memory_utilization": 1,
            "no_cpu_utilization": 0,
            "no_pid_1": 0,
            "no_paths": 0,
            "placement_unknown": 1,
            "parents_unknown": 0,
        },
        "interval_seconds": {"median": 10.0, "max": 60.0},
        "shortest_sure_seconds": {"median": 22.0, "max": 62.0},
        "shells": 4,
        "shells_placement_unknown_share": 1.0,
        "shells_placement_unknown_alert_above": 0.01,
        "listed": 4,
    }


def test_a_node_is_described_whole() -> None:
    (found,) = described([replace(good("a", quiet=1.5), host="h", frames=3, pathless=1)])["worst"]
    assert found == {
        "cluster": "prod",
        "node": "a",
        "host": "h",
        "state": "reporting",
        "concerns": [],
        "last_scrape": "2027-01-15T08:00:30+00:00",
        "quiet_seconds": 1.5,
        "interval_seconds": 10.0,
        "shortest_sure_seconds": 12.0,
        "cpu_utilization": True,
        "memory_utilization": True,
        "pid_1": True,
        "frames": 3,
        "relative_cgroup_share": 0.0,
        "no_path_share": 0.3333,
        "shells": 0,
        "shells_placement_unknown_share": None,
        "shells_parent_unknown_share": None,
    }


def test_a_time_that_no_calendar_has_is_none() -> None:
    nodes = [replace(good("a"), last_scrape_ns=time_ns) for time_ns in (0, -1, 2**63 - 1, 2**80)]
    found = [node["last_scrape"] for node in described(nodes)["worst"]]
    assert found == [None, "1969-12-31T23:59:59+00:00", "2262-04-11T23:47:16+00:00", None]


def test_no_node_is_described_as_none() -> None:
    told = described([])
    assert (told["worst"], told["interval_seconds"]) == ([], {"median": None, "max": None})
    assert table([]).count("\n") == 1


def test_a_table_shows_no_control_character_of_a_name() -> None:
    shown = table([replace(good("a\x1b[2J\nb"), interval_ns=None, cpu=None, memory=False)])
    row = " ".join(shown.splitlines()[1].split())
    assert row == "prod/a?[2J?b reporting - - - no yes 0.0 % 0.0 % - - no_memory_utilization"


# --- once in a while


def test_the_nodes_are_looked_at_at_most_every_five_seconds() -> None:
    looks: list[float] = []
    now = [100.0]

    def read() -> list[NodeCoverage]:
        looks.append(now[0])
        return [good("a"), good("b", quiet=400)]

    view = CoverageView(read, lambda: now[0])
    for now[0] in (100.0, 101.0, 104.9, 105.0, 109.0):
        view.observe()
        assert json.loads(view.body())["nodes"] == {"reporting": 1, "silent": 1, "gone": 0}
    assert looks == [100.0, 105.0]


def test_a_thousand_nodes_are_answered_in_less_than_a_megabyte() -> None:
    view = CoverageView(lambda: [good(f"worker-{n}") for n in range(1500)], lambda: 0.0)
    body = view.body()
    assert json.loads(body)["listed"] == 1000
    assert len(body) < 1_000_000


def test_without_nodes_the_metrics_of_coverage_are_0() -> None:
    CoverageView(lambda: [good("a")], lambda: 0.0).observe()
    CoverageView(list, lambda: 0.0).observe()
    assert value("coverage_nodes", state="reporting") == 0
    assert value("coverage_scrape_interval_seconds", of="max") == 0


def test_coverage_is_seen_in_the_metrics() -> None:
    blind = replace(good("c", every=60), cpu=False, shells=10, unplaced=1)
    nodes = [good("a"), replace(good("b"), relative=1), blind, good("s", quiet=400), good("g", quiet=90_000)]
    CoverageView(lambda: nodes, lambda: 0.0).observe()
    assert [value("coverage_nodes", state=each) for each in ("reporting", "silent", "gone")] == [3, 1, 1]
    shown = [
        value("coverage_nodes_with", what=each) for each in ("both_utilizations", "pid_1", "relative_cgroups")
    ]
    assert shown == [2, 3, 1]
    assert value("coverage_concerns", concern="no_cpu_utilization") == 1
    assert value("coverage_concerns", concern="placement_unknown") == 1
    assert value("coverage_concerns", concern="no_pid_1") == 0
    intervals = [value("coverage_scrape_interval_seconds", of=each) for each in ("median", "max")]
    assert intervals == [10, 60]
    shortest = [value("coverage_shortest_sure_seconds", of=each) for each in ("median", "max")]
    assert shortest == [12, 62]
    assert value("coverage_placement_unknown_ratio") == 0.1


def test_what_happens_to_nodes_is_counted_and_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen() -> list[float]:
        changes = [value("coverage_changes_total", change=each) for each in ("silent", "returned")]
        return [*changes, value("detector_placements_total", placement="unknown")]

    logged: list[str] = []
    monkeypatch.setattr("telemetry.events.LogEvent.__call__", lambda self, **fields: logged.append(self.name))
    world = World()
    world.detector.feed(arrival(10))
    world.detector.feed(arrival(1000))
    count(world.detector.take_step(), 0)
    before = seen()
    world.detector.feed(arrival(2000))
    world.detector.advance(service(2100))
    count(world.detector.take_step(), 0)
    assert [now - then for now, then in zip(seen(), before, strict=True)] == [1, 1, 2]
    assert logged[-2:] == ["detector.node_silent", "detector.node_returned"]
    assert logged.count("detector.placement_unknown") == 1


def arrival(at: float) -> Arrival:
    return Arrival(record(at, sample(at, pid=round(at))), service(at), ns(at))


# --- over crashes


def gathered(monkeypatch: pytest.MonkeyPatch) -> list[SilentNode]:
    told: list[SilentNode] = []

    def gather(step: Step, wall_ns: int) -> None:
        told.extend(step.silent_nodes)
        count(step, wall_ns)

    monkeypatch.setattr(core_module, "count", gather)
    return told


def silent_story(life: Life, crashes: frozenset[int]) -> None:
    """Scrapes, six minutes without any, scrapes, and again; it crashes at turns of these numbers."""
    for turn in range(200):
        life.seconds += 5
        if turn % 90 < 15:
            at = life.seconds
            submit(life, record(at, sample(at), init=-500) if turn % 3 else record(at, init=-500))
        else:
            life.core.turn(0)
        if turn in crashes:
            life.crash()


@pytest.mark.parametrize("crashed", [None, 13, 14, 15, 60, 73, 74, 75, 76, 89, 90, 91, 105, 170])
def test_a_silence_is_told_once_whenever_the_core_stops(
    crashed: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = gathered(monkeypatch)
    silent_story(
        Life(lambda: SqliteStore(tmp_path)), frozenset() if crashed is None else frozenset({crashed})
    )
    assert [each.returned_ns is not None for each in told] == [False, True, False, True]
    assert len({each.event_id for each in told}) == 4


def test_a_silence_that_was_decided_and_not_committed_is_told_after_the_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(lambda: SqliteStore(tmp_path))
    submit(life, record(0, sample(0), init=-500))
    told = gathered(monkeypatch)
    for _ in range(61):
        life.seconds += 5
        life.core.turn(0)
    (silent,) = told
    life.crash()
    assert told == [silent]
    # accepted and durable, but not fed before the crash
    item = record(400, sample(400), init=-500)
    life.core._append([Arrival(item, life.core._clock.now_ns, ns(life.seconds))])
    life.crash()
    assert [each.returned_ns for each in told] == [None, ns(400)]


def test_the_core_tells_the_coverage_at_its_service_time() -> None:
    life = Life(MemoryStore)
    submit(life, record(0, sample(0)))
    for _ in range(4):
        life.seconds += 5
        life.core.turn(0)
    (known,) = life.core.coverage()
    assert (known.quiet_ns, known.shells) == (20 * NANOSECONDS, 1)


# --- of captures


@pytest.mark.parametrize("capture", CAPTURES)
def test_the_coverage_of_a_real_capture(
    capture: str, capsys: pytest.CaptureFixture[str], logging_restored: None, no_variables: None
) -> None:
    path = str(TESTS / "captures" / CAPTURES[capture])
    assert main(["coverage", "--json", path]) == 0
    expected = (TESTS / "expectations" / f"{capture}.coverage.json").read_text()
    assert capsys.readouterr() == (expected, "")
    assert main(["coverage", path]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.startswith("node  ")
    assert row.startswith(f"prod-eu/{capture}  reporting  10.0 s    12.0 s     yes  yes     yes ")


def test_what_is_no_capture_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], logging_restored: None, no_variables: None
) -> None:
    assert main(["coverage", str(tmp_path / "none")]) == 1
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert "none" in err
