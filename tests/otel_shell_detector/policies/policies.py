"""Policy files that tests write."""

from __future__ import annotations

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
