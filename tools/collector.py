"""Writes what is generated of the values for the charts of the collector: its configuration.

`deploy/collector/agent.yaml` and `lean.yaml` are the configuration, once for all. Of each chart's values the
part below the mark is made of `agent.yaml`, and the values of the profile lean are made of `lean.yaml`.
`python tools/collector.py` compares them and ends with exit status 1 when they are apart; with `--write` it
writes them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER: Final = Path(__file__).resolve().parent.parent / "deploy/collector"
_MARK: Final = "# --- Below: agent.yaml, by `make docs`; change that instead.\n"
_LEAN: Final = """\
# Profile lean for {name}.yaml: `helm ... --values {name}.yaml --values {name}-lean.yaml`.
# --- lean.yaml, by `make docs`; change that instead.
"""
_EXTENSIONS: Final = "  extensions: [file_storage/shell-detector]\n"


class Chart(NamedTuple):
    """Where a chart of the collector takes its configuration from, and what it adds to the extensions.

    Helm replaces lists, so a chart's values name all extensions that shall run, those of the chart too.
    """

    name: str
    keys: tuple[str, ...]
    own: tuple[str, ...]
    declared: str = ""
    """Extensions that the chart does not configure by itself."""


CHARTS: Final = (
    Chart(
        "opentelemetry-collector",
        ("alternateConfig",),
        ("health_check",),
        '  health_check: {endpoint: "${env:MY_POD_IP}:13133"} # the probes of the chart\n',
    ),
    Chart(
        "splunk-otel-collector",
        ("agent", "config"),
        ("file_storage", "health_check", "k8s_observer", "zpages"),
    ),
)


def nested(text: str, keys: tuple[str, ...]) -> str:
    """A YAML text below keys."""
    for key in reversed(keys):
        text = f"{key}:\n{indent(text, '  ')}"
    return text


def without_heading(text: str) -> str:
    """From the first line that is no comment."""
    lines = text.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "".join(lines[first:])


def configured(chart: Chart) -> str:
    """The configuration of the agent with the extensions of a chart."""
    text = without_heading((FOLDER / "agent.yaml").read_text(encoding="utf-8"))
    listed = ", ".join((*chart.own, "file_storage/shell-detector"))
    text = text.replace(_EXTENSIONS, f"  extensions: [{listed}]\n")
    return text.replace("\nextensions:\n", f"\nextensions:\n{chart.declared}")


def generated() -> Iterator[tuple[Path, str]]:
    """Each file and what it should hold."""
    lean = without_heading((FOLDER / "lean.yaml").read_text(encoding="utf-8"))
    for chart in CHARTS:
        path = FOLDER / f"{chart.name}.yaml"
        by_hand = path.read_text(encoding="utf-8").partition(_MARK)[0]
        inside = nested(configured(chart), chart.keys)
        if len(chart.keys) > 1:  # its first key is there already, by hand
            inside = inside.partition("\n")[2]
        yield path, f"{by_hand}{_MARK}{inside}"
        yield FOLDER / f"{chart.name}-lean.yaml", _LEAN.format(name=chart.name) + nested(lean, chart.keys)


def main(arguments: list[str]) -> int:
    """Compare, or write."""
    apart = [
        (path, text)
        for path, text in generated()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path, text in apart:
        if arguments == ["--write"]:
            path.write_text(text, encoding="utf-8")
        else:
            sys.stderr.write(
                f"{path.name}: is not what agent.yaml and lean.yaml make of it; run `make docs`\n"
            )
    return 0 if arguments == ["--write"] else int(bool(apart))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
