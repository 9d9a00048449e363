"""Control servers over a store with something in it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from otel_shell_detector import logs
from otel_shell_detector.configuration import LogSettings
from otel_shell_detector.control import ControlServer
from store.memory import MemoryStore
from tests.otel_shell_detector.filled import WALL_NS, Owner, fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otel_shell_detector.operations import StoreCall


@pytest.fixture
def log(logging_restored: None) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(LogSettings(), stream)
    return stream


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore(wall_ns=lambda: WALL_NS)
    fill(made)
    return made


@pytest.fixture
def make(log: io.StringIO, tmp_path: Path, store: MemoryStore) -> Iterator[Callable[..., ControlServer]]:
    """Starts servers, and stops them when the test ends."""
    started: list[ControlServer] = []

    def make_(call: StoreCall | None = None, folder: Path = tmp_path, **options: Any) -> ControlServer:
        server = ControlServer(folder, call or Owner(store), **options)
        server.start()
        started.append(server)
        return server

    yield make_
    for server in started:
        server.stop()


@pytest.fixture
def server(make: Callable[..., ControlServer]) -> ControlServer:
    return make()
