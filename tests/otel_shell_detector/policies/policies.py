"""Policy files that tests write."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ns(time: datetime) -> int:
    """Wall time as the service has it."""
    return int(time.timestamp()) * 1_000_000_000


NOW_NS: Final = ns(NOW)


def text(*ids: str, **keys: str) -> str:
    """A file with a good rule for each id; ``keys`` changes what a rule says."""
    said = {
        "reason": "it is known",
        "owner": "ops",
        "action": "annotate",
        "matchers": "systemd.unit=x.service",
    } | keys
    rest = "".join(f"    {key}: {value}\n" for key, value in said.items())
    return "rules:\n" + "".join(f"  - id: {each}\n{rest}" for each in ids)


def filled(proposal: str, action: str = "annotate") -> str:
    """What was proposed, with what a person writes."""
    written = proposal.replace("    reason: TODO\n", "    reason: it is known\n")
    written = written.replace("    owner: TODO\n", "    owner: ops\n")
    return written.replace("    action: annotate\n", f"    action: {action}\n")


def claims(proposal: str) -> dict[str, tuple[int, int]]:
    """By rule, in order: how many shells it is said to cover, and what they score."""
    found = re.findall(r"^  # (\d+) shells, (\d+) points\n(?:  #.*\n)*  - id: (.*)$", proposal, re.MULTILINE)
    return {rule: (int(shells), int(points)) for shells, points, rule in found}
