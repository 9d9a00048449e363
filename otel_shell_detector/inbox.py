"""What other threads want of the core's thread."""

from __future__ import annotations

import queue
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.types import Record


@dataclass(frozen=True, slots=True)
class Submission:
    """Records of one request. ``durable`` is done when they are stored, or holds why they were not taken."""

    records: Sequence[Record]
    durable: Future[None]


class Inbox:
    """Records to be taken and functions to be called, in the order in which they came."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[Submission | Callable[[], None]] = queue.SimpleQueue()

    def submit(self, records: Sequence[Record]) -> Future[None]:
        """Hand in records; see :class:`Submission`."""
        submission = Submission(records, Future())
        self._items.put(submission)
        return submission.durable

    def call(self, function: Callable[[], None]) -> None:
        """Have a function called in the core's thread."""
        self._items.put(function)

    def drain(self, wait_s: float) -> tuple[list[Submission], list[Callable[[], None]]]:
        """Take everything; wait so long if there is nothing."""
        submissions: list[Submission] = []
        calls: list[Callable[[], None]] = []
        try:
            item = self._items.get(timeout=wait_s) if wait_s else self._items.get_nowait()
            while True:
                if isinstance(item, Submission):
                    submissions.append(item)
                else:
                    calls.append(item)
                item = self._items.get_nowait()
        except queue.Empty:
            return submissions, calls
