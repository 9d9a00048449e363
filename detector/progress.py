"""Progress of a node: which of its scrapes came in last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from detector.types import Record

_BINS: Final = 3
"""Three: one scrape may be missing, one may be late."""


class Progress:
    """The last three distinct bins, in order of arrival, that hold a sample of any process of a node."""

    __slots__ = ("_bins", "_window_ns")

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._bins: tuple[int, ...] = ()

    def note(self, record: Record) -> bool:
        """Take the bins of a record, of those of one record the oldest first; whether anything changed."""
        times = set(record.times_ns)
        before = self._bins
        for number in sorted({time_ns // self._window_ns for time_ns in times if time_ns > 0}):
            self._bins = (*(known for known in self._bins if known != number), number)[-_BINS:]
        return self._bins != before

    def dump(self) -> list[int]:
        """The bins, for a checkpoint."""
        return list(self._bins)

    def load(self, dumped: list[int], made_with_ns: int) -> None:
        """Take what :meth:`dump` gave when windows were ``made_with_ns`` long."""
        bins = (number * made_with_ns // self._window_ns for number in dumped)
        self._bins = tuple(dict.fromkeys(bins))

    def bounds(self) -> tuple[int, int] | None:
        """The oldest and the newest of the three; ``None`` while there are fewer."""
        return (min(self._bins), max(self._bins)) if len(self._bins) == _BINS else None
