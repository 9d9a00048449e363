"""Which shells a capture holds, and which line of the truth file each of them is: without any of our code.

    python tests/expectations/independent.py worker-1 > tests/expectations/worker-1.shells.json

It walks the protobuf wire format itself and does the arithmetic of the windows in the plainest way, with
everything in memory. What it prints is committed; tests compare it, and the detector's events, with that.
"""

from __future__ import annotations

import csv
import importlib
import json
import math
import struct
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if sys.version_info >= (3, 14):
    zstd = importlib.import_module("compression.zstd")
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterator

CAPTURES = Path(__file__).parents[1] / "captures"
SHELLS = {"sh", "bash", "csh", "tcsh"}
CPU = "process.cpu.utilization"
MEMORY = "process.memory.utilization"
EVIDENCE = ("process.parent_pid", "process.executable.path", "process.owner", "process.command_line")
BIN = 10 * 10**9
SECOND = 10**9


# --- the wire: protobuf.dev, "Encoding"


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data: bytes) -> dict[int, list[Any]]:
    """The values of a message by number: integers, eight raw bytes, or the bytes of text and of messages."""
    found: dict[int, list[Any]] = defaultdict(list)
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value: Any
            value, at = varint(data, at)
        elif tag & 7 == 1:
            value, at = data[at : at + 8], at + 8
        elif tag & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"wire type {tag & 7}")
        found[tag >> 3].append(value)
    return found


def last(values: list[Any], default: Any) -> Any:
    return values[-1] if values else default


def attributes(pairs: list[bytes]) -> dict[str, str | int]:
    """Text and integers; text that is not UTF-8 with its bytes escaped."""
    found: dict[str, str | int] = {}
    for pair in pairs:
        entry = fields(pair)
        value = fields(last(entry[2], b""))
        if value[1]:
            found[entry[1][-1].decode()] = value[1][-1].decode("utf-8", "backslashreplace")
        elif value[3]:
            found[entry[1][-1].decode()] = value[3][-1]
    return found


Frame = tuple[dict[str, str | int], list[tuple[str, str, int, int, float | None]]]


@cache  # slow, for it is written to be read
def requests(name: str) -> list[list[Frame]]:
    """Each request of a capture: of each resource the attributes, and the points.

    A point is (metric, state, time, start, value).
    """
    plain = CAPTURES / f"{name}.pb"
    data = (
        plain.read_bytes() if plain.exists() else zstd.decompress((CAPTURES / f"{name}.pb.zst").read_bytes())
    )
    found = []
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        resources = map(fields, fields(data[at + 4 : at + 4 + size])[1])
        found.append(
            [(attributes(fields(last(frame[1], b""))[1]), list(points(frame[2]))) for frame in resources]
        )
        at += 4 + size
    return found


def frames(name: str) -> list[Frame]:
    """The resources of all requests."""
    return [frame for request in requests(name) for frame in request]


def points(scopes: list[bytes]) -> Iterator[tuple[str, str, int, int, float | None]]:
    for scope in scopes:
        for metric in fields(scope)[2]:
            entry = fields(metric)
            for body in entry[5] + entry[7]:  # gauge and sum
                for point in fields(body)[1]:
                    value = fields(point)
                    start, time = (
                        int.from_bytes(last(value[number], bytes(8)), "little") for number in (2, 3)
                    )
                    number: float | None = None
                    if not last(value[8], 0) & 1:  # NO_RECORDED_VALUE
                        number = struct.unpack("<d", value[4][-1])[0] if value[4] else None
                        number = (
                            float(int.from_bytes(value[6][-1], "little", signed=True)) if value[6] else number
                        )
                    state = attributes(value[7]).get("state", "")
                    yield entry[1][-1].decode(), str(state), time, start, number


# --- the arithmetic


def average(numbers: list[float]) -> float | None:
    return math.fsum(numbers) / len(numbers) if numbers else None


def window(points: dict[tuple[str, str, int], float]) -> dict[str, float | None]:
    """The means of the points of ten seconds. `cpu_total` has the states of each time summed before."""
    cpu = {key: value for key, value in points.items() if key[0] == CPU}
    times = sorted({time for _, _, time in cpu})
    return {
        "cpu": average(list(cpu.values())),
        "cpu_total": average(
            [math.fsum(value for key, value in cpu.items() if key[2] == time) for time in times]
        ),
        "memory": average([value for key, value in points.items() if key[0] == MEMORY]),
    }


def named_as_shells(name: str) -> list[dict[str, Any]]:
    """Every identity with the name of a shell, by start time and pid."""
    found = defaultdict(list)
    for resource, points_ in frames(name):
        if resource["process.executable.name"] in SHELLS:
            starts = {start for _, _, _, start, _ in points_}
            assert len(starts) == 1, "a frame is a process"
            identity = (starts.pop(), resource["process.pid"], resource["process.executable.name"])
            found[identity].append((resource, points_))
    return [row(identity, of_one) for identity, of_one in sorted(found.items())]


def shells(name: str) -> list[dict[str, Any]]:
    """Those with a positive point; without one it is a zombie, or idle where memory is not measured."""
    return [shell for shell in named_as_shells(name) if shell["windows"]]


def row(identity: tuple[int, str | int, str | int], of_one: list[Any]) -> dict[str, Any]:
    start, pid, executable = identity
    valid: dict[int, dict[tuple[str, str, int], float]] = defaultdict(dict)
    left_out = 0
    for _, points_ in of_one:
        for metric, state, time, _, value in points_:
            if metric in {CPU, MEMORY}:
                if value is not None and math.isfinite(value) and value >= 0:
                    valid[time // BIN][metric, state, time] = value
                else:
                    left_out += 1
    surviving = {
        number: points_ for number, points_ in sorted(valid.items()) if any(v > 0 for v in points_.values())
    }
    positive = [
        time for points_ in surviving.values() for (_, _, time), value in points_.items() if value > 0
    ]
    windows = {number: window(points_) for number, points_ in surviving.items()}
    first = min(windows, default=0)
    resource = of_one[0][0]
    return {
        "k8s.cluster.name": resource["k8s.cluster.name"],
        "k8s.node.name": resource["k8s.node.name"],
        "host.name": resource["host.name"],
        "process.pid": pid,
        "start_ns": start,
        "process.executable.name": executable,
        **{
            attribute: next(
                (seen[attribute] for seen, _ in of_one if seen.get(attribute) not in {None, ""}), None
            )
            for attribute in EVIDENCE
        },
        "frames": len(of_one),
        "points_left_out": left_out,
        "first_positive_ns": min(positive, default=None),
        "last_positive_ns": max(positive, default=None),
        "windows": len(windows),
        "first_window_start": first * BIN // SECOND,
        "last_window_end": (max(windows, default=-1) + 1) * BIN // SECOND,
        "first_window": windows.get(first),
        "whole": {
            column: average([mean for means in windows.values() if (mean := means[column]) is not None])
            for column in ("cpu", "cpu_total", "memory")
        },
    }


# --- the truth


def truth(name: str) -> list[dict[str, Any]]:
    """The lines of a truth file that tell of a process, in order; none if there is no file."""
    path = CAPTURES / f"{name}.truth.tsv"
    if not path.exists():
        return []
    lines = []
    with path.open(newline="", encoding="utf-8") as file:
        for number, columns in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if len(columns) >= 4 and columns[3]:
                lines.append(
                    {
                        "line": number,
                        "epoch": float(columns[0]),
                        "what": columns[2],
                        "pid": int(columns[3]),
                        "argv": columns[-1].strip(),
                    }
                )
    return lines


def explain(shell: dict[str, Any], lines: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The line that started this shell, or else the one that started its parent.

    A start time is made of the boot time in whole seconds and of ticks since, so that it is up to a second
    before the epoch that the truth file noted.
    """
    begun = shell["start_ns"] / SECOND
    started = [line for line in lines if line["argv"] and line["what"] not in {"busy", "reused"}]
    itself = [
        line for line in started if line["pid"] == shell["process.pid"] and 0 <= line["epoch"] - begun < 1.1
    ]
    if itself:
        assert len(itself) == 1
        return {"relation": "itself", **itself[0]}
    parent = [
        line for line in started if line["pid"] == shell["process.parent_pid"] and line["epoch"] < begun + 1.1
    ]
    return {"relation": "child", **parent[-1]} if parent else None


def expectation(name: str) -> list[dict[str, Any]]:
    lines = truth(name)
    return [shell | {"truth": explain(shell, lines)} for shell in shells(name)]


def text(name: str) -> str:
    return json.dumps(expectation(name), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text(sys.argv[1]))
