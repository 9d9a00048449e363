"""What people and programs are shown."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from otel_shell_detector.cli import main
from otel_shell_detector.comparison import page, text, timeline
from otel_shell_detector.comparison.words import many, moment, span
from tests.otel_shell_detector.comparison.scenes import compared, cpu, frame, mem, other, shell
from tests.otlp_receiver.encode import NODE, process

CAPTURES = Path(__file__).parents[2] / "captures"
HOSTILE = '"><script>alert(1)</script>\x1b[2J\u202e&amp;\x00\n'


def hostile() -> bytes:
    resource = NODE | process(7, "bash", command_line=HOSTILE, owner=HOSTILE) | {"k8s.node.name": HOSTILE}
    return frame(resource, mem(-1000, 1.0))


class Seen(HTMLParser):
    """Tags by name and class, and the texts of a document."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, str]] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs).get("class") or ""))
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_capture_without_shells_is_told_in_one_sentence() -> None:
    found = compared(frame(NODE | process(1, "systemd"), mem(-1000, 1.0)))
    assert text.table(found).splitlines() == [
        "0 shells: the detector sees 0; the search sees 0, in 0 rows of 1 run (2027-01-15 09:00:00 UTC)",
        "Behind its first positive sample: detector -, search -",
    ]
    assert json.loads(text.as_json(found)) == {
        "runs": [{"time": 1800003600.0, "rows": 0}],
        "shells": [],
        "seen_by_neither": [],
    }
    assert "<svg" not in page.page(found, ["x"])


def test_several_runs_are_counted_not_listed() -> None:
    found = compared(*(other(at) for at in (-8000, -5000, -1000)))
    assert text.table(found).startswith(
        "0 shells: the detector sees 0; the search sees 0, in 0 rows of 3 runs\n"
    )


def test_a_shell_in_two_runs_has_two_averages_on_the_page_and_the_first_in_the_table() -> None:
    found = compared(shell(cpu(-610, 0.5)), shell(cpu(-600, 0.25)))
    row = text.table(found).splitlines()[4]
    told = "2027-01-15 08:49:50  worker-1    7  bash    15.0 s  10 min 10 s"
    assert row == f"{told}          0.375     0.5                 -       -"
    assert '<td class="number">10 min 10 s<br>1 h 10 min</td>' in page.page(found, ["x"])


@pytest.mark.parametrize("shown", [text.table, text.as_json])
def test_nothing_that_a_terminal_obeys_is_printed(shown: object) -> None:
    assert callable(shown)
    out = shown(compared(hostile()))
    assert "script" in out
    assert all(character.isprintable() or character == "\n" for character in out)


def test_what_an_attacker_wrote_is_text_on_the_page() -> None:
    found = compared(hostile())
    document = page.page(found, [f"{HOSTILE}.pb"])
    plain, attacked = Seen(page.page(compared(shell(mem(-1000, 1.0))), ["x"])), Seen(document)
    assert attacked.tags == plain.tags
    assert attacked.attributes == plain.attributes
    assert '"><script>alert(1)</script>\\x1b[2J\\u202e&amp;\\x00\\n' in attacked.text
    assert all(character.isprintable() or character == "\n" for character in document)


def test_the_page_needs_nothing_else() -> None:
    document = page.page(compared(shell(mem(-1000, 1.0))), ["x"])
    seen = Seen(document)
    assert not {"script", "link", "img", "iframe", "object", "form"} & {tag for tag, _ in seen.tags}
    assert not {"src", "href", "onclick", "onload"} & seen.attributes
    assert not re.search(r"https?:|url\(|@import", document)
    assert "default-src 'none'" in document


def test_the_page_of_worker_1_has_ten_rows_and_the_zombie(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "report.html"
    assert main(["compare", "--html", str(target), str(CAPTURES / "worker-1.pb")]) == 0
    printed, err = capsys.readouterr()
    assert err == ""
    seen = Seen(target.read_text("utf-8"))
    for tag, kind, how_many in (
        ("tr", "shell", 10),
        ("g", "shell", 10),
        ("circle", "detector", 10),
        ("rect", "search", 10),
        ("tr", "neither", 1),
    ):
        assert seen.tags.count((tag, kind)) == how_many, (tag, kind)
    for sentence in printed.splitlines()[:2]:
        assert f"{sentence}." in seen.text


def test_a_picture_shows_the_first_shells_of_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared(*(shell(mem(-1000 + pid, 1.0), pid=pid) for pid in range(1, 6)))
    assert timeline.picture(found.shells, most=3).count('<g class="shell">') == 3
    assert "The first" not in page.page(found, ["x"])
    monkeypatch.setattr(timeline, "MOST", 3)
    assert "The first 3 of 5 shells. " in page.page(found, ["x"])


def test_without_a_run_that_reports_the_capture_takes_the_whole_width() -> None:
    picture = timeline.picture(compared(shell(mem(-1000, 1.0), without="host.name")).shells)
    assert 'class="after"' not in picture
    assert 'class="search"' not in picture
    assert f'<circle class="detector" cx="{timeline.WIDTH - 20}' in picture


def test_a_row_of_the_search_alone_has_no_event_in_the_picture() -> None:
    picture = timeline.picture(compared(shell(mem(-1000, 1.0), pid="7")).shells)
    assert 'class="search"' in picture
    assert "<circle" not in picture


def test_a_page_that_cannot_be_written_is_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "no" / "report.html"
    assert main(["compare", "--html", str(target), str(CAPTURES / "worker-4.pb")]) == 1
    assert capsys.readouterr().err == f"--html: {target}: No such file or directory\n"


def test_a_page_never_replaces_a_capture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capture, link = tmp_path / "capture.json", tmp_path / "link.json"
    data = (CAPTURES / "worker-4.json").read_bytes()
    capture.write_bytes(data)
    link.symlink_to(capture)
    assert main(["compare", "--html", str(link), str(tmp_path / "missing"), str(capture)]) == 2
    assert capsys.readouterr() == (
        "",
        f"--html: got {link}, which is one of the captures; want another file\n",
    )
    assert capture.read_bytes() == data


def test_a_page_replaces_an_older_one(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("old", encoding="utf-8")
    assert main(["compare", "--html", str(target), str(CAPTURES / "worker-4.pb")]) == 0
    assert target.read_text("utf-8").startswith("<!DOCTYPE html>")


def test_a_damaged_capture_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.pb"
    broken.write_bytes((CAPTURES / "worker-4.pb").read_bytes()[:-1])
    assert main(["compare", str(broken)]) == 1
    assert "broken.pb: offset " in capsys.readouterr().err


def test_times_are_words() -> None:
    seconds = [0, 59.94, 60, 3599, 3600, 4260]
    assert [span(round(each * 1e9)) for each in seconds] == [
        "0.0 s",
        "59.9 s",
        "1 min 00 s",
        "59 min 59 s",
        "1 h 00 min",
        "1 h 11 min",
    ]
    assert moment(2**63 - 1) == "2262-04-11 23:47:16"
    assert [many(number, "row") for number in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
