#!/usr/bin/env python3
"""Builds the Splunk app: dist/TA-otel-shell-detector-VERSION.tar.gz, and prints its path. `make splunk-app`.

The same files make the same bytes: sorted, without an owner, a time or the modes of this machine.
"""

import argparse
import gzip
import io
import sys
import tarfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "deploy" / "splunk" / "TA-otel-shell-detector"


def version() -> str:
    """The version of the product, which is the app's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def contents() -> dict[str, bytes]:
    """The files of the archive by name, the licence beside what stands in the tree, sorted."""
    files = {path.relative_to(APP).as_posix(): path for path in APP.rglob("*") if path.is_file()}
    ours = {
        name: path for name, path in files.items() if not any(p.startswith(".") for p in Path(name).parts)
    }
    ours["LICENSE"] = ROOT / "LICENSE"
    return {f"{APP.name}/{name}": path.read_bytes() for name, path in sorted(ours.items())}


def archive(files: dict[str, bytes]) -> bytes:
    """A gzipped tar of these files and the folders that hold them."""
    folders = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as out:
        for name in sorted(folders | files.keys()):
            entry = tarfile.TarInfo(name)
            if name in files:
                entry.size, entry.mode = len(files[name]), 0o644
                out.addfile(entry, io.BytesIO(files[name]))
            else:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                out.addfile(entry)
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=0) as out_gz:
        out_gz.write(tar.getvalue())
    return packed.getvalue()


def main() -> int:
    """Write the archive; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where to put it")
    options = parser.parse_args()
    options.dist.mkdir(parents=True, exist_ok=True)
    path = options.dist / f"{APP.name}-{version()}.tar.gz"
    path.write_bytes(archive(contents()))
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
