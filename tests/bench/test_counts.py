"""The command that counts instructions handles what it says it counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from exporter.redaction import Redactor
from otlp_receiver.reading import read_request
from otlp_receiver.selection import Selection
from tools.count_instructions import CAPTURES, HANDLER, later

if TYPE_CHECKING:
    from detector.types import Record

ROOT = Path(__file__).parents[1]
SELECTION = Selection(("sh", "bash", "csh", "tcsh"), Redactor(()).clean)


def read(body: bytes) -> Record:
    [record] = read_request(body, SELECTION).records
    return record


def times(record: Record) -> list[int]:
    return [
        *record.probe_times_ns,
        *(sample.time_ns for sample in record.samples),
        *(point.time_ns for sample in record.samples for point in sample.points),
    ]


@pytest.mark.parametrize(("capture", "shells"), list(zip(CAPTURES.values(), (0, 2), strict=True)))
def test_a_later_scrape_is_the_same_but_for_its_times(capture: str, shells: int) -> None:
    body = (ROOT / "tests/captures" / capture).read_bytes()
    before, after = read(body), read(later(body, 3))
    assert len(after.samples) == shells
    assert times(after) == [time_ns + 30_000_000_000 for time_ns in times(before)]
    assert [sample.start_ns for sample in after.samples] == [sample.start_ns for sample in before.samples]


def test_what_is_counted_runs(tmp_path: Path) -> None:
    body = (ROOT / "tests/captures" / CAPTURES["with two shells"]).read_bytes()
    for number in range(3):
        (tmp_path / str(number)).write_bytes(later(body, number))
    command = [sys.executable, str(HANDLER), str(tmp_path), "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
