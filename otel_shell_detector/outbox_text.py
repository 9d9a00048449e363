"""What ``outbox list`` prints: tables for people, JSON lines for programs.

Reasons and bodies come from strangers in part; neither form lets through what a terminal acts on.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from otel_shell_detector.clocks import utc
from otel_shell_detector.columns import columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Item = Mapping[str, Any]


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
            _print({"kind": "dead", "at": utc(letter["at_ns"]), **told})


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
                utc(each["at_ns"]),
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


def _table(head: Sequence[str], rows: Sequence[Sequence[object]], bodies: Sequence[str | None] = ()) -> None:
    sys.stdout.writelines(columns(head, rows, bodies))
