"""The dashboard as Grafana reads it: its panels, its variables, and what it asks of Prometheus."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.chart.helm import CHART

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILE: Final = CHART / "files/dashboard.json"
_INTERVALS: Final = {"__rate_interval": "1m0s", "__interval": "1m", "__range": "3600s"}
"""What Grafana makes of these with a scrape interval of 15 s, on a screen of an hour."""


def dashboard() -> dict[str, Any]:
    """All of it."""
    found: dict[str, Any] = json.loads(FILE.read_bytes())
    return found


def panels() -> list[dict[str, Any]]:
    """Its panels without the titles of the rows."""
    return [each for each in dashboard()["panels"] if each["type"] != "row"]


def variables() -> dict[str, dict[str, Any]]:
    """By name, in the order in which they depend on each other."""
    return {each["name"]: each for each in dashboard()["templating"]["list"]}


@dataclass(frozen=True, slots=True)
class Asked:
    """A query of a panel, with its variables."""

    panel: str
    legend: str
    expression: str


def asked() -> list[Asked]:
    """Every query of every panel."""
    return [
        Asked(panel["title"], target["legendFormat"], target["expr"])
        for panel in panels()
        for target in panel["targets"]
    ]


def with_variables(text: str, selected: Mapping[str, Sequence[str]]) -> str:
    """What Grafana asks; of a variable that is not selected it is All."""
    values = {name: _regex(name, selected.get(name, ())) for name in variables() if name != "datasource"}
    values |= _INTERVALS
    replaced = re.sub(r"\$(\w+)", lambda found: values[found[1]], text)
    assert "$" not in replaced, replaced
    return replaced


def _regex(name: str, selected: Sequence[str]) -> str:
    """Grafana's data source for Prometheus escapes each value once for the regex and once for its quotes."""
    if not selected:
        of_all: str = variables()[name]["allValue"]
        return of_all
    escaped = [re.sub(r"[\\^$*+?.()|{}\[\]]", r"\\\\\g<0>", each) for each in selected]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
