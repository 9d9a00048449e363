"""What a service must have told of what the nodes sent, no matter what befell it.

It is computed from the readings alone, by none of the product's code. Each reading is a window of its own.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from exporter.context_fields import CONTEXT_FIELDS, SCORING_FIELDS
from exporter.schema import FIELDS
from tests.reliability.load import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.reliability.load import Reading, Shell

RENOTIFY_S: Final = 20
SOURCE: Final = "Threat - OTel Shell Detector - Kubernetes Shell Running on Worker Node - Rule"

Key = tuple[str, int, float, str, str, int]
"""Node, pid, start, name, kind, ordinal: what makes an event another one."""


@dataclass(frozen=True, slots=True)
class Expected:
    """An envelope without its ids; ``at_the_end``: it must be there, else it may."""

    envelope: dict[str, Any]
    at_the_end: bool


def expected(shells: Iterable[Shell]) -> dict[Key, Expected]:
    """All events that shells explain."""
    envelopes = (each for shell in shells for each in _of_shell(shell))
    return {key_of(envelope): Expected(envelope, at_the_end) for envelope, at_the_end in envelopes}


def key_of(envelope: Mapping[str, Any]) -> Key:
    """What makes the event another one."""
    event = envelope["event"]
    return (
        event["k8s.node.name"],
        event["process.pid"],
        event["process.start_time"],
        event["process.executable.name"],
        event["kind"],
        event["ordinal"],
    )


def _of_shell(shell: Shell) -> Iterable[tuple[dict[str, Any], bool]]:
    readings = [reading for reading in shell.readings if reading.is_positive]
    if not readings:
        return
    yield _envelope(shell, "opened", 0, readings[:1], readings[:1]), True
    told, since, ordinal = 0, list[int](), 0
    for at in range(1, len(readings)):
        since.append(at)
        if _bin(readings[at]) >= _bin(readings[told]) + RENOTIFY_S:
            ordinal += 1
            span = [readings[number] for number in since]
            yield _envelope(shell, "ongoing", ordinal, span, readings[: at + 1]), True
            told, since = at, []
    if shell.pid_reused:
        yield _closed(shell, ordinal, readings, "pid_reused"), True
    elif shell.remaining <= 0:
        yield _closed(shell, ordinal, readings, "exited"), shell.must_close


def _closed(shell: Shell, ordinal: int, readings: Sequence[Reading], reason: str) -> dict[str, Any]:
    envelope = _envelope(shell, "closed", 0, readings, readings)
    envelope["event"]["close_reason"] = reason
    envelope["event"]["duration"] = (readings[-1].time_ns - readings[0].time_ns) / SECOND
    return envelope


def _bin(reading: Reading) -> int:
    return reading.time_ns // SECOND


_LEFT_TO_OTHERS = {field.name for field in (*CONTEXT_FIELDS, *SCORING_FIELDS)} | {
    field.name for field in FIELDS if field.scored
}
"""What is around a shell, how it is scored and what follows from that is held where it is made."""


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _total(reading: Reading) -> float | None:
    return math.fsum(value for _, value in reading.cpu) if reading.cpu else None


def _envelope(
    shell: Shell, kind: str, ordinal: int, span: Sequence[Reading], so_far: Sequence[Reading]
) -> dict[str, Any]:
    host = f"{shell.node}.internal"
    time = (span[-1] if kind == "closed" else span[0]).time_ns / SECOND
    event = {
        "kind": kind,
        "risk_object": host,
        "risk_object_type": "system",
        "dest": host,
        "risk_score": 25 if kind == "opened" else 0,
        "risk_message": f"Kubernetes shell running on worker node on host {host}",
        "search_name": SOURCE,
        "rules": ["Kubernetes Shell Running on Worker Node"],
        "annotations.mitre_attack": ["T1059.004", "T1204"],
        "impact": 50,
        "confidence": 50,
        "host.name": host,
        "k8s.cluster.name": "kill-loop",
        "k8s.node.name": shell.node,
        "process.pid": shell.pid,
        "process.parent_pid": 1,
        "process.start_time": shell.start_ns / SECOND,
        "process.executable.name": shell.name,
        "process.executable.path": shell.path,
        "process.owner": "root",
        "process.cpu.utilization": _mean(_mean(value for _, value in each.cpu) for each in span),
        "process.cpu.utilization.total": _mean(map(_total, span)),
        "process.memory.utilization": _mean(each.memory for each in span),
        "windows": len(span),
        "window_start": _bin(span[0]),
        "window_end": _bin(span[-1]) + 1,
        "first_seen": so_far[0].time_ns / SECOND,
        "last_seen": so_far[-1].time_ns / SECOND,
        "orig_time": time,
        "incarnation": 0,
        "resumed": False,
        "ordinal": ordinal,
        "partial": False,
        "process.command_line.length": len(shell.command_line),
        "process.command_line.truncated": False,
        "process.command_line": shell.command_line,
    }
    return {
        "time": time,
        "host": host,
        "source": SOURCE,
        "sourcetype": "otel:shell:risk",
        "index": "risk" if kind == "opened" else "otel_shell",
        "event": {name: value for name, value in event.items() if value is not None},
    }


def verdict(wanted: Mapping[Key, Expected], bodies: Sequence[bytes]) -> list[str]:
    """What is wrong with what was delivered: one body of each id, in the order of their first delivery."""
    wrong: list[str] = []
    delivered: dict[Key, dict[str, Any]] = {}
    sessions: dict[tuple[object, ...], str] = {}
    told: dict[tuple[object, ...], tuple[int, int]] = {}
    for body in bodies:
        envelope = json.loads(body)
        ids = envelope["event"].pop("event_id"), envelope["event"].pop("session_id")
        key = key_of(envelope)
        if key in delivered:
            wrong.append(f"another id for the same: {ids}: {key}")
        if sessions.setdefault(key[:4], ids[1]) != ids[1]:
            wrong.append(f"another session id for the same shell: {ids}: {key}")
        if envelope["index"] != "risk":  # lanes do not wait for each other; in one, order is kept
            if told.get(key[:4], (0, 0)) > _rank(key):
                wrong.append(f"after what follows it: {key}")
            told[key[:4]] = _rank(key)
        for name in _LEFT_TO_OTHERS & envelope["event"].keys():
            del envelope["event"][name]
        delivered[key] = envelope
    if len(set(sessions.values())) != len(sessions):
        wrong.append("shells share a session id")
    wrong += [f"explained by nothing that was sent: {key}" for key in delivered.keys() - wanted.keys()]
    lost = {key for key, each in wanted.items() if each.at_the_end} - delivered.keys()
    wrong += [f"lost: {key}" for key in sorted(lost)]
    for key in delivered.keys() & wanted.keys():
        wrong += _differences(key, wanted[key].envelope, delivered[key])
    return wrong


def _rank(key: Key) -> tuple[int, int]:
    """What grows from event to event of a session in the context lane."""
    return ("ongoing", "closed").index(key[4]), key[5]


def _differences(key: Key, wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    wrong = []
    for name, pair in {
        **{name: (wanted.get(name), found.get(name)) for name in wanted.keys() | found.keys()},
        **{
            name: (wanted["event"].get(name), found["event"].get(name))
            for name in wanted["event"].keys() | found["event"].keys()
        },
    }.items():
        want, got = pair
        if name != "event" and got != (
            pytest.approx(want, rel=1e-12, abs=0) if isinstance(want, float) else want
        ):
            wrong.append(f"{key}: {name} is {got!r}; want {want!r}")
    return wrong
