"""Kinds of arguments of the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from otel_shell_detector.kinds import show

if TYPE_CHECKING:
    from collections.abc import Callable

_DIGITS: Final = 19
"""Of the highest number that anything has."""


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Reads a whole number within bounds, both included."""

    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) <= _DIGITS and lowest <= int(text) <= highest:
            return int(text)
        raise argparse.ArgumentTypeError(f"got {show(text)}; want a whole number from {lowest} to {highest}")

    return read
