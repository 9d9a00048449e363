"""The bytes of ``/metrics``."""

from prometheus_client.exposition import choose_encoder

from telemetry import metrics


def exposition(accept: str = "") -> tuple[str, bytes]:
    """Content type and body for an ``Accept`` header: OpenMetrics if asked for, else Prometheus text."""
    encoder, content_type = choose_encoder(accept)
    return content_type, encoder(metrics.REGISTRY)
