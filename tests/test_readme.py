"""What README.md says is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo.test_demo import SHELLS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists(command: str) -> None:
    words = command.split()
    if words[0] == "make":
        done = subprocess.run(["make", "-n", words[1]], cwd=ROOT, capture_output=True, check=False)
    else:
        arguments = [*words[1:], *(["--help"] if words[1] == "serve" else [])]
        done = subprocess.run(
            [sys.executable, "-m", "otel_shell_detector", *arguments], capture_output=True, check=False
        )
    assert done.returncode == 0, done.stderr


def test_the_picture_holds_the_shells_that_the_demo_is_held_to() -> None:
    rows = [line.split() for line in README.splitlines() if re.match(r" *\+\d+ s ", line)]
    ends = [next(cell for cell in row if cell in {"open", "pid_reused"}) for row in rows]
    assert len(rows) == len(SHELLS)
    assert {(int(row[2]), row[3], end) for row, end in zip(rows, ends, strict=True)} == SHELLS
