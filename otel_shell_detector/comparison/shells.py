"""The comparison as values: shells, seen by which, when, with which averages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from otel_shell_detector.comparison.why import Why
    from otel_shell_detector.search.spl import Key


class Name(NamedTuple):
    """Which shell. ``start_ns`` is 0 where nobody says; ``incarnation`` counts its sessions from 0."""

    cluster: str
    node: str
    host: str
    pid: str
    name: str
    start_ns: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class Told:
    """What the detector says. Averages are over the whole session, as the search's are over a run's range.

    ``latency_ns``: from the first positive sample to the event.
    """

    event_id: str
    session_id: str
    released_ns: int
    latency_ns: int
    windows: int
    cpu: float | None
    memory: float | None


@dataclass(frozen=True, slots=True)
class Reported:
    """What a run of the search says: a row that holds this shell, and how many shells it holds.

    ``latency_ns``: from the shell's first positive sample to the start of the run.
    """

    run_ns: int
    key: Key
    latency_ns: int
    shells: int
    cpu: float | None
    memory: float | None


@dataclass(frozen=True, slots=True)
class Shell:
    """A row of the comparison."""

    name: Name
    line: str
    first_ns: int
    last_ns: int
    told: Told | None
    reported: tuple[Reported, ...]
    why: tuple[Why, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the search and how many rows it gives."""

    run_ns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """``shells`` are those that the detector or the search sees, ``neither`` those that none of them does."""

    shells: tuple[Shell, ...]
    neither: tuple[Shell, ...]
    runs: tuple[Run, ...]
