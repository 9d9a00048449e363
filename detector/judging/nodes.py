"""Nodes that fell silent, or came back: nobody sees their shells meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.events import Lane
from detector.judging.outcomes import Report, ReportKind

if TYPE_CHECKING:
    from detector.types import SilentNode


def report_of(silent: SilentNode) -> Report:
    """What is told of it: from its last scrape on, until it came back if it did."""
    returned_ns = silent.returned_ns
    return Report(
        kind=ReportKind.NODE_SILENT if returned_ns is None else ReportKind.NODE_RETURNED,
        event_id=silent.event_id,
        lane=Lane.CONTEXT,
        cluster=silent.node.cluster,
        node=silent.node,
        host=silent.host or silent.node.node,
        count=0,
        first_ns=silent.last_scrape_ns,
        last_ns=silent.last_scrape_ns if returned_ns is None else returned_ns,
        fields=(),
    )
