"""The command, and a state for it to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_shell_detector.cli import main
from tests.otel_shell_detector.explain.lived import POLICY, Lived

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def explain(
    capsys: pytest.CaptureFixture[str], no_variables: None, logging_restored: None
) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(["explain", *arguments])
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run


@pytest.fixture
def lived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_variables: None) -> Lived:
    """Two minutes of a service; its core does not turn any more."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_STATE__PATH", str(tmp_path / "state"))
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_POLICY__PATH", str(policy))
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_LOG__LEVEL", "error")
    made = Lived(tmp_path / "state")
    made.live(policy)
    return made


@pytest.fixture(params=["running", "stopped"])
def state(request: pytest.FixtureRequest, lived: Lived) -> Iterator[Lived]:
    """The same while the service runs, and after it was killed."""
    if request.param == "running":
        with lived.serving():
            yield lived
    else:
        lived.store.close()
        yield lived
