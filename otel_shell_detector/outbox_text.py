"""What ``outbox list`` prints: tables for people, JSON lines for programs.

Reasons and bodies come from strangers in part; neither form lets through what a terminal acts on.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from otel_shell_detector.kinds import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Item = Mapping[str, Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = 1_000_000_000


class JsonLines:
    """A JSON object a line, in ASCII; ``kind`` says what it is. ``docs/outbox.md`` tells the keys."""

    def counts(self, waiting: Mapping[str, int], dead: Sequence[Item]) -> None:
        """How many there are."""
        for lane, events in waiting.items():
            _print({"kind": "waiting_count", "lane": lane, "events": events})
        for each in dead:
            _print({"kind": "dead_count", **each})

    def waiting(self, events: Sequence[Item]) -> None:
        """Events that wait."""
        for event in events:
            _print({"kind": "waiting", **event})

    def dead(self, letters: Sequence[Item]) -> None:
        """Dead letters."""
        for letter in letters:
            told = {key: value for key, value in letter.items() if key != "at_ns"}
            _print({"kind": "dead", "at": _when(letter["at_ns"]), **told})


class Tables:
    """Columns with a head."""

    def counts(self, waiting: Mapping[str, int], dead: Sequence[Item]) -> None:
        """How many there are."""
        _table(("lane", "waiting>"), [(lane, events) for lane, events in waiting.items()])
        sys.stdout.write("\n")
        if dead:
            rows = [(each["origin"], each["reason"], each["letters"]) for each in dead]
            _table(("origin", "reason", "dead letters>"), rows)
            sys.stdout.write("\n")

    def waiting(self, events: Sequence[Item]) -> None:
        """Events that wait."""
        if not events:
            sys.stdout.write("no event waits\n")
            return
        rows = [(each["number"], each["lane"], each["event_id"], each["size"]) for each in events]
        _table(("number>", "lane", "event id", "size>"), rows, [each.get("body") for each in events])

    def dead(self, letters: Sequence[Item]) -> None:
        """Dead letters."""
        if not letters:
            sys.stdout.write("no dead letters\n")
            return
        rows = [
            (
                each["number"],
                _when(each["at_ns"]),
                each["origin"],
                each["reason"],
                each["event_id"] or "-",
                each["size"],
            )
            for each in letters
        ]
        head = ("number>", "when", "origin", "reason", "event id", "size>")
        _table(head, rows, [each.get("body") for each in letters])


def _print(item: Item) -> None:
    sys.stdout.write(json.dumps(item) + "\n")


def _when(at_ns: int) -> str:
    """RFC 3339, in UTC. Whatever 64 bits of nanoseconds say is a date."""
    at = _EPOCH + timedelta(seconds=at_ns // _SECOND)
    return at.isoformat().replace("+00:00", "Z")


def _table(head: Sequence[str], rows: Sequence[Sequence[object]], bodies: Sequence[str | None] = ()) -> None:
    """Print columns, those whose head ends with > to the right; below a row its body, if it has one."""
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    names = [name.removesuffix(">") for name in head]
    widths = [max(len(line[column]) for line in (names, *cells)) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        parts = (
            cell.rjust(width) if name.endswith(">") else cell.ljust(width)
            for cell, width, name in zip(row, widths, head, strict=True)
        )
        return "  ".join(parts).rstrip() + "\n"

    sys.stdout.write(line(names))
    for number, row in enumerate(cells):
        sys.stdout.write(line(row))
        body = bodies[number] if bodies else None
        if body is not None:
            sys.stdout.write(f"    {one_line(body)}\n")
