"""Back to where the service was: checkpoints, then the log, through the detector that decided it all before.

Rules:

1. The log holds everything that decisions depend on: arrivals in the order in which they were fed, and a tick
   in the transaction of each decision. So the same is decided again, up to the last tick and beyond it.
2. What was decided before is in the outbox, or was delivered from there. The row of an identity says up to
   where (:mod:`detector.marks`); findings that it covers are dropped, all others are told now.
3. Before the last tick a look-up has the answer that it had then, which the tick recorded. Behind it nothing
   was committed, so the store still gives the answer that it gave.
4. The log is read under the rules with which it was written. If the configuration has changed since, the new
   rules begin at its end.
5. A record that makes the detector raise becomes a dead letter, and all begins again without it. So does what
   a node had before, if no single record is to blame. Each round buries something, so there is an end.

Nothing is written but dead letters: a stop in the middle of it is harmless.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detector.detector import Detector, NodeFailed
from detector.marks import is_told
from detector.rules import Rules
from detector.types import Step
from otel_shell_detector.checkpoints import Checkpoints
from store.seams import Position, Tick, Unreadable
from telemetry import events, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from detector.types import Arrival, Finding, NodeId, SessionRow, ShellId, SilentNode
    from store.seams import Store


@dataclass(slots=True)
class Recovered:
    """Where the service goes on.

    ``step`` is what was decided and not told yet. ``answers`` are look-ups behind the last tick.
    ``rules_changed``: every node has to be checkpointed in one commit with the new rules, for the journal was
    written under others.
    """

    detector: Detector
    checkpoints: Checkpoints
    service_ns: int = 0
    step: Step = field(default_factory=Step)
    answers: list[tuple[Position, SessionRow]] = field(default_factory=list)
    rules_changed: bool = False
    records: int = 0


def described(rules: Rules) -> str:
    """Rules as the store remembers them."""
    return json.dumps(dataclasses.asdict(rules))


def recover(store: Store, rules: Rules, clock: Callable[[], int]) -> Recovered:
    """Read the store; ``clock`` is monotonic, in ns. Raises :class:`store.seams.StoreError`."""
    while True:
        reader = _Reader(store, rules, clock)
        try:
            return reader.read()
        except NodeFailed as failure:
            bury(store, failure, reader.position)


def look_into(store: Store, rules: Rules, clock: Callable[[], int]) -> Recovered:
    """As :func:`recover`, but nothing is taken out. Raises :class:`NodeFailed` where that would be needed."""
    return _Reader(store, rules, clock).read()


def bury(store: Store, failure: NodeFailed, position: Position) -> None:
    """Take out of the journal what made the detector raise, for good."""
    error = type(failure.__cause__).__name__
    events.RECORD_POISONED(
        cluster=failure.node.cluster,
        node=failure.node.node,
        error=error,
        exc_info=failure.__cause__,
    )
    if failure.of_record:
        metrics.POISON.labels(kind="record").inc()
        store.bury(position, error)
    else:
        metrics.POISON.labels(kind="node").inc()
        store.bury_node(failure.node, error)


class _Reader:
    """One round over the store."""

    def __init__(self, store: Store, rules: Rules, clock: Callable[[], int]) -> None:
        self._store = store
        self._rules = rules
        self._then = _rules_of(store.rules()) or rules
        self._detector = Detector(self._then)
        self._checkpoints = Checkpoints(clock)
        self._covered: dict[NodeId, Position] = {}
        self._service_ns = store.service_ns()
        self._fresh: list[Finding] = []
        self._rows: dict[ShellId, SessionRow] = {}
        self._silent: tuple[SilentNode, ...] = ()
        self._answers: list[tuple[Position, SessionRow]] = []
        self._records = 0
        self.position = Position(0)
        """That of the entry that is being fed."""

    def read(self) -> Recovered:
        """All of it. Raises :class:`NodeFailed`, after which nothing of this round is of use."""
        for checkpoint in self._store.checkpoints():
            if checkpoint.state is not None:
                self._detector.restore(checkpoint.node, checkpoint.state)
                self._covered[checkpoint.node] = checkpoint.position
                self._checkpoints.replaced(checkpoint.node, len(checkpoint.state))
        self._store.rewind()
        unanswered: list[tuple[Position, Arrival]] = []
        for position, entry in self._store.read():
            if isinstance(entry, Tick):
                self._feed_told(unanswered, entry)
                unanswered.clear()
                self._checkpoints.pass_by(position)
            elif isinstance(entry, Unreadable) or position < self._covered.get(entry.record.node, 0):
                self._checkpoints.pass_by(position)
            else:
                self._service_ns = max(self._service_ns, entry.service_ns)
                unanswered.append((position, entry))
        for position, arrival in unanswered:
            self._feed_untold(position, arrival)
        self._take()
        detector = self._detector if self._then == self._rules else self._under_new_rules()
        return Recovered(
            detector,
            self._checkpoints,
            self._service_ns,
            Step(findings=tuple(self._fresh), rows=tuple(self._rows.values()), silent_nodes=self._silent),
            self._answers,
            rules_changed=self._store.rules() != described(self._rules),
            records=self._records,
        )

    def _feed_told(self, arrivals: list[tuple[Position, Arrival]], tick: Tick) -> None:
        answers: dict[Position, dict[ShellId, SessionRow]] = {}
        for position, row in tick.answers:
            answers.setdefault(position, {})[row.shell] = row
        for position, arrival in arrivals:
            self._feed(position, arrival, answers.get(position, {}))
        self._service_ns = max(self._service_ns, tick.service_ns)
        self._detector.advance(tick.service_ns)
        self._take()
        self._silent = ()  # told in the transaction of the tick, or before

    def _feed_untold(self, position: Position, arrival: Arrival) -> None:
        self.position = position
        rows = self._store.look_up(self._detector.unknown(arrival.record))
        self._answers += [(position, row) for row in rows.values()]
        self._feed(position, arrival, rows)

    def _feed(self, position: Position, arrival: Arrival, answers: Mapping[ShellId, SessionRow]) -> None:
        self.position = position
        self._records += 1
        self._detector.feed(arrival, answers)
        self._checkpoints.note(position, arrival.record.node)

    def _take(self) -> None:
        """Keep what the store does not know to be told."""
        step = self._detector.take_step()
        self._silent += step.silent_nodes
        known = self._store.look_up([finding.shell for finding in step.findings])
        fresh = [finding for finding in step.findings if not is_told(finding, known.get(finding.shell))]
        self._fresh += fresh
        shells = {finding.shell for finding in fresh}
        self._rows.update((row.shell, row) for row in step.rows if row.shell in shells)

    def _under_new_rules(self) -> Detector:
        if self._then.window_ns != self._rules.window_ns:
            self._detector.finish()
            self._take()
        detector = Detector(self._rules)
        for node in self._detector.nodes():
            dumped = self._detector.dump(node)
            if dumped is not None:
                detector.restore(node, dumped, self._then)
        return detector


def _rules_of(text: str) -> Rules | None:
    if not text:
        return None
    known = {each.name for each in dataclasses.fields(Rules)}
    return Rules(**{name: value for name, value in json.loads(text).items() if name in known})
