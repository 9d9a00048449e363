"""The arguments of ``explain``, and what is said of those that are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_shell_detector.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ID = "d49860c9-1879-568b-a12e-e9f0b503748c"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "explain: got nothing to explain; want EVENT_ID, SESSION_ID or --pid PID\n"),
        (
            ("7\x1b",),
            'explain: got "7\\u001b"; want the event_id or session_id of an event, or --pid PID\n',
        ),
        ((ID, "--node", "worker-1"), "explain --node: want --pid with it\n"),
    ],
)
def test_wrong_arguments_are_told_in_a_line(
    explain: Callable[..., tuple[int, str, str]], arguments: tuple[str, ...], complaint: str
) -> None:
    assert explain(*arguments) == (2, "", complaint)


@pytest.mark.parametrize("pid", ["", "-1", "x", "1.5", "9" * 20, "\N{ARABIC-INDIC DIGIT ONE}"])
def test_a_pid_is_a_number(
    pid: str, capsys: pytest.CaptureFixture[str], no_variables: None, logging_restored: None
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["explain", f"--pid={pid}"])
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert "argument --pid: got " in told
    assert told.count("\n") == 1


def test_without_a_state_nothing_is_made(
    explain: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SHELL_DETECTOR_STATE__PATH", str(tmp_path / "none"))
    complaint = f"no service runs, and there is no state at {tmp_path}/none/state.db\n"
    assert explain(ID) == (1, "", complaint)
    assert list(tmp_path.iterdir()) == []


def test_an_id_is_taken_as_a_search_page_may_paste_it(
    explain: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    capture = tmp_path / "empty.json"
    capture.write_bytes(b"")
    assert explain(f" {ID.upper()}\n", str(capture))[2].startswith(f"no event or session {ID} in ")
