"""The sink that appends to a file, for a forwarder to pick up."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from detector.events import Lane, Queued
from exporter import lines
from exporter.sink import Delivery
from telemetry import events

_MODE: Final = 0o600
_NO_SYNC: Final = frozenset({errno.EINVAL, errno.EROFS})
"""What fsync answers on a pipe or a device, which have nothing to sync."""


class FileSink:
    """Appends one JSON object a line, synced before it is reported as done.

    Before each batch the path is looked at: a file that was renamed or removed (rotation) is closed and the
    path opened anew, with mode 0600. A line that could only be written in part (disk full) is cut off again,
    so the file holds whole lines only. Files truncated in place by a rotator work too: the file is open for
    appending.
    """

    name: Final = "file"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def send(self, lane: Lane, batch: Sequence[Queued]) -> Delivery:
        """See :class:`exporter.sink.Sink`. Blocks as the file system does."""
        taken = 0
        try:
            descriptor = self._open()
            written = lines.write_lines(descriptor, [queued.event.body + b"\n" for queued in batch])
            if written.torn:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - written.torn)
            self._sync(descriptor)
            taken, error = written.lines, written.error
        except OSError as stopped:
            error = stopped
        if error is not None:
            self.close()  # what is found when it is opened again is looked at anew
        return lines.delivery(self.name, lane, batch, taken, error)

    def in_flight(self, lane: Lane) -> int:  # noqa: ARG002  # of no lane does it wait for an acknowledgement
        """Nothing: a line is written or it is not."""
        return 0

    def close(self) -> None:
        """Close the file. Safe to repeat."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        """The descriptor of what the path names now."""
        if self._descriptor is not None:
            here = os.fstat(self._descriptor)
            try:
                there = self._path.stat()
            except FileNotFoundError:
                there = None
            if there is not None and (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                return self._descriptor
            self.close()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, _MODE)
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            # A process was killed in the middle of a line. It is ended, so that it spoils none but itself.
            os.write(self._descriptor, b"\n")
        events.EXPORTER_FILE_OPENED(path=str(self._path))
        return self._descriptor

    @staticmethod
    def _sync(descriptor: int) -> None:
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise
