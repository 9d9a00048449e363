"""The core: the one thread that owns the detector and the store.

gRPC workers and the delivery thread hand it work through one queue and wait. A turn of the core is::

    drain the queue -> stamp arrivals -> journal them (one commit for all) -> release the workers
        -> feed the detector -> advance service time, run deadlines -> commit what was decided

The queue is drained *before* service time advances: while the core was frozen, or stuck in an fsync, samples
queued up, and no deadline may run before they were seen. Arrivals are stamped with the service time of the
turn before, so a deadline can be early by one idle turn (0.1 s), never late.
"""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from detector.clock import ServiceClock
from detector.types import Arrival
from otlp_receiver.server import NotAccepted
from store.seams import Commit, Position, StoreError
from telemetry import events, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from detector.detector import Detector
    from detector.events import Event, Lane, Outcome, Queued
    from detector.types import Finding, Record, Step
    from store.seams import Store

    Encode = Callable[[Finding], Event]

IDLE_TURN_S: Final = 0.1
"""The longest a turn waits for work: deadlines are run that often at least."""
ACCEPT_TIMEOUT_S: Final = 4.0
"""How long a worker waits for its records to be durable: the collector's exporter gives up after 5 s."""
CALL_TIMEOUT_S: Final = 30.0
"""How long delivery waits for the store; longer than an fsync on a bad day."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Clocks:
    """Readings in nanoseconds: one that only goes forward, and one of the epoch."""

    monotonic_ns: Callable[[], int]
    wall_ns: Callable[[], int]


SYSTEM_CLOCKS: Final = Clocks(time.monotonic_ns, time.time_ns)


@dataclass(frozen=True, slots=True)
class _Submission:
    records: Sequence[Record]
    durable: Future[None]


@dataclass(frozen=True, slots=True)
class _Call:
    run: Callable[[], None]


class CoreStoppedError(Exception):
    """The core does not turn any more."""


class Core:
    """Owns detector and store; others talk to it by :meth:`accept`, :meth:`take` and :meth:`settle`."""

    def __init__(
        self,
        detector: Detector,
        store: Store,
        encode: Encode,
        on_events: Callable[[], None],
        clocks: Clocks = SYSTEM_CLOCKS,
    ) -> None:
        self._detector = detector
        self._store = store
        self._encode = encode
        self._on_events = on_events
        self._clocks = clocks
        self._clock = ServiceClock(clocks.monotonic_ns())
        self._queue: queue.SimpleQueue[_Submission | _Call] = queue.SimpleQueue()
        self._uncommitted: list[Commit] = []
        self._closing = threading.Event()
        self.failed: BaseException | None = None
        """What ended the thread, if it was not :meth:`stop`."""
        self.turned_ns = clocks.monotonic_ns()
        """When the last turn ended (monotonic clock)."""
        self._thread = threading.Thread(target=self._run, name="core", daemon=True)

    # --- from other threads

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Take what is queued, close every window, commit, and end. Returns when the thread has ended."""
        self._closing.set()
        self._thread.join()

    def is_alive(self) -> bool:
        """Whether the thread turns."""
        return self._thread.is_alive()

    def is_accepting(self) -> bool:
        """Whether records would be taken now."""
        return self.is_alive() and not self._closing.is_set() and not self._uncommitted

    def accept(self, records: Sequence[Record]) -> None:
        """Take a request's records; return when they are durable. Raises :class:`NotAccepted`."""
        if not self.is_accepting():
            raise NotAccepted("the core does not accept records")
        submission = _Submission(records, Future())
        self._queue.put(submission)
        try:
            submission.durable.result(ACCEPT_TIMEOUT_S)
        except FutureTimeoutError as error:
            raise NotAccepted("the records were not durable in time") from error

    def take(self, lane: Lane, limit: int) -> Sequence[Queued]:
        """See :class:`store.seams.Outbox`. Raises :class:`CoreStoppedError`."""
        return self._call(lambda: self._store.take(lane, limit))

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """See :class:`store.seams.Outbox`. Raises :class:`CoreStoppedError`."""
        self._call(lambda: self._store.settle(outcomes))

    def backlog(self) -> Mapping[Lane, int]:
        """See :class:`store.seams.Outbox`. Raises :class:`CoreStoppedError`."""
        return self._call(self._store.backlog)

    def _call(self, function: Callable[[], _Answer]) -> _Answer:
        answer: Future[_Answer] = Future()

        def run() -> None:
            try:
                answer.set_result(function())
            except StoreError as error:
                answer.set_exception(error)

        self._queue.put(_Call(run))
        deadline = time.monotonic() + CALL_TIMEOUT_S
        while True:
            try:
                return answer.result(IDLE_TURN_S)
            except FutureTimeoutError as error:
                if answer.done():
                    continue
                if self.failed is not None or time.monotonic() > deadline:
                    raise CoreStoppedError("the core did not answer") from error
                if not self.is_alive():
                    # The thread has ended, with this call still queued, and will not touch the store again:
                    # what is left of delivery does it itself.
                    run()

    # --- the thread

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self.turn(IDLE_TURN_S)
            self._finish()
        except BaseException as error:  # noqa: BLE001  whatever ends this thread must end the service, loudly
            self.failed = error
            events.CORE_FAILED(error=type(error).__name__, exc_info=error)
            self._refuse_all()

    def turn(self, wait_s: float) -> None:
        """One turn; waits at most ``wait_s`` for work. Called by the core's own thread alone."""
        submissions, calls = self._drain(wait_s)
        self._retry_commits()
        self._journal(submissions)
        for _, arrival in self._store.read():
            self._detector.feed(arrival, self._store.look_up(self._detector.unknown(arrival.record)))
        self._detector.advance(self._clock.advance(self._clocks.monotonic_ns()))
        self._commit(self._detector.take_step())
        for call in calls:
            call.run()
        self._observe()

    def _drain(self, wait_s: float) -> tuple[list[_Submission], list[_Call]]:
        submissions: list[_Submission] = []
        calls: list[_Call] = []
        try:
            item = self._queue.get(timeout=wait_s) if wait_s else self._queue.get_nowait()
            while True:
                if isinstance(item, _Submission):
                    submissions.append(item)
                else:
                    calls.append(item)
                item = self._queue.get_nowait()
        except queue.Empty:
            return submissions, calls

    def _journal(self, submissions: list[_Submission]) -> None:
        if not submissions:
            return
        wall_ns, service_ns = self._clocks.wall_ns(), self._clock.now_ns
        arrivals = [Arrival(record, service_ns, wall_ns) for item in submissions for record in item.records]
        try:
            self._append(arrivals)
        except StoreError as error:
            events.STORE_REFUSED(reason=str(error), requests=len(submissions))
            metrics.STORE_FAILURES.labels(operation="append").inc()
            for item in submissions:
                item.durable.set_exception(NotAccepted(str(error)))
            return
        metrics.JOURNAL_COMMITS.inc()
        metrics.JOURNAL_RECORDS.inc(len(arrivals))
        for item in submissions:
            item.durable.set_result(None)

    def _append(self, arrivals: list[Arrival]) -> None:
        if self._uncommitted:
            raise StoreError("what was decided before could not be stored yet")
        self._store.append(arrivals)

    def _commit(self, step: Step) -> None:
        _count(step)
        for node in step.blind_nodes:
            events.MEMORY_UTILIZATION_MISSING(cluster=node.cluster, node=node.node)
            metrics.MEMORY_UTILIZATION_MISSING.inc()
        if not step.findings and not step.rows:
            return
        encoded = tuple(self._encode(finding) for finding in step.findings)
        for finding in step.findings:
            metrics.FINDINGS.labels(kind=finding.kind, reason=finding.reason or "").inc()
            if finding.arrived_ns:
                delay_ns = self._clocks.wall_ns() - finding.arrived_ns
                metrics.EVENT_DELAY.observe(max(delay_ns, 0) / 1e9)
        self._uncommitted.append(Commit(step.rows, encoded, Position(0)))
        self._retry_commits()
        self._on_events()

    def _retry_commits(self) -> None:
        """Commit what was decided, in order; until all of it is stored nothing is accepted."""
        while self._uncommitted:
            try:
                self._store.commit(self._uncommitted[0])
            except StoreError as error:
                events.STORE_REFUSED(reason=str(error), requests=0)
                metrics.STORE_FAILURES.labels(operation="commit").inc()
                return
            self._uncommitted.pop(0)

    def _finish(self) -> None:
        """The last turn. The state is gone with the process, so what is in open windows is told now."""
        self.turn(0)
        self._detector.finish()
        self._commit(self._detector.take_step())

    def _refuse_all(self) -> None:
        submissions, _ = self._drain(0)
        for item in submissions:
            item.durable.set_exception(NotAccepted("the core has failed"))

    def _observe(self) -> None:
        self.turned_ns = self._clocks.monotonic_ns()
        metrics.TRACKED_SHELLS.set(self._detector.tracked())
        metrics.NODES.set(self._detector.nodes())
        metrics.SERVICE_TIME.set(self._clock.now_ns / 1e9)


def _count(step: Step) -> None:
    for name, how_often in step.counts.items():
        subject, _, rest = name.partition("_")
        if subject == "point":
            metrics.DETECTOR_POINTS.labels(reason=rest).inc(how_often)
        elif subject == "window":
            metrics.DETECTOR_WINDOWS.labels(result=rest).inc(how_often)
        else:
            metrics.DETECTOR_INCIDENTS.labels(kind=name).inc(how_often)
