"""Programs that run on a real file system of their own, in a mount namespace: where root may mount one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

IN_MEMORY = "mount -t tmpfs -o size=16m tmpfs {folder}"
"""16 MiB."""
ON_DEVICE = (
    "truncate -s 32M {folder}.image && mkfs.ext4 -q -F -O ^has_journal {folder}.image"
    " && mount -o loop,errors=remount-ro {folder}.image {folder}"
)
"""One that turns read-only when it meets an error, as a node's disk does."""


def run_on_disk(mount: str, folder: Path, program: str) -> list[str]:
    """Run a program with the folder of the mounted disk as its argument; returns what it prints but logs."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("mounting a file system takes root and unshare(1)")
    mount = mount.format(folder=folder)
    allowed = subprocess.run(
        ["unshare", "-m", "sh", "-c", f"{mount} && umount {folder}"], capture_output=True, check=False
    )
    if allowed.returncode:
        pytest.skip(f"mounting this file system is not allowed here: {allowed.stderr.decode()}")
    command = f'{mount} && exec "$0" "$@"'
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", command, sys.executable, "-c", program, str(folder)],
        capture_output=True,
        check=False,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return [line for line in ran.stdout.decode().splitlines() if "[" not in line]
