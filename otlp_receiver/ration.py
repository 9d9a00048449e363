"""Log lines that others can cause: at most one a second of each kind, so that nobody floods the log."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.events import LogEvent

_PAUSE_S: Final = 1.0


class RationedLog:
    """Writes log events. Safe to use from any thread.

    ``clock`` tells seconds and only goes forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._next: dict[tuple[str, str], float] = {}
        self._suppressed: dict[tuple[str, str], int] = {}

    def __call__(self, event: LogEvent, kind: str, **fields: object) -> None:
        """Write an event, unless one of the same kind was written within the last second.

        ``kind`` is one of few values. A line says how many of its kind were ``suppressed`` since the one
        before it, if any.
        """
        key = (event.name, kind)
        now = self._clock()
        with self._lock:
            if now < self._next.get(key, now):
                self._suppressed[key] = self._suppressed.get(key, 0) + 1
                return
            self._next[key] = now + _PAUSE_S
            suppressed = self._suppressed.pop(key, 0)
        if suppressed:
            fields["suppressed"] = suppressed
        event(**fields)
