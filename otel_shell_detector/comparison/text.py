"""The comparison as a table for people and as JSON for programs.

Names and command lines are the attacker's to write; neither form lets through what a terminal acts on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from detector.types import Metric
from otel_shell_detector.comparison.words import average, moment, span, summary
from otel_shell_detector.kinds import one_line
from otel_shell_detector.search.reading import BY_FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_shell_detector.comparison.shells import Comparison, Reported, Shell, Told

_COLUMNS: Final = (
    "first seen, UTC",
    "node",
    "pid>",
    "name",
    "detector>",
    "search>",
    "cpu: detector>",
    "search>",
)
_COLUMNS_MEMORY: Final = ("memory: detector>", "search>")
_SECOND: Final = 1e9


def table(found: Comparison) -> str:
    """Sentences, the shells that one of the two sees, and the others."""
    lines = [*summary(found), ""]
    if found.shells:
        lines += _table(found.shells)
    if found.neither:
        lines += ["", "Seen by neither:", "", *_table(found.neither)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(shells: Sequence[Shell]) -> list[str]:
    """Columns, those whose head ends with > to the right; below a row, why the two differ."""
    heads = (*_COLUMNS, *_COLUMNS_MEMORY)
    rows = [[head.removesuffix(">") for head in heads], *([*map(one_line, _row(shell))] for shell in shells)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, row in enumerate(rows):
        cells = (
            cell.rjust(width) if head.endswith(">") else cell.ljust(width)
            for cell, width, head in zip(row, widths, heads, strict=True)
        )
        lines.append("  ".join(cells).rstrip())
        if number:
            lines += [f"    {why.cause}: {one_line(why.text)}" for why in shells[number - 1].why]
    return lines


def _row(shell: Shell) -> tuple[str, ...]:
    told = shell.told
    first = shell.reported[0] if shell.reported else None
    return (
        moment(shell.first_ns) if shell.first_ns else "-",
        shell.name.node,
        shell.name.pid,
        shell.name.name,
        span(told.latency_ns) if told else "-",
        span(first.latency_ns) if first else "-",
        average(told.cpu if told else None),
        average(first.cpu if first else None),
        average(told.memory if told else None),
        average(first.memory if first else None),
    )


def as_json(found: Comparison) -> str:
    """One object; times are epoch seconds, latencies seconds. ``docs/search.md`` tells the keys."""
    told = {
        "runs": [{"time": _seconds(run.run_ns), "rows": run.rows} for run in found.runs],
        "shells": [_shell(shell) for shell in found.shells],
        "seen_by_neither": [_shell(shell) for shell in found.neither],
    }
    return f"{json.dumps(told, indent=2)}\n"


def _shell(shell: Shell) -> dict[str, Any]:
    name = shell.name
    seen_by = [who for who, seen in (("detector", shell.told), ("search", shell.reported)) if seen]
    return {
        "k8s.cluster.name": name.cluster,
        "k8s.node.name": name.node,
        "host.name": name.host,
        "process.pid": name.pid,
        "process.executable.name": name.name,
        "process.start_time": _seconds(name.start_ns),
        "incarnation": name.incarnation,
        "process.command_line": shell.line,
        "first_seen": _seconds(shell.first_ns),
        "last_seen": _seconds(shell.last_ns),
        "seen_by": seen_by,
        "detector": None if shell.told is None else _told(shell.told),
        "search": [_reported(each) for each in shell.reported],
        "why": [{"cause": why.cause, "text": why.text} for why in shell.why],
    }


def _told(told: Told) -> dict[str, Any]:
    return {
        "event_id": told.event_id,
        "session_id": told.session_id,
        "time": _seconds(told.released_ns),
        "latency": told.latency_ns / _SECOND,
        "windows": told.windows,
        Metric.CPU.value: told.cpu,
        Metric.MEMORY.value: told.memory,
    }


def _reported(reported: Reported) -> dict[str, Any]:
    return {
        "run": _seconds(reported.run_ns),
        "latency": reported.latency_ns / _SECOND,
        "shells_in_row": reported.shells,
        **dict(zip(BY_FIELDS, reported.key, strict=True)),
        Metric.CPU.value: reported.cpu,
        Metric.MEMORY.value: reported.memory,
    }


def _seconds(time_ns: int) -> float | None:
    return time_ns / _SECOND if time_ns else None
