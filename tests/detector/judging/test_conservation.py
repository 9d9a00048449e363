"""Nothing silenced is lost, nothing is told twice, and nobody scores more than it may, whatever happens.

A stream of findings goes through the judge in batches of any size, at any pace, while the policy changes and
judgements are thrown away before they were stored, as a crash does.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.context import Mode, Origin, Placement
from detector.events import Lane
from detector.judging import silence
from detector.judging.notes import NoteKind
from detector.judging.outcomes import Report, Told
from detector.judging.rules import JudgeRules, PointsPer, Preexisting
from detector.policy import Action
from detector.types import NANOSECONDS, Finding, Kind, NodeId
from tests.detector.judging.desk import APolicy, Desk, closed, context, ongoing, opened, rule
from tests.detector.world import seconds

MINUTE = 60
WEEK = 7 * 24 * 60 * MINUTE

SHELLS = (
    context(origin=Origin.CRON, unit="a.service"),
    context(origin=Origin.SERVICE, unit="b.service", template="b"),
    context(mode=Mode.STDIN, unit="b.service", template="b"),
    context(mode=Mode.LOGIN, parent="sshd", template="c"),
    context(hint="nsenter", unit="a.service"),
    context(template="", parent=""),
    context(Placement.POD, origin=Origin.ENTRYPOINT, pod_uid="u-1"),
    context(Placement.POD, origin=Origin.CONTAINER_EXEC, pod_uid="u-1"),
    context(Placement.UNKNOWN, unit="a.service"),
)
POLICIES = (
    (),
    (("systemd.unit", "a.service", rule("a")),),
    (("systemd.unit", "b.service", rule("b")), ("shell.mode", "login", rule("c", Action.SCORE, 70))),
    (("shell.mode", "stdin", rule("d", Action.SCORE, 3)), ("shell.placement", "host", rule("e"))),
    (("systemd.unit", "a.service", rule("a", Action.ANNOTATE)), ("shell.placement", "pod", rule("f"))),
)


@dataclass
class Service:
    """What is around the judge: a queue of findings that outlasts a crash, a detector that can be asked."""

    desk: Desk
    now: float = 0.0
    queue: list[Finding] = field(default_factory=list)
    alive: list[Finding] = field(default_factory=list)
    dead: list[Finding] = field(default_factory=list)
    openings: int = 0

    def open(self, kind: int, worker: int, *, old: bool) -> None:
        start = self.now - (10**6 if old else 1)
        node = NodeId("prod", f"worker-{worker}")
        self._enqueue(opened(self.now, SHELLS[kind], pid=self.openings, start=start, node=node))

    def flood(self, kind: int, many: int) -> None:
        for number in range(many):
            self.open(kind, number % 15, old=False)

    def resume(self, which: int, kind: int) -> None:
        if self.dead:
            last = self.dead.pop(which % len(self.dead))
            self._enqueue(
                opened(
                    self.now,
                    SHELLS[kind],
                    pid=last.shell.pid,
                    start=seconds(last.shell.start_ns),
                    node=last.shell.node,
                    incarnation=last.incarnation + 1,
                )
            )

    def go_on(self, which: int, ordinal: int) -> None:
        if self.alive:
            self.queue.append(ongoing(self.alive[which % len(self.alive)], ordinal))

    def close(self, which: int) -> None:
        if self.alive:
            shell = self.alive.pop(which % len(self.alive))
            self.dead.append(shell)
            self.queue.append(closed(shell))

    def judge(self, many: int, *, crash: bool) -> None:
        batch = self.queue[:many]
        judgement = self.desk.decide(self.now, *batch)
        assert judgement == self.desk.decide(self.now, *batch)
        if crash:
            return self.release()
        del self.queue[:many]
        return self.desk.store(judgement)

    def settle(self, *, crash: bool) -> None:
        judgement = self.desk.decide_due(self.now)
        assert judgement == self.desk.decide_due(self.now)
        if crash:
            return self.release()
        return self.desk.store(judgement)

    def obey(self, policy: int) -> None:
        self.desk.policy = APolicy(POLICIES[policy])
        self.release()

    def release(self) -> None:
        """Ask for what is suppressed again: when the policy has changed, and at each start."""
        notes = [note for note in self.desk.notes.values() if note.kind is NoteKind.SILENCED]
        asked = {session.session_id for session in silence.suppressed(notes)}
        found = [finding for finding in self.alive if finding.session_id in asked]
        self.desk.store(self.desk.decide(self.now, *found))

    def finish(self) -> None:
        self.judge(len(self.queue), crash=False)
        self.now += WEEK
        self.settle(crash=False)

    def _enqueue(self, finding: Finding) -> None:
        self.openings += 1
        self.queue.append(finding)
        self.alive.append(finding)


SETTINGS = st.builds(
    JudgeRules,
    profile=st.sampled_from(["balanced", "balanced", "once"]),
    preexisting=st.sampled_from(Preexisting),
    burst_after=st.sampled_from([0, 1, 1, 2]),
    max_per_object=st.sampled_from([None, PointsPer(30, 600 * NANOSECONDS)]),
)
KINDS = st.sampled_from([0, 0, 0, 1, 1, 1, *range(2, len(SHELLS))])
CRASH = st.sampled_from([False, False, False, True])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), KINDS, st.integers(0, 2), st.booleans()),
        st.tuples(st.just("open"), KINDS, st.integers(0, 2), st.booleans()),
        st.tuples(st.just("flood"), KINDS, st.integers(3, 30)),
        st.tuples(st.just("resume"), st.integers(0, 9), KINDS),
        st.tuples(st.just("go_on"), st.integers(0, 9), st.integers(1, 3)),
        st.tuples(st.just("close"), st.integers(0, 9)),
        st.tuples(st.just("pass"), st.sampled_from([1, 61, 3601])),
        st.tuples(st.just("judge"), st.integers(1, 20), CRASH),
        st.tuples(st.just("judge"), st.integers(1, 20), CRASH),
        st.tuples(st.just("settle"), CRASH),
        st.tuples(st.just("obey"), st.integers(0, len(POLICIES) - 1)),
        st.tuples(st.just("obey"), st.integers(1, len(POLICIES) - 1)),
    ),
    min_size=20,
    max_size=60,
)
"""Long ones: what is remembered matters only after a while."""


def play(rules: JudgeRules, steps: list[tuple[Any, ...]]) -> Service:
    service = Service(Desk(rules))
    for step in steps:
        match step:
            case ("open", kind, worker, old):
                service.open(kind, worker, old=old)
            case ("judge", many, crash):
                service.judge(many, crash=crash)
            case ("settle", crash):
                service.settle(crash=crash)
            case ("pass", passed):
                service.now += passed
            case (name, *arguments):
                getattr(service, name)(*arguments)
    service.finish()
    return service


def told_openings(service: Service) -> list[Told]:
    told = [telling for telling in service.desk.tellings if isinstance(telling, Told)]
    return [telling for telling in told if telling.finding.kind is Kind.OPENED]


def reports(service: Service) -> list[Report]:
    return [telling for telling in service.desk.tellings if isinstance(telling, Report)]


SLOW = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
"""Half of the examples fold, release and cap something; most suppress."""


@SLOW
@given(SETTINGS, STEPS)
def test_every_opening_is_an_event_or_counted_in_one_report(
    rules: JudgeRules, steps: list[tuple[Any, ...]]
) -> None:
    service = play(rules, steps)
    openings = told_openings(service)
    counted: Counter[str] = Counter()
    for report in reports(service):
        counted[report.kind] += report.count
    summarised = sum(told.verdict.preexisting_summary for told in openings)
    released = service.desk.counts.get("released", 0)
    assert service.openings + released == len(openings) + counted["burst"] + counted["suppressed"]
    assert summarised == counted["preexisting"]
    assert not {"burst", "audit", "summary"} & set(service.desk.kinds())


@SLOW
@given(SETTINGS, STEPS)
def test_nothing_is_told_twice_and_of_a_silent_session_nothing_at_all(
    rules: JudgeRules, steps: list[tuple[Any, ...]]
) -> None:
    service = play(rules, steps)
    ids = [t.finding.event_id if isinstance(t, Told) else t.event_id for t in service.desk.tellings]
    repeated = {event_id for event_id, often in Counter(ids).items() if often > 1}
    # The scenario itself may say "ongoing" twice.
    assert all("/ongoing/" in event_id for event_id in repeated)
    heard: set[str] = set()
    for telling in service.desk.tellings:
        if isinstance(telling, Told):
            if telling.finding.kind is Kind.OPENED:
                heard.add(telling.finding.session_id)
            assert telling.finding.session_id in heard


@SLOW
@given(SETTINGS, STEPS)
def test_no_identity_and_no_object_scores_more_than_it_may(
    rules: JudgeRules, steps: list[tuple[Any, ...]]
) -> None:
    service = play(rules, steps)
    scored: Counter[object] = Counter()
    asked: dict[object, int] = defaultdict(int)
    for telling in service.desk.tellings:
        verdict = telling.verdict if isinstance(telling, Told) else telling
        assert (verdict.lane is Lane.RISK) == (verdict.score > 0)
        if isinstance(telling, Told):
            shell = telling.finding.shell
            scored[shell] += telling.finding.score
            asked[shell] = max(asked[shell], telling.verdict.asked)
    assert all(points <= asked[shell] for shell, points in scored.items())


@SLOW
@given(STEPS)
def test_no_object_scores_more_than_its_cap_in_all_the_time_that_a_period_lasts(
    steps: list[tuple[Any, ...]],
) -> None:
    rules = JudgeRules(burst_after=1, max_per_object=PointsPer(60, 2 * WEEK * NANOSECONDS))
    points: Counter[str] = Counter()
    for telling in play(rules, steps).desk.tellings:
        if isinstance(telling, Told):
            points[telling.verdict.object.name] += telling.verdict.score
        elif telling.object is not None:
            points[telling.object.name] += telling.score
    assert all(of_object <= 60 for of_object in points.values())
