"""The layout in which Kubernetes mounts a ConfigMap."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class ConfigMap:
    """A directory as kubelet's AtomicWriter makes it.

    The files stand in a directory that is named after the time, ``..data`` is a link to it, and each name
    that a pod sees a link through that. A change is a new directory, and ``..data`` replaced by a rename.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._version = 0

    def write(self, files: Mapping[str, str]) -> None:
        """Put these files in the place of all others."""
        self._version += 1
        new = self.folder / f"..2026_03_01_12_00_{self._version:02}.1"
        new.mkdir()
        for name, content in files.items():
            (new / name).write_text(content)
        data = self.folder / "..data"
        old = data.readlink() if data.is_symlink() else None
        (self.folder / "..data_tmp").symlink_to(new.name)
        (self.folder / "..data_tmp").rename(data)
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        for link in self.folder.iterdir():
            if link.is_symlink() and not link.exists():
                link.unlink()
        if old is not None:
            for file in (self.folder / old).iterdir():
                file.unlink()
            (self.folder / old).rmdir()
