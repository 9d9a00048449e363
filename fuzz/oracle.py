"""What must hold of every request, whoever wrote it: the fuzzer asks it, and a test asks it of the corpus."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from google.protobuf.message import DecodeError

from detector.types import Metric
from fuzz.fields import LENGTH_DELIMITED, fields_of
from otlp_receiver.descriptors import FRAMES, PROBE_FRAME, RESOURCE_METRICS
from otlp_receiver.reading import MalformedRequest, Reading, TooManyResources, UnreadableRequest, read_request
from otlp_receiver.selection import Match, Selection
from otlp_receiver.wire import find_frames
from tests.otlp_receiver.captures import SHELLS, clean
from tests.otlp_receiver.reference import read_all, without_processes

SELECTIONS: Final = (
    Selection(SHELLS, clean, match=(Match.NAME, Match.PATH)),
    Selection(SHELLS, clean),
    Selection(("bash", "python3"), clean, match=(Match.PATH,), cluster_name="configured"),
    Selection(SHELLS, clean, match=(Match.NAME, Match.PATH), max_resources=3),
)

_TEXT_LIMIT: Final = 4096
_SLOT_LIMIT: Final = 64
_LATEST: Final = 2**63 - 1


class WrongReadingError(AssertionError):
    """A request was read otherwise than promised."""


def check(body: bytes, selection: Selection) -> bool:
    """Read a request. Raises :class:`WrongReadingError`, or what the code under test must not raise.

    Returns whether it was in the domain of the reference, so that the result was compared as a whole.
    """
    found = _outcome(body, selection)
    try:
        expected = list(FRAMES.FromString(body).resource_metrics)
    except DecodeError:
        # Of a request that is broken behind too many frames, either may be said.
        if found not in {MalformedRequest, TooManyResources}:
            raise WrongReadingError(f"upb refuses what was read as {found}") from None
        return True
    if len(expected) > selection.max_resources:
        if found is not TooManyResources:
            raise WrongReadingError(f"{len(expected)} frames were read as {found}")
        return True
    frames = find_frames(body, selection.max_resources)
    if [body[start:end] for start, end in zip(*frames, strict=True)] != expected:
        raise WrongReadingError(f"frames are {frames}; want {expected}")
    if not isinstance(found, Reading):
        raise WrongReadingError(f"upb takes what was refused as {found}")
    _check_limits(found, selection)
    if not _is_in_domain(body, expected):
        return False
    full = read_all(body, selection)
    if not _are_equal(without_processes(found), full):
        raise WrongReadingError(f"read {found}; want {full}")
    return True


def _are_equal(one: Reading, other: Reading) -> bool:
    """Equality under which NaN is NaN: records hold no mapping, so equal ones are written alike."""
    return replace(one, records=()) == replace(other, records=()) and repr(one.records) == repr(other.records)


def _outcome(body: bytes, selection: Selection) -> Reading | type[UnreadableRequest]:
    try:
        return read_request(body, selection)
    except UnreadableRequest as error:
        return type(error)


def _check_limits(reading: Reading, selection: Selection) -> None:
    """What was read is bounded, and hangs together."""
    _hold("no frame met a defect", not reading.errors)
    _hold("frames", reading.hit_frames <= reading.frames <= selection.max_resources)
    _hold("nodes", len({record.node for record in reading.records}) == len(reading.records))
    _hold("unknown clusters", reading.unknown_clusters <= len(reading.records))
    _hold("empty frames", reading.empty_frames <= reading.hit_frames)
    for record in reading.records:
        samples = record.samples
        _hold("a record says something", bool(samples or record.probe_times_ns))
        texts = [record.node.cluster, record.node.node]
        texts += (text for each in samples for text in (each.host, each.name, each.owner))
        _hold("text", all(len(text) <= _TEXT_LIMIT for text in (*texts, *(each.path for each in samples))))
        _hold("the node has a name", bool(record.node.node and record.node.cluster))
        pids = {process.pid for process in record.processes}
        _hold("a process explains a shell", bool(samples) or not pids)
        _hold("each process once", len(pids) == len(record.processes))
        _hold("no shell is among them", pids.isdisjoint(each.pid for each in samples))
        times = [record.init_start_ns, *record.probe_times_ns]
        times += [time for each in samples for time in (each.start_ns, each.time_ns)]
        points = [point for each in samples for point in each.points]
        times += [point.time_ns for point in points]
        _hold("times", all(0 <= time <= _LATEST for time in times))
        _hold("slots", all(len(point.slot) <= _SLOT_LIMIT for point in points))
        _hold("slots of cpu only", all(point.metric is Metric.CPU or not point.slot for point in points))


def _hold(what: str, holds: bool) -> None:  # noqa: FBT001  # as in an assertion
    if not holds:
        raise WrongReadingError(what)


def _is_in_domain(body: bytes, frames: list[bytes]) -> bool:
    """Whether the promise holds for this request: it parses, and tags and lengths are minimal.

    A frame that no parse of any depth gets over counts as nothing, so it may be there.
    """
    return all(each.minimal for each in fields_of(body) or ()) and all(map(_frame_is_in_domain, frames))


def _frame_is_in_domain(frame: bytes) -> bool:
    if _parses(RESOURCE_METRICS, frame):
        return _is_minimal(frame, RESOURCE_METRICS.DESCRIPTOR)
    return not _parses(PROBE_FRAME, frame)


def _parses(message: Any, data: bytes) -> bool:  # noqa: ANN401  # a class made at run time
    try:
        message.FromString(data)
    except DecodeError:
        return False
    return True


def _is_minimal(message: bytes, descriptor: Any) -> bool:  # noqa: ANN401
    """Whether every tag and length in a message that parses is minimally encoded, at any depth."""
    for field in fields_of(message) or ():
        if not field.minimal:
            return False
        known = descriptor.fields_by_number.get(field.number)
        inner = known.message_type if known is not None else None
        if field.wire_type == LENGTH_DELIMITED and inner and not _is_minimal(field.content, inner):
            return False
    return True
