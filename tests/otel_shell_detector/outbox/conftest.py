"""A state with something in it, with a service that runs over it or none, and the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_shell_detector.cli import main
from tests.otel_shell_detector.filled import filled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


from tests.otel_shell_detector.outbox.serving import served


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_variables: None, logging_restored: None
) -> Path:
    path = tmp_path / "state"
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_STATE__PATH", str(path))
    # What the service logs would come to standard error here: it runs in the command's process.
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_LOG__LEVEL", "error")
    return path


@pytest.fixture(params=["running", "stopped"])
def state(request: pytest.FixtureRequest, folder: Path) -> Iterator[Path]:
    """A state with something in it, with a service that runs over it or none."""
    store = filled(folder)
    if request.param == "running":
        with served(store, folder):
            yield folder
    else:
        store.close()
        yield folder


@pytest.fixture
def outbox(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["outbox", *arguments])
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run
