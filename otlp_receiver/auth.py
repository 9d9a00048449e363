"""Bearer tokens of senders, from a file with one a line. The collector's bearertokenauth sends them.

The file is looked at again for every call, so a rotation takes effect with the next one. The order is: put
the new token beside the old one here, move the senders, take the old one out here. In any other order
senders are answered UNAUTHENTICATED for a while, and the collector drops what is answered so. Kubernetes
replaces a mounted secret by a new file, editors write in place: both change what ``stat`` says.
"""

from __future__ import annotations

import enum
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


class Verdict(enum.Enum):
    """What a call's credentials are."""

    ACCEPTED = enum.auto()
    MISSING = enum.auto()
    """There is no bearer token."""
    WRONG = enum.auto()


class BearerTokens:
    """The tokens of a file. Safe to use from any thread.

    Raises :class:`TokensUnreadable` when made; later, a bad file leaves the last good tokens in force.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._tokens: tuple[bytes, ...] = ()
        self._kept = ""
        try:
            self._read()
        except OSError as error:
            raise TokensUnreadable(
                f"{path}: {error.strerror}: want a file of bearer tokens, one a line"
            ) from None
        if not self._tokens:
            raise TokensUnreadable(f"{path}: holds no token: want bearer tokens, one a line")

    def judge(self, metadata: Iterable[tuple[str, str | bytes]]) -> Verdict:
        """Whether a call's metadata has one of the tokens (``authorization: Bearer <token>``, RFC 6750)."""
        try:
            self._read()
        except OSError as error:
            self._keep(str(error.strerror))
        tokens = self._tokens
        credentials = [
            value.encode() if isinstance(value, str) else value for key, value in metadata if key == _HEADER
        ]
        presented = [
            value[len(_SCHEME) :] for value in credentials if value[: len(_SCHEME)].lower() == _SCHEME
        ]
        if not presented:
            return Verdict.MISSING
        # Every token is compared with every credential in constant time, whichever fits: nothing is told by
        # how long it takes.
        fits = [hmac.compare_digest(value, token) for value in presented for token in tokens]
        return Verdict.ACCEPTED if any(fits) else Verdict.WRONG

    def _read(self) -> None:
        """Take the tokens of the file if it changed. Raises ``OSError`` for as long as it cannot be read."""
        status = self._path.stat()
        seen = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        with self._lock:
            if seen == self._seen:
                return
            lines = self._path.read_bytes().splitlines()
            tokens = tuple(token for token in map(bytes.strip, lines) if token)
            self._seen = seen
            if tokens:
                self._tokens = tokens
                self._kept = ""
                events.RECEIVER_TOKENS_READ(path=str(self._path), tokens=len(tokens))
                return
        if self._tokens:
            self._keep("the file holds no token")

    def _keep(self, reason: str) -> None:
        with self._lock:
            if reason == self._kept:  # told once, not at each call until it is mended
                return
            self._kept = reason
        events.RECEIVER_TOKENS_KEPT(path=str(self._path), reason=reason)
