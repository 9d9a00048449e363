"""The delivery thread: turns the exporter's deliverer until it is stopped."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from otel_shell_detector.core import CoreStoppedError
from otel_shell_detector.counting import report
from store.seams import StoreError
from telemetry import events, metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.delivery import Deliverer

_LONGEST_WAIT_S: Final = 1.0
"""So that liveness is seen, and a stop is not missed."""
_STORE_WAIT_S: Final = 1.0
"""How long to leave a store alone that has just refused something."""
_LAST_WORD_S: Final = 0.5
"""What an attempt that began before the deadline of a stop may take to be noted after it."""


class Dispatch:
    """Delivers in a thread of its own. ``is_empty`` tells whether nothing waits."""

    def __init__(self, deliverer: Deliverer, is_empty: Callable[[], bool]) -> None:
        self._deliverer = deliverer
        self._is_empty = is_empty
        self._news = threading.Event()
        self._deadline_s: float | None = None
        self.failed: BaseException | None = None
        self.turned_ns = time.monotonic_ns()
        """When the last turn ended (monotonic clock)."""
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Do not wait: events were committed."""
        self._news.set()

    def is_alive(self) -> bool:
        """Whether the thread turns."""
        return self._thread.is_alive()

    def stop(self, within_s: float) -> None:
        """Deliver what waits, for at most that long, and end.

        An attempt may be under way by then: a request has minutes if so configured; the look-up of a name and
        a full pipe have no limit of ours. The thread is left behind in it: what comes of it is not heard any
        more, so its events stay in the outbox. See :meth:`otel_shell_detector.core.Core.close`.
        """
        self._deadline_s = time.monotonic() + within_s
        self._news.set()
        self._thread.join(within_s + _LAST_WORD_S)

    def _run(self) -> None:
        hastened = False
        try:
            while not self._is_over():
                self._news.clear()
                if self._deadline_s is not None and not hastened:
                    self._deliverer.hasten()
                    hastened = True
                wait_s = self._turn()
                self.turned_ns = time.monotonic_ns()
                if self._deadline_s is not None:
                    if self._has_nothing():
                        return
                    wait_s = min(wait_s, max(0.0, self._deadline_s - time.monotonic()))
                if wait_s > 0:
                    self._news.wait(min(wait_s, _LONGEST_WAIT_S))
        except CoreStoppedError as error:
            if self._is_over():
                return  # it was left behind, and comes too late to note anything
            self.failed = error
            events.DELIVERY_FAILED(error=str(error))
        except BaseException as error:  # noqa: BLE001  whatever ends this thread must end the service, loudly
            self.failed = error
            metrics.THREAD_FAILURES.inc()
            events.DELIVERY_FAILED(error=type(error).__name__, exc_info=error)

    def _turn(self) -> float:
        try:
            return self._deliverer.turn(time.monotonic())
        except StoreError as error:
            # What the sink said is remembered, and told to the store first when it answers again.
            report("outbox", error)
            return _STORE_WAIT_S

    def _has_nothing(self) -> bool:
        try:
            return self._is_empty()
        except StoreError:
            return False

    def _is_over(self) -> bool:
        return self._deadline_s is not None and time.monotonic() >= self._deadline_s
