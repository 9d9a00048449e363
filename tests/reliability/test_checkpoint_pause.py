"""100,000 open sessions: what their checkpoints cost the answers, the disk, and a restart.

A core with its state in SQLite is turned by hand, a turn for each request, so that what a turn takes is what
the next request waits for. Time is that of the story; how long turns take is measured as CPU time of the
thread, which neither a busy machine nor a slow disk changes. Every node is scraped every 10 s, and each of
its 200 shells is in each scrape. ``SOAK=1`` goes on for ten minutes of the story, not a minute and a half.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from detector.judging.rules import JudgeRules
from detector.rules import Rules
from detector.types import Arrival, NodeId
from exporter.event import encode
from exporter.settings import EventSettings
from otel_shell_detector.bench import Bench
from otel_shell_detector.clocks import Clocks
from otel_shell_detector.core import Core
from store import codec
from store.sqlite import SqliteStore
from telemetry import metrics
from tests.detector.world import cpu, memory, ns, record, sample
from tests.e2e.processes import Started, free_port
from tests.reliability.serving import MIB, delivering, environment, is_ready, peak, report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.types import Record, Step
    from otel_shell_detector.bench import Sentence
    from store.seams import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200 if os.environ.get("SOAK") else 1800)]

NODES: Final = 500
SHELLS: Final = 200
INTERVAL_S: Final = 10
SCRAPES: Final = 60 if os.environ.get("SOAK") else 9
ROOM: Final = 4 << 30
PAUSE_S: Final = 0.25
ENCODE: Final = partial(encode, settings=EventSettings())


def scrape(node: int, shells: int, at: float) -> Record:
    """What a node's collector sends: each shell uses some CPU and has a command line of its own."""
    host = f"worker-{node}.example.internal"
    line = f"bash -c 'while read -r item; do handle --node {node} \"$item\"; done' < /var/run/queue/"
    samples = [
        sample(at, (*cpu(at, 0.25, 0.01), *memory(at, 0.05)), pid=number, host=host, line=f"{line}{number}")
        for number in range(1000, 1000 + shells)
    ]
    return record(at, *samples, node=NodeId("prod", f"worker-{node}"), init=-5000)


@dataclass
class Turned:
    """A core over a folder, and what its turns took: CPU seconds, and what was passed of time on the wall.

    ``steps`` are the parts of turns that checkpoint, without the judging of what is found in the same turn,
    and without the passes of Python's garbage collector, which comes when it likes; ``turns`` are whole.
    """

    folder: Path
    seconds: float = 0.0
    steps: list[float] = field(default_factory=list)
    turns: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    collected: list[float] = field(default_factory=list)
    judged: float = 0.0
    written: int = 0
    checkpoints: int = 0
    windows: int = 0
    journaled: int = 0

    def __post_init__(self) -> None:
        self._begun = 0.0
        clocks = Clocks(self._now_ns, lambda: ns(self.seconds))
        self.store = SqliteStore(self.folder, max_size=ROOM)
        self.core = Core(Rules(), self.store, Bench(JudgeRules(), ENCODE), lambda: None, clocks)
        self.core.turn(0)
        self._conclude, self._hear = self.core._conclude, self.core._bench.hear
        # The same, with a watch.
        self.core._conclude = self._measured  # type: ignore[assignment]
        self.core._bench.hear = self._heard  # type: ignore[method-assign]

    def _now_ns(self) -> int:
        return round((self.seconds + (time.thread_time() - self._begun if self._begun else 0.0)) * 1e9)

    def _measured(self, step: Step) -> None:
        before, collected, judged = _made(), sum(self.collected), self.judged
        begun = time.thread_time()
        self._conclude(step)
        if _made() > before:
            took = time.thread_time() - begun - (self.judged - judged)
            self.steps.append(took - (sum(self.collected) - collected))

    def _heard(self, store: Store, step: Step, now_ns: int, wall_ns: int) -> Sentence:
        collected, begun = sum(self.collected), time.thread_time()
        sentence = self._hear(store, step, now_ns, wall_ns)
        self.judged += time.thread_time() - begun - (sum(self.collected) - collected)
        return sentence

    def _collects(self, phase: str, _info: object) -> None:
        if phase == "start":
            self._collecting = time.thread_time()
        else:
            self.collected.append(time.thread_time() - self._collecting)

    def run(self, nodes: int, shells: int, scrapes: int) -> None:
        written, made, windows = metrics.CHECKPOINT_BYTES._value.get(), _made(), _closed()
        gc.callbacks.append(self._collects)
        try:
            for at in range(0, scrapes * INTERVAL_S, INTERVAL_S):
                for node in range(nodes):
                    self.seconds = at + node * INTERVAL_S / nodes
                    self._turn(scrape(node, shells, self.seconds))
        finally:
            gc.callbacks.remove(self._collects)
        self.written = round(metrics.CHECKPOINT_BYTES._value.get() - written)
        self.checkpoints = round(_made() - made)
        self.windows = round(_closed() - windows)
        of_scrape = (Arrival(scrape(node, shells, self.seconds), 0, 0) for node in range(nodes))
        self.journaled = scrapes * sum(len(codec.dump_arrival(each)) for each in of_scrape)

    def _turn(self, item: Record) -> None:
        self.core._inbox.submit([item])
        wall, self._begun = time.perf_counter(), time.thread_time()
        self.core.turn(0)
        self.turns.append(time.thread_time() - self._begun)
        self.wall.append(time.perf_counter() - wall)
        self._begun = 0.0


def ms(took: list[float]) -> str:
    """The longest of them."""
    return f"{max(took) * 1e3:.0f} ms"


def _made() -> float:
    return float(metrics.CHECKPOINTS._value.get())


def _closed() -> float:
    return float(metrics.DETECTOR_WINDOWS.labels(result="survived")._value.get())


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Turned]:
    """A core that ended without a word, after all that."""
    found = Turned(tmp_path_factory.mktemp("checkpoints") / "state")
    found.run(NODES, SHELLS, SCRAPES)
    assert found.core._detector.open_sessions() == NODES * SHELLS
    found.store.close()
    yield found
    (found.folder / "state.db").unlink()


def test_checkpoints_of_100000_sessions_stop_the_answers_for_less_than_a_quarter_of_a_second(
    turned: Turned, capsys: pytest.CaptureFixture[str]
) -> None:
    report(
        capsys,
        f"{turned.checkpoints} checkpoints in {len(turned.steps)} steps of at most {ms(turned.steps)} of CPU;"
        f" a turn took at most {ms(turned.turns)} of CPU, {ms(turned.wall)} on the wall; Python's collector"
        f" took at most {ms(turned.collected)}",
    )
    assert turned.checkpoints >= 2 * NODES
    assert max(turned.steps) < PAUSE_S


def test_the_garbage_collector_does_not_walk_what_is_kept_of_a_shell(turned: Turned) -> None:
    """It stops everything while it does: half a second, were what is kept made of objects."""
    shell = next(iter(next(iter(turned.core._detector._nodes.values()))._shells))
    walked = {type(each).__name__ for each in gc.get_referents(shell) if gc.is_tracked(each)}
    assert walked == {"type", "ShellId", "State"}


def test_checkpoints_write_no_more_than_the_journal_does(
    turned: Turned, capsys: pytest.CaptureFixture[str]
) -> None:
    report(
        capsys,
        f"of {turned.windows} closed windows each cost {turned.written / turned.windows:.0f} bytes of"
        f" checkpoints and {turned.journaled / turned.windows:.0f} bytes of journal",
    )
    assert turned.windows > NODES * SHELLS * (SCRAPES - 3)
    assert 0 < turned.written <= turned.journaled


def test_a_node_with_thousands_of_shells_stops_the_answers_no_longer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint is of one node, so the largest node bounds it; that of 10,000 shells comes near."""
    turned = Turned(tmp_path / "state")
    turned.run(1, 5000, 9)
    turned.store.close()
    report(capsys, f"a checkpoint of a node with 5,000 sessions took {ms(turned.steps)} of CPU")
    assert turned.checkpoints == 1
    assert max(turned.steps) < PAUSE_S


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the resident set is read from /proc")
def test_a_restart_with_100000_open_sessions_is_ready_and_has_them(
    turned: Turned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    http, started = free_port(), Started(tmp_path)
    keys = delivering(tmp_path, http, free_port())
    began = time.monotonic()
    service = started.start(
        "service",
        [sys.executable, "-m", "otel_shell_detector", "serve"],
        environment(turned.folder, ROOM, **keys),
    )
    try:
        while not is_ready(http):
            assert service.poll() is None, started.log("service")
            time.sleep(0.05)
        ready_s = time.monotonic() - began
        taken = peak(Path(f"/proc/{service.pid}/status").read_text())
        service.send_signal(signal.SIGTERM)
        assert service.wait(60) == 0
    finally:
        started.end()
    report(capsys, f"ready after {ready_s:.1f} s with {NODES * SHELLS} sessions, peak {taken / MIB:.0f} MiB")
    assert f'"sessions": {NODES * SHELLS}' in started.log("service")
    assert taken < 512 * MIB
