"""What docs/reliability.md names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_every_proof_exists_and_is_a_test() -> None:
    named = set(re.findall(r"`(tests/[^`]+\.py)`", DOCUMENT))
    assert len(named) > 30
    for path in sorted(named):
        assert "\ndef test_" in (text := (ROOT / path).read_text(encoding="utf-8")) or "TestCase" in text, (
            path
        )


def test_every_promise_has_a_proof() -> None:
    tables = re.findall(r"^\| promise \| proof \|\n\|---\|---\|\n((?:\|.*\|\n)+)", DOCUMENT, re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) > 25
    assert [row for row in rows if "`tests/" not in row] == []
