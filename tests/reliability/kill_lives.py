"""The lives of a service that is killed again and again, and what each of them left behind."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import apsw

from tests.e2e.processes import ROOT, environment_without_keys
from tests.exporter.scripted_hec import TOKEN
from tests.reliability.kill_hec import TIMEOUT_S, UnreliableHec
from tests.reliability.oracle import RENOTIFY_S

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.reliability.load import Tally

START_LIMIT_S: Final = 60.0
MOST_MEMORY: Final = 256 << 20
EXPECTED_TROUBLE: Final = frozenset(
    {
        "delivery.undelivered_at_stop",
        "detector.node_returned",
        "detector.node_silent",
        "detector.placement_unknown",
        "exporter.retrying",
        "process.configuration_concern",
        "receiver.request_refused",
    }
)
"""What a life may log at the level of warnings and above."""
_PORTS: Final = range(20_000, 30_000)
"""Below what the kernel gives to whoever connects: between two lives a port of ours must stay ours."""


def port_of_ours(chance: random.Random) -> int:
    """A loopback port that nobody listens on, and that nobody gets by connecting somewhere."""
    while True:
        port = chance.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@dataclass
class Seen:
    """How the kills met the service: counts of kills, unless told otherwise."""

    kills: int = 0
    during_start: int = 0
    during_stop: int = 0
    calls_cut_off: int = 0
    """With calls under way, which got no answer."""
    outbox_waiting: int = 0
    journal_trimmed: int = 0
    """With checkpoints, behind which the journal had been trimmed."""
    stops: int = 0
    """Lives that ended in order before they could be killed: no kills."""
    recoveries: int = 0
    """Lives that began with records of the journal."""
    recovered_records: int = 0
    start_s: float = 1.0
    """How long the last start took."""


class Lives:
    """Starts the service, and ends it. ``chance`` decides when; ``more`` is of the configuration."""

    def __init__(
        self, folder: Path, hec: UnreliableHec, tally: Tally, chance: random.Random, **more: str
    ) -> None:
        self.port, self.http = port_of_ours(chance), port_of_ours(chance)
        self.state = folder / "state"
        self.seen = Seen()
        self._folder, self._hec, self._tally, self._chance = folder, hec, tally, chance
        self._process: subprocess.Popen[bytes] | None = None
        token = folder / "token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        keys = {
            "RECEIVER__ENDPOINT": f"127.0.0.1:{self.port}",
            "HTTP__ENDPOINT": f"127.0.0.1:{self.http}",
            "DETECTOR__WINDOW": "1s",
            "DETECTOR__LATENESS": "1s",
            "DETECTOR__RENOTIFY": f"{RENOTIFY_S}s",
            "STATE__PATH": str(self.state),
            "EXPORTER__SINK": "hec",
            "EXPORTER__HEC__URL": f"http://127.0.0.1:{hec.port}",
            "EXPORTER__HEC__TOKEN_FILE": str(token),
            "EXPORTER__HEC__TIMEOUT": f"{TIMEOUT_S * 1000:.0f}ms",
            "RISK__PROFILE": "once",
            "RISK__BURST__AFTER": "0",
        } | more
        self._environment = {
            name: value for name, value in environment_without_keys().items() if not name.startswith("COV")
        } | {f"OTEL_SHELL_DETECTOR_{key}": value for key, value in keys.items()}

    # --- one life

    def begin(self, *, checkpoint_soon: bool = False, ack: bool = False) -> None:
        """Start the service; ``ack``: an event is delivered once the HEC server acknowledges it."""
        self._tally.life += 1
        module = ["tests.reliability.kill_service"] if checkpoint_soon else ["otel_shell_detector", "serve"]
        with self._log().open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=ROOT,
                env=self._environment | {"OTEL_SHELL_DETECTOR_EXPORTER__HEC__ACK": str(ack).lower()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill_until(self, kills: int) -> None:
        """Live and be killed so often."""
        while self.seen.kills < kills:
            self._live_and_be_killed()

    def _live_and_be_killed(self) -> None:
        chance = self._chance
        self.begin(checkpoint_soon=chance.random() < 2 / 3, ack=chance.random() < 1 / 3)
        [way] = chance.choices(("starting", "running", "delivering", "stopping"), (20, 55, 15, 10))
        if way == "starting":
            time.sleep(chance.uniform(0.0, 1.1) * self.seen.start_s)
        else:
            self.wait_until_started()
            time.sleep(chance.uniform(0.0, 1.2 if way == "running" else 0.3))
        if way == "delivering":
            self._hec.took.clear()
            self._hec.took.wait(1.0)
        if way == "stopping":
            self._running().send_signal(signal.SIGTERM)
            time.sleep(chance.uniform(0.0, 0.7))  # a stop with nothing to do takes half a second
        self._kill(is_stopping=way == "stopping")

    def wait_until_started(self) -> None:
        """Until everything runs. Fails if the service ends by itself."""
        begun = time.monotonic()
        while not self._has_started():
            assert self._running().poll() is None, self._told_of("it ended by itself")
            assert time.monotonic() - begun < START_LIMIT_S, self._told_of("it did not start")
            time.sleep(0.01)
        self.seen.start_s = time.monotonic() - begun

    def _kill(self, *, is_stopping: bool) -> None:
        process = self._running()
        if not is_stopping:
            assert process.poll() is None, self._told_of("it ended by itself")
        self._check_memory()
        process.kill()
        status = process.wait()
        allowed = {0, -signal.SIGKILL} if is_stopping else {-signal.SIGKILL}
        assert status in allowed, self._told_of(f"it ended by itself, with {status}")
        self._check_log()
        if status == 0:
            self.seen.stops += 1
            return
        self.seen.kills += 1
        self.seen.during_stop += is_stopping
        self.seen.during_start += not self._has_started()
        self._look_into_state()

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        self._check_memory()
        self._running().send_signal(signal.SIGTERM)
        status = self._running().wait(timeout=25)
        self._check_log()
        return status

    def is_ready(self) -> bool:
        """What ``/readyz`` says."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/readyz", timeout=10) as reply:
                return bool(reply.status == 200)
        except urllib.error.URLError:
            return False

    def end(self) -> None:
        """Whatever happened, leave no process behind."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def summary(self, **more: int) -> dict[str, Any]:
        """What was seen here, by the agents and by the HEC server."""
        self.seen.calls_cut_off = len(self._tally.cut_off)
        return {
            **more,
            **vars(self.seen),
            "requests_taken": self._tally.taken,
            "requests_told_to_wait": self._tally.told_to_wait,
            "requests_cut_off": sum(self._tally.cut_off.values()),
            "hec_answers": dict(self._hec.answers),
            "events": len(self._hec.taken),
            "events_delivered_again": sum(count > 1 for count in self._hec.taken.values()),
        }

    # --- what a life leaves

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def _log(self) -> Path:
        return self._folder / f"life-{self._tally.life}.log"

    def _has_started(self) -> bool:
        return b'"service.started"' in self._log().read_bytes()

    def _told_of(self, what: str) -> str:
        return f"life {self._tally.life}: {what}: {self._log().read_text()}"

    def _check_memory(self) -> None:
        status = Path(f"/proc/{self._running().pid}/status")
        if status.exists():  # else this is no Linux
            peak = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
            assert peak is None or int(peak[1]) << 10 < MOST_MEMORY, self._told_of(f"it took {peak[1]} kB")

    def _check_log(self) -> None:
        """Nothing that it said tells of a defect; and add up what it recovered."""
        *lines, _cut = self._log().read_bytes().split(b"\n")
        for line in lines:
            said = json.loads(line)
            is_fine = said["level"] in {"debug", "info"} or said["event"] in EXPECTED_TROUBLE
            assert is_fine, self._told_of(said["event"])
            if said["event"] == "core.recovered":
                self.seen.recoveries += said["records"] > 0
                self.seen.recovered_records += said["records"]

    def _look_into_state(self) -> None:
        """Open a copy of the file: the service alone may open the file itself."""
        copies = [self._folder / f"copy.db{end}" for end in ("", "-wal")]
        for copy, end in zip(copies, ("", "-wal"), strict=True):
            copy.unlink(missing_ok=True)
            source = self.state / f"state.db{end}"
            if source.exists():
                shutil.copyfile(source, copy)
        if not copies[0].exists():
            return
        connection = apsw.Connection(str(copies[0]))
        try:
            [(said,)] = connection.execute("PRAGMA quick_check")
            assert said == "ok", self._told_of(f"it left a damaged file: {said}")
            [(has_tables,)] = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'outbox'")
            if has_tables:
                [(waiting, nodes, first)] = connection.execute(
                    "SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM checkpoint),"
                    " (SELECT ifnull(min(position), 1) FROM journal)"
                )
                self.seen.outbox_waiting += waiting > 0
                self.seen.journal_trimmed += nodes > 0 and first > 0
        finally:
            connection.close()


def until(what: str, holds: Callable[[], bool], within_s: float) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.05)
