"""Whether a node sends memory utilization, which is off by default: without it an idle shell is invisible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.types import Metric

if TYPE_CHECKING:
    from detector.types import Sample

_BLIND_AFTER: Final = 10
"""Samples. Not one: a batch processor may have split the metrics of a process over two requests."""


class Blindness:
    """Looks at a node's samples until it knows. ``without_memory`` is ``None`` from then on."""

    __slots__ = ("without_memory",)

    def __init__(self, without_memory: int | None = 0) -> None:
        self.without_memory = without_memory

    def found(self, sample: Sample) -> bool:
        """Take a sample; whether it is the one that shows the node to be blind."""
        if self.without_memory is None:
            return False
        if any(point.metric is Metric.MEMORY for point in sample.points):
            self.without_memory = None
            return False
        self.without_memory += 1
        if self.without_memory < _BLIND_AFTER:
            return False
        self.without_memory = None
        return True
