"""rotel, an OTLP agent in Rust that is published as a wheel: fetched once, into the cache of the peers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

VERSION: Final = "0.0.1a15"
_FETCH_S: Final = 120


class RotelMissingError(Exception):
    """It is not on this machine; the message says why."""


def binary(*, fetch: bool) -> Path:
    """Where the program is. Raises :class:`RotelMissingError`."""
    tag = sys.implementation.cache_tag  # there is a wheel for each Python
    folder = _cache() / f"rotel-{VERSION}-{tag}"
    path = folder / "rotel/rotel-agent"
    if not path.exists():
        if not fetch:
            raise RotelMissingError(f"rotel {VERSION} is not in the peers' cache; make bench fetches it")
        folder.mkdir(parents=True, exist_ok=True)
        _fetch(folder)
        path.chmod(0o755)
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RotelMissingError(f"rotel {VERSION} does not start: {done.stderr.strip()}")
    return path


def _fetch(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-d", name]
        try:
            done = subprocess.run(
                [*command, f"rotel=={VERSION}"],
                capture_output=True,
                text=True,
                check=False,
                timeout=_FETCH_S,
            )
        except subprocess.TimeoutExpired:
            raise RotelMissingError(f"rotel {VERSION} was not to be had within {_FETCH_S} s") from None
        wheels = list(Path(name).glob("*.whl"))
        if done.returncode or not wheels:
            why = done.stderr.strip().splitlines()[-1:] or ["no wheel"]
            raise RotelMissingError(f"rotel {VERSION} is not to be had: {why[0]}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extract("rotel/rotel-agent", folder)


def _cache() -> Path:
    """As ``peers/build`` has it."""
    if chosen := os.environ.get("OTEL_SHELL_DETECTOR_PEERS"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-shell-detector/peers"
