"""The power is lost at each step that the store makes on the disk; nothing that was acknowledged is lost.

A story of a service is lived once, on a disk that notes each step (:mod:`tests.store.power`). What would be
on the platters at a step is what the next life begins with; it goes on with the story, and in the end tells
what it would have told without.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import apsw
import pytest

from detector.events import Lane, Settlement
from store import schema
from tests.detector.world import OTHER_NODE, cpu, record, sample
from tests.reliability.world import (
    Service,
    Splunk,
    Time,
    Witness,
    WitnessedSqlite,
    by_session,
    firsts,
)
from tests.store.power import Disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from detector.events import Event
    from detector.types import Record
    from tests.store.power import Still

CRASHES = 20 * (10 if os.environ.get("SOAK") else 1)
"""At least that many at each kind of step in each part of the story, and less than thrice as many."""
EVERY_S = 5.0
PURGED, REQUEUED = 25, 26
"""Shells whose events are refused: those of one end in the purge, those of the other are put back."""
WAITS_UNTIL_S = 45.0
PARTS = ("open", "scrape", "deliver", "checkpoint", "requeue", "purge", "stop", "start", "migrate", "salvage")

Step = tuple[str, str]

STEPS = {
    *("mkdir state", "create lock", "truncate lock", "write lock", "create ballast", "allocate ballast"),
    *("create state.db", "create state.db-journal", "create state.db-wal", "create state.db.fresh"),
    *("write state.db", "write state.db-journal", "write state.db-wal", "write state.db.fresh"),
    *("sync state.db", "sync state.db-journal", "sync state.db-wal", "sync state.db.fresh"),
    *("sync state", "sync disk", "truncate state.db", "truncate state.db-wal"),
    *("delete state.db-journal", "delete state.db-wal"),
    *("rename state.db", "rename state.db-wal", "rename state.db.fresh", "rename state.db.salvaged"),
}
"""All that the store does to the disk, as an operation and the file that it is done to."""


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


# --- the story


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


# --- losses of power


@dataclass(frozen=True)
class Moment:
    """Where in the story the power is lost, and what was acknowledged by then."""

    step: Step
    part: int
    seconds: float
    still: Still
    appended: int
    durable: int
    committed: int
    settled: int
    received: int
    trimmed_before: int
    again: bool


class Lived:
    """The story, lived once, with a moment for each step on the disk."""

    def __init__(self, folder: Path) -> None:
        self.story = Story()
        self.moments: list[Moment] = []
        self._part = self._appended = 0
        disk = Disk(folder, self._note)
        self.world = World(folder / "state", disk=disk)
        with disk.watching():
            for part, (_, do) in enumerate(self.story.parts):
                self._part = part
                self._appended = len(self.world.witness.appended)
                do(self.world, False)
            self._part += 1
            self.story.end(self.world)
            self.world.down()
        self.committed = firsts(self.world.witness.committed)

    def _note(self, operation: str, name: str) -> None:
        names = [name for name, _ in self.story.parts]
        if self._part == len(names) or not names[self._part]:
            return  # that is not of the story
        witness = self.world.witness
        self.moments.append(
            Moment(
                (names[self._part], f"{operation} {name}"),
                self._part,
                self.world.time.seconds,
                self.world.disk.still(),  # type: ignore[union-attr]  # it has one
                len(witness.appended),
                witness.durable,
                len(witness.committed),
                len(witness.settled),
                len(self.world.splunk.received),
                witness.trimmed_before,
                len(witness.appended) > self._appended,
            )
        )

    def after(self, moment: Moment, seed: int, folder: Path) -> World:
        """The next life: with what is on the disk, what was acknowledged, and what Splunk has."""
        moment.still.develop(seed, folder)
        world, before = World(folder / "state"), self.world.witness
        world.time.seconds = moment.seconds
        world.witness = Witness(
            appended=before.appended[: moment.durable],
            durable=moment.durable,
            committed=before.committed[: moment.committed],
            settled=before.settled[: moment.settled],
            trimmed_before=moment.trimmed_before,
        )
        world.splunk.received = self.world.splunk.received[: moment.received]
        world.on_open = lambda store: self._look(moment, world, store)
        return world

    def _look(self, moment: Moment, world: World, store: WitnessedSqlite) -> None:
        """What was acknowledged is there, and nothing else but what was under way."""
        world.on_open = lambda _: None
        entries, first = dict(store.read()), store._database.tally.first
        store.rewind()
        assert first <= moment.trimmed_before
        for position, arrival in world.witness.appended:
            assert position < first or entries[position] == arrival, position
        waiting = [each.event for lane in Lane for each in store.take(lane, 10_000)]
        dead = [letter for letter in store.dead_letters(10_000) if letter.event_id]
        assert all(event == self.committed[event.event_id] for event in waiting)
        assert all(letter.body == self.committed[letter.event_id].body for letter in dead)
        there = [event.event_id for event in waiting] + [letter.event_id for letter in dead]
        assert len(there) == len(set(there))
        missing = firsts(world.witness.committed).keys() - set(there) - world.splunk.copies().keys()
        assert all(is_of(self.committed[each], PURGED) for each in missing)
        assert not missing or moment.part >= self._first("purge")
        assert not done(world.witness) & set(there)
        if moment.part < self._first("salvage"):
            assert not list(world.folder.glob("*damaged*"))

    def _first(self, name: str) -> int:
        return [each for each, _ in self.story.parts].index(name)


def chosen(moments: Iterable[Moment]) -> list[tuple[Moment, int]]:
    """Moments with a seed each: enough of every kind of step in every part of the story."""
    by_step: dict[Step, list[Moment]] = {}
    for moment in moments:
        by_step.setdefault(moment.step, []).append(moment)
    found, seeds = list[tuple[Moment, int]](), itertools.count()
    for of_step in by_step.values():
        stride = max(1, len(of_step) // (2 * CRASHES))
        wanted = max(CRASHES, -(-len(of_step) // stride))
        found += zip(itertools.islice(itertools.cycle(of_step[::stride]), wanted), seeds, strict=False)
    return found


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    return Lived(tmp_path_factory.mktemp("lived") / "disk")


def test_the_disk_that_notes_its_steps_changes_nothing_of_the_story(lived: Lived, tmp_path: Path) -> None:
    undisturbed = World(tmp_path / "undisturbed" / "state")
    lived.story.go_on(undisturbed)
    undisturbed.down()
    assert lived.world.splunk.received == undisturbed.splunk.received
    assert undisturbed.splunk.copies() == dict.fromkeys(firsts(undisturbed.splunk.received), 1)
    assert {step for _, step in (moment.step for moment in lived.moments)} == STEPS
    assert {part for part, _ in lived.story.parts if part} == set(PARTS)


@pytest.mark.timeout(600 * (10 if os.environ.get("SOAK") else 1))
@pytest.mark.parametrize("part", PARTS)
def test_a_loss_of_power_at_any_write_loses_nothing_and_tells_nothing_twice(
    lived: Lived, tmp_path: Path, part: str
) -> None:
    crashes, copies = Counter[Step](), Counter[str]()
    for moment, seed in chosen(each for each in lived.moments if each.step[0] == part):
        folder = tmp_path / "after"
        world = lived.after(moment, seed, folder)
        try:
            copies.update(twice_told(lived, moment, world))
        except BaseException as error:
            error.add_note(f"power lost before {moment.step}, part {moment.part}, seed {seed}")
            raise
        shutil.rmtree(folder)
        crashes[moment.step] += 1
    assert min(crashes.values()) >= CRASHES
    # Events whose delivery the store did not come to know of; there are such where it is told of deliveries.
    assert bool(copies) == (part == "deliver")


def twice_told(lived: Lived, moment: Moment, world: World) -> set[str]:
    """Go on to the end, which must be that of the story; the events that came to Splunk twice."""
    doubted = world.splunk.copies().keys() - done(world.witness)
    lived.story.go_on(world, moment.part, again=moment.again)
    world.down()
    expected, told = firsts(lived.world.splunk.received), firsts(world.splunk.received)
    assert told == expected
    assert by_session(told.values()) == by_session(expected.values())
    twice = {each for each, count in world.splunk.copies().items() if count > 1}
    assert twice <= doubted
    return twice
