"""The first and the last of many: what can be shown of a list that has no bound."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Ends(Generic[_T]):
    """Keeps the first ``most`` and the last ``most`` of what is added."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._first: list[_T] = []
        self._last: deque[_T] = deque(maxlen=most)
        self.count = 0

    def add(self, item: _T) -> None:
        """Add one."""
        self.count += 1
        if len(self._first) < self._most:
            self._first.append(item)
        else:
            self._last.append(item)

    @property
    def first(self) -> list[_T]:
        """The first of them."""
        return self._first

    @property
    def last(self) -> list[_T]:
        """The last of them that are not among the first."""
        return list(self._last)

    @property
    def kept(self) -> list[_T]:
        """All that are kept, in order."""
        return [*self._first, *self._last]

    @property
    def cut(self) -> int:
        """How many there were between the first and the last."""
        return self.count - len(self._first) - len(self._last)
