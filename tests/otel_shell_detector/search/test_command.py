"""``replay --search-exact`` as a user meets it."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import pytest

from otel_shell_detector.captures import Request, requests
from otel_shell_detector.cli import main
from otel_shell_detector.search.command import SearchRun
from otel_shell_detector.search.spl import Search

TESTS = Path(__file__).parents[2]
CAPTURE = str(TESTS / "captures" / "worker-1.pb")
EXPECTED = (TESTS / "expectations" / "search" / "worker-1.jsonl").read_text("utf-8")
PIDS = ["181", "183", "197", "199", "200", "201", "23", "231", "649"]
FIELDS = [
    "host",
    "k8s.cluster.name",
    "k8s.node.name",
    "process.pid",
    "process.executable.name",
    "process.cpu.utilization",
    "process.memory.utilization",
]


def test_worker_1_gives_the_nine_rows_of_the_search(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--search-exact", CAPTURE]) == 0
    assert capsys.readouterr() == (EXPECTED, "")
    rows = [json.loads(line) for line in EXPECTED.splitlines()]
    assert [list(row) for row in rows] == [FIELDS] * 9
    assert [row["process.pid"] for row in rows] == [
        "181",
        "183",
        "197",
        "199",
        "200",
        "201",
        "23",
        "231",
        "649",
    ]


def test_another_form_of_the_capture_and_another_configuration_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("detector: {executables: [zsh], window: 20s, cluster_name: other}\n")
    for path in ("worker-1.json", "worker-1.pb"):
        arguments = ["replay", "--search-exact", "--config", str(config), str(TESTS / "captures" / path)]
        assert main(arguments) == 0
        assert capsys.readouterr().out == EXPECTED


def test_bounds_are_epoch_seconds_or_rfc_3339(capsys: pytest.CaptureFixture[str]) -> None:
    # The first owner of pid 649 alone: three states, together the 29.25 % of the picture in README.md.
    outputs = []
    for latest in (
        "1795488190",
        "1795488190.000",
        "2026-11-24T02:43:10Z",
        "2026-11-24T03:43:10.000000000+01:00",
    ):
        assert main(["replay", "--search-exact", "--latest", latest, CAPTURE]) == 0
        outputs.append(capsys.readouterr().out)
    assert len(set(outputs)) == 1
    (row,) = (row for line in outputs[0].splitlines() if (row := json.loads(line))["process.pid"] == "649")
    assert round(3 * row["process.cpu.utilization"], 4) == 0.2925


def test_a_range_without_points_gives_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--search-exact", "--latest", "1", CAPTURE]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "-1",
        "",
        "1e9",
        "1800000000.0000000001",
        "12345678901",
        "2027-01-15T08:00:00",
        "2027-01-15",
        "2027-02-30T08:00:00Z",
        "2027-01-15T08:00:00+25:00",
    ],
)
def test_a_wrong_time_is_status_2_and_one_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--search-exact", f"--earliest={text}", CAPTURE]) == 2
    expected = (
        f'--earliest: got "{text}"; want epoch seconds or RFC 3339 with a zone, at most nine decimals: '
        "1800000000.5 or 2027-01-15T08:00:00Z\n"
    )
    assert capsys.readouterr() == ("", expected)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--earliest=5", "--latest=5"], "--latest: want a time after --earliest"),
        (["--close-at-end"], "--close-at-end: not with --search-exact: the search has no sessions"),
        (["--policy", "p.yaml"], "--policy: not with --search-exact: the search has no sessions"),
        (["--report", "r.json"], "--report: not with --search-exact: the search has no sessions"),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    options: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", "--search-exact", *options, CAPTURE]) == 2
    assert capsys.readouterr() == ("", f"{complaint}\n")


def test_what_is_damaged_is_named_and_the_rest_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.pb"
    broken.write_bytes(Path(CAPTURE).read_bytes() + b"\x00\x00")
    assert main(["replay", "--search-exact", str(broken)]) == 1
    out, err = capsys.readouterr()
    assert out == EXPECTED
    assert re.fullmatch(r".*broken\.pb: offset [0-9]+: a length is cut, 2 of 4 bytes are there\n", err)


def test_the_help_says_how_a_time_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["replay", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "the first time that counts: epoch seconds or RFC 3339 with a zone, at most nine decimals" in text


def test_what_is_kept_does_not_grow_with_the_points() -> None:
    bodies = [item.body for item in requests(Path(CAPTURE)) if isinstance(item, Request)]
    sizes = []
    for times in (1, 40):
        search = Search()
        run = SearchRun(search, max_resources=1000)
        for body in bodies * times:
            run.feed(body)
        sizes.append(len(pickle.dumps(search)))
        assert [row.key.pid for row in search.rows()] == PIDS
    # A sum of 40 times as many points has a few more digits.
    assert sizes[1] < 1.02 * sizes[0]
