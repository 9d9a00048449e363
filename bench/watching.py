"""What a running service uses: processor, memory, disk, and its own figures."""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.cost import MIB, cpu_s

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.e2e.processes import Service


def state_mib(folder: Path) -> float:
    """The files of a state, but for the ballast."""
    files = (each for each in folder.rglob("*") if each.is_file() and "ballast" not in each.name)
    return sum(each.stat().st_size for each in files) / MIB


def percentile(values: Sequence[float], percent: int) -> float:
    """Of at least two values, or the only one."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if values[1:] else values[0]


def spread(values: Sequence[float]) -> dict[str, float]:
    """What is typical of repetitions, and how far they lie apart."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


@dataclass(frozen=True, slots=True)
class Figures:
    """What is counted up, at one moment."""

    cpu_s: float
    transactions: float
    group_commits: float
    received_bytes: float

    @classmethod
    def of(cls, service: Service) -> Figures:
        """Of now."""
        text = service.metrics()
        return cls(
            cpu_s(service.process.pid),
            metric(text, "store_transaction_seconds_count"),
            metric(text, "journal_commits_total"),
            metric(text, "receiver_received_bytes_total"),
        )


def metric(text: str, name: str) -> float:
    """One figure of ``/metrics``, without labels."""
    found = re.search(rf"^otel_shell_detector_{name} (\S+)$", text, re.MULTILINE)
    if not found:
        raise AssertionError(f"/metrics: no {name}")
    return float(found[1])
