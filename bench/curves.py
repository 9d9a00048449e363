"""The picture of ``bench.scale``: four curves, in SVG whose bytes depend on the figures alone."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.page import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

PICTURE: Final[Path] = ROOT / "docs/performance-scale.svg"
_SETTINGS: Final[dict[Any, Any]] = {
    "svg.hashsalt": "performance",  # else ids are drawn by lot
    "svg.fonttype": "none",  # text stays text: small, and to be searched
    "font.size": 9.0,
    "axes.grid": True,
    "grid.alpha": 0.3,
}
_SHARED: Final = 2
"""Cores of the machine that the target is meant for; the generator has its share of them."""


def draw(results: Mapping[str, Any]) -> bytes:
    """The picture; each series has its name as ``id``."""
    found = {name: part["found"] for name, part in results.items()}
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(10, 7.5), layout="constrained")
        axes = figure.subplots(2, 2)
        _nodes(axes[0, 0], sorted((*found["nodes"]["tried"], found["fleet"]), key=lambda run: run["nodes"]))
        _processes(axes[0, 1], found["processes"])
        _shells(axes[1, 0], found["shells"])
        _sessions(axes[1, 1], found["sessions"])
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue().replace(b" \n", b"\n")


def _series(axes: Axes, name: str, points: Sequence[tuple[float, float]], style: str = "o-") -> None:
    across, up = zip(*points, strict=True)
    axes.plot(across, up, style, label=name, gid=name, markersize=4)


def _words(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.legend()


def _nodes(axes: Axes, runs: Sequence[Mapping[str, Any]]) -> None:
    _series(axes, "service", [(run["nodes"], run["cores"]["median"]) for run in runs])
    _series(axes, "generator", [(run["nodes"], run["generator_cores"]) for run in runs])
    behind = [run for run in runs if run["rounds_kept_up"] < run["rounds_measured"]]
    if behind:
        _series(axes, "not kept up", [(run["nodes"], run["cores"]["median"]) for run in behind], "rx")
    _words(axes, "Nodes of 300 processes, every 10 s", "nodes", "cores")
    axes.set_ylim(0, _SHARED)


def _processes(axes: Axes, found: Mapping[str, Any]) -> None:
    points, line = found["points"], found["fit"]
    _series(axes, "measured", [(point["bytes"], point["cpu_ms"]["median"]) for point in points], "o")
    ends = [points[0]["bytes"], points[-1]["bytes"]]
    between = [ends[0] * (ends[1] / ends[0]) ** (step / 50) for step in range(51)]
    _series(axes, "line", [(each, line["constant"] + line["slope"] * each) for each in between], "-")
    axes.set_xscale("log")
    axes.set_yscale("log")
    _words(axes, "Bytes of a request without shells", "bytes", "ms of processor")


def _shells(axes: Axes, runs: Sequence[Mapping[str, Any]]) -> None:
    points = [(run["on_each_node"], run["cpu_s"] / run["scrapes"] * 1e3) for run in runs]
    _series(axes, "a scrape", points)
    _words(axes, "Shells among 300 processes", "shells on each node", "ms of processor")
    axes.set_ylim(bottom=0)


def _sessions(axes: Axes, found: Mapping[str, Any]) -> None:
    points = found["points"]
    _series(axes, "told", [(point["sessions"], point["rss_mib"]) for point in points])
    _series(axes, "sampled again", [(point["sessions"], point["with_windows_mib"]) for point in points])
    axes.set_xscale("log")
    _words(axes, "Open sessions", "sessions", "RSS, MiB")
    axes.set_ylim(bottom=0)
