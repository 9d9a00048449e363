"""What shells score when the agents send shells alone: a table of docs/collector.md.

    python -m tests.collector.points

It takes from the captures whose truth is known what the profile lean would not send, and replays the rest.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any, Final

from otel_shell_detector.captures import Request, requests
from otel_shell_detector.configuration import DetectorSettings
from otlp_receiver.descriptors import FRAMES, RESOURCE_METRICS
from tests.e2e.processes import environment_without_keys
from tests.expectations import points

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SHELLS: Final = {name.encode() for name in DetectorSettings().executables}


def _sent(frame: bytes) -> bool:
    attributes = {pair.key: pair.value for pair in RESOURCE_METRICS.FromString(frame).resource.attributes}
    return (
        attributes[b"process.pid"].int_value == 1
        or attributes[b"process.executable.name"].string_value in _SHELLS
    )


def _lean(capture: Path) -> Iterator[bytes]:
    for item in requests(capture):
        assert isinstance(item, Request)
        frames = FRAMES.FromString(item.body)
        kept = [frame for frame in frames.resource_metrics if _sent(frame)]
        body = FRAMES(resource_metrics=kept).SerializeToString()
        yield struct.pack(">I", len(body)) + body


def replayed(name: str) -> list[dict[str, Any]]:
    """The events of a capture of which only a part was sent."""
    with tempfile.NamedTemporaryFile(suffix=".pb") as part:
        part.writelines(_lean(points.CAPTURES / f"{name}.pb.zst"))
        part.flush()
        command = [sys.executable, "-m", "otel_shell_detector", "replay", "--close-at-end"]
        command += ["--config", str(points.HERE / "balanced.yaml"), part.name]
        printed = subprocess.run(
            command, env=environment_without_keys(), stdout=subprocess.PIPE, check=True
        ).stdout
    return [json.loads(line)["event"] for line in printed.splitlines()]


def table() -> str:
    """Points of attacks and of what is benign, for each capture and profile."""
    lines = ["| | `full`: attacks | benign | `lean`: attacks | benign |", "|---|---|---|---|---|"]
    for name in points.LABELLED:
        full = points.sums(points.scored(name, points.replay(name, "balanced")))
        lean = points.sums(points.scored(name, replayed(name)))
        lines.append(f"| {' | '.join(map(str, (name, *full, *lean)))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
