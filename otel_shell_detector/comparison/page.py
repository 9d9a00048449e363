"""The comparison as one HTML file that needs nothing else: no script, no font, no network.

Whatever comes from a capture is the attacker's to write: it is escaped, and its control characters are shown
as such. The policy in the head lets the page load nothing even if that failed.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from otel_shell_detector.comparison import timeline
from otel_shell_detector.comparison.words import average, moment, span, summary
from otel_shell_detector.kinds import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from otel_shell_detector.comparison.shells import Comparison, Shell

_STYLE: Final = """
:root { color-scheme: light dark; --text: #1b1f24; --soft: #59636e; --line: #d1d9e0; --back: #ffffff;
  --shade: #f3f5f8; --detector: #0a7d4b; --search: #b4540a; --life: #7a9cc6; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --soft: #9aa4ae; --line: #3a424b;
  --back: #14181d; --shade: #1d232a; --detector: #3fc98a; --search: #f0994a; --life: #56779f; } }
body { margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: var(--text); background: var(--back);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p.note, figcaption { color: var(--soft); }
figure { margin: 1rem 0; } svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--text); } svg .time { fill: var(--soft); } .label { font-family: monospace; }
.tick { stroke: var(--line); } .after { fill: var(--shade); } .wait { stroke: var(--line); }
.life { fill: var(--life); } .detector { fill: var(--detector); } .search { fill: var(--search); }
.key { display: inline-block; width: .7em; height: .7em; margin: 0 .35em 0 1em; }
.key.detector { background: var(--detector); border-radius: 50%; } .key.search { background: var(--search); }
.key.life { background: var(--life); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { padding: .35rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { background: var(--shade); font-weight: 600; }
td.number { text-align: right; } td.number, td.time { white-space: nowrap; } td.which { min-width: 20rem; }
code { font-size: .9em; overflow-wrap: anywhere; } td ul { margin: 0; padding-left: 1.1em; }
"""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_HEAD: Final = """<thead>
<tr><th rowspan="2">first sample, UTC</th><th rowspan="2">node</th>
<th rowspan="2">shell, and why the two differ</th>
<th colspan="2">latency</th><th colspan="2">cpu</th><th colspan="2">memory</th></tr>
<tr><th>detector</th><th>search</th><th>detector</th><th>search</th><th>detector</th><th>search</th></tr>
</thead>"""
_CLASSES: Final = ("time", "time", "which", *["number"] * 6)


def page(found: Comparison, files: Sequence[str]) -> str:
    """The whole document. ``files`` are the names of the captures."""
    return "\n".join(_page(found, files)) + "\n"


def _page(found: Comparison, files: Sequence[str]) -> Iterator[str]:
    yield "<!DOCTYPE html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    names = _shown(", ".join(files))
    yield f"<title>Detector and search: {names}</title><style>{_STYLE}</style></head><body>"
    yield "<h1>The detector and the hourly search</h1>"
    yield f'<p class="note">{names}</p>'
    yield from (f"<p>{_shown(sentence)}.</p>" for sentence in summary(found))
    if found.shells:
        yield "<figure>"
        yield timeline.picture(found.shells)
        yield f"<figcaption>{_key('life', 'samples')}{_key('detector', 'event of the detector')}"
        yield f"{_key('search', 'first run of the search that reports it, and later ones')}. {_rest(found)}"
        yield "The shaded part, after the capture, has a scale of its own.</figcaption></figure>"
        yield "<h2>Shells</h2>"
        yield from _table(found.shells, "shell")
    if found.neither:
        yield "<h2>Seen by neither</h2>"
        yield from _table(found.neither, "neither")
    yield "</body></html>"


def _rest(found: Comparison) -> str:
    shells = len(found.shells)
    return f"The first {timeline.MOST} of {shells} shells. " if shells > timeline.MOST else ""


def _key(which: str, text: str) -> str:
    return f'<span class="key {which}"></span>{text}'


def _table(shells: Iterable[Shell], kind: str) -> Iterator[str]:
    yield f'<div class="wide"><table>{_HEAD}<tbody>'
    for shell in shells:
        cells = (
            f'<td class="{which}">{cell}</td>' for cell, which in zip(_cells(shell), _CLASSES, strict=True)
        )
        yield f'<tr class="{kind}">{"".join(cells)}</tr>'
    yield "</tbody></table></div>"


def _cells(shell: Shell) -> tuple[str, ...]:
    told, reported = shell.told, shell.reported
    why = "".join(f"<li><code>{why.cause}</code>: {_shown(why.text)}</li>" for why in shell.why)
    return (
        moment(shell.first_ns) if shell.first_ns else "-",
        _shown(shell.name.node),
        f"<b>{_shown(f'{shell.name.pid} {shell.name.name}')}</b> <code>{_shown(shell.line)}</code>"
        + (f"<ul>{why}</ul>" if why else ""),
        span(told.latency_ns) if told else "-",
        "<br>".join(span(each.latency_ns) for each in reported) or "-",
        average(told.cpu if told else None),
        "<br>".join(average(each.cpu) for each in reported) or "-",
        average(told.memory if told else None),
        "<br>".join(average(each.memory) for each in reported) or "-",
    )


def _shown(text: str) -> str:
    return escape(one_line(text))
