from exporter.exposition import exposition


def test_the_registry_is_shown_as_prometheus_text() -> None:
    content_type, body = exposition()
    assert content_type.startswith("text/plain; version=")
    assert b"# TYPE otel_shell_detector_exporter_events_delivered_total counter" in body


def test_openmetrics_is_given_to_who_asks_for_it() -> None:
    content_type, body = exposition("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
