"""A SQLite VFS that asks before each operation on a file whether it may be done.

``hook(operation, name, number)`` is called before each ``write``, ``sync``, ``truncate``, ``read`` and
``delete``: with the name of the file (``state.db``, ``state.db-wal``) and the number of the operation,
counted from 1 over all kinds. What it raises, an error of apsw, is what SQLite is told; the operation is not
done.
"""

from __future__ import annotations

import itertools
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import apsw

if TYPE_CHECKING:
    from collections.abc import Callable

    Hook = Callable[[str, str, int], None]

_names = itertools.count()


class FaultVfs(apsw.VFS):
    """Registered from its making to :meth:`unregister`; ``name`` is for :class:`store.sqlite.SqliteStore`.

    ``syncs``: whether a sync reaches the real disk; where no machine fails that only takes time.
    """

    def __init__(self, hook: Hook, *, syncs: bool = True) -> None:
        self.name = f"faults-{next(_names)}"
        self.hook = hook
        self.syncs = syncs
        self.number = 0
        super().__init__(self.name, "")

    def ask(self, operation: str, path: str) -> None:
        self.number += 1
        self.hook(operation, PurePath(path).name, self.number)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> FaultFile:  # noqa: N802  apsw's
        return FaultFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802  apsw's
        self.ask("delete", filename)
        super().xDelete(filename, syncdir)


class FaultFile(apsw.VFSFile):
    """A file of it."""

    def __init__(self, vfs: FaultVfs, name: Any, flags: list[int]) -> None:
        self._vfs = vfs
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else name or "temporary"
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802  apsw's
        self._vfs.ask("read", self._path)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  apsw's
        self._vfs.ask("write", self._path)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802  apsw's
        self._vfs.ask("sync", self._path)
        if self._vfs.syncs:
            super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802  apsw's
        self._vfs.ask("truncate", self._path)
        super().xTruncate(newsize)


class FaultyDisk:
    """A disk in order, until it is told to fail: from then on each operation of some kinds does."""

    def __init__(self, *, syncs: bool = True) -> None:
        self.vfs = FaultVfs(self.hook, syncs=syncs)
        self.mend()

    def mend(self) -> None:
        self.kinds: set[str] = set()
        self.left = 0
        self.failed = 0

    def fail(self, *kinds: str, after: int = 0, error: type[apsw.Error] = apsw.IOError) -> None:
        self.kinds, self.left, self.error = set(kinds), after, error

    def hook(self, operation: str, name: str, _: int) -> None:
        if operation not in self.kinds or name == "temporary":
            return
        self.left -= 1
        if self.left < 0:
            self.failed += 1
            raise self.error("as the test wants it")
