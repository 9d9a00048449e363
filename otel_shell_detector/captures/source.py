"""The bytes of a file or of the standard input."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from otel_shell_detector.captures.content import PIECE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

Observer = Callable[[int, int | None], None]
"""Told the bytes read so far, and of how many; ``None`` if nobody knows (a pipe)."""

STANDARD_INPUT = "-"


class CaptureError(Exception):
    """A capture cannot be read. Its text is one line: which, and why."""


def pieces(path: Path | str, observe: Observer | None = None) -> Iterator[bytes]:
    """The file's bytes, some at a time. Raises :class:`CaptureError`, possibly in the midst of it."""
    try:
        if str(path) == STANDARD_INPUT:
            yield from _read(sys.stdin.buffer, observe)
        else:
            with Path(path).open("rb", buffering=0) as file:
                yield from _read(file, observe)
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror or error}") from error


def _read(file: BinaryIO, observe: Observer | None) -> Iterator[bytes]:
    status = os.fstat(file.fileno())
    size = status.st_size if stat.S_ISREG(status.st_mode) else None
    done = 0
    while piece := file.read(PIECE):
        done += len(piece)
        if observe is not None:
            observe(done, size)
        yield piece
