"""What is counted is what it is called, and what has grown is told."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bench import callgrind, counts, counts_page, parts
from bench.baseline import RESULTS, differences, environment
from bench.callgrind import CannotCountError
from bench.counts import Counted, by_part, check, failures
from bench.page import ROOT, read_results, write_results
from bench.workload import later, scrape
from exporter.redaction import Redactor
from otlp_receiver.reading import read_request
from otlp_receiver.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from detector.types import Record

SELECTION = Selection(("sh", "bash", "csh", "tcsh"), Redactor(()).clean)
HERE = {"python": "CPython 3.11.7", "valgrind": "3.19.0"}
ELSEWHERE = HERE | {"python": "CPython 3.13.0"}
MARK = "import os; mark = lambda: os.getpgid(0)\n"


def read(body: bytes) -> Record:
    [record] = read_request(body, SELECTION).records
    return record


def times(record: Record) -> list[int]:
    return [
        *record.probe_times_ns,
        *(sample.time_ns for sample in record.samples),
        *(point.time_ns for sample in record.samples for point in sample.points),
    ]


def part(name: str, instructions: int) -> Counted:
    return Counted(name, instructions, (instructions,) * 3)


def kept(root: Path, found: Sequence[Counted]) -> None:
    """Make the counts the baseline of a project, counted :data:`HERE`."""
    (root / RESULTS.parent).mkdir(parents=True)
    results = {
        "environment": HERE,
        "parts": [{"name": each.name, "instructions": each.instructions} for each in found],
    }
    write_results(RESULTS.stem, results, root / RESULTS.parent)


def git(root: Path, *arguments: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(root), *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("shells", parts.SHELLS)
def test_a_later_scrape_is_the_same_but_for_its_times(shells: int) -> None:
    body = scrape(shells)
    before, after = read(body), read(later(body, 3))
    assert len(after.samples) == shells
    assert times(after) == [time_ns + 30_000_000_000 for time_ns in times(before)]
    assert [sample.start_ns for sample in after.samples] == [sample.start_ns for sample in before.samples]


def test_every_part_does_what_it_is_called_and_says_how_often(tmp_path: Path) -> None:
    counts.write_requests(tmp_path)
    command = [sys.executable, "-P", "bench/parts.py", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = "".join(f"{name} 3 10\n" for name in parts.PARTS)
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


def test_a_count_is_the_median_of_the_rounds_behind_the_mark_that_ends_the_preparation() -> None:
    found = by_part("wire 3 10\nstore 2 1\n", (999, 120, 100, 110, 888, 7, 9))
    assert found == [Counted("wire", 11, (12, 10, 11)), Counted("store", 8, (7, 9))]


@pytest.mark.parametrize(
    ("said", "marks"),
    [("wire 3 10\n", (999, 120, 100)), ("wire 3 10\n", (999, 120, 100, 110, 5)), ("", ()), ("", (1,))],
    ids=["too few", "too many", "nothing", "nothing said"],
)
def test_marks_that_are_not_those_of_the_parts_are_no_counts(said: str, marks: tuple[int, ...]) -> None:
    with pytest.raises(CannotCountError, match=r"^callgrind saw \d marks, which are not those of: "):
        by_part(said, marks)


def test_a_part_that_is_new_and_one_that_is_gone_fail_too() -> None:
    assert failures({"wire": 104, "new": 1}, {"wire": 100, "gone": 1}) == [
        "new has no baseline",
        "gone is in the baseline and is not counted",
    ]


@pytest.mark.parametrize(
    ("baseline", "status", "said"),
    [
        (940, 1, "store has grown by 6.4%. If that is meant: make bench-check WRITE=1\n"),
        (960, 0, ""),
        (2000, 0, ""),
    ],
    ids=["6 % lower", "4 % lower", "higher"],
)
def test_a_count_more_than_five_percent_above_its_baseline_fails_by_name(
    baseline: int, status: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(tmp_path, [part("wire", 500), part("store", baseline)])
    assert check(tmp_path, lambda _: [part("wire", 500), part("store", 1000)], HERE) == status
    assert capsys.readouterr().err == said


def test_without_a_baseline_nothing_passes(tmp_path: Path) -> None:
    with pytest.raises(CannotCountError, match=r"want a baseline: make bench-check WRITE=1$"):
        check(tmp_path, lambda _: [part("wire", 1)], HERE)


def test_what_was_written_is_the_baseline_from_then_on(tmp_path: Path) -> None:
    kept(tmp_path, [part("wire", 1)])
    found = [part("wire", 500)]
    assert check(tmp_path, lambda _: found, HERE) == 1
    counts.write(tmp_path, lambda _: found, HERE)
    assert check(tmp_path, lambda _: found, HERE) == 0
    results = read_results(RESULTS.stem, tmp_path / RESULTS.parent)
    assert results["parts"] == [
        {
            "name": "wire",
            "what": parts.PARTS["wire"].what,
            "instructions": 500,
            "rounds": [500, 500, 500],
        }
    ]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A project whose baseline was counted :data:`HERE`, at a cost of 1000; later it has become 1040."""
    root = tmp_path / "project"
    root.mkdir()
    kept(root, [part("wire", 100)])
    (root / "cost").write_text("1000")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "write the baseline")
    (root / "cost").write_text("1040")
    git(root, "commit", "--quiet", "--all", "--message", "change the code")
    return root


def count_cost(checkout: Path) -> list[Counted]:
    return [part("wire", int((checkout / "cost").read_text()))]


@pytest.mark.parametrize(("cost", "status"), [(1040, 0), (1060, 1)])
def test_elsewhere_the_commit_that_wrote_the_baseline_is_counted_too(
    elsewhere: Path, cost: int, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "cost").write_text(str(cost))
    assert check(elsewhere, count_cost, ELSEWHERE) == status
    commit = git(elsewhere, "rev-parse", "--short=7", "HEAD~1")
    told = capsys.readouterr().out
    assert "here is python CPython 3.13.0, not CPython 3.11.7\n" in told
    assert f"so {commit}, which wrote it, is counted here too\n" in told


def test_elsewhere_a_cut_history_is_refused_for_it_may_lack_that_commit(
    elsewhere: Path, tmp_path: Path
) -> None:
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=1", elsewhere.as_uri(), str(shallow))
    with pytest.raises(CannotCountError, match=r"^the history is cut: "):
        check(shallow, count_cost, ELSEWHERE)


def test_a_difference_of_environments_is_told_by_name() -> None:
    assert differences(HERE, HERE) == []
    assert differences({"python": "CPython 3.11.7"}, HERE) == ["valgrind 3.19.0, not None"]


def test_the_section_of_the_page_has_a_row_for_each_part() -> None:
    results: Any = {
        "circumstances": {"date": "2026-01-02 03:04 UTC", "versions": "apsw 1"},
        "environment": HERE,
        "often": 10,
        "parts": [{"name": "wire", "what": "scan", "instructions": 2500000, "rounds": [100, 103, 101]}],
    }
    assert counts_page.render(results) == (
        "| part | what is done once | instructions | spread |\n"
        "|---|---|---|---|\n"
        "| wire | scan | 2,500,000 | 3.0% |\n"
        "\n"
        "Counted 2026-01-02 03:04 UTC: python CPython 3.11.7, valgrind 3.19.0; apsw 1.\n"
        "The median of 3 rounds of 10.\n"
    )


@pytest.fixture
def valgrind() -> None:
    """Valgrind; without it the test is skipped, or fails under CI."""
    if shutil.which("valgrind") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("valgrind is missing")
        pytest.skip("valgrind is missing")


@pytest.mark.usefixtures("valgrind")
@pytest.mark.slow
def test_valgrind_counts_what_is_between_two_marks(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        f"{MARK}def work(often):\n    for _ in range(often): mark.__name__\n"
        "work(1000); mark(); work(1000); mark(); work(1000); mark(); work(3000); mark(); print('done')\n"
    )
    counted = callgrind.count([sys.executable, "-P", str(program)], ROOT)
    _, once, again, thrice = counted.before_mark
    assert counted.said == "done\n"
    assert again == pytest.approx(once, rel=0.01)
    assert thrice == pytest.approx(3 * once, rel=0.05)
    assert re.fullmatch(r"\d+\.\d+\.\d+", environment()["valgrind"])


@pytest.mark.usefixtures("valgrind")
@pytest.mark.slow
def test_a_program_that_fails_is_not_counted(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("raise SystemExit('want two shells')")
    with pytest.raises(CannotCountError, match=r"exit status 1: .*(?s:.)*want two shells"):
        callgrind.count([sys.executable, "-P", str(program)], ROOT)
