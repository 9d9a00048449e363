"""A secret in a file, read again when the file changes."""

import re
from pathlib import Path
from typing import Final

from telemetry import events

_SIZE_LIMIT: Final = 4096
_TOKEN: Final = re.compile(rb"[!-~]{1,4096}")


class TokenError(Exception):
    """There is no usable token; the message names the file and says why, and holds nothing of its content."""


class TokenFile:
    """The token in a file, alone on its line.

    The file is looked at before every use (a mounted Secret is replaced by switching a symbolic link), so a
    rotation needs no restart. While a changed file cannot be used, say, half written, the token that was read
    last stays in use.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._seen: tuple[int, int, int, int] | None = None
        self._token = ""

    def read(self) -> str:
        """The token: visible ASCII, for it becomes part of a header.

        Raises :class:`TokenError` if there never was one.
        """
        try:
            self._refresh()
        except OSError as error:
            if not self._token:
                raise TokenError(f"{self._path}: {error.strerror}; want a file with a token") from None
        except TokenError:
            if not self._token:
                raise
        return self._token

    def _refresh(self) -> None:
        state = self._path.stat()
        seen = (state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size)
        if seen == self._seen:
            return
        with self._path.open("rb") as file:
            content = file.read(_SIZE_LIMIT + 1).strip()
        if not _TOKEN.fullmatch(content):
            raise TokenError(f"{self._path}: {state.st_size} bytes; want one word of visible ASCII")
        self._token, self._seen = content.decode(), seen
        events.EXPORTER_TOKEN_LOADED(path=str(self._path))


def without(token: str, text: str) -> str:
    """The text without the token, quoted (and so with backslashes more) or not."""
    text = text.replace(token, "[redacted]")
    return "[redacted]" if token.replace("\\", "") in text.replace("\\", "") else text
