"""Run a command as a container's runtime would, in the unpacked root of an image, under `unshare --mount`.

Not a test. The root is read-only, `/tmp` too: there is one volume, and one mount with secrets. The process
becomes the command, so it has its pid, its signals and its exit status.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

_PR_SET_NO_NEW_PRIVS = 38
STATE = "var/lib/otel-shell-detector"
SECRETS = "mnt"
"""A folder that each base has, for nothing can be made in a read-only root."""


def mount(*arguments: str | Path) -> None:
    """Mount, in the namespace of this process."""
    subprocess.run(["mount", *arguments], check=True)


def enter(root: Path, state: Path, secrets: Path) -> None:
    """Make it the root of this process."""
    mount("--bind", root, root)
    mount("-o", "remount,bind,ro", root)
    for name in ("dev", "proc"):
        mount("--rbind", f"/{name}", root / name)
    mount("--bind", state, root / STATE)
    mount("--bind", secrets, root / SECRETS)
    mount("-o", "remount,bind,ro", root / SECRETS)
    os.chroot(root)


def become(uid: int, gid: int) -> None:
    """Give up being root, for good."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")


def main() -> None:
    """Run what the only argument says."""
    asked = json.loads(sys.argv[1])
    enter(Path(asked["root"]), Path(asked["state"]), Path(asked["secrets"]))
    os.chdir(asked["folder"])
    become(asked["uid"], asked["gid"])
    os.environ["PATH"] = asked["environment"]["PATH"]
    os.execvpe(asked["command"][0], asked["command"], asked["environment"])


if __name__ == "__main__":
    main()
