"""Instructions of a program between marks that it sets itself, counted by valgrind's callgrind.

A mark is a call of ``getpgid``, which nothing else calls: callgrind writes down what it counted since the
mark before, and begins anew. So start-up is not counted, and one run gives several counts.

What is counted is what the processor that valgrind imitates would do: the same for every processor with the
same vector instructions, however busy the machine is.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_NO_STRING_INSTRUCTIONS: Final = ":".join(
    f"glibc.cpu.x86_rep_{name}_threshold={1 << 30}" for name in ("movsb", "stosb")
)
"""Of one that copies memory each byte counts, and whether a block is copied or grows in place is luck."""
TIMEOUT_S: Final = 600
_TOTALS: Final = re.compile(r"^totals: (\d+)$", re.MULTILINE)


class CannotCountError(Exception):
    """There are no counts; the message says why."""


def _valgrind() -> str:
    found = shutil.which("valgrind")
    if found is None:
        raise CannotCountError("valgrind is missing: want it installed, on Linux")
    return found


def version() -> str:
    """The version of valgrind. Raises :class:`CannotCountError`."""
    done = subprocess.run([_valgrind(), "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip().removeprefix("valgrind-")


@dataclass(frozen=True, slots=True)
class Counted:
    """``before_mark``: instructions up to each mark, from the one before. ``said``: the program's output."""

    before_mark: tuple[int, ...]
    said: str


def count(command: Sequence[str], python_path: Path) -> Counted:
    """Run a Python program under callgrind. Raises :class:`CannotCountError`.

    Its environment is the same everywhere, for it lies in its memory.
    """
    environment = {
        "LC_ALL": "C.UTF-8",
        "GLIBC_TUNABLES": _NO_STRING_INSTRUCTIONS,
        "PYTHONPATH": str(python_path),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counts"
        valgrind = [_valgrind(), "--tool=callgrind", f"--callgrind-out-file={out}", "--dump-before=getpgid"]
        try:
            done = subprocess.run(
                [*valgrind, *command],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotCountError(str(error)) from error
        if done.returncode:
            raise CannotCountError(f"{' '.join(command)}: exit status {done.returncode}: {done.stderr}")
        marks = len(list(Path(folder).glob("counts.*")))  # and ``counts`` is from the last mark to the end
        return Counted(tuple(_total(Path(f"{out}.{number}")) for number in range(1, marks + 1)), done.stdout)


def _total(dump: Path) -> int:
    found = _TOTALS.search(dump.read_text(encoding="utf-8"))
    if found is None:
        raise CannotCountError(f"{dump}: has no totals")
    return int(found[1])
