"""A million events of 1.5 KB wait: Splunk was away for days.

A real process starts on them, is ready, lists and delivers them all, in order. ``SOAK=1`` starts it with
nothing of the file in the memory of the system, as on a new machine; that is as fast as the disk reads two
gigabytes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from detector.events import Lane
from tests.e2e.processes import ROOT, Started, free_port, until
from tests.reliability.backlog import ROOM, OrderedHec, build, id_of, lane_of
from tests.reliability.serving import MIB, delivering, environment, is_ready, peak, report

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the resident set is read from /proc"),
]

EVENTS: Final = 1_000_000
COLD: Final = bool(os.environ.get("SOAK"))
_LISTING: Final = (
    "import pathlib, sys; from otel_shell_detector.cli import main; status = main(sys.argv[1:]);"
    " sys.stderr.write(pathlib.Path('/proc/self/status').read_text()); sys.exit(status)"
)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("backlog") / "state"
    build(folder, EVENTS)
    yield folder
    shutil.rmtree(folder)


def processor_s(pid: int) -> float:
    """Processor time of a process so far: other than the time that passes, it is its own."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def listed(state: Path, *options: str) -> tuple[str, int]:
    """What ``outbox list`` prints, and its peak."""
    done = subprocess.run(
        [sys.executable, "-c", _LISTING, "outbox", "list", *options],
        cwd=ROOT,
        env=environment(state, ROOM),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, peak(done.stderr)


def test_a_million_waiting_events_are_listed_in_little_memory(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts, peak_of_counts = listed(state)
    waiting = Counter(map(lane_of, range(EVENTS)))
    assert [line.split() for line in counts.splitlines()[:4]] == [
        ["lane", "waiting"],
        *([str(lane), str(waiting[lane])] for lane in Lane),
    ]
    text, peak_of_events = listed(state, "--waiting", "--limit", "1000", "--bodies", "--json")
    found = [json.loads(line)["event_id"] for line in text.splitlines()]
    of_lane = {lane: [each for each in range(10_000) if lane_of(each) is lane] for lane in Lane}
    assert found == [id_of(each) for lane in Lane for each in of_lane[lane][:1000]]
    report(capsys, f"outbox list: peak {peak_of_counts / MIB:.0f} and {peak_of_events / MIB:.0f} MiB")
    assert max(peak_of_counts, peak_of_events) < 128 * MIB


def test_a_million_waiting_events_do_not_keep_it_from_being_ready_and_are_delivered_in_order(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if COLD:
        _forget(state / "state.db")
    http, started = free_port(), Started(tmp_path)
    with OrderedHec(EVENTS) as hec:
        keys = delivering(tmp_path, http, hec.port)
        began = time.monotonic()
        service = started.start(
            "service",
            [sys.executable, "-m", "otel_shell_detector", "serve"],
            environment(state, ROOM, **keys),
        )
        status = Path(f"/proc/{service.pid}/status")
        try:
            while not is_ready(http):
                assert service.poll() is None, started.log("service")
                time.sleep(0.02)
            ready_s, worked_s = time.monotonic() - began, processor_s(service.pid)
            _, peak_of_list = listed(state, "--waiting", "--limit", "1000", "--bodies")
            until("all are delivered", lambda: hec.right == EVENTS or bool(hec.wrong), 600)
            drained_s = time.monotonic() - began - ready_s
            peak_of_service = peak(status.read_text())
            service.send_signal(signal.SIGTERM)
            assert service.wait(30) == 0
        finally:
            started.end()
    report(
        capsys,
        f"ready after {ready_s:.1f} s{' (cold)' if COLD else ''} ({worked_s:.1f} s of work),"
        f" {EVENTS / drained_s:,.0f} events/s for {drained_s:.0f} s, peak {peak_of_service / MIB:.0f} MiB;"
        f" outbox list {peak_of_list / MIB:.0f} MiB",
    )
    assert (hec.right, hec.wrong) == (EVENTS, [])
    assert Counter(listed(state)[0].split())["0"] == len(Lane)
    assert worked_s < 10  # it is ready as soon on a machine and a disk with nothing else to do
    assert peak_of_service < 256 * MIB
    assert peak_of_list < 128 * MIB


def _forget(path: Path) -> None:
    """Have the system forget what it has read of a file."""
    file = os.open(path, os.O_RDWR)
    try:
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)
