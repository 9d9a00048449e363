"""The ceiling on tracked shells: the one thing that the nodes share."""

from __future__ import annotations


class Budget:
    """How many shells may be tracked; shared by all nodes. Below the ceiling no node notices another."""

    __slots__ = ("_limit", "used")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0

    def exhausted(self) -> bool:
        """Whether no further shell may be tracked."""
        return self.used >= self._limit
