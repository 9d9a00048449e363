"""A file as bytes that come once, in order: a pipe will do, and no more is held than what is being read.

Damage in what is underneath (a compressed stream that stops or does not decode) ends the content instead of
raising, so that a reader takes everything before it; it finds the reason in :attr:`Content.broken`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE: Final = 64 * 1024
"""Bytes asked of a file at a time."""


class BrokenStreamError(Exception):
    """The bytes underneath the content end early or do not decode. Its text says which and where."""


class Content:
    """The pieces of a file as one sequence with a position."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = bytearray()
        self._ended = False
        self.offset = 0
        """How many bytes have been taken."""
        self.broken: str | None = None
        """Why the content ends before its time; known once the end is reached."""

    def _more(self) -> bool:
        """Get another piece, false at the end."""
        if self._ended:
            return False
        try:
            self._buffer += next(self._pieces)
        except StopIteration:
            self._ended = True
        except BrokenStreamError as error:
            self._ended = True
            self.broken = str(error)
        return not self._ended

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end; they stay."""
        while len(self._buffer) < size and self._more():
            pass
        return bytes(memoryview(self._buffer)[:size])

    def take(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        taken = self.peek(size)
        self._drop(len(taken))
        return taken

    def line(self, limit: int) -> bytes | None:
        """The next line with its newline, if it has one; empty at the end.

        ``None`` for a line of more than `limit` bytes. Such a line is dropped
        while it is read: it is never held.
        """
        searched = 0
        while (newline := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > limit:
                self._drop_line()
                return None
            if not self._more():
                return self.take(searched)
        if newline > limit:
            self._drop(newline + 1)
            return None
        return self.take(newline + 1)

    def rest(self) -> Iterator[bytes]:
        """Everything that is left, in pieces. A :class:`BrokenStreamError` underneath goes through."""
        yield bytes(self._buffer)
        self._drop(len(self._buffer))
        yield from self._pieces

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        self.offset += size

    def _drop_line(self) -> None:
        while (newline := self._buffer.find(b"\n")) < 0:
            self._drop(len(self._buffer))
            if not self._more():
                return
        self._drop(newline + 1)
