from __future__ import annotations

import io
import sys

import pytest

from otel_shell_detector.captures.progress import ProgressBar, progress_line

MIB = 1 << 20


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(Terminal):
    def write(self, text: str) -> int:
        raise BrokenPipeError


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("done", "total", "seconds", "expected"),
    [
        (0, 2 * MIB, 0.0, "a.pb [                        ]   0 %  0 B of 2.0 MiB"),
        (MIB, 2 * MIB, 0.5, "a.pb [############            ]  50 %  1.0 MiB of 2.0 MiB  2.0 MiB/s"),
        (2 * MIB, 2 * MIB, 4.0, "a.pb [########################] 100 %  2.0 MiB of 2.0 MiB  512.0 KiB/s"),
        (3 * MIB, 2 * MIB, 1.0, "a.pb [########################] 100 %  3.0 MiB of 2.0 MiB  3.0 MiB/s"),
        (1023, None, 1.0, "a.pb  1023 B  1023 B/s"),
        (5000 * 1024 * MIB, None, 0.0, "a.pb  5000.0 GiB"),
    ],
)
def test_a_line_says_how_far_and_how_fast(
    done: int, total: int | None, seconds: float, expected: str
) -> None:
    assert progress_line("a.pb", done, total, seconds) == expected


def test_the_line_is_written_ten_times_a_second_at_most_and_erased_at_the_end() -> None:
    terminal, clock = Terminal(), Clock()
    with ProgressBar("a.pb", stream=terminal, clock=clock) as bar:
        bar(1, 4)
        bar(2, 4)
        clock.now += 0.1
        bar(4, 4)
    erase = "\r\x1b[K"
    assert terminal.getvalue() == (
        erase + "a.pb [######                  ]  25 %  1 B of 4 B"
        + erase + "a.pb [########################] 100 %  4 B of 4 B  40 B/s"
        + erase
    )  # fmt: skip


def test_nothing_is_erased_that_was_not_written() -> None:
    terminal = Terminal()
    with ProgressBar("a.pb", stream=terminal):
        pass
    assert terminal.getvalue() == ""


def test_nothing_is_written_where_nobody_looks() -> None:
    stream = io.StringIO()
    with ProgressBar("a.pb", stream=stream) as bar:
        bar(1, 4)
    assert stream.getvalue() == ""
    assert not bar.enabled


def test_the_standard_error_is_where_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    ProgressBar("a.pb")(1, 4)
    assert "a.pb" in terminal.getvalue()


def test_a_line_fits_the_terminal_and_a_name_cannot_move_its_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    terminal = Terminal()
    ProgressBar("a\x1b[2J.pb", stream=terminal)(1, 4)
    assert terminal.getvalue() == "\r\x1b[Ka?[2J.pb [######   "


def test_a_terminal_that_goes_away_does_not_end_the_reading() -> None:
    ProgressBar("a.pb", stream=Gone())(1, 4)
