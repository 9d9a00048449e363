"""``explain`` of captures, held to whole outputs: each file of ``testdata`` begins with its command."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from otel_shell_detector.explain import captures
from otel_shell_detector.explain.asked import Asked
from otel_shell_detector.sources import load
from tests.otlp_receiver.encode import START, cpu, frame, memory, process, request

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
OUTPUTS = sorted((Path(__file__).parent / "testdata").glob("*.txt"))
WORKER_1 = "tests/captures/worker-1.pb"
WORKER_2 = "tests/captures/worker-2.pb.zst"
ADMIN = "d49860c9-1879-568b-a12e-e9f0b503748c"
UNKNOWN = "00000000-0000-5000-8000-000000000000"


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda path: path.stem)
def test_the_output_is_the_one_that_is_held(
    output: Path, explain: Callable[..., tuple[int, str, str]]
) -> None:
    command, _, wanted = output.read_text(encoding="utf-8").partition("\n")
    arguments = shlex.split(command.removeprefix("$ explain "))
    assert explain(*arguments) == (0, wanted, "")
    assert max(map(len, wanted.splitlines())) <= 100


def document(explain: Callable[..., tuple[int, str, str]], *arguments: str) -> Any:
    status, out, err = explain(*arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_an_event_and_its_session_have_one_explanation(explain: Callable[..., tuple[int, str, str]]) -> None:
    by_session = document(explain, ADMIN, WORKER_1)
    for event in by_session["sessions"][0]["events"]:
        assert document(explain, event["event_id"], WORKER_1) == by_session
    assert document(explain, "--pid", "23", WORKER_1) == by_session
    assert document(explain, "--pid", "23", "--node", "worker-1", WORKER_1) == by_session


def test_every_point_has_a_fate_and_every_window_its_sums(
    explain: Callable[..., tuple[int, str, str]],
) -> None:
    told = document(explain, "d794cc00-a9e6-50d1-8cea-fa2121a018e9", WORKER_1)
    first = told["samples"][0]
    assert [(point["state"], point["fate"]) for point in first["points"]] == [
        ("system", "negative"),
        ("user", "negative"),
        ("wait", "counted"),
        ("", "counted"),
    ]
    assert told["points"] == {"counted": 34, "negative": 2, "no_sign_of_life": 5}
    assert sum(window["points"] for window in told["windows"]) == 34
    assert [window["left_out"] for window in told["windows"]] == [None] * 4 + ["not_positive"] * 5
    assert told["windows"][1] == {
        "start": "2026-11-24T02:43:20.000Z",
        "end": "2026-11-24T02:43:30.000Z",
        "session_id": "d794cc00-a9e6-50d1-8cea-fa2121a018e9",
        "points": 4,
        "process.cpu.utilization": told["windows"][1]["process.cpu.utilization.total"] / 3,
        "process.cpu.utilization.total": pytest.approx(0.2727, abs=1e-4),
        "process.memory.utilization": told["windows"][1]["process.memory.utilization"],
        "deadline": "2026-11-24T02:43:35.864Z",
        "closed": "2026-11-24T02:43:35.864Z",
        "left_out": None,
    }


def test_what_explain_says_was_told_is_what_replay_prints(
    explain: Callable[..., tuple[int, str, str]],
) -> None:
    config = ("--config", "tests/expectations/balanced.yaml")
    lines = (ROOT / "tests/expectations/worker-1.balanced.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line)["event"] for line in lines]
    opened = [event for event in events if event["kind"] == "opened"]
    assert len(opened) == 10
    for event in opened:
        told = document(explain, event["event_id"], WORKER_1, *config)["sessions"][-1]
        assert told["session_id"] == event["session_id"]
        assert told["profile"]["row"] == event["graded_by"]
        assert told["result"]["score"] == event["risk_score"] == told["events"][0]["score"]
        assert told["result"]["object"] == event["risk_object"]


def test_several_captures_are_one(explain: Callable[..., tuple[int, str, str]]) -> None:
    alone = document(explain, ADMIN, WORKER_1)
    twice = document(explain, ADMIN, WORKER_1, WORKER_1)
    # Delivered once more: the open windows have it already, the closed ones take nothing.
    assert twice["sessions"][0]["events"] == alone["sessions"][0]["events"]
    assert {name: count for name, count in twice["points"].items() if name in {"late_closed", "counted"}} == {
        "counted": alone["points"]["counted"],
        "late_closed": twice["points"]["late_closed"],
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((UNKNOWN, WORKER_1), f"no event or session {UNKNOWN} in {WORKER_1}\n"),
        (("--pid", "7", WORKER_1, WORKER_2), f"no shell with pid 7 in {WORKER_1}, {WORKER_2}\n"),
        (
            ("--pid", "23", "--node", "worker-9\x1b", WORKER_1),
            f"no shell with pid 23 on node worker-9\\x1b in {WORKER_1}\n",
        ),
    ],
)
def test_what_is_not_there_is_told_with_what_was_searched(
    explain: Callable[..., tuple[int, str, str]], arguments: tuple[str, ...], complaint: str
) -> None:
    assert explain(*arguments) == (1, "", complaint)


def test_a_damaged_capture_is_told_once_and_the_rest_explained(
    explain: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.json"
    damaged.write_bytes((ROOT / "tests/captures/worker-1.json").read_bytes() + b'{"resourceMetrics": [{\n')
    status, out, err = explain(ADMIN, str(damaged))
    assert status == 1
    assert err.count("\n") == 1
    assert err.startswith(f"{damaged}: offset ")
    assert out == explain(ADMIN, WORKER_1)[1]


def test_a_hostile_command_line_reaches_no_terminal(
    explain: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    line = b"bash -c \x1b[2J\r\n\xe2\x80\xae\x9b31m password=hunter2secret " + b"x" * 5000
    shell = process(pid=7, name="bash", command_line=line, owner="evil\x1b]0;x\x07")
    capture = tmp_path / "hostile.bin"
    capture.write_bytes(request(frame(shell)))
    status, out, err = explain("--pid", "7", str(capture))
    assert (status, err) == (0, "")
    assert all(character.isprintable() or character == "\n" for character in out)
    assert max(map(len, out.splitlines())) <= 100
    assert "\\x1b[2J" in out
    assert "hunter2secret" not in out
    told = explain("--pid", "7", str(capture), "--json")[1]
    assert told.isascii()
    assert "hunter2secret" not in told


def test_of_very_many_shells_of_one_pid_the_newest_are_listed(
    explain: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    capture = tmp_path / "many.bin"
    frames = [
        frame(process(pid=7, name="sh"), memory(0.5, start_ns=START + number * 10_000_000_000))
        for number in range(60)
    ]
    capture.write_bytes(request(*frames))
    told = document(explain, "--pid", "7", str(capture))
    starts = [shell["process.start_time"] for shell in told["shells"]]
    assert len(starts) == 50
    assert starts == sorted(starts)
    assert told["shells_cut"] is True
    assert explain("--pid", "7", str(capture))[1].startswith(
        "50 shells, the newest last, older ones left out; explain one of them by its session\n"
    )


def test_of_a_sample_with_very_many_points_the_first_are_shown(
    explain: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    capture = tmp_path / "points.bin"
    states = [(f"state-{number}", 0.5) for number in range(1000)]
    capture.write_bytes(request(frame(process(pid=7, name="sh"), cpu(*states))))
    told = document(explain, "--pid", "7", str(capture))
    assert len(told["samples"][0]["points"]) == 50
    assert (told["points"], told["points_cut"]) == ({"counted": 1000}, 950)


def test_of_a_long_life_the_first_and_the_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(None, {})
    files = [ROOT / WORKER_1]
    whole, _ = captures.explain_captures(settings, Asked(id=ADMIN), files, 0)
    monkeypatch.setattr(captures, "MOST_SAMPLES", 3)
    told, _ = captures.explain_captures(settings, Asked(id=ADMIN), files, 0)
    for name in ("samples", "windows"):
        assert told[name] == whole[name][:3] + whole[name][-3:]
        assert told[f"{name}_cut"] == len(whole[name]) - 6 > 0
    assert told["points"] == whole["points"]
