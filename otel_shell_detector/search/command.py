"""``replay --search-exact``: the rows of the search over captures, to standard output."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from detector.types import Metric
from otel_shell_detector.replay import feed_files
from otel_shell_detector.search.reading import BY_FIELDS, read_points
from otel_shell_detector.search.spl import Search

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from otel_shell_detector.configuration import Settings
    from otel_shell_detector.search.spl import Row

_FIELDS = ("host", *BY_FIELDS[1:])
"""``| rename host.name as host``."""


class SearchRun:
    """The search over requests."""

    def __init__(self, search: Search, max_resources: int) -> None:
        self._search = search
        self._max_resources = max_resources

    def feed(self, body: bytes) -> None:
        """Take one serialized request. Raises :class:`otlp_receiver.wire.UnreadableRequest`."""
        for point in read_points(body, self._max_resources):
            if (value := point.counted) is not None:
                self._search.add(point.fields, point.metric, point.time_ns, value)


def search(settings: Settings, files: Sequence[Path], within: tuple[int | None, int | None]) -> int:
    """Print the rows, a JSON object a line; the exit status is 1 if anything was damaged."""
    found = Search(*within)
    status = feed_files(SearchRun(found, settings.receiver.max_resources), files)
    for row in found.rows():
        sys.stdout.write(f"{json.dumps(as_json(row), ensure_ascii=True)}\n")
    return status


def as_json(row: Row) -> dict[str, str | float | None]:
    """A row under the names of the search."""
    averages = {Metric.CPU.value: row.cpu, Metric.MEMORY.value: row.memory}
    return {**dict(zip(_FIELDS, row.key, strict=True)), **averages}
