"""Bearer tokens of senders, from a file with one a line. The collector's bearertokenauth sends them.

The file is looked at again for every call, so a rotation takes effect with the next one: put the new token
beside the old one, move the senders, take the old one out. Kubernetes replaces a mounted secret by a new
file, editors write in place: both change what ``stat`` says.
"""

from __future__ import annotations

import hmac
import threading
from typing import TYPE_CHECKING, Final

from telemetry import events

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_HEADER: Final = "authorization"
_SCHEME: Final = b"bearer "


class TokensUnreadable(Exception):  # noqa: N818  # says what is so
    """The token file cannot be read or holds none; the message names it."""


class BearerTokens:
    """The tokens of a file. Safe to use from any thread.

    Raises :class:`TokensUnreadable` when made; later, a bad file leaves the last good tokens in force.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._tokens: tuple[bytes, ...] = ()
        try:
            self._read()
        except OSError as error:
            raise TokensUnreadable(
                f"{path}: {error.strerror}: want a file of bearer tokens, one a line"
            ) from None
        if not self._tokens:
            raise TokensUnreadable(f"{path}: holds no token: want bearer tokens, one a line")

    def accepts(self, metadata: Iterable[tuple[str, str | bytes]]) -> bool:
        """Whether a call's metadata has one of the tokens (``authorization: Bearer <token>``, RFC 6750)."""
        try:
            self._read()
        except OSError as error:
            events.RECEIVER_TOKENS_KEPT(path=str(self._path), reason=str(error.strerror))
        tokens = self._tokens
        presented = [
            value.encode() if isinstance(value, str) else value for key, value in metadata if key == _HEADER
        ]
        # Every token is compared with every credential in constant time, whichever fits: nothing is told by
        # how long it takes.
        fits = [
            hmac.compare_digest(value[len(_SCHEME) :], token)
            for value in presented
            if value[: len(_SCHEME)].lower() == _SCHEME
            for token in tokens
        ]
        return any(fits)

    def _read(self) -> None:
        """Take the tokens of the file if it changed. Raises ``OSError`` for as long as it cannot be read."""
        status = self._path.stat()
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        with self._lock:
            if seen == self._seen:
                return
            lines = self._path.read_bytes().splitlines()
            tokens = tuple(token for token in map(bytes.strip, lines) if token)
            self._seen = seen
            if tokens:
                self._tokens = tokens
                events.RECEIVER_TOKENS_READ(path=str(self._path), tokens=len(tokens))
            elif self._tokens:
                events.RECEIVER_TOKENS_KEPT(path=str(self._path), reason="the file holds no token")
