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

import pytest

from detector.events import Lane
from tests.reliability.world import (
    Witness,
    WitnessedSqlite,
    by_session,
    firsts,
)
from tests.store.power import Disk

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.store.power import Still

from tests.reliability.story import PARTS, PURGED, Story, World, done, is_of

CRASHES = 20 * (10 if os.environ.get("SOAK") else 1)
"""At least that many at each kind of step in each part of the story, and less than thrice as many."""
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


@pytest.mark.slow
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
