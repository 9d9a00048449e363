"""The image, built for real by buildah, on a base by debootstrap: there may be no registry and no engine."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST_BYTES: Final = 90_000_000
"""What the image may add to its base, uncompressed."""
_SUITE: Final = "bookworm"
_PACKAGES: Final = "python3,python3-venv,ca-certificates"
_BASE: Final = f"localhost/debian-python:{_SUITE}"
_CA: Final = "/run/secrets/ca.crt"
_PIP_KEYS: Final = ("index-url", "extra-index-url", "proxy")
"""What of this machine's pip reaches into a build; a certificate does too, as a file."""


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "otel-shell-detector", "image")


def _buildah(*arguments: str | Path) -> str:
    storage = ("--storage-driver", "vfs", "--root", _cache() / "storage", "--runroot", _cache() / "run")
    done = subprocess.run(
        ["buildah", *storage, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"buildah {arguments[0]}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout.strip()


def missing() -> str:
    """What this machine lacks, or nothing."""
    lacks = [name for name in ("buildah", "debootstrap", "unshare") if shutil.which(name) is None]
    if lacks:
        return f"not on this machine: {' '.join(lacks)}"
    return "" if os.geteuid() == 0 else "only root can unpack a base and change the root of a process"


def require() -> None:
    """Skip by name what cannot be built here; under CI that fails."""
    reason = missing()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"image: {reason}")
    if reason:
        pytest.skip(f"image: {reason}")


def _make_base() -> None:
    """Once for a machine: some minutes."""
    if _buildah("images", "--quiet", "--filter", f"reference={_BASE}"):
        return
    unpacked = _cache() / f"base-{_SUITE}"
    shutil.rmtree(unpacked, ignore_errors=True)
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, unpacked],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout[-4000:]
    shutil.rmtree(unpacked / "var/cache/apt", ignore_errors=True)
    container = _buildah("from", "scratch")
    _buildah("copy", container, unpacked, "/")
    _buildah("commit", "--rm", container, _BASE)
    shutil.rmtree(unpacked)


def _pip_setting(key: str) -> str:
    pip = [sys.executable, "-m", "pip", "config", "get", f"global.{key}"]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _secrets(folder: Path) -> list[str]:
    """How this machine reaches its packages, as arguments of a build."""
    lines = ["[global]", *(f"{key} = {value}" for key in _PIP_KEYS if (value := _pip_setting(key)))]
    arguments = []
    certificate = os.environ.get("PIP_CERT") or _pip_setting("cert")
    if certificate:
        lines.append(f"cert = {_CA}")
        arguments.append(f"--secret=id=ca.crt,src={certificate}")
    (folder / "pip.conf").write_text("\n".join([*lines, ""]))
    return [*arguments, f"--secret=id=pip.conf,src={folder / 'pip.conf'}"]


@dataclass(frozen=True)
class Image:
    """A built image and its unpacked root."""

    root: Path
    config: dict[str, Any]
    """Its ``config``, as the OCI image specification has it."""
    above_base_bytes: int
    """Size of its layers above the base, uncompressed."""
    base_files: frozenset[str]

    def environment(self) -> dict[str, str]:
        """The variables that a process gets from it."""
        return dict(each.split("=", 1) for each in self.config["Env"])


def _layers(image: str) -> list[str]:
    inspected = json.loads(_buildah("inspect", "--type", "image", image))
    layers: list[str] = inspected["OCIv1"]["rootfs"]["diff_ids"]
    return layers


def _above(image: str, folder: Path) -> int:
    """The size of what it adds to the base."""
    _buildah("push", "--disable-compression", "--format=oci", image, f"dir:{folder}")
    layers = json.loads((folder / "manifest.json").read_text())["layers"]
    base, all_of_it = _layers(_BASE), _layers(image)
    assert all_of_it[: len(base)] == base
    assert {each["mediaType"] for each in layers} == {"application/vnd.oci.image.layer.v1.tar"}
    return sum(each["size"] for each in layers[len(base) :])


def _files(root: Path) -> Iterator[str]:
    for folder, _, names in os.walk(root):
        for name in names:
            yield str(Path(folder, name).relative_to(root))


@contextmanager
def _unpacked(image: str) -> Iterator[Path]:
    container = _buildah("from", "--pull-never", image)
    try:
        yield Path(_buildah("mount", container))
    finally:
        _buildah("rm", container)


@contextmanager
def built(folder: Path) -> Iterator[Image]:
    """Build it; it is gone afterwards, the base stays."""
    _cache().mkdir(parents=True, exist_ok=True)
    with (_cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _make_base()
        name = f"localhost/otel-shell-detector:test-{os.getpid()}"
        labels = ("--build-arg=VERSION=1.2.3", "--build-arg=REVISION=abc")
        options = ("--isolation=chroot", "--pull-never", "--format=oci", f"--build-arg=BASE={_BASE}")
        _buildah("bud", *options, *labels, *_secrets(folder), f"--tag={name}", ".")
        try:
            inspected = json.loads(_buildah("inspect", "--type", "image", name))
            with _unpacked(_BASE) as base:
                of_base = frozenset(_files(base))
            with _unpacked(name) as root:
                yield Image(root, inspected["OCIv1"]["config"], _above(name, folder / "pushed"), of_base)
        finally:
            _buildah("rmi", name)
