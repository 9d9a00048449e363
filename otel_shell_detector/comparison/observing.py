"""Requests in; sessions, rows and the facts behind them out.

The detector is fed as ``replay`` feeds it: for each node the highest sample time so far stands for service
time, and a sample's own time for its arrival. A run of the search sees what had come when it began.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detector.detector import Detector
from detector.identity import BootTime
from detector.types import Arrival, Finding, Kind, NodeId, ShellId, Step
from otel_shell_detector import wiring
from otel_shell_detector.comparison.facts import Facts, RowId
from otel_shell_detector.comparison.runs import run_of
from otel_shell_detector.replay import latest_ns
from otel_shell_detector.search.reading import NEEDLES, IndexedPoint, read_frame
from otel_shell_detector.search.spl import Key, Search
from otlp_receiver.decode import Tally, decode_safely
from otlp_receiver.reading import read_request
from otlp_receiver.wire import find_frames, find_hits
from store.memory import MemoryStore
from store.seams import Commit

if TYPE_CHECKING:
    from detector.rules import Rules
    from otel_shell_detector.configuration import Settings


@dataclass(slots=True)
class Session:
    """What the detector says of an incarnation: its opening and its end."""

    opened: Finding
    closed: Finding


@dataclass(slots=True)
class Observed:
    """Everything that the shells are made of.

    ``shells``: facts by identity. ``strangers``: facts of rows of which the detector reads no shell, by their
    by-fields. ``searches``: the runs over whose ranges the captures have samples.
    """

    rules: Rules
    sessions: dict[ShellId, list[Session]] = field(default_factory=dict)
    shells: dict[ShellId, Facts] = field(default_factory=dict)
    strangers: dict[Key, Facts] = field(default_factory=dict)
    searches: dict[int, Search] = field(default_factory=dict)


class Observer:
    """One run over captures."""

    def __init__(self, settings: Settings) -> None:
        rules = wiring.rules(settings)
        self._selection = wiring.selection(settings)
        self._needles = tuple(dict.fromkeys((*self._selection.needles, *NEEDLES)))
        self._detector = Detector(rules)
        self._store = MemoryStore()
        self._boots: dict[NodeId, BootTime] = {}
        self._now: dict[NodeId, int] = {}
        self._told: dict[Kind, dict[str, Finding]] = {kind: {} for kind in Kind}
        self._observed = Observed(rules)

    def feed(self, body: bytes) -> None:
        """Take one serialized request. Raises :class:`otlp_receiver.wire.UnreadableRequest`."""
        init_starts: dict[NodeId, int] = {}
        for record in read_request(body, self._selection, self._detector).records:
            now_ns = max(self._now.get(record.node, 0), latest_ns(record))
            self._now[record.node] = now_ns
            self._boots.setdefault(record.node, BootTime()).see(record.init_start_ns)
            init_starts[record.node] = record.init_start_ns
            self._observed.searches.setdefault(run_of(now_ns), Search())
            answers = self._store.look_up(self._detector.unknown(record))
            self._detector.feed(Arrival(record, now_ns, now_ns), answers)
        self._hear(self._detector.take_step())
        frames = find_frames(body, self._selection.max_resources)
        for index in find_hits(body, frames, self._needles):
            self._look(body[frames.starts[index] : frames.ends[index]], init_starts)

    def finish(self) -> Observed:
        """The end of the last capture: windows close at their deadlines, then every session."""
        rules = self._observed.rules
        self._detector.advance(max(self._now.values(), default=0) + rules.window_ns + rules.lateness_ns)
        self._hear(self._detector.take_step())
        self._detector.finish(close_sessions=True)
        self._hear(self._detector.take_step())
        opened = self._told[Kind.OPENED]
        for session_id, closed in self._told[Kind.CLOSED].items():
            session = Session(opened[session_id], closed)
            self._observed.sessions.setdefault(closed.shell, []).append(session)
        return self._observed

    def _hear(self, step: Step) -> None:
        self._store.commit(Commit(rows=step.rows))
        for finding in step.findings:
            self._told[finding.kind][finding.session_id] = finding

    def _look(self, frame: bytes, init_starts: dict[NodeId, int]) -> None:
        """See what the index holds of a frame, and of which shells that is."""
        indexed = list(read_frame(frame))
        read = decode_safely(frame, self._selection, Tally())
        if read is None:
            for point in indexed:
                if point.counted is not None:
                    facts = self._observed.strangers.setdefault(point.fields, Facts())
                    facts.note(point)
                    self._search(point, point.time_ns, facts)
            return
        node, samples = read
        boot, init_start_ns = self._boots[node], init_starts[node]
        for sample in samples:
            start_ns = boot.correct(sample.start_ns, init_start_ns)
            shell_id = ShellId(node, sample.host, sample.pid, start_ns, sample.name)
            facts = self._observed.shells.setdefault(shell_id, Facts())
            own = [point for point in indexed if point.start_ns == sample.start_ns]
            facts.see(sample, own, self._observed.rules)
            for point in own:
                facts.relabelled |= not point.missing and point.fields != _row_of(shell_id)
                self._search(point, self._now[node], facts)

    def _search(self, point: IndexedPoint, arrived_ns: int, facts: Facts) -> None:
        value, run_ns = point.counted, run_of(point.time_ns)
        if value is None:
            return
        if arrived_ns >= run_ns:
            facts.too_late += 1
            return
        search = self._observed.searches.setdefault(run_ns, Search())
        search.add(point.fields, point.metric, point.time_ns, value)
        facts.enter(RowId(run_ns, point.fields), point, self._observed.rules)


def _row_of(shell: ShellId) -> Key:
    """The by-fields of a shell whose node and cluster are under their own names."""
    return Key(shell.host, shell.node.cluster, shell.node.node, str(shell.pid), shell.name)
