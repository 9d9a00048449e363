"""What happens to a service, to its disk and to Splunk, in any order, and what must be so all the while.

The model is a detector alone, in memory, that reads what the store has acknowledged: it is never stopped, has
no checkpoints, and knows nothing of marks.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import apsw
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from detector.detector import Detector
from detector.events import Settlement
from detector.judging.nodes import report_of
from detector.rules import Rules
from detector.types import Arrival, Kind, ShellId
from exporter.event import encode
from exporter.settings import EventSettings
from store.seams import CannotOpenStore, StoreError
from tests.detector.world import NODE, OTHER_NODE, cpu, memory, record, sample
from tests.reliability.world import (
    Service,
    Splunk,
    Time,
    Witness,
    by_session,
    encoded,
    firsts,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from detector.events import Event
    from detector.types import NodeId, Point, SessionRow
    from store.seams import Store

RULES = Rules(renotify_ns=20_000_000_000)
"""So that a story of a minute has every kind of event."""
NODES = (NODE, OTHER_NODE)
PIDS = (20, 21, 22)
LONG_ENOUGH_S = 2 * RULES.horizon_ns // 10**9
"""After which every session is closed, be it because its node is silent."""


class Model:
    """What a detector tells that reads the log from its beginning to its end, without a stop."""

    def __init__(self) -> None:
        self._detector = Detector(RULES)
        self._read = 0
        self._rows: dict[ShellId, SessionRow] = {}
        self.told: list[Event] = []
        self.opened: set[ShellId] = set()

    def follow(self, log: Sequence[Arrival | int]) -> None:
        for entry in log[self._read :]:
            if isinstance(entry, Arrival):
                unknown = self._detector.unknown(entry.record)
                self._detector.feed(entry, {each: self._rows[each] for each in unknown if each in self._rows})
            else:
                self._detector.advance(entry)
                self._take()
        self._read = len(log)

    def _take(self) -> None:
        step = self._detector.take_step()
        self._rows.update((row.shell, row) for row in step.rows)
        self.told += [encoded(finding) for finding in step.findings]
        self.told += [encode(report_of(silent), EventSettings()) for silent in step.silent_nodes]
        self.opened.update(finding.shell for finding in step.findings if finding.kind is Kind.OPENED)


class Machine(RuleBasedStateMachine):
    """What happens to a service, to its disk and to Splunk; a store is of the subclass."""

    def __init__(self) -> None:
        super().__init__()
        self.time = Time()
        self.splunk = Splunk()
        self.witness = Witness()
        self.model = Model()
        self.accepted: set[ShellId] = set()
        self.doubted: set[str] = set()
        self.refused: int | None = None
        self.fails = False
        self.buried: set[str] = set()
        self.splunk.refuses = self._refuses

    # --- of the subclass

    def open(self) -> Store:
        """The store, after a stop of any kind. Raises :class:`CannotOpenStore`."""
        raise NotImplementedError

    def lose(self) -> None:
        """The process is killed: what the disk does not have is gone."""
        raise NotImplementedError

    def fail(self, kinds: Iterable[str], after: int, error: type[apsw.Error]) -> None:
        raise NotImplementedError

    def mend(self) -> None:
        raise NotImplementedError

    # --- the service

    @initialize()
    def begin(self) -> None:
        self.service = self._born()

    def _born(self) -> Service:
        return Service(self.open(), self.splunk, self.time, RULES)

    def _again(self) -> None:
        """Start; if that takes a disk in order, when there is one."""
        self.doubted |= self.splunk.copies().keys() - done(self.witness)
        try:
            self.service = self._born()
        except (CannotOpenStore, StoreError):
            self.disk_is_mended()
            self.service = self._born()

    @rule()
    def crash(self) -> None:
        self.lose()
        self._again()

    @rule()
    def restart(self) -> None:
        self.service.stop()
        self.witness.forget_what_is_not_durable()
        self._again()

    @rule()
    def checkpoint(self) -> None:
        if self.service.core._is_sound():
            self.service.checkpoint()

    # --- the nodes

    @rule(
        node=st.sampled_from(NODES),
        shells=st.lists(
            st.tuples(st.sampled_from(PIDS), st.booleans()), max_size=3, unique_by=lambda s: s[0]
        ),
        late_s=st.sampled_from([0, 0, 0, 3, 40]),
        start=st.sampled_from([-100, -100, -100, -10]),
        times=st.sampled_from([1, 2, 4, 9]),
    )
    def scrapes(
        self, node: NodeId, shells: list[tuple[int, bool]], late_s: int, start: int, times: int
    ) -> None:
        for _ in range(times):
            at = self.time.seconds - late_s
            samples = [sample(at, points_of(at, busy), pid=pid, start=start) for pid, busy in shells]
            if self.service.accept(record(at, *samples, node=node, init=-500)):
                self.accepted.update(ShellId(node, s.host, s.pid, s.start_ns, s.name) for s in samples)
            self.tick(2)

    @rule(node=st.sampled_from(NODES), pid=st.sampled_from(PIDS), crashes=st.booleans())
    def a_shell_comes_back(self, node: NodeId, pid: int, crashes: bool) -> None:
        """Its session was closed while it was away: what is remembered decides how the next one is told."""
        for shells, times in (([(pid, True)], 2), ([], 9), ([(pid, True)], 3)):
            self.scrapes(node, shells, 0, -100, times)
        if crashes:
            self.crash()

    @rule(turns=st.sampled_from([1, 5, 16]))
    def tick(self, turns: int) -> None:
        for _ in range(turns):
            self.time.seconds += 5
            self.service.turn()

    # --- Splunk

    def _refuses(self, event: Event) -> bool:
        refused = self.refused is not None and b'"process.pid":%d,' % self.refused in event.body
        if refused:
            self.buried.add(event.event_id)
        return refused

    @rule(answer=st.sampled_from(["ok", "no", "lost"]), times=st.integers(1, 9))
    def deliver(self, answer: str, times: int) -> None:
        before = len(self.splunk.received)
        for _ in range(times):
            self.splunk.answers = [answer]
            with contextlib.suppress(StoreError):  # as the dispatch of the service does
                self.service.deliver_once()
        self.splunk.answers = []
        if answer == "lost":
            self.doubted.update(event.event_id for event in self.splunk.received[before:])

    @rule(pid=st.sampled_from([None, *PIDS]))
    def refuse(self, pid: int | None) -> None:
        self.refused = pid

    @rule()
    def requeue(self) -> None:
        with contextlib.suppress(StoreError):
            self.service.store.requeue(None)

    # --- the disk

    @precondition(lambda self: not self.fails)
    @rule(
        kinds=st.sampled_from([["write"], ["sync"], ["write", "sync", "truncate", "delete"], ["read"]]),
        after=st.integers(0, 6),
        error=st.sampled_from([apsw.FullError, apsw.IOError, apsw.ReadOnlyError]),
    )
    def disk_fails(self, kinds: list[str], after: int, error: type[apsw.Error]) -> None:
        self.fail(kinds, after, error)
        self.fails = True

    @precondition(lambda self: self.fails)
    @rule()
    def disk_is_mended(self) -> None:
        self.mend()
        self.fails = False

    # --- what must be so

    @invariant()
    def what_is_told_is_what_the_log_says(self) -> None:
        self.model.follow(self.witness.log)
        assert self.witness.committed == self.model.told
        assert len(firsts(self.witness.committed)) == len(self.witness.committed)

    def teardown(self) -> None:
        try:
            if hasattr(self, "service"):
                self._end()
        finally:
            self.clean()

    def _end(self) -> None:
        """Everything is in order again: all is told and delivered, without a restart."""
        self.mend()
        self.refused = None
        self.service.turn()
        assert self.service.core.is_accepting()
        for _ in range(int(LONG_ENOUGH_S // 5)):
            self.time.seconds += 5
            self.service.turn()
        self.service.deliver()  # what Splunk refused while the disk failed becomes a dead letter now
        self.service.store.requeue(None)
        self.service.deliver()
        self.what_is_told_is_what_the_log_says()
        assert self.accepted <= self.model.opened
        assert not any(self.service.store.backlog().values())
        told, received = self.witness.committed, firsts(self.splunk.received)
        assert received == firsts(told)
        assert {each for each, count in self.splunk.copies().items() if count > 1} <= self.doubted
        wanted = by_session(told)
        for key, events in by_session(received.values()).items():
            # What Splunk refused, and someone put back, comes after what was told later.
            if not self.buried & {event.event_id for event in events}:
                assert events == wanted[key]

    def clean(self) -> None:
        """Leave nothing behind."""


def done(witness: Witness) -> set[str]:
    return {each for each, settlement in witness.settled if settlement is Settlement.DONE}


def points_of(at: float, busy: bool) -> tuple[Point, ...]:
    return (*cpu(at, 0.5), *memory(at)) if busy else memory(at)
