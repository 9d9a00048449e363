"""Arrivals, ticks and notes as bytes, digests that are keys, and the checksum that each stored row carries.

An entry of the journal is one JSON array in UTF-8 that begins with the number of its format. JSON because a
dead letter is read by people, because its encoder and decoder run in C, and because it gives back what it was
given: integers of any size, the shortest decimal that reads as the same float, and ``NaN``, ``Infinity`` and
``-0.0`` as Python writes them. Text is escaped to ASCII, so whatever a string holds can be written.

What is read may be damaged. Decoding gives the value or raises :class:`Undecodable`, nothing else: each part
has the type that is wanted and each array the wanted length. A reader of another format is a function beside
the ones here, chosen by that first number. The value of a note is one JSON object as the judge made it.
"""

from __future__ import annotations

import json
import zlib
from hashlib import blake2b
from sys import intern
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from detector.context import Process
from detector.types import (
    Arrival,
    CloseReason,
    CommandLine,
    Metric,
    NodeId,
    Point,
    Record,
    Sample,
    SessionRow,
    ShellId,
)
from store.seams import Position, Tick

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_T = TypeVar("_T")

FORMAT: Final = 3
"""The number with which every entry begins that is written here.

An arrival of format 2 lacks ``signs``. One of format 1 lacks ``processes`` too, and its samples lack
``cgroup`` and ``labels``.
"""

DIGEST_BYTES: Final = 16
"""Two of 2^40 shells have the same digest with a chance below 2^-48."""

Stored: TypeAlias = float | bytes | str | None
"""What a column of SQLite can hold, integers included."""

_MESSAGE_CHARS: Final = 100  # a key that is not known is quoted, and may be long

_METRICS: Final = {str(metric): metric for metric in Metric}
_REASONS: Final = {None: None} | {str(reason): reason for reason in CloseReason}

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_decode = json.JSONDecoder().decode


class Undecodable(ValueError):  # noqa: N818  says what the bytes are
    """The bytes are no entry of a known format; the message says what was found and what was wanted."""


def dump_arrival(arrival: Arrival) -> bytes:
    """An arrival as one JSON array; :func:`load_arrival` gives it back."""
    record = arrival.record
    node = record.node
    samples = [_dump_sample(sample) for sample in record.samples]
    return _encode(
        (
            FORMAT,
            arrival.service_ns,
            arrival.wall_ns,
            node.cluster,
            node.node,
            samples,
            record.probe_times_ns,
            record.init_start_ns,
            [_dump_process(process) for process in record.processes],
            record.signs,
        )
    ).encode("ascii")


def _dump_sample(sample: Sample) -> Sequence[object]:
    line = sample.command_line
    return (
        sample.host,
        sample.pid,
        sample.start_ns,
        sample.name,
        sample.time_ns,
        sample.points,  # a point is a tuple, and its metric a string: an array as it is
        sample.parent_pid,
        sample.path,
        sample.owner,
        line and (line.text, line.length, line.sha256),
        sample.cgroup,
        sample.labels,
    )


def _dump_process(process: Process) -> Sequence[object]:
    line = process.command_line
    return (
        process.pid,
        process.start_ns,
        process.name,
        process.parent_pid,
        line and (line.text, line.length, line.sha256),
        process.cgroup,
    )


def dump_tick(tick: Tick) -> bytes:
    """A tick as one JSON array; :func:`load_tick` gives it back."""
    answers = [(position, *_dump_shell(row.shell), *_dump_state(row)) for position, row in tick.answers]
    return _encode((FORMAT, tick.service_ns, answers)).encode("ascii")


def _dump_shell(shell: ShellId) -> tuple[str | int, ...]:
    node = shell.node
    return (node.cluster, node.node, shell.host, shell.pid, shell.start_ns, shell.name)


def _dump_state(row: SessionRow) -> tuple[str | int | None, ...]:
    return (row.incarnation, row.emitted, row.last_seen_ns, row.reason)


def load_arrival(data: bytes) -> Arrival:
    """The arrival that :func:`dump_arrival` wrote as ``data``. Raises :class:`Undecodable`."""
    return _load(data, {1: _load_arrival_1, 2: _load_arrival_2, FORMAT: _load_arrival}, "an arrival")


def load_tick(data: bytes) -> Tick:
    """The tick that :func:`dump_tick` wrote as ``data``. Raises :class:`Undecodable`."""
    return _load(data, {1: _load_tick, 2: _load_tick, FORMAT: _load_tick}, "a tick")


def dump_value(value: Mapping[str, Any]) -> bytes:
    """The value of a note as one JSON object; :func:`load_value` gives it back."""
    return _encode(dict(value)).encode("ascii")


def load_value(data: bytes) -> Mapping[str, Any]:
    """The value that :func:`dump_value` wrote as ``data``. Raises :class:`Undecodable`."""
    try:
        found = _decode(str(data, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise Undecodable(f"want the value of a note, found {len(data)} bytes: {error}") from error
    if type(found) is not dict:
        raise Undecodable(f"want the value of a note, found {type(found).__name__}")
    return found


def _load(data: bytes, readers: Mapping[int, Callable[[list[Any]], _T]], what: str) -> _T:
    try:
        found, *fields = _decode(str(data, "utf-8"))
        if _integer(found) not in readers:
            raise ValueError(f"format {found}, want {FORMAT}")  # noqa: TRY301  one place says of what
        return readers[found](fields)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        text = str(error)[:_MESSAGE_CHARS]
        raise Undecodable(f"want {what}, found {len(data)} bytes: {type(error).__name__}: {text}") from error


# `intern` takes nothing but a string. What is unpacked into fields needs no check that it is an array:
# else it gives strings for the fields, and an integer is among them each time.


def _load_arrival_1(fields: list[Any]) -> Arrival:
    service_ns, wall_ns, cluster, node, samples, *others = fields
    return _load_arrival_2(
        [
            service_ns,
            wall_ns,
            cluster,
            node,
            [[*_array(each), "", []] for each in _array(samples)],
            *others,
            [],
        ]
    )


def _load_arrival_2(fields: list[Any]) -> Arrival:
    return _load_arrival([*fields, 0])


def _load_arrival(fields: list[Any]) -> Arrival:
    service_ns, wall_ns, cluster, node, samples, probe_times_ns, init_start_ns, processes, signs = fields
    record = Record(
        NodeId(intern(cluster), intern(node)),
        tuple([_load_sample(sample) for sample in _array(samples)]),
        tuple([_integer(time_ns) for time_ns in _array(probe_times_ns)]),
        _integer(init_start_ns),
        tuple([_load_process(process) for process in _array(processes)]),
        _integer(signs),
    )
    return Arrival(record, _integer(service_ns), _integer(wall_ns))


def _load_sample(fields: list[Any]) -> Sample:
    host, pid, start_ns, name, time_ns, points, parent_pid, path, owner, line, cgroup, labels = fields
    return Sample(
        intern(host),
        _integer(pid),
        _integer(start_ns),
        intern(name),
        _integer(time_ns),
        _load_points(_array(points)),
        None if parent_pid is None else _integer(parent_pid),
        intern(path),
        intern(owner),
        None if line is None else _load_line(line),
        intern(cgroup),
        tuple([(intern(label), intern(value)) for label, value in _array(labels)]),
    )


def _load_process(fields: list[Any]) -> Process:
    pid, start_ns, name, parent_pid, line, cgroup = fields
    return Process(
        _integer(pid),
        _integer(start_ns),
        intern(name),
        None if parent_pid is None else _integer(parent_pid),
        None if line is None else _load_line(line),
        intern(cgroup),
    )


def _load_points(found: list[Any]) -> tuple[Point, ...]:
    points: list[Point] = []
    for metric, slot, time_ns, value in found:  # the innermost loop: no calls that can be spared
        if type(time_ns) is not int:
            raise TypeError(f"{type(time_ns).__name__}, want an integer")
        number = value
        if type(value) is not float and value is not None:
            number = float(_integer(value))  # a float by its type, whatever its maker gave
        points.append(Point(_METRICS[metric], intern(slot), time_ns, number))
    return tuple(points)


def _load_line(fields: list[Any]) -> CommandLine:
    text, length, sha256 = fields
    return CommandLine(_text(text), _integer(length), _text(sha256))


def _load_tick(fields: list[Any]) -> Tick:
    service_ns, answers = fields
    return Tick(_integer(service_ns), tuple([_load_answer(answer) for answer in _array(answers)]))


def _load_answer(fields: list[Any]) -> tuple[Position, SessionRow]:
    position, cluster, node, host, pid, start_ns, name, *state = fields
    incarnation, emitted, last_seen_ns, reason = state
    identity = NodeId(intern(cluster), intern(node))
    shell = ShellId(identity, intern(host), _integer(pid), _integer(start_ns), intern(name))
    row = SessionRow(
        shell, _integer(incarnation), _integer(emitted), _integer(last_seen_ns), _REASONS[reason]
    )
    return Position(_integer(position)), row


def _integer(found: object) -> int:
    if type(found) is not int:  # True is no number
        raise TypeError(f"{type(found).__name__}, want an integer")
    return found


def _text(found: object) -> str:
    if type(found) is not str:
        raise TypeError(f"{type(found).__name__}, want a string")
    return found


def _array(found: object) -> list[Any]:
    if type(found) is not list:
        raise TypeError(f"{type(found).__name__}, want an array")
    return found


def digest(shell: ShellId) -> bytes:
    """The key of a shell's session: 16 bytes, the same in every version."""
    return _digest(_dump_shell(shell))


def node_digest(node: NodeId) -> bytes:
    """The key of a node's checkpoint: 16 bytes, the same in every version."""
    return _digest((node.cluster, node.node))


def _digest(fields: Sequence[str | int]) -> bytes:
    return blake2b(_encode(fields).encode("ascii"), digest_size=DIGEST_BYTES).digest()


def crc(*fields: Stored) -> int:
    """The CRC-32 of the columns of a row, their types and lengths included."""
    total = 0
    for field in fields:
        if isinstance(field, bytes):
            total = zlib.crc32(field, zlib.crc32(b"b%d:" % len(field), total))
        elif isinstance(field, str):
            text = field.encode("utf-8", "surrogatepass")
            total = zlib.crc32(text, zlib.crc32(b"s%d:" % len(text), total))
        else:  # an integer, None, or the float that damage made of one
            total = zlib.crc32(f"{field!r};".encode("ascii"), total)
    return total
