"""Whatever happened to its bytes, a store opens, tells only what was written, loses only what is damaged."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from detector.events import Event, Lane, Outcome, Settlement
from detector.judging.notes import Note, NoteKind
from detector.types import Arrival, CloseReason, CommandLine, NodeId, Record, Sample, SessionRow, ShellId
from store.seams import Checkpoint, Commit, Position, Tick, Unreadable
from store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from store.seams import Entry

PAGE_BYTES = 4096
NODES = [NodeId("c", f"n{number}") for number in range(4)]


def arrival(number: int) -> Arrival:
    line = CommandLine("x" * (number % 400), number % 400)
    sample = Sample("h", number, 1, "sh", number, (), 1, "/bin/sh", "root", line)
    return Arrival(Record(NODES[number % 4], (sample,)), number, number)


def event(number: int) -> Event:
    body = b'{"event":"%d","fill":"%s"}' % (number, b"y" * (number % 700))
    return Event((Lane.RISK, Lane.CONTEXT)[number % 2], f"id-{number}", body, number)


def session(number: int, emitted: int = 0) -> SessionRow:
    reason = CloseReason.EXITED if number % 2 else None
    return SessionRow(ShellId(NODES[0], "h", number, 1, "sh"), 0, emitted, number, reason)


def checkpoint(node: NodeId, position: int) -> Checkpoint:
    return Checkpoint(node, Position(position), b"[%s%d]" % (b"1," * 5_000, position))


def note(number: int, told: int = 0) -> Note:
    kind = (NoteKind.BURST, NoteKind.SILENCED)[number % 2]
    return Note(kind, f"{kind}:{number}", {"told": told, "fill": "z" * (number * 13 % 1_200)}, 100 + number)


# All that is ever written by `fill`.
SHELLS = [session(number).shell for number in range(200)]
SESSIONS = {session(number, emitted) for number in range(200) for emitted in (0, 1)}
NOTES = [note(number, told) for number in range(80) for told in (0, 1)]
EVENTS = {event(number) for number in range(300)}
CHECKPOINTS = {checkpoint(node, position) for node in NODES for position in (50, 60)}


@dataclass(frozen=True)
class Seen:
    """All that a store tells."""

    entries: dict[int, Entry]
    checkpoints: dict[NodeId, Checkpoint]
    sessions: dict[ShellId, SessionRow]
    events: dict[Lane, list[Event]]
    dead: dict[int, bytes]
    notes: dict[str, Note]

    def lost(self, before: Seen) -> int:
        """How many of the things that ``before`` tells are not told as they were."""
        pairs: list[tuple[Mapping[Any, object], Mapping[Any, object]]] = [
            (before.entries, self.entries),
            (before.checkpoints, self.checkpoints),
            (before.sessions, self.sessions),
            (before.dead, self.dead),
            (before.notes, self.notes),
        ]
        told = [
            {each.event_id: each for lane in seen.events.values() for each in lane} for seen in (before, self)
        ]
        pairs.append((told[0], told[1]))
        return sum(new.get(key) != value for old, new in pairs for key, value in old.items())


def see(folder: Path) -> Seen:
    store = SqliteStore(folder, wall_ns=lambda: 1)
    try:
        entries: dict[int, Entry] = {**dict(store.read())}
        checkpoints = {each.node: each for each in store.checkpoints()}
        sessions = dict(store.look_up(SHELLS))
        events = {lane: [queued.event for queued in store.take(lane, 10_000)] for lane in Lane}
        dead = {letter.number: letter.body for letter in store.dead_letters(10_000)}
        notes = {note.key: note for note in (*store.due_notes(10**9, 10**6), *walk(store, NoteKind.SILENCED))}
        assert notes == store.recall([note.key for note in NOTES])
        assert store.backlog() == {lane: len(waiting) for lane, waiting in events.items()}
        store.append([arrival(0)])
        store.commit(
            Commit(tick=Tick(store.service_ns() + 1), events=(event(10_000),), rows=(session(10_000),))
        )
    finally:
        store.close()
    return Seen(entries, checkpoints, sessions, events, dead, notes)


def walk(store: SqliteStore, kind: NoteKind) -> list[Note]:
    found: list[Note] = []
    while page := store.notes(kind, found[-1].key if found else "", 7):
        found += page
    return found


def fill(store: SqliteStore) -> None:
    store.append([arrival(number) for number in range(200)])
    checkpoints = tuple(checkpoint(node, 50) for node in NODES)
    rows, notes = tuple(map(session, range(200))), tuple(map(note, range(80)))
    store.commit(Commit(Tick(5), rows, tuple(map(event, range(300))), checkpoints, notes=notes))
    taken = [queued.sequence for queued in store.take(Lane.RISK, 40)]
    store.settle([Outcome(sequence, Settlement.DEAD, "code_6") for sequence in taken[:20]])
    store.settle([Outcome(sequence, Settlement.DONE) for sequence in taken[20:]])
    rows = tuple(session(number, 1) for number in range(50))
    kept = (checkpoint(NODES[0], 60),)
    notes = tuple(note(number, 1) for number in range(20))
    store.commit(Commit(Tick(6), rows, (), kept, trim_before=Position(50), rules="r", notes=notes))


@dataclass(frozen=True)
class Made:
    folder: Path
    whole: bytes
    seen: Seen
    pages: Mapping[int, tuple[str, str, int]]
    """For each page of a tree the table, the type and how many cells it has, as SQLite tells it."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    store = SqliteStore(folder, wall_ns=lambda: 1)
    fill(store)
    store.close()
    assert not (folder / "state.db-wal").exists()
    whole = (folder / "state.db").read_bytes()
    connection = apsw.Connection(str(folder / "state.db"))
    found: list[Any] = connection.execute("SELECT pageno, name, pagetype, ncell FROM dbstat").fetchall()
    connection.close()
    pages = {number: (name, kind, cells) for number, name, kind, cells in found}
    seen = see(folder)
    assert [len(each) for each in (seen.entries, seen.checkpoints, seen.sessions, seen.dead, seen.notes)] == [
        152,
        4,
        200,
        20,
        80,
    ]
    assert [len(each) for each in seen.events.values()] == [110, 150, 0]
    return Made(folder, whole, seen, pages)


def lost_at_most(made: Made, numbers: Iterable[int]) -> int:
    """How many rows a number of pages can hold; one where a row of several pages goes on."""
    lost = 0
    for number in numbers:
        name, kind, cells = made.pages.get(number, ("", "", 0))
        if kind == "overflow":
            lost += 1
        elif name in {"meta", "session", "note"} or kind == "leaf":
            lost += cells
    return lost


def open_with(tmp_path: Path, data: bytes, log: bytes = b"") -> Seen:
    folder = tmp_path / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    (folder / "state.db").write_bytes(data)
    (folder / "state.db").chmod(0o600)
    if log:
        (folder / "state.db-wal").write_bytes(log)
        (folder / "state.db-wal").chmod(0o600)
    return see(folder)


def assert_nothing_is_altered(before: Seen, after: Seen) -> None:
    """What is told was written; events are in order; a damaged entry says so."""
    for told in after.events.values():
        assert set(told) <= EVENTS
        numbers = [int(each.event_id.removeprefix("id-")) for each in told]
        assert numbers == sorted(set(numbers))
    assert all(
        isinstance(entry, Unreadable) or entry == before.entries.get(position, entry)
        for position, entry in after.entries.items()
    )
    arrivals = {each.service_ns: each for each in after.entries.values() if isinstance(each, Arrival)}
    assert all(each == arrival(number) for number, each in arrivals.items())
    assert set(after.sessions.values()) <= SESSIONS
    assert set(after.checkpoints.values()) <= CHECKPOINTS
    assert all(note in NOTES for note in after.notes.values())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_flipped_bit_in_the_file_costs_no_more_than_the_rows_of_its_page(
    made: Made, tmp_path: Path
) -> None:
    chance, lost = random.Random(1), list[int]()
    for _ in range(200):
        at, bit = chance.randrange(len(made.whole)), chance.randrange(8)
        after = open_with(
            tmp_path, made.whole[:at] + bytes([made.whole[at] ^ (1 << bit)]) + made.whole[at + 1 :]
        )
        assert_nothing_is_altered(made.seen, after)
        lost.append(after.lost(made.seen))
        assert lost[-1] <= lost_at_most(made, [at // PAGE_BYTES + 1])
    assert sum(lost) > 50
    assert lost.count(0) > 20


def test_a_file_that_is_cut_keeps_the_rows_before_the_cut(made: Made, tmp_path: Path) -> None:
    kept_all, size = [], len(made.whole)
    for length in [*range(0, size, size // 30), 1, 99, 100, PAGE_BYTES - 1, PAGE_BYTES, size - 1]:
        after = open_with(tmp_path, made.whole[:length])
        assert_nothing_is_altered(made.seen, after)
        gone = range(length // PAGE_BYTES + 1, size // PAGE_BYTES + 1)
        lost = after.lost(made.seen)
        assert lost <= lost_at_most(made, gone)
        kept_all.append(lost == 0)
    assert kept_all.count(False) > 20


def test_a_damaged_log_leaves_what_was_committed_before_the_damage(tmp_path: Path) -> None:
    """Of a log SQLite takes the commits before the first bad frame; here each appends one event."""
    folder = tmp_path / "made"
    store = SqliteStore(folder, wall_ns=lambda: 1)
    for number in range(0, 40, 2):
        store.append([arrival(number)])
        store.commit(Commit(events=(event(number),), rows=(session(number),)))
    data, log = (folder / "state.db").read_bytes(), (folder / "state.db-wal").read_bytes()
    store.close()
    all_events = [event(number) for number in range(0, 40, 2)]
    chance, kept = random.Random(2), list[int]()
    flips = [(chance.randrange(len(log)), 1 << chance.randrange(8)) for _ in range(200)]
    changed = [log[:at] + bytes([log[at] ^ bit]) + log[at + 1 :] for at, bit in flips]
    for damaged in [*changed, *(log[:length] for length in range(0, len(log), len(log) // 40))]:
        after = open_with(tmp_path, data, damaged)
        count = len(after.events[Lane.RISK])
        assert after.events == {Lane.RISK: all_events[:count], Lane.CONTEXT: [], Lane.AUDIT: []}
        entries = [entry for entry in after.entries.values() if isinstance(entry, Arrival)]
        assert entries in ([arrival(2 * n) for n in range(count)], [arrival(2 * n) for n in range(count + 1)])
        assert after.sessions == {session(n).shell: session(n) for n in range(0, 2 * count, 2)}
        kept.append(count)
    assert min(kept) == 0
    assert len(set(kept)) > 10


HEADER = {
    "magic": 0,
    "page size": 16,
    "version for writing": 18,
    "version for reading": 19,
    "bytes of a page that are not used": 20,
    "shares of a page": 21,
    "first page of the free list": 35,
    "schema format": 47,
    "encoding": 59,
    "version of our schema": 63,
    "application": 71,
}


@pytest.mark.parametrize("field", HEADER)
@pytest.mark.parametrize("bit", [0, 2, 6])
def test_a_flipped_bit_in_the_header_costs_nothing(made: Made, tmp_path: Path, field: str, bit: int) -> None:
    data = bytearray(made.whole)
    data[HEADER[field]] ^= 1 << bit
    assert open_with(tmp_path, bytes(data)).lost(made.seen) == 0


@pytest.mark.parametrize(
    "word",
    [b"touched_ns", b"CREATE INDEX outbox_lane", b"reason IS NOT NULL", b"value TEXT", b"INDEX note_due"],
)
def test_another_letter_in_the_schema_costs_nothing(made: Made, tmp_path: Path, word: bytes) -> None:
    assert word in made.whole
    for at in (0, len(word) - 1):
        changed = word[:at] + bytes([word[at] ^ 1]) + word[at + 1 :]
        assert open_with(tmp_path, made.whole.replace(word, changed)).lost(made.seen) == 0
