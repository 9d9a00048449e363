"""Every metric, declared once: name, kind, unit and meaning.

``docs/metrics.md`` is generated from this module. Labels have few values, known beforehand: never a pid, a node or a command line.
The objects are process-wide, as Prometheus clients are; tests look at differences.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PREFIX: Final = "otel_shell_detector"
REGISTRY: Final = CollectorRegistry()

_LATENCY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_DELAY_BUCKETS: Final = (0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 16.0, 20.0, 30.0, 60.0, 300.0, 1800.0)


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(name, meaning, labels, namespace=PREFIX, registry=REGISTRY)


def _gauge(name: str, meaning: str, *labels: str, unit: str = "") -> Gauge:
    return Gauge(name, meaning, labels, namespace=PREFIX, unit=unit, registry=REGISTRY)


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(name, meaning, labels, namespace=PREFIX, unit="seconds", buckets=buckets, registry=REGISTRY)


# --- receiver
RECEIVER_REQUESTS: Final = _counter("receiver_requests", "Export calls answered, by gRPC status code.", "code")
# (more receiver metrics here)

# --- detector
# --- store
# --- exporter
# --- process
