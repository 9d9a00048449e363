"""Disorder that must not be seen: permutations, repetitions, batchings, and arrivals at any time at all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.rules import Rules
from detector.types import Finding, Metric, Point, Record, Sample
from tests.detector.world import EPOCH, NODE, OTHER_NODE, World, ns, record, sample

LATENESS_S = 5.0
SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@dataclass(frozen=True)
class Piece:
    """A part of a scrape: some points of one shell of a node, with their event time."""

    at: float
    item: Sample
    worker: int


@st.composite
def scraped(draw: st.DrawFn) -> list[Piece]:
    """What scrapes of two nodes show of a few shells; each point is a piece: splits inside a sample too."""
    pieces = []
    scrapes = draw(st.integers(3, 14))
    shells = draw(
        st.lists(
            st.tuples(
                st.integers(0, 1),  # node
                st.integers(20, 22),  # pid: few, so that they are reused
                st.integers(0, 6),  # first scrape
                st.integers(1, 14),  # how many scrapes
            ),
            min_size=1,
            max_size=5,
            unique_by=lambda shell: (shell[0], shell[1], shell[2]),
        )
    )
    for worker, pid, first, length in shells:
        later = [other[2] for other in shells if other[:2] == (worker, pid) and other[2] > first]
        end = min([first + length, scrapes, *later])
        for scrape in range(first, end):
            at = 10 * scrape + draw(st.sampled_from([0.0, 0.001, 3.5, 9.999])) * (scrape % 2)
            points = [
                Point(Metric.MEMORY, "", ns(at), draw(st.sampled_from([0.0, 0.1, 0.3, 1e-9, 0.015329982])))
            ]
            if scrape > first:
                values = st.sampled_from([0.0, 0.1, 0.2, 0.7, -0.188, 3e-4])
                points += [
                    Point(Metric.CPU, slot, ns(at), draw(values)) for slot in ("user", "system", "wait")
                ]
            for point in points:
                item = sample(at, (point,), pid=pid, start=10 * first - 5, line=f"bash {first}")
                pieces.append(Piece(at, item, worker))
    return pieces


def probes(pieces: list[Piece]) -> list[Piece]:
    """A frame of another process for each scrape and node, long after the last shell too."""
    last = max((piece.at for piece in pieces), default=0.0)
    quiet = [10.0 * number for number in range(int(last // 10) + 30)]
    return [Piece(at, sample(at, (), pid=1, name="init"), worker) for at in quiet for worker in (0, 1)]


def to_record(pieces: list[Piece]) -> Record:
    node = (NODE, OTHER_NODE)[pieces[0].worker]
    shells = tuple(piece.item for piece in pieces if piece.item.name != "init")
    probe_times = tuple(ns(piece.at) for piece in pieces if piece.item.name == "init")
    return Record(node, shells, probe_times)


def play(arrivals: list[tuple[float, Piece]], rules: Rules | None = None) -> list[Finding]:
    """Feed pieces one by one at their arrival (service time), then let an hour pass."""
    world = World(rules or Rules())
    last = 0.0
    for at, piece in sorted(arrivals, key=lambda arrival: arrival[0]):
        world.feed(at, to_record([piece]))
        last = at
    world.run_to(last + 3700)
    return [without_release(finding) for finding in world.findings]


def without_release(finding: Finding) -> Finding:
    return replace(finding, release_ns=0, arrived_ns=0)


def of_sessions(findings: list[Finding]) -> dict[str, list[Finding]]:
    """The findings of each session in order; the order between sessions depends on their releases."""
    stories: dict[str, list[Finding]] = {}
    for finding in findings:
        stories.setdefault(finding.session_id, []).append(finding)
    return stories


@SLOW
@given(pieces=scraped(), data=st.data())
def test_any_order_repetition_and_batching_within_the_lateness_gives_identical_events(
    pieces: list[Piece], data: st.DataObject
) -> None:
    delays = st.floats(0, LATENESS_S, exclude_max=True, allow_subnormal=False)
    reference = play([(piece.at, piece) for piece in [*pieces, *probes(pieces)]])
    disordered = [(piece.at + data.draw(delays), piece) for piece in pieces]
    repeated = [
        (piece.at + data.draw(delays), piece)
        for piece in (data.draw(st.lists(st.sampled_from(pieces), max_size=10)) if pieces else [])
    ]
    # Probes are not delayed: when a shell is found gone is a question of time, which is varied here.
    undisturbed = [(piece.at, piece) for piece in probes(pieces)]
    assert of_sessions(play([*disordered, *repeated, *undisturbed])) == of_sessions(reference)


@SLOW
@given(pieces=scraped(), data=st.data())
def test_batching_does_not_matter(pieces: list[Piece], data: st.DataObject) -> None:
    everything = sorted([*pieces, *probes(pieces)], key=lambda piece: piece.at)
    reference = play([(piece.at, piece) for piece in everything])
    world = World()
    batch: list[Piece] = []
    batches: list[list[Piece]] = []
    for piece in everything:
        together = batch and (batch[0].at, batch[0].worker) == (piece.at, piece.worker)
        if together and data.draw(st.booleans()):
            batch.append(piece)
        else:
            batch = [piece]
            batches.append(batch)
    for items in batches:
        world.feed(items[0].at, to_record(items))
    world.run_to(everything[-1].at + 3700)
    assert of_sessions([without_release(finding) for finding in world.findings]) == of_sessions(reference)


@SLOW
@given(pieces=scraped(), data=st.data())
def test_however_late_and_often_points_come_each_shell_opens_once_and_no_bin_counts_twice(
    pieces: list[Piece], data: st.DataObject
) -> None:
    everything = [*pieces, *probes(pieces)]
    reference = play([(piece.at, piece) for piece in everything])
    whenever = st.floats(0, 20_000, allow_subnormal=False)
    arrivals = [(data.draw(whenever), piece) for piece in everything]
    arrivals += [
        (data.draw(whenever), piece)
        for piece in data.draw(st.lists(st.sampled_from(everything), max_size=15))
    ]
    findings = play(arrivals)

    def first_openings(of: list[Finding]) -> dict[object, str]:
        return {f.shell: f.event_id for f in of if f.kind == "opened" and f.incarnation == 0}

    assert first_openings(findings) == first_openings(reference)
    assert max(Counter(finding.event_id for finding in findings).values(), default=1) == 1
    bins = {
        (shell, int(p.time_ns // 10**10))
        for piece in pieces
        for p in piece.item.points
        for shell in [(piece.worker, piece.item.pid, piece.item.start_ns)]
        if p.value and p.value > 0
    }
    per_shell = Counter(shell for shell, _ in bins)
    counted: Counter[object] = Counter()
    for finding in findings:
        if finding.kind == "closed":
            worker = int(finding.shell.node == OTHER_NODE)
            counted[worker, finding.shell.pid, finding.shell.start_ns] += finding.span.windows
    assert all(windows <= per_shell[shell] for shell, windows in counted.items())  # type: ignore[index]  # one key


CLOCKS = st.sampled_from([-7200, -3700, -1800, -20, 0, 0, 0, 0, 1800, 3700, 86_400])


@SLOW
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 3000), CLOCKS, st.sampled_from([0.0, 0.1])), min_size=1, max_size=40
    )
)
def test_whatever_the_nodes_clock_does_no_id_is_emitted_twice_and_no_bin_counts_twice(
    steps: list[tuple[int, int, float]],
) -> None:
    world = World()
    bins = set()
    service = 0.0
    for elapsed, skew, value in steps:
        service += elapsed / 10
        at = 200_000 + service + skew
        if value:
            bins.add(int(at // 10))
        world.feed(service, record(at, sample(at, (Point(Metric.MEMORY, "", ns(at), value),))))
    world.run_to(service + 4000)
    assert max(Counter(finding.event_id for finding in world.findings).values(), default=1) == 1
    assert sum(f.span.windows for f in world.findings if f.kind == "closed") <= len(bins)
    assert (len(bins) > 0) == any(f.kind == "opened" for f in world.findings)


def test_the_epoch_of_the_tests_is_the_edge_of_a_bin() -> None:
    assert EPOCH % 10 == 0
