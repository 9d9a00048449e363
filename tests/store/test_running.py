"""What a running core does while its disk fails, and that it goes on by itself when the disk is mended."""

from __future__ import annotations

import json
import random
import shutil
from typing import TYPE_CHECKING

import apsw
import pytest

from store.seams import StoreDamaged
from tests.detector.world import OTHER_NODE, record, sample
from tests.reliability.world import Service, Splunk, Time, Witness, WitnessedSqlite, firsts
from tests.store.faults import FaultyDisk
from tests.store.real_disks import IN_MEMORY, ON_DEVICE, run_on_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from detector.events import Event
    from detector.types import Record

PAGE_BYTES = 4096

# Each disk fails for 30 s of 60: what is sent meanwhile is sent again by the collector, as it got no OK.
FAULTS: dict[str, tuple[type[apsw.Error], tuple[str, ...]]] = {
    "EIO on write": (apsw.IOError, ("write",)),
    "EIO on sync": (apsw.IOError, ("sync",)),
    "EIO on read": (apsw.IOError, ("read",)),
    "EIO on everything": (apsw.IOError, ("write", "sync", "truncate", "delete", "read")),
    "no space": (apsw.FullError, ("write",)),
    "no space for the log's end": (apsw.FullError, ("sync",)),
    "read-only": (apsw.ReadOnlyError, ("write", "truncate", "delete")),
}


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    disk = FaultyDisk(syncs=False)
    yield disk
    disk.vfs.unregister()


def scraped(at: float) -> Record:
    """Two shells; one ends at 20 s, in the middle of the trouble."""
    shells = [sample(at, pid=23)]
    if at < 20:
        shells.append(sample(at, pid=24))
    return record(at, *shells, init=-500)


def live(service: Service, time: Time, ends: float, unsent: list[Record]) -> None:
    """A scrape each 5 s; what got no OK is sent again with the next one."""
    while time.seconds < ends:
        time.seconds += 5
        unsent.append(scraped(time.seconds))
        while unsent and service.accept(unsent[0]):
            del unsent[0]


def told(splunk: Splunk) -> list[tuple[str, int, str | None]]:
    """What was told of which shell; a window that closed in the trouble misses what came after it."""
    bodies = [json.loads(event.body)["event"] for event in firsts(splunk.received).values()]
    return sorted((each["kind"], each["process.pid"], each.get("close_reason")) for each in bodies)


def story(service: Service, splunk: Splunk, time: Time, fault: Iterator[None]) -> list[Record]:
    """Ten seconds of order, thirty of trouble, a hundred and twenty of order."""
    unsent: list[Record] = []
    live(service, time, 10, unsent)
    next(fault)
    live(service, time, 40, unsent)
    next(fault, None)
    live(service, time, 160, unsent)
    service.deliver()
    return unsent


@pytest.mark.parametrize("name", FAULTS)
def test_a_core_whose_disk_fails_accepts_nothing_and_goes_on_by_itself(
    tmp_path: Path, disk: FaultyDisk, name: str
) -> None:
    error, kinds = FAULTS[name]
    time, splunk = Time(), Splunk()
    store = WitnessedSqlite(tmp_path / "faulty", Witness(), disk.vfs.name)
    service = Service(store, splunk, time)

    def fault() -> Iterator[None]:
        # Nothing is in the cache: each page is read again.
        store._database.connection.pragma("cache_size", 0)
        store._database.connection.pragma("shrink_memory")
        disk.fail(*kinds, error=error)
        yield
        assert disk.failed
        assert not service.core.is_accepting()
        accepted = len(store.witness.appended)
        assert not service.accept(scraped(time.seconds))
        assert len(store.witness.appended) == accepted
        disk.mend()

    assert story(service, splunk, time, fault()) == []
    assert service.core.is_accepting()
    store.close()
    assert told(splunk) == TOLD


TOLD = [("closed", 24, "exited"), ("opened", 23, None), ("opened", 24, None)]


def damage(path: Path) -> None:
    """Every page but the first becomes nonsense, under the process that has the file open."""
    with path.open("r+b") as file:
        content = bytearray(file.read())
        assert len(content) > 10 * PAGE_BYTES
        for at in range(PAGE_BYTES, len(content), PAGE_BYTES):
            content[at] ^= 0xFF
        file.seek(0)
        file.write(content)


def test_a_state_that_is_damaged_while_it_is_open_ends_the_core_and_the_next_start_goes_on(
    tmp_path: Path,
) -> None:
    """Only a start sets the damage aside: a core that went on refusing would do so for ever."""
    time, splunk = Time(), Splunk()
    store = WitnessedSqlite(tmp_path, Witness())
    service = Service(store, splunk, time)
    live(service, time, 60, [])
    connection = store._database.connection
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.pragma("cache_size", 0)
    connection.pragma("shrink_memory")
    damage(tmp_path / "state.db")
    with pytest.raises(StoreDamaged, match="malformed"):
        live(service, time, 70, [])
    store.close()
    service = Service(WitnessedSqlite(tmp_path, Witness()), splunk, time)
    assert list(tmp_path.glob("state.db.damaged-1"))
    live(service, time, 200, [])
    service.deliver()
    assert ("opened", 23, None) in told(splunk)
    service.store.close()


def test_a_core_goes_on_behind_a_flipped_bit_wherever_it_is(tmp_path: Path) -> None:
    """Whatever it costs, the next start accepts, tells what is fresh, and alters nothing."""
    time, splunk = Time(), Splunk()
    store = WitnessedSqlite(tmp_path / "made", Witness())
    store._database.connection.wal_autocheckpoint(0)
    service = Service(store, splunk, time)
    live(service, time, 30, [])
    store._database.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    live(service, time, 60, [])
    files = {name: (tmp_path / "made" / name).read_bytes() for name in ("state.db", "state.db-wal")}
    live(service, time, 200, [])
    service.deliver()
    store.close()
    wanted = firsts(splunk.received)
    chance = random.Random(3)
    for number in range(200):
        name = chance.choice(sorted(files))
        content, at = bytearray(files[name]), chance.randrange(len(files[name]))
        content[at] ^= 1 << chance.randrange(8)
        folder = tmp_path / "damaged"
        folder.mkdir()
        for each, whole in files.items():
            (folder / each).write_bytes(content if each == name else whole)
        goes_on(folder, wanted, note=f"flip {number}: {name} at {at}")
        shutil.rmtree(folder)


def goes_on(folder: Path, wanted: dict[str, Event], note: str) -> None:
    time, splunk = Time(60), Splunk()
    store = WitnessedSqlite(folder, Witness())
    store._database.connection.pragma("synchronous", 0)
    service = Service(store, splunk, time)
    unsent: list[Record] = []
    live(service, time, 120, unsent)
    assert unsent == [], note
    assert service.accept(record(time.seconds, sample(time.seconds, pid=99), node=OTHER_NODE)), note
    live(service, time, 200, unsent)
    service.deliver()
    assert ("opened", 99, None) in told(splunk), note
    # What is told of a shell whose memory was in the damaged page begins anew, under the same id.
    opened = {event_id: event for event_id, event in wanted.items() if b'"kind":"opened"' in event.body}
    received = firsts(splunk.received)
    intact = [each for each in received if each in opened and received[each] == opened[each]]
    assert intact or not list(folder.glob("*damaged*")), note
    store.close()


WORLD = """
import os, subprocess, sys
from pathlib import Path
from tests.detector.world import record, sample
from tests.reliability.world import Service, Splunk, Time, Witness, WitnessedSqlite

folder = Path(sys.argv[1])
time, splunk, witness = Time(), Splunk(), Witness()
service = Service(WitnessedSqlite(folder / "state", witness), splunk, time)

def accept(pid=23):
    time.seconds += 5
    line = os.urandom(500).hex()
    shells = [sample(time.seconds, pid=each, line=line) for each in (pid, *range(60, 80))]
    return service.accept(record(time.seconds, *shells, init=-500))

def entries():
    service.store.rewind()
    return dict(service.store.read())

def check():
    kept = entries()
    assert all(kept[at] == each for at, each in witness.appended if at in kept or at >= min(kept))

for _ in range(4):
    assert accept()
service.deliver()
assert splunk.received
"""

FULL = (
    WORLD
    + """
other = os.open(folder / "other", os.O_RDWR | os.O_CREAT)
space = os.statvfs(folder)
os.posix_fallocate(other, 0, space.f_bavail * space.f_bsize)
accepted = 0
while accept():
    accepted += 1
    assert accepted < 10_000
assert not (folder / "state" / "ballast").exists()
for _ in range(50):
    assert not accept()
    service.deliver()
assert not any(service.store.backlog().values())
os.unlink(folder / "other")
os.close(other)
time.seconds += 5
service.turn()
assert accept() and service.core.is_accepting()
check()
service.stop()
print("done")
"""
)

TURNS_READ_ONLY = (
    WORLD
    + """
[device] = [line.split()[0] for line in open("/proc/mounts") if line.split()[1] == str(folder)]
Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error").write_text("as the test wants it")
for _ in range(20):
    assert not accept()

log = list(witness.log)
told = [event.event_id for event in splunk.received]
service.store.close()
subprocess.run(["umount", folder], check=True)
subprocess.run(["e2fsck", "-f", "-y", f"{folder}.image"], capture_output=True)
subprocess.run(["mount", "-o", "loop", f"{folder}.image", folder], check=True)
service = Service(WitnessedSqlite(folder / "state", witness), splunk, time)
check()
assert witness.log[:len(log)] == log
for _ in range(10):
    assert accept(pid=99)
service.deliver()
assert [event.event_id for event in splunk.received][:len(told)] == told
assert len(splunk.copies()) == len(splunk.received) > len(told)
service.stop()
print("done")
"""
)


def test_a_core_on_a_real_disk_that_fills_goes_on_when_there_is_space(tmp_path: Path) -> None:
    assert run_on_disk(IN_MEMORY, tmp_path, FULL) == ["done"]


def test_a_core_on_a_real_disk_that_turns_read_only_accepts_nothing_and_has_lost_nothing(
    tmp_path: Path,
) -> None:
    """The system turns it so under open files, and back only by mounting it anew: so the core starts anew."""
    assert run_on_disk(ON_DEVICE, tmp_path, TURNS_READ_ONLY) == ["done"]
