"""The judge's notes in memory."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from heapq import nsmallest
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from detector.judging.notes import Note, NoteKind
from store.notes import FORGOTTEN, FORGOTTEN_AT_ONCE, TOLD, tell

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from detector.judging.notes import Tombstone


class MemoryNotes:
    """Notes by key; ``bounds`` are how many of each kind may be kept."""

    def __init__(self, bounds: Mapping[NoteKind, int]) -> None:
        self._bounds = bounds
        self._notes: dict[str, Note] = {}
        self._due: dict[NoteKind, list[tuple[int, str]]] = {kind: [] for kind in NoteKind}
        """When they are due, and their keys, in order."""

    def put(self, notes: Sequence[Note | Tombstone], service_ns: int | None) -> None:
        """Write and remove notes; forget what is due at a service time, and what is too much."""
        for note in notes:
            self._remove(note.key)
            if isinstance(note, Note):
                self._notes[note.key] = note
                insort(self._due[note.kind], (note.due_ns, note.key))
        at_most, dropped = FORGOTTEN_AT_ONCE + 2 * len(notes), Counter[NoteKind]()
        for kind in FORGOTTEN:
            if surplus := min(self._surplus(kind), at_most):
                dropped[kind] = self._drop(kind, surplus)
        if service_ns is not None:
            for kind in FORGOTTEN:
                at_most -= self._drop(kind, len(list(islice(self._ended(kind, service_ns), at_most))))
        tell({kind: len(due) for kind, due in self._due.items()}, dropped)

    def _remove(self, key: str) -> None:
        if (note := self._notes.pop(key, None)) is not None:
            due = self._due[note.kind]
            del due[bisect_left(due, (note.due_ns, key))]

    def _drop(self, kind: NoteKind, count: int) -> int:
        """Drop the notes of a kind that are due first."""
        for _, key in self._due[kind][:count]:
            del self._notes[key]
        del self._due[kind][:count]
        return count

    def _surplus(self, kind: NoteKind) -> int:
        return max(len(self._due[kind]) - self._bounds[kind], 0)

    def _ended(self, kind: NoteKind, now_ns: int) -> Iterator[tuple[int, str]]:
        return takewhile(lambda each: each[0] <= now_ns, self._due[kind])

    def recall(self, keys: Collection[str]) -> Mapping[str, Note]:
        """See :class:`store.seams.Notes`."""
        return {key: self._notes[key] for key in keys if key in self._notes}

    def due(self, now_ns: int, limit: int) -> Sequence[Note]:
        """See :meth:`store.seams.Notes.due_notes`."""
        found = [
            each
            for kind in TOLD
            for number, each in enumerate(self._due[kind][:limit])
            if each[0] <= now_ns or number < self._surplus(kind)
        ]
        return [self._notes[key] for _, key in sorted(found)[:limit]]

    def next_due_ns(self) -> int | None:
        """See :class:`store.seams.Notes`."""
        if any(map(self._surplus, TOLD)):
            return 0
        return min((self._due[kind][0][0] for kind in TOLD if self._due[kind]), default=None)

    def walk(self, kind: NoteKind, after: str, limit: int) -> Sequence[Note]:
        """See :meth:`store.seams.Notes.notes`."""
        keys = (key for _, key in self._due[kind] if key > after)
        return [self._notes[key] for key in nsmallest(limit, keys)]
