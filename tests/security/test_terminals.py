"""What commands print about files and events of strangers moves no terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from otel_shell_detector.cli import main
from tests.otel_shell_detector.conftest import logging_restored, no_variables  # noqa: F401  # fixtures
from tests.otlp_receiver.encode import frame, memory, process, request
from tests.security.evidence import hostile_node
from tests.security.hostile import HOSTILE, as_bytes

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("logging_restored", "no_variables")
# What a file may be called; half of a pair only as the name of bytes that are no UTF-8.
NAMES = [text for text in HOSTILE if not set(text) & set("\0/\ud800\udfff")] + [os.fsdecode(b"\xff\x9b")]


def obeyed(lines: str) -> list[str]:
    """The lines in which is something that a terminal obeys, or that nobody sees."""
    return [line for line in lines.split("\n") if not line.isprintable()]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("content", [None, b"no capture", b"\x0a\xff\xff"], ids=["missing", "other", "cut"])
def test_a_complaint_of_replay_is_one_printable_line(
    name: str, content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    assert main(["replay", str(file)]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), obeyed(err)) == ("", 1, [])


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_complaint_of_a_configuration_is_one_printable_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    for content in (None, b"\xff", f"a{name}: 1".encode(errors="replace"), b"log: {level: '\x1b[2J'}"):
        if content is not None:
            file.write_bytes(content)
        assert main(["check-config", "--config", str(file)]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n"), obeyed(err)) == ("", 1, [])


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_replay_prints_is_a_line_for_each_event_that_no_terminal_obeys(
    text: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    raw = as_bytes(text)
    attributes = process(7, path=b"/bin/" + raw, owner=raw, command_line=b"bash -c " + raw)
    file = tmp_path / "capture.pb"
    file.write_bytes(request(frame(attributes, memory(1.0), node=hostile_node(raw))))
    assert main(["replay", str(file)]) == 0
    out, err = capfdbinary.readouterr()
    assert (out.count(b"\n"), err) == (1, b"")
    # zero-width space and noncharacter are text: no terminal acts on them
    assert obeyed(out.decode().translate({0x200B: None, 0xFFFE: None})) == []
