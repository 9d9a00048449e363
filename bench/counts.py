"""What the hot path costs in instructions, held to a baseline.

    python -m bench.counts [--write | --compare CHECKOUT]

Counts each of :data:`bench.parts.PARTS` and compares with the baseline, ``bench/results/counts.json``. The
exit status is 1 if one has grown by more than :data:`TOLERANCE`, and 2 if that cannot be told. ``--write``
makes what is counted the baseline. ``--compare`` takes another checkout for it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import baseline, callgrind, workload
from bench.baseline import RESULTS, differences, writer
from bench.callgrind import CannotCountError
from bench.circumstances import here
from bench.page import ROOT, read_results, write_results
from bench.parts import OFTEN, PARTS, REQUESTS, SHELLS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Count = Callable[[Path], "Sequence[Counted]"]
    """Counts the parts in a checkout."""

TOLERANCE: Final = 0.05
_PARTS_FILE: Final = Path("bench/parts.py")


@dataclass(frozen=True, slots=True)
class Counted:
    """Of a part: instructions of doing it once, as the median of rounds, and of each round."""

    name: str
    instructions: int
    rounds: tuple[int, ...]


def count_parts(checkout: Path) -> list[Counted]:
    """Count the parts that a checkout names; ours if it is older. Raises :class:`CannotCountError`."""
    program = checkout / _PARTS_FILE
    if not program.exists():
        program = ROOT / _PARTS_FILE
    with tempfile.TemporaryDirectory() as name:
        write_requests(Path(name))
        counted = callgrind.count([sys.executable, "-P", str(program), name], checkout)
    return by_part(counted.said, counted.before_mark)


def write_requests(folder: Path) -> None:
    """The requests that the parts want."""
    for shells in SHELLS:
        body = workload.scrape(shells)
        (folder / str(shells)).mkdir()
        for number in range(REQUESTS):
            (folder / str(shells) / str(number)).write_bytes(workload.later(body, number))


def by_part(said: str, before_mark: Sequence[int]) -> list[Counted]:
    """Whose the counts are, by what the program said. Raises :class:`CannotCountError`."""
    found = []
    left = list(before_mark)
    for line in said.splitlines():
        name, rounds, often = line.split()
        _, *mine = left[: int(rounds) + 1]  # the first is of making it ready
        left = left[int(rounds) + 1 :]
        each = tuple(count // int(often) for count in mine)
        if len(each) != int(rounds):
            break
        found.append(Counted(name, int(statistics.median(each)), each))
    if left or len(found) != len(said.splitlines()) or not found:
        raise CannotCountError(f"callgrind saw {len(before_mark)} marks, which are not those of: {said}")
    return found


def failures(found: Mapping[str, int], wanted: Mapping[str, int]) -> list[str]:
    """Why the counts are not as they should be; nothing if they are."""
    gone = [f"{name} is in the baseline and is not counted" for name in wanted if name not in found]
    unknown = [f"{name} has no baseline" for name in found if name not in wanted]
    grown = [
        f"{name} has grown by {change:.1%}"
        for name, count in found.items()
        if name in wanted and (change := count / wanted[name] - 1) > TOLERANCE
    ]
    return [*grown, *unknown, *gone]


def compare(found: Sequence[Counted], wanted: Mapping[str, int]) -> int:
    """Print the counts beside the baseline; the exit status."""
    for part in found:
        line = f"{part.name:<12}{part.instructions:>14,}"
        if part.name in wanted:
            line += f"{wanted[part.name]:>14,}  {part.instructions / wanted[part.name] - 1:+.1%}"
        print(line)
    wrong = failures(_instructions(found), wanted)
    for each in wrong:
        print(f"{each}. If that is meant: make bench-check WRITE=1", file=sys.stderr)
    return int(bool(wrong))


def check(root: Path, count: Count, environment: Mapping[str, str]) -> int:
    """Compare with the baseline, in this environment; the exit status. Raises :class:`CannotCountError`."""
    try:
        kept = read_results(RESULTS.stem, root / RESULTS.parent)
    except OSError as error:
        raise CannotCountError(f"{error}: want a baseline: make bench-check WRITE=1") from error
    apart = differences(kept["environment"], environment)
    if not apart:
        return compare(_count(count, root), {part["name"]: part["instructions"] for part in kept["parts"]})
    print(f"the baseline was counted elsewhere: here is {'; '.join(apart)}")
    with writer(root) as (commit, checkout):
        print(f"so {commit[:7]}, which wrote it, is counted here too")
        wanted = _instructions(_count(count, checkout))
    return compare(_count(count, root), wanted)


def write(root: Path, count: Count, environment: Mapping[str, str]) -> None:
    """Make what is counted the baseline."""
    found = _count(count, root)
    results = {
        "circumstances": here(),
        "environment": environment,
        "often": OFTEN,
        "parts": [asdict(part) | {"what": PARTS[part.name].what} for part in found],
    }
    write_results(RESULTS.stem, results, root / RESULTS.parent)
    print(f"{RESULTS}: {len(found)} parts are the baseline now")


def _count(count: Count, checkout: Path) -> Sequence[Counted]:
    print(f"counting in {checkout}, for about a minute ...", flush=True)
    return count(checkout)


def _instructions(found: Sequence[Counted]) -> dict[str, int]:
    return {part.name: part.instructions for part in found}


def main() -> int:
    """Count; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true", help="make what is counted the baseline")
    what.add_argument(
        "--compare", type=Path, metavar="CHECKOUT", help="take another checkout for the baseline"
    )
    asked = parser.parse_args()
    try:
        if asked.write:
            write(ROOT, count_parts, baseline.environment())
            return 0
        if asked.compare:
            other = _instructions(_count(count_parts, asked.compare.resolve()))
            return compare(_count(count_parts, ROOT), other)
        return check(ROOT, count_parts, baseline.environment())
    except CannotCountError as error:
        print(f"bench-check: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
