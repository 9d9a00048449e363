"""How well the nodes can be seen: as metrics, as JSON at ``/coverage``, and of captures as a table.

Whoever reaches the HTTP port may ask as often as they like, so the nodes are looked at once in a while, by
the thread that serves the page: the core is not asked and never waits.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from datetime import UTC, datetime
from statistics import median_low
from typing import TYPE_CHECKING, Any, Final

from detector.coverage import MOST_UNPLACED, Concern, NodeState
from telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from detector.coverage import NodeCoverage

    Read = Callable[[], Sequence[NodeCoverage]]

MOST_NODES: Final = 1000
"""Nodes in an answer, the worst first: about half a megabyte."""
_KEEP_S: Final = 5.0
_CONCERNS: Final = tuple(Concern)
_STATES: Final = {NodeState.SILENT: 0, NodeState.REPORTING: 1, NodeState.GONE: 2}
_NS: Final = 1e9
_COLUMNS: Final = (
    "node",
    "state",
    "interval",
    "sure from",
    "cpu",
    "memory",
    "pid 1",
    "relative",
    "no path",
    "unplaced",
    "no parent",
    "concerns",
)


class CoverageView:
    """The nodes as they were at most five seconds ago. ``clock`` is monotonic, in seconds."""

    def __init__(self, read: Read, clock: Callable[[], float]) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._body = b""

    def body(self) -> bytes:
        """What ``/coverage`` answers, in JSON."""
        with self._lock:
            self._refresh()
            return self._body

    def observe(self) -> None:
        """Set the metrics."""
        with self._lock:
            self._refresh()

    def _refresh(self) -> None:
        now = self._clock()
        if self._read_at is None or now - self._read_at >= _KEEP_S:
            nodes = self._read()
            self._read_at = now
            self._body = json.dumps(described(nodes)).encode() + b"\n"
            _set_metrics(nodes)


def _set_metrics(nodes: Sequence[NodeCoverage]) -> None:
    total = _totals(nodes)
    for state in NodeState:
        metrics.COVERAGE_NODES.labels(state=state).set(total["nodes"][state])
    for what in ("both_utilizations", "pid_1", "relative_cgroups"):
        metrics.COVERAGE_NODES_WITH.labels(what=what).set(total[f"nodes_with_{what}"])
    for concern in Concern:
        metrics.COVERAGE_CONCERNS.labels(concern=concern).set(total["concerns"][concern])
    for which in ("median", "max"):
        metrics.COVERAGE_INTERVAL.labels(of=which).set(total["interval_seconds"][which] or 0)
        metrics.COVERAGE_SHORTEST.labels(of=which).set(total["shortest_sure_seconds"][which] or 0)
    metrics.COVERAGE_UNPLACED.set(total["shells_placement_unknown_share"] or 0)


def described(nodes: Sequence[NodeCoverage], most: int = MOST_NODES) -> dict[str, Any]:
    """Totals of all nodes and the ``most`` worst of them, as JSON has it."""
    worst = sorted(nodes, key=_order)[:most]
    return {**_totals(nodes), "listed": len(worst), "worst": [_described(node) for node in worst]}


def _order(node: NodeCoverage) -> tuple[int, int, str, str]:
    return _STATES[node.state], -len(node.concerns), node.node.cluster, node.node.node


def _totals(nodes: Sequence[NodeCoverage]) -> dict[str, Any]:
    """Of a node that does not report, nothing but its state counts."""
    states = Counter(node.state for node in nodes)
    reporting = [node for node in nodes if node.state is NodeState.REPORTING]
    concerns = Counter(concern for node in reporting for concern in node.concerns)
    shells = sum(node.shells for node in reporting)
    return {
        "nodes": {state.value: states[state] for state in NodeState},
        "nodes_with_both_utilizations": sum(bool(node.cpu and node.memory) for node in reporting),
        "nodes_with_pid_1": sum(bool(node.init) for node in reporting),
        "nodes_with_relative_cgroups": sum(node.relative > 0 for node in reporting),
        "concerns": {concern.value: concerns[concern] for concern in _CONCERNS},
        "interval_seconds": _spread(node.interval_ns for node in reporting),
        "shortest_sure_seconds": _spread(node.shortest_ns for node in reporting),
        "shells": shells,
        "shells_placement_unknown_share": _share(sum(node.unplaced for node in reporting), shells),
        "shells_placement_unknown_alert_above": MOST_UNPLACED,
    }


def _spread(times_ns: Iterable[int | None]) -> dict[str, float | None]:
    known = [time_ns for time_ns in times_ns if time_ns is not None]
    return {
        "median": _seconds(median_low(known)) if known else None,
        "max": _seconds(max(known)) if known else None,
    }


def _described(node: NodeCoverage) -> dict[str, Any]:
    return {
        "cluster": node.node.cluster,
        "node": node.node.node,
        "host": node.host,
        "state": node.state,
        "concerns": list(node.concerns),
        "last_scrape": _iso(node.last_scrape_ns),
        "quiet_seconds": _seconds(node.quiet_ns),
        "interval_seconds": _seconds(node.interval_ns),
        "shortest_sure_seconds": _seconds(node.shortest_ns),
        "cpu_utilization": node.cpu,
        "memory_utilization": node.memory,
        "pid_1": node.init,
        "frames": node.frames,
        "relative_cgroup_share": _share(node.relative, node.frames),
        "no_path_share": _share(node.pathless, node.frames),
        "shells": node.shells,
        "shells_placement_unknown_share": _share(node.unplaced, node.shells),
        "shells_parent_unknown_share": _share(node.parentless, node.shells),
    }


def table(nodes: Sequence[NodeCoverage]) -> str:
    """The same for a person, all nodes, the worst first."""
    rows = [_COLUMNS, *(_row(node) for node in sorted(nodes, key=_order))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
        for row in rows
    )


def _row(node: NodeCoverage) -> tuple[str, ...]:
    name = f"{node.node.cluster}/{node.node.node}"
    return (
        "".join(each if each.isprintable() else "?" for each in name),
        node.state,
        _shown(_seconds(node.interval_ns)),
        _shown(_seconds(node.shortest_ns)),
        *({True: "yes", False: "no", None: "-"}[seen] for seen in (node.cpu, node.memory, node.init)),
        _percent(node.relative, node.frames),
        _percent(node.pathless, node.frames),
        _percent(node.unplaced, node.shells),
        _percent(node.parentless, node.shells),
        ", ".join(node.concerns) or "none",
    )


def _shown(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _seconds(time_ns: int | None) -> float | None:
    return None if time_ns is None else round(time_ns / _NS, 3)


def _iso(time_ns: int) -> str | None:
    """A time in UTC; ``None`` if there is none, or none that a calendar has."""
    try:
        return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).isoformat() if time_ns else None
    except (ValueError, OverflowError, OSError):
        return None
