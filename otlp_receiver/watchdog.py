"""A call whose message does not come whole in time is cancelled, and before that, if its place is needed.

One thread watches all calls. They all have the same timeout, so they expire in the order in which they began.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(slots=True, eq=False)
class Watch:
    """One call under watch. Once it was cancelled: ``expired``, or ``displaced`` by another call."""

    deadline: float
    cancel: Callable[[], object]
    expired: bool = False
    displaced: bool = False


class Watchdog:
    """Cancels what takes longer than ``timeout`` seconds, from :meth:`start` to :meth:`stop`."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._changed = threading.Condition()
        self._watches: OrderedDict[int, Watch] = OrderedDict()
        self._stopped = False
        self._sleeps_on = False
        """Whether the thread sleeps until it is woken: it wakes of itself while something was under watch."""
        self._thread = threading.Thread(target=self._run, name="receive-watchdog", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is under watch is watched no more."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def cancel_oldest(self, least_wait: float) -> bool:
        """Cancel the call under longest watch, if that is ``least_wait`` seconds; whether there was one."""
        with self._changed:
            oldest = next(iter(self._watches.values()), None)
            if oldest is None or oldest.deadline - self._timeout + least_wait > monotonic():
                return False
            oldest.displaced = True
            del self._watches[id(oldest)]
        oldest.cancel()
        return True

    @contextmanager
    def watch(self, cancel: Callable[[], object]) -> Iterator[Watch]:
        """Call ``cancel``, in another thread, if the block takes too long. It must not raise or wait."""
        watch = Watch(monotonic() + self._timeout, cancel)
        with self._changed:
            self._watches[id(watch)] = watch
            # Whoever comes later expires later: a thread that will wake of itself will wake in time.
            if self._sleeps_on:
                self._sleeps_on = False
                self._changed.notify()
        try:
            yield watch
        finally:
            with self._changed:
                self._watches.pop(id(watch), None)

    def _run(self) -> None:
        while (expired := self._next_expired()) is not None:
            expired.cancel()

    def _next_expired(self) -> Watch | None:
        """Wait for the next watch to expire; ``None`` when stopped."""
        with self._changed:
            while not self._stopped:
                oldest = next(iter(self._watches.values()), None)
                left = None if oldest is None else oldest.deadline - monotonic()
                if oldest is not None and left is not None and left <= 0:
                    oldest.expired = True
                    del self._watches[id(oldest)]
                    return oldest
                self._sleeps_on = oldest is None
                self._changed.wait(left)
            return None
