"""``make bench``: the contenders side by side, on the same requests.

    python -m bench.contest [--quick] [--requests 300] [--rounds 5] [--connections 16] [--json FILE]

For each number of shells every contender is started and gets a first scrape of each node, so that the
shells are known. Then come rounds: each contender in turn, uncompressed and compressed. Before it counts, a
contender gets some requests on the same connections. It keeps running until the number of shells changes.

Counted is the CPU time of the server's process from the first request to a moment after the last answer
(``settle_s``). A window of the service closes seconds later: each round ends when all have, and what the
closing took beside idling is spread over the requests of the round (``later_us``).
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench import circumstances, contenders_page, cost, page, workload
from bench.contenders import CONTENDERS, Contender, Place, Server, versions
from bench.contenders_page import ENCODINGS, GZIP, SHELLS
from bench.load import LEVEL, Generator
from bench.rotel import RotelMissingError
from tests.e2e.processes import ROOT, Splunk, Started, until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DRAIN_S: Final = 90.0
_POLL_S: Final = 0.5
_MS: Final = 1000
_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    requests: int
    warm_up: int
    connections: int
    rounds: int
    quick: bool = False
    settle_s: float = 0.25
    """Some put off a part of their work by a moment: batches of 0.2 s, turns of 0.1 s."""
    idle_s: float = 5.0
    open_s: float = 14.5
    """A window is open for so long at least: 10 s and 5 s of lateness, less the turns of the core."""
    close_s: float = 16.5
    """And closed after so long."""

    @property
    def nodes(self) -> int:
        """Each sends one request a time."""
        return self.requests + self.warm_up


QUICK: Final = Sizes(4, 2, 2, 1, quick=True, settle_s=0.0, idle_s=0.1, open_s=0.0, close_s=0.0)


@dataclass(slots=True)
class Running:
    """A contender that runs, and what it does beside its requests."""

    contender: Contender
    server: Server
    windows: int = 0
    """How many its requests have opened, if it is ours."""
    idle: float = 0.0
    """CPU seconds a second, while it has nothing to do."""
    requests: int = 0
    """Of this round."""
    began_at: float = 0.0
    ended_at: float = 0.0
    """Its requests of this round."""
    _marked_cpu_s: float = 0.0
    _marked_at: float = 0.0

    def mark(self) -> None:
        """Begin to count what it does beside idling."""
        self._marked_cpu_s, self._marked_at = cost.cpu_s(self.server.pid), time.monotonic()

    def beside_idling(self) -> tuple[float, float]:
        """CPU seconds since the mark, without those that it takes to idle; and how long ago the mark is."""
        seconds = time.monotonic() - self._marked_at
        return cost.cpu_s(self.server.pid) - self._marked_cpu_s - seconds * self.idle, seconds

    def counters(self) -> dict[str, float]:
        """The service's metrics, summed over their labels but for those of the windows."""
        counted: dict[str, float] = {}
        if self.server.service:
            for line in self.server.service.metrics().splitlines():
                name, _, value = line.rpartition(" ")
                if not line.startswith("#"):
                    name = name.removeprefix("otel_shell_detector_")
                    name = name if name.startswith("detector_windows") else name.partition("{")[0]
                    counted[name] = counted.get(name, 0.0) + float(value)
        return counted

    def is_drained(self) -> bool:
        """Whether every window has closed and every event was delivered; others leave nothing undone."""
        if not self.server.service:
            return True
        now = self.counters()
        opened, survived, dropped = (
            now.get(f'detector_windows_total{{result="{result}"}}', 0.0)
            for result in ("opened", "survived", "dropped")
        )
        return opened == self.windows == survived + dropped and not now.get("exporter_backlog_events")


@dataclass(slots=True)
class Contest:
    """A run: what was measured so far is in ``cells``, by shells, encoding and contender."""

    sizes: Sizes
    started: Started
    generator: Generator
    splunk: Splunk
    cells: dict[tuple[int, str, str], dict[str, list[float]]] = field(default_factory=dict)
    rss_mib: dict[tuple[int, str], float] = field(default_factory=dict)
    idle: dict[tuple[int, str], float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    _first: int = 0

    def run(self, shells: int) -> None:
        """Every round with so many shells on each node."""
        started = Started(self.started.folder / f"with-{shells}")
        started.folder.mkdir()
        # The scrape that begins every node is dated about now; each request of it is ten seconds later.
        self._first = workload.scrapes_until(workload.scrape(shells), time.time_ns())
        try:
            running = self._start(Place(started, self.splunk, self.sizes.quick))
            _say(f"{shells} shells: the first scrape of {self.sizes.nodes} nodes")
            self._begin(running, shells)
            for number in range(self.sizes.rounds):
                _say(f"{shells} shells: round {number + 1} of {self.sizes.rounds}")
                self._round(running, shells, number)
            for each in running:
                self.rss_mib[shells, each.contender.name] = cost.memory_mib(each.server.pid, "VmHWM")
        finally:
            started.end()

    def _start(self, place: Place) -> list[Running]:
        def start(contender: Contender) -> Running | None:
            try:
                return Running(contender, contender.start(place))
            except RotelMissingError as why:
                self.absent[contender.name] = str(why)
                return None

        with ThreadPoolExecutor(len(CONTENDERS)) as pool:
            return [each for each in pool.map(start, CONTENDERS) if each]

    def _begin(self, running: Sequence[Running], shells: int) -> None:
        """The first scrape of every node; then it is seen what each takes to idle."""
        self._prepare(shells, 0, compress=False)
        for each in running:
            self._connect(each, compress=False)
            self._send(each, shells, range(self.sizes.nodes), compress=False)
        if shells:
            time.sleep(self.sizes.close_s)  # its windows close by the clock, and nothing says when
        for each in running:
            until(f"{each.contender.title} has told what is new", each.is_drained, _DRAIN_S, _POLL_S)
        for each in running:
            each.mark()
        time.sleep(self.sizes.idle_s)  # it is measured while nothing happens
        for each in running:
            took, seconds = each.beside_idling()
            self.idle[shells, each.contender.name] = each.idle = took / seconds

    def _round(self, running: Sequence[Running], shells: int, number: int) -> None:
        for scrape, encoding in enumerate(ENCODINGS, 1 + len(ENCODINGS) * number):
            self._prepare(shells, scrape, compress=encoding == GZIP)
        for each in running:
            each.requests, each.began_at = 0, time.monotonic()
            for encoding in ENCODINGS:
                measured = self._measure(each, shells, compress=encoding == GZIP)
                self._note(shells, encoding, each, measured)
            each.ended_at = time.monotonic()
            each.mark()
        self._wait_for_windows([each for each in running if each.server.service and shells], shells)

    def _wait_for_windows(self, ours: Sequence[Running], shells: int) -> None:
        """Count from just before the first closes, or else from the last request, until all have."""
        for each in ours:
            wait_s = each.began_at + self.sizes.open_s - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)  # idling, until the first window closes by the clock
                each.mark()
        for each in ours:
            # Until the last window closes by the clock: asking before would cost what is measured.
            time.sleep(max(0.0, each.ended_at + self.sizes.close_s - time.monotonic()))
            took, _ = each.beside_idling()
            if not each.is_drained():
                what = f"every window of {each.contender.title} has closed"
                until(what, each.is_drained, _DRAIN_S, _POLL_S)
                took, _ = each.beside_idling()
            for encoding in ENCODINGS:
                self._note(shells, encoding, each, {"later_us": took / each.requests * _US})

    def _note(self, shells: int, encoding: str, each: Running, measured: Mapping[str, float]) -> None:
        cell = self.cells.setdefault((shells, encoding, each.contender.name), {})
        for name, value in measured.items():
            cell.setdefault(name, []).append(value)

    def _measure(self, each: Running, shells: int, *, compress: bool) -> dict[str, float]:
        self._connect(each, compress=compress)
        self._send(each, shells, range(self.sizes.warm_up), compress=compress)
        time.sleep(self.sizes.settle_s)  # what the warm-up left to do is not of these requests
        counted = each.counters()
        before = cost.cpu_s(each.server.pid)
        sent = self._send(each, shells, range(self.sizes.warm_up, self.sizes.nodes), compress=compress)
        time.sleep(self.sizes.settle_s)  # what these requests left to do is
        after = cost.cpu_s(each.server.pid)
        commits = each.counters().get("journal_commits_total", 0.0) - counted.get(
            "journal_commits_total", 0.0
        )
        self.generator("disconnect")
        return {
            "answered": sent["answers"]["OK"],
            "cpu_us": (after - before) / self.sizes.requests * _US,
            "per_s": self.sizes.requests / sent["seconds"],
            "p50_ms": sent["p50_ms"],
            "p99_ms": sent["p99_ms"],
            "generator_us": sent["generator_ms"] * _MS,
            "commits": commits / self.sizes.requests,
        }

    def _prepare(self, shells: int, scrape: int, *, compress: bool) -> None:
        self.generator(
            "prepare", shells=shells, nodes=self.sizes.nodes, scrapes=self._first + scrape, compress=compress
        )

    def _connect(self, each: Running, *, compress: bool) -> None:
        self.generator(
            "connect",
            port=each.server.port,
            authority=each.server.authority,
            connections=self.sizes.connections,
            compress=compress,
        )

    def _send(self, each: Running, shells: int, nodes: range, *, compress: bool) -> dict[str, Any]:
        count = len(nodes)
        sent = self.generator("send", first=nodes.start, count=count, compress=compress)
        check(each.contender, shells, sent["answers"], count)
        each.requests += count
        each.windows += count * shells
        return sent

    def results(self) -> dict[str, Any]:
        """What is left of a run."""
        return {
            "where": circumstances.here(),
            "settings": asdict(self.sizes),
            "contenders": [each.name for each in CONTENDERS],
            "titles": {each.name: each.title for each in CONTENDERS},
            "like": {each.name: each.like for each in CONTENDERS},
            "absent": self.absent,
            "versions": versions(),
            "workloads": [self._workload(shells) for shells in SHELLS],
            "cells": [
                {"shells": shells, "encoding": encoding, "contender": name, "rounds": cell}
                | {"rss_mib": self.rss_mib[shells, name], "idle": self.idle[shells, name]}
                for (shells, encoding, name), cell in self.cells.items()
            ],
        }

    @staticmethod
    def _workload(shells: int) -> dict[str, int]:
        body = workload.scrape(shells)
        processes, points = workload.size_of(body)
        compressed = len(gzip.compress(body, LEVEL, mtime=0))
        return {
            "shells": shells,
            "processes": processes,
            "points": points,
            "bytes": len(body),
            "gzip_bytes": compressed,
        }


def check(contender: Contender, shells: int, answers: Mapping[str, int], count: int) -> None:
    """End the run unless every request was taken, for what is not taken costs little."""
    if answers != {"OK": count}:
        raise SystemExit(f"{contender.title}, {shells} shells: {answers}, want OK of all {count}")


def _say(what: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {what}", file=sys.stderr, flush=True)


def contest(sizes: Sizes) -> dict[str, Any]:
    """Run all of it; what was measured."""
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=cache) as folder:  # on a real disk, as the checkout
        started = Started(Path(folder))
        try:
            splunk = Splunk(started, ack=False)
            run = Contest(sizes, started, Generator(started), splunk)
            for shells in SHELLS:
                run.run(shells)
            return run.results()
        finally:
            started.end()


def main() -> None:
    """Run all, print the tables, keep what was measured for the page."""
    parser = argparse.ArgumentParser(description="The contenders side by side, on the same requests.")
    parser.add_argument("--requests", type=int, default=300, help="that count, of each measure (300)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (5)")
    parser.add_argument("--connections", type=int, default=16, help="with one call at a time on each (16)")
    parser.add_argument("--quick", action="store_true", help="a few requests, to see that it works")
    parser.add_argument("--json", type=Path, help="write what was measured here, and leave the page alone")
    asked = parser.parse_args()
    sizes = Sizes(asked.requests, 2 * asked.connections, asked.connections, asked.rounds)
    if asked.quick:
        sizes = QUICK
    results = contest(sizes)
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    else:
        page.write_results("contenders", results)
    print(contenders_page.render(results))


if __name__ == "__main__":
    main()
