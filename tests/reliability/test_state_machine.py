"""Store, core and delivery in any order of good and bad: what is told is what the log says."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import rule

from detector.types import Arrival, ShellId
from store.seams import Commit, StoreError
from tests.reliability.world import (
    WitnessedMemory,
    WitnessedSqlite,
)
from tests.store.faults import FaultyDisk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from detector.events import Lane, Outcome, Queued
    from detector.types import SessionRow
    from store.seams import Position, Store

from tests.reliability.machine import Machine


class FaultyMemory(WitnessedMemory):
    """A store in memory with a disk that fails: nothing is done then."""

    fails: frozenset[str] = frozenset()

    def _ask(self, kind: str) -> None:
        if kind in self.fails:
            raise StoreError("as the test wants it")

    def append(self, arrivals: Sequence[Arrival], *, durable: bool = True) -> Position:
        if durable:
            self._ask("write")
        return super().append(arrivals, durable=durable)

    def commit(self, change: Commit) -> None:
        self._ask("write")
        super().commit(change)

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        self._ask("write")
        super().settle(outcomes)

    def requeue(self, numbers: Sequence[int] | None) -> int:
        self._ask("write")
        return super().requeue(numbers)

    def look_up(self, shells: Sequence[ShellId]) -> Mapping[ShellId, SessionRow]:
        self._ask("read")
        return super().look_up(shells)

    def take(self, lane: Lane, limit: int) -> Sequence[Queued]:
        self._ask("read")
        return super().take(lane, limit)


class InMemory(Machine):
    """The store lives on when the core is killed: nothing durable means less than that."""

    def __init__(self) -> None:
        super().__init__()
        self.store = FaultyMemory(self.witness)

    def open(self) -> Store:
        return self.store

    def lose(self) -> None:
        """The next core has the same store."""

    def fail(self, kinds: Iterable[str], after: int, error: type[apsw.Error]) -> None:
        self.store.fails = frozenset({"read"} if "read" in kinds else {"write"})

    def mend(self) -> None:
        self.store.fails = frozenset()


class OnDisk(Machine):
    """The store in a file, on a disk that can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="state-machine-"))
        self.disk = FaultyDisk(syncs=False)
        self.lives = 0

    @property
    def folder(self) -> Path:
        return self.root / str(self.lives)

    def open(self) -> Store:
        store = WitnessedSqlite(self.folder, self.witness, self.disk.vfs.name)
        try:
            self._hear(store)
        except BaseException:
            store.close()
            raise
        return store

    def _hear(self, store: WitnessedSqlite) -> None:
        """What failed while it was done may be found done after a crash, but whole, and nothing else is."""
        found = [entry for position, entry in store.read() if position >= len(self.witness.log)]
        store.rewind()
        added = store._database.tally.end - len(self.witness.log)
        if added:
            # The same was tried as often as the core came to it; what it trimmed of itself is not found.
            tried = (each for each in self.witness.failed if len(each.entries) == added)
            whole = next(each for each in tried if each.entries[added - len(found) :] == found)
            self.witness.log += [
                each if isinstance(each, Arrival) else each.service_ns for each in whole.entries
            ]
            self.witness.committed += whole.events
        self.witness.failed.clear()

    def lose(self) -> None:
        """Whatever the process wrote, synced or not, is in the files."""
        before = self.folder
        self.lives += 1
        shutil.copytree(before, self.folder, ignore=shutil.ignore_patterns("ballast", "lock"))
        self.witness.forget_what_is_not_durable()
        self.service.store.close()
        shutil.rmtree(before)

    def fail(self, kinds: Iterable[str], after: int, error: type[apsw.Error]) -> None:
        self.disk.fail(*kinds, after=after, error=error)
        with contextlib.suppress(apsw.Error):
            # Nothing is in the cache: each page is read again.
            self.service.store._database.connection.pragma("cache_size", 0)  # type: ignore[attr-defined]  # of SQLite
            self.service.store._database.connection.pragma("shrink_memory")  # type: ignore[attr-defined]  # the same

    def mend(self) -> None:
        self.disk.mend()

    @rule()
    def write_back(self) -> None:
        with contextlib.suppress(apsw.Error):
            self.service.store._database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[attr-defined]  # the same

    def clean(self) -> None:
        if hasattr(self, "service"):
            self.service.store.close()
        self.disk.vfs.unregister()
        shutil.rmtree(self.root)


SOAK = bool(os.environ.get("SOAK"))
TIMEOUT_S = 7_200 if SOAK else 600
SETTINGS = settings(
    max_examples=1_000 if SOAK else 100,
    stateful_step_count=50,
    derandomize=not SOAK,
    suppress_health_check=list(HealthCheck),
)

InMemory.TestCase.settings = SETTINGS
OnDisk.TestCase.settings = SETTINGS
TestInMemory = pytest.mark.timeout(TIMEOUT_S)(InMemory.TestCase)
TestOnDisk = pytest.mark.slow(pytest.mark.timeout(TIMEOUT_S)(OnDisk.TestCase))
