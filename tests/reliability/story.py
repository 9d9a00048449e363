"""The life of a service, part by part, in which everything is done to the disk that it ever does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from detector.events import Settlement
from store import schema
from tests.detector.world import OTHER_NODE, cpu, record, sample
from tests.reliability.world import (
    Service,
    Splunk,
    Time,
    Witness,
    WitnessedSqlite,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from detector.events import Event
    from detector.types import Record
    from tests.store.power import Disk

EVERY_S = 5.0
PURGED, REQUEUED = 25, 26
"""Shells whose events are refused: those of one end in the purge, those of the other are put back."""
WAITS_UNTIL_S = 45.0
PARTS = ("open", "scrape", "deliver", "checkpoint", "requeue", "purge", "stop", "start", "migrate", "salvage")


class World:
    """A service, its state, and all around it."""

    def __init__(self, folder: Path, *, disk: Disk | None = None) -> None:
        self.folder = folder
        self.disk = disk
        self.time = Time()
        self.splunk = Splunk()
        self.splunk.refuses = self._refuses
        self.witness = Witness()
        self.service: Service | None = None
        self.on_open: Callable[[WitnessedSqlite], None] = lambda _: None

    def _refuses(self, event: Event) -> bool:
        waits = self.time.seconds < WAITS_UNTIL_S and is_of(event, REQUEUED)
        return waits or is_of(event, PURGED)

    def up(self) -> Service:
        """The service; it is started if it does not run."""
        if self.service is None:
            store = WitnessedSqlite(self.folder, self.witness, self.disk.vfs.name if self.disk else None)
            # Pages go from the log to the file, and the log is cut, as after hours.
            connection = store._database.connection
            connection.wal_autocheckpoint(16)
            connection.pragma("journal_size_limit", 1 << 14)
            if self.disk is None:
                connection.pragma("synchronous", 0)  # this life ends in order, and its machine does not
            self.on_open(store)
            self.service = Service(store, self.splunk, self.time)
        return self.service

    def down(self) -> None:
        if self.service is not None:
            self.service.stop()
            self.service = None

    def replace(self, name: str, content: bytes) -> None:
        path = self.folder / name
        if self.disk is None:
            path.write_bytes(content)
        else:
            self.disk.replace(path, content)


def done(witness: Witness) -> set[str]:
    """What the store knows to be delivered."""
    return {each for each, settlement in witness.settled if settlement is Settlement.DONE}


def is_of(event: Event, pid: int) -> bool:
    return b'"process.pid":%d,' % pid in event.body


def scraped(number: int) -> tuple[Record, Record]:
    """Two nodes: shells throughout, one that ends, two that come late; long lines, so that rows are long."""
    at = number * EVERY_S
    shells = [sample(at, cpu(at, 0.1 * pid), pid=pid, line="x" * 900) for pid in (23, PURGED, REQUEUED)]
    if number < 4:
        shells.append(sample(at, pid=24, line="y" * 1_500))
    others = [sample(at, pid=pid, start=at - 1 - number % 3 * EVERY_S) for pid in (30 + number // 3,)]
    return record(at, *shells, init=-500), record(at, *others, node=OTHER_NODE, init=-500)


def version_1(path: Path) -> bytes:
    """The bytes of a state as the first version of the schema would have left it."""
    made = path.parents[2] / "version-1"  # not on the disk of the story
    old, new = apsw.Connection(str(path)), apsw.Connection(str(made))
    new.execute("PRAGMA page_size = 4096; PRAGMA synchronous = OFF; PRAGMA journal_mode = WAL")
    new.execute(schema.MIGRATIONS[0])
    for table in schema.TABLES:
        known = {name for [name] in new.execute("SELECT name FROM pragma_table_info(?)", (table.name,))}
        if not known:
            continue  # that version had no such table
        then = schema.Table(table.name, tuple(n for n in table.columns if n in known), table.text)
        for row in old.execute(table.select):
            fields = table.intact(row)
            assert fields is not None
            new.execute(then.insert, then.stamp(*fields[: len(then.columns)]))
    new.execute("DELETE FROM sqlite_sequence")
    for row in old.execute("SELECT name, seq FROM sqlite_sequence"):
        new.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", row)
    new.pragma("application_id", schema.APPLICATION_ID)
    new.pragma("user_version", 1)
    old.close()
    new.close()
    content = made.read_bytes()
    made.unlink()
    return content


def write_version_1(world: World) -> None:
    world.down()
    world.replace("state.db", version_1(world.folder / "state.db"))


def damage(world: World) -> None:
    """The service is killed and a bit of the header flips: everything can be carried over, the log too."""
    world.up()
    names = ("state.db", "state.db-wal")
    content, log = (bytearray((world.folder / name).read_bytes()) for name in names)
    assert log
    world.down()
    content[18] ^= 4
    world.replace("state.db", bytes(content))
    world.replace("state.db-wal", bytes(log))


class Story:
    """Parts by name, each a thing to do; what was begun is done once more after a loss of power.

    ``again``: what this part sends was acknowledged before, so no collector sends it once more.
    """

    def __init__(self) -> None:
        self.parts: list[tuple[str, Callable[[World, bool], None]]] = []
        self._say("open", lambda world, _: world.up())
        self._scrapes(0, 5)
        self._say("deliver", lambda world, _: world.up().deliver())
        self._scrapes(5, 9)
        self._say("deliver", lambda world, _: world.up().deliver())
        self._say("checkpoint", lambda world, _: world.up().checkpoint())
        self._scrapes(9, 11)
        self._say("requeue", lambda world, _: world.up().store.requeue(None))
        self._say("deliver", lambda world, _: world.up().deliver())
        self._say("purge", lambda world, _: world.up().store.purge(None))
        self._scrapes(11, 13)
        self._say("stop", lambda world, _: world.down())
        self._say("start", lambda world, _: world.up())
        self._scrapes(13, 16)
        self._say("stop", lambda world, _: world.down())
        self._say("", lambda world, _: write_version_1(world))
        self._say("migrate", lambda world, _: world.up())
        self._scrapes(16, 19)
        self._say("", lambda world, _: damage(world))
        self._say("salvage", lambda world, _: world.up())
        self._scrapes(19, 21)
        self._say("deliver", lambda world, _: world.up().deliver())

    def _say(self, name: str, what: Callable[[World, bool], object]) -> None:
        self.parts.append((name, what))  # type: ignore[arg-type]  # what it gives is not looked at

    def _scrapes(self, first: int, end: int) -> None:
        for number in range(first, end):
            self._say("scrape", self._scrape(number))

    @staticmethod
    def _scrape(number: int) -> Callable[[World, bool], None]:
        def scrape(world: World, again: bool) -> None:
            world.time.seconds = number * EVERY_S
            if again:
                world.up().turn()
            else:
                assert world.up().accept(*scraped(number))

        return scrape

    def go_on(self, world: World, at: int = 0, *, again: bool = False) -> None:
        """From a start and a part on to the end of it all: everything closes, everything is delivered."""
        world.up()
        for _, part in self.parts[at:]:
            part(world, again)
            again = False
        self.end(world)

    @staticmethod
    def end(world: World) -> None:
        service = world.up()
        for _ in range(80):
            world.time.seconds += EVERY_S
            service.turn()
        service.store.requeue(None)
        service.deliver()
        assert not any(service.store.backlog().values())
