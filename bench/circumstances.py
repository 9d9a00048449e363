"""When and where something was measured, without which its numbers say little."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGES: Final = ("grpcio", "protobuf", "stringzilla", "isal", "apsw")


def here() -> dict[str, str | int]:
    """The date, the machine and the versions."""
    cpu = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    versions = " ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu[0] if cpu else platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def told(at: Mapping[str, str | int]) -> str:
    """The same for people."""
    return (
        f"{at['date']}, {at['cores']} cores of {at['cpu']}, {at['system']}, Python {at['python']},"
        f" {at['versions']}"
    )
