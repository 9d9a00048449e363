"""What the service says of itself: whether it is ready, over HTTP and as a metric, and since when it runs."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from otel_shell_detector import wiring
from otel_shell_detector.configuration import Settings
from otel_shell_detector.service import Service
from otel_shell_detector.sources import load
from store.memory import MemoryStore
from store.seams import StoreError
from telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREFIX = "OTEL_SHELL_DETECTOR_"


class Disk(MemoryStore):
    """A store that cannot be read until it is mended."""

    broken = True

    def rewind(self) -> None:
        if self.broken:
            raise StoreError("input/output error")
        super().rewind()


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Disk) -> Iterator[Service]:
    monkeypatch.setattr(wiring, "store", lambda settings: disk)
    keys = {
        "RECEIVER__ENDPOINT": "127.0.0.1:0",
        "HTTP__ENDPOINT": "127.0.0.1:0",
        "STATE__PATH": str(tmp_path),
    }
    settings = load(None, {PREFIX + key: value for key, value in keys.items()})
    assert isinstance(settings, Settings)
    made = Service(settings)
    yield made
    made.stop()


def told(service: Service) -> tuple[int, str]:
    """The status of /readyz, and the metric."""
    at = f"http://127.0.0.1:{service.http.port}"
    try:
        with urllib.request.urlopen(f"{at}/readyz", timeout=20) as reply:
            status = reply.status
    except urllib.error.HTTPError as refusal:
        with refusal:
            status = refusal.code
    with urllib.request.urlopen(f"{at}/metrics", timeout=20) as reply:
        lines = reply.read().decode().splitlines()
    [value] = [line for line in lines if line.startswith("otel_shell_detector_ready ")]
    return status, value


def test_it_is_not_ready_before_the_state_was_read_and_then_it_is(service: Service, disk: Disk) -> None:
    starting = threading.Thread(target=service.start, args=(threading.Event(),))
    starting.start()
    before = told(service)  # the port was bound with the service: who asks early waits for the answer
    disk.broken = False
    starting.join(60)
    assert not starting.is_alive()
    assert before == (503, "otel_shell_detector_ready 0.0")
    assert told(service) == (200, "otel_shell_detector_ready 1.0")


def test_the_time_of_its_start_is_a_metric(request: pytest.FixtureRequest, disk: Disk) -> None:
    disk.broken = False
    before = time.time()
    service: Service = request.getfixturevalue("service")
    after = time.time()
    service.start(threading.Event())  # what was not started cannot be stopped
    assert before <= metrics.START_TIME._value.get() <= after
