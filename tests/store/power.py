"""A disk that may lose its power at any step.

:class:`Disk` is a folder of the real file system that notes each change, by SQLite (its VFS) or by this
program (functions of :mod:`os`), and what of it was synced. ``on_step`` is called before each step. A
:class:`Still` made there has all that may be on the platters at that instant: nothing is raised and nothing
is stopped, for a loss of power does neither. :meth:`Still.develop` makes one of the folders that a start may
find.

What may be lost, after what POSIX and SQLite promise and nothing beyond it:

- What was written to a file since it was synced: each sector of 512 bytes may hold any of the versions that
  it had since, and the file any of the sizes. What was never written there is zeros.
- What changed in a directory since *it* was synced: any of these changes may be undone. A rename is one.
- The step itself, before which the power is lost, may have been begun: it counts as written and not synced.
"""

from __future__ import annotations

import itertools
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

import apsw
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SECTOR = 512
_names = itertools.count()


@dataclass(frozen=True, slots=True)
class Change:
    """Bytes that were written at a place or, without bytes, the size that the file was cut or grown to."""

    at: int
    data: bytes | None = None

    @property
    def size(self) -> int:
        return self.at + len(self.data or b"")


@dataclass(slots=True)
class File:
    """What is on the platters for sure, and what was done since."""

    synced: bytes = b""
    since: tuple[Change, ...] = ()

    def sync(self) -> None:
        self.synced, self.since = _replayed(self.synced, self.since), ()


@dataclass(slots=True)
class Folder:
    """The same of a directory: names, and changes of them; ``None`` is the end of a name."""

    synced: dict[str, File | Folder] = field(default_factory=dict)
    since: tuple[Names, ...] = ()

    def sync(self) -> None:
        self.synced, self.since = _renamed(self.synced, self.since), ()

    def now(self) -> dict[str, File | Folder]:
        return _renamed(self.synced, self.since)


Names: TypeAlias = "Mapping[str, File | Folder | None]"


def _replayed(content: bytes, changes: tuple[Change, ...]) -> bytes:
    made = bytearray(content)
    for each in changes:
        if each.size > len(made):
            made.extend(bytes(each.size - len(made)))
        if each.data is None:
            del made[each.at :]
        else:
            made[each.at : each.size] = each.data
    return bytes(made)


def _renamed(names: Mapping[str, File | Folder], changes: tuple[Names, ...]) -> dict[str, File | Folder]:
    made: dict[str, File | Folder | None] = dict(names)
    for each in changes:
        made.update(each)
    return {name: node for name, node in made.items() if node is not None}


# --- what is left


@dataclass(frozen=True, slots=True)
class Still:
    """The disk at an instant."""

    root: Folder

    @classmethod
    def of(cls, root: Folder) -> Still:
        return cls(_copied(root, {}))

    def develop(self, seed: int, folder: Path) -> None:
        """Write to ``folder`` what a start may find; another seed, another fate."""
        _Fate(Random(seed)).write(self.root, folder)


def _copied(folder: Folder, known: dict[int, File | Folder]) -> Folder:
    """A copy that does not change; a node that has two names remains one."""

    def copy(node: File | Folder) -> File | Folder:
        if id(node) not in known:
            known[id(node)] = (
                File(node.synced, node.since) if isinstance(node, File) else _copied(node, known)
            )
        return known[id(node)]

    def copies(names: Names) -> dict[str, File | Folder | None]:
        return {name: None if node is None else copy(node) for name, node in names.items()}

    synced = {name: copy(node) for name, node in folder.synced.items()}
    return Folder(synced, tuple(copies(each) for each in folder.since))


class _Fate:
    """How much of what was not synced is there: nothing, all, what came first, or this and that."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._kept = chance.choice(["nothing", "all", "first", "sectors", "sectors", "sectors"])
        self._share = chance.random()

    def write(self, folder: Folder, path: Path) -> None:
        path.mkdir(exist_ok=True)
        for name, node in _renamed(folder.synced, self._names(folder.since)).items():
            if isinstance(node, Folder):
                self.write(node, path / name)
            else:
                content = self._content(node)
                (path / name).write_bytes(content.rstrip(b"\0"))
                (path / name).chmod(0o600)
                os.truncate(path / name, len(content))

    def _names(self, changes: tuple[Names, ...]) -> tuple[Names, ...]:
        if self._kept != "sectors":
            return changes[: self._count(len(changes))]
        return tuple(each for each in changes if self._chance.random() < self._share)

    def _count(self, changes: int) -> int:
        if self._kept == "all":
            return changes
        return 0 if self._kept == "nothing" else self._chance.randint(0, changes)

    def _content(self, file: File) -> bytes:
        if self._kept != "sectors":
            return _replayed(file.synced, file.since[: self._count(len(file.since))])
        return self._in_sectors(file)

    def _in_sectors(self, file: File) -> bytes:
        """For each sector that was changed one of its versions, early or late as this fate has it."""
        sizes, touched = [len(file.synced)], dict[int, list[Change]]()
        for each in file.since:
            sizes.append(each.at if each.data is None else max(sizes[-1], each.size))
            end = max(sizes) if each.data is None else each.size
            for sector in range(each.at // SECTOR, -(-end // SECTOR)):
                touched.setdefault(sector, []).append(each)
        made = bytearray(file.synced.ljust(max(sizes), b"\0"))
        for sector, changes in touched.items():
            kept = sum(self._chance.random() < self._share for _ in changes)
            start, end = sector * SECTOR, min((sector + 1) * SECTOR, len(made))
            for each in changes[:kept]:
                _put(made, each, start, end)
        return bytes(made[: self._chance.choice(sizes)])


def _put(made: bytearray, change: Change, start: int, end: int) -> None:
    """Do what a change does between two places."""
    first = max(change.at, start)
    if change.data is None:
        made[first:end] = bytes(end - first)
        return
    last = min(change.size, end)
    made[first:last] = change.data[first - change.at : last - change.at]


# --- the disk


class Disk:
    """The folder ``root``, and :attr:`vfs`, by which SQLite reaches it."""

    def __init__(self, root: Path, on_step: Callable[[str, str], None]) -> None:
        root.mkdir()
        self.path = root
        self.root = Folder()
        self._on_step = on_step
        self._begun: Callable[[], None] | None = None
        self._opened: dict[int, Path | None] = {}
        self.vfs = PowerVfs(self)

    def still(self) -> Still:
        """What may be there; called by ``on_step``, the step itself is among it."""
        made = Still.of(self.root)
        if self._begun is None:
            return made
        before, self.root = self.root, made.root
        self._begun()
        begun, self.root = Still.of(self.root), before
        return begun

    def has(self, path: Path | str) -> bool:
        return Path(path).is_relative_to(self.path)

    def node(self, path: Path) -> File | Folder | None:
        found: File | Folder | None = self.root
        for name in path.relative_to(self.path).parts:
            found = found.now().get(name) if isinstance(found, Folder) else None
        return found

    def file(self, path: Path) -> File:
        found = self.node(path)
        assert isinstance(found, File), path
        return found

    def folder(self, path: Path) -> Folder:
        found = self.node(path)
        assert isinstance(found, Folder), path
        return found

    def do(self, operation: str, path: Path, change: Callable[[], None]) -> None:
        """A step: it is announced, then done. ``change`` finds its files anew each time."""
        self._begun = None if operation == "sync" else change
        self._on_step(operation, path.name)
        self._begun = None
        change()

    def link(self, operation: str, path: Path, names: Names) -> None:
        def change() -> None:
            parent = self.folder(path.parent)
            parent.since = (*parent.since, names)

        self.do(operation, path, change)

    def change(self, operation: str, path: Path, change: Change) -> None:
        def note() -> None:
            file = self.file(path)
            file.since = (*file.since, change)

        self.do(operation, path, note)

    def sync(self, path: Path) -> None:
        def note() -> None:
            node = self.node(path)
            assert node is not None
            node.sync()

        self.do("sync", path, note)

    def replace(self, path: Path, content: bytes) -> None:
        """Put bytes into a file for good, as no step of anybody: damage, or what another version left."""
        path.write_bytes(content)
        folder = self.folder(path.parent)
        folder.sync()
        folder.synced[path.name] = File(content)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note what this program does by itself with files of the folder."""
        noted: dict[str, Callable[..., None]] = {
            "open": self._note_open,
            "fsync": self.sync,
            "rename": self._note_rename,
            "unlink": self._note_unlink,
            "mkdir": self._note_mkdir,
            "pwrite": lambda path, data, at: self.change("write", path, Change(at, data)),
            "ftruncate": lambda path, size: self.change("truncate", path, Change(size)),
            "posix_fallocate": lambda path, at, size: self.change("allocate", path, Change(at + size)),
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, note in noted.items():
                patch.setattr(os, name, self._watched(getattr(os, name), note))
            yield
        self.vfs.unregister()

    def _watched(self, real: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
        def call(first: Any, *rest: Any, **named: Any) -> Any:
            path = self._opened.get(first) if isinstance(first, int) else Path(first)
            is_ours = path is not None and self.has(path)
            if is_ours:
                note(path, *rest)
            made = real(first, *rest, **named)
            if note == self._note_open:
                self._opened[made] = path if is_ours else None
            return made

        return call

    def _note_open(self, path: Path, flags: int, _: int = 0) -> None:
        if flags & os.O_CREAT and not path.exists():
            self.link("create", path, {path.name: File()})

    def _note_rename(self, path: Path, target: Path) -> None:
        self.link("rename", path, {path.name: None, target.name: self.node(path)})

    def _note_unlink(self, path: Path) -> None:
        if path.exists():
            self.link("delete", path, {path.name: None})

    def _note_mkdir(self, path: Path, _: int = 0) -> None:
        self.link("mkdir", path, {path.name: Folder()})


class PowerVfs(apsw.VFS):
    """The real one, with each change noted. Nothing is really synced: the machine of the test goes on."""

    def __init__(self, disk: Disk) -> None:
        self.name = f"power-{next(_names)}"
        self.disk = disk
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  apsw's
        path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name or "")
        if not self.disk.has(path):
            return apsw.VFSFile("", name, flags)
        if flags[0] & apsw.SQLITE_OPEN_CREATE and not path.exists():
            self.disk.link("create", path, {path.name: File()})
        return PowerFile(self.disk, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802  apsw's
        path = Path(filename)
        self.disk.link("delete", path, {path.name: None})
        super().xDelete(filename, False)
        if syncdir:
            self.disk.sync(path.parent)


class PowerFile(apsw.VFSFile):
    """A file of it."""

    def __init__(self, disk: Disk, path: Path, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._path = path
        # As the real one does it: the first sync of a log or journal that was made syncs its directory too.
        self._syncs_folder = bool(
            flags[0] & apsw.SQLITE_OPEN_CREATE
            and flags[0] & (apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL)
        )
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  apsw's
        self._disk.change("write", self._path, Change(offset, bytes(data)))
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802  apsw's
        self._disk.sync(self._path)
        if self._syncs_folder:
            self._disk.sync(self._path.parent)
            self._syncs_folder = False

    def xTruncate(self, newsize: int) -> None:  # noqa: N802  apsw's
        self._disk.change("truncate", self._path, Change(newsize))
        super().xTruncate(newsize)
