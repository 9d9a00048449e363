"""The benchmark of replay and start, with little of everything: no time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from bench.page import ROOT
from bench.replay import QUICK
from bench.replay_page import FULL, PARSE, WIRE, render
from tests.e2e.processes import environment_without_keys


def quick() -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "bench.replay", "--quick"],
        cwd=ROOT,
        env=environment_without_keys(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_both_readers_find_the_same_and_every_state_is_read_to_its_end() -> None:
    found = quick()
    [read] = found["read"]["rounds"]
    counts = {name: (each["samples"], each["points"]) for name, each in read.items()}
    scrapes, points = QUICK.read, 3308
    assert counts == {WIRE: (2 * scrapes, 0), FULL: (2 * scrapes, points * scrapes), PARSE: (0, 0)}
    assert found["compared"]["events"] == 2
    states = {
        name: [(each["records"] > 0, each["sessions"], each["waiting"]) for each in starts]
        for name, starts in found["start"]["states"].items()
    }
    shells = QUICK.state.nodes * 200
    assert states == {
        "nothing": [(False, 0, 0)],
        "journal": [(True, shells, 0)],
        "sessions": [(False, shells, shells)],
        "outbox": [(False, 0, QUICK.state.events)],
    }
    tables = [line.split(" | ")[0] for line in render(found).splitlines() if line.startswith("| ")]
    assert tables == [
        "|",
        "| scrapes/s",
        "| times real time",
        "| MB/s, uncompressed",
        "| CPU per scrape, ms",
        "| peak RSS, MiB",
        "|",
        "| whole, scrapes/s",
        "| whole, CPU per scrape, ms",
        "| reading, CPU per scrape, ms",
        "| reading, beside the parse without the walk, CPU per scrape, ms",
        "| to read",
        "| nothing",
        "| a journal of 0 MiB, none of it decided, after SIGKILL",
        "| open sessions, all in checkpoints",
        "| events to deliver",
    ]
