"""What the core does, as metrics and log events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry import events, metrics

if TYPE_CHECKING:
    from detector.types import Step
    from store.seams import StoreError


def report(operation: str, error: StoreError, requests: int = 0) -> None:
    """The store refused something; ``requests`` were told to come again because of it."""
    metrics.STORE_FAILURES.labels(operation=operation).inc()
    events.STORE_REFUSED(operation=operation, reason=str(error), requests=requests)


def count(step: Step, wall_ns: int) -> None:
    """What the detector decided and counted."""
    for name, how_often in step.counts.items():
        subject, _, rest = name.partition("_")
        if subject == "point":
            metrics.DETECTOR_POINTS.labels(reason=rest).inc(how_often)
        elif subject == "window":
            metrics.DETECTOR_WINDOWS.labels(result=rest).inc(how_often)
        elif subject == "placement":
            metrics.PLACEMENTS.labels(placement=rest).inc(how_often)
        else:
            metrics.DETECTOR_INCIDENTS.labels(kind=name).inc(how_often)
    for node in step.blind_nodes:
        events.MEMORY_UTILIZATION_MISSING(cluster=node.cluster, node=node.node)
        metrics.MEMORY_UTILIZATION_MISSING.inc()
    for node in step.unplaced_nodes:
        events.PLACEMENT_UNKNOWN(cluster=node.cluster, node=node.node)
    for told in step.silent_nodes:
        change = "silent" if told.returned_ns is None else "returned"
        metrics.COVERAGE_CHANGES.labels(change=change).inc()
        tell = events.NODE_SILENT if told.returned_ns is None else events.NODE_RETURNED
        tell(cluster=told.node.cluster, node=told.node.node, last_scrape_ns=told.last_scrape_ns)
    for finding in step.findings:
        metrics.FINDINGS.labels(kind=finding.kind, reason=finding.reason or "").inc()
        if finding.arrived_ns:
            metrics.EVENT_DELAY.observe(max(wall_ns - finding.arrived_ns, 0) / 1e9)
