"""One process alone works with a state."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from store.lock import Lock
from store.seams import CannotOpenStore
from store.sqlite import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

WALL_NS = 1_700_000_000_000_000_000
HOLD = """
import sys, time
from pathlib import Path
from store.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_store_is_refused_and_told_who_has_the_first(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, wall_ns=lambda: WALL_NS)
    holder = f"pid {os.getpid()} on host {socket.gethostname()} since 2023-11-14T22:13:20+00:00"
    wanted = f"state.path: {tmp_path}: in use by {holder}: want a directory of its own"
    with pytest.raises(CannotOpenStore, match=f"^{re.escape(wanted)}$"):
        SqliteStore(tmp_path)
    store.close()
    SqliteStore(tmp_path).close()


def test_another_process_holds_it_until_it_ends_however_it_ends(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(CannotOpenStore, match=f"in use by pid {process.pid} on host"):
            SqliteStore(tmp_path)
        process.kill()
        process.wait(60)
        store = SqliteStore(tmp_path)
    assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    store.close()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', "\x00" * 9_000])
def test_a_lock_that_does_not_say_by_whom_is_held_all_the_same(tmp_path: Path, content: str) -> None:
    lock = Lock(tmp_path, WALL_NS)
    (tmp_path / "lock").write_text(content)
    with pytest.raises(CannotOpenStore, match=r": in use by another process: want a directory of its own$"):
        Lock(tmp_path, WALL_NS)
    lock.release()
    Lock(tmp_path, WALL_NS).release()


def test_a_lock_that_cannot_be_written_holds_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    lock = Lock(tmp_path, WALL_NS)
    with pytest.raises(CannotOpenStore, match="in use by another process"):
        Lock(tmp_path, WALL_NS)
    lock.release()
