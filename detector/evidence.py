"""Attributes of a shell, each from the earliest sample that had a non-empty value.

A zombie reports an empty path and command line: an empty value never replaces one. What was seen is kept as
*sightings*, in order of event time, each of which adds an attribute that the ones before it lack; there is
nearly always one. The result is the same for every order of arrival.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from detector.ancestry import dump_process, load_process
from detector.context import Cgroup, ContextBasis, Kin, Placement
from detector.types import CommandLine, Evidence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.types import Sample

Sightings: TypeAlias = bytes
"""(event time in ns, attributes), oldest first, packed; empty if there is none. As objects those of 100,000
shells would have Python's garbage collector stop everything for half a second."""
NONE: Final = b""

Sighting: TypeAlias = tuple[int, Evidence]
"""What one sample shows, at its event time."""

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def of_sample(sample: Sample, cgroup: Cgroup | None) -> Evidence:
    """What a sample shows of its own process; ``cgroup`` is what its node makes of it."""
    return Evidence(
        sample.start_ns,
        sample.parent_pid,
        sample.path,
        sample.owner,
        sample.command_line,
        cgroup,
        sample.labels,
    )


def add(sightings: Sightings, seen: Sighting, known: Sightings = NONE) -> Sightings:
    """With what a sample shows, unless that is in them already, or in those ``known``."""
    if _adds_nothing(seen, _unpacked(known)):
        return sightings
    return _merged(sightings, [seen])


def merge(one: Sightings, other: Sightings) -> Sightings:
    """Both, without what adds nothing."""
    return _merged(one, _unpacked(other)) if other else one


def explain(sightings: Sightings, time_ns: int, kin: Kin) -> Sightings:
    """With better known kin; as seen at that time if none was known."""
    known = _unpacked(sightings)
    for number, (since_ns, evidence) in enumerate(known):
        if evidence.kin is not None:
            known[number] = since_ns, replace(evidence, kin=kin)
            return _packed(known)
    return _merged(sightings, [(time_ns, Evidence(kin=kin))])


def resolve(sightings: Sightings) -> Evidence:
    """The earliest non-empty value of each attribute."""
    seen = Evidence()
    for _, evidence in _unpacked(sightings):
        seen = _fill(seen, evidence)
    return seen


def dump(sightings: Sightings) -> list[Any]:
    """Sightings as JSON has them, for a checkpoint."""
    found: list[Any] = json.loads(sightings) if sightings else []
    return found


def load(dumped: list[Any]) -> Sightings:
    """Take what :func:`dump` gave."""
    return _packed(map(_read, dumped))


def _merged(sightings: Sightings, others: list[Sighting]) -> Sightings:
    known = _unpacked(sightings)
    if all(_adds_nothing(each, known) for each in others):
        return sightings
    kept: list[Sighting] = []
    seen = Evidence()
    # Two samples of one time that differ: their text decides, so that the order of arrival does not.
    for time_ns, evidence in sorted(known + others, key=lambda item: (item[0], repr(item[1]))):
        combined = _fill(seen, evidence)
        if combined != seen:
            seen = combined
            kept.append((time_ns, evidence))
    return _packed(kept)


def _adds_nothing(seen: Sighting, known: list[Sighting]) -> bool:
    time_ns, evidence = seen
    return any(
        seen == (since, other) or (since < time_ns and _fill(other, evidence) == other)
        for since, other in known
    )


def _packed(seen: Iterable[Sighting]) -> Sightings:
    fields = [(time_ns, *_fields(evidence)) for time_ns, evidence in seen]
    return _encode(fields).encode("ascii") if fields else NONE


def _fields(evidence: Evidence) -> tuple[object, ...]:
    line, cgroup, kin = evidence.command_line, evidence.cgroup, evidence.kin
    return (
        evidence.start_ns,
        evidence.parent_pid,
        evidence.path,
        evidence.owner,
        line and (line.text, line.length, line.sha256),
        cgroup
        and (
            cgroup.placement,
            cgroup.basis,
            cgroup.pod_uid,
            cgroup.container_id,
            cgroup.unit,
            cgroup.slice,
        ),
        evidence.labels,
        kin
        and (
            dump_process(kin.parent),
            kin.ancestors,
            kin.basis,
            kin.container_init,
            kin.next_pid,
            kin.next_before_ns,
        ),
    )


def _unpacked(sightings: Sightings) -> list[Sighting]:
    return [_read(each) for each in json.loads(sightings)] if sightings else []


def _read(fields: list[Any]) -> Sighting:
    time_ns, start_ns, parent_pid, path, owner, line, cgroup, labels, kin = fields
    return time_ns, Evidence(
        start_ns,
        parent_pid,
        path,
        owner,
        CommandLine(*line) if line else None,
        Cgroup(Placement(cgroup[0]), *cgroup[1:]) if cgroup else None,
        tuple((name, value) for name, value in labels),
        _read_kin(kin) if kin else None,
    )


def _read_kin(fields: list[Any]) -> Kin:
    parent, ancestors, basis, *rest = fields  # of the last two there were none in older checkpoints
    return Kin(load_process(parent), tuple(ancestors), ContextBasis(basis), *rest)


def _fill(seen: Evidence, later: Evidence) -> Evidence:
    return Evidence(
        start_ns=seen.start_ns or later.start_ns,
        parent_pid=later.parent_pid if seen.parent_pid is None else seen.parent_pid,
        path=seen.path or later.path,
        owner=seen.owner or later.owner,
        command_line=seen.command_line or later.command_line,
        cgroup=seen.cgroup or later.cgroup,
        labels=seen.labels or later.labels,
        kin=seen.kin or later.kin,
    )
