"""The settings of the judge."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from detector.types import NANOSECONDS

BURST_ALL_FACTOR: Final = 10
"""How many nodes may tell a key in full before it is folded over all nodes: enough for an analyst to see that
it is everywhere, few enough for a cluster of thousands."""


class Preexisting(enum.StrEnum):
    """What becomes of shells that started before the first known scrape of their node."""

    SCORE = "score"
    """They are graded like any other."""
    SUMMARY = "summary"
    """One event for each node; each of them in the context lane, but for those that read commands from
    somebody (login, stdin) or hint at an escape."""


class HostField(enum.StrEnum):
    """What names a node as a risk object."""

    HOST_NAME = "host.name"
    NODE_NAME = "k8s.node.name"


class PodObject(enum.StrEnum):
    """What the risk of a shell in a pod is attributed to."""

    POD = "pod"
    """Its workload, else the pod."""
    NODE = "node"


@dataclass(frozen=True, slots=True)
class PointsPer:
    """At most so many points in a period."""

    points: int
    period_ns: int


@dataclass(frozen=True, slots=True)
class JudgeRules:
    """Settings; durations in nanoseconds.

    ``profile`` is a key of :data:`detector.judging.profiles.PROFILES`; ``score`` is what the rows without a
    score of their own give. ``burst_after`` 0 means: never fold. ``store_id`` is part of every id.
    """

    profile: str = "balanced"
    score: int = 25
    name: str = "Kubernetes Shell Running on Worker Node"
    preexisting: Preexisting = Preexisting.SCORE
    baseline_ns: int = 24 * 3600 * NANOSECONDS
    burst_after: int = 3
    burst_period_ns: int = 3600 * NANOSECONDS
    max_per_object: PointsPer | None = None
    host_field: HostField = HostField.HOST_NAME
    pod_object: PodObject = PodObject.POD
    cpu_rule: bool = False
    store_id: str = "otel-shell-detector"

    @property
    def burst_after_all(self) -> int:
        """How many of a key are told in a period over all nodes."""
        return self.burst_after * BURST_ALL_FACTOR

    @property
    def cpu_rule_name(self) -> str:
        """The twin rule, which asks for CPU activity."""
        return f"{self.name} with CPU Activity"
