"""``replay``: captures through the same receiver code, detector and encoder as ``serve``, to standard output.

For each node the highest sample time so far stands for service time, and a sample's own time for its arrival.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from detector.detector import Detector
from detector.types import Arrival, NodeId, Record
from otel_shell_detector import wiring
from otel_shell_detector.captures import CaptureError, Damaged, OtherSignal, Request, requests
from otel_shell_detector.captures.progress import ProgressBar
from otel_shell_detector.coverage import described, table
from otel_shell_detector.kinds import one_line
from otel_shell_detector.trial import tried
from otlp_receiver.reading import UnreadableRequest, read_request
from store.memory import MemoryStore
from store.seams import Commit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from detector.coverage import NodeCoverage
    from detector.types import SessionRow
    from otel_shell_detector.bench import Sentence
    from otel_shell_detector.configuration import Settings
    from otel_shell_detector.hearing import Judging


class Replay:
    """One run over captures: requests in, lines out."""

    def __init__(self, settings: Settings, out: IO[bytes], bench: Judging | None = None) -> None:
        self._selection = wiring.selection(settings)
        self._bench = bench or wiring.bench(settings)
        self._detector = Detector(wiring.rules(settings))
        self._store = MemoryStore()
        self._now: dict[NodeId, int] = {}
        self._out = out

    def feed(self, body: bytes) -> None:
        """Take one serialized request. Raises :class:`UnreadableRequest`."""
        for record in self.read(body):
            now_ns = max(self._now.get(record.node, 0), latest_ns(record))
            self._now[record.node] = now_ns
            arrival = Arrival(record, now_ns, now_ns)
            self._detector.feed(arrival, self._store.look_up(self._detector.unknown(record)))
        self._print()

    def read(self, body: bytes) -> Iterable[Record]:
        """The records of a serialized request. Raises :class:`UnreadableRequest`."""
        return read_request(body, self._selection, self._detector).records

    def finish(self, *, close_sessions: bool) -> None:
        """The end of the last capture."""
        self._detector.finish(close_sessions=close_sessions)
        self._print()
        for sentence in self._bench.adjourn(self._store, self._now_ns):
            self._write(sentence)

    def coverage(self) -> list[NodeCoverage]:
        """How well each node could be seen, at the time of the latest sample of all."""
        return self._detector.coverage(max(self._now.values(), default=0))

    def _print(self) -> None:
        step = self._detector.take_step()
        self._write(self._bench.hear(self._store, step, self._now_ns, self._now_ns), step.rows)

    def _write(self, sentence: Sentence, rows: tuple[SessionRow, ...] = ()) -> None:
        self._store.commit(Commit(rows=rows, notes=sentence.notes))
        for event in sentence.events:
            self._out.write(event.body + b"\n")

    @property
    def _now_ns(self) -> int:
        """The time of the judge, who sees all nodes."""
        return max(self._now.values(), default=0)


def latest_ns(record: Record) -> int:
    """The time of a record's latest sample, 0 without one."""
    return max(record.times_ns, default=0)


def replay(
    settings: Settings, files: Sequence[Path], *, close_at_end: bool = False, report: Path | None = None
) -> int:
    """Print the events of captures, one after the other; the exit status is 1 if anything was damaged.

    With a policy, what it did is told on standard error, and in the file ``report`` as JSON.
    """
    with tried(settings, report) as trial:
        run = Replay(settings, sys.stdout.buffer, trial)
        status = feed_files(run, files)
        run.finish(close_sessions=close_at_end)
        sys.stdout.buffer.flush()
    return status


def coverage(settings: Settings, files: Sequence[Path], *, as_json: bool = False) -> int:
    """Print how well the nodes of captures could be seen; the exit status is as of :func:`replay`."""
    with Path(os.devnull).open("wb") as nowhere:
        run = Replay(settings, nowhere)
        status = feed_files(run, files)
        run.finish(close_sessions=False)
    nodes = run.coverage()
    text = f"{json.dumps(described(nodes), indent=2)}\n" if as_json else table(nodes)
    sys.stdout.write(text)
    return status


class Reader(Protocol):
    """Who takes requests."""

    def feed(self, body: bytes) -> None:
        """Take one serialized request. Raises :class:`UnreadableRequest`."""


def feed_files(run: Reader, files: Sequence[Path], *, quiet: bool = False) -> int:
    """Feed captures, one after the other; what is damaged is told unless ``quiet``, and 1 is returned."""
    status = 0
    for path in files:
        try:
            with ProgressBar(str(path)) as bar:
                for item in requests(path, observe=bar):
                    complaint = _take(run, item)
                    if complaint:
                        bar.clear()
                        _complain(f"{path}: {complaint}", quiet=quiet)
                        status = 1
        except CaptureError as error:
            _complain(str(error), quiet=quiet)
            status = 1
    return status


def _complain(text: str, *, quiet: bool) -> None:
    if not quiet:
        sys.stderr.write(f"{one_line(text)}\n")


def _take(run: Reader, item: Request | Damaged | OtherSignal) -> str:
    """Feed an item; return what there is to complain of."""
    if isinstance(item, Damaged):
        return f"offset {item.offset}: {item.reason}"
    if isinstance(item, OtherSignal):
        return ""
    try:
        run.feed(item.body)
    except UnreadableRequest as error:
        return f"offset {item.offset}: {error}"
    return ""
