"""The archive of the Splunk app: what is in it, always the same bytes, and what Splunk's AppInspect says."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.splunk.app import APP, ROOT
from tools import appinspect, splunk_app

if TYPE_CHECKING:
    from pathlib import Path


def build(folder: Path) -> Path:
    command = [sys.executable, str(ROOT / "tools" / "splunk_app.py"), "--dist", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return type(folder)(done.stdout.strip())


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    first, second = build(tmp_path / "a"), build(tmp_path / "b")
    assert first.name == second.name == f"TA-otel-shell-detector-{splunk_app.version()}.tar.gz"
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[3:8] == b"\0" * 5  # gzip: no name, no time


def test_the_archive_holds_the_tree_and_the_licence_and_nothing_of_this_machine(tmp_path: Path) -> None:
    with tarfile.open(build(tmp_path)) as archive:
        entries = archive.getmembers()
        content = {
            entry.name.removeprefix(f"{APP.name}/"): archive.extractfile(entry).read()  # type: ignore[union-attr]  # it is a file
            for entry in entries
            if entry.isfile()
        }
    tree = {path.relative_to(APP).as_posix(): path.read_bytes() for path in APP.rglob("*") if path.is_file()}
    assert content == tree | {"LICENSE": (ROOT / "LICENSE").read_bytes()}
    assert [entry.name for entry in entries] == sorted(entry.name for entry in entries)
    assert {(entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) for entry in entries} == {
        (0, 0, "", "", 0)
    }
    assert {entry.mode for entry in entries} == {0o644, 0o755}


@pytest.mark.peers
def test_appinspect_finds_no_error_no_failure_and_no_warning(tmp_path: Path) -> None:
    if not appinspect.PROGRAM.exists() and os.environ.get("CI") != "true":
        pytest.skip("AppInspect is not there: make splunk-env")
    checks = appinspect.inspect(build(tmp_path))
    assert [check for check in checks if check["result"] not in appinspect.FINE] == []
    passed = sum(check["result"] == "success" for check in checks)
    silent = [
        check["name"] for check in checks if check["result"] == "not_applicable" and not check["reason"]
    ]
    assert (passed > 100, len(checks) > 250, silent) == (True, True, [])


@pytest.mark.peers
def test_appinspect_finds_what_is_wrong(tmp_path: Path) -> None:
    if not appinspect.PROGRAM.exists() and os.environ.get("CI") != "true":
        pytest.skip("AppInspect is not there: make splunk-env")
    files = splunk_app.contents()
    name = f"{APP.name}/default/app.conf"
    files[name] = files[name].replace(b"is_configured = false", b"is_configured = true")
    (tmp_path / "wrong.tar.gz").write_bytes(splunk_app.archive(files))
    command = [sys.executable, str(ROOT / "tools" / "appinspect.py"), str(tmp_path / "wrong.tar.gz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "failure: check_that_setup_has_not_been_performed: The app.conf [install] stanza" in done.stdout
