"""A service in one thread, turned by hand, between shells that are known and a Splunk that is scripted.

Nothing in it is replaced but clocks and peers: :class:`Service` is core, store, encoder and deliverer as
:mod:`otel_shell_detector.service` puts them together. What outlives a service is here too: :class:`Splunk`,
and the :class:`Witness` who knows what was acknowledged.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detector.events import Lane, Outcome, Settlement
from detector.rules import Rules
from detector.types import Step
from exporter.delivery import Deliverer
from exporter.lanes import PaceSettings
from exporter.sink import Delivery, Directive
from otel_shell_detector.clocks import Clocks
from otel_shell_detector.configuration import Settings
from otel_shell_detector.core import FOREVER_NS, Core
from otel_shell_detector.wiring import encoder
from store.memory import MemoryStore
from store.seams import StoreError
from store.sqlite import SqliteStore
from tests.detector.world import ns
from tests.exporter.findings import told
from tests.otel_shell_detector.benches import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from detector.events import Event, Queued
    from detector.types import Arrival, Finding, Record
    from store.seams import Commit, Position, Store, Tick

_ENCODE = encoder(Settings())


def encoded(finding: Finding) -> Event:
    return _ENCODE(told(finding))


AT_ONCE = PaceSettings(batch_limit=5, floor_s=0, base_s=0, cap_s=0, retry_after_cap_s=0)
"""No waiting, and batches so small that a backlog takes several."""
DELIVERIES_AT_MOST = 1_000


class Time:
    """Seconds of both clocks, and of the nodes."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def clocks(self) -> Clocks:
        return Clocks(lambda: round(self.seconds * 1e9), lambda: ns(self.seconds))


class Splunk:
    """Takes events, in order; ``refuses`` are those that it never will, ``answers`` what it says next.

    An answer is ``ok``, ``no`` (nothing was taken, come again), ``lost`` (all was taken and the reply did not
    come).
    """

    name = "stdout"

    def __init__(self, received: Iterable[Event] = ()) -> None:
        self.received = list(received)
        self.answers: list[str] = []
        self.refuses: Callable[[Event], bool] = lambda _: False

    def send(self, lane: Lane, batch: Sequence[Queued]) -> Delivery:
        answer = self.answers.pop(0) if self.answers else "ok"
        if answer == "no":
            return Delivery(directive=Directive.RETRY, result="retry", tried=len(batch))
        outcomes = []
        for each in batch:
            if self.refuses(each.event):
                outcomes.append(Outcome(each.sequence, Settlement.DEAD, "code_6"))
            else:
                self.received.append(each.event)
                outcomes.append(Outcome(each.sequence, Settlement.DONE))
        if answer == "lost":
            return Delivery(directive=Directive.RETRY, result="retry", tried=len(batch))
        return Delivery(tuple(outcomes), result="ok", tried=len(batch))

    def in_flight(self, lane: Lane) -> int:
        return 0

    def close(self) -> None: ...

    def copies(self) -> Counter[str]:
        """How often each event came."""
        return Counter(event.event_id for event in self.received)


def firsts(received: Iterable[Event]) -> dict[str, Event]:
    """Each event when it came first, in that order."""
    found: dict[str, Event] = {}
    for event in received:
        found.setdefault(event.event_id, event)
    return found


def by_session(events: Iterable[Event]) -> dict[tuple[str, str], list[Event]]:
    """Events of each session in each lane, in order: lanes do not wait for each other."""
    found: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        told = json.loads(event.body)["event"]
        session = told.get("session_id") or told["k8s.node.name"]  # of a node that fell silent
        found.setdefault((event.lane, session), []).append(event)
    return found


@dataclass(frozen=True)
class Attempt:
    """A transaction: entries of the log, and events."""

    entries: list[Arrival | Tick]
    events: tuple[Event, ...] = ()


@dataclass
class Witness:
    """What the store has acknowledged, in order; the lists only grow."""

    appended: list[tuple[Position, Arrival]] = field(default_factory=list)
    durable: int = 0
    """How many of these are durable."""
    log: list[Arrival | int] = field(default_factory=list)
    """What is durable: arrivals, and the service time of each tick."""
    committed: list[Event] = field(default_factory=list)
    settled: list[tuple[str, Settlement]] = field(default_factory=list)
    trimmed_before: int = 0
    """The greatest that was asked for, done or not."""

    failed: list[Attempt] = field(default_factory=list)
    """What the store refused since it last did something."""

    def harden(self) -> None:
        """Whatever was appended is durable now."""
        self.failed.clear()
        self.log += [arrival for _, arrival in self.appended[self.durable :]]
        self.durable = len(self.appended)

    def forget_what_is_not_durable(self) -> None:
        del self.appended[self.durable :]


class _Witnessed:
    """What is noted of a store; the base of a store that is."""

    witness: Witness

    def append(self, arrivals: Sequence[Arrival], *, durable: bool = True) -> Position:
        with self._attempt(Attempt([*self._waiting(), *arrivals])):
            end: Position = super().append(arrivals, durable=durable)  # type: ignore[misc]  # of the store
        first = end - len(arrivals)
        self.witness.appended += [(first + at, each) for at, each in enumerate(arrivals)]  # type: ignore[misc]  # positions
        if durable:
            self.witness.harden()
        return end

    def commit(self, change: Commit) -> None:
        self.witness.trimmed_before = max(self.witness.trimmed_before, change.trim_before)
        ticks = [] if change.tick is None else [change.tick]
        with self._attempt(Attempt([*self._waiting(), *ticks], change.events)):
            super().commit(change)  # type: ignore[misc]  # of the store
        self.witness.harden()
        self.witness.committed += change.events
        self.witness.log += [tick.service_ns for tick in ticks]

    def _waiting(self) -> list[Arrival]:
        return [arrival for _, arrival in self.witness.appended[self.witness.durable :]]

    @contextmanager
    def _attempt(self, attempt: Attempt) -> Iterator[None]:
        try:
            yield
        except StoreError:
            self.witness.failed.append(attempt)
            raise

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        waiting = {each.sequence: each.event for lane in Lane for each in self.take(lane, 10_000)}  # type: ignore[attr-defined]  # of the store
        super().settle(outcomes)  # type: ignore[misc]  # of the store
        self.witness.settled += [
            (waiting[each.sequence].event_id, each.settlement)
            for each in outcomes
            if each.sequence in waiting
        ]


class WitnessedSqlite(_Witnessed, SqliteStore):
    """The store in a file."""

    def __init__(self, folder: Path, witness: Witness, vfs: str | None = None) -> None:
        self.witness = witness
        self.seconds = 0
        super().__init__(folder, wall_ns=lambda: ns(0), monotonic_ns=self._later, vfs=vfs)

    def _later(self) -> int:
        """Time for the next attempt to make the ballast has always come."""
        self.seconds += 2
        return self.seconds * 1_000_000_000


class WitnessedMemory(_Witnessed, MemoryStore):
    """The store in memory."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        super().__init__(wall_ns=lambda: ns(0))


class Service:
    """One life: from reading the store until it is left behind."""

    def __init__(self, store: Store, splunk: Splunk, time: Time, rules: Rules | None = None) -> None:
        self.store = store
        self.core = Core(rules or Rules(), store, plain(encoded), lambda: None, time.clocks())
        self.core.is_alive = lambda: True  # type: ignore[method-assign]  # it is turned by hand
        self._time = time
        self._deliverer = Deliverer(
            splunk,
            take=store.take,
            settle=store.settle,
            backlog=store.backlog,
            clock=lambda: time.seconds,
            random=lambda: 0.0,
            wall_ns=lambda: ns(time.seconds),
            pace=AT_ONCE,
        )
        self.core.turn(0)

    def accept(self, *records: Record) -> bool:
        """What a worker of the receiver does, and the turn in which it is done; whether it answers OK."""
        if not self.core.is_accepting():
            self.core.turn(0)
            return False
        durable = self.core._inbox.submit(records)
        self.core.turn(0)
        return durable.exception(0) is None

    def turn(self) -> None:
        self.core.turn(0)

    def checkpoint(self) -> None:
        """All nodes at once, as an orderly stop does it."""
        self.core._conclude(Step(), everything=True, for_ns=FOREVER_NS)

    def deliver(self) -> None:
        """Everything that Splunk takes. Raises :class:`store.seams.StoreError`."""
        for _ in range(DELIVERIES_AT_MOST):
            if self._deliverer.turn(self._time.seconds) > 0:
                return
        raise AssertionError("the backlog does not end")

    def deliver_once(self) -> None:
        """At most one request. Raises :class:`store.seams.StoreError`."""
        self._deliverer.turn(self._time.seconds)

    def stop(self) -> None:
        """In order."""
        self.core._finish()
        self.store.close()
