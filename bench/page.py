"""``docs/performance.md``: its tables, written from what the benchmarks measured last.

A run leaves what it measured in ``bench/results/<name>.json``. The page holds, for each, a place between two
comments, ``<!-- <name> -->`` and ``<!-- end of <name> -->``, for what :data:`SECTIONS` makes of it. The
rest of the page is written by hand. So no figure of a table can be apart from a run, and none needs a run to
be checked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench import contenders_page, counts_page, replay_page, scale_page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = ROOT / "bench/results"
PAGE: Final = ROOT / "docs/performance.md"

SECTIONS: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "contenders": contenders_page.render,
    "counts": counts_page.render,
    "replay": replay_page.render,
    "scale": scale_page.render,
}
"""What makes Markdown of the results of each benchmark, by its name."""


def read_results(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """What a benchmark measured last. Raises :class:`OSError` if it never ran."""
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return found


def write_results(name: str, results: Mapping[str, Any], folder: Path = RESULTS) -> None:
    """Keep what a benchmark measured, for the page."""
    folder.mkdir(exist_ok=True)
    text = json.dumps(results, indent=1, sort_keys=True) + "\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8")


def performance() -> str:
    """The page with the results as they are now. Raises :class:`ValueError` where it has no place for one."""
    page = PAGE.read_text(encoding="utf-8")
    for name, render in SECTIONS.items():
        before, begin, after = page.partition(f"<!-- {name} -->\n")
        _, end, rest = after.partition(f"<!-- end of {name} -->\n")
        if not begin or not end:
            raise ValueError(f"{PAGE}: has no place for {name}")
        page = before + begin + render(read_results(name)) + end + rest
    return page
