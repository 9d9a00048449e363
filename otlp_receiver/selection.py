"""Which processes are looked for, with everything that a scan needs computed once."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from detector.types import CommandLine


class Match(enum.StrEnum):
    """By what a process is recognised."""

    NAME = "name"
    """``process.executable.name`` equals a watched name."""
    PATH = "path"
    """The base name of ``process.executable.path`` equals a watched name."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which processes are looked for, and the bounds and rules of reading them.

    ``executables``: watched names. ``match``: any of these is enough. ``clean`` turns a raw command line into the redacted, cut one.
    ``cluster_name`` is the cluster of resources that name none. ``max_resources`` bounds the frames of a request.
    """

    executables: tuple[str, ...]
    clean: Callable[[str], CommandLine]
    match: tuple[Match, ...] = (Match.NAME,)
    cluster_name: str = ""
    max_resources: int = 100_000
    needles: tuple[bytes, ...] = field(init=False, repr=False)
