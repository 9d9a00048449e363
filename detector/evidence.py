"""Attributes of a shell, each from the earliest sample that had a non-empty value.

A zombie reports an empty path and command line: an empty value never replaces one. What was seen is kept as
*sightings*, in order of event time, each of which adds an attribute that the ones before it lack; there is
nearly always one. The result is the same for every order of arrival.
"""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

from detector.types import CommandLine, Evidence, Sample

Sightings: TypeAlias = tuple[tuple[int, Evidence], ...]
"""(event time in ns, attributes), oldest first."""


def sighting(sample: Sample) -> Sightings:
    """What one sample shows."""
    evidence = Evidence(sample.start_ns, sample.parent_pid, sample.path, sample.owner, sample.command_line)
    return ((sample.time_ns, evidence),)


def merge(one: Sightings, other: Sightings) -> Sightings:
    """Both, without what adds nothing."""
    if all(
        any(known == evidence and since <= time_ns for since, known in one) for time_ns, evidence in other
    ):
        return one
    kept: list[tuple[int, Evidence]] = []
    seen = Evidence()
    # Two samples of one time that differ: their text decides, so that the order of arrival does not.
    for time_ns, evidence in sorted(one + other, key=lambda item: (item[0], repr(item[1]))):
        combined = _fill(seen, evidence)
        if combined != seen:
            seen = combined
            kept.append((time_ns, evidence))
    return tuple(kept)


def resolve(sightings: Sightings) -> Evidence:
    """The earliest non-empty value of each attribute."""
    seen = Evidence()
    for _, evidence in sightings:
        seen = _fill(seen, evidence)
    return seen


def dump(sightings: Sightings) -> list[object]:
    """Sightings as JSON has them, for a checkpoint."""
    return [
        [
            time_ns,
            seen.start_ns,
            seen.parent_pid,
            seen.path,
            seen.owner,
            seen.command_line
            and [seen.command_line.text, seen.command_line.length, seen.command_line.sha256],
        ]
        for time_ns, seen in sightings
    ]


def load(dumped: list[Any]) -> Sightings:
    """Take what :func:`dump` gave."""
    return tuple(
        (
            time_ns,
            Evidence(start_ns, parent_pid, sys.intern(path), sys.intern(owner), line and CommandLine(*line)),
        )
        for time_ns, start_ns, parent_pid, path, owner, line in dumped
    )


def _fill(seen: Evidence, later: Evidence) -> Evidence:
    return Evidence(
        start_ns=seen.start_ns or later.start_ns,
        parent_pid=later.parent_pid if seen.parent_pid is None else seen.parent_pid,
        path=seen.path or later.path,
        owner=seen.owner or later.owner,
        command_line=seen.command_line or later.command_line,
    )
