"""The bytes of a file or of the standard input."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from io import FileIO
from typing import TYPE_CHECKING

from otel_shell_detector.captures.content import PIECE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Observer = Callable[[int, int | None], None]
"""Told the bytes read so far, and of how many; ``None`` if nobody knows (a pipe)."""

STANDARD_INPUT = "-"


class CaptureError(Exception):
    """A capture cannot be read. Its text is one line: which, and why."""


def pieces(path: Path | str, observe: Observer | None = None) -> Iterator[bytes]:
    """The file's bytes, some at a time. Raises :class:`CaptureError`, possibly in the midst of it."""
    try:
        file = _open(path)
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror or error}") from error
    with file:
        size = _size(file)
        done = 0
        while piece := _read(path, file):
            done += len(piece)
            if observe is not None:
                observe(done, size)
            yield piece


def _open(path: Path | str) -> FileIO:
    """Unbuffered, so that a pipe's bytes are seen as they come."""
    if str(path) == STANDARD_INPUT:
        return FileIO(sys.stdin.fileno(), closefd=False)
    return FileIO(path)


def _size(file: FileIO) -> int | None:
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _read(path: Path | str, file: FileIO) -> bytes | None:
    try:
        return file.read(PIECE)
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror or error}") from error
