"""The tables of ``make bench-replay``."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, Final

from bench.circumstances import told

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

WIRE: Final = "ours"
FULL: Final = "full parse and walk"
PARSE: Final = "full parse alone"
"""The readers."""
_MIB: Final = 1 << 20
_MB: Final = 1_000_000
_MS: Final = 1_000
_INTERVAL_S: Final = 10
"""Between two scrapes."""
_STATES: Final = {
    "nothing": "nothing",
    "journal": "a journal of {journal} MiB, none of it decided, after SIGKILL",
    "sessions": "open sessions, all in checkpoints",
    "outbox": "events to deliver",
}


def render(results: Mapping[str, Any]) -> str:
    """Where it was measured, and a table for each part."""
    parts = (
        _day(results["day"]),
        _compared(results["compared"], results["read"]),
        _starts(results["start"]),
    )
    return "\n".join([told(results["here"]) + ".\n", *("\n".join(part) + "\n" for part in parts)])


def _spread(values: Iterable[float], form: str = ",.1f") -> str:
    """The median, and the least and the most."""
    found = list(values)
    return f"{median(found):{form}} ({min(found):{form}}-{max(found):{form}})"


def _day(found: Mapping[str, Any]) -> Iterator[str]:
    rounds, scrapes = found["rounds"], found["scrapes"]
    rate = [scrapes / each["seconds"] for each in rounds]
    megabytes = [each * found["bytes"] / scrapes / _MB for each in rate]
    yield (
        f"`replay` of {scrapes:,} scrapes, {found['bytes'] / _MB:,.0f} MB in a file of"
        f" {found['file_bytes'] / _MB:,.0f} MB; {len(rounds)} rounds, median (least-most):"
    )
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield f"| scrapes/s | {_spread(rate, ',.0f')} |"
    yield f"| times real time | {_spread((each * _INTERVAL_S for each in rate), ',.0f')} |"
    yield f"| MB/s, uncompressed | {_spread(megabytes, ',.0f')} |"
    yield f"| CPU per scrape, ms | {_spread(_cpu_ms(rounds, scrapes), '.2f')} |"
    yield f"| peak RSS, MiB | {_spread((each['peak'] / _MIB for each in rounds), '.0f')} |"


def _cpu_ms(rounds: Iterable[Mapping[str, float]], scrapes: int) -> list[float]:
    return [each["cpu_seconds"] / scrapes * _MS for each in rounds]


def _compared(whole: Mapping[str, Any], read: Mapping[str, Any]) -> Iterator[str]:
    rounds, scrapes = whole["rounds"], whole["scrapes"]
    sides = {side: [each[side] for each in rounds] for side in ("ours", "full")}
    yield (
        f"Beside a full parse with a Python walk, in turn: {scrapes:,} scrapes with start-up, detector and"
        f" encoder, {whole['events']} events, the same bytes from both; and {read['scrapes']} scrapes in"
        f" memory, only read; {len(rounds)} rounds each:"
    )
    yield ""
    yield "| | `replay` | full parse and walk | ratio |"
    yield "|---|---|---|---|"
    rate = {side: [scrapes / each["seconds"] for each in sides[side]] for side in sides}
    yield _row("whole, scrapes/s", ",.0f", rate["ours"], rate["full"], _ratios(rate["ours"], rate["full"]))
    cpu = {side: _cpu_ms(sides[side], scrapes) for side in sides}
    yield _cost("whole", cpu["ours"], cpu["full"])
    ours, walked, parsed = (
        _cpu_ms([each[name] for each in read["rounds"]], read["scrapes"]) for name in (WIRE, FULL, PARSE)
    )
    yield _cost("reading", ours, walked)
    yield _cost("reading, beside the parse without the walk", ours, parsed)


def _row(what: str, form: str, ours: Sequence[float], full: Sequence[float], ratios: Sequence[float]) -> str:
    return f"| {what} | {_spread(ours, form)} | {_spread(full, form)} | {_spread(ratios, '.2f')} |"


def _cost(what: str, ours: Sequence[float], full: Sequence[float]) -> str:
    return _row(f"{what}, CPU per scrape, ms", ".2f", ours, full, _ratios(full, ours))


def _ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Of each round."""
    return [one / other for one, other in zip(above, below, strict=True)]


def _starts(found: Mapping[str, Any]) -> Iterator[str]:
    states = found["states"]
    yield (
        f"`serve`, from the start of its process until it takes requests; {len(states['nothing'])} rounds,"
        " median (least-most):"
    )
    yield ""
    yield "| to read | records in the journal | shells | events that wait | ready after, s | peak RSS, MiB |"
    yield "|---|---|---|---|---|---|"
    for name, title in _STATES.items():
        starts = states[name]
        [one] = {(each["records"], each["sessions"], each["waiting"]) for each in starts}
        counts = " | ".join(f"{each:,}" for each in one)
        seconds = _spread((each["seconds"] for each in starts), ".1f")
        peak = _spread((each["peak"] / _MIB for each in starts), ".0f")
        what = title.format(journal=found["sizes"]["journal"] >> 20)
        yield f"| {what} | {counts} | {seconds} | {peak} |"
