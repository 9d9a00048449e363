"""The core: the one thread that owns the detector and the store.

gRPC workers and the delivery thread hand it work through one queue and wait, but for records that need not be
durable: these lie there until the next turn (:mod:`otel_shell_detector.inbox`). A turn of the core is::

    drain the queue -> stamp arrivals -> journal them (one commit for all) -> release the workers
        -> feed the detector -> advance service time, run deadlines -> commit what was decided

The queue is drained *before* service time advances: while the core was frozen, or stuck in an fsync, samples
queued up, and no deadline may run before they were seen. Arrivals are stamped with the service time of the
turn before, so a deadline can be early by one idle turn (0.1 s), never late.

While something that was decided cannot be stored, nothing else is: no record is accepted, none is fed, and
service time stands still. When the state in memory is in doubt (a defect, or the store failed in the middle),
it is thrown away and read from the store again, as at the start (:mod:`otel_shell_detector.recovery`).
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Final, TypeVar

from detector.clock import ServiceClock
from detector.detector import Detector, NodeFailed
from detector.types import Arrival, Step
from otel_shell_detector.checkpoints import SLICE_NS, Checkpoints
from otel_shell_detector.clocks import SYSTEM_CLOCKS, Clocks
from otel_shell_detector.counting import count, report
from otel_shell_detector.explain.inside import Inside
from otel_shell_detector.inbox import Inbox, Submission
from otel_shell_detector.recovery import bury, described, recover
from otlp_receiver.server import NotAccepted
from store.seams import Commit, Position, StoreError, Tick
from telemetry import events, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from detector.coverage import NodeCoverage
    from detector.events import Lane, Outcome, Queued
    from detector.rules import Rules
    from detector.types import NodeId, Record, Sample, SessionRow
    from otel_shell_detector.bench import Bench
    from store.seams import Store

IDLE_TURN_S: Final = 0.1
"""The longest a turn waits for work: deadlines are run that often at least."""
ACCEPT_TIMEOUT_S: Final = 4.0
"""How long a worker waits for its records to be durable: the collector's exporter gives up after 5 s."""
CALL_TIMEOUT_S: Final = 90.0
"""How long delivery waits for the store: longer than a bad fsync, or a start with much to read, takes."""
HEARTBEAT_NS: Final = 60_000_000_000
"""Service time is stored that often at least."""
MAX_PENDING: Final = 10_000
"""Records that need not be durable and are not yet. Beyond it they are made so, to bound what they take."""
FOREVER_NS: Final = 1 << 62
LAST_CHECKPOINTS_NS: Final = 5_000_000_000
"""How long an orderly stop may take to spare the next start reading the journal."""

_Answer = TypeVar("_Answer")


class CoreStoppedError(Exception):
    """The core does not turn any more."""


class Core:
    """Owns detector and store; others talk to it by :meth:`accept`, :meth:`call` and what is made of it.

    ``close_at_stop``: the state is gone with the process, so open windows close at the stop, early.
    """

    def __init__(  # noqa: PLR0913  what it is made of
        self,
        rules: Rules,
        store: Store,
        bench: Bench,
        on_events: Callable[[], None],
        clocks: Clocks = SYSTEM_CLOCKS,
        *,
        close_at_stop: bool = False,
    ) -> None:
        self._rules = rules
        self._store = store
        self._bench = bench
        self._on_events = on_events
        self._clocks = clocks
        self._close_at_stop = close_at_stop
        self._detector = Detector(rules)
        self._checkpoints = Checkpoints(clocks.monotonic_ns)
        self._clock = ServiceClock(clocks.monotonic_ns())
        self._in_doubt = True
        """Whether what is in memory is not what the store says; so it is at the start."""
        self._uncommitted: Commit | None = None
        self._stuck = False
        """Whether the last commit failed; other threads may ask while one is under way."""
        self._answers: list[tuple[Position, SessionRow]] = []
        self._position = Position(0)
        self._pending = 0
        self._beat_ns = 0
        self._inbox = Inbox()
        self._closing = threading.Event()
        self._recovered = threading.Event()
        self.failed: BaseException | None = None
        """What ended the thread, if it was not :meth:`stop`."""
        self._turned_ns = clocks.monotonic_ns()
        self._thread = threading.Thread(target=self._run, name="core", daemon=True)
        self._after = threading.Lock()  # held by who uses the store after the thread has ended
        self._closed = False

    # --- from other threads

    def start(self) -> None:
        """Start the thread; it reads the store first."""
        self._thread.start()

    def wait_until_recovered(self, within_s: float) -> bool:
        """Wait until the store was read, or the thread has failed; whether it was read."""
        return self._recovered.wait(within_s) and self.failed is None

    def stop(self) -> None:
        """Take what is queued, commit, and end. Returns when the thread has ended."""
        self._closing.set()
        self._thread.join()

    def close(self) -> None:
        """After :meth:`stop`: leave the store to the caller alone. Waits for a call that runs."""
        with self._after:
            self._closed = True

    def is_alive(self) -> bool:
        """Whether the thread turns."""
        return self._thread.is_alive()

    @property
    def turned_ns(self) -> int:
        """When the last turn ended (monotonic clock); now, while the store is first read, however long."""
        return self._turned_ns if self._recovered.is_set() else self._clocks.monotonic_ns()

    def is_accepting(self) -> bool:
        """Whether records would be taken now."""
        return self.is_alive() and not self._closing.is_set() and not self._stuck and not self._in_doubt

    def _is_sound(self) -> bool:
        return self._uncommitted is None and not self._in_doubt

    def accept(self, records: Sequence[Record]) -> None:
        """Take a request's records; return when as durable as needed. Raises :class:`NotAccepted`."""
        if not self.is_accepting():
            raise NotAccepted("the core does not accept records")
        if not any(map(self._detector.is_vital, records)) and self._inbox.leave(records):
            return
        durable = self._inbox.submit(records)
        try:
            durable.result(ACCEPT_TIMEOUT_S)
        except FutureTimeoutError as error:
            raise NotAccepted("the records were not durable in time") from error

    def is_explained(self, node: NodeId, sample: Sample) -> bool:
        """See :class:`otlp_receiver.relatives.Known`."""
        return self._detector.is_explained(node, sample)

    def sought(self, node: NodeId) -> Sequence[int]:
        """See :class:`otlp_receiver.relatives.Known`."""
        return self._detector.sought(node)

    def coverage(self) -> Sequence[NodeCoverage]:
        """How well each node can be seen. Does not wait for the thread."""
        return self._detector.coverage(self._clock.now_ns)

    def take(self, lane: Lane, limit: int) -> Sequence[Queued]:
        """See :class:`store.seams.Outbox`. Raises :class:`CoreStoppedError`."""
        return self.call(lambda store: store.take(lane, limit))

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """See :class:`store.seams.Outbox`. Raises :class:`CoreStoppedError`."""
        self.call(lambda store: store.settle(outcomes))

    def backlog(self) -> Mapping[Lane, int]:
        """See :class:`store.seams.Outbox`. Raises :class:`CoreStoppedError`."""
        return self.call(lambda store: store.backlog())

    def call(self, function: Callable[[Store], _Answer]) -> _Answer:
        """Run something with the store in the core's thread, between two turns.

        Raises :class:`CoreStoppedError`, and :class:`store.seams.StoreError` if that is what it raises.
        """
        answer: Future[_Answer] = Future()

        def run() -> None:
            try:
                answer.set_result(function(self._store))
            except StoreError as error:
                answer.set_exception(error)

        self._inbox.call(run)
        deadline = time.monotonic() + CALL_TIMEOUT_S
        while True:
            try:
                return answer.result(IDLE_TURN_S)
            except FutureTimeoutError as error:
                if answer.done():
                    continue
                if self._in_doubt:  # reading the store takes as long as it takes
                    deadline = time.monotonic() + CALL_TIMEOUT_S
                if self.failed is not None or time.monotonic() > deadline:
                    raise CoreStoppedError("the core did not answer") from error
                if not self.is_alive():
                    # The thread has ended and will not touch the store again: the caller does it itself.
                    with self._after:
                        if self._closed:
                            raise CoreStoppedError("the core has stopped") from error
                        run()

    def inspect(self, work: Callable[[Inside], _Answer]) -> _Answer:
        """See :class:`otel_shell_detector.explain.inside.Inspect`; raises as :meth:`call` does."""

        def within(store: Store) -> _Answer:
            now_ns, wall_ns = self._clock.now_ns, self._clocks.wall_ns()
            return work(Inside(store, self._detector, self._bench, now_ns, wall_ns))

        return self.call(within)

    # --- the thread

    def _run(self) -> None:
        try:
            self.turn(0)  # reads the store
            while not self._closing.is_set():
                self.turn(IDLE_TURN_S)
            self._finish()
        except BaseException as error:  # noqa: BLE001  whatever ends this thread must end the service, loudly
            self.failed = error
            metrics.THREAD_FAILURES.inc()
            events.CORE_FAILED(error=type(error).__name__, exc_info=error)
            self._refuse_all()
        finally:
            self._recovered.set()

    def turn(self, wait_s: float) -> None:
        """One turn; waits at most ``wait_s`` for work. Called by the core's own thread alone."""
        submissions, calls = self._inbox.drain(wait_s)
        try:
            if self._in_doubt:
                self._recover()
            self._commit_what_is_left()
            self._journal(submissions)
            if self._is_sound():
                self._decide()
        except StoreError as error:
            # In the middle of it: what is in memory may be ahead of the store.
            self._in_doubt = True
            report("read", error)
        for call in calls:
            call()
        self._observe()

    def _decide(self) -> None:
        """Feed what was journaled, run deadlines, commit what was decided."""
        try:
            for position, entry in self._store.read():
                if isinstance(entry, Arrival):
                    self._feed(position, entry)
            self._detector.advance(self._clock.advance(self._clocks.monotonic_ns()))
            self._bench.reconsider(self._store, self._detector, self._clock.now_ns)
        except NodeFailed as failure:
            self._in_doubt = True
            bury(self._store, failure, self._position)
            return
        self._conclude(self._detector.take_step())

    def _feed(self, position: Position, arrival: Arrival) -> None:
        self._position = position
        rows = self._store.look_up(self._detector.unknown(arrival.record))
        self._answers += [(position, row) for row in rows.values()]
        self._detector.feed(arrival, rows)
        self._checkpoints.note(position, arrival.record.node)

    def _recover(self) -> None:
        """Throw away what is in memory and read the store."""
        begun_ns = self._clocks.monotonic_ns()
        found = recover(self._store, self._rules, self._clocks.monotonic_ns)
        self._detector, self._checkpoints, self._answers = found.detector, found.checkpoints, found.answers
        self._clock = ServiceClock(self._clocks.monotonic_ns(), max(found.service_ns, self._clock.now_ns))
        self._pending = 0
        self._in_doubt = False
        self._bench.begin()
        if found.rules_changed:
            self._checkpoints.require(found.detector.nodes())
            self._conclude(found.step, everything=True, for_ns=FOREVER_NS)
        else:
            self._conclude(found.step)
        took_s = (self._clocks.monotonic_ns() - begun_ns) / 1e9
        metrics.RECOVERY_SECONDS.set(took_s)
        metrics.RECOVERED_RECORDS.inc(found.records)
        events.RECOVERED(
            records=found.records,
            sessions=found.detector.tracked(),
            nodes=found.detector.count_nodes(),
            untold=len(found.step.findings),
            seconds=round(took_s, 3),
        )
        self._recovered.set()

    def _journal(self, submissions: list[Submission]) -> None:
        if not submissions:
            return
        wall_ns, service_ns = self._clocks.wall_ns(), self._clock.now_ns
        arrivals = [Arrival(record, service_ns, wall_ns) for item in submissions for record in item.records]
        try:
            self._append(arrivals)
        except StoreError as error:
            report("append", error, requests=self._inbox.refuse(submissions, str(error)))
            return
        self._inbox.took(submissions)

    def _append(self, arrivals: list[Arrival]) -> None:
        if not self._is_sound():
            raise StoreError("what was decided before could not be stored yet")
        self._pending += len(arrivals)
        durable = self._pending > MAX_PENDING or any(
            self._detector.is_vital(arrival.record) for arrival in arrivals
        )
        self._store.append(arrivals, durable=durable)
        metrics.JOURNAL_RECORDS.inc(len(arrivals))
        if durable:
            self._pending = 0
            metrics.JOURNAL_COMMITS.inc()

    def _conclude(self, step: Step, *, everything: bool = False, for_ns: int = SLICE_NS) -> None:
        """Commit what was decided, with the checkpoints that are due; with ``everything`` all of them are."""
        wall_ns = self._clocks.wall_ns()
        count(step, wall_ns)
        sentence = self._bench.hear(self._store, step, self._clock.now_ns, wall_ns)
        checkpoints = self._checkpoints.slice(
            self._detector, self._store.journal_bytes(), everything=everything, for_ns=for_ns
        )
        beat = self._clock.now_ns - self._beat_ns >= HEARTBEAT_NS
        decided = step.findings or step.rows or step.silent_nodes or sentence.notes
        if not (decided or checkpoints or beat or everything):
            return
        metrics.CHECKPOINTS.inc(len(checkpoints))
        metrics.CHECKPOINT_BYTES.inc(sum(len(each.state or b"") for each in checkpoints))
        self._uncommitted = Commit(
            tick=Tick(self._clock.now_ns, tuple(self._answers)),
            rows=step.rows,
            events=sentence.events,
            notes=sentence.notes,
            checkpoints=checkpoints,
            trim_before=self._checkpoints.trim_before(),
            rules=described(self._rules),
        )
        self._commit_what_is_left()

    def _commit_what_is_left(self) -> None:
        """Commit what was decided; until it is stored nothing is accepted."""
        if self._uncommitted is None:
            return
        try:
            self._store.commit(self._uncommitted)
        except StoreError as error:
            self._stuck = True
            report("commit", error)
            return
        self._stuck = False
        has_events = bool(self._uncommitted.events)
        self._uncommitted = None
        self._answers = []
        self._pending = 0
        self._beat_ns = self._clock.now_ns
        if has_events:
            self._on_events()

    def _finish(self) -> None:
        """The last turn."""
        self.turn(0)
        if not self._is_sound():
            return
        if self._close_at_stop:
            self._detector.finish()
            self._conclude(self._detector.take_step())
            for sentence in self._bench.adjourn(self._store, self._clock.now_ns):
                self._store.commit(Commit(events=sentence.events, notes=sentence.notes))
        else:
            self._conclude(Step(), everything=True, for_ns=LAST_CHECKPOINTS_NS)

    def _refuse_all(self) -> None:
        submissions, _ = self._inbox.drain(0)
        self._inbox.refuse(submissions, "the core has failed")

    def _observe(self) -> None:
        self._turned_ns = self._clocks.monotonic_ns()
        metrics.TRACKED_SHELLS.set(self._detector.tracked())
        metrics.NODES.set(self._detector.count_nodes())
        metrics.SERVICE_TIME.set(self._clock.now_ns / 1e9)
