"""The wall clock of one process, moved while it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

_PLACES: Final = (
    "/usr/lib/*/faketime",
    "/usr/lib/faketime",
    "/usr/lib64/faketime",
    "/usr/local/lib/faketime",
)
_NAME: Final = "libfaketimeMT.so.1"


def _library() -> Path:
    """Of Debian's package faketime; without it the test is skipped, or fails under CI."""
    found = next((each for place in _PLACES for each in Path("/").glob(f"{place[1:]}/{_NAME}")), None)
    if found is not None:
        return found
    reason = f"{_NAME} is not on this machine: want the package faketime"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


class SteppedClock:
    """What every look of a process at the wall clock passes through; at first it changes nothing.

    ``environment`` is for the process. Its monotonic clock and the times of files stay as they are, as they
    do when a machine's clock is set.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.step(0)
        self.environment = {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def step(self, seconds: int) -> None:
        """Let the clock differ so much from the machine's, from now on."""
        new = self._path.with_suffix(".new")
        new.write_text(f"{seconds:+d}")
        new.replace(self._path)
