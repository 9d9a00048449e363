"""``demo/run.py`` shows exactly the shells that were started (see ``worker-1.truth.tsv``)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELLS = {
    (23, "bash", "open"),
    (181, "sh", "open"),
    (183, "bash", "open"),
    (197, "tcsh", "open"),
    (199, "csh", "open"),
    (200, "sh", "open"),
    (201, "bash", "open"),
    (231, "sh", "open"),
    (649, "bash", "pid_reused"),
    (649, "bash", "open"),
}
REPORT = {(184, "report.sh", "open")}


def shells_in(output: str) -> list[tuple[int, str, str]]:
    """Pid, name and end of each row of the table."""
    lines = iter(output.splitlines())
    header = next(line for line in lines if line.lstrip().startswith("opened"))
    end = slice(header.index("end"), header.index("command line"))
    rows = []
    for line in lines:
        if not line.strip():
            break
        cells = line.split()  # "+0 s" is two of them
        rows.append((int(cells[2]), cells[3], line[end].strip()))
    return rows


@pytest.mark.parametrize(("match", "expected"), [("name", SHELLS), ("path", SHELLS | REPORT)])
def test_the_demo_shows_exactly_the_shells_that_ran(match: str, expected: set[tuple[int, str, str]]) -> None:
    environment = os.environ | {"DEMO_MATCH": match}
    done = subprocess.run(
        [sys.executable, ROOT / "demo" / "run.py"],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env=environment,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(shells_in(done.stdout)) == sorted(expected)
    assert "kworker" not in done.stdout
    assert {pid for pid, _, _ in shells_in(done.stdout)}.isdisjoint({228, 230, 322})
