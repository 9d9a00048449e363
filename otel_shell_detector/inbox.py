"""What other threads want of the core's thread.

Records that may be lost in a crash need no answer of the journal. They are *left* here: the thread is not
woken for them and finds them with its next turn, which comes soon enough by itself. That is only while the
journal takes what it is given. Once it did not, everyone waits for its answer, and what was left before is
kept until it takes something again.
"""

from __future__ import annotations

import queue
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otlp_receiver.server import NotAccepted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.types import Record

MAX_LEFT: Final = 1_000
"""Items that lie here while something is left. Beyond it workers wait: that slows their senders down."""


@dataclass(frozen=True, slots=True)
class Submission:
    """Records of one request. ``durable`` is done when they are stored, or holds why they were not taken.

    Nobody waits for records that were left.
    """

    records: Sequence[Record]
    durable: Future[None] | None = None


class Inbox:
    """Records to be taken and functions to be called, in the order in which they came."""

    def __init__(self) -> None:
        self._items: deque[Submission | Callable[[], None]] = deque()
        self._waking: queue.SimpleQueue[None] = queue.SimpleQueue()
        """Has something for each item that the thread is woken for, put in after the item."""
        self._refused = False
        """Whether the journal did not take what it was last given."""

    def submit(self, records: Sequence[Record]) -> Future[None]:
        """Hand in records; see :class:`Submission`."""
        durable: Future[None] = Future()
        self._items.append(Submission(records, durable))
        self._waking.put(None)
        return durable

    def leave(self, records: Sequence[Record]) -> bool:
        """Hand in records for which nobody waits; whether that is possible now."""
        if self._refused or len(self._items) >= MAX_LEFT:
            return False
        self._items.append(Submission(records))
        return True

    def call(self, function: Callable[[], None]) -> None:
        """Have a function called in the core's thread."""
        self._items.append(function)
        self._waking.put(None)

    # --- for the core's thread alone

    def drain(self, wait_s: float) -> tuple[list[Submission], list[Callable[[], None]]]:
        """Take everything; wait so long to be woken."""
        try:
            self._waking.get(timeout=wait_s) if wait_s else self._waking.get_nowait()
            while True:
                self._waking.get_nowait()
        except queue.Empty:
            pass
        submissions: list[Submission] = []
        calls: list[Callable[[], None]] = []
        for _ in range(len(self._items)):
            item = self._items.popleft()
            if isinstance(item, Submission):
                submissions.append(item)
            else:
                calls.append(item)
        if self._refused and all(item.durable is None for item in submissions):
            self._items.extendleft(reversed(submissions))  # none of them would hear how it went
            return [], calls
        return submissions, calls

    def took(self, submissions: Sequence[Submission]) -> None:
        """Tell who waits that the records are stored."""
        self._refused = False
        for item in submissions:
            if item.durable is not None:
                item.durable.set_result(None)

    def refuse(self, submissions: Sequence[Submission], why: str) -> int:
        """Tell who waits that the records were not taken, and keep the others; how many waited."""
        self._refused = True
        self._items.extendleft(reversed([item for item in submissions if item.durable is None]))
        waiting = [item.durable for item in submissions if item.durable is not None]
        for durable in waiting:
            durable.set_exception(NotAccepted(why))
        return len(waiting)
