"""What the chart asks for is what the service takes: memory by what is in flight, and room on the volume.

Memory is the peak of the resident set of a real service, with its state in a file.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import grpc
import pytest

from detector.events import Event, Lane
from detector.types import Arrival, NodeId, Record
from store.seams import Commit, StoreError
from store.sqlite import SqliteStore
from tests.chart.helm import CHART, objects, only
from tests.e2e.processes import ROOT, Started, free_port, until
from tests.otlp_receiver.captures import bare
from tests.otlp_receiver.serving import EXPORT
from tests.reliability.serving import MIB, environment, is_ready, peak, report

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [
    pytest.mark.peers,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the resident set is read from /proc"),
]

FLIGHT_MIB: Final = 64
"""``receiver.max_in_flight`` by default."""
ROUNDS: Final = 3
RETRIED: Final = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}


class Asked(NamedTuple):
    """What a release asks for, in bytes."""

    request: int
    limit: int
    volume: int


def asked() -> Asked:
    stateful_set = only(objects(CHART / "ci/minimal-values.yaml"), "StatefulSet")["spec"]
    resources = stateful_set["template"]["spec"]["containers"][0]["resources"]
    [claim] = stateful_set["volumeClaimTemplates"]
    return Asked(
        _mebibytes(resources["requests"]["memory"]),
        _mebibytes(resources["limits"]["memory"]),
        int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) << 30,
    )


def _mebibytes(text: str) -> int:
    return int(text.removesuffix("Mi")) * MIB


class Served:
    """A service, and how it is told a scrape of 300 processes by many collectors at once."""

    def __init__(self, started: Started) -> None:
        self.port, http = free_port(), free_port()
        keys = {
            "RECEIVER__ENDPOINT": f"127.0.0.1:{self.port}",
            "HTTP__ENDPOINT": f"127.0.0.1:{http}",
            "EXPORTER__SINK": "file",
            "EXPORTER__FILE__PATH": str(started.folder / "events.jsonl"),
        }
        command = [sys.executable, "-m", "otel_shell_detector", "serve"]
        process = started.start("service", command, environment(started.folder / "state", 1 << 30, **keys))
        until("the service is ready", lambda: is_ready(http), 60)
        self._process = Path(f"/proc/{process.pid}")

    def peak(self) -> int:
        return peak((self._process / "status").read_text())

    def seconds(self) -> float:
        """Of CPU so far."""
        fields = (self._process / "stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def tell(self, body: bytes, collectors: int) -> Counter[str]:
        """Each collector sends a few requests, each by a connection of its own; what they were answered."""

        def run(_: int) -> Sequence[str]:
            options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(f"127.0.0.1:{self.port}", options) as channel:
                call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
                return [answer(call) for _ in range(ROUNDS)]

        def answer(call: grpc.UnaryUnaryMultiCallable[bytes, bytes]) -> str:
            try:
                call(body, timeout=30)
            except grpc.RpcError as error:
                if error.code() in RETRIED:
                    return "again"
                raise
            return "taken"

        with ThreadPoolExecutor(collectors) as pool:
            return Counter(each for answers in pool.map(run, range(collectors)) for each in answers)


def scrapes(size: int) -> bytes:
    """A request of about that size: scrapes of 300 processes, as a gateway batches them."""
    quiet = bare("scrape-300-quiet.pb")  # requests that follow each other are one request
    return bare("scrape-300.pb") + quiet * (size // len(quiet) - 1)


def test_memory_is_asked_for_as_it_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started = Started(tmp_path)
    told, peaks, taken = [], [], []
    try:
        served = Served(started)
        idle = served.peak()
        for collectors, size in ((64, 600_000), (16, 4 * MIB), (16, 16 * MIB)):
            body, seconds = scrapes(size), served.seconds()
            answers = served.tell(body, collectors)
            peaks.append(served.peak())
            taken.append(answers["taken"])
            told.append(
                f"{collectors} senders of {len(body) / MIB:.1f} MiB: {peaks[-1] / MIB:.0f} MiB,"
                f" {(served.seconds() - seconds) / answers.total() * 1000:.0f} ms of CPU each,"
                f" {answers['again']} of {answers.total()} to be tried again"
            )
    finally:
        started.end()
    want = asked()
    report(capsys, f"idle {idle / MIB:.0f} MiB; " + "; ".join(told))
    assert (want.request, want.limit) == ((128 + 4 * FLIGHT_MIB) * MIB, (256 + 8 * FLIGHT_MIB) * MIB)
    assert min(taken) > 0
    assert idle < 128 * MIB
    assert max(peaks[:2]) <= want.request
    assert peaks[2] <= want.limit


def test_a_full_state_has_room_on_the_smallest_volume_that_is_taken(tmp_path: Path) -> None:
    """What the folder takes of the disk at most, log and ballast included, while more comes than may stay."""
    most = 16 * MIB
    store = SqliteStore(tmp_path, max_size=most)
    largest = 0

    def taken() -> int:
        return sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir())

    arrival = Arrival(Record(NodeId("c", "n"), (), (1,)), 1, 1)
    events = (Event(Lane.RISK, "waits", b"x" * 8000),) * 500  # a transaction of 4 MB
    while store._space.used_bytes() <= most * 7 // 8:
        store.append([arrival])
        store.commit(Commit(events=events))
        largest = max(largest, taken())
    with pytest.raises(StoreError, match=r"state\.max_size"):
        store.append([arrival])
    store.close()
    assert most * 7 // 8 < largest <= most + most // 8 + 64 * MIB


def test_the_volume_of_a_release_holds_a_damaged_state_beside_what_is_read_of_it() -> None:
    assert asked().volume >= 2 * (1 << 30) + (1 << 30) // 8 + 64 * MIB


def test_the_documented_command_is_this_file() -> None:
    assert f"pytest {Path(__file__).relative_to(ROOT)}" in (ROOT / "docs/deploy.md").read_text(
        encoding="utf-8"
    )
