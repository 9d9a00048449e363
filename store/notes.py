"""The judge's notes in SQLite.

How many there are of a kind is counted when the file is opened, and then along with each change. Those of
kinds whose end is told are removed by the judge alone; of the others, what is due or too much goes in
commits, a bounded number at a time but always more than was added.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from detector.judging.notes import SETTLED, Note, NoteKind
from store import codec
from store.schema import NOTE
from telemetry import events as log
from telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from detector.judging.notes import Tombstone
    from store.codec import Stored
    from store.database import Database, Row

FORGOTTEN_AT_ONCE: Final = 100
TOLD: Final = tuple(kind for kind in NoteKind if kind in SETTLED)
"""Kinds of notes whose end is told."""
FORGOTTEN: Final = tuple(kind for kind in NoteKind if kind not in SETTLED)
"""Kinds of notes that are forgotten when they are due."""

_NEVER_NS: Final = (1 << 63) - 1
_REPLACE: Final = NOTE.insert.replace("INSERT", "INSERT OR REPLACE", 1)
_KEYS: Final = "key IN (SELECT value FROM json_each(?))"
_GAUGES: Final = {kind: metrics.STORE_NOTES.labels(kind=kind) for kind in NoteKind}


def tell(counts: Mapping[NoteKind, int], dropped: Mapping[NoteKind, int]) -> None:
    """Move the metrics: how many notes there are, and how many more were dropped, by kind."""
    for kind, count in counts.items():
        _GAUGES[kind].set(count)
    for kind, count in dropped.items():
        metrics.STORE_NOTES_DROPPED.labels(kind=kind).inc(count)


class NoteTable:
    """Notes by key; ``bounds`` are how many of each kind may be kept."""

    def __init__(self, database: Database, bounds: Mapping[NoteKind, int]) -> None:
        self._database = database
        self._bounds = bounds

    def load(self) -> None:
        """Take the tally of what is there."""
        tally = self._database.tally
        rows = self._database.rows(
            "counting notes", "SELECT CAST(kind AS BLOB), count(*) FROM note GROUP BY kind"
        )
        counts: dict[bytes, int] = dict(rows)
        tally.notes = {kind: counts.get(kind.encode(), 0) for kind in NoteKind}
        [[last]] = self._database.rows("counting notes", "SELECT ifnull(max(written), 0) FROM note")
        tally.written = last + 1
        tally.forget_ns = self._first_due_ns(FORGOTTEN)
        self.tell()

    def tell(self, dropped: Mapping[NoteKind, int] | None = None) -> None:
        """Move the metrics to what is so, after a transaction."""
        tell(self._database.tally.notes, dropped or {})

    # --- writing

    def put(self, notes: Sequence[Note | Tombstone]) -> Mapping[NoteKind, int]:
        """Write and remove notes; a part of a transaction. Returns how many the bounds have dropped."""
        if not notes:
            return {}
        tally = self._database.tally
        last = {note.key: note for note in notes}
        for kind in self._kinds(last):
            self._uncount(kind)
        written = [note for note in last.values() if isinstance(note, Note)]
        removed = [(note.key,) for note in last.values() if not isinstance(note, Note)]
        self._database.write_many("DELETE FROM note WHERE key = ?", removed)
        self._database.write_many(_REPLACE, [self._row(note) for note in written])
        for note in written:
            tally.notes[note.kind] += 1
            if note.kind not in SETTLED:
                tally.forget_ns = min(tally.forget_ns, note.due_ns)
        tally.written += 1
        return self._bound(len(written))

    def _row(self, note: Note) -> tuple[Stored, ...]:
        value = codec.dump_value(note.value)
        return NOTE.stamp(note.key, note.kind, note.due_ns, value, self._database.tally.written)

    def _kinds(self, keys: Collection[str]) -> list[bytes]:
        """The kinds of those notes that there are."""
        statement = f"SELECT CAST(kind AS BLOB) FROM note WHERE {_KEYS}"  # noqa: S608  names of this module; values are bound
        return [kind for [kind] in self._database.rows("reading notes", statement, (_listed(keys),))]

    def _uncount(self, kind: bytes) -> None:
        name = kind.decode(errors="replace")
        if name in self._database.tally.notes:  # else it is damaged, and was never counted
            self._database.tally.notes[NoteKind(name)] -= 1

    def _bound(self, added: int) -> Mapping[NoteKind, int]:
        dropped: Counter[NoteKind] = Counter()
        for kind in FORGOTTEN:
            surplus = min(self._surplus(kind), FORGOTTEN_AT_ONCE + 2 * added)
            if surplus:
                dropped[kind] = self.drop_first(kind, surplus)
        return dropped

    def _surplus(self, kind: NoteKind) -> int:
        return max(self._database.tally.notes[kind] - self._bounds[kind], 0)

    def drop_first(self, kind: NoteKind, count: int, until_ns: int = _NEVER_NS) -> int:
        """Delete the notes of a kind that are due first; a part of a transaction. Returns how many."""
        dropped = self._database.write(
            "DELETE FROM note WHERE key IN"
            " (SELECT key FROM note WHERE kind = ? AND due_ns <= ? ORDER BY due_ns, key LIMIT ?)",
            kind,
            until_ns,
            count,
        )
        self._database.tally.notes[kind] -= dropped
        return dropped

    def prune(self, added: int) -> None:
        """Forget some of what is due, more than was ``added``; a part of a transaction."""
        tally, left = self._database.tally, FORGOTTEN_AT_ONCE + 2 * added
        if tally.service_ns < tally.forget_ns:
            return
        for kind in FORGOTTEN:
            left -= self.drop_first(kind, left, tally.service_ns)
        tally.forget_ns = self._first_due_ns(FORGOTTEN)

    # --- reading

    def recall(self, keys: Collection[str]) -> Mapping[str, Note]:
        """See :class:`store.seams.Notes`."""
        notes = self._read(f"WHERE {_KEYS}", _listed(keys)) if keys else []
        return {note.key: note for note in notes}

    def due(self, now_ns: int, limit: int) -> Sequence[Note]:
        """See :meth:`store.seams.Notes.due_notes`."""
        found = [note for kind in TOLD for note in self._due(kind, now_ns, limit)]
        return sorted(found, key=lambda note: (note.due_ns, note.key))[:limit]

    def _due(self, kind: NoteKind, now_ns: int, limit: int) -> list[Note]:
        clause = "WHERE kind = ? AND due_ns <= ? ORDER BY due_ns, key LIMIT ?"
        due = self._read(clause, kind, now_ns, limit)
        surplus = min(self._surplus(kind), limit)
        return due if len(due) >= surplus else self._read(clause, kind, _NEVER_NS, surplus)

    def next_due_ns(self) -> int | None:
        """See :class:`store.seams.Notes`."""
        if any(map(self._surplus, TOLD)):
            return 0
        first_ns = self._first_due_ns(TOLD)
        return None if first_ns == _NEVER_NS else first_ns

    def _first_due_ns(self, kinds: Sequence[NoteKind]) -> int:
        each = " UNION ALL ".join(["SELECT min(due_ns) AS due_ns FROM note WHERE kind = ?"] * len(kinds))
        statement = f"SELECT min(due_ns) FROM ({each})"  # noqa: S608  names of this module; values are bound
        [[first_ns]] = self._database.rows("reading notes", statement, kinds)
        return _NEVER_NS if first_ns is None else first_ns

    def walk(self, kind: NoteKind, after: str, limit: int) -> Sequence[Note]:
        """See :meth:`store.seams.Notes.notes`."""
        # By key, not by kind: a page is found without sorting all notes of the kind. ";" comes after ":".
        return self._read(
            "WHERE key > ? AND key < ? ORDER BY key LIMIT ?", max(after, f"{kind}:"), f"{kind};", limit
        )

    def _read(self, clause: str, *values: Stored) -> list[Note]:
        """The notes of a query; those that are damaged are dropped, and others found in their place."""
        while True:
            rows = self._database.rows("reading notes", f"{NOTE.select} {clause}", values)
            notes = [(row, _note(row)) for row in rows]
            damaged = [row for row, note in notes if note is None]
            if not damaged:
                return [note for _, note in notes if note is not None]
            self._give_up(damaged)

    def _give_up(self, rows: Sequence[Row]) -> None:
        with self._database.transaction("dropping damaged notes"):
            for key, kind, *_ in rows:
                self._database.write("DELETE FROM note WHERE key = CAST(? AS TEXT)", key)
                self._uncount(kind)
        self.tell()
        metrics.STORE_DAMAGED.labels(table="note").inc(len(rows))
        log.STORE_ROWS_DAMAGED(table="note", rows=len(rows))


def _listed(keys: Collection[str]) -> str:
    return json.dumps(list(keys))


def _note(row: Row) -> Note | None:
    fields: tuple[Any, ...] | None = NOTE.intact(row)
    if fields is None:
        return None
    key, kind, due_ns, value, _ = fields
    try:
        return Note(NoteKind(kind), key, codec.load_value(value), due_ns)
    except ValueError:  # as it was written, and says nothing to this version
        return None
