"""What is explained, as JSON has it: one object, which is printed as it is or rendered for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from detector.judging.fields import fields_of

if TYPE_CHECKING:
    from detector.points import Means
    from detector.types import Finding, Point, ShellId

Json = dict[str, Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
OPAQUE: Final = frozenset(
    {
        "host.name",
        "k8s.cluster.name",
        "k8s.node.name",
        "process.pid",
        "process.executable.name",
        "process.command_line.sha256",
    }
)
"""Fields that are shown elsewhere, or say nothing to a reader."""


MOST_POINTS: Final = 50
"""Points of a sample that are shown. A real one has four; one that somebody made may have any number."""


def when(time_ns: int) -> str | None:
    """RFC 3339 in UTC, milliseconds; ``None`` if there is no time, or none that a calendar has."""
    if not time_ns:
        return None
    try:
        at = _EPOCH + timedelta(microseconds=time_ns // 1000)
    except OverflowError:
        return None
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def of_shell(shell: ShellId) -> Json:
    """An identity."""
    return {
        "k8s.cluster.name": shell.node.cluster,
        "k8s.node.name": shell.node.node,
        "host.name": shell.host,
        "process.pid": shell.pid,
        "process.start_time": when(shell.start_ns),
        "process.executable.name": shell.name,
    }


def evidence_of(finding: Finding, *, novel: bool | None) -> dict[str, str]:
    """What is known of a shell, by the names of an event's fields, as policies see it."""
    fields = fields_of(finding, novel=novel)
    return {name: text for name, text in fields.items() if name not in OPAQUE}


def of_means(means: Means) -> Json:
    """The averages of a window, by the names of an event's fields."""
    return {
        "process.cpu.utilization": means.cpu,
        "process.cpu.utilization.total": means.cpu_total,
        "process.memory.utilization": means.memory,
    }


def of_point(point: Point) -> Json:
    """A point without what became of it."""
    value = point.value
    return {
        "time": when(point.time_ns),
        "metric": point.metric.value,
        "state": point.slot,
        # JSON has no NaN and no infinity.
        "value": value if value is None or abs(value) < float("inf") else repr(value),
    }


def of_window(number: int, window_ns: int) -> Json:
    """The bounds of a window, the end exclusive."""
    return {"start": when(number * window_ns), "end": when((number + 1) * window_ns)}
