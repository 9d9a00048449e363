"""What docs/collector.md says of the points that lean costs."""

from __future__ import annotations

from tests.collector import points
from tests.e2e.processes import ROOT


def test_the_document_has_the_points_of_both_profiles() -> None:
    assert points.table() in (ROOT / "docs/collector.md").read_text()
