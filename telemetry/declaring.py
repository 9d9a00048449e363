"""How a metric is declared: once, with kind, unit and meaning, for Prometheus and for ``docs/metrics.md``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "otel_shell_detector"
REGISTRY: Final = CollectorRegistry()
_COUNTED_UNITS: Final = ("bytes", "seconds")


@dataclass(frozen=True, slots=True)
class Declaration:
    """What ``docs/metrics.md`` says of a metric.

    ``name`` is as exposed, with unit and ``_total``; ``labels`` gives for each label what its values are,
    empty where the meaning tells it.
    """

    name: str
    kind: str
    unit: str
    labels: Mapping[str, str]
    meaning: str


DECLARATIONS: Final[list[Declaration]] = []
"""Every metric, in the order in which they were declared."""


def _declare(name: str, kind: str, unit: str, meaning: str, labels: Mapping[str, str]) -> None:
    ending = f"_{unit}" if unit and not name.endswith(f"_{unit}") else ""
    total = "_total" if kind == "counter" else ""
    exposed = f"{PREFIX}_{name.removesuffix('_total')}{ending}{total}"
    DECLARATIONS.append(Declaration(exposed, kind, unit, labels, meaning))


def _described(labels: tuple[str, ...], values: dict[str, str]) -> dict[str, str]:
    if stray := values.keys() - set(labels):
        raise ValueError(f"values of labels that the metric has not: {', '.join(sorted(stray))}")
    return {label: values.get(label, "") for label in labels}


def counter(name: str, meaning: str, *labels: str, **values: str) -> Counter:
    """Declare a counter; its unit is what its name ends with.

    Takes what a label's values are by its name: ``counter("x", "...", "lane", lane="risk, audit")``.
    """
    unit = next((unit for unit in _COUNTED_UNITS if name.endswith(f"_{unit}")), "")
    _declare(name, "counter", unit, meaning, _described(labels, values))
    return Counter(name, meaning, labels, namespace=PREFIX, registry=REGISTRY)


def gauge(name: str, meaning: str, *labels: str, unit: str = "", **values: str) -> Gauge:
    """Declare a gauge; values of labels as for :func:`counter`."""
    _declare(name, "gauge", unit, meaning, _described(labels, values))
    return Gauge(name, meaning, labels, namespace=PREFIX, unit=unit, registry=REGISTRY)


def histogram(
    name: str,
    meaning: str,
    buckets: tuple[float, ...],
    *labels: str,
    unit: str = "seconds",
    **values: str,
) -> Histogram:
    """Declare a histogram; values of labels as for :func:`counter`."""
    _declare(name, "histogram", unit, meaning, _described(labels, values))
    return Histogram(name, meaning, labels, namespace=PREFIX, unit=unit, buckets=buckets, registry=REGISTRY)
