"""The judge's notes: what every store promises of them, and what the one in a file adds."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from detector.events import Event, Lane
from detector.judging.notes import BOUNDS, SETTLED, Note, NoteKind, Tombstone, key_of
from store import codec, schema
from store.memory import MAX_NOTES, MemoryStore
from store.seams import Commit, Store, Tick
from store.sqlite import SqliteStore
from telemetry import metrics
from tests.store.power import Disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.store.power import Still

FORGOTTEN = sorted(set(NoteKind) - SETTLED)


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Makes a store, with other bounds for some kinds."""
    made: list[Store] = []

    def new(**bounds: int) -> Store:
        max_notes = dict(BOUNDS) | {NoteKind(kind): bound for kind, bound in bounds.items()}
        if request.param == "memory":
            made.append(MemoryStore(max_notes=max_notes))
        else:
            made.append(SqliteStore(tmp_path / str(len(made)), max_notes=max_notes))
        return made[-1]

    yield new
    for store in made:
        store.close()


def note(number: int, due_ns: int, kind: NoteKind = NoteKind.BURST, told: int = 0) -> Note:
    value = {"told": told, "names": ["sh", "\u00e4\ud800"], "more": {"none": None, "part": 0.1, "big": 2**70}}
    return Note(kind, key_of(kind, number), value, due_ns)


def keys(*notes: Note) -> list[str]:
    return [each.key for each in notes]


def dropped(kind: NoteKind) -> float:
    value: float = metrics.STORE_NOTES_DROPPED.labels(kind=kind)._value.get()
    return value


def kept() -> dict[str, float]:
    return {kind: metrics.STORE_NOTES.labels(kind=kind)._value.get() for kind in NoteKind}


# --- what every store promises


def test_notes_are_recalled_as_they_were_written_last(make: Callable[..., Store]) -> None:
    store = make()
    one, two, other = note(1, 5), note(2, 6, NoteKind.CAP), note(3, 7)
    store.commit(Commit(notes=(one, two)))
    assert store.recall(keys(one, two, other)) == {one.key: one, two.key: two}
    assert store.recall([]) == {}
    changed = note(1, 9, told=3)
    store.commit(Commit(notes=(changed, other, Tombstone(two.key), Tombstone("cap:none"))))
    assert store.recall(set(keys(one, two, other))) == {one.key: changed, other.key: other}


def test_of_two_notes_of_a_commit_with_one_key_the_last_counts(make: Callable[..., Store]) -> None:
    store = make()
    one, two = note(1, 5), note(2, 6)
    store.commit(Commit(notes=(one, note(1, 7, told=2), two, Tombstone(two.key))))
    assert store.recall(keys(one, two)) == {one.key: note(1, 7, told=2)}
    assert kept() == dict.fromkeys(NoteKind, 0) | {NoteKind.BURST: 1}


def test_notes_whose_end_is_told_stay_until_they_are_removed_and_are_due_in_order(
    make: Callable[..., Store],
) -> None:
    store = make()
    assert (store.next_due_ns(), store.due_notes(10**18, 9)) == (None, [])
    burst, audit, summary = note(1, 30), note(2, 10, NoteKind.AUDIT), note(3, 20, NoteKind.SUMMARY)
    others = [note(number, 1, kind) for number, kind in enumerate(FORGOTTEN)]
    store.commit(Commit(notes=(burst, audit, summary, *others)))
    assert store.next_due_ns() == 10
    assert [list(store.due_notes(now_ns, 9)) for now_ns in (9, 10, 29, 30)] == [
        [],
        [audit],
        [audit, summary],
        [audit, summary, burst],
    ]
    assert store.due_notes(99, 2) == [audit, summary]
    store.commit(Commit(Tick(99)))
    assert store.due_notes(99, 9) == [audit, summary, burst]
    store.commit(Commit(notes=(Tombstone(audit.key), note(3, 40, NoteKind.SUMMARY))))
    assert store.next_due_ns() == 30
    assert store.due_notes(99, 9) == [burst, note(3, 40, NoteKind.SUMMARY)]


@pytest.mark.parametrize("kind", FORGOTTEN)
def test_a_note_of_another_kind_is_forgotten_when_it_is_due(
    make: Callable[..., Store], kind: NoteKind
) -> None:
    store = make()
    soon, later = note(1, 10, kind), note(2, 11, kind)
    store.commit(Commit(Tick(9), notes=(soon, later)))
    assert store.recall(keys(soon, later)) == {soon.key: soon, later.key: later}
    store.commit(Commit(Tick(10)))
    assert store.recall(keys(soon, later)) == {later.key: later}
    store.commit(Commit(Tick(11)))
    assert store.recall(keys(soon, later)) == {}
    assert kept()[kind] == 0


def test_a_commit_forgets_a_bounded_number_but_more_than_it_adds(make: Callable[..., Store]) -> None:
    store = make()
    due = [note(number, 1 + number % 7, FORGOTTEN[number % len(FORGOTTEN)]) for number in range(500)]
    store.commit(Commit(notes=tuple(due)))
    left = []
    for number in range(5):
        new = tuple(note(1_000 + 10 * number + each, 99) for each in range(10))
        store.commit(Commit(Tick(10), notes=new))
        left.append(len(store.recall(keys(*due))))
    assert left == [380, 260, 140, 20, 0]
    assert kept()[NoteKind.BURST] == 50


@pytest.mark.parametrize("kind", FORGOTTEN)
def test_of_too_many_those_that_are_due_first_go_in_the_same_commit(
    make: Callable[..., Store], kind: NoteKind
) -> None:
    store, before = make(**{kind: 3}), dropped(kind)
    notes = [note(number, due_ns, kind) for number, due_ns in enumerate((40, 20, 60, 50, 30))]
    store.commit(Commit(notes=tuple(notes[:3])))
    assert dropped(kind) == before
    store.commit(Commit(notes=(notes[0], *notes[3:])))  # one of them is there already
    assert store.recall(keys(*notes)) == {each.key: each for each in (notes[0], notes[2], notes[3])}
    assert kept()[kind] == 3
    assert dropped(kind) == before + 2


@pytest.mark.parametrize("kind", sorted(SETTLED))
def test_of_too_many_whose_end_is_told_the_first_are_due_early_and_none_is_lost(
    make: Callable[..., Store], kind: NoteKind
) -> None:
    store = make(**{kind: 2})
    other = NoteKind.BURST if kind is NoteKind.AUDIT else NoteKind.AUDIT
    notes = [note(number, due_ns, kind) for number, due_ns in enumerate((40, 30, 60, 50))]
    waits = note(9, 35, other)
    store.commit(Commit(notes=(*notes[:2], waits)))
    assert (store.next_due_ns(), store.due_notes(0, 9)) == (30, [])
    store.commit(Commit(Tick(1), notes=tuple(notes[2:])))
    assert store.recall(keys(*notes)) == {each.key: each for each in notes}
    assert (store.next_due_ns(), store.due_notes(0, 9)) == (0, [notes[1], notes[0]])
    assert store.due_notes(0, 1) == [notes[1]]
    assert store.due_notes(35, 9) == [notes[1], waits, notes[0]]
    assert store.due_notes(60, 9) == [notes[1], waits, notes[0], notes[3], notes[2]]
    store.commit(Commit(notes=(Tombstone(notes[1].key), Tombstone(notes[0].key))))
    assert (store.next_due_ns(), store.due_notes(0, 9)) == (35, [])


def test_the_notes_of_a_kind_are_walked_in_pages_by_key(make: Callable[..., Store]) -> None:
    store = make()
    notes = [note(number, 99 - number, kind) for number in range(20) for kind in NoteKind]
    store.commit(Commit(notes=tuple(notes)))
    for kind in NoteKind:
        wanted = sorted((each for each in notes if each.kind is kind), key=lambda each: each.key)
        pages, after = list[list[Note]](), ""
        while page := store.notes(kind, after, 8):
            pages.append(list(page))
            after = page[-1].key
        assert pages == [wanted[:8], wanted[8:16], wanted[16:]]


def test_what_a_store_tells_of_any_changes_is_what_a_plain_list_tells(make: Callable[..., Store]) -> None:
    """Bounds and ends of all kinds in one: 300 commits against the rules as they read."""
    bound, chance = 12, random.Random(7)
    store, model = make(**dict.fromkeys(NoteKind, bound)), dict[str, Note]()
    for now_ns in range(300):
        changes: list[Note | Tombstone] = [
            note(
                chance.randrange(30), now_ns + chance.randrange(1, 60), chance.choice(list(NoteKind)), now_ns
            )
            for _ in range(chance.randrange(6))
        ]
        changes += [Tombstone(key) for key in chance.sample(sorted(model), min(len(model), 2))]
        store.commit(Commit(Tick(now_ns), notes=tuple(changes)))
        for change in changes:
            model.pop(change.key, None)
            if isinstance(change, Note):
                model[change.key] = change
        by_due = sorted(model.values(), key=lambda each: (each.due_ns, each.key))
        of_kind = {kind: [each for each in by_due if each.kind is kind] for kind in NoteKind}
        surplus = {kind: each[: max(len(each) - bound, 0)] for kind, each in of_kind.items()}
        gone = [each for kind in FORGOTTEN for each in surplus[kind]]
        gone += [each for each in by_due if each.kind not in SETTLED and each.due_ns <= now_ns]
        model = {key: each for key, each in model.items() if each not in gone}
        told = [each for each in by_due if each.kind in SETTLED]
        early = [each for each in told if each.due_ns <= now_ns or each in surplus[each.kind]]
        assert {each.key: each for kind in NoteKind for each in store.notes(kind, "", 99)} == model
        assert store.due_notes(now_ns, 99) == early
        first_ns = min((each.due_ns for each in told), default=None)
        assert store.next_due_ns() == (0 if any(surplus[kind] for kind in SETTLED) else first_ns)
        assert kept() == {kind: sum(each.kind is kind for each in model.values()) for kind in NoteKind}


def test_the_memory_store_keeps_no_more_than_a_process_has_room_for() -> None:
    assert set(MAX_NOTES) == set(NoteKind)
    assert all(MAX_NOTES[kind] == min(bound, 50_000) for kind, bound in BOUNDS.items())


# --- of the store in a file alone


def test_what_is_counted_is_so_after_a_restart(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.commit(Commit(notes=tuple(note(number, 9, kind) for kind in NoteKind for number in range(3))))
    store.commit(Commit(notes=(Tombstone(note(1, 9).key),)))
    store.close()
    store = SqliteStore(tmp_path, max_notes=dict(BOUNDS) | {NoteKind.CAP: 1, NoteKind.AUDIT: 1})
    assert kept() == dict.fromkeys(NoteKind, 3) | {NoteKind.BURST: 2}
    assert len(store.due_notes(0, 9)) == 2
    store.commit(Commit(Tick(1), notes=(note(8, 9),)))
    assert kept() == dict.fromkeys(NoteKind, 3) | {NoteKind.CAP: 1}
    store.commit(Commit(Tick(9)))
    assert kept() == dict.fromkeys(NoteKind, 0) | dict.fromkeys(SETTLED, 3)
    store.close()


def test_a_newer_version_of_a_note_has_a_greater_number_also_after_a_restart(tmp_path: Path) -> None:
    """It is what a salvage tells them apart by."""
    numbers = []
    for told in range(3):
        store = SqliteStore(tmp_path)
        for again in range(2):
            store.commit(Commit(notes=(note(1, 9, told=2 * told + again),)))
            numbers += [row[0] for row in store._database.rows("", "SELECT written FROM note")]
        store.close()
    assert numbers == sorted(set(numbers))


DAMAGE = {
    "value": "UPDATE note SET value = x'7b7d' WHERE key = ?",
    "number": "UPDATE note SET written = written + 1 WHERE key = ?",
    "checksum": "UPDATE note SET crc = crc + 1 WHERE key = ?",
    "time": "UPDATE note SET due_ns = due_ns - 1 WHERE key = ?",
}
READS: dict[str, Callable[[SqliteStore, list[Note]], list[Note]]] = {
    "recall": lambda store, notes: list(store.recall(keys(*notes)).values()),
    "due_notes": lambda store, _: list(store.due_notes(99, 4)),
    "notes": lambda store, _: list(store.notes(NoteKind.BURST, "", 4)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_a_damaged_note_is_dropped_and_counted_and_others_come_in_its_place(
    tmp_path: Path, damage: str, read: Callable[[SqliteStore, list[Note]], list[Note]]
) -> None:
    store = SqliteStore(tmp_path)
    notes = sorted((note(number, 50) for number in range(5)), key=lambda each: each.key)
    store.commit(Commit(notes=tuple(notes)))
    store._database.write(damage, notes[1].key)
    before = metrics.STORE_DAMAGED.labels(table="note")._value.get()
    wanted = [each for each in notes if each is not notes[1]]
    assert sorted(read(store, notes), key=lambda each: each.key) == wanted
    assert metrics.STORE_DAMAGED.labels(table="note")._value.get() == before + 1
    assert kept()[NoteKind.BURST] == 4
    assert (store.next_due_ns(), read(store, notes)) == (50, wanted)
    assert metrics.STORE_DAMAGED.labels(table="note")._value.get() == before + 1
    store.close()
    store = SqliteStore(tmp_path)
    assert len(store.due_notes(99, 9)) == 4
    store.close()


# What a defect or another version may have written, with a checksum that holds.
STRANGE: dict[str, tuple[Any, ...]] = {
    "a kind that is not known": ("burst:x", "moon", 1, b"{}", 1),
    "no object": ("burst:x", "burst", 1, b"[1]", 1),
    "no JSON": ("burst:x", "burst", 1, b"{", 1),
    "no UTF-8": ("burst:x", "burst", 1, b"\xff", 1),
}


@pytest.mark.parametrize("row", STRANGE.values(), ids=STRANGE.keys())
def test_a_note_that_says_nothing_is_as_good_as_damaged(tmp_path: Path, row: tuple[Any, ...]) -> None:
    store = SqliteStore(tmp_path)
    store._database.write(schema.NOTE.insert, *schema.NOTE.stamp(*row))
    store.close()
    store = SqliteStore(tmp_path)
    counts = kept()
    assert store.recall(["burst:x"]) == {}
    assert store._database.rows("", "SELECT count(*) FROM note") == [(0,)]
    assert kept() == counts | {NoteKind.BURST: 0}
    store.close()


def test_a_note_whose_key_is_no_text_is_dropped(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.commit(Commit(notes=(note(1, 5),)))
    store._database.write("UPDATE note SET key = CAST(x'62757273743aff' AS TEXT)")
    assert store.notes(NoteKind.BURST, "", 9) == []
    assert store._database.rows("", "SELECT count(*) FROM note") == [(0,)]
    store.close()


def test_the_value_of_a_note_is_an_object_or_undecodable() -> None:
    for value in ({}, {"a": [1, 0.1, None, "\ud800"]}):
        assert codec.load_value(codec.dump_value(value)) == value
    for data, wanted in ((b"[" * 10_000, "10000 bytes"), (b"\xff", "1 bytes"), (b"7", "found int")):
        with pytest.raises(codec.Undecodable, match=f"^want the value of a note, .*{wanted}"):
            codec.load_value(data)


# --- power


def test_the_notes_and_the_events_of_a_commit_are_both_there_or_neither(tmp_path: Path) -> None:
    """Power is lost at each step; each commit has an event, writes two notes and removes one of before."""
    stills: list[tuple[int, Still]] = []
    committed = 0
    disk = Disk(tmp_path / "disk", lambda *_: stills.append((committed, disk.still())))
    with disk.watching():
        store = SqliteStore(disk.path / "state", vfs=disk.vfs.name)
        store._database.connection.wal_autocheckpoint(8)
        for number in range(1, 13):
            store.commit(change(number))
            committed = number
        store.close()
    seen = set()
    for at, (promised, still) in enumerate(stills):
        folder = tmp_path / str(at)
        still.develop(at, folder)
        store = SqliteStore(folder / "state")
        events = [int(queued.event.event_id) for queued in store.take(Lane.RISK, 99)]
        assert events == list(range(1, len(events) + 1))
        assert len(events) >= promised
        assert notes_of(store) == notes_after(len(events))
        seen.add(len(events))
        store.close()
    assert seen == set(range(13))


def change(number: int) -> Commit:
    own, shared = note(number, 10**9), note(0, 10**9, told=number)
    gone = Tombstone(note(number - 2, 0).key) if number > 2 else Tombstone("burst:none")
    return Commit(Tick(number), events=(Event(Lane.RISK, str(number), b"{}"),), notes=(own, shared, gone))


def notes_after(number: int) -> Mapping[str, Note]:
    left = [note(each, 10**9) for each in range(max(number - 1, 1), number + 1)]
    shared = [note(0, 10**9, told=number)] if number else []
    return {each.key: each for each in (*left, *shared)}


def notes_of(store: SqliteStore) -> Mapping[str, Note]:
    return {each.key: each for each in store.notes(NoteKind.BURST, "", 99)}
