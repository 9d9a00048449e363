"""One process per state.

The lock is on an open file, so it ends with its process however that ends; what the file says is only for
people, and may be of a process that is gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from detector.types import NANOSECONDS
from store.seams import CannotOpenStore

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = "lock"
_CONTENT_BYTES: Final = 4096


class Lock:
    """Holds a folder from its making to :meth:`release`.

    Raises :class:`CannotOpenStore` if another process does, and :class:`OSError`.
    """

    def __init__(self, folder: Path, wall_ns: int) -> None:
        self._file = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _described(os.pread(self._file, _CONTENT_BYTES, 0))
            os.close(self._file)
            raise CannotOpenStore(
                f"state.path: {folder}: in use by {holder}: want a directory of its own"
            ) from error
        self._write(wall_ns)

    def _write(self, wall_ns: int) -> None:
        since = datetime.fromtimestamp(wall_ns // NANOSECONDS, UTC).isoformat()
        content = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, json.dumps(content).encode(), 0)
        except OSError:
            # No space: the lock holds all the same, and a state that is full must be opened to be emptied.
            return

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._file)


def _described(content: bytes) -> str:
    try:
        found = json.loads(content)
        return f"pid {found['pid']} on host {found['host']} since {found['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
