"""What is asked for: an event or a session by its id, or the shells of a pid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from detector.types import ShellId

MOST_SHELLS: Final = 50
"""Shells of one pid that are listed, the newest."""


@dataclass(frozen=True, slots=True)
class Asked:
    """``id`` is that of an event or a session, else ``pid`` is given; ``node`` narrows a pid, by any name."""

    id: str | None = None
    pid: int | None = None
    node: str | None = None

    def is_of(self, shell: ShellId) -> bool:
        """Whether a shell has the pid that is asked for."""
        names = (None, shell.node.node, shell.host)
        return self.pid is not None and shell.pid == self.pid and self.node in names

    def __str__(self) -> str:
        if self.pid is None:
            return f"event or session {self.id}"
        return f"shell with pid {self.pid}" + (f" on node {self.node}" if self.node is not None else "")


class NotFoundError(Exception):
    """Nothing is known of what is asked for; the message says what was searched."""
