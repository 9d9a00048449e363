"""The section of instruction counts in ``docs/performance.md``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def render(results: Mapping[str, Any]) -> str:
    """A table of the parts, and with what they were counted."""
    rows = [
        f"| {part['name']} | {part['what']} | {part['instructions']:,} | {_spread(part['rounds']):.1%} |"
        for part in results["parts"]
    ]
    circumstances, environment = results["circumstances"], results["environment"]
    counted = ", ".join(f"{what} {value}" for what, value in environment.items())
    rounds = len(results["parts"][0]["rounds"])
    lines = (
        "| part | what is done once | instructions | spread |",
        "|---|---|---|---|",
        *rows,
        "",
        f"Counted {circumstances['date']}: {counted}; {circumstances['versions']}.",
        f"The median of {rounds} rounds of {results['often']}.",
        "",
    )
    return "\n".join(lines)


def _spread(rounds: list[int]) -> float:
    return (max(rounds) - min(rounds)) / min(rounds)
