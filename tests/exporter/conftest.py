"""A scripted HEC server, a token for it, and log events to look at."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from exporter.hec import HecSink
from exporter.settings import HecSettings
from tests.exporter.outbox import Clock
from tests.exporter.scripted_hec import TOKEN, ScriptedHec

WALL_S = 1_795_488_000.0


@pytest.fixture
def server() -> Iterator[ScriptedHec]:
    with ScriptedHec() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


@pytest.fixture
def hec(server: ScriptedHec, token_file: Path, clock: Clock) -> Iterator[Callable[..., HecSink]]:
    """Make a sink for the server; keywords are settings."""
    made = []

    def make(**settings: Any) -> HecSink:
        ticking, wall = settings.pop("clock", clock), settings.pop("wall", lambda: WALL_S)
        settings = {"url": server.url, "token_file": str(token_file), "request_timeout_s": 30.0, **settings}
        made.append(HecSink(HecSettings(**settings), ticking, wall))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured
