"""The chart, rendered by the real Helm."""

from __future__ import annotations

import subprocess
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.e2e.processes import ROOT, peer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CHART: Final = ROOT / "deploy/helm/otel-shell-detector"
RELEASE: Final = "sd"
NAMESPACE: Final = "shells"
VALUES: Final = sorted((CHART / "ci").glob("*-values.yaml"))
"""The sets of values that the chart ships as examples."""


@cache
def helm_binary() -> Path:
    return peer("helm")


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [helm_binary(), *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def template(values: Path, *arguments: str | Path, chart: Path = CHART) -> subprocess.CompletedProcess[str]:
    return helm("template", RELEASE, chart, "--namespace", NAMESPACE, "--values", values, *arguments)


def objects(values: Path, *arguments: str | Path, chart: Path = CHART) -> list[dict[str, Any]]:
    rendered = template(values, *arguments, chart=chart)
    assert rendered.returncode == 0, rendered.stderr
    return [each for each in yaml.safe_load_all(rendered.stdout) if each]


def named(values: Path) -> str:
    """What a test of one set of values is called."""
    return values.name.removesuffix("-values.yaml")


def only(rendered: Sequence[dict[str, Any]], *kinds: str) -> dict[str, Any]:
    [found] = [each for each in rendered if each["kind"] in kinds]
    return found
