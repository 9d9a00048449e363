"""How far a capture has been read, for a person who waits.

Nothing is written unless the stream is a terminal: not into a log, a file or a pipe.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from typing import TYPE_CHECKING, Final, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

_EVERY_SECONDS: Final = 0.1
_BAR: Final = 24
_ERASE_LINE: Final = "\r\x1b[K"
_UNITS: Final = ("B", "KiB", "MiB", "GiB")
_STEP: Final = 1024


class ProgressBar:
    """One line on the standard error, written over itself and erased at the end.

    Call it with the bytes done and their total (``None`` if unknown), as
    :func:`otel_shell_detector.captures.formats.requests` does with its `observe`. As a context manager it
    erases its line on the way out, so that what is printed next begins on a clean line; :meth:`clear` does so
    in between.
    """

    def __init__(
        self,
        label: str,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = "".join(character if character.isprintable() else "?" for character in label)
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._started = clock()
        self._next = self._started
        self._shown = False
        self.enabled = self._stream.isatty()
        """Whether anything is ever written."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.clear()

    def __call__(self, done: int, total: int | None) -> None:
        """Show how far it is, ten times a second at most."""
        if not self.enabled or (now := self._clock()) < self._next:
            return
        self._next = now + _EVERY_SECONDS
        line = progress_line(self._label, done, total, now - self._started)
        self._write(_ERASE_LINE + line[: shutil.get_terminal_size().columns - 1])
        self._shown = True

    def clear(self) -> None:
        """Erase the line, if there is one."""
        if self._shown:
            self._write(_ERASE_LINE)
            self._shown = False

    def _write(self, text: str) -> None:
        # A terminal that went away must not end the reading.
        with contextlib.suppress(OSError):
            self._stream.write(text)
            self._stream.flush()


def progress_line(label: str, done: int, total: int | None, seconds: float) -> str:
    """A line such as ``worker-1.pb [######      ]  50 %  1.2 MiB of 2.4 MiB  8.0 MiB/s``."""
    rate = f"{_bytes(done / seconds)}/s" if seconds > 0 else ""
    if not total:
        return f"{label}  {_bytes(done)}  {rate}".rstrip()
    # A file that grows while it is read has more than its total.
    part = min(done / total, 1.0)
    bar = ("#" * int(part * _BAR)).ljust(_BAR)
    return f"{label} [{bar}] {int(part * 100):3} %  {_bytes(done)} of {_bytes(total)}  {rate}".rstrip()


def _bytes(number: float) -> str:
    for unit in _UNITS[:-1]:
        if number < _STEP:
            return f"{number:.1f} {unit}" if unit != "B" else f"{number:.0f} B"
        number /= _STEP
    return f"{number:.1f} {_UNITS[-1]}"
