"""The service as a process: its environment, whether it is ready, and what memory it took."""

from __future__ import annotations

import re
import urllib.request
from typing import TYPE_CHECKING, Final

from tests.e2e.processes import environment_without_keys, free_port

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MIB: Final = 1 << 20


def environment(state: Path, room: int, **keys: str) -> dict[str, str]:
    """Of a service, or a command, with its state there, of at most ``room`` bytes."""
    keys |= {"STATE__PATH": str(state), "STATE__MAX_SIZE": f"{room // MIB}MiB"}
    return environment_without_keys() | {f"OTEL_SHELL_DETECTOR_{key}": value for key, value in keys.items()}


def delivering(folder: Path, http: int, hec: int) -> dict[str, str]:
    """Keys of a service on loopback ports, with its token in ``folder``, that delivers to a HEC server."""
    token = folder / "token"
    token.write_text("00000000-0000-0000-0000-000000000000\n")
    token.chmod(0o600)
    return {
        "RECEIVER__ENDPOINT": f"127.0.0.1:{free_port()}",
        "HTTP__ENDPOINT": f"127.0.0.1:{http}",
        "EXPORTER__SINK": "hec",
        "EXPORTER__HEC__URL": f"http://127.0.0.1:{hec}",
        "EXPORTER__HEC__TOKEN_FILE": str(token),
    }


def peak(status: str) -> int:
    """The largest resident set of a process so far, in bytes."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found, status
    return int(found[1]) * 1024


def is_ready(port: int) -> bool:
    """What ``/readyz`` says."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def report(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Show what was measured."""
    with capsys.disabled():
        print(f"\n    {text}")  # noqa: T201  what was measured
