"""The parts of the hot path whose instructions are counted, each by itself.

    python -P bench/parts.py FOLDER

``FOLDER`` holds folders ``0``, ``2`` and ``30``: requests with so many shells, a scrape apart, as files
``0``, ``1`` and so on. A part is made ready, done some times until nothing is new to it, then done in rounds.
Before each round and after the last one ``getpgid`` is called: there :mod:`bench.callgrind` reads the
counter. At the end a line for each part says its name, how many rounds there were and how often a round did
it.

A program of its own that imports the rooms alone, for it runs with those of the checkout that is counted
(``PYTHONPATH``).
"""

from __future__ import annotations

import gc
import gzip
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from detector.detector import Detector
from detector.events import Lane, Outcome, Settlement
from detector.judging.rules import JudgeRules
from detector.rules import Rules
from detector.types import Arrival
from exporter.event import encode
from exporter.redaction import Redactor
from exporter.settings import EventSettings
from otel_shell_detector.bench import Bench, Sentence
from otlp_receiver.decode import Tally, decode_safely
from otlp_receiver.inflating import inflate
from otlp_receiver.progress import find_progress
from otlp_receiver.reading import read_request
from otlp_receiver.selection import Selection
from otlp_receiver.wire import find_first, find_frames, find_hits, hits_of
from store.memory import MemoryStore
from store.seams import Commit, Tick
from store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.types import Record, Step

    Once = Callable[[int], object]
    """Does a part; the number says how often it was done before."""

WARM_UP: Final = 10
"""By then every shell is known and windows close."""
ROUNDS: Final = 3
OFTEN: Final = 10
"""How often a round does a part."""
REQUESTS: Final = WARM_UP + ROUNDS * OFTEN
"""How often a part is done, and how many requests of each kind there have to be."""
SHELLS: Final = (0, 2, 30)

_SCRAPE_NS: Final = 10_000_000_000
_CLOSED_NS: Final = 16_000_000_000
"""A window has closed so long after its first sample."""
_WALL_NS: Final = 1_760_000_000_000_000_000
_LIMIT: Final = 16 << 20
_SELECTION: Final = Selection(("sh", "bash", "csh", "tcsh"), Redactor(()).clean)


class NotCountedError(Exception):
    """A part does not do what its name says, so its count would mean nothing."""


@dataclass(frozen=True, slots=True)
class Part:
    """``what`` one time of it is; ``make`` prepares it, with the requests' folder, and gives what does it."""

    what: str
    make: Callable[[Path], Once]


def _bodies(folder: Path, shells: int) -> list[bytes]:
    return [(folder / str(shells) / str(number)).read_bytes() for number in range(REQUESTS)]


def _wire(folder: Path) -> Once:
    bodies = _bodies(folder, 0)

    def once(number: int) -> None:
        body = bodies[number]
        found = find_first(body, _SELECTION.needles)
        frames = find_frames(body, _SELECTION.max_resources)
        if hits_of(body, frames, found) or not find_progress(body, frames, ""):
            raise NotCountedError("want a request of a node, without shells")

    return once


def _inflate(folder: Path) -> Once:
    body = _bodies(folder, 0)[0]
    message = gzip.compress(body, mtime=0)
    if inflate(message, _LIMIT) != body:
        raise NotCountedError("want the request that was compressed")
    return lambda _number: inflate(message, _LIMIT)


def _decode(folder: Path) -> Once:
    body = _bodies(folder, 2)[0]
    frames = find_frames(body, _SELECTION.max_resources)
    found = find_hits(body, frames, _SELECTION.needles)
    hits = [body[frames.starts[index] : frames.ends[index]] for index in found]

    def once(_number: int) -> None:
        tally = Tally()
        if [decode_safely(frame, _SELECTION, tally) for frame in hits].count(None) != len(hits) - 2:
            raise NotCountedError("want two shells")

    return once


def _take(detector: Detector, record: Record, now_ns: int) -> Step:
    detector.unknown(record)
    detector.is_vital(record)
    detector.feed(Arrival(record, now_ns, _WALL_NS + now_ns))
    detector.advance(now_ns)
    return detector.take_step()


def _detect(folder: Path) -> Once:
    detector = Detector(Rules())
    read = [read_request(body, _SELECTION).records for body in _bodies(folder, 2)]

    def once(number: int) -> None:
        [record] = read[number]
        _take(detector, record, number * _SCRAPE_NS)

    return once


def _request(folder: Path, shells: int) -> Once:
    bodies = _bodies(folder, shells)
    detector = Detector(Rules())

    def once(number: int) -> None:
        [record] = read_request(bodies[number], _SELECTION, detector).records
        if len(record.samples) != shells:
            raise NotCountedError(f"want {shells} shells")
        _take(detector, record, number * _SCRAPE_NS)

    return once


def _arrivals(folder: Path) -> list[Arrival]:
    """A request with two shells, each from a node of its own, so that both are new."""
    [record] = read_request(_bodies(folder, 2)[0], _SELECTION).records
    return [
        Arrival(replace(record, node=replace(record.node, node=f"w{number:09}")), 0, _WALL_NS)
        for number in range(REQUESTS)
    ]


def _found(arrivals: Sequence[Arrival]) -> list[Step]:
    """What is found of each arrival: two shells are opened."""
    steps = []
    for arrival in arrivals:
        detector = Detector(Rules())
        detector.feed(arrival)
        detector.advance(_CLOSED_NS)
        step = detector.take_step()
        if len(step.findings) != 2:  # noqa: PLR2004  # the part is called so
            raise NotCountedError(f"want two findings, got {len(step.findings)}")
        steps.append(step)
    return steps


def _judge() -> Callable[[Step], Sentence]:
    bench = Bench(JudgeRules(), lambda telling: encode(telling, EventSettings()))
    store = MemoryStore()

    def judge(step: Step) -> Sentence:
        sentence = bench.hear(store, step, _CLOSED_NS, _WALL_NS)
        if len(sentence.events) != 2:  # noqa: PLR2004  # the part is called so
            raise NotCountedError(f"want two events, got {len(sentence.events)}")
        return sentence

    return judge


def _encode(folder: Path) -> Once:
    steps = _found(_arrivals(folder))
    judge = _judge()
    return lambda number: b"\n".join(event.body for event in judge(steps[number]).events)


def _open_store(folder: Path) -> SqliteStore:
    return SqliteStore(folder, wall_ns=lambda: _WALL_NS, monotonic_ns=lambda: 0)


def _changes(folder: Path) -> list[tuple[Arrival, Commit]]:
    arrivals = _arrivals(folder)
    judge = _judge()
    changes = []
    for arrival, step in zip(arrivals, _found(arrivals), strict=True):
        sentence = judge(step)
        tick = Tick(_CLOSED_NS)
        changes.append((arrival, Commit(tick, step.rows, sentence.events, notes=sentence.notes)))
    return changes


def _store(folder: Path) -> Once:
    store = _open_store(folder / "store")
    changes = _changes(folder)

    def once(number: int) -> None:
        arrival, change = changes[number]
        store.append([arrival])
        if [entry for _, entry in store.read()] != [arrival]:
            raise NotCountedError("want what was appended")
        store.commit(change)

    return once


def _outbox(folder: Path) -> Once:
    store = _open_store(folder / "outbox")
    for _, change in _changes(folder):
        store.commit(change)
    [lane] = [lane for lane in Lane if store.backlog()[lane] == 2 * REQUESTS]

    def once(_number: int) -> None:
        taken = store.take(lane, 2)
        if len(taken) != 2:  # noqa: PLR2004  # the part is called so
            raise NotCountedError(f"want two events, got {len(taken)}")
        store.settle([Outcome(queued.sequence, Settlement.DONE) for queued in taken])

    return once


PARTS: Final = {
    "wire": Part("scan, frames and progress of a request without shells", _wire),
    "inflate": Part("inflate a request that was compressed by gzip", _inflate),
    "decode": Part("decode the frames of two shells", _decode),
    "detector": Part("feed the detector two known shells, and run what is due", _detect),
    "judge": Part("judge two new shells and encode their events", _encode),
    "store": Part("append a request and commit its two new shells, in SQLite", _store),
    "outbox": Part("take two events and settle them, in SQLite", _outbox),
    "request-0": Part("read a request without shells and feed the detector", lambda at: _request(at, 0)),
    "request-2": Part("read a request with 2 known shells and feed the detector", lambda at: _request(at, 2)),
    "request-30": Part(
        "read a request with 30 known shells and feed the detector", lambda at: _request(at, 30)
    ),
}


def _mark() -> None:
    os.getpgid(0)


def _do(once: Once) -> None:
    for number in range(WARM_UP):
        once(number)
    gc.collect()  # what the parts before left
    for first in range(WARM_UP, REQUESTS, OFTEN):
        _mark()
        for number in range(first, first + OFTEN):
            once(number)
    _mark()


def main() -> None:
    """Do every part."""
    folder = Path(sys.argv[1])
    for part in PARTS.values():
        _do(part.make(folder))
    for name in PARTS:
        print(name, ROUNDS, OFTEN)


if __name__ == "__main__":
    main()
